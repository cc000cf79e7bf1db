"""The integer engine: code points in, ids and offsets out, by look-ups in tables of whole numbers.

It needs no strings, so LiteRT, ONNX Runtime and browsers run it with their built-in operations; in
TensorFlow, `core_engine.py` decodes strings for it. All positions of a text are worked on at once,
in five steps; `symbols.py` and `double_array.py` make the tables:

1. *Normalization is a look-up.* BERT's normalization acts on one code point at a time, so a table
   holds what each becomes: no symbol (an accent), one, or more. As most blocks of 256 code points
   are alike, the table has two levels: `pages[first_of[c // 256] + c % 256]`.
2. *Words are cumulative sums.* A symbol starts a word if it is no space, and it or the one before
   it is a space or a word by itself. The number of starts up to a position is the number of its
   word.
3. *The longest match.* The vocabulary is a trie with two roots, one for tokens that start a word
   and one for those that continue it ("##"). Every start of a word takes a step with the symbol
   after it, until none can go on; the last state that was a token is the longest match. For most
   words it is the word. Of the others, every position is matched so. A token of several symbols has
   letters only, so no match runs over the end of a word.
4. *The matches that count.* Greedy splitting follows the matches from the start of each word: from
   a position i to i + length[i]. By pointer-jumping the positions that are reached double in each
   round: those that were reached pass on the mark to where they point, then all pointers point
   twice as far. A word of 100 characters takes 7 rounds.
5. *Unknown words.* A word is [UNK] if a position is reached that has no match, or if it is too
   long.

The tokens that are found whole (`added_tokens.py`) are longest matches, too, of which those that
count are followed from the start of the text; a symbol of its own takes the place of each.

No scatter depends on what happens where several values have one place, in which runtimes differ:
they are all 1, or nothing reads the place. Ragged tensors, branches, and `where` of a condition
alone, which some runtimes lack, are used in TensorFlow only.

Axes: B texts, N code points of a text, T tokens; within a step, one axis runs over all code points
or over all symbols.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_bert_scratch.text.added_tokens import Finder
from keras_bert_scratch.text.graphs.double_array import DEAD
from keras_bert_scratch.text.graphs.ragged import row_ids
from keras_bert_scratch.text.graphs.symbols import (
    END,
    END_SYMBOL,
    FIRST_FOUND,
    PAGE,
    REST,
    SPACE_SYMBOL,
    WORD,
    Paged,
    Replacements,
    Symbols,
    Trie,
    numbered,
    paged,
    token_trie,
    trie_of,
)
from keras_bert_scratch.text.normalization import (
    DELETED_FLAG,
    NUM_CODE_POINTS,
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

# What stands for a code point that is none, and what BERT deletes.
_REPLACEMENT, _NUL = 0xFFFD, 0
# Combining classes are below it; what stands for a code point that stays.
_CLASSES = 256
_UNCHANGED = -1
# Few places go on after so many steps in a trie.
_FIRST_STEPS = 5
# Most rounds in which positions are followed where loops cannot stop early: added tokens are found
# among the first million code points.
_MOST_ROUNDS = 20


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
        in_tensorflow: Whether TensorFlow runs it, which has operations that other runtimes lack and
            that save time: `where` of a condition alone, and branches.

    Raises:
        ValueError: If offsets depend on white space around added tokens.
    """

    def __init__(
        self,
        tokenizer: WordPieceTokenizer,
        *,
        with_offsets: bool = False,
        unrolled: bool = False,
        in_tensorflow: bool = False,
    ) -> None:
        super().__init__()
        if with_offsets:
            _check_added_tokens(tokenizer)
        self._unrolled, self._in_tensorflow = unrolled, in_tensorflow
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
        symbols = Symbols(tokenizer, found)
        self._last_alone = symbols.last_alone
        self._sizes = symbols.sizes
        self._normalization = symbols.table
        self._tokens = token_trie(tokenizer, symbols)

        def identity(token_id: int) -> int:
            return symbols.numbers["", True, token_id]

        raw, normalized = finders
        # A number of the raw text for each of its characters that a token has.
        letters = sorted(set("".join(raw.contents)))
        self._raw_symbols = paged(numbered({ord(c): i + 1 for i, c in enumerate(letters)}))
        self._raw = _Finding(
            raw,
            lambda c: letters.index(c) + 1,
            lambda token: FIRST_FOUND + found.index(id_of(token)),
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
        ends = tf.fill(tf.stack([shape[0], 1]), END)
        is_one = (code_points >= 0) & (code_points < NUM_CODE_POINTS)
        code_points = tf.where(is_one, code_points, _REPLACEMENT)
        if self._nul_ends:
            is_over = tf.cumsum(tf.cast(code_points == _NUL, tf.int32), axis=1) > 0
            code_points = tf.where(is_over, END, code_points)
        starts = tf.tile(tf.range(shape[1] + 1)[tf.newaxis], tf.stack([shape[0], 1]))
        rows = tf.tile(tf.range(shape[0])[:, tf.newaxis], tf.stack([1, shape[1] + 1]))
        starts, rows, code_points = (
            tf.reshape(values, [-1]) for values in (starts, rows, tf.concat([code_points, ends], 1))
        )
        return self._of_flat(code_points, _Source(starts, starts + 1, rows))

    def inputs(
        self,
        code_points: tf.Tensor,
        pair: tf.Tensor | None = None,
        *,
        sequence_length: int,
        truncation: Truncation = "head",
    ) -> dict[str, tf.Tensor]:
        """Turns one text, or a pair, into a model's inputs.

        Args:
            code_points: The text. *Shape:* (1, N)
            pair: The second text. *Shape:* (1, N)
            sequence_length: Most tokens, [CLS] and [SEP] included.
            truncation: Which tokens of a long text stay, see `head_and_tail`.

        Returns:
            `token_ids`, `segment_ids` and `padding_mask`, int32. *Shape:* (1, S) each
        """
        if pair is not None:
            return self._pair(code_points, pair, check_sequence_length(sequence_length, 2))
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

    def _pair(self, text: tf.Tensor, pair: tf.Tensor, room: int) -> dict[str, tf.Tensor]:
        first, second = self.separately(text, pair)
        # As `truncation.truncated_lengths`.
        sizes = tf.size(first.token_ids), tf.size(second.token_ids)
        share = tf.where(sizes[0] > sizes[1], room - room // 2, room // 2)
        kept = (
            first.token_ids[: tf.maximum(room - sizes[1], share)],
            second.token_ids[: tf.maximum(room - sizes[0], room - share)],
        )
        row = tf.concat([[self._cls_id], kept[0], [self._sep_id], kept[1], [self._sep_id]], 0)
        is_second = tf.range(tf.size(row)) > tf.size(kept[0]) + 1
        return {
            "token_ids": row[tf.newaxis],
            "segment_ids": tf.cast(is_second, tf.int32)[tf.newaxis],
            "padding_mask": tf.ones_like(row)[tf.newaxis],
        }

    def separately(self, *texts: tf.Tensor) -> list[Tokens]:
        """Splits texts into tokens at once, so that a file holds the tables once.

        Args:
            *texts: The texts. *Shape:* (1, N) each, N of its own

        Returns:
            The tokens of each.
        """
        sizes = [tf.shape(text)[1] for text in texts]
        longest = functools.reduce(tf.maximum, sizes)
        rows = [
            tf.pad(text, [[0, 0], [0, longest - n]]) for text, n in zip(texts, sizes, strict=True)
        ]
        tokens = self(tf.concat(rows, 0))
        counts = [tf.reduce_sum(tf.cast(tokens.rows == i, tf.int32)) for i in range(len(texts))]
        ends = [sum(counts[: i + 1]) for i in range(len(texts))]
        return [
            Tokens(*(column[end - count : end] for column in tokens))
            for count, end in zip(counts, ends, strict=True)
        ]

    def most_tokens(self, num_code_points: int) -> int:
        """Returns the most tokens that a text of so many code points can have."""
        longest = self._normalization.longest
        return num_code_points * (longest if self._marks is None else longest * self._marks.longest)

    def of_ragged(self, code_points: tf.RaggedTensor) -> Tokens:
        """Splits texts into tokens, as the engine does if it is called.

        Args:
            code_points: The texts, int32, all of them code points and no surrogates, each with one
                more behind it, which is not read. *Shape:* (B, None)
        """
        lasts = (code_points.row_limits() - 1)[:, tf.newaxis]
        flat = tf.tensor_scatter_nd_update(
            code_points.flat_values, lasts, tf.fill([code_points.nrows()], END)
        )
        starts = tf.cast(tf.ragged.range(code_points.row_lengths()).flat_values, tf.int32)
        rows = tf.cast(row_ids(code_points), tf.int32)
        return self._of_flat(flat, _Source(starts, starts + 1, rows))

    def _of_flat(self, code_points: tf.Tensor, source: _Source) -> Tokens:
        """Splits texts that stand one after the other, each with an `END` behind it."""
        if self._raw.trie is not None:
            symbols = _look_up(self._raw_symbols, code_points)
            code_points, ends = self._find(self._raw, symbols, code_points, _NUL, source.ends)
            source = source._replace(ends=ends)
        if self._marks is not None:
            code_points, source = self._in_order(self._marks, code_points, source)
        symbols, place = _replaced(self._normalization, code_points)
        source = _Source(*(tf.gather(values, place) for values in source))
        if self._normalized.trie is not None:
            symbols, ends = self._find(self._normalized, symbols, symbols, END_SYMBOL, source.ends)
            source = source._replace(ends=ends)
        return self._split(symbols, source)

    def _in_order(
        self, marks: "_Marks", code_points: tf.Tensor, source: _Source
    ) -> tuple[tf.Tensor, _Source]:
        """Sorts the combining marks of texts, if there are any."""
        if not self._in_tensorflow:
            return marks(code_points, source, self._places)
        code_points, *columns = tf.cond(
            tf.reduce_any(marks.may_move(code_points)),
            lambda: tf.nest.flatten(marks(code_points, source, self._places)),
            lambda: [code_points, *source],
        )
        return code_points, _Source(*columns)

    def _split(self, symbols: tf.Tensor, source: _Source) -> Tokens:
        """Splits normalized texts into words, and words into tokens.

        Most words are tokens: the longest match from their start alone shows it. The parts of the
        others are found in what is left of the text without those words.
        """
        count = tf.size(symbols)
        is_space = symbols <= SPACE_SYMBOL
        # 1 where a word may start, and behind all of them.
        after = tf.concat([[True], symbols <= self._last_alone], 0)
        opens = ~is_space & (after[:-1] | after[1:])
        closes = ~is_space & tf.concat([(is_space | opens)[1:], [True]], 0)
        # The space at the end of all texts counts as a word, so that there is one.
        is_end = tf.range(count) == count - 1
        first, last = self._places(opens | is_end), self._places(closes | is_end)
        word = tf.maximum(tf.cumsum(tf.cast(opens | is_end, tf.int32)) - 1, 0)
        count_words = tf.size(first)

        trie = self._tokens.in_graph()
        length, token = self._longest(trie, symbols, first, tf.fill([count_words], WORD))
        size = last + 1 - first
        if self._sizes is not None:
            sizes = _gather(self._sizes, symbols)
            up_to = tf.cumsum(sizes)
            size = tf.gather(up_to, last) - tf.gather(up_to - sizes, first)
        is_short = size <= self._max_word_length
        is_whole = is_short & (first + length > last)
        is_split = is_short & (first + length <= last) & (length > 0)
        of_words = tf.where(is_whole, token, self._unk_id)

        # Words to be split, each with the symbol behind it, at which all matches end.
        in_split = tf.gather(is_split, word) & ~is_space
        at = self._places(in_split | tf.concat([[False], in_split], 0)[:-1] | is_end)
        word, inside = tf.gather(word, at), tf.gather(in_split, at)
        opened = inside & tf.gather(opens, at)
        every = tf.range(tf.size(at))
        root = tf.where(opened, WORD, REST)
        length, token = self._longest(trie, tf.gather(symbols, at), every, root)
        behind = every + length
        goes_on = (length > 0) & tf.gather(tf.concat([inside & ~opened, [False]], 0), behind)
        reached = self._follow(
            tf.where(goes_on, behind, tf.size(at)), opened, self._max_word_length
        )
        # A word is unknown if a position is reached that has no match.
        failed = tf.where(reached & (length == 0), word, count_words)
        is_failed = _scatter(failed, tf.ones_like(failed), count_words + 1) > 0

        # Where tokens start: the numbers behind their ids, and their last symbols.
        is_token = reached & ~tf.gather(is_failed, word)
        places = tf.concat(
            [
                tf.where(is_split & ~is_failed[:-1], count, first),
                tf.where(is_token, at, count),
            ],
            0,
        )
        numbers = _scatter(places, tf.concat([of_words, token], 0) + 1, count + 1)[:-1]
        ends = tf.concat([last, tf.gather(at, tf.maximum(behind - 1, 0))], 0)
        ends = _scatter(places, ends, count + 1)[:-1]
        kept = self._places((numbers > 0) & ~is_space)
        return Tokens(
            tf.gather(numbers, kept) - 1,
            tf.gather(source.starts, kept),
            tf.gather(source.ends, tf.gather(ends, kept)),
            tf.cast(tf.gather(opens, kept), tf.int32),
            tf.gather(source.rows, kept),
        )

    def _longest(
        self, trie: Trie, symbols: tf.Tensor, places: tf.Tensor, root: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Finds the longest entry of a trie at some places.

        Args:
            trie: The trie.
            symbols: The symbols.
            places: Where entries start.
            root: The root at which each place starts.

        Returns:
            The length of the entry, 0 for none, and its value.
        """
        base, check, value = trie[:3]
        padded = tf.concat([symbols, tf.fill([trie.depth], END_SYMBOL)], 0)

        def walk(
            first: int, last: int, places: tf.Tensor, state: tf.Tensor
        ) -> tuple[tf.Tensor, tf.Tensor]:
            def step(done: Any, state: tf.Tensor, found: tf.Tensor) -> tuple:
                child = tf.gather(base, state) + tf.gather(padded, places + done)
                state = tf.where(tf.equal(tf.gather(check, child), state), child, DEAD)
                return done + 1, state, tf.maximum(found, tf.gather(value, state))

            _, state, found = self._repeat(
                step,
                (first, state, tf.zeros_like(state)),
                lambda done, state, _: (done < last) & (tf.reduce_max(state) > DEAD),
                last - first,
            )
            return state, found

        state, found = walk(0, min(_FIRST_STEPS, trie.depth), places, root)
        if trie.depth > _FIRST_STEPS:
            # The first place goes on in any case, so that there is one.
            goes_on = self._places((state > DEAD) | (tf.range(tf.size(state)) == 0))
            _, longer = walk(
                _FIRST_STEPS, trie.depth, tf.gather(places, goes_on), tf.gather(state, goes_on)
            )
            found = tf.maximum(found, _scatter(goes_on, longer, tf.size(found)))
        return found // trie.num_values, found % trie.num_values

    def _places(self, is_given: tf.Tensor) -> tf.Tensor:
        """Returns where a condition holds."""
        if self._in_tensorflow:
            return tf.cast(tf.where(is_given)[:, 0], tf.int32)
        given = tf.cast(is_given, tf.int32)
        count = tf.reduce_sum(given)
        places = tf.where(is_given, tf.cumsum(given) - 1, count)
        return _scatter(places, tf.range(tf.size(given)), count + 1)[:-1]

    def _follow(self, pointers: tf.Tensor, reached: tf.Tensor, most_steps: int) -> tf.Tensor:
        """Marks the positions to which pointers lead.

        Args:
            pointers: Where each position points, itself a later one; the number of positions is
                the end. No two positions that are reached point to the same one but the end.
            reached: Where the ways begin.
            most_steps: Pointers on the longest way.

        Returns:
            Where the ways lead.
        """
        count = tf.size(pointers)

        def step(pointers: tf.Tensor, reached: tf.Tensor) -> tuple:
            onward = tf.where(reached, pointers, count)
            marks = _scatter(onward, tf.ones_like(onward), count + 1)
            return tf.gather(pointers, pointers), reached | (marks > 0)

        end = tf.reshape(count, [1])
        _, reached = self._repeat(
            step,
            (tf.concat([pointers, end], 0), tf.concat([reached, [False]], 0)),
            lambda pointers, reached: tf.reduce_min(tf.where(reached, pointers, count)) < count,
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
        every = tf.range(count)
        trie = finding.trie.in_graph()
        length, found = self._longest(trie, symbols, every, tf.ones_like(symbols))
        # The last symbol, which is in no token, counts as one, so that there is one.
        is_match = (length > 0) | (every == count - 1)
        at = self._places(is_match)
        behind = tf.gather(every + tf.maximum(length, 1), at)
        # Tokens that are found do not overlap: the next one starts behind the last. The text is
        # read from its start.
        before = tf.concat([[0], tf.cumsum(tf.cast(is_match, tf.int32))], 0)
        reached = self._follow(
            tf.gather(before, behind), tf.range(tf.size(at)) == 0, 1 << _MOST_ROUNDS
        )
        number, stays = tf.gather(found, at), len(finding.stands_for)
        is_found = reached & (tf.gather(length, at) > 0) & (number < stays)
        ones = tf.ones_like(at)
        opened = _scatter(tf.where(is_found, at, count), ones, count + 1)[:-1]
        closed = _scatter(tf.where(is_found, behind, count + 1), ones, count + 2)[:count]
        is_covered = tf.cumsum(opened - closed) > opened
        stands_for = _gather(finding.stands_for, tf.where(opened > 0, found, 0))
        values = tf.where(opened > 0, stands_for, tf.where(is_covered, covered, values))
        last = tf.maximum(every + length - 1, 0)
        return values, tf.where(opened > 0, tf.gather(ends, last), ends)


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
        self.trie = trie_of(entries, 1, num_symbols) if tokens else None


class _Marks:
    """Puts the combining marks that normalization keeps into canonical order.

    As `BertNormalizer._characters`, which explains the origins of marks that change places.
    """

    def __init__(self, normalizer: Normalizer) -> None:
        table = unicode_table()
        self._classes = paged(numbered(table.combining_class))
        # Numbers of strings: unchanged, deleted, and then what decomposes into such marks.
        sources = sorted(map(ord, normalizer.sources_of_marks))
        composed = {c: table.decomposition[c] for c in sources if c in table.decomposition}
        numbers = numbered({c: i for i, c in enumerate(composed, 2)})
        numbers[:NUM_CODE_POINTS][(table.flags & DELETED_FLAG) > 0] = 1
        parts = [[ord(part) for part in parts] for parts in composed.values()]
        self._table = Replacements(numbers, [[_UNCHANGED], [], *parts])
        self.longest = self._table.longest
        self._sources = paged(numbered(dict.fromkeys(sources, 1)))

    def may_move(self, code_points: tf.Tensor) -> tf.Tensor:
        """Returns which code points may change places."""
        return _look_up(self._sources, tf.minimum(code_points, END)) > 0

    def __call__(
        self,
        code_points: tf.Tensor,
        source: _Source,
        places: Callable[[tf.Tensor], tf.Tensor],
    ) -> tuple[tf.Tensor, _Source]:
        """Sorts the marks of texts, and deletes what normalization deletes."""
        # Tokens found in the raw text have numbers behind the tables, and stay as the end does.
        parts, place = _replaced(self._table, tf.minimum(code_points, END))
        parts = tf.where(parts == _UNCHANGED, tf.gather(code_points, place), parts)
        combining_class = _look_up(self._classes, tf.minimum(parts, END))
        run = tf.cumsum(tf.cast(combining_class == 0, tf.int32))
        order = tf.argsort(run * _CLASSES + combining_class, stable=True)
        # Marks that change places take the origins of their new places.
        is_new = place > tf.concat([[-1], place], 0)[:-1]
        kept = tf.gather(place, places(is_new))
        origin = tf.cumsum(tf.gather(tf.cast(is_new, tf.int32), order)) - 1
        origin = tf.gather(kept, origin)
        return tf.gather(parts, order), _Source(*(tf.gather(v, origin) for v in source))


def _check_added_tokens(tokenizer: WordPieceTokenizer) -> None:
    stripping = [token.content for token in tokenizer.added_tokens if token.lstrip or token.rstrip]
    if stripping:
        raise ValueError(
            "Offsets are found in a graph for added tokens without lstrip and rstrip, received "
            f"{stripping[0]!r} with them: export a LiteRT file that takes ids, with inputs='ids'."
        )


# === Operations ===
def _look_up(table: Paged, numbers: tf.Tensor) -> tf.Tensor:
    """Looks numbers up in a table of two levels."""
    first = _gather(table.first_of, numbers // PAGE)
    return _gather(table.pages, first + numbers % PAGE)


def _gather(table: np.ndarray, places: tf.Tensor) -> tf.Tensor:
    return tf.gather(tf.constant(table), places)


def _replaced(table: Replacements, numbers: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Replaces numbers by strings.

    Returns:
        The strings, one after the other, and the place in `numbers` from which each value comes.
    """
    string = _look_up(table.string, numbers)
    first, length = string // (table.longest + 1), string % (table.longest + 1)
    ends = tf.cumsum(length)
    begins, count = ends - length, tf.reduce_sum(length)
    # The places of the strings' first values; those of the others are the largest shortly before.
    opened = _scatter(tf.where(length > 0, begins, count), tf.range(tf.size(numbers)), count + 1)[
        :-1
    ]
    place, reach = opened, 1
    while reach < table.longest:
        before = tf.concat([tf.zeros([reach], tf.int32), place], 0)[:count]
        place, reach = tf.maximum(place, before), 2 * reach
    values = _gather(table.values, tf.gather(first - begins, place) + tf.range(count))
    return values, place


def _scatter(places: tf.Tensor, values: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Returns zeros with values at places. *Shape:* (size,)."""
    return tf.scatter_nd(places[:, tf.newaxis], values, tf.reshape(size, [1]))
