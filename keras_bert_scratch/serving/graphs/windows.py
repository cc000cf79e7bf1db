"""Windows over tokens, and a network's inputs of them, by core TensorFlow operations.

Axes: B batch, S sequence, W windows of all texts of a batch.
"""

from typing import NamedTuple

import tensorflow as tf

from keras_bert_scratch.text.graphs.ragged import padded, row_ids
from keras_bert_scratch.text.graphs.windows import cut_windows
from keras_bert_scratch.text.vocabulary import Vocabulary


class WindowsOfTexts(NamedTuple):
    """Windows that slide over the tokens of texts.

    Attributes:
        tokens: The tokens of every window, int32. *Shape:* (W, None).
        starts: Start of every window in its text. *Shape:* (B, None), int64.
        owner: Number of the window from which a token's answer is taken. *Shape:* (B, None), int64.
        columns: Position of the token in that window. *Shape:* (B, None), int64.
    """

    tokens: tf.RaggedTensor
    starts: tf.RaggedTensor
    owner: tf.RaggedTensor
    columns: tf.RaggedTensor


def slide(token_ids: tf.RaggedTensor, room: tf.Tensor, stride: tf.Tensor) -> WindowsOfTexts:
    """Slides windows over texts, see `data.windows.token_windows`.

    Args:
        token_ids: Tokens of the texts, int32. *Shape:* (B, None).
        room: Tokens of a window, int64. *Shape:* (B,).
        stride: Tokens from the start of a window to the start of the next, int64. *Shape:* (B,).
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


def inputs_of(vocabulary: Vocabulary, *parts: tf.RaggedTensor) -> dict[str, tf.Tensor]:
    """Makes a network's inputs of rows [CLS] tokens [SEP], or [CLS] tokens [SEP] tokens [SEP].

    Args:
        vocabulary: Has the special tokens.
        *parts: The tokens before the first [SEP], and those after it if there are two, int32.
            *Shape:* (B, None) each.

    Returns:
        `token_ids`, `segment_ids` and `padding_mask`, int32. *Shape:* (B, S) each.
    """
    cls, sep = (
        tf.RaggedTensor.from_uniform_row_length(tf.fill([parts[0].nrows()], token), 1)
        for token in (vocabulary.cls_id, vocabulary.sep_id)
    )
    rows = tf.concat([cls, *(column for part in parts for column in (part, sep))], 1)
    token_ids = padded(rows, vocabulary.pad_id)
    width = tf.shape(token_ids, tf.int64)[1]
    padding_mask = tf.sequence_mask(rows.row_lengths(), width, tf.int32)
    is_first = tf.sequence_mask(parts[0].row_lengths() + 2, width, tf.int32)
    return {
        "token_ids": token_ids,
        "segment_ids": padding_mask - is_first,
        "padding_mask": padding_mask,
    }
