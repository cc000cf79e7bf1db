"""The tables of the integer engine: the symbols of code points, and the trie of all tokens.

A symbol is a character, numbered densely: 0 and 1 are spaces, then come those that are words by
themselves (punctuation, Chinese), then letters; characters that no token has share a number.
"""

import functools
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_bert_scratch.text.graphs.code_points import (
    UNCHANGED,
    code_point_strings,
    normalized_strings,
    unique_blocks,
)
from keras_bert_scratch.text.graphs.double_array import double_array
from keras_bert_scratch.text.normalization import NUM_CODE_POINTS, BertNormalizer, Normalizer
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import CONTINUATION

# Numbers behind the code points: the end of a text, and then the tokens found in the raw text.
END, FIRST_FOUND = NUM_CODE_POINTS, NUM_CODE_POINTS + 1
# The symbol of the end, which is in no token, and that of a space.
END_SYMBOL, SPACE_SYMBOL = 0, 1
# Roots of the trie of tokens.
WORD, REST = 1, 2
PAGE = 256

# What stands for a lone surrogate.
_REPLACEMENT = 0xFFFD
_SURROGATES = slice(0xD800, 0xE000)

# Of a replaced code point: a word by itself, or any other character.
_CHARACTERS = re.compile(r" ([^ ]) |(.)", re.DOTALL)

# A character: its text and whether it is a word by itself. The text of those that no token has is
# their length, and that of tokens that are found whole is empty, followed by their id.
_Character = tuple[str | int, bool] | tuple[str, bool, int]


class Symbols:
    """The numbers of characters, and the table of what code points become.

    Attributes:
        numbers: The symbol of each character.
        last_alone: The last symbol that is a space or a word by itself.
        sizes: Length of each symbol in the unit of words' lengths; None if all are 1.
        table: What each code point becomes, as symbols.
        known: The characters of tokens.
    """

    def __init__(self, tokenizer: WordPieceTokenizer, found: Sequence[int]) -> None:
        normalizer = tokenizer.normalizer
        self.known = set("".join(tokenizer.pieces))
        self._size_of = normalizer.word_length
        # Tokens that are found in the normalized text see the spaces around Chinese characters.
        normalized = tokenizer.finders[1].contents if tokenizer.finders else ()
        self.known |= set("".join(normalized))
        become = _become(normalizer, keeps_spaces=bool(normalized))
        # What most code points become is one character that no token has: its symbol is its length.
        is_known = np.isin(become.character, [ord(" "), *map(ord, self.known)])
        is_unknown = (become.character >= 0) & ~is_known
        rows = {row: self._characters(become.pairs[row]) for row in np.flatnonzero(~is_unknown)}
        sizes = sorted({self._size_of(character) for character in "a\xe9\u4e00\U00010000"})
        characters: set[_Character] = {c for row in rows.values() for c in row}
        characters |= {(c, False) for c in self.known}
        characters |= {(size, is_alone) for size in sizes for is_alone in (True, False)}
        characters |= {("", True, token_id) for token_id in found}
        ordered = sorted(characters - {(" ", False)}, key=lambda c: (not c[1], str(c)))
        self.numbers: dict[_Character, int] = {(" ", False): SPACE_SYMBOL}
        self.numbers |= {character: number for number, character in enumerate(ordered, 2)}
        num_alone = sum(is_alone for _, is_alone, *_ in ordered)
        self.last_alone = SPACE_SYMBOL + num_alone
        lengths = [1, 1, *(c if isinstance(c, int) else self._size_of(c) for c, *_ in ordered)]
        self.sizes = np.array(lengths, np.int32) if len(sizes) > 1 else None
        self.num_symbols = len(lengths)

        # Strings of one symbol have its number, which is that of what stays unchanged.
        number_of: dict[tuple[int, ...], int] = {(n,): n for n in range(self.num_symbols)}
        number_of_row = self._unknown(become.character, become.is_alone)
        for place, row in rows.items():
            number_of_row[place] = number_of.setdefault(
                tuple(self.numbers[c] for c in row), len(number_of)
            )
        numbers = np.empty(FIRST_FOUND + len(found), np.int64)
        numbers[:NUM_CODE_POINTS] = number_of_row[become.strings]
        unchanged = np.flatnonzero(become.strings == UNCHANGED)
        numbers[unchanged] = self._of_unchanged(unchanged)
        numbers[_SURROGATES] = numbers[_REPLACEMENT]
        numbers[END] = END_SYMBOL
        numbers[FIRST_FOUND:] = [self.numbers["", True, token_id] for token_id in found]
        self.table = Replacements(numbers, [*number_of])

    def number(self, character: str, is_alone: bool) -> int:
        """Returns the symbol of a character."""
        return self.numbers[character, is_alone and character != " "]

    def is_punctuation(self, character: str) -> bool:
        """Returns whether a character of the normalized text is split off."""
        return _split_off(character) == f" {character} "

    def _characters(self, pairs: Iterable[tuple[str, bool]]) -> list[_Character]:
        """Returns characters, those that no token has by their lengths."""
        return [
            (character, is_alone)
            if character in self.known or character == " "
            else (self._size_of(character), is_alone)
            for character, is_alone in pairs
        ]

    def _unknown(self, code_points: np.ndarray, is_alone: np.ndarray | bool) -> np.ndarray:
        """Returns the symbols of characters that no token has."""
        # The length of a character grows with its code point, and unknown ones differ in it alone.
        limits = np.array([0x80, 0x800, 0x10000])
        sizes = [int(self._size_of(c)) for c in "a\xe9\u4e00\U00010000"]
        symbols = np.array(
            [[self.numbers[size, alone] for alone in (False, True)] for size in sizes]
        )
        return symbols[np.searchsorted(limits, code_points, side="right"), np.int64(is_alone)]

    def _of_unchanged(self, code_points: np.ndarray) -> np.ndarray:
        """Returns the symbols of letters."""
        symbols = self._unknown(code_points, is_alone=False)
        known = np.array([ord(c) for c in self.known], np.int64)
        known = known[np.isin(known, code_points)]
        symbols[np.searchsorted(code_points, known)] = [
            self.numbers[chr(c), False] for c in known.tolist()
        ]
        return symbols


class _Become(NamedTuple):
    """What code points become, whatever the vocabulary.

    Attributes:
        strings: The number of the string that each code point becomes.
            *Shape:* (NUM_CODE_POINTS,)
        pairs: The characters of each string, and whether each is a word by itself.
        character: The code point of strings of one character, or -1. *Shape:* (strings,)
        is_alone: Whether it is a word by itself. *Shape:* (strings,)
    """

    strings: np.ndarray
    pairs: list[list[tuple[str, bool]]]
    character: np.ndarray
    is_alone: np.ndarray


# As the tables in code_points.py, it is shared by all tokenizers with the same settings.
@functools.lru_cache(maxsize=4)
def _become(normalizer: Normalizer, *, keeps_spaces: bool) -> _Become:
    if keeps_spaces:
        assert isinstance(normalizer, BertNormalizer)
        index, strings = normalized_strings(normalizer)
        strings = ["".join(map(_split_off, string)) for string in strings]
    else:
        index, strings = code_point_strings(normalizer)
    pairs = [
        [(alone or other, bool(alone)) for alone, other in _CHARACTERS.findall(string)]
        for string in strings
    ]
    single = [row[0] if len(row) == 1 else None for row in pairs]
    return _Become(
        index,
        pairs,
        np.array([ord(pair[0]) if pair else -1 for pair in single]),
        np.array([bool(pair and pair[1]) for pair in single]),
    )


# Splits punctuation off a text that is normalized, and does nothing else.
_SPLIT = BertNormalizer(False, False, False)


@functools.cache
def _split_off(character: str) -> str:
    return _SPLIT.replace(ord(character))


class Replacements:
    """A table of what numbers become.

    Attributes:
        values: All strings, one after the other.
        splits: Where each begins in `values`, and the end of the last.
        longest: The length of the longest.
        number: The number of the string that each becomes, on pages.
        string: The string itself, on pages: where it begins in `values`, times `longest + 1`, and
            its length.
    """

    def __init__(self, numbers: np.ndarray, strings: Sequence[Sequence[int]]) -> None:
        lengths = np.array([len(string) for string in strings])
        self.splits = np.append(0, np.cumsum(lengths))
        self.values = np.array([value for string in strings for value in string], np.int32)
        self.longest = int(lengths.max())
        self.number = paged(numbers)
        packed = (self.splits[:-1] * (self.longest + 1) + lengths).astype(np.int32)
        self.string = Paged(self.number.first_of, packed[self.number.pages])


class Paged(NamedTuple):
    """A table of two levels: the value of i is `pages[first_of[i // 256] + i % 256]`."""

    first_of: np.ndarray
    pages: np.ndarray


def paged(values: np.ndarray) -> Paged:
    """Makes a table of two levels."""
    missing = -len(values) % PAGE
    pages, page_of = unique_blocks(np.pad(values, (0, missing)).astype(np.int32), PAGE)
    return Paged((page_of.ravel() * PAGE).astype(np.int32), pages.ravel())


def numbered(numbers: dict[int, int]) -> np.ndarray:
    """Returns a number for every code point, and for the end of a text: 0 where none is given."""
    values = np.zeros(FIRST_FOUND, np.int64)
    values[list(numbers)] = list(numbers.values())
    return values


class Trie(NamedTuple):
    """A `DoubleArray` whose longest entry has the largest value.

    Attributes:
        base, check: See `DoubleArray`.
        value: The entry's length times `num_values`, and its number.
        depth: Symbols of the longest entry.
        num_values: More than any number.
    """

    base: Any
    check: Any
    value: Any
    depth: int
    num_values: int

    def in_graph(self) -> "Trie":
        """Returns it with constants of a graph as its tables, one for all uses."""
        return self._replace(
            base=tf.constant(self.base),
            check=tf.constant(self.check),
            value=tf.constant(self.value),
        )


def trie_of(
    entries: Sequence[tuple[int, list[int], int]], num_roots: int, num_symbols: int
) -> Trie:
    """Builds a trie, see `double_array`; numbers of entries are not negative.

    Raises:
        ValueError: If the values do not fit into int32.
    """
    num_values = 1 + max((number for *_, number in entries), default=0)
    longest = max((len(row) for _, row, _ in entries), default=0)
    if (longest + 1) * num_values > np.iinfo(np.int32).max:
        raise ValueError(
            f"A graph finds no tokens of {longest} characters among {num_values} tokens: remove "
            "those that are so long from the vocabulary."
        )
    valued = ((root, row, len(row) * num_values + number) for root, row, number in entries)
    return Trie(*double_array(valued, num_roots, num_symbols), num_values)


def token_trie(tokenizer: WordPieceTokenizer, symbols: Symbols) -> Trie:
    """Builds the trie of all tokens that a word can be split into."""
    entries = []
    for token, token_id in tokenizer.pieces.items():
        continues = token.startswith(CONTINUATION) and token != CONTINUATION
        text = token[len(CONTINUATION) :] if continues else token
        for is_alone in (False, True):
            # What is a word by itself is never a part of another, nor is what is too long for one.
            if not 0 < len(text) <= (1 if is_alone else tokenizer.max_word_length):
                continue
            row = [symbols.numbers.get((character, is_alone), SPACE_SYMBOL) for character in text]
            if SPACE_SYMBOL not in row:
                entries.append((REST if continues else WORD, row, token_id))
    entries += [(WORD, [n], key[2]) for key, n in symbols.numbers.items() if len(key) > 2]
    return trie_of(entries, 2, symbols.num_symbols)
