"""Windows over tokens, and a network's inputs of them, by core TensorFlow operations.

Axes: B batch, S sequence, T tokens of a text, Q tokens of a question, W windows of all texts.
"""

from typing import NamedTuple

import tensorflow as tf

from keras_bert_scratch.serving.packed import INPUTS
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


class WindowsOfOneText(NamedTuple):
    """Windows that slide over the tokens of one text, as rows of a network.

    Attributes:
        inputs: The network's inputs. *Shape:* (W, S) each.
        owner: Number of the window from which a token's answer is taken. *Shape:* (T,), int32.
        columns: Column of the token in that row. *Shape:* (T,), int32.
        lasts: Column of the last token of the text in that row. *Shape:* (T,), int32.
    """

    inputs: dict[str, tf.Tensor]
    owner: tf.Tensor
    columns: tf.Tensor
    lasts: tf.Tensor


def slide_over_one(
    vocabulary: Vocabulary,
    token_ids: tf.Tensor,
    room: tf.Tensor | int,
    stride: tf.Tensor | int,
    asked: tf.Tensor | None = None,
) -> WindowsOfOneText:
    """Computes `slide` and `inputs_of` for one text, without ragged tensors.

    Args:
        vocabulary: Has the special tokens.
        token_ids: Tokens of the text, int32. *Shape:* (T,).
        room: Tokens of a window.
        stride: Tokens from the start of a window to the start of the next.
        asked: Tokens of a question that stands before each window, int32. *Shape:* (Q,).
    """
    cls, sep = vocabulary.cls_id, vocabulary.sep_id
    before = tf.constant([cls]) if asked is None else tf.concat([[cls], asked, [sep]], 0)
    first, count = tf.size(before), tf.size(token_ids)
    beyond = tf.maximum(count - room, 0)
    num_windows = (beyond + stride - 1) // stride + 1
    starts = tf.range(num_windows)[:, tf.newaxis] * stride
    lengths = tf.minimum(count - starts, room)
    # The place of every column among the tokens of its window.
    size = tf.minimum(count, room) + 1
    place = (tf.range(first + size) - first)[tf.newaxis]
    is_token = (place >= 0) & (place < lengths)
    padded_ids = tf.concat([token_ids, [vocabulary.pad_id]], 0)
    row = tf.concat([before, tf.fill([size], vocabulary.pad_id)], 0)[tf.newaxis]
    tokens = tf.gather(padded_ids, tf.where(is_token, starts + place, count))
    rows = tf.where(is_token, tokens, tf.where(place == lengths, sep, row))
    mask = tf.cast(place <= lengths, tf.int32)
    segments = tf.zeros_like(mask) if asked is None else tf.cast(place >= 0, tf.int32) * mask

    every = tf.range(count)
    half_overlap = (room - stride + 1) // 2
    window = tf.clip_by_value((every - half_overlap) // stride, 0, num_windows - 1)
    return WindowsOfOneText(
        dict(zip(INPUTS, (rows, segments, mask), strict=True)),
        window,
        every - window * stride + first,
        tf.gather(lengths[:, 0], window) + first - 1,
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
    return dict(zip(INPUTS, (token_ids, padding_mask - is_first, padding_mask), strict=True))
