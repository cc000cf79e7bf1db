"""The integer engine: code points in, ids and offsets out, by look-ups in tables of whole numbers.

It needs no strings, so LiteRT, ONNX Runtime and browsers run it with their built-in operations. All
positions of a text are worked on at once, in five steps:

1. *Normalization is a look-up.* BERT's normalization acts on one code point at a time, so a table
   holds what each becomes: no symbol (an accent), one, or more. A symbol is a character, numbered
   densely: 0 and 1 are spaces, then come those that are words by themselves (punctuation, Chinese),
   then letters; characters that no token has share a number. As most blocks of 256 code points are
   alike, the table has two levels: `pages[page_of[c // 256] * 256 + c % 256]`.
2. *Words are cumulative sums.* A symbol starts a word if it is no space, and it or the one before
   it is a space or a word by itself. The number of starts up to a position is the number of its
   word.
3. *The longest match, from every position at once.* The vocabulary is a trie with two roots, one
   for tokens that start a word and one for those that continue it ("##"). Every position starts at
   its root and takes a step with the symbol after it, until no position can go on; the last state
   that was a token is the longest match. A token of several symbols has letters only, so no match
   runs over the end of a word. `double_array.py` explains the tables of the trie.
4. *The matches that count.* Greedy splitting follows the matches from the start of each word: from
   a position i to i + length[i]. By pointer-jumping the positions that are reached double in each
   round: those that were reached pass on the mark to where they point, then all pointers point
   twice as far. A word of 100 characters takes 7 rounds.
5. *Unknown words.* A word is [UNK] if a position is reached that has no match, or if it is too
   long. One position of the word tells, and all read it by the number of the word.

The tokens that are found whole (`added_tokens.py`) are longest matches, too, of which those that
count are followed from the start of the text; a symbol of its own takes the place of each.

No scatter depends on what happens where several values have one place, in which runtimes differ:
they are all 1, or nothing reads the place. Ragged tensors, and `where` of a condition alone, which
some runtimes lack, are not used.

Axes: B texts, N code points of a text, T tokens; within a step, one axis runs over all code points
or over all symbols.
"""

import functools
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_bert_scratch.text.added_tokens import Finder
from keras_bert_scratch.text.graphs.code_points import (
    UNCHANGED,
    code_point_strings,
    normalized_strings,
    unique_blocks,
)
from keras_bert_scratch.text.graphs.double_array import DEAD, DoubleArray, double_array
from keras_bert_scratch.text.normalization import (
    DELETED_FLAG,
    NUM_CODE_POINTS,
    BertNormalizer,
    MediaPipeNormalizer,
    Normalizer,
    unicode_table,
)
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.truncation import (
    Truncation,
    check_sequence_length,
    head_and_tail,
)
from keras_bert_scratch.text.vocabulary import CONTINUATION

# What stands for a code point that is none, or a lone surrogate; what BERT deletes.
_REPLACEMENT, _NUL = 0xFFFD, 0
_SURROGATES = slice(0xD800, 0xE000)
# Numbers behind the code points: the end of a text, and then the tokens found in the raw text.
_END, _FIRST_FOUND = NUM_CODE_POINTS, NUM_CODE_POINTS + 1
# The symbol of the end, which is in no token, and that of a space.
_END_SYMBOL, _SPACE_SYMBOL = 0, 1
# Roots of the trie of tokens.
_WORD, _REST = 1, 2
_NO_TOKEN = -1
_PAGE = 256
# Combining classes are below it; what stands for a code point that stays.
_CLASSES = 256
_UNCHANGED = -1
# Most rounds in which positions are followed where loops cannot stop early: added tokens are found
# among the first million code points.
_MOST_ROUNDS = 20

# Of a replaced code point: a word by itself, or any other character.
_CHARACTERS = re.compile(r" ([^ ]) |(.)", re.DOTALL)

# A character: its text and whether it is a word by itself. The text of those that no token has is
# their length, and that of tokens that are found whole is empty, followed by their id.
_Character = tuple[str | int, bool] | tuple[str, bool, int]


class Tokens(NamedTuple):
    """Tokens of texts, one text after the other. *Shape:* (T,) each, int32.

    Attributes:
        token_ids: The ids.
        starts: Start of each token in its text, in code points.
        ends: Its end.
        opens_word: 1 for the first token of a word, else 0.
        rows: The text of each token.
    """

    token_ids: tf.Tensor
    starts: tf.Tensor
    ends: tf.Tensor
    opens_word: tf.Tensor
    rows: tf.Tensor


class _Source(NamedTuple):
    """Where code points come from. *Shape:* one value a code point.

    Attributes:
        starts: The position of each in its text.
        ends: The position after it.
        rows: The number of its text.
    """

    starts: tf.Tensor
    ends: tf.Tensor
    rows: tf.Tensor


class IntegerEngine(tf.Module):
    """Code points -> tokens, those of `WordPieceTokenizer.encode`.

    Args:
        tokenizer: The tokenizer whose tokens the engine computes.
        with_offsets: Whether offsets are read, too. They depend on the order of combining marks
            even where the ids do not.
        unrolled: Whether loops are written out, for runtimes that have none: each then takes as
            many steps as the longest token has characters.

    Raises:
        ValueError: If the tokenizer has settings that need strings or errors, or offsets depend on
            white space around added tokens.
    """

    def __init__(
        self, tokenizer: WordPieceTokenizer, *, with_offsets: bool = False, unrolled: bool = False
    ) -> None:
        super().__init__()
        _check_switches(tokenizer, with_offsets)
        self._unrolled = unrolled
        vocabulary = tokenizer.vocabulary
        self._unk_id, self._cls_id, self._sep_id = (
            vocabulary.unk_id,
            vocabulary.cls_id,
            vocabulary.sep_id,
        )
        self._max_word_length = tokenizer.max_word_length
        self._nul_ends = isinstance(tokenizer.normalizer, MediaPipeNormalizer)
        finders = tokenizer.finders or (Finder({}), Finder({}))
        id_of = vocabulary.token_to_id
        found = sorted({id_of(t.content) for finder in finders for t in finder.tokens.values()})
        symbols = _Symbols(tokenizer, found)
        self._last_alone = symbols.last_alone
        self._sizes = symbols.sizes
        self._normalization = symbols.table
        self._tokens = _token_trie(tokenizer.pieces, symbols)

        def identity(token_id: int) -> int:
            return symbols.numbers["", True, token_id]

        raw, normalized = finders
        # A number of the raw text for each of its characters that a token has.
        letters = sorted(set("".join(raw.contents)))
        self._raw_symbols = _paged(_numbered({ord(c): i + 1 for i, c in enumerate(letters)}))
        self._raw = _Finding(
            raw,
            lambda c: letters.index(c) + 1,
            lambda token: _FIRST_FOUND + found.index(id_of(token)),
            len(letters) + 1,
        )
        self._normalized = _Finding(
            normalized,
            lambda c: symbols.number(c, symbols.is_punctuation(c)),
            lambda token: identity(id_of(token)),
            symbols.num_symbols,
        )
        moves = tokenizer.normalizer.sources_of_marks
        is_sorted = moves and (with_offsets or not moves.isdisjoint(symbols.known))
        self._marks = _Marks(tokenizer.normalizer) if is_sorted else None

    def __call__(self, code_points: tf.Tensor) -> Tokens:
        """Splits texts into tokens.

        Args:
            code_points: The texts, filled up with zeros, int32; what is no code point, and lone
                surrogates, count as U+FFFD. *Shape:* (B, N)

        Returns:
            The tokens, without [CLS] and [SEP].
        """
        shape = tf.shape(code_points)
        # Every text has an end, so that none is empty.
        ends = tf.fill(tf.stack([shape[0], 1]), _END)
        is_one = (code_points >= 0) & (code_points < NUM_CODE_POINTS)
        code_points = tf.where(is_one, code_points, _REPLACEMENT)
        if self._nul_ends:
            is_over = tf.cumsum(tf.cast(code_points == _NUL, tf.int32), axis=1) > 0
            code_points = tf.where(is_over, _END, code_points)
        starts = tf.tile(tf.range(shape[1] + 1)[tf.newaxis], tf.stack([shape[0], 1]))
        rows = tf.tile(tf.range(shape[0])[:, tf.newaxis], tf.stack([1, shape[1] + 1]))
        starts, rows, code_points = (
            tf.reshape(values, [-1]) for values in (starts, rows, tf.concat([code_points, ends], 1))
        )
        return self.of_flat(code_points, _Source(starts, starts + 1, rows))

    def inputs(
        self, code_points: tf.Tensor, *, sequence_length: int, truncation: Truncation = "head"
    ) -> dict[str, tf.Tensor]:
        """Turns one text into a model's inputs.

        Args:
            code_points: The text. *Shape:* (1, N)
            sequence_length: Most tokens, [CLS] and [SEP] included.
            truncation: Which tokens of a long text stay, see `head_and_tail`.

        Returns:
            `token_ids`, `segment_ids` and `padding_mask`, int32. *Shape:* (1, S) each
        """
        head, tail = head_and_tail(truncation, check_sequence_length(sequence_length, 1))
        return self.row(self(code_points).token_ids, head, tail)

    def row(self, ids: tf.Tensor, head: int, tail: int) -> dict[str, tf.Tensor]:
        """Turns the ids of one text into a model's inputs: its first `head` and last `tail` ids."""
        tail_ids = ids[tf.maximum(tf.size(ids) - tail, head) :]
        row = tf.concat([[self._cls_id], ids[:head], tail_ids, [self._sep_id]], 0)[tf.newaxis]
        return {
            "token_ids": row,
            "segment_ids": tf.zeros_like(row),
            "padding_mask": tf.ones_like(row),
        }

    def most_tokens(self, num_code_points: int) -> int:
        """Returns the most tokens that a text of so many code points can have."""
        longest = self._normalization.longest
        return num_code_points * (longest if self._marks is None else longest * self._marks.longest)

    def of_flat(self, code_points: tf.Tensor, source: _Source) -> Tokens:
        """Splits texts that stand one after the other, each with an `_END` behind it."""
        if self._raw.trie is not None:
            symbols = _look_up(self._raw_symbols, code_points)
            code_points, ends = self._find(self._raw, symbols, code_points, _NUL, source.ends)
            source = source._replace(ends=ends)
        if self._marks is not None:
            code_points, source = self._marks(code_points, source)
        symbols, place = _replaced(self._normalization, code_points)
        source = _Source(*(tf.gather(values, place) for values in source))
        if self._normalized.trie is not None:
            symbols, ends = self._find(self._normalized, symbols, symbols, _END_SYMBOL, source.ends)
            source = source._replace(ends=ends)
        return self._split(symbols, source)

    def _split(self, symbols: tf.Tensor, source: _Source) -> Tokens:
        """Splits normalized texts into words, and words into tokens."""
        count = tf.size(symbols)
        every = tf.range(count)
        is_space = symbols <= _SPACE_SYMBOL
        # 1 where a word may start, and behind all of them.
        after = tf.concat([[True], symbols <= self._last_alone], 0)
        opens = ~is_space & (after[:-1] | after[1:])
        closed = tf.concat([is_space | opens, [True]], 0)
        # Words have the numbers 1, 2, ...; the spaces before them 0.
        word = tf.cumsum(tf.cast(opens, tf.int32))

        def of_words(is_given: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
            """Gives all positions of each word the value given at one of them, or 0."""
            places = tf.where(is_given, word, count + 1)
            return tf.gather(_scatter(places, values, count + 2), word)

        root = tf.where(opens, _WORD, _REST)
        length, token = self._longest(self._tokens, symbols, root)
        behind = every + length
        goes_on = (length > 0) & ~tf.gather(closed, behind)
        reached = self._follow(
            tf.where(goes_on, behind, count), tf.cast(opens, tf.int32), self._max_word_length
        )

        # The symbol with which a word becomes too long.
        size = tf.ones_like(symbols) if self._sizes is None else _gather(self._sizes, symbols)
        up_to = tf.cumsum(size)
        in_word = up_to - of_words(opens, up_to - size)
        is_crossing = (in_word > self._max_word_length) & (in_word - size <= self._max_word_length)
        has_failed = ((reached > 0) & (length == 0)) | is_crossing
        is_unknown = of_words(has_failed & ~is_space, tf.ones_like(word)) > 0

        # An unknown word ends with its last symbol, and a token with that before the next one.
        last = of_words(~is_space & closed[1:], every)
        last = tf.where(is_unknown, last, tf.maximum(behind - 1, 0))
        is_token = tf.where(is_unknown, opens, reached > 0) & ~is_space
        return Tokens(
            *_kept(
                is_token,
                tf.where(is_unknown, self._unk_id, token),
                source.starts,
                tf.gather(source.ends, last),
                tf.cast(opens, tf.int32),
                source.rows,
            )
        )

    def _longest(
        self, trie: DoubleArray, symbols: tf.Tensor, root: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Finds the longest entry of a trie at every position.

        Args:
            trie: The trie.
            symbols: The symbols.
            root: The root at which each position starts.

        Returns:
            The length of the entry, 0 for none, and its value.
        """
        count = tf.size(symbols)
        base, check, value = (tf.constant(table) for table in trie[:3])
        padded = tf.concat([symbols, tf.fill([trie.depth], _END_SYMBOL)], 0)

        def step(done: Any, state: tf.Tensor, length: tf.Tensor, found: tf.Tensor) -> tuple:
            child = tf.gather(base, state) + tf.slice(padded, [done], [count])
            state = tf.where(tf.gather(check, child) == state, child, DEAD)
            here = tf.gather(value, state)
            is_entry = here >= 0
            return (
                done + 1,
                state,
                tf.where(is_entry, done + 1, length),
                tf.where(is_entry, here, found),
            )

        none = tf.zeros_like(symbols)
        _, _, length, found = self._repeat(
            step,
            (0, root, none, none + _NO_TOKEN),
            lambda done, state, *_: (done < trie.depth) & (tf.reduce_max(state) > DEAD),
            trie.depth,
        )
        return length, found

    def _follow(self, pointers: tf.Tensor, reached: tf.Tensor, most_steps: int) -> tf.Tensor:
        """Marks the positions to which pointers lead.

        Args:
            pointers: Where each position points, itself a later one; the number of positions is
                the end. No two positions that are reached point to the same one but the end.
            reached: 1 where the ways begin, else 0.
            most_steps: Pointers on the longest way.

        Returns:
            1 where a way leads, else 0.
        """
        count = tf.size(pointers)

        def step(pointers: tf.Tensor, reached: tf.Tensor) -> tuple:
            onward = tf.where(reached > 0, pointers, count)
            marks = _scatter(onward, tf.ones_like(onward), count + 1)
            return tf.gather(pointers, pointers), tf.cast((reached > 0) | (marks > 0), tf.int32)

        end = tf.reshape(count, [1])
        _, reached = self._repeat(
            step,
            (tf.concat([pointers, end], 0), tf.concat([reached, [0]], 0)),
            lambda pointers, reached: tf.reduce_min(tf.where(reached > 0, pointers, count)) < count,
            min(most_steps.bit_length(), _MOST_ROUNDS),
        )
        return reached[:-1]

    def _repeat(
        self, step: Callable[..., tuple], start: tuple, goes_on: Callable[..., Any], most: int
    ) -> tuple:
        """Repeats a step while it goes on, or `most` times where loops are written out."""
        if self._unrolled:
            for _ in range(most):
                start = step(*start)
            return start
        shapes = tuple(tf.TensorShape([None] * tf.convert_to_tensor(v).shape.rank) for v in start)
        return tf.while_loop(goes_on, step, start, shapes)

    def _find(
        self,
        finding: "_Finding",
        symbols: tf.Tensor,
        values: tf.Tensor,
        covered: int,
        ends: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Finds tokens in texts.

        Args:
            finding: What is found.
            symbols: The texts as symbols of its trie.
            values: Values of their positions.
            covered: The value of what a token covers, except for its first position.
            ends: The position in its text after each symbol.

        Returns:
            The values, where the first position of each token has that which stands for it; and the
            ends, where it has the token's.
        """
        assert finding.trie is not None
        count = tf.size(symbols)
        length, found = self._longest(finding.trie, symbols, tf.ones_like(symbols))
        every = tf.range(count)
        behind = every + tf.maximum(length, 1)
        # Tokens that are found do not overlap: the text is read from its start.
        reached = self._follow(behind, tf.cast(every == 0, tf.int32), 1 << _MOST_ROUNDS)
        is_found = (reached > 0) & (found >= 0) & (found < len(finding.stands_for))
        opened = tf.cast(is_found, tf.int32)
        closed = _scatter(tf.where(is_found, behind, count + 1), opened, count + 2)[:count]
        is_covered = tf.cumsum(opened - closed) > opened
        stands_for = _gather(finding.stands_for, tf.where(is_found, found, 0))
        values = tf.where(is_found, stands_for, tf.where(is_covered, covered, values))
        return values, tf.where(is_found, tf.gather(ends, behind - 1), ends)


class _Finding:
    """What a `Finder` finds.

    Attributes:
        trie: Its contents, with their numbers; None if there are none.
        stands_for: What takes the place of each token. *Shape:* (tokens that do not stay text,)
    """

    def __init__(
        self,
        finder: Finder,
        symbol_of: Callable[[str], int],
        stands_for: Callable[[str], int],
        num_symbols: int,
    ) -> None:
        # Those that stay text, and hide others, come last.
        contents = sorted(finder.contents, key=finder.as_text.__contains__)
        is_found = [content for content in contents if content not in finder.as_text]
        tokens = [finder.tokens[content].content for content in is_found]
        self.stands_for = np.array([stands_for(token) for token in tokens], np.int32)
        entries = [(1, [*map(symbol_of, text)], number) for number, text in enumerate(contents)]
        # Tokens that stay text hide nothing where there is nothing to find.
        self.trie = double_array(entries, 1, num_symbols) if tokens else None


class _Marks:
    """Puts the combining marks that normalization keeps into canonical order.

    As `BertNormalizer._characters`, which explains the origins of marks that change places.
    """

    def __init__(self, normalizer: Normalizer) -> None:
        table = unicode_table()
        self._classes = _paged(_numbered(table.combining_class))
        # Numbers of strings: unchanged, deleted, and then what decomposes into such marks.
        sources = sorted(map(ord, normalizer.sources_of_marks))
        composed = {c: table.decomposition[c] for c in sources if c in table.decomposition}
        numbers = _numbered({c: i for i, c in enumerate(composed, 2)})
        numbers[:NUM_CODE_POINTS][(table.flags & DELETED_FLAG) > 0] = 1
        parts = [[ord(part) for part in parts] for parts in composed.values()]
        self._table = _Replacements(numbers, [[_UNCHANGED], [], *parts])
        self.longest = self._table.longest

    def __call__(self, code_points: tf.Tensor, source: _Source) -> tuple[tf.Tensor, _Source]:
        """Sorts the marks of texts, and deletes what normalization deletes."""
        # Tokens found in the raw text have numbers behind the tables, and stay as the end does.
        parts, place = _replaced(self._table, tf.minimum(code_points, _END))
        parts = tf.where(parts == _UNCHANGED, tf.gather(code_points, place), parts)
        combining_class = _look_up(self._classes, tf.minimum(parts, _END))
        run = tf.cumsum(tf.cast(combining_class == 0, tf.int32))
        order = tf.argsort(run * _CLASSES + combining_class, stable=True)
        # Marks that change places take the origins of their new places.
        is_new = place > tf.concat([[-1], place], 0)[:-1]
        (kept,) = _kept(is_new, place)
        origin = tf.cumsum(tf.gather(tf.cast(is_new, tf.int32), order)) - 1
        origin = tf.gather(kept, origin)
        return tf.gather(parts, order), _Source(*(tf.gather(v, origin) for v in source))


# === Tables ===
class _Symbols:
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
        self._keeps_spaces = bool(tokenizer.finders and tokenizer.finders[1].contents)
        if self._keeps_spaces:
            assert isinstance(normalizer, BertNormalizer)
            assert tokenizer.finders is not None
            self.known |= set("".join(tokenizer.finders[1].contents))
            index, strings = normalized_strings(normalizer)
        else:
            index, strings = code_point_strings(normalizer)

        rows = [self._characters(string) for string in strings]
        sizes = sorted({self._size_of(character) for character in "a\xe9\u4e00\U00010000"})
        characters: set[_Character] = {character for row in rows for character in row}
        characters |= {(c, False) for c in self.known}
        characters |= {(size, is_alone) for size in sizes for is_alone in (True, False)}
        characters |= {("", True, token_id) for token_id in found}
        ordered = sorted(characters - {(" ", False)}, key=lambda c: (not c[1], str(c)))
        self.numbers: dict[_Character, int] = {(" ", False): _SPACE_SYMBOL}
        self.numbers |= {character: number for number, character in enumerate(ordered, 2)}
        num_alone = sum(is_alone for _, is_alone, *_ in ordered)
        self.last_alone = _SPACE_SYMBOL + num_alone
        lengths = [1, 1, *(c if isinstance(c, int) else self._size_of(c) for c, *_ in ordered)]
        self.sizes = np.array(lengths, np.int32) if len(sizes) > 1 else None
        self.num_symbols = len(lengths)

        # Strings of one symbol have its number, which is that of what stays unchanged.
        number_of: dict[tuple[int, ...], int] = {(n,): n for n in range(self.num_symbols)}
        number_of_row = [
            number_of.setdefault(tuple(self.numbers[c] for c in row), len(number_of))
            for row in rows
        ]
        numbers = np.empty(_FIRST_FOUND + len(found), np.int64)
        numbers[:NUM_CODE_POINTS] = np.array(number_of_row)[index]
        unchanged = np.flatnonzero(index == UNCHANGED)
        numbers[unchanged] = self._of_unchanged(unchanged)
        numbers[_SURROGATES] = numbers[_REPLACEMENT]
        numbers[_END] = _END_SYMBOL
        numbers[_FIRST_FOUND:] = [self.numbers["", True, token_id] for token_id in found]
        self.table = _Replacements(numbers, [*number_of])

    def number(self, character: str, is_alone: bool) -> int:
        """Returns the symbol of a character."""
        return self.numbers[character, is_alone and character != " "]

    def is_punctuation(self, character: str) -> bool:
        """Returns whether a character of the normalized text is split off."""
        return _split_off(character) == f" {character} "

    def _characters(self, string: str) -> list[_Character]:
        """Returns the characters of what a code point becomes."""
        text = "".join(map(_split_off, string)) if self._keeps_spaces else string
        pairs = ((alone or other, bool(alone)) for alone, other in _CHARACTERS.findall(text))
        return [
            (character, is_alone)
            if character in self.known or character == " "
            else (self._size_of(character), is_alone)
            for character, is_alone in pairs
        ]

    def _of_unchanged(self, code_points: np.ndarray) -> np.ndarray:
        """Returns the symbols of letters."""
        # The length of a character grows with its code point, and unknown ones differ in it alone.
        limits = np.array([0x80, 0x800, 0x10000])
        sizes = np.array([self._size_of(c) for c in "a\xe9\u4e00\U00010000"])
        unknown = np.array([self.numbers[int(size), False] for size in sizes])
        symbols = unknown[np.searchsorted(limits, code_points, side="right")]
        known = np.array([ord(c) for c in self.known], np.int64)
        known = known[np.isin(known, code_points)]
        symbols[np.searchsorted(code_points, known)] = [
            self.numbers[chr(c), False] for c in known.tolist()
        ]
        return symbols


# Splits punctuation off a text that is normalized, and does nothing else.
_SPLIT = BertNormalizer(False, False, False)


@functools.cache
def _split_off(character: str) -> str:
    return _SPLIT.replace(ord(character))


class _Replacements:
    """A table of what numbers become.

    Attributes:
        number: The string that each becomes, on pages.
        row_splits: Where each string begins in `values`, and where the last one ends.
        values: The strings, one after the other.
        longest: The length of the longest.
    """

    def __init__(self, numbers: np.ndarray, strings: Sequence[Sequence[int]]) -> None:
        self.number = _paged(numbers)
        lengths = [len(string) for string in strings]
        self.row_splits = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        self.values = np.array([value for string in strings for value in string], np.int32)
        self.longest = max(lengths)


class _Paged(NamedTuple):
    """A table of two levels: the value of i is `pages[first_of[i // 256] + i % 256]`."""

    first_of: np.ndarray
    pages: np.ndarray


def _paged(values: np.ndarray) -> _Paged:
    missing = -len(values) % _PAGE
    pages, page_of = unique_blocks(np.pad(values, (0, missing)).astype(np.int32), _PAGE)
    return _Paged((page_of.ravel() * _PAGE).astype(np.int32), pages.ravel())


def _numbered(numbers: dict[int, int]) -> np.ndarray:
    """Returns a number for every code point, and for the end of a text: 0 where none is given."""
    values = np.zeros(_FIRST_FOUND, np.int64)
    values[list(numbers)] = list(numbers.values())
    return values


def _token_trie(pieces: dict[str, int], symbols: _Symbols) -> DoubleArray:
    """Builds the trie of all tokens that a word can be split into."""
    entries = []
    for token, token_id in pieces.items():
        continues = token.startswith(CONTINUATION) and token != CONTINUATION
        text = token[len(CONTINUATION) :] if continues else token
        for is_alone in (False, True):
            # What is a word by itself is never a part of another.
            row = [symbols.numbers.get((character, is_alone), _SPACE_SYMBOL) for character in text]
            if row and _SPACE_SYMBOL not in row and not (is_alone and len(row) > 1):
                entries.append((_REST if continues else _WORD, row, token_id))
    entries += [(_WORD, [n], key[2]) for key, n in symbols.numbers.items() if len(key) > 2]
    return double_array(entries, 2, symbols.num_symbols)


def _check_switches(tokenizer: WordPieceTokenizer, with_offsets: bool) -> None:
    switches: Iterable[tuple[str, Any, Any]] = (
        ("errors", tokenizer.errors, "replace"),
        ("preprocessing", tokenizer.preprocessing, ()),
    )
    for name, found, needed in switches:
        if found != needed:
            raise ValueError(
                f"A file that takes code points needs a tokenizer with {name}={needed!r}, received "
                f"{found!r}: export one that takes ids, with inputs='ids'."
            )
    stripping = [token.content for token in tokenizer.added_tokens if token.lstrip or token.rstrip]
    if with_offsets and stripping:
        raise ValueError(
            "A file that takes code points and returns offsets needs added tokens without lstrip "
            f"and rstrip, received {stripping[0]!r} with them: export one that takes ids, with "
            "inputs='ids'."
        )


# === Operations ===
def _look_up(table: _Paged, numbers: tf.Tensor) -> tf.Tensor:
    """Looks numbers up in a table of two levels."""
    first = _gather(table.first_of, numbers // _PAGE)
    return _gather(table.pages, first + numbers % _PAGE)


def _gather(table: np.ndarray, places: tf.Tensor) -> tf.Tensor:
    return tf.gather(tf.constant(table), places)


def _replaced(table: _Replacements, numbers: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Replaces numbers by strings.

    Returns:
        The strings, one after the other, and the place in `numbers` from which each value comes.
    """
    string = _look_up(table.number, numbers)
    first = _gather(table.row_splits, string)
    length = _gather(table.row_splits, string + 1) - first
    ends = tf.cumsum(length)
    begins, count = ends - length, tf.reduce_sum(length)
    # The places of the strings' first values; those of the others are the largest shortly before.
    opened = _scatter(tf.where(length > 0, begins, count), tf.range(tf.size(numbers)), count + 1)[
        :-1
    ]
    place = opened
    for distance in range(1, table.longest):
        before = tf.concat([tf.zeros([distance], tf.int32), opened], 0)[:count]
        place = tf.maximum(place, before)
    values = _gather(table.values, tf.gather(first - begins, place) + tf.range(count))
    return values, place


def _scatter(places: tf.Tensor, values: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Returns zeros with values at places. *Shape:* (size,)."""
    return tf.scatter_nd(places[:, tf.newaxis], values, tf.reshape(size, [1]))


def _kept(is_kept: tf.Tensor, *columns: tf.Tensor) -> list[tf.Tensor]:
    """Returns the values of columns that are kept."""
    kept = tf.cast(is_kept, tf.int32)
    count = tf.reduce_sum(kept)
    places = tf.where(is_kept, tf.cumsum(kept) - 1, count)
    return [_scatter(places, column, count + 1)[:-1] for column in columns]
