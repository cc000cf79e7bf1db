"""Batches of texts with their target sequences.

Axes: B batch, S sequence, T target sequence.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from keras_bert_scratch.data.batching import LENGTH_MULTIPLE, LengthBucketedBatches

_NEARLY_ONE_LENGTH = 8


class TeacherForcedBatches(LengthBucketedBatches):
    """Texts and targets: the decoder reads the true tokens and predicts the next of each.

    Args:
        token_ids: One int32 vector a text.
        segment_ids: The segment ids of these tokens.
        start_id: The token that starts every target sequence.
        labels: The tokens to predict, including the one that ends a sequence, padded with `pad_id`.
            *Shape:* (n, T).
        **kwargs: `batch_size`, `pad_id`, `sample_weight` and `seed` of `LengthBucketedBatches`.

    Example:
        >>> texts = tf.ragged.constant([[2, 7, 8, 3]])
        >>> batches = TeacherForcedBatches(
        ...     texts, tf.zeros_like(texts), start_id=2, labels=np.array([[7, 3, 0]]),
        ...     batch_size=1, pad_id=0,
        ... )
        >>> inputs, labels, weights = batches.batch(np.array([0]))
        >>> inputs["target_ids"], labels, weights
        (array([[2, 7]]), array([[7, 3]]), array([[1., 1.]], dtype=float32))
    """

    columns_are_of_tokens = True
    labels: np.ndarray

    def __init__(
        self,
        token_ids: tf.RaggedTensor,
        segment_ids: tf.RaggedTensor,
        *,
        start_id: int,
        labels: np.ndarray,
        **kwargs: Any,
    ) -> None:
        super().__init__(token_ids, segment_ids, labels=labels, **kwargs)
        self.start_id = start_id
        # Texts of similar length are sorted by the lengths of their targets: padding of the
        # decoder and its vocabulary projection costs more than padding of the encoder.
        widths = -(-self.lengths // _NEARLY_ONE_LENGTH)
        target_lengths = np.sum(labels != self.pad_id, axis=1)
        self.sort_keys = widths * (labels.shape[1] + 1) + target_lengths
        # One weight a token: padding has none.
        weights = (labels != self.pad_id).astype("float32")
        if self.sample_weight is not None:
            weights *= self.sample_weight[:, None]
        self.sample_weight = weights

    def batch(self, indices: np.ndarray) -> tuple[Any, ...]:
        """Pads some texts, and their targets to the longest of these, rounded up.

        Returns:
            `(inputs, labels, weights)`: the inputs also hold `target_ids`, which are `start_id` and
            then the labels, shifted by one position. *Shape:* (B, T) each.
        """
        inputs, labels, weights = super().batch(indices)
        longest = int(np.max(np.sum(labels != self.pad_id, axis=1)))
        width = -(-longest // LENGTH_MULTIPLE) * LENGTH_MULTIPLE
        labels, weights = labels[:, :width], weights[:, :width]
        start = np.full((len(labels), 1), self.start_id, labels.dtype)
        inputs["target_ids"] = np.concatenate([start, labels[:, :-1]], axis=1)
        return inputs, labels, weights
