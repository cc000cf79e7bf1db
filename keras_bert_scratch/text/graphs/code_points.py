"""What every code point becomes in the normalized text: the table of all engines."""

import functools
from collections.abc import Callable

import numpy as np

from keras_bert_scratch.text.normalization import NUM_CODE_POINTS, BertNormalizer, Normalizer

# Places in the table's strings of "unchanged" and of the empty string.
UNCHANGED, DELETED = 0, 1


# Normalizers with the same settings are equal, and share their tables.
@functools.lru_cache(maxsize=4)
def code_point_strings(normalizer: Normalizer) -> tuple[np.ndarray, list[str]]:
    """Maps every code point to the characters of the normalized text, words apart.

    Returns:
        `(index, strings)`: code point c becomes `strings[index[c]]`, with spaces around it if it is
        a word of its own, or stays unchanged if `index[c]` is `UNCHANGED`. *Shape of index:*
        (NUM_CODE_POINTS,), int32
    """
    return _table(normalizer, normalizer.replace)


@functools.lru_cache(maxsize=4)
def normalized_strings(normalizer: BertNormalizer) -> tuple[np.ndarray, list[str]]:
    """Maps every code point to the characters of the normalized text, before it is split."""
    return _table(normalizer, normalizer.normalize)


def unique_blocks(values: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Cuts values into blocks; returns those that differ, and which of them each one is."""
    blocks = values.reshape(-1, size)
    # As bytes: np.unique(axis=0) compares field by field, which takes ten times as long.
    rows = blocks.view(np.dtype((np.void, blocks.itemsize * size))).ravel()
    _, first, which = np.unique(rows, return_index=True, return_inverse=True)
    return blocks[first], which


def _table(normalizer: Normalizer, replace: Callable[[int], str]) -> tuple[np.ndarray, list[str]]:
    # No normalized text holds U+0000, so it can mark what is unchanged.
    numbers = {"\0": UNCHANGED, "": DELETED}
    index = np.full(NUM_CODE_POINTS, UNCHANGED, np.int32)
    for code_point in normalizer.changed_code_points():
        index[code_point] = numbers.setdefault(replace(code_point), len(numbers))
    return index, list(numbers)
