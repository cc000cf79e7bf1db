"""One encoder block: self-attention, feed-forward, residuals and layer norms.

Axes: B batch, S sequence, H hidden, N heads.
"""

import functools
from typing import Any

import keras

from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.layers.attention import MultiHeadAttention
from keras_bert_scratch.layers.base import BaseLayer
from keras_bert_scratch.layers.dropout import Dropout
from keras_bert_scratch.layers.feed_forward import FeedForward


@keras.saving.register_keras_serializable("keras_bert_scratch")
class EncoderBlock(BaseLayer):
    """The post-norm Transformer encoder block (Vaswani et al. 2017, section 3.1).

    Args:
        config: The network's sizes and switches.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Example:
        >>> block = EncoderBlock(BertConfig.preset("tiny"))
        >>> block(np.ones((1, 5, 128), "float32")).shape
        TensorShape([1, 5, 128])
    """

    def __init__(self, config: BertConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config

        # === Layers ===
        dtype = self.dtype_policy
        norm = functools.partial(
            keras.layers.LayerNormalization, epsilon=config.layer_norm_epsilon, dtype=dtype
        )
        self.attention = MultiHeadAttention.for_config(
            config, dropout=config.attention_dropout, dtype=dtype, name="attention"
        )
        self.attention_output_dropout = Dropout(config.dropout, dtype=dtype)
        self.attention_norm = norm(name="attention_norm")
        self.feed_forward = FeedForward.for_config(config, dtype=dtype, name="feed_forward")
        self.feed_forward_output_dropout = Dropout(config.dropout, dtype=dtype)
        self.feed_forward_norm = norm(name="feed_forward_norm")

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
