"""Windows over the tokens of long texts, as `text.truncation` has them, in a TensorFlow graph.

Axes: B batch, W windows of all texts of a batch.
"""

import tensorflow as tf

from keras_bert_scratch.text.graphs.ragged import row_ids


def cut_windows(
    token_ids: tf.RaggedTensor, room: tf.Tensor, stride: tf.Tensor
) -> tuple[tf.RaggedTensor, tf.RaggedTensor]:
    """Cuts texts into the windows that start at their `truncation.window_starts`.

    Args:
        token_ids: Tokens of the texts. *Shape:* (B, None)
        room: Tokens of a window; the last window may have fewer. *Shape:* (B,), int64
        stride: Tokens from the start of a window to the start of the next. *Shape:* (B,), int64

    Returns:
        The tokens of the windows, those of a text one after the other, *shape:* (W, None); and
        where the windows start in their texts, int64, *shape:* (B, None).

    Example:
        >>> texts = tf.ragged.constant([[4, 5, 6, 7, 8], [9]])
        >>> room, stride = tf.constant([3, 3], tf.int64), tf.constant([2, 2], tf.int64)
        >>> windows, starts = cut_windows(texts, room, stride)
        >>> windows.to_list(), starts.to_list()
        ([[4, 5, 6], [6, 7, 8], [9]], [[0, 2], [0]])
    """
    beyond = tf.maximum(token_ids.row_lengths() - room, 0)
    starts = tf.ragged.range(tf.zeros_like(beyond), beyond + stride, stride)
    text = row_ids(starts)
    first = tf.gather(token_ids.row_starts(), text) + starts.flat_values
    last = tf.minimum(first + tf.gather(room, text), tf.gather(token_ids.row_limits(), text))
    return tf.gather(token_ids.flat_values, tf.ragged.range(first, last)), starts
