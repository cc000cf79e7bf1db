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
alone, which some runtimes lack, are used in TensorFlow only, by `core_engine.py`.

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


class Parts(NamedTuple):
    """The tokens of a row of symbols. *Shape:* (T,) each, int32.

    Attributes:
        token_ids: The ids.
        first: Place of the first symbol of each token.
        last: Place of its last symbol.
        opens_word: 1 for the first token of a word, else 0.
    """

    token_ids: tf.Tensor
    first: tf.Tensor
    last: tf.Tensor
    opens_word: tf.Tensor


Places = Callable[[tf.Tensor], tf.Tensor]


class Source(NamedTuple):
    """The way back from symbols to the code points, taken for the ends of tokens alone.

    Attributes:
        first: From places of symbols to the places of the code points from which they come.
        last: The same for the last symbols of tokens: what stands for a token that was found leads
            to its last code point.
    """

    first: Places
    last: Places

    def behind(self, first: Places, last: Places | None = None) -> "Source":
        """Returns the way from what was made of these symbols."""

        def after(whole: Places, part: Places) -> Places:
            return lambda at: whole(part(at))

        return Source(after(self.first, first), after(self.last, last or first))


class IntegerEngine(tf.Module):
    """Code points -> tokens, those of `WordPieceTokenizer.encode`.

    Args:
        tokenizer: The tokenizer whose tokens the engine computes.
        with_offsets: Whether offsets are read, too. They depend on the order of combining marks
            even where the ids do not.
        unrolled: Whether loops are written out, for runtimes that have none: each then takes as
            many steps as the longest token has characters.

    Raises:
        ValueError: If offsets depend on white space around added tokens.
    """

    # After so many steps in a trie, few places go on.
    stops: tuple[int, ...] = (5,)

    def __init__(
        self,
        tokenizer: WordPieceTokenizer,
        *,
        with_offsets: bool = False,
        unrolled: bool = False,
    ) -> None:
        super().__init__()
        if with_offsets:
            _check_added_tokens(tokenizer)
        self._unrolled = unrolled
        vocabulary = tokenizer.vocabulary
        self.unk_id, self._cls_id, self._sep_id = (
            vocabulary.unk_id,
            vocabulary.cls_id,
            vocabulary.sep_id,
        )
        self.max_word_length = tokenizer.max_word_length
        self._nul_ends = isinstance(tokenizer.normalizer, MediaPipeNormalizer)
        finders = tokenizer.finders or (Finder({}), Finder({}))
        id_of = vocabulary.token_to_id
        found = sorted({id_of(t.content) for finder in finders for t in finder.tokens.values()})
        symbols = Symbols(tokenizer, found)
        self.last_alone = symbols.last_alone
        self.sizes = symbols.sizes
        self._normalization = symbols.table
        self.tokens = token_trie(tokenizer, symbols)

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
        if size := code_points.shape[1]:
            # What fills up a row of fixed size is not read.
            read = tf.reduce_max(tf.where(code_points != _NUL, tf.range(1, size + 1), 0))
            code_points = code_points[:, :read]
        shape = tf.shape(code_points)
        # Every text has an end, so that none is empty.
        ends = tf.fill(tf.stack([shape[0], 1]), END)
        is_one = (code_points >= 0) & (code_points < NUM_CODE_POINTS)
        code_points = tf.where(is_one, code_points, _REPLACEMENT)
        if self._nul_ends:
            is_over = tf.cumsum(tf.cast(code_points == _NUL, tf.int32), axis=1) > 0
            code_points = tf.where(is_over, END, code_points)
        symbols, source = self.symbols(tf.reshape(tf.concat([code_points, ends], 1), [-1]))
        parts = self.split(symbols)
        starts, width = source.first(parts.first), shape[1] + 1
        rows = starts // width
        return Tokens(
            parts.token_ids,
            starts - rows * width,
            source.last(parts.last) + 1 - rows * width,
            parts.opens_word,
            rows,
        )

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

    def symbols(self, code_points: tf.Tensor) -> tuple[tf.Tensor, Source]:
        """Normalizes texts that stand one after the other, each with an `END` behind it.

        Returns:
            The symbols, in which tokens that were found are one symbol and spaces, and the way back
            to the code points.
        """
        source = Source(tf.identity, tf.identity)
        if self._raw.trie is not None:
            symbols = self.look_up(self._raw_symbols, code_points)
            code_points, last = self._find(self._raw, symbols, code_points, _NUL)
            source = source.behind(tf.identity, last)
        if self._marks is not None:
            code_points, source = self._in_order(self._marks, code_points, source)
        symbols, place = self.replaced(self._normalization, code_points)
        source = source.behind(place)
        if self._normalized.trie is not None:
            symbols, last = self._find(self._normalized, symbols, symbols, SPACE_SYMBOL)
            source = source.behind(tf.identity, last)
        return symbols, source

    def _in_order(
        self, marks: "_Marks", code_points: tf.Tensor, source: Source
    ) -> tuple[tf.Tensor, Source]:
        """Sorts the combining marks of texts, if there are any."""
        code_points, origin = self.if_any(
            lambda: self.look_up(marks.sources, tf.minimum(code_points, END)) > 0,
            lambda: marks(code_points, self),
            lambda: (code_points, tf.range(tf.size(code_points))),
        )
        return code_points, source.behind(lambda at: tf.gather(origin, at))

    def split(self, symbols: tf.Tensor) -> Parts:
        """Splits normalized texts into words, and words into tokens.

        Most words are tokens: the longest match from their start alone shows it. The parts of the
        others are found in what is left of the text without those words.
        """
        count = tf.size(symbols)
        is_space = symbols <= SPACE_SYMBOL
        # 1 where a word may start, and behind all of them.
        after = tf.concat([[True], symbols <= self.last_alone], 0)
        opens = ~is_space & (after[:-1] | after[1:])
        closes = ~is_space & tf.concat([(is_space | opens)[1:], [True]], 0)
        # The space at the end of all texts counts as a word, so that there is one.
        is_end = tf.range(count) == count - 1
        first, last = self.places(opens | is_end), self.places(closes | is_end)
        word = tf.maximum(tf.cumsum(tf.cast(opens | is_end, tf.int32)) - 1, 0)
        count_words = tf.size(first)

        trie = self.tokens.in_graph()
        length, token = self.longest(trie, symbols, first, tf.fill([count_words], WORD))
        is_short = self.word_sizes(symbols, first, last) <= self.max_word_length
        is_whole = is_short & (first + length > last)
        is_split = is_short & (first + length <= last) & (length > 0)
        of_words = tf.where(is_whole, token, self.unk_id)

        # Words to be split, each with the symbol behind it, at which all matches end.
        in_split = tf.gather(is_split, word) & ~is_space
        at = self.places(in_split | tf.concat([[False], in_split], 0)[:-1] | is_end)
        word, inside = tf.gather(word, at), tf.gather(in_split, at)
        opened = inside & tf.gather(opens, at)
        every = tf.range(tf.size(at))
        root = tf.where(opened, WORD, REST)
        length, token = self.longest(trie, tf.gather(symbols, at), every, root)
        behind = every + length
        goes_on = (length > 0) & tf.gather(tf.concat([inside & ~opened, [False]], 0), behind)
        reached = self.follow(tf.where(goes_on, behind, tf.size(at)), opened, self.max_word_length)
        # A word is unknown if a position is reached that has no match.
        failed = tf.where(reached & (length == 0), word, count_words)
        is_failed = scatter(failed, tf.ones_like(failed), count_words + 1) > 0

        # Where tokens start: the numbers behind their ids, and their last symbols.
        is_token = reached & ~tf.gather(is_failed, word)
        places = tf.concat(
            [
                tf.where(is_split & ~is_failed[:-1], count, first),
                tf.where(is_token, at, count),
            ],
            0,
        )
        numbers = scatter(places, tf.concat([of_words, token], 0) + 1, count + 1)[:-1]
        ends = tf.concat([last, tf.gather(at, tf.maximum(behind - 1, 0))], 0)
        ends = scatter(places, ends, count + 1)[:-1]
        kept = self.places((numbers > 0) & ~is_space)
        return Parts(
            tf.gather(numbers, kept) - 1,
            kept,
            tf.gather(ends, kept),
            tf.cast(tf.gather(opens, kept), tf.int32),
        )

    def word_sizes(self, symbols: tf.Tensor, first: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
        """Returns the lengths of words from their first and last symbols."""
        if self.sizes is None:
            return last + 1 - first
        sizes = _gather(self.sizes, symbols)
        up_to = tf.cumsum(sizes)
        return tf.gather(up_to, last) - tf.gather(up_to - sizes, first)

    def longest(
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
        stops = [*(step for step in self.stops if step < trie.depth), trie.depth]

        def walk(first: int, number: int, places: tf.Tensor, state: tf.Tensor) -> tf.Tensor:
            def step(done: Any, state: tf.Tensor, found: tf.Tensor) -> tuple:
                child = tf.gather(base, state) + tf.gather(padded, places + done)
                state = tf.where(tf.equal(tf.gather(check, child), state), child, DEAD)
                return done + 1, state, tf.maximum(found, tf.gather(value, state))

            last = stops[number]
            _, state, found = self.repeat(
                step,
                (first, state, tf.zeros_like(state)),
                lambda done, state, _: (done < last) & (tf.reduce_max(state) > DEAD),
                last - first,
            )
            if number + 1 < len(stops):
                # The first place goes on in any case, so that there is one.
                goes_on = self.places((state > DEAD) | (tf.range(tf.size(state)) == 0))
                onward = tf.gather(places, goes_on), tf.gather(state, goes_on)
                longer = walk(last, number + 1, *onward)
                found = tf.maximum(found, scatter(goes_on, longer, tf.size(found)))
            return found

        found = walk(0, 0, places, root)
        return found // trie.num_values, found % trie.num_values

    def places(self, is_given: tf.Tensor) -> tf.Tensor:
        """Returns where a condition holds."""
        given = tf.cast(is_given, tf.int32)
        count = tf.reduce_sum(given)
        places = tf.where(is_given, tf.cumsum(given) - 1, count)
        return scatter(places, tf.range(tf.size(given)), count + 1)[:-1]

    def follow(self, pointers: tf.Tensor, reached: tf.Tensor, most_steps: int) -> tf.Tensor:
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
            onward = self.onward(pointers, reached, count)
            marks = scatter(onward, tf.ones_like(onward), count + 1)
            return tf.gather(pointers, pointers), reached | (marks > 0)

        end = tf.reshape(count, [1])
        _, reached = self.repeat(
            step,
            (tf.concat([pointers, end], 0), tf.concat([reached, [False]], 0)),
            lambda pointers, reached: tf.reduce_min(self.onward(pointers, reached, count)) < count,
            min(most_steps.bit_length(), _MOST_ROUNDS),
        )
        return reached[:-1]

    def onward(self, pointers: tf.Tensor, reached: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        """Returns the pointers of what is reached; others may point to the end."""
        return tf.where(reached, pointers, count)

    def repeat(
        self, step: Callable[..., tuple], start: tuple, goes_on: Callable[..., Any], most: int
    ) -> tuple:
        """Repeats a step while it goes on, or `most` times where loops are written out."""
        if self._unrolled or most == 1:
            for _ in range(most):
                start = step(*start)
            return start
        shapes = tuple(tf.TensorShape([None] * tf.convert_to_tensor(v).shape.rank) for v in start)
        return tf.while_loop(goes_on, step, start, shapes)

    def _find(
        self, finding: "_Finding", symbols: tf.Tensor, values: tf.Tensor, covered: int
    ) -> tuple[tf.Tensor, Places]:
        """Finds tokens in texts.

        Args:
            finding: What is found.
            symbols: The texts as symbols of its trie.
            values: Values of their positions.
            covered: The value of what a token covers, except for its first position.

        Returns:
            The values, where the first position of each token has that which stands for it; and the
            way from there to its last position.
        """
        assert finding.trie is not None
        count = tf.size(symbols)
        every = tf.range(count)
        # The last symbol, which is in no token, counts as one, so that there is one.
        at = self.places(_gather(finding.opens, symbols) | (every == count - 1))
        length, found = self.longest(finding.trie.in_graph(), symbols, at, tf.ones_like(at))
        matches = self.places((length > 0) | (at == count - 1))
        at, length, found = (tf.gather(column, matches) for column in (at, length, found))
        # Tokens that are found do not overlap: the next one starts behind the last. The text is
        # read from its start.
        behind = at + tf.maximum(length, 1)
        reached = self.follow(
            self.number_before(at, behind, count), tf.range(tf.size(at)) == 0, 1 << _MOST_ROUNDS
        )
        is_found = reached & (length > 0) & (found < len(finding.stands_for))

        def replace() -> tuple[tf.Tensor, tf.Tensor]:
            first = tf.where(is_found, at, count)
            ones, number = tf.ones_like(at), tf.where(is_found, found, 0)
            opened = scatter(first, ones, count + 1)[:-1]
            closed = scatter(tf.where(is_found, behind, count + 1), ones, count + 2)[:count]
            is_covered = tf.cumsum(opened - closed) > opened
            stands_for = scatter(first, _gather(finding.stands_for, number), count + 1)[:-1]
            until = scatter(first, behind - 1, count + 1)[:-1]
            return (
                tf.where(opened > 0, stands_for, tf.where(is_covered, covered, values)),
                tf.where(opened > 0, until, every),
            )

        values, last = self.if_any(lambda: is_found, replace, lambda: (values, every))
        return values, lambda places: tf.gather(last, places)

    def number_before(self, given: tf.Tensor, places: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        """Returns how many of the given places, which are sorted, are before others."""
        is_given = scatter(given, tf.ones_like(given), count)
        return tf.gather(tf.concat([[0], tf.cumsum(is_given)], 0), places)

    def if_any(
        self, condition: Callable[[], tf.Tensor], then: Callable[[], tuple], _: Callable
    ) -> tuple:
        """Does something that changes nothing where a condition holds nowhere."""
        return then()

    def look_up(self, table: Paged, numbers: tf.Tensor) -> tf.Tensor:
        """Looks numbers up in a table of two levels."""
        page = numbers // PAGE
        return _gather(table.pages, _gather(table.first_of, page) + (numbers - page * PAGE))

    def replaced(self, table: Replacements, numbers: tf.Tensor) -> tuple[tf.Tensor, Places]:
        """Replaces numbers by strings.

        Returns:
            The strings, one after the other, and the way to the places in `numbers`.
        """
        string = self.look_up(table.string, numbers)
        first, length = string // (table.longest + 1), string % (table.longest + 1)
        ends = tf.cumsum(length)
        begins, count = ends - length, tf.reduce_sum(length)
        # The places of the strings' first values; those of the others are the largest shortly
        # before.
        place = scatter(tf.where(length > 0, begins, count), tf.range(tf.size(numbers)), count + 1)[
            :-1
        ]
        reach = 1
        while reach < table.longest:
            before = tf.concat([tf.zeros([reach], tf.int32), place], 0)[:count]
            place, reach = tf.maximum(place, before), 2 * reach
        values = _gather(table.values, tf.gather(first - begins, place) + tf.range(count))
        return values, lambda at: tf.gather(place, at)


class _Finding:
    """What a `Finder` finds.

    Attributes:
        trie: Its contents, with their numbers; None if there are none.
        stands_for: What takes the place of each token. *Shape:* (tokens that do not stay text,)
        opens: Whether the contents of a token start with a symbol. *Shape:* (symbols,)
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
        self.opens = np.isin(np.arange(num_symbols), [row[0] for _, row, _ in entries])


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
        self.sources = paged(numbered(dict.fromkeys(sources, 1)))

    def __call__(
        self, code_points: tf.Tensor, engine: IntegerEngine
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Sorts the marks of texts, and deletes what normalization deletes.

        Returns:
            The code points, and the place from which each comes.
        """
        # Tokens found in the raw text have numbers behind the tables, and stay as the end does.
        parts, way = engine.replaced(self._table, tf.minimum(code_points, END))
        place = way(tf.range(tf.size(parts)))
        parts = tf.where(parts == _UNCHANGED, tf.gather(code_points, place), parts)
        combining_class = engine.look_up(self._classes, tf.minimum(parts, END))
        run = tf.cumsum(tf.cast(combining_class == 0, tf.int32))
        order = tf.argsort(run * _CLASSES + combining_class, stable=True)
        # Marks that change places take the origins of their new places.
        is_new = place > tf.concat([[-1], place], 0)[:-1]
        kept = tf.gather(place, engine.places(is_new))
        origin = tf.cumsum(tf.gather(tf.cast(is_new, tf.int32), order)) - 1
        return tf.gather(parts, order), tf.gather(kept, origin)


def _check_added_tokens(tokenizer: WordPieceTokenizer) -> None:
    stripping = [token.content for token in tokenizer.added_tokens if token.lstrip or token.rstrip]
    if stripping:
        raise ValueError(
            "Offsets are found in a graph for added tokens without lstrip and rstrip, received "
            f"{stripping[0]!r} with them: export a LiteRT file that takes ids, with inputs='ids'."
        )


# === Operations ===
def _gather(table: np.ndarray, places: tf.Tensor) -> tf.Tensor:
    return tf.gather(tf.constant(table), places)


def scatter(places: tf.Tensor, values: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Returns zeros with values at places. *Shape:* (size,)."""
    return tf.scatter_nd(places[:, tf.newaxis], values, tf.reshape(size, [1]))
