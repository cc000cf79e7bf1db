"""One decoder block: causal self-attention, cross-attention, feed-forward, each with its norm.

Axes: B batch, S sequence, T target sequence, H hidden, N heads, D head width, F feed-forward,
K keys.
"""

from typing import Any

import keras
from keras import ops

from keras_bert_scratch.layers.attention import MASKED_SCORE, MultiHeadAttention
from keras_bert_scratch.layers.dropout import Dropout
from keras_bert_scratch.layers.feed_forward import FeedForward


def causal_bias(length: Any, dtype: str) -> Any:
    """Makes what is added to the attention scores to hide later positions.

    Args:
        length: T.
        dtype: The compute dtype of the attention.

    Returns:
        0 up to a position itself, `MASKED_SCORE` after it. *Shape:* (1, 1, T, T).

    Example:
        >>> causal_bias(2, "float32")  # [[[[0., -60.], [0., 0.]]]]
    """
    positions = ops.arange(length, dtype="int32")
    is_later = ops.expand_dims(positions, 0) > ops.expand_dims(positions, 1)
    return ops.reshape(ops.cast(is_later, dtype) * MASKED_SCORE, (1, 1, length, length))


@keras.saving.register_keras_serializable("keras_bert_scratch")
class DecoderBlock(keras.layers.Layer):
    """The post-norm Transformer decoder block (Vaswani et al. 2017, section 3.1).

    Its weights are those of an encoder block, and of the cross-attention and its norm in between.

    Args:
        num_heads: N, attention heads.
        hidden_dim: H, the width of input and output.
        feed_forward_dim: F, the width of the feed-forward layer.
        activation: Of the feed-forward layer, one of `feed_forward.ACTIVATIONS`.
        dropout: Rate on the output of all sub-layers.
        attention_dropout: Rate on the attention probabilities.
        layer_norm_epsilon: Added to the variance in the layer norms.
        initializer_range: Standard deviation of the kernels' truncated normal initializer.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Example:
        >>> block = DecoderBlock(num_heads=2, hidden_dim=8, feed_forward_dim=32)
        >>> sequence_output = np.ones((1, 7, 8), "float32")
        >>> block(np.ones((1, 5, 8), "float32"), sequence_output).shape  # (1, 5, 8)
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

        # === Layers ===
        dtype = self.dtype_policy

        def attention(name: str) -> MultiHeadAttention:
            return MultiHeadAttention(
                num_heads,
                hidden_dim,
                dropout=attention_dropout,
                initializer_range=initializer_range,
                dtype=dtype,
                name=name,
            )

        def norm(name: str) -> keras.layers.LayerNormalization:
            return keras.layers.LayerNormalization(
                epsilon=layer_norm_epsilon, dtype=dtype, name=name
            )

        self.attention = attention("attention")
        self.attention_output_dropout = Dropout(dropout, dtype=dtype)
        self.attention_norm = norm("attention_norm")
        self.cross_attention = attention("cross_attention")
        self.cross_attention_output_dropout = Dropout(dropout, dtype=dtype)
        self.cross_attention_norm = norm("cross_attention_norm")
        self.feed_forward = FeedForward(
            hidden_dim,
            feed_forward_dim,
            activation=activation,
            initializer_range=initializer_range,
            dtype=dtype,
            name="feed_forward",
        )
        self.feed_forward_output_dropout = Dropout(dropout, dtype=dtype)
        self.feed_forward_norm = norm("feed_forward_norm")

    def build(self, *input_shapes: tuple[int | None, ...], **shapes_by_name: Any) -> None:
        """Builds the sub-layers; none of their weights depends on the inputs' shapes."""
        for layer in (
            self.attention,
            self.attention_norm,
            self.cross_attention,
            self.cross_attention_norm,
            self.feed_forward,
            self.feed_forward_norm,
        ):
            layer.build((None, None, self.hidden_dim))
        self.built = True

    def call(
        self,
        x: Any,
        sequence_output: Any = None,
        attention_bias: Any = None,
        memory_bias: Any = None,
        keys_and_values: tuple[Any, Any] | None = None,
        memory: tuple[Any, Any] | None = None,
        training: bool | None = None,
    ) -> Any:
        """Runs the three sub-layers, each followed by dropout, residual and norm.

        Args:
            x: *Shape:* (B, T, H).
            sequence_output: The encoder's, unless `memory` is given. *Shape:* (M, S, H), where M
                divides B: B / M rows of `x` that stand together continue one text.
            attention_bias: Added to the scores of self-attention, see `causal_bias`. *Shape:*
                broadcastable to (B, N, T, K).
            memory_bias: Added to the scores of cross-attention, see `padding_bias`. *Shape:*
                broadcastable to (M, N, 1, S).
            keys_and_values: What self-attention attends to, by `attention.keys_and_values`; by
                default `x` itself. *Shape:* (B, N, K, D) each.
            memory: What cross-attention attends to, by `cross_attention.keys_and_values`; by
                default `sequence_output`. *Shape:* (M, N, S, D) each.
            training: Whether dropout acts.

        Returns:
            *Shape:* (B, T, H).
        """
        attended = self.attention(
            x, attention_bias=attention_bias, keys_and_values=keys_and_values, training=training
        )
        x = self.attention_norm(x + self.attention_output_dropout(attended, training=training))

        if memory is None:
            memory = self.cross_attention.keys_and_values(sequence_output)
        # Queries do not see each other here: those of one text may stand side by side.
        queries = ops.reshape(x, (ops.shape(memory[0])[0], -1, self.hidden_dim))
        attended = self.cross_attention(
            queries, attention_bias=memory_bias, keys_and_values=memory, training=training
        )
        attended = ops.reshape(attended, ops.shape(x))
        x = self.cross_attention_norm(
            x + self.cross_attention_output_dropout(attended, training=training)
        )

        transformed = self.feed_forward(x)
        return self.feed_forward_norm(
            x + self.feed_forward_output_dropout(transformed, training=training)
        )

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
        }
