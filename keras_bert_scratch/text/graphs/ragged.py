"""Ragged tensors within memory that grows as their values do.

TensorFlow's `value_rowids`, `tf.repeat` and `tf.ragged.boolean_mask` fill a matrix of all rows by
the longest: 640 MB for 200 texts of which one has 400,000 tokens.

Axes: B rows, V values of all rows.
"""

from typing import Any

import tensorflow as tf


def row_ids(rows: tf.RaggedTensor) -> tf.Tensor:
    """Returns the row of each value, as `value_rowids` does.

    Args:
        rows: Any values. *Shape:* (B, None).

    Returns:
        int64. *Shape:* (V,).

    Example:
        >>> row_ids(tf.ragged.constant([[7, 8], [], [9]])).numpy()
        array([0, 0, 2])
    """
    places = tf.range(tf.size(rows.flat_values, tf.int64))
    return tf.searchsorted(rows.row_splits, places, side="right", out_type=tf.int64) - 1


def boolean_mask(rows: tf.RaggedTensor, is_kept: tf.Tensor) -> tf.RaggedTensor:
    """Keeps some values of each row, as `tf.ragged.boolean_mask` does.

    Args:
        rows: Any values. *Shape:* (B, None).
        is_kept: For each of `rows.flat_values`, bool. *Shape:* (V,).

    Returns:
        *Shape:* (B, None).

    Example:
        >>> boolean_mask(tf.ragged.constant([[7, 8], [], [9]]), tf.constant([False, True, True]))
        <tf.RaggedTensor [[8], [], [9]]>
    """
    places = tf.where(is_kept)[:, 0]
    return tf.RaggedTensor.from_row_splits(
        tf.gather(rows.flat_values, places),
        tf.searchsorted(places, rows.row_splits, out_type=tf.int64),
        validate=False,
    )


def padded(rows: tf.RaggedTensor, value: Any) -> tf.Tensor:
    """Fills rows up to the longest, as `to_tensor` does, and to one column at least.

    A network looks for the first column even where there are no texts.

    Args:
        rows: Any values. *Shape:* (B, None).
        value: The padding value.

    Returns:
        *Shape:* (B, S).

    Example:
        >>> padded(tf.ragged.constant([[7, 8], [9]]), 0).numpy()
        array([[7, 8],
               [9, 0]], dtype=int32)
    """
    dense = rows.to_tensor(value)
    missing = tf.cast(tf.equal(tf.shape(dense)[1], 0), tf.int32)
    return tf.pad(dense, [[0, 0], [0, missing]], constant_values=value)
