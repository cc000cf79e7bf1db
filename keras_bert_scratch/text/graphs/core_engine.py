"""The core engine: operations of core TensorFlow only, for servers without tensorflow-text.

A batch becomes one long row of code points, those of its normalized texts, with spaces between the
words. Most words are tokens: one look-up finds them. The others are split greedily into the longest
tokens: a trie, walked from all their positions at once, finds the longest match at each.

Axes: B batch, N code points of the whole batch, W words, R code points of the words to be split.
"""

import itertools
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from keras_bert_scratch.text.graphs.code_points import code_point_strings, unique_blocks
from keras_bert_scratch.text.graphs.ragged import boolean_mask, row_ids
from keras_bert_scratch.text.normalization import NUM_CODE_POINTS
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import CONTINUATION

_SPACE = ord(" ")
_NO_TOKEN = -1
# Nodes of the trie: no match, the start of a word, the start of its continuation.
_DEAD, _WORD, _REST = 0, 1, 2
_PAGE = 256


class CoreEngine(tf.Module):
    """Texts -> ids with core TensorFlow operations.

    Args:
        tokenizer: The tokenizer whose ids the engine computes.
    """

    def __init__(self, tokenizer: WordPieceTokenizer) -> None:
        super().__init__()
        self._unk_id = tokenizer.vocabulary.unk_id
        self._max_word_length = tokenizer.max_word_length
        self._length_unit = tokenizer.normalizer.length_unit
        self._strings = string_table(code_point_strings(tokenizer.normalizer))
        self._words = lookup_table(tokenizer.pieces, _NO_TOKEN)
        children, token_of_node = _trie(tokenizer.pieces)
        self._children = lookup_table(children, _DEAD, tf.int64, tf.int64)
        self._token_of_node = tf.constant(token_of_node, tf.int32)

    def __call__(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Turns texts (*Shape:* (B,)) into int32 ids (*Shape:* (B, None))."""
        characters, row_splits, _ = self._normalize(texts)
        tokens = self._match(characters, *_words(characters))
        rows = tf.RaggedTensor.from_row_splits(tokens, row_splits, validate=False)
        return boolean_mask(rows, tokens != _NO_TOKEN)

    def with_offsets(self, texts: tf.Tensor) -> dict[str, tf.RaggedTensor]:
        """Turns texts into ids with their offsets.

        Args:
            texts: Strings. *Shape:* (B,)

        Returns:
            `token_ids`, int32; `starts` and `ends`, int64, in characters of the text without bytes
            that are not UTF-8; and `opens_word`, bool: whether a token is the first of its word.
            *Shape:* (B, None) each
        """
        characters, row_splits, origins = self._normalize(texts)
        starts, ends = _words(characters)
        tokens = self._match(characters, starts, ends)
        every = tf.range(tf.size(tokens, tf.int64))
        rows = tf.RaggedTensor.from_row_splits(every, row_splits, validate=False)
        found = boolean_mask(rows, tokens != _NO_TOKEN)
        positions = found.flat_values
        word = tf.searchsorted(starts, positions, side="right", out_type=tf.int64) - 1
        # A token ends where the next one of its word starts.
        following = tf.concat([positions, [tf.size(characters, tf.int64)]], 0)[1:]
        after = tf.minimum(following, tf.gather(ends, word))
        columns = {
            "token_ids": tf.gather(tokens, positions),
            "starts": tf.gather(origins, positions),
            "ends": tf.gather(origins, after - 1) + 1,
            "opens_word": positions == tf.gather(starts, word),
        }
        return {name: found.with_values(column) for name, column in columns.items()}

    def _normalize(self, texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Normalizes texts, each with a space behind it, as `replace_code_points` does."""
        texts = tf.strings.join([texts, tf.fill(tf.shape(texts), " ")])
        return replace_code_points(texts, *self._strings)

    def _match(self, characters: tf.Tensor, starts: tf.Tensor, ends: tf.Tensor) -> tf.Tensor:
        """Returns the token that starts at every position, or -1. *Shape:* (N,)."""
        lengths = ends - starts
        words = tf.RaggedTensor.from_row_lengths(
            tf.boolean_mask(characters, characters != _SPACE), lengths, validate=False
        )
        encoded = tf.strings.unicode_encode(words, "UTF-8")
        found = self._words.lookup(encoded)
        is_too_long = tf.strings.length(encoded, self._length_unit) > self._max_word_length
        is_known = (found != _NO_TOKEN) & ~is_too_long
        tokens = tf.tensor_scatter_nd_update(
            tf.fill(tf.shape(characters), _NO_TOKEN),
            starts[:, None],
            tf.where(is_known, found, self._unk_id),
        )
        to_split = ~is_known & ~is_too_long & (lengths > 1)
        positions, pieces = self._split(
            characters, tf.boolean_mask(starts, to_split), tf.boolean_mask(ends, to_split)
        )
        return tf.tensor_scatter_nd_update(tokens, positions[:, None], pieces)

    def _split(
        self, characters: tf.Tensor, starts: tf.Tensor, ends: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Splits words greedily; returns the positions and ids of the tokens found."""
        positions = tf.ragged.range(starts, ends)
        word_of = row_ids(positions)
        word_ends = tf.gather(positions.row_limits(), word_of)
        every = tf.range(tf.size(word_of, tf.int64))
        is_start = every == tf.gather(positions.row_starts(), word_of)
        tokens, next_position = self._longest_matches(
            tf.gather(characters, positions.flat_values), is_start, word_ends
        )

        def step(jump: tf.Tensor, reached: tf.Tensor) -> tuple:
            onward = tf.boolean_mask(jump, reached)
            reached = tf.tensor_scatter_nd_update(
                reached, onward[:, None], tf.fill(tf.shape(onward), True)
            )
            return tf.gather(jump, jump), reached

        # A position leads to that behind its token; the last one of a word, and one without a
        # token, lead to themselves. Jumps double: a word of n tokens takes log2(n) steps.
        goes_on = (tokens != _NO_TOKEN) & (next_position < word_ends)
        _, reached = tf.while_loop(
            lambda jump, reached: tf.reduce_any(
                ~tf.gather(reached, tf.boolean_mask(jump, reached))
            ),
            step,
            (tf.where(goes_on, next_position, every), is_start),
        )
        has_failed = tf.math.unsorted_segment_max(
            tf.cast(reached & (tokens == _NO_TOKEN), tf.int32), word_of, positions.nrows()
        )
        is_piece = reached & (tf.gather(has_failed, word_of) == 0)
        return tf.boolean_mask(positions.flat_values, is_piece), tf.boolean_mask(tokens, is_piece)

    def _longest_matches(
        self, characters: tf.Tensor, is_word_start: tf.Tensor, word_ends: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Finds the longest token that starts at each position.

        Args:
            characters: The words' code points. *Shape:* (R,)
            is_word_start: Whether a word starts here; else it must be a "##" token. *Shape:* (R,)
            word_ends: Where the position's word ends. *Shape:* (R,)

        Returns:
            The token, or -1, and the position after it. *Shape:* (R,) each
        """

        def step(
            active: tf.Tensor,
            cursor: tf.Tensor,
            node: tf.Tensor,
            tokens: tf.Tensor,
            ends: tf.Tensor,
        ) -> tuple:
            code_point = tf.cast(tf.gather(characters, cursor), tf.int64)
            node = self._children.lookup(node * NUM_CODE_POINTS + code_point)
            token = tf.gather(self._token_of_node, node)
            matched = token != _NO_TOKEN
            cursor += 1
            at = tf.boolean_mask(active, matched)[:, None]
            tokens = tf.tensor_scatter_nd_update(tokens, at, tf.boolean_mask(token, matched))
            ends = tf.tensor_scatter_nd_update(ends, at, tf.boolean_mask(cursor, matched))
            goes_on = (node != _DEAD) & (cursor < tf.gather(word_ends, active))
            still = (tf.boolean_mask(part, goes_on) for part in (active, cursor, node))
            return (*still, tokens, ends)

        every = tf.range(tf.size(characters, tf.int64))
        node = tf.where(is_word_start, tf.constant(_WORD, tf.int64), _REST)
        no_tokens = tf.fill(tf.shape(characters), _NO_TOKEN)
        *_, tokens, ends = tf.while_loop(
            lambda active, *_: tf.size(active) > 0,
            step,
            (every, every, node, no_tokens, tf.zeros_like(every)),
            (tf.TensorShape([None]),) * 5,
        )
        return tokens, ends


def string_table(
    table: tuple[np.ndarray, list[str]],
) -> tuple[tf.Tensor, tf.Tensor, tf.RaggedTensor]:
    """Makes the table of `replace_code_points` from one of `code_points.py`."""
    index, strings = table
    pages, page_of = unique_blocks(index, _PAGE)
    rows = tf.RaggedTensor.from_row_lengths(
        tf.constant([ord(c) for c in itertools.chain(*strings)], tf.int32),
        tf.constant([len(string) for string in strings], tf.int64),
    )
    return tf.constant(pages.ravel(), tf.int32), tf.constant(page_of.ravel(), tf.int32), rows


def replace_code_points(
    texts: tf.Tensor, pages: tf.Tensor, page_of: tf.Tensor, replacements: tf.RaggedTensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Replaces every code point of texts.

    Args:
        texts: Strings. *Shape:* (B,)
        pages: First part of a `string_table`.
        page_of: Its second part.
        replacements: Its third part.

    Returns:
        The code points, *shape:* (N,); where texts start in them, *shape:* (B + 1,); and the
        position in its text of the character that each comes from, *shape:* (N,).
    """
    raw = tf.strings.unicode_decode(texts, "UTF-8", errors="ignore")
    page = tf.gather(page_of, raw.flat_values // _PAGE)
    index = tf.gather(pages, page * _PAGE + raw.flat_values % _PAGE)
    strings = tf.gather(replacements, index)
    source = row_ids(strings)
    characters = tf.where(
        strings.flat_values == 0, tf.gather(raw.flat_values, source), strings.flat_values
    )
    origins = tf.gather(tf.ragged.range(raw.row_lengths()).flat_values, source)
    return characters, tf.gather(strings.row_splits, raw.row_splits), origins


def _words(characters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns where the words start and where they end. *Shape:* (W,) each."""
    is_space = characters == _SPACE
    after_space = tf.concat([[True], is_space], 0)[:-1]
    # Every text ends with a space, so every word has an end.
    return tf.where(~is_space & after_space)[:, 0], tf.where(is_space & ~after_space)[:, 0]


def lookup_table(
    mapping: Mapping,
    default: int,
    key_type: tf.DType = tf.string,
    value_type: tf.DType = tf.int32,
) -> tf.lookup.StaticHashTable:
    """Makes a table that a graph looks up tensors in; `default` is the value of other keys."""
    keys, values = tf.constant([*mapping], key_type), tf.constant([*mapping.values()], value_type)
    return tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, values), default)


def _trie(tokens: dict[str, int]) -> tuple[dict[int, int], list[int]]:
    """Builds the trie of all tokens.

    Returns:
        The child of (node, code point), under the key node * NUM_CODE_POINTS + code point, and the
        token of every node, or -1.
    """
    children: dict[int, int] = {}
    token_of_node = [_NO_TOKEN] * 3
    for token, token_id in tokens.items():
        is_continuation = token.startswith(CONTINUATION) and token != CONTINUATION
        node = _REST if is_continuation else _WORD
        for character in token[len(CONTINUATION) :] if is_continuation else token:
            key = node * NUM_CODE_POINTS + ord(character)
            node = children.setdefault(key, len(token_of_node))
            if node == len(token_of_node):
                token_of_node.append(_NO_TOKEN)
        token_of_node[node] = token_id
    return children, token_of_node
