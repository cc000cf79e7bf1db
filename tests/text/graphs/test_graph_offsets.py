"""Offsets in a graph are those of the Python tokenizer."""

import pytest
import tensorflow as tf

from keras_bert_scratch.text.added_tokens import AddedToken
from keras_bert_scratch.text.graphs.tokenizer_graph import tokenizer_graph
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import SPECIAL_TOKENS, Vocabulary

TOKENS = [*SPECIAL_TOKENS, "film", "a", "##s", "!", "e", "##e", "电", "影", "ss", "##a", ",", "i"]
TEXTS = [
    "Films! a film,a",
    "",
    "  É e\u0301e\x00e\u200bé  unknownword 电影a",
    "ß ﬁ Ⅳ \ufffd \t\n!",
    "[MASK] aaa\u0301a",
    "film\u3099\u0323s e",
    "𝔄a 👎🏽 e",
]


@pytest.mark.parametrize("lowercase", [True, False])
def test_equal_to_python(lowercase):
    tokenizer = WordPieceTokenizer(Vocabulary(TOKENS), lowercase=lowercase)
    found = tokenizer_graph(tokenizer, "core").with_offsets(tf.constant(TEXTS))
    for row, text in enumerate(TEXTS):
        wanted = tokenizer.encode(text)
        assert found["token_ids"][row].numpy().tolist() == wanted.token_ids[1:-1]
        offsets = zip(found["starts"][row].numpy(), found["ends"][row].numpy(), strict=True)
        assert [(int(start), int(end)) for start, end in offsets] == wanted.offsets[1:-1]
        opens = [not token.startswith("##") for token in wanted.tokens[1:-1]]
        assert found["opens_word"][row].numpy().tolist() == opens
    assert found["texts"].numpy()[0].decode() == TEXTS[0]


def test_added_tokens():
    both = WordPieceTokenizer(Vocabulary(TOKENS), allow_special_tokens=True)
    found = tokenizer_graph(both, "core").with_offsets(tf.constant(["a[MASK] film", ""]))
    assert found["token_ids"].to_list() == [both.encode("a[MASK] film").token_ids[1:-1], []]
    assert found["starts"].to_list() == [[0, 1, 8], []]
    assert found["ends"].to_list() == [[1, 7, 12], []]
    stripping = WordPieceTokenizer(Vocabulary(TOKENS), added_tokens=[AddedToken("a", lstrip=True)])
    with pytest.raises(ValueError, match="added tokens without lstrip and rstrip, received 'a'"):
        tokenizer_graph(stripping, "core").with_offsets(tf.constant(["a"]))


def test_bytes_that_are_not_utf8_do_not_count():
    tokenizer = WordPieceTokenizer(Vocabulary(TOKENS))
    found = tokenizer_graph(tokenizer, "core").with_offsets(tf.constant([b"\xff a\xfe film"]))
    assert found["texts"].numpy().tolist() == [b" a film"]
    assert found["starts"].to_list() == [[1, 3]]


def test_refusals():
    vocabulary = Vocabulary(TOKENS)
    with pytest.raises(ValueError, match='Only the engine "core" finds offsets'):
        tokenizer_graph(WordPieceTokenizer(vocabulary), "fast").with_offsets(tf.constant(["a"]))
    other = WordPieceTokenizer(vocabulary, normalization="mediapipe")
    with pytest.raises(ValueError, match="use a tokenizer without preprocessing"):
        tokenizer_graph(other, "core").with_offsets(tf.constant(["a"]))
