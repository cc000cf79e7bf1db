"""How a tokenizer fits texts, worked out by hand."""

import pytest

from keras_bert_scratch.text.statistics import phone_differences, vocabulary_statistics
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import SPECIAL_TOKENS, Vocabulary


def test_vocabulary_statistics():
    tokenizer = WordPieceTokenizer(Vocabulary([*SPECIAL_TOKENS, "film", "a", "##s", "!"]))
    # Words: films (2 pieces), ! (1), a (1), zzz (unknown), and film in the second text.
    found = vocabulary_statistics(tokenizer, ["Films! a zzz", "film"], num_longest=2)
    assert found == (2, 5, 6, 3 / 5, 1 / 6, 6 / 5, ["film", "!"])


def test_nothing_to_measure():
    tokenizer = WordPieceTokenizer(Vocabulary(SPECIAL_TOKENS))
    with pytest.raises(ValueError, match="The 1 texts have no words: there is nothing to"):
        vocabulary_statistics(tokenizer, [" "])


def test_phone_differences():
    vocabulary = Vocabulary([*SPECIAL_TOKENS, "film", "a", "cafe", "café", "é", "!"])
    tokenizer = WordPieceTokenizer(vocabulary)
    # The phone keeps the accent: "café" is one token there and "cafe" here. "CAFÉ" is [UNK] there,
    # and "é" is a token there and [UNK] here.
    texts = ["a film", "CAFÉ", "café", "A FILM!", "é", "é a", "a é", "é é"]
    found = phone_differences(tokenizer, texts)
    assert found == (8, 6, ["CAFÉ", "café", "é", "é a", "a é"])
    phone = WordPieceTokenizer(vocabulary, normalization="mediapipe")
    assert phone_differences(phone, texts) == (8, 0, [])
