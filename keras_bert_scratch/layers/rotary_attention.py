"""ModernBERT's self-attention: rotary positions, over all tokens or a window.

Axes: B batch, S sequence, H hidden, N heads, D head width (H = N x D).
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_bert_scratch.config import check_heads, check_rotary, check_window
from keras_bert_scratch.layers.attention import attend
from keras_bert_scratch.layers.base import BaseLayer
from keras_bert_scratch.layers.dropout import Dropout
from keras_bert_scratch.layers.local_attention import attend_locally, window_bias


def rotate(x: Any, rope_theta: float) -> Any:
    """Rotates pairs of features by an angle that grows with the position (Su et al. 2021, eq. 34).

    Features i and i + D/2 are turned by position x rope_theta^(-2i/D). The product of a query and a
    key so turned depends on the distance between them, not on where they stand.

    Args:
        x: *Shape:* (B, N, S, D).
        rope_theta: Base of the angles.

    Returns:
        *Shape:* (B, N, S, D).

    Example:
        >>> rotate(np.ones((1, 1, 2, 2), "float32"), 10000.0).numpy().round(2)[0, 0]
        array([[ 1.  ,  1.  ],
               [-0.3 ,  1.38]], dtype=float32)
    """
    half = x.shape[-1] // 2
    frequencies = (1.0 / rope_theta ** (np.arange(half) / half)).astype("float32")
    # A position has more digits than bfloat16.
    angles = ops.outer(ops.arange(ops.shape(x)[2], dtype="float32"), frequencies)  # (S, D/2)
    cos, sin = ops.cos(angles), ops.sin(angles)
    first, second = ops.split(ops.cast(x, "float32"), 2, axis=-1)
    rotated = ops.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return ops.cast(rotated, x.dtype)


@keras.saving.register_keras_serializable("keras_bert_scratch")
class RotaryAttention(BaseLayer):
    """Multi-head self-attention on rotated queries and keys (Warner et al. 2024, section 2.1).

    It has no biases; one matrix projects queries, keys and values.

    Args:
        num_heads: N. Divides `hidden_dim`, into heads of an even width.
        hidden_dim: H, the width of input and output.
        rope_theta: Base of the rotary positions.
        window: Width of the window, half of which is on either side of a token; None: all tokens.
        dropout: Rate on the attention probabilities.
        initializer_range: Standard deviation of the kernels' truncated normal initializer.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Raises:
        ValueError: If heads of an even width cannot be made of `hidden_dim`, `rope_theta` is not
            above 0, or the window is not an even number from 2.

    Example:
        >>> attention = RotaryAttention(num_heads=2, hidden_dim=8, window=2)
        >>> attention(np.ones((1, 5, 8), "float32")).shape
        TensorShape([1, 5, 8])
    """

    def __init__(
        self,
        num_heads: int,
        hidden_dim: int,
        rope_theta: float = 160_000.0,
        window: int | None = None,
        dropout: float = 0.0,
        initializer_range: float = 0.02,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_heads(hidden_dim, num_heads)
        check_rotary(hidden_dim // num_heads, rope_theta)
        if window is not None:
            check_window(window)
        self.num_heads = num_heads
        self.hidden_dim = hidden_dim
        self.rope_theta = rope_theta
        self.window = window
        self.dropout = dropout
        self.initializer_range = initializer_range

        # === Layers ===
        self.query_key_value = self._dense(3 * hidden_dim, "query_key_value", use_bias=False)
        self.output_projection = self._dense(hidden_dim, "output", use_bias=False)
        self.probability_dropout = Dropout(dropout, dtype=self.dtype_policy)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Builds both projections for inputs of shape (B, S, H)."""
        self.query_key_value.build(input_shape)
        self.output_projection.build(input_shape)

    def call(
        self,
        x: Any,
        attention_bias: Any = None,
        training: bool | None = None,
        return_attention: bool = False,
        first_only: bool = False,
    ) -> Any:
        """Attends from every position to the visible positions of its window.

        Args:
            x: *Shape:* (B, S, H).
            attention_bias: Bias of the padding, see `padding_bias`. *Shape:* (B, 1, 1, S); None
                hides nothing.
            training: Whether dropout acts.
            return_attention: Whether to return the probabilities, too; memory then grows with the
                square of the length, with a window as well.
            first_only: Whether only the first position attends.

        Returns:
            *Shape:* (B, S, H); with `return_attention` a pair of it and the probabilities. *Shape:*
            (B, N, S, S). With `first_only`, (B, 1, H) and (B, N, 1, S).
        """
        batch, length = ops.shape(x)[:2]
        head_dim = self.hidden_dim // self.num_heads
        x = ops.reshape(self.query_key_value(x), (batch, length, 3, self.num_heads, head_dim))
        query, key, value = ops.unstack(ops.transpose(x, (2, 0, 3, 1, 4)), 3)  # (B, N, S, D) each
        query, key = rotate(query, self.rope_theta), rotate(key, self.rope_theta)
        if first_only:
            query = query[:, :, :1]

        if attention_bias is None:
            attention_bias = ops.zeros((batch, 1, 1, length), self.compute_dtype)

        def dropout(probabilities: Any) -> Any:
            return self.probability_dropout(probabilities, training=training)

        probabilities = None
        if self.window is None or return_attention or first_only:
            if self.window is not None:
                hidden = window_bias(ops.shape(query)[2], length, self.window, self.compute_dtype)
                attention_bias = ops.minimum(attention_bias, hidden)
            attended, probabilities = attend(query, key, value, attention_bias, dropout)
        else:
            attended = attend_locally(query, key, value, attention_bias, self.window, dropout)

        attended = ops.reshape(ops.transpose(attended, (0, 2, 1, 3)), (batch, -1, self.hidden_dim))
        output = self.output_projection(attended)
        return (output, probabilities) if return_attention else output
