"""The core engine: operations of core TensorFlow only, for servers without tensorflow-text.

Strings become code points, and the integer engine does the rest, with the operations that only
TensorFlow has where they save time: ragged ranges and gathers, branches, `where` of a condition.

Axes: B batch, N code points of all texts, T tokens of all texts.
"""

import copy
import functools
from collections.abc import Callable

import tensorflow as tf

from keras_bert_scratch.text.graphs.integer_engine import (
    IntegerEngine,
    Parts,
    Places,
    Source,
    scatter,
)
from keras_bert_scratch.text.graphs.ragged import row_ids
from keras_bert_scratch.text.graphs.symbols import (
    END,
    END_SYMBOL,
    PAGE,
    REST,
    SPACE_SYMBOL,
    WORD,
    Paged,
    Replacements,
)
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer

_PAGE_BITS = PAGE.bit_length() - 1


class CoreEngine(tf.Module):
    """Texts -> ids with core TensorFlow operations.

    Args:
        tokenizer: The tokenizer whose ids the engine computes.
    """

    def __init__(self, tokenizer: WordPieceTokenizer) -> None:
        super().__init__()
        # A copy, for graphs are kept as long as their tokenizers live.
        self._tokenizer = copy.copy(tokenizer)
        self._ids = self._function()

    def __call__(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Turns texts (*Shape:* (B,)) into int32 ids (*Shape:* (B, None))."""
        return self._ids(_code_points(texts))

    def with_offsets(self, texts: tf.Tensor) -> dict[str, tf.RaggedTensor]:
        """Turns texts into ids with their offsets.

        Args:
            texts: Strings. *Shape:* (B,)

        Returns:
            `token_ids`, int32; `starts` and `ends`, int64, in characters of the text without bytes
            that are not UTF-8; and `opens_word`, bool: whether a token is the first of its word.
            *Shape:* (B, None) each

        Raises:
            ValueError: If offsets depend on white space around added tokens.
        """
        return self._offsets(_code_points(texts))

    @functools.cached_property
    def _offsets(self) -> tf.types.experimental.PolymorphicFunction:
        return self._function(with_offsets=True)

    def _function(self, **options: bool) -> tf.types.experimental.PolymorphicFunction:
        """Makes a function that a graph holds once, with its tables, however often it is called."""
        engine = RaggedEngine(self._tokenizer, **options)
        spec = tf.RaggedTensorSpec([None, None], tf.int32, ragged_rank=1)
        tokens = engine.with_offsets if options else engine.ids
        return tf.function(tokens, input_signature=[spec], autograph=False)


def _code_points(texts: tf.Tensor) -> tf.RaggedTensor:
    # With a space behind each text, where the engine wants one more code point.
    texts = tf.strings.join([texts, tf.fill(tf.shape(texts), " ")])
    return tf.strings.unicode_decode(texts, "UTF-8", errors="ignore")


class RaggedEngine(IntegerEngine):
    """`IntegerEngine` for ragged rows of code points, each with one more, which is not read."""

    # Punctuation and Chinese characters are words of one symbol.
    stops = (1, 5)

    def ids(self, code_points: tf.RaggedTensor) -> tf.RaggedTensor:
        """Turns texts (*Shape:* (B, None)) into int32 ids (*Shape:* (B, None))."""
        return self._tokens(code_points)[0]

    def with_offsets(self, code_points: tf.RaggedTensor) -> dict[str, tf.RaggedTensor]:
        """See `CoreEngine.with_offsets`."""
        token_ids, parts, source = self._tokens(code_points)
        begins = tf.gather(code_points.row_starts(), row_ids(token_ids))
        columns = {
            "token_ids": parts.token_ids,
            "starts": tf.cast(source.first(parts.first), tf.int64) - begins,
            "ends": tf.cast(source.last(parts.last) + 1, tf.int64) - begins,
            "opens_word": parts.opens_word > 0,
        }
        return {name: token_ids.with_values(column) for name, column in columns.items()}

    def _tokens(self, code_points: tf.RaggedTensor) -> tuple[tf.RaggedTensor, Parts, Source]:
        lasts = (code_points.row_limits() - 1)[:, tf.newaxis]
        ends = tf.fill([code_points.nrows()], END)
        flat = tf.tensor_scatter_nd_update(code_points.flat_values, lasts, ends)
        symbols, source = self.symbols(flat)
        parts = self.split(symbols)
        text_ends = self.places(tf.equal(symbols, END_SYMBOL))
        limits = tf.searchsorted(parts.first, text_ends, out_type=tf.int64)
        splits = tf.concat([tf.constant([0], tf.int64), limits], 0)
        rows = tf.RaggedTensor.from_row_splits(parts.token_ids, splits, validate=False)
        return rows, parts, source

    def split(self, symbols: tf.Tensor) -> Parts:
        """Splits normalized texts into words, and words into tokens."""
        is_space = symbols <= SPACE_SYMBOL
        after = tf.concat([[True], symbols <= self.last_alone], 0)
        opens = ~is_space & (after[:-1] | after[1:])
        closes = ~is_space & tf.concat([(is_space | opens)[1:], [True]], 0)
        first, last = self.places(opens), self.places(closes)
        trie = self.tokens.in_graph()
        length, token = self.longest(trie, symbols, first, tf.fill(tf.shape(first), WORD))
        is_split = (first + length <= last) & (length > 0)
        of_words = tf.where(first + length > last, token, self.unk_id)
        is_short = self.word_sizes(symbols, first, last) <= self.max_word_length
        of_words = tf.where(is_short, of_words, self.unk_id)

        # Words to be split, each with the symbol behind it, at which all matches end.
        words = self.places(is_split & is_short)
        at = _ranges(tf.gather(first, words), tf.gather(last, words) + 2)
        begins, limits = at.row_starts(), at.row_limits()
        at, count = at.flat_values, tf.size(at.flat_values)
        opened = scatter(begins, tf.ones_like(begins), count) > 0
        every = tf.range(count)
        root = tf.where(opened, WORD, REST)
        length, token = self.longest(trie, tf.gather(symbols, at), every, root)
        behind = every + length
        is_behind = scatter(limits - 1, tf.ones_like(limits), count) > 0
        goes_on = (length > 0) & ~tf.gather(is_behind, tf.minimum(behind, count - 1))
        reached = self.follow(tf.where(goes_on, behind, count), opened, self.max_word_length)
        # A word is unknown if a position is reached that has no match.
        failed = tf.searchsorted(begins, self.places(reached & (length == 0)), side="right") - 1
        is_known = scatter(failed, tf.ones_like(failed), tf.size(words)) == 0

        # Its tokens take the place of a word that is split.
        pieces = self.places(reached)
        known = tf.boolean_mask(words, is_known)
        every = tf.range(tf.size(first))
        ranges = _ranges(
            *(
                tf.tensor_scatter_nd_update(
                    here,
                    known[:, tf.newaxis],
                    tf.size(first) + tf.searchsorted(pieces, tf.boolean_mask(side, is_known)),
                )
                for here, side in ((every, begins), (every + 1, limits))
            )
        ).flat_values

        def both(of_words: tf.Tensor, of_pieces: tf.Tensor) -> tf.Tensor:
            return tf.gather(tf.concat([of_words, of_pieces], 0), ranges)

        starts = both(first, tf.gather(at, pieces))
        return Parts(
            both(of_words, tf.gather(token, pieces)),
            starts,
            both(last, tf.gather(at, tf.gather(behind, pieces) - 1)),
            tf.cast(tf.gather(opens, starts), tf.int32),
        )

    def onward(self, pointers: tf.Tensor, reached: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        """Returns the pointers of what is reached."""
        return tf.boolean_mask(pointers, reached)

    def places(self, is_given: tf.Tensor) -> tf.Tensor:
        """Returns where a condition holds."""
        return tf.cast(tf.where(is_given)[:, 0], tf.int32)

    def number_before(self, given: tf.Tensor, places: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        """Returns how many of the given places are before others."""
        return tf.searchsorted(given, places)

    def if_any(
        self,
        condition: Callable[[], tf.Tensor],
        then: Callable[[], tuple],
        otherwise: Callable[[], tuple],
    ) -> tuple:
        """Does something only if a condition holds anywhere."""
        return tf.cond(tf.reduce_any(condition()), then, otherwise)

    def look_up(self, table: Paged, numbers: tf.Tensor) -> tf.Tensor:
        """Looks numbers up in a table of two levels."""
        page = tf.gather(tf.constant(table.first_of), tf.bitwise.right_shift(numbers, _PAGE_BITS))
        place = page + tf.bitwise.bitwise_and(numbers, PAGE - 1)
        return tf.gather(tf.constant(table.pages), place)

    def replaced(self, table: Replacements, numbers: tf.Tensor) -> tuple[tf.Tensor, Places]:
        """Replaces numbers by strings."""
        strings = tf.RaggedTensor.from_row_splits(
            tf.constant(table.values), tf.constant(table.splits, tf.int32), validate=False
        )
        values = tf.gather(strings, self.look_up(table.number, numbers))
        splits = values.row_splits
        return values.flat_values, lambda at: tf.searchsorted(splits, at, side="right") - 1


def _ranges(starts: tf.Tensor, limits: tf.Tensor) -> tf.RaggedTensor:
    return tf.ragged.range(starts, limits, row_splits_dtype=tf.int32)
