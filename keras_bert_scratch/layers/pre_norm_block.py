"""ModernBERT's encoder block: norms before the sub-layers, rotary attention, gated feed-forward.

Axes: B batch, S sequence, H hidden, N heads, F feed-forward.
"""

from typing import Any

import keras

from keras_bert_scratch.layers.dropout import Dropout
from keras_bert_scratch.layers.gated_feed_forward import GatedFeedForward
from keras_bert_scratch.layers.rotary_attention import RotaryAttention


@keras.saving.register_keras_serializable("keras_bert_scratch")
class PreNormBlock(keras.layers.Layer):
    """The pre-norm Transformer encoder block of ModernBERT (Warner et al. 2024, section 2.1).

    Args:
        num_heads: N, attention heads.
        hidden_dim: H, the width of input and output.
        feed_forward_dim: F, the width of the feed-forward layer.
        activation: Of the feed-forward layer: `"gelu"`, `"gelu_tanh"` or `"relu"`.
        rope_theta: Base of the rotary positions.
        window: Of local attention, see `RotaryAttention`; None: global.
        dropout: Rate inside the feed-forward layer.
        attention_dropout: Rate on the attention probabilities and on the attention's output.
        layer_norm_epsilon: Added to the variance in all layer norms.
        initializer_range: Standard deviation of the kernels' truncated normal initializer.
        is_first: Whether the input is normalized already, by the embeddings.
        is_last: Whether to normalize the output, which no further block does.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Example:
        >>> block = PreNormBlock(num_heads=2, hidden_dim=8, feed_forward_dim=12, window=2)
        >>> block(np.ones((1, 5, 8), "float32")).shape  # (1, 5, 8)
    """

    def __init__(
        self,
        num_heads: int,
        hidden_dim: int,
        feed_forward_dim: int,
        activation: str = "gelu",
        rope_theta: float = 160_000.0,
        window: int | None = None,
        dropout: float = 0.1,
        attention_dropout: float = 0.1,
        layer_norm_epsilon: float = 1e-12,
        initializer_range: float = 0.02,
        is_first: bool = False,
        is_last: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.hidden_dim = hidden_dim
        self.feed_forward_dim = feed_forward_dim
        self.activation = activation
        self.rope_theta = rope_theta
        self.window = window
        self.dropout = dropout
        self.attention_dropout = attention_dropout
        self.layer_norm_epsilon = layer_norm_epsilon
        self.initializer_range = initializer_range
        self.is_first = is_first
        self.is_last = is_last

        # === Layers ===
        dtype = self.dtype_policy

        def norm(name: str) -> keras.layers.LayerNormalization:
            return keras.layers.LayerNormalization(
                epsilon=layer_norm_epsilon, center=False, dtype=dtype, name=name
            )

        self.attention_norm = None if is_first else norm("attention_norm")
        self.attention = RotaryAttention(
            num_heads,
            hidden_dim,
            rope_theta=rope_theta,
            window=window,
            dropout=attention_dropout,
            initializer_range=initializer_range,
            dtype=dtype,
            name="attention",
        )
        self.attention_output_dropout = Dropout(attention_dropout, dtype=dtype)
        self.feed_forward_norm = norm("feed_forward_norm")
        self.feed_forward = GatedFeedForward(
            hidden_dim,
            feed_forward_dim,
            activation=activation,
            dropout=dropout,
            initializer_range=initializer_range,
            dtype=dtype,
            name="feed_forward",
        )
        self.output_norm = norm("output_norm") if is_last else None

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Builds the sub-layers for inputs of shape (B, S, H)."""
        for layer in (
            self.attention_norm,
            self.attention,
            self.feed_forward_norm,
            self.feed_forward,
            self.output_norm,
        ):
            if layer is not None:
                layer.build(input_shape)

    def call(
        self,
        x: Any,
        attention_bias: Any = None,
        training: bool | None = None,
        return_attention: bool = False,
        first_only: bool = False,
    ) -> Any:
        """Adds to the input what each sub-layer makes of its norm.

        Args:
            x: *Shape:* (B, S, H).
            attention_bias: Of the padding, see `padding_bias`. *Shape:* (B, 1, 1, S).
            training: Whether dropout acts.
            return_attention: Whether to return the attention probabilities, too.
            first_only: Whether to compute the first position only, which still attends to all.

        Returns:
            *Shape:* (B, S, H); with `return_attention` a pair of it and the probabilities.
            *Shape:* (B, N, S, S). With `first_only`, (B, 1, H) and (B, N, 1, S).
        """
        attended = self.attention(
            x if self.attention_norm is None else self.attention_norm(x),
            attention_bias=attention_bias,
            training=training,
            return_attention=return_attention,
            first_only=first_only,
        )
        probabilities = None
        if return_attention:
            attended, probabilities = attended
        if first_only:
            x = x[:, :1]
        x = x + self.attention_output_dropout(attended, training=training)
        x = x + self.feed_forward(self.feed_forward_norm(x), training=training)
        if self.output_norm is not None:
            x = self.output_norm(x)
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
            "rope_theta": self.rope_theta,
            "window": self.window,
            "dropout": self.dropout,
            "attention_dropout": self.attention_dropout,
            "layer_norm_epsilon": self.layer_norm_epsilon,
            "initializer_range": self.initializer_range,
            "is_first": self.is_first,
            "is_last": self.is_last,
        }
