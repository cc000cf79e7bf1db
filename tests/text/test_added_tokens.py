"""Added tokens: the same as the reference's, in Python and graphs; the files that name them."""

import json
import random

import pytest
import tensorflow as tf
from tokenizers import AddedToken as Theirs
from tokenizers import Tokenizer

from keras_bert_scratch.text.added_tokens import AddedToken
from keras_bert_scratch.text.graphs.integer_engine import IntegerEngine
from keras_bert_scratch.text.graphs.tokenizer_graph import tokenizer_graph
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.tokenizer_files import tokenizer_json
from keras_bert_scratch.text.vocabulary import SPECIAL_TOKENS, Vocabulary

WORDS = ["a", "b", "##b", "ab", "<", "user", ">", "[", "ent", "]", "sep", "é", "e", "你", "_"]
ADDED = [
    AddedToken("<user>"),
    AddedToken("Ab", normalized=False),
    AddedToken("abb", lstrip=True, rstrip=True),
    AddedToken("[ENT]", special=True, normalized=False, lstrip=True),
    AddedToken("SEP", normalized=False),
    AddedToken("É"),
    AddedToken("你"),
]
SWITCHES = [
    {},
    {"lowercase": False},
    {"strip_accents": False},
    {"tokenize_chinese_chars": False},
    {"allow_special_tokens": True},
]
PARTS = ["<user>", "<USER>", "Ab", "ab", "abb", "aBB", "[ENT]", "[ent]", "[SEP]", "SEP", "É", "é",
         "e\u0301", "你", "a", " ", "\u3000", "\n", "_", "b", "\x00", "\U0010fff0"]  # fmt: skip


def make(tokens=ADDED, **switches):
    new = [token.content for token in tokens if token.content not in WORDS]
    vocabulary = Vocabulary([*SPECIAL_TOKENS, *WORDS, *new])
    added = [token._replace(is_piece=token.content in WORDS) for token in tokens]
    return WordPieceTokenizer(vocabulary, added_tokens=added, **switches)


def reference(ours):
    """Makes the reference from the file that ours writes."""
    config = ours.get_config()
    if not ours.allow_special_tokens:
        # Its switch covers all special tokens; ours only [SEP] and the like.
        config["added_tokens"] = [{**token, "special": False} for token in config["added_tokens"]]
    theirs = Tokenizer.from_str(json.dumps(tokenizer_json(config, ours.pieces)))
    theirs.encode_special_tokens = not ours.allow_special_tokens
    return theirs


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
def test_the_same_ids_and_offsets_everywhere(switches):
    ours, rng = make(**switches), random.Random(0)
    texts = ["".join(rng.choices(PARTS, k=rng.randrange(9))) for _ in range(300)]
    expected = reference(ours).encode_batch(texts, add_special_tokens=False)
    found = [ours.encode(text) for text in texts]
    for text, mine, theirs in zip(texts, found, expected, strict=True):
        assert (mine.token_ids[1:-1], mine.offsets[1:-1]) == (theirs.ids, theirs.offsets), text
    assert sum(ours.vocabulary.token_to_id("abb") in mine.token_ids for mine in found) > 20
    for engine in ("fast", "core"):
        ids = tokenizer_graph(ours, engine).tokenize(tf.constant([text.encode() for text in texts]))
        assert ids.to_list() == [theirs.ids for theirs in expected]


@pytest.mark.parametrize(
    ("switches", "unrolled"), [(SWITCHES[0], False), (SWITCHES[1], True), (SWITCHES[4], False)]
)
def test_the_same_without_strings(switches, unrolled):
    # Offsets that include the white space around a token are refused.
    ours = make([token._replace(lstrip=False, rstrip=False) for token in ADDED], **switches)
    rng = random.Random(1)
    texts = ["".join(rng.choices(PARTS, k=rng.randrange(9))) for _ in range(300)]
    rows = [[*map(ord, text.ljust(40, "\0"))] for text in texts]
    engine = tf.function(IntegerEngine(ours, with_offsets=True, unrolled=unrolled))
    columns = [column.numpy().tolist() for column in engine(tf.constant(rows))]
    expected = reference(ours).encode_batch(texts, add_special_tokens=False)
    assert columns[0] == [token_id for theirs in expected for token_id in theirs.ids]
    offsets = [pair for theirs in expected for pair in theirs.offsets]
    assert [*zip(columns[1], columns[2], strict=True)] == offsets
    # Ids alone do not depend on the white space.
    stripping = make(**switches)
    again = tf.function(IntegerEngine(stripping, unrolled=unrolled))(tf.constant(rows))
    assert again.token_ids.numpy().tolist() == columns[0]


def test_a_folder_and_a_config_hold_them(tmp_path):
    ours = make()
    ours.save(tmp_path)
    for again in (
        WordPieceTokenizer.from_directory(tmp_path),
        WordPieceTokenizer.from_config(json.loads(json.dumps(ours.get_config()))),
    ):
        assert again.added_tokens == ours.added_tokens
        assert again.encode("a <user> [ENT] [SEP]") == ours.encode("a <user> [ENT] [SEP]")


def test_words_are_not_split_into_them():
    # "abb" is in the vocabulary, which gives it an id, but the reference splits no word into it.
    ours = WordPieceTokenizer(
        Vocabulary([*SPECIAL_TOKENS, "a", "##b", "abb"]),
        added_tokens=[AddedToken("abb", normalized=False)],
    )
    assert ours.encode("ABB abb").tokens[1:-1] == ["a", "##b", "##b", "abb"]


def test_decode_leaves_out_special_ones():
    ours = make()
    ids = ours.encode("a [ENT] <user>").token_ids
    assert ours.decode(ids) == "a <user>"


def test_files_of_other_times(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL_TOKENS, *WORDS]))
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<user>": 20, "[E1]": 21}))
    (tmp_path / "special_tokens_map.json").write_text(
        json.dumps({"additional_special_tokens": ["[E1]"], "unk_token": "[UNK]"})
    )
    read = WordPieceTokenizer.from_directory(tmp_path)
    assert read.added_tokens == (
        AddedToken("<user>"),
        AddedToken("[E1]", special=True, normalized=False),
    )
    assert read.encode("a <user>[E1]").token_ids[1:-1] == [5, 20, 21]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["added_tokens"][5].update(single_word=True), "with single_word, which is not"),
        (lambda c: c["added_tokens"][5].update(normalized="no"), "has normalized 'no' for"),
        (lambda c: c.update(pre_tokenizer={"type": "Whitespace"}), "splits words by 'Whitespace'"),
        (lambda c: c.update(pre_tokenizer=None), "splits words by None"),
        (lambda c: c["post_processor"]["single"].pop(), "post_processor 'TemplateProcessing', whi"),
        (
            lambda c: c.update(truncation={"direction": "Left"}),
            "truncates texts at the side 'Left'",
        ),
    ],
)
def test_files_that_ask_for_something_else(tmp_path, change, message):
    ours = make()
    content = tokenizer_json(ours.get_config(), ours.pieces)
    change(content)
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        WordPieceTokenizer.from_directory(tmp_path)


@pytest.mark.parametrize(
    ("token", "message"),
    [
        (AddedToken("new"), "'new' is not in the vocabulary, which gives it its id"),
        (AddedToken("\u0301"), "is empty once it is normalized"),
    ],
)
def test_tokens_that_are_refused(token, message):
    vocabulary = Vocabulary([*SPECIAL_TOKENS, "a", "\u0301"])
    with pytest.raises(ValueError, match=message):
        WordPieceTokenizer(vocabulary, added_tokens=[token])


def test_two_that_are_found_alike():
    vocabulary = Vocabulary([*SPECIAL_TOKENS, "É", "e"])
    with pytest.raises(ValueError, match="'É' and 'e' are found in the same texts: remove one"):
        WordPieceTokenizer(vocabulary, added_tokens=[AddedToken("É"), AddedToken("e")])


def test_a_reference_with_bert_processing_is_read(tmp_path):
    from tokenizers import BertWordPieceTokenizer

    theirs = BertWordPieceTokenizer(dict(zip([*SPECIAL_TOKENS, "a"], range(6), strict=True)))
    theirs.add_tokens([Theirs("<x>", normalized=False)])
    theirs.save(str(tmp_path / "tokenizer.json"))
    read = WordPieceTokenizer.from_directory(tmp_path)
    assert read.encode("a<x>").token_ids == theirs.encode("a<x>").ids
