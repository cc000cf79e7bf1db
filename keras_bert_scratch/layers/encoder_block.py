"""One encoder block: self-attention, feed-forward, residuals and layer norms.

Axes: B batch, S sequence, H hidden, N heads, F feed-forward.
"""

from typing import Any

import keras

from keras_bert_scratch.layers.attention import MultiHeadAttention
from keras_bert_scratch.layers.dropout import Dropout
from keras_bert_scratch.layers.feed_forward import FeedForward


@keras.saving.register_keras_serializable("keras_bert_scratch")
class EncoderBlock(keras.layers.Layer):
    """The post-norm Transformer encoder block (Vaswani et al. 2017, section 3.1).

    Args:
        num_heads: N, attention heads.
        hidden_dim: H, the width of input and output.
        feed_forward_dim: F, the width of the feed-forward layer.
        activation: Of the feed-forward layer, one of `feed_forward.ACTIVATIONS`.
        dropout: Rate on the output of both sub-layers.
        attention_dropout: Rate on the attention probabilities.
        layer_norm_epsilon: Added to the variance in both layer norms.
        initializer_range: Standard deviation of the kernels' truncated normal initializer.
        head_dim: Width of an attention head, by default H / N.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Example:
        >>> block = EncoderBlock(num_heads=2, hidden_dim=8, feed_forward_dim=32)
        >>> block(np.ones((1, 5, 8), "float32")).shape  # (1, 5, 8)
    """

    def __init__(
        self,
        num_heads: int,
        hidden_dim: int,
        feed_forward_dim: int,
        activation: str = "gelu",
        dropout: float = 0.1,
        attention_dropout: float = 0.1,
        layer_norm_epsilon: float = 1e-12,
        initializer_range: float = 0.02,
        head_dim: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.hidden_dim = hidden_dim
        self.feed_forward_dim = feed_forward_dim
        self.activation = activation
        self.dropout = dropout
        self.attention_dropout = attention_dropout
        self.layer_norm_epsilon = layer_norm_epsilon
        self.initializer_range = initializer_range
        self.head_dim = head_dim

        # === Layers ===
        dtype = self.dtype_policy
        self.attention = MultiHeadAttention(
            num_heads,
            hidden_dim,
            dropout=attention_dropout,
            initializer_range=initializer_range,
            head_dim=head_dim,
            dtype=dtype,
            name="attention",
        )
        self.attention_output_dropout = Dropout(dropout, dtype=dtype)
        self.attention_norm = keras.layers.LayerNormalization(
            epsilon=layer_norm_epsilon, dtype=dtype, name="attention_norm"
        )
        self.feed_forward = FeedForward(
            hidden_dim,
            feed_forward_dim,
            activation=activation,
            initializer_range=initializer_range,
            dtype=dtype,
            name="feed_forward",
        )
        self.feed_forward_output_dropout = Dropout(dropout, dtype=dtype)
        self.feed_forward_norm = keras.layers.LayerNormalization(
            epsilon=layer_norm_epsilon, dtype=dtype, name="feed_forward_norm"
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Builds the sub-layers for inputs of shape (B, S, H)."""
        for layer in (
            self.attention,
            self.attention_norm,
            self.feed_forward,
            self.feed_forward_norm,
        ):
            layer.build(input_shape)

    def call(
        self,
        x: Any,
        attention_bias: Any = None,
        training: bool | None = None,
        return_attention: bool = False,
        first_only: bool = False,
    ) -> Any:
        """Runs both sub-layers, each followed by dropout, residual and norm.

        Args:
            x: *Shape:* (B, S, H).
            attention_bias: Added to the scores. *Shape:* broadcastable to (B, N, S, S).
            training: Whether dropout acts.
            return_attention: Whether to return the attention probabilities, too.
            first_only: Whether to compute the first position only, which still attends to all.

        Returns:
            *Shape:* (B, S, H); with `return_attention` a pair of it and the probabilities.
            *Shape:* (B, N, S, S). With `first_only`, (B, 1, H) and (B, N, 1, S).
        """
        keys_and_values = self.attention.keys_and_values(x)
        if first_only:
            x = x[:, :1]
        attended, probabilities = self.attention(
            x,
            attention_bias=attention_bias,
            training=training,
            return_attention=True,
            keys_and_values=keys_and_values,
        )
        x = self.attention_norm(x + self.attention_output_dropout(attended, training=training))
        transformed = self.feed_forward(x)
        x = self.feed_forward_norm(
            x + self.feed_forward_output_dropout(transformed, training=training)
        )
        return (x, probabilities) if return_attention else x

    # === Config ===
    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "hidden_dim": self.hidden_dim,
            "feed_forward_dim": self.feed_forward_dim,
            "activation": self.activation,
            "dropout": self.dropout,
            "attention_dropout": self.attention_dropout,
            "layer_norm_epsilon": self.layer_norm_epsilon,
            "initializer_range": self.initializer_range,
            "head_dim": self.head_dim,
        }
