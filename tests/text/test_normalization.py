"""Words worked out by hand; test_identity.py compares everything else with the reference."""

import pytest
from tokenizers import __version__ as tokenizers_version

from keras_bert_scratch.text.normalization import (
    BertNormalizer,
    MediaPipeNormalizer,
    unicode_table,
)

UNCASED = BertNormalizer(lowercase=True, strip_accents=True, tokenize_chinese_chars=True)
CASED = BertNormalizer(lowercase=False, strip_accents=False, tokenize_chinese_chars=True)


def words(normalizer, text):
    return [word.text for word in normalizer.words(text)]


@pytest.mark.parametrize(
    ("normalizer", "text", "expected"),
    [
        # The example of google-research/bert's README, and those of its tokenization_test.py.
        (UNCASED, "John Johanson's,  HOUSE", ["john", "johanson", "'", "s", ",", "house"]),
        (UNCASED, " \tHeLLo!how  \n Are yoU?  ", ["hello", "!", "how", "are", "you", "?"]),
        (UNCASED, "H\u00e9llo", ["hello"]),
        (CASED, " \tHeLLo!how  \n Are yoU?  ", ["HeLLo", "!", "how", "Are", "yoU", "?"]),
        (UNCASED, "ah\u535a\u63a8zz", ["ah", "\u535a", "\u63a8", "zz"]),
        # Lower case and accents are independent.
        (BertNormalizer(True, False, True), "Él", ["él"]),
        (BertNormalizer(False, True, True), "Él", ["El"]),
        # Without the CJK step a run of characters is a word, but punctuation still splits.
        (BertNormalizer(True, True, False), "中文，字", ["中文", "，", "字"]),
        # No compatibility forms, no case folding.
        (UNCASED, "ß ﬁ ½ Ⅳ ＡＢ", ["ß", "ﬁ", "½", "ⅳ", "ａｂ"]),
        # Deleted, not separating: control characters, U+FFFD, NUL, soft hyphen, zero width.
        (UNCASED, "a\x01b c\ufffdd e\0f g\u00adh i\u200bj", ["ab", "cd", "ef", "gh", "ij"]),
        (UNCASED, "a\u2028b\u00a0c\u3000d", ["a", "b", "c", "d"]),
        # A lone surrogate is dropped like U+FFFD.
        (UNCASED, "a\ud800b", ["ab"]),
    ],
)
def test_words(normalizer, text, expected):
    assert words(normalizer, text) == expected


def test_origins_are_positions_in_the_raw_text():
    # 0:space 1:N 2:a 3:i-diaeresis 4:v 5:e 6:combining acute 7:! 8:NUL 9:CJK
    found = list(UNCASED.words(" Na\u00efve\u0301!\0中"))
    assert found == [("naive", [1, 2, 3, 4, 5]), ("!", [7]), ("中", [9])]


def test_one_character_may_become_two():
    # NFD of U+1E9B (long s with dot above) is U+017F U+0307; U+0958 becomes two that stay.
    assert list(UNCASED.words("x\u0958y")) == [("x\u0915y", [0, 1, 2])]
    assert words(BertNormalizer(True, False, True), "\u0130") == ["i\u0307"]


def test_marks_that_stay_are_put_into_canonical_order():
    # U+302E and U+302F (class 224) are spacing marks and stay; U+1D165 has class 216.
    text = "a\u302e\U0001d165b"
    assert words(UNCASED, text) == ["a\U0001d165\u302eb"]
    assert words(CASED, text) == [text]


def test_mediapipe_words():
    phone = MediaPipeNormalizer()
    assert words(phone, "Él DIJO:你\u00a0x") == ["Él", "dijo", ":", "你", "\u00a0x"]
    # A word's length is in bytes, and U+0000 ends the text.
    assert phone.word_length("é") == 2
    assert UNCASED.word_length("é") == 1
    assert words(phone, "a b\0c") == ["a", "b"]


def test_the_table_names_its_reference():
    table = unicode_table()
    # Another version of the reference may need another table: write it again.
    assert table.reference == f"tokenizers {tokenizers_version}"
    assert table.unicode_version == "lower_case 17.0, decomposition 7.0, category 8.0"
