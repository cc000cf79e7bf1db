"""One block of ViT: norms before self-attention and feed-forward, and residuals.

Axes: B batch, S sequence, H hidden, N heads.
"""

import functools
from typing import Any

import keras

from keras_bert_scratch.config import PatchConfig
from keras_bert_scratch.layers.attention import MultiHeadAttention
from keras_bert_scratch.layers.base import BaseLayer
from keras_bert_scratch.layers.dropout import Dropout
from keras_bert_scratch.layers.feed_forward import FeedForward


@keras.saving.register_keras_serializable("keras_bert_scratch")
class ViTBlock(BaseLayer):
    """The pre-norm Transformer encoder block (Dosovitskiy et al. 2021, equations 2 and 3).

    DINOv2's multiplies the output of each sub-layer with a learned vector (Touvron et al. 2021,
    "Going deeper with image transformers", equation 8).

    Args:
        config: The network's sizes and switches.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Example:
        >>> block = ViTBlock(PatchConfig(hidden_dim=8, num_heads=2, feed_forward_dim=16))
        >>> block(np.ones((1, 5, 8), "float32")).shape
        TensorShape([1, 5, 8])
    """

    config_class = PatchConfig

    def __init__(self, config: PatchConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config

        # === Layers ===
        dtype = self.dtype_policy
        norm = functools.partial(
            keras.layers.LayerNormalization, epsilon=config.layer_norm_epsilon, dtype=dtype
        )
        self.attention_norm = norm(name="attention_norm")
        self.attention = MultiHeadAttention.for_config(
            config, dropout=config.attention_dropout, dtype=dtype, name="attention"
        )
        self.attention_output_dropout = Dropout(config.dropout, dtype=dtype)
        self.feed_forward_norm = norm(name="feed_forward_norm")
        self.feed_forward = FeedForward.for_config(config, dtype=dtype, name="feed_forward")
        self.feed_forward_output_dropout = Dropout(config.dropout, dtype=dtype)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Builds the sub-layers for inputs of shape (B, S, H)."""
        for layer in (
            self.attention_norm,
            self.attention,
            self.feed_forward_norm,
            self.feed_forward,
        ):
            layer.build(input_shape)
        if self.config.architecture == "dinov2":
            self.attention_scale, self.feed_forward_scale = (
                self.add_weight(
                    (self.config.hidden_dim,),
                    initializer=keras.initializers.Constant(self.config.layer_scale),
                    name=name,
                )
                for name in ("attention_scale", "feed_forward_scale")
            )
        else:
            self.attention_scale = self.feed_forward_scale = 1.0

    def call(self, x: Any, training: bool | None = None, return_attention: bool = False) -> Any:
        """Adds the output of each sub-layer to its input, which it reads normalized.

        Args:
            x: *Shape:* (B, S, H).
            training: Whether dropout acts.
            return_attention: Whether to return the attention probabilities, too.

        Returns:
            *Shape:* (B, S, H); with `return_attention` a pair of it and the probabilities.
            *Shape:* (B, N, S, S).
        """
        attended, probabilities = self.attention(
            self.attention_norm(x), training=training, return_attention=True
        )
        attended = attended * self.attention_scale
        x = x + self.attention_output_dropout(attended, training=training)
        transformed = self.feed_forward(self.feed_forward_norm(x)) * self.feed_forward_scale
        x = x + self.feed_forward_output_dropout(transformed, training=training)
        return (x, probabilities) if return_attention else x
