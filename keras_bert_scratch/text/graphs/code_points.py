"""What every code point becomes in the normalized text: the table of both engines."""

import functools
from collections.abc import Callable

import numpy as np

from keras_bert_scratch.text.normalization import NUM_CODE_POINTS, BertNormalizer, Normalizer

# Places in the table's strings of "unchanged" and of the empty string.
UNCHANGED, DELETED = 0, 1


def code_point_strings(normalizer: Normalizer) -> tuple[np.ndarray, list[str]]:
    """Maps every code point to the characters of the normalized text, words apart.

    Returns:
        `(index, strings)`: code point c becomes `strings[index[c]]`, with spaces around a word that
        it is alone, or stays as it is if `index[c]` is `UNCHANGED`. *Shape of index:*
        (NUM_CODE_POINTS,), int32
    """
    return _table(normalizer, normalizer.replace)


def normalized_strings(normalizer: BertNormalizer) -> tuple[np.ndarray, list[str]]:
    """Maps every code point to the characters of the normalized text, before it is split."""
    return _table(normalizer, normalizer.normalize)


@functools.lru_cache(maxsize=4)
def _table(normalizer: Normalizer, replace: Callable[[int], str]) -> tuple[np.ndarray, list[str]]:
    # No normalized text holds U+0000, so it can mark what is unchanged.
    numbers = {"\0": UNCHANGED, "": DELETED}
    index = np.full(NUM_CODE_POINTS, UNCHANGED, np.int32)
    for code_point in normalizer.changed_code_points():
        index[code_point] = numbers.setdefault(replace(code_point), len(numbers))
    return index, list(numbers)
