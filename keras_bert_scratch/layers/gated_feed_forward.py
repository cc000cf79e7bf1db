"""The gated feed-forward network: one half of the first product scales the other.

Axes: B batch, S sequence, H hidden, F feed-forward.
"""

from typing import Any

import keras
from keras import ops

from keras_bert_scratch.layers.base import BaseLayer
from keras_bert_scratch.layers.dropout import Dropout
from keras_bert_scratch.layers.feed_forward import ACTIVATIONS, check_activation


@keras.saving.register_keras_serializable("keras_bert_scratch")
class GatedFeedForward(BaseLayer):
    """GLU(x) = (activation(x W) * (x V)) W2 (Shazeer 2020, equation 6: GEGLU), without biases.

    Args:
        hidden_dim: H, the width of input and output.
        feed_forward_dim: F, the width in between.
        activation: One of `feed_forward.ACTIVATIONS`.
        dropout: Rate on the input of the second product.
        initializer_range: Standard deviation of the kernels' truncated normal initializer.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Raises:
        ValueError: If the activation is unknown.

    Example:
        >>> GatedFeedForward(hidden_dim=8, feed_forward_dim=12)(np.ones((1, 5, 8), "float32")).shape
        TensorShape([1, 5, 8])
    """

    def __init__(
        self,
        hidden_dim: int,
        feed_forward_dim: int,
        activation: str = "gelu",
        dropout: float = 0.0,
        initializer_range: float = 0.02,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_activation(activation)
        self.hidden_dim = hidden_dim
        self.feed_forward_dim = feed_forward_dim
        self.activation = activation
        self.dropout = dropout
        self.initializer_range = initializer_range

        # === Layers ===
        self.expand = self._dense(2 * feed_forward_dim, "expand", use_bias=False)  # W beside V
        self.contract = self._dense(hidden_dim, "contract", use_bias=False)
        self.inner_dropout = Dropout(dropout, dtype=self.dtype_policy)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Builds both dense layers for inputs of shape (B, S, H)."""
        self.expand.build(input_shape)
        self.contract.build((*input_shape[:-1], self.feed_forward_dim))

    def call(self, x: Any, training: bool | None = None) -> Any:
        """Applies the network to every position.

        Args:
            x: *Shape:* (B, S, H).
            training: Whether dropout acts.

        Returns:
            *Shape:* (B, S, H).
        """
        x, gate = ops.split(self.expand(x), 2, axis=-1)
        gated = ACTIVATIONS[self.activation](x) * gate
        return self.contract(self.inner_dropout(gated, training=training))
