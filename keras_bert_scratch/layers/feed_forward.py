"""The position-wise feed-forward network: two dense layers.

Axes: B batch, S sequence, H hidden, F feed-forward.
"""

import math
from typing import Any

import keras
from keras import ops

from keras_bert_scratch.layers.base import BaseLayer


def gelu(x: Any) -> Any:
    """The exact GELU, x * P(X <= x) for a standard normal X (Hendrycks & Gimpel 2016).

    Args:
        x: *Shape:* any.

    Returns:
        *Shape:* that of `x`.

    Example:
        >>> gelu(np.array([0.0, 1.0])).numpy()
        array([0.        , 0.84134475])
    """
    # By erf, not ops.gelu(approximate=False): that lowers to erfc, which ONNX Runtime lacks.
    return 0.5 * x * (1.0 + ops.erf(x * (1.0 / math.sqrt(2.0))))


def gelu_tanh(x: Any) -> Any:
    """The tanh approximation of GELU (Hendrycks & Gimpel 2016, section 2).

    Args:
        x: *Shape:* any.

    Returns:
        *Shape:* that of `x`.
    """
    return ops.gelu(x, approximate=True)


def quick_gelu(x: Any) -> Any:
    """The sigmoid approximation of GELU, x * sigmoid(1.702 x) (Hendrycks & Gimpel 2016, section 2).

    Args:
        x: *Shape:* any.

    Returns:
        *Shape:* that of `x`.
    """
    return x * ops.sigmoid(1.702 * x)


ACTIVATIONS = {
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "quick_gelu": quick_gelu,
    "relu": ops.relu,
    "silu": ops.silu,
}


def check_activation(activation: str) -> None:
    """Raises a ValueError if there is no such activation."""
    if activation not in ACTIVATIONS:
        raise ValueError(
            f"activation must be one of {', '.join(ACTIVATIONS)}; received {activation!r}."
        )


@keras.saving.register_keras_serializable("keras_bert_scratch")
class FeedForward(BaseLayer):
    """FFN(x) = activation(x W1 + b1) W2 + b2 (Vaswani et al. 2017, equation 2, with GELU).

    Args:
        hidden_dim: H, the width of input and output.
        feed_forward_dim: F, the width in between.
        activation: One of `ACTIVATIONS`.
        initializer_range: Standard deviation of the kernels' truncated normal initializer.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Raises:
        ValueError: If the activation is unknown.

    Example:
        >>> FeedForward(hidden_dim=8, feed_forward_dim=32)(np.ones((1, 5, 8), "float32")).shape
        TensorShape([1, 5, 8])
    """

    def __init__(
        self,
        hidden_dim: int,
        feed_forward_dim: int,
        activation: str = "gelu",
        initializer_range: float = 0.02,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_activation(activation)
        self.hidden_dim = hidden_dim
        self.feed_forward_dim = feed_forward_dim
        self.activation = activation
        self.initializer_range = initializer_range

        # === Layers ===
        self.expand = self._dense(feed_forward_dim, "expand")
        self.contract = self._dense(hidden_dim, "contract")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Builds both dense layers for inputs of shape (B, S, H)."""
        self.expand.build(input_shape)
        self.contract.build((*input_shape[:-1], self.feed_forward_dim))

    def call(self, x: Any) -> Any:
        """Applies the network to every position.

        Args:
            x: *Shape:* (B, S, H).

        Returns:
            *Shape:* (B, S, H).
        """
        return self.contract(ACTIVATIONS[self.activation](self.expand(x)))
