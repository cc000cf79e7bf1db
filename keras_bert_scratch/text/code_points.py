"""What every code point becomes in the normalized text: the table of both engines."""

import functools

import numpy as np

from keras_bert_scratch.text.normalization import NUM_CODE_POINTS, Normalizer
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer

# Places in the table's strings of "unchanged" and of the empty string.
UNCHANGED, DELETED = 0, 1
# Private code points stand for special tokens in a raw text. Normalization deletes them, so their
# own occurrences can be exchanged for another private code point beforehand.
_FIRST_STAND_IN = 0x10FFF0


def stand_ins(tokenizer: WordPieceTokenizer) -> dict[int, str]:
    """Returns which code point stands for which special token, if texts may name them."""
    if not tokenizer.allow_special_tokens:
        return {}
    return dict(enumerate(tokenizer.vocabulary.special_tokens, start=_FIRST_STAND_IN))


def code_point_strings(tokenizer: WordPieceTokenizer) -> tuple[np.ndarray, list[str]]:
    """Maps every code point to the characters of the normalized text.

    Returns:
        `(index, strings)`: code point c becomes `strings[index[c]]`, with spaces around a word that
        it is alone, or stays as it is if `index[c]` is `UNCHANGED`. *Shape of index:*
        (NUM_CODE_POINTS,), int32
    """
    index, strings = _table(tokenizer.normalizer)
    index, strings = index.copy(), list(strings)
    for code_point, token in stand_ins(tokenizer).items():
        index[code_point] = len(strings)
        strings.append(f" {token} ")
    return index, strings


@functools.lru_cache(maxsize=4)
def _table(normalizer: Normalizer) -> tuple[np.ndarray, list[str]]:
    # No normalized text holds U+0000, so it can mark what is unchanged.
    numbers = {"\0": UNCHANGED, "": DELETED}
    index = np.full(NUM_CODE_POINTS, UNCHANGED, np.int32)
    for code_point in normalizer.changed_code_points():
        index[code_point] = numbers.setdefault(normalizer.replace(code_point), len(numbers))
    return index, list(numbers)
