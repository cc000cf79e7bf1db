"""Added tokens in a TensorFlow graph: texts are cut at them, and an engine takes the parts.

Axes: B batch, P parts of all texts.
"""

import itertools
import re
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from keras_bert_scratch.text.added_tokens import Finder
from keras_bert_scratch.text.graphs.code_points import normalized_strings, unique_blocks
from keras_bert_scratch.text.graphs.ragged import row_ids
from keras_bert_scratch.text.normalization import BertNormalizer
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer

# The mark stands on both sides of a token that is found; where a text itself holds the mark, the
# other character replaces it. Normalization deletes both.
_MARK, _OTHER = "\U0010fff0", "\ue000"
_TEXT = -1
_PAGE = 256


class AddedTokensGraph(tf.Module):
    """Texts -> ids by an engine, except for the added tokens of a tokenizer.

    Args:
        tokenizer: The tokenizer with the added tokens.
        prepare: Applied to the parts of a raw text between the tokens found in it.
        engine: Turns texts, *shape:* (P,), into int32 ids, *shape:* (P, None).
    """

    def __init__(
        self,
        tokenizer: WordPieceTokenizer,
        prepare: Callable[[tf.Tensor], tf.Tensor],
        engine: Callable[[tf.Tensor], tf.RaggedTensor],
    ) -> None:
        super().__init__(name="added_tokens")
        assert tokenizer.finders is not None
        assert isinstance(tokenizer.normalizer, BertNormalizer)
        self._prepare, self._engine = prepare, engine
        self._raw, self._normalized = (
            _SplitAtTokens(finder, tokenizer) if finder.contents else None
            for finder in tokenizer.finders
        )
        if self._normalized:
            self._strings = _string_table(normalized_strings(tokenizer.normalizer))

    def __call__(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Turns texts (*Shape:* (B,)) into int32 ids (*Shape:* (B, None))."""
        parts = texts
        ids = tf.fill(tf.shape(texts), _TEXT)
        row_splits = tf.range(tf.size(texts, tf.int64) + 1)
        if self._raw:
            parts, ids, row_splits = self._raw(parts, ids, row_splits)
        parts = self._prepare(parts)
        if self._normalized:
            # The engine normalizes again, which changes nothing.
            normalized, splits, _ = _replace_code_points(parts, *self._strings)
            parts = tf.strings.unicode_encode(
                tf.RaggedTensor.from_row_splits(normalized, splits, validate=False), "UTF-8"
            )
            parts, ids, row_splits = self._normalized(parts, ids, row_splits)
        is_text = ids == _TEXT
        of_text = self._engine(parts)
        of_tokens = tf.RaggedTensor.from_row_lengths(
            tf.boolean_mask(ids, ~is_text), tf.cast(~is_text, tf.int64), validate=False
        )
        both = tf.concat([of_text, of_tokens], 1)
        return tf.RaggedTensor.from_row_splits(
            both.flat_values, tf.gather(both.row_splits, row_splits), validate=False
        )


class _SplitAtTokens(tf.Module):
    """Cuts parts of texts at the tokens of a `Finder`."""

    def __init__(self, finder: Finder, tokenizer: WordPieceTokenizer) -> None:
        super().__init__(name="split_at_tokens")
        self._tokens = "|".join(map(re.escape, finder.contents))
        self._as_text = "|".join(map(re.escape, finder.as_text))
        id_of = tokenizer.vocabulary.token_to_id
        ids = {content: id_of(finder.tokens[content].content) for content in finder.contents}
        keys, values = tf.constant([*ids]), tf.constant([*ids.values()], tf.int32)
        self._ids = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(keys, values), _TEXT
        )

    def __call__(
        self, parts: tf.Tensor, ids: tf.Tensor, row_splits: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Cuts parts further; takes and returns parts, their ids (or `_TEXT`) and texts' splits."""
        replace = tf.strings.regex_replace
        marked = replace(parts, _MARK, _OTHER)
        marked = replace(marked, f"({self._tokens})", rf"{_MARK}\1{_MARK}")
        if self._as_text:
            marked = replace(marked, f"{_MARK}({self._as_text}){_MARK}", r"\1")
        # The character in front is deleted later: an empty string would have no parts.
        split = tf.strings.split(tf.strings.join([tf.fill(tf.shape(parts), _OTHER), marked]), _MARK)
        places = tf.ragged.range(split.row_lengths()).flat_values
        found = self._ids.lookup(split.flat_values)
        new_ids = tf.where(places % 2 == 1, found, tf.gather(ids, row_ids(split)))
        # Tokens that are found are not searched again.
        new_parts = tf.where(new_ids == _TEXT, split.flat_values, "")
        return new_parts, new_ids, tf.gather(split.row_splits, row_splits)


def _string_table(
    table: tuple[np.ndarray, list[str]],
) -> tuple[tf.Tensor, tf.Tensor, tf.RaggedTensor]:
    """Makes the table of `_replace_code_points` from one of `code_points.py`."""
    index, strings = table
    pages, page_of = unique_blocks(index, _PAGE)
    rows = tf.RaggedTensor.from_row_lengths(
        tf.constant([ord(c) for c in itertools.chain(*strings)], tf.int32),
        tf.constant([len(string) for string in strings], tf.int64),
    )
    return tf.constant(pages.ravel(), tf.int32), tf.constant(page_of.ravel(), tf.int32), rows


def _replace_code_points(
    texts: tf.Tensor, pages: tf.Tensor, page_of: tf.Tensor, replacements: tf.RaggedTensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Replaces every code point of texts.

    Args:
        texts: Strings. *Shape:* (B,)
        pages: First part of a `_string_table`.
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
