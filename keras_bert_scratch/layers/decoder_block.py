"""One decoder block: causal self-attention, cross-attention, feed-forward, each with its norm.

Axes: B batch, S sequence, T target sequence, H hidden, N heads, D head width, K keys.
"""

import functools
from typing import Any

import keras
from keras import ops

from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.layers.attention import MASKED_SCORE, MultiHeadAttention
from keras_bert_scratch.layers.base import BaseLayer
from keras_bert_scratch.layers.dropout import Dropout
from keras_bert_scratch.layers.feed_forward import FeedForward


def causal_bias(length: Any, dtype: str) -> Any:
    """Returns the bias that hides later positions when it is added to the attention scores.

    Args:
        length: T.
        dtype: The compute dtype of the attention.

    Returns:
        0 up to a position itself, `MASKED_SCORE` after it. *Shape:* (1, 1, T, T).

    Example:
        >>> causal_bias(2, "float32").numpy().tolist()
        [[[[-0.0, -60.0], [-0.0, -0.0]]]]
    """
    positions = ops.arange(length, dtype="int32")
    is_later = ops.expand_dims(positions, 0) > ops.expand_dims(positions, 1)
    return ops.reshape(ops.cast(is_later, dtype) * MASKED_SCORE, (1, 1, length, length))


@keras.saving.register_keras_serializable("keras_bert_scratch")
class DecoderBlock(BaseLayer):
    """The post-norm Transformer decoder block (Vaswani et al. 2017, section 3.1).

    It has the weights of an encoder block, with those of cross-attention and its norm in between.

    Args:
        config: The network's sizes and switches.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Example:
        >>> block = DecoderBlock(BertConfig.preset("tiny"))
        >>> sequence_output = np.ones((1, 7, 128), "float32")
        >>> block(np.ones((1, 5, 128), "float32"), sequence_output).shape
        TensorShape([1, 5, 128])
    """

    def __init__(self, config: BertConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config

        # === Layers ===
        dtype = self.dtype_policy
        attention = functools.partial(
            MultiHeadAttention.for_config, config, dropout=config.attention_dropout, dtype=dtype
        )
        norm = functools.partial(
            keras.layers.LayerNormalization, epsilon=config.layer_norm_epsilon, dtype=dtype
        )
        self.attention = attention(name="attention")
        self.attention_output_dropout = Dropout(config.dropout, dtype=dtype)
        self.attention_norm = norm(name="attention_norm")
        self.cross_attention = attention(name="cross_attention")
        self.cross_attention_output_dropout = Dropout(config.dropout, dtype=dtype)
        self.cross_attention_norm = norm(name="cross_attention_norm")
        self.feed_forward = FeedForward.for_config(config, dtype=dtype, name="feed_forward")
        self.feed_forward_output_dropout = Dropout(config.dropout, dtype=dtype)
        self.feed_forward_norm = norm(name="feed_forward_norm")

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
            layer.build((None, None, self.config.hidden_dim))
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
            sequence_output: States of the encoder, unless `memory` is given. *Shape:* (M, S, H),
                where M divides B: each text is continued by B / M consecutive rows of `x`.
            attention_bias: Added to the scores of self-attention, see `causal_bias`. *Shape:*
                broadcastable to (B, N, T, K).
            memory_bias: Added to the scores of cross-attention, see `padding_bias`. *Shape:*
                broadcastable to (M, N, 1, S).
            keys_and_values: Keys and values of self-attention, from `attention.keys_and_values`;
                those of `x` by default. *Shape:* (B, N, K, D) each.
            memory: Keys and values of cross-attention, from `cross_attention.keys_and_values`;
                those of `sequence_output` by default. *Shape:* (M, N, S, D) each.
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
        # Queries of cross-attention do not see each other: all of one text become one row.
        queries = ops.reshape(x, (ops.shape(memory[0])[0], -1, self.config.hidden_dim))
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
