"""Combining marks in canonical order, in a TensorFlow graph.

Axes: B batch.
"""

import numpy as np
import tensorflow as tf

from keras_bert_scratch.text.graphs.ragged import boolean_mask
from keras_bert_scratch.text.normalization import (
    DELETED_FLAG,
    NUM_CODE_POINTS,
    Normalizer,
    unicode_table,
)


class MarkOrder(tf.Module):
    """Puts the combining marks that normalization keeps, if any, into canonical order.

    Args:
        normalizer: The normalization, whose `sources_of_marks` are sorted.
    """

    def __init__(self, normalizer: Normalizer) -> None:
        super().__init__(name="mark_order")
        table = unicode_table()
        self._sources = sorted(normalizer.sources_of_marks)
        self._composed = {
            source: table.decomposition[ord(source)]
            for source in self._sources
            if ord(source) in table.decomposition
        }
        # Marks keep their class; -1 is a character that normalization deletes before it sorts.
        classes = np.zeros(NUM_CODE_POINTS, np.int16)
        classes[list(table.combining_class)] = list(table.combining_class.values())
        classes[(table.flags & DELETED_FLAG) > 0] = -1
        self._classes = tf.constant(classes)

    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        """Sorts the marks of texts. *Shape:* (B,)."""
        if not self._sources:
            return texts
        # \C is any byte: the dot does not match bytes that are not UTF-8.
        pattern = rf"\C*[{''.join(self._sources)}]\C*"
        is_needed = tf.strings.regex_full_match(texts, pattern)
        return tf.cond(
            tf.reduce_any(is_needed),
            lambda: tf.where(is_needed, self._sort(texts), texts),
            lambda: texts,
        )

    def _sort(self, texts: tf.Tensor) -> tf.Tensor:
        for composed, parts in self._composed.items():
            texts = tf.strings.regex_replace(texts, composed, parts)
        characters = tf.strings.unicode_decode(texts, "UTF-8", errors="ignore")
        classes = tf.gather(self._classes, characters)
        characters = boolean_mask(characters, (classes >= 0).flat_values)
        flat = tf.cast(tf.gather(self._classes, characters.flat_values), tf.int64)
        starts_run = tf.cast(flat == 0, tf.int64)
        # Every row opens a run, too; rows that are empty share the next one's first position.
        row_starts = tf.scatter_nd(
            characters.row_starts()[:, None],
            tf.ones_like(characters.row_starts()),
            [tf.size(flat, tf.int64) + 1],
        )[:-1]
        run = tf.cumsum(starts_run + row_starts)
        order = tf.argsort(run * 256 + flat, stable=True)
        sorted_characters = characters.with_values(tf.gather(characters.flat_values, order))
        return tf.strings.unicode_encode(sorted_characters, "UTF-8")
