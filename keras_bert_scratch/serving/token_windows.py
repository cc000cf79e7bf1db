"""Windows over tokens in a graph of core TensorFlow operations, as `data.windows` makes them.

Axes: B batch, S sequence, W windows of all texts of a batch.
"""

from typing import NamedTuple

import tensorflow as tf

from keras_bert_scratch.text.graphs.ragged import row_ids
from keras_bert_scratch.text.graphs.windows import cut_windows


class WindowsOfTexts(NamedTuple):
    """Windows that slide over the tokens of texts.

    Attributes:
        tokens: The tokens of every window, int32. *Shape:* (W, None).
        starts: Where every window starts in its text. *Shape:* (B, None), int64.
        owner: The window, of all, that speaks for each token. *Shape:* (B, None), int64.
        columns: The token's place in that window. *Shape:* (B, None), int64.
    """

    tokens: tf.RaggedTensor
    starts: tf.RaggedTensor
    owner: tf.RaggedTensor
    columns: tf.RaggedTensor


def slide(token_ids: tf.RaggedTensor, room: tf.Tensor, stride: tf.Tensor) -> WindowsOfTexts:
    """Slides windows over texts, see `data.windows.token_windows`.

    Args:
        token_ids: int32. *Shape:* (B, None).
        room: Tokens of a window, int64. *Shape:* (B,).
        stride: From the start of a window to the start of the next, int64. *Shape:* (B,).
    """
    tokens, starts = cut_windows(token_ids, room, stride)
    text = row_ids(token_ids)
    position = tf.ragged.range(token_ids.row_lengths()).flat_values
    stride_of = tf.gather(stride, text)
    half_overlap = tf.gather((room - stride + 1) // 2, text)
    window = tf.clip_by_value(
        (position - half_overlap) // stride_of, 0, tf.gather(starts.row_lengths(), text) - 1
    )
    return WindowsOfTexts(
        tokens,
        starts,
        token_ids.with_values(tf.gather(starts.row_starts(), text) + window),
        token_ids.with_values(position - window * stride_of),
    )
