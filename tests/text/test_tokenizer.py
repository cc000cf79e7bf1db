"""The tokenizer beyond its ids: pairs, truncation, decoding, files, refusals."""

import copy
import itertools
import json
import pickle
import random
from xml.etree import ElementTree

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, decoders
from tokenizers.processors import TemplateProcessing

from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import SPECIAL_TOKENS, Vocabulary

WORDS = "film a the is n ' t do not m s ve re . , ? ! 你 好 é cafe [ mask ] MASK café".split()
TOKENS = [*SPECIAL_TOKENS, *WORDS, "##s", "##ing", "##n", "##'", "##é"]


@pytest.fixture(scope="module")
def tokenizer():
    return WordPieceTokenizer(Vocabulary(TOKENS))


@pytest.fixture(scope="module")
def framed(reference):
    """Returns a function that makes the reference with [CLS], [SEP] and segments."""

    def make(**switches):
        theirs = reference(TOKENS, **switches)
        theirs.post_processor = TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
        )
        return theirs

    return make


def as_tuple(encoding):
    """Returns the common fields of our encodings and the reference's."""
    if hasattr(encoding, "token_ids"):
        return (*encoding,)
    return (
        *(encoding.ids, encoding.type_ids, encoding.tokens, encoding.offsets),
        encoding.sequence_ids,
    )


class TestEncode:
    def test_frames_as_the_reference(self, tokenizer, framed):
        for texts in [("Films!",), ("",), ("a", "the film"), ("", "你好"), ("é zzz", "")]:
            assert as_tuple(tokenizer.encode(*texts)) == as_tuple(framed().encode(*texts))

    def test_words(self, tokenizer):
        film, s, unk = TOKENS.index("film"), TOKENS.index("##s"), 1
        assert tokenizer.words("Films zzz film") == [[film, s], [unk], [film]]


class TestTruncation:
    @pytest.mark.parametrize("length", [3, 4, 5, 6, 7, 8, 9, 12, 20])
    def test_longest_first_as_the_reference(self, tokenizer, framed, length):
        theirs = framed()
        theirs.enable_truncation(length, strategy="longest_first")
        texts = ["a " * number for number in (0, 1, 2, 3, 4, 5, 6, 9, 15)]
        for first, second in itertools.product(texts, repeat=2):
            ours = tokenizer.encode(first, second, sequence_length=length)
            assert as_tuple(ours) == as_tuple(theirs.encode(first, second))
            assert len(ours.token_ids) <= length
        for text in texts:
            ours = tokenizer.encode(text, sequence_length=length)
            assert as_tuple(ours) == as_tuple(theirs.encode(text))

    def test_no_room(self, tokenizer):
        assert tokenizer.encode("a film", sequence_length=2).tokens == ["[CLS]", "[SEP]"]
        with pytest.raises(ValueError, match=r"is 1, but \[CLS\] and \[SEP\] alone take 2 tok"):
            tokenizer.encode("a", sequence_length=1)
        with pytest.raises(ValueError, match="is 2, .* alone take 3 tokens: use a larger one"):
            tokenizer.encode("a", "a", sequence_length=2)


class TestDecode:
    def test_as_the_reference(self, tokenizer, reference):
        theirs = reference(TOKENS)
        theirs.add_special_tokens([AddedToken(t, special=True) for t in SPECIAL_TOKENS])
        theirs.decoder = decoders.WordPiece(prefix="##", cleanup=True)
        rng = random.Random(0)
        for skip in (True, False):
            for _ in range(2000):
                ids = rng.choices(range(len(TOKENS)), k=rng.randrange(12))
                expected = theirs.decode(ids, skip_special_tokens=skip)
                assert tokenizer.decode(ids, skip) == expected, [TOKENS[i] for i in ids]

    def test_an_id_too_many(self, tokenizer):
        with pytest.raises(IndexError, match=f"Token ids go from 0 to {len(TOKENS) - 1}, received"):
            tokenizer.decode([len(TOKENS)])


class TestNotUtf8:
    def test_replaced(self, tokenizer):
        assert tokenizer.encode(b"fi\xfflm").tokens == ["[CLS]", "film", "[SEP]"]
        assert tokenizer.encode("fi\ud800lm").tokens == ["[CLS]", "film", "[SEP]"]

    @pytest.mark.parametrize("text", [b"fi\xfflm", "fi\ud800lm"])
    def test_refused(self, text):
        strict = WordPieceTokenizer(Vocabulary(TOKENS), errors="strict")
        assert strict.encode("é".encode()).tokens == strict.encode("é").tokens
        with pytest.raises(ValueError, match="The text is not valid UTF-8 .*: repair it, or use a"):
            strict.encode(text)


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"normalization": "nfkc"}, "must be 'bert' or 'mediapipe', received 'nfkc'"),
            ({"errors": "ignore"}, "errors must be 'replace' or 'strict', received 'ignore'"),
            ({"max_word_length": 5}, "max_word_length must be from 6, .* to 10000, received 5"),
            ({"max_word_length": 10_001}, "to 10000, received 10001: BERT has 100"),
            (
                {"normalization": "mediapipe", "lowercase": False},
                "never reads special tokens, received lowercase=False: omit these",
            ),
            (
                {"normalization": "mediapipe", "allow_special_tokens": True},
                "received allow_special_tokens=True: omit these",
            ),
            (
                {"normalization": "mediapipe", "added_tokens": [AddedToken("film")]},
                "normalization='mediapipe' knows no added tokens, received .* use normalization",
            ),
        ],
    )
    def test_arguments(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            WordPieceTokenizer(Vocabulary(TOKENS), **arguments)


class CountingPieces(dict):
    """Counts the look-ups of tokens."""

    look_ups = 0

    def __contains__(self, token):
        self.look_ups += 1
        return super().__contains__(token)


def counting_tokenizer(tokens, **settings):
    tokenizer = WordPieceTokenizer(Vocabulary(tokens), **settings)
    tokenizer.pieces = CountingPieces(tokenizer.pieces)
    return tokenizer


class TestLongWords:
    def test_longest_matches_by_definition(self):
        """Compares with a search over all cuts; some tokens are longer than the words."""
        rng = random.Random(0)
        for _ in range(30):
            pieces = {"".join(rng.choices("ab", k=rng.randint(1, 9))) for _ in range(12)}
            tokens = {
                prefix + piece for piece in pieces for prefix in ("", "##") if rng.random() < 0.7
            }
            vocabulary = Vocabulary([*SPECIAL_TOKENS, "", "##", *sorted(tokens)])
            tokenizer = WordPieceTokenizer(vocabulary)
            for _ in range(30):
                word = "".join(rng.choices("ab", k=rng.randint(1, 60)))
                expected, start = [], 0
                while start < len(word):
                    prefix = "##" if start else ""
                    ends = [
                        e
                        for e in range(start + 1, len(word) + 1)
                        if prefix + word[start:e] in tokens
                    ]
                    if not ends:
                        expected = ["[UNK]"]
                        break
                    expected.append(prefix + word[start : max(ends)])
                    start = max(ends)
                assert tokenizer.encode(word).tokens == ["[CLS]", *expected, "[SEP]"]

    @pytest.mark.parametrize("length", [100, 1000, 10_000])
    def test_look_ups_grow_with_the_word(self, length):
        # Tokens of one, two and five letters: three look-ups a letter at most.
        tokens = [*SPECIAL_TOKENS, "a", "##a", "##aa", "##aaaab", "##b"]
        tokenizer = counting_tokenizer(tokens, max_word_length=10_000)
        found = tokenizer.encode("ab" * (length // 2))
        assert found.token_ids[1:-1] == [5, *[9, 6] * (length // 2 - 1), 9]
        assert length <= tokenizer.pieces.look_ups <= 3 * length

    def test_words_that_are_too_long_cost_nothing_and_are_forgotten(self):
        tokenizer = counting_tokenizer(TOKENS)
        for letter in "abc":
            assert tokenizer.encode(letter * 100_000).tokens == ["[CLS]", "[UNK]", "[SEP]"]
        assert tokenizer.pieces.look_ups == 0
        tokenizer.encode("s" * 33)
        assert tokenizer._remembered_matches.cache_info().currsize == 0

    def test_the_phones_words_count_bytes(self):
        vocabulary = Vocabulary([*SPECIAL_TOKENS, "é", "##é"])
        phone = WordPieceTokenizer(vocabulary, normalization="mediapipe")
        assert phone.encode("é" * 50).token_ids[1:-1] == [5] + [6] * 49
        assert phone.encode("é" * 51).token_ids[1:-1] == [1]


SWITCHES = [
    {},
    {"lowercase": False},
    {"strip_accents": False},
    {"lowercase": False, "strip_accents": True, "tokenize_chinese_chars": False},
    {"allow_special_tokens": True, "max_word_length": 7, "errors": "strict"},
    {"normalization": "mediapipe"},
]
PROBES = ["Café FILMS 你好 [MASK]", "films" * 3, "cafe\u0301 İs", "a\u302e\U0001d165"]


def same(ours, theirs):
    return ours.get_config() == theirs.get_config() and all(
        ours.encode(text) == theirs.encode(text) for text in PROBES
    )


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
class TestRoundTrips:
    def test_config(self, switches):
        ours = WordPieceTokenizer(Vocabulary(TOKENS), **switches)
        config = json.loads(json.dumps(ours.get_config()))
        assert same(ours, WordPieceTokenizer.from_config(config))

    def test_copies(self, switches):
        ours = WordPieceTokenizer(Vocabulary(TOKENS), **switches)
        assert same(ours, copy.deepcopy(ours))
        assert same(ours, pickle.loads(pickle.dumps(ours)))

    def test_folder(self, switches, tmp_path):
        ours = WordPieceTokenizer(Vocabulary(TOKENS), **switches)
        ours.save(tmp_path)
        read = WordPieceTokenizer.from_directory(tmp_path)
        assert same(ours, read)
        read.save(tmp_path / "again")
        for name in ("vocab.txt", "tokenizer_config.json", "tokenizer.json"):
            exists = (tmp_path / name).exists()
            assert exists == (switches.get("normalization") is None or name != "tokenizer.json")
            if exists:
                assert (tmp_path / "again" / name).read_bytes() == (tmp_path / name).read_bytes()

    def test_the_reference_reads_it(self, switches, tmp_path):
        ours = WordPieceTokenizer(Vocabulary(TOKENS), **switches)
        ours.save(tmp_path)
        if switches.get("normalization") == "mediapipe":
            assert not (tmp_path / "tokenizer.json").exists()
            return
        theirs = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
        # Files do not hold this switch of the reference.
        theirs.encode_special_tokens = not ours.allow_special_tokens
        for text in PROBES:
            assert as_tuple(ours.encode(text)) == as_tuple(theirs.encode(text))
            pair = (text, PROBES[0])
            assert as_tuple(ours.encode(*pair)) == as_tuple(theirs.encode(*pair))


class TestFiles:
    def test_tokenizer_json_holds_the_switches(self, tmp_path):
        ours = WordPieceTokenizer(Vocabulary(TOKENS), lowercase=False, tokenize_chinese_chars=False)
        ours.to_file(tmp_path / "any name.json")
        read = WordPieceTokenizer.from_file(tmp_path / "any name.json")
        assert same(ours, read)

    def test_vocab_txt_holds_the_tokens(self, tmp_path):
        ours = WordPieceTokenizer(Vocabulary(TOKENS), lowercase=False)
        ours.to_file(tmp_path / "vocab.txt")
        assert WordPieceTokenizer.from_file(tmp_path / "vocab.txt").lowercase
        assert same(ours, WordPieceTokenizer.from_file(tmp_path / "vocab.txt", lowercase=False))

    def test_mediapipe_has_no_tokenizer_json(self, tmp_path):
        phone = WordPieceTokenizer(Vocabulary(TOKENS), normalization="mediapipe")
        with pytest.raises(ValueError, match="x.json cannot express normalization='mediapipe'"):
            phone.to_file(tmp_path / "x.json")
        assert not list(tmp_path.iterdir())
        # The file of an earlier tokenizer is removed, or it would be read.
        WordPieceTokenizer(Vocabulary(SPECIAL_TOKENS)).save(tmp_path)
        phone.save(tmp_path)
        assert same(phone, WordPieceTokenizer.from_directory(tmp_path))


class TestFromDirectory:
    def write(self, folder, **files):
        for name, content in files.items():
            name = name.replace("__", ".")
            text = content if isinstance(content, str) else json.dumps(content)
            (folder / name).write_text(text, encoding="utf-8")
        return folder

    def test_bare_vocab_txt(self, tmp_path):
        self.write(tmp_path, vocab__txt="\n".join(TOKENS))
        assert WordPieceTokenizer.from_directory(tmp_path).lowercase
        cased = WordPieceTokenizer.from_directory(tmp_path, lowercase=False)
        assert not cased.lowercase

    def test_the_config_speaks_before_tokenizer_json(self, tmp_path):
        WordPieceTokenizer(Vocabulary(TOKENS), strip_accents=False).save(tmp_path)
        self.write(tmp_path, tokenizer_config__json={"do_lower_case": False})
        read = WordPieceTokenizer.from_directory(tmp_path)
        assert (read.lowercase, read.strip_accents) == (False, False)

    @pytest.mark.parametrize("name", ["vocab.txt", "tokenizer.json", "tokenizer_config.json"])
    def test_links_out_of_the_folder(self, tmp_path, name):
        """A stranger's folder could otherwise name any file of this machine."""
        folder, elsewhere = tmp_path / "model", tmp_path / "elsewhere"
        WordPieceTokenizer(Vocabulary(TOKENS)).save(folder)
        WordPieceTokenizer(Vocabulary(TOKENS)).save(elsewhere)
        (folder / name).unlink()
        (folder / name).symlink_to(elsewhere / name)
        with pytest.raises(ValueError, match=f"{name} is a link that leads out of its folder, to"):
            WordPieceTokenizer.from_directory(folder)

    def test_nothing_there(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="has neither tokenizer.json nor vocab.txt"):
            WordPieceTokenizer.from_directory(tmp_path)

    def test_damaged_config(self, tmp_path):
        self.write(tmp_path, vocab__txt="\n".join(TOKENS), tokenizer_config__json="{")
        with pytest.raises(ValueError, match=r"tokenizer_config.json is not JSON .*: fetch it"):
            WordPieceTokenizer.from_directory(tmp_path)

    @pytest.mark.parametrize(
        "normalizer", [None, {"type": "NFKC"}, {"type": "BertNormalizer", "clean_text": False}]
    )
    def test_another_normalizer(self, tmp_path, normalizer):
        WordPieceTokenizer(Vocabulary(TOKENS)).save(tmp_path)
        content = json.loads((tmp_path / "tokenizer.json").read_text("utf-8"))
        self.write(tmp_path, tokenizer__json={**content, "normalizer": normalizer})
        with pytest.raises(ValueError, match="only 'BertNormalizer' with clean_text is BERT's"):
            WordPieceTokenizer.from_directory(tmp_path)

    @pytest.mark.parametrize(
        ("field", "value", "message"),
        [
            ("do_lower_case", "yes", "lowercase must be bool, received 'yes'"),
            ("strip_accents", 0, "strip_accents must be bool or NoneType, received 0"),
            ("tokenize_chinese_chars", 1, "tokenize_chinese_chars must be bool, received 1"),
            ("tokenizer_class", "BertJapaneseTokenizer", "which is not BERT's: use a BERT checkp"),
            ("do_basic_tokenize", False, "has do_basic_tokenize False; only True is BERT's"),
            ("never_split", ["x"], r"has never_split \['x'\]; only \[\] is BERT's"),
            ("unk_token", "<unk>", r"has unk_token '<unk>', BERT's is '\[UNK\]'"),
            ("additional_special_tokens", "[E1]", r"'\[E1\]', which is not a list of tokens"),
            ("added_tokens_decoder", [3], "which is not an object"),
            ("added_tokens_decoder", {"x": "[E1]"}, "has an added token without an id"),
            ("added_tokens_decoder", {"1": "[E1]"}, r"gives '\[E1\]' the id 1, the vocabulary has"),
            ("max_word_length", "100", "max_word_length must be int, received '100'"),
            ("max_word_length", True, "max_word_length must be int, received True"),
            ("normalization", [], r"normalization must be 'bert' or 'mediapipe', received \[\]"),
            ("preprocessing", "StripHtml", "has preprocessing 'StripHtml', which is not a list"),
            ("preprocessing", [3], "Unknown preprocessing step 3"),
            (
                "preprocessing",
                [{"step": "ReplaceNumbers", "placeholder": "1 1 1 1 1 1 1 1"}] * 6,
                "Later steps .* the placeholder of ReplaceNumbers.* more than 50 char",
            ),
            ("preprocessing", [{"step": "StripHtml"}] * 100_000, "at most 16 steps, received more"),
            ("max_word_length", 10**30, "max_word_length must be from 6, .* to 10000, received 10"),
        ],
    )
    def test_settings_of_another_kind(self, tmp_path, field, value, message):
        self.write(tmp_path, vocab__txt="\n".join(TOKENS), tokenizer_config__json={field: value})
        with pytest.raises(ValueError, match=message):
            WordPieceTokenizer.from_directory(tmp_path)

    def test_tokenizer_json_that_leaves_switches_out(self, tmp_path):
        WordPieceTokenizer(Vocabulary(TOKENS), strip_accents=True).save(tmp_path)
        content = json.loads((tmp_path / "tokenizer.json").read_text("utf-8"))
        self.write(tmp_path, tokenizer__json={**content, "normalizer": {"type": "BertNormalizer"}})
        read = WordPieceTokenizer.from_file(tmp_path / "tokenizer.json")
        assert (read.lowercase, read.strip_accents) == (True, None)

    @pytest.mark.parametrize(
        "config", [None, [], {}, {"vocabulary": 3}, {"vocabulary": [], "a": 1}]
    )
    def test_config_that_describes_no_tokenizer(self, config):
        message = "config is not one that a tokenizer's get_config made|The vocabulary is empty"
        with pytest.raises(ValueError, match=message):
            WordPieceTokenizer.from_config(config)

    def test_another_model(self, tmp_path):
        self.write(tmp_path, tokenizer__json={"model": {"type": "BPE", "vocab": {}}})
        with pytest.raises(ValueError, match="model type 'BPE', only 'WordPiece' is BERT's"):
            WordPieceTokenizer.from_directory(tmp_path)


class TestCall:
    TEXTS, PAIRS = ["films", "a film", ""], ["a", "films film", "film"]

    @pytest.fixture
    def tokenizer(self):
        return WordPieceTokenizer(Vocabulary("[PAD] [UNK] [CLS] [SEP] a film ##s".split()))

    def test_one_text_or_pair(self, tokenizer):
        assert tokenizer("films", sequence_length=3).tokens == ["[CLS]", "film", "[SEP]"]
        assert tokenizer("a", "film").token_ids == [2, 4, 3, 5, 3]
        assert tokenizer(b"a").token_ids == [2, 4, 3]

    def test_a_column(self, tokenizer):
        found = tokenizer(np.array(self.TEXTS), truncation="tail", sequence_length=3)
        assert [e.token_ids for e in found] == [[2, 6, 3], [2, 5, 3], [2, 3]]
        assert tokenizer([]) == []

    def test_columns_of_pairs(self, tokenizer):
        expected = [[2, 5, 6, 3, 4, 3], [2, 4, 5, 3, 5, 6, 5, 3], [2, 3, 5, 3]]
        for found in (
            tokenizer(self.TEXTS, self.PAIRS), tokenizer((self.TEXTS, self.PAIRS))
        ):  # fmt: skip
            assert [e.token_ids for e in found] == expected

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ((["a", 3],), TypeError, "3"),
            ((["a"], ["a", "b"]), ValueError, "There are 1 texts but 2 second texts"),
            ((["a"], ["a"], "head"), TypeError, "positional"),
        ],
    )
    def test_bad_input(self, tokenizer, arguments, error, message):
        with pytest.raises(error, match=message):
            tokenizer(*arguments)


class TestInANotebook:
    VOCABULARY = Vocabulary("[PAD] [UNK] [CLS] [SEP] [MASK] a < film ##s".split())

    def test_repr_shows_what_is_unusual(self):
        assert repr(WordPieceTokenizer(self.VOCABULARY)) == "<WordPieceTokenizer of 9 tokens>"
        assert repr(WordPieceTokenizer(self.VOCABULARY, lowercase=False, errors="strict")) == (
            "<WordPieceTokenizer of 9 tokens, lowercase=False, errors='strict'>"
        )

    def test_encodings(self):
        encoding = WordPieceTokenizer(self.VOCABULARY).encode("a < films", "film")
        assert repr(encoding) == (
            "<Encoding of 8 tokens\n"
            "  tokens   [CLS] a < film ##s [SEP] film [SEP]\n"
            "  ids      2 5 6 7 8 3 7 3\n"
            "  segments 0 0 0 0 0 0 1 1>"
        )
        html = encoding._repr_html_()
        assert ">&lt;<br>" in html
        assert html.count("<span ") == 8
        assert html.count("opacity: 0.45") == 3  # [CLS], [SEP], [SEP]
        assert html.count("dashed;") == 2
        ElementTree.fromstring(html.replace("<br>", "<br/>"))  # well-formed

    def test_long_encodings_take_few_lines(self):
        text = repr(WordPieceTokenizer(self.VOCABULARY).encode("a film " * 1000))
        assert len(text.splitlines()) == 4
        assert max(map(len, text.splitlines())) < 100
