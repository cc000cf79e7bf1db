"""Multi-head attention: the projections, and the matrix products of equation 1.

Axes: B batch, S sequence, H hidden, N heads, D head width (N x D = H until heads are removed), K
keys.
"""

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_bert_scratch.config import check_heads
from keras_bert_scratch.layers.base import BaseLayer
from keras_bert_scratch.layers.dropout import Dropout

# Added to the score of a hidden position. exp(-60) is below 1e-26, so the position is lost in
# float32 rounding; a larger constant would stretch the range that int8 calibration has to cover and
# coarsen the scores that matter.
MASKED_SCORE = -60.0


def padding_bias(padding_mask: Any, dtype: str) -> Any:
    """Returns the bias that hides padding when it is added to the attention scores.

    Args:
        padding_mask: 1 for tokens, 0 for padding. *Shape:* (B, S), int or bool.
        dtype: The compute dtype of the attention.

    Returns:
        0 for tokens, `MASKED_SCORE` for padding. *Shape:* (B, 1, 1, S).

    Example:
        >>> padding_bias(np.array([[1, 0]]), "float32").numpy()
        array([[[[ -0., -60.]]]], dtype=float32)
    """
    bias = (1.0 - ops.cast(padding_mask, dtype)) * MASKED_SCORE
    # Two expand_dims: one `[:, None, None, :]` on a dynamic shape becomes an op that LiteRT lacks.
    return ops.expand_dims(ops.expand_dims(bias, 1), 1)


def attend(
    query: Any, key: Any, value: Any, attention_bias: Any, dropout: Callable[[Any], Any]
) -> tuple[Any, Any]:
    """Attention(Q, K, V) = softmax(Q K^T / sqrt(D) + bias) V (Vaswani et al. 2017, equation 1).

    Args:
        query: *Shape:* (B, N, S, D).
        key: *Shape:* (B, N, K, D).
        value: *Shape:* (B, N, K, D).
        attention_bias: *Shape:* broadcastable to (B, N, S, K); None hides nothing.
        dropout: Function that is applied to the probabilities.

    Returns:
        The attended values, *shape:* (B, N, S, D), and the probabilities, *shape:* (B, N, S, K).

    Example:
        >>> x = np.ones((1, 2, 5, 4), "float32")
        >>> attend(x, x, x, None, lambda probabilities: probabilities)[0].shape
        TensorShape([1, 2, 5, 4])
    """
    query = query * (1.0 / math.sqrt(query.shape[-1]))
    scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2)))  # (B, N, S, K)
    if attention_bias is not None:
        scores = scores + attention_bias
    probabilities = ops.softmax(scores, axis=-1)
    return ops.matmul(dropout(probabilities), value), probabilities


@keras.saving.register_keras_serializable("keras_bert_scratch")
class MultiHeadAttention(BaseLayer):
    """Multi-head attention (Vaswani et al. 2017, sections 3.2.1 and 3.2.2).

    Args:
        num_heads: N. Divides `hidden_dim`, unless `head_dim` is given.
        hidden_dim: H, the width of input and output.
        dropout: Rate on the attention probabilities.
        initializer_range: Standard deviation of the kernels' truncated normal initializer.
        head_dim: D, by default H / N.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Raises:
        ValueError: If `hidden_dim` is not divisible by `num_heads`, or `head_dim` is not positive.

    Example:
        >>> attention = MultiHeadAttention(num_heads=2, hidden_dim=8)
        >>> attention(np.ones((1, 5, 8), "float32")).shape
        TensorShape([1, 5, 8])
    """

    def __init__(
        self,
        num_heads: int,
        hidden_dim: int,
        dropout: float = 0.0,
        initializer_range: float = 0.02,
        head_dim: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_heads(hidden_dim, num_heads, head_dim)
        self.num_heads = num_heads
        self.hidden_dim = hidden_dim
        self.dropout = dropout
        self.initializer_range = initializer_range
        self.head_dim = head_dim
        self.attention_dim = num_heads * (head_dim or hidden_dim // num_heads)

        # === Layers ===
        self.query = self._dense(self.attention_dim, "query")
        self.key = self._dense(self.attention_dim, "key")
        self.value = self._dense(self.attention_dim, "value")
        self.output_projection = self._dense(hidden_dim, "output")
        self.probability_dropout = Dropout(dropout, dtype=self.dtype_policy)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Builds the four projections for inputs of shape (B, S, H)."""
        for layer in (self.query, self.key, self.value):
            layer.build(input_shape)
        self.output_projection.build((*input_shape[:-1], self.attention_dim))

    def call(
        self,
        x: Any,
        attention_bias: Any = None,
        training: bool | None = None,
        return_attention: bool = False,
        keys_and_values: tuple[Any, Any] | None = None,
    ) -> Any:
        """Attends from every position to every visible key.

        Args:
            x: *Shape:* (B, S, H).
            attention_bias: Added to the scores, see `padding_bias`. *Shape:* broadcastable to
                (B, N, S, K); None hides nothing.
            training: Whether dropout acts.
            return_attention: Whether to return the probabilities, too.
            keys_and_values: Keys and values to attend to; by default those of `x`: self-attention,
                K = S.

        Returns:
            The attended states. *Shape:* (B, S, H). With `return_attention`, a pair of the states
            and the probabilities. *Shape:* (B, N, S, K).
        """
        query = self._split_heads(self.query(x))  # (B, N, S, D)
        key, value = self.keys_and_values(x) if keys_and_values is None else keys_and_values

        def dropout(probabilities: Any) -> Any:
            return self.probability_dropout(probabilities, training=training)

        attended, probabilities = attend(query, key, value, attention_bias, dropout)
        output = self.output_projection(self._merge_heads(attended))
        return (output, probabilities) if return_attention else output

    def keys_and_values(self, x: Any) -> tuple[Any, Any]:
        """Projects states to keys and values.

        Args:
            x: *Shape:* (B, K, H).

        Returns:
            Keys and values. *Shape:* (B, N, K, D) each.
        """
        return self._split_heads(self.key(x)), self._split_heads(self.value(x))

    def _split_heads(self, x: Any) -> Any:
        """(B, S, N x D) -> (B, N, S, D)."""
        batch, length = ops.shape(x)[:2]
        head_dim = self.attention_dim // self.num_heads
        x = ops.reshape(x, (batch, length, self.num_heads, head_dim))
        return ops.transpose(x, (0, 2, 1, 3))

    def _merge_heads(self, x: Any) -> Any:
        """(B, N, S, D) -> (B, S, N x D)."""
        x = ops.transpose(x, (0, 2, 1, 3))
        batch, length = ops.shape(x)[:2]
        return ops.reshape(x, (batch, length, self.attention_dim))
