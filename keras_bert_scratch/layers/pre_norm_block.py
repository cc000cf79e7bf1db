"""ModernBERT's encoder block: norms before the sub-layers, rotary attention, gated feed-forward.

Axes: B batch, S sequence, H hidden, N heads.
"""

import functools
from typing import Any

import keras

from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.layers.base import BaseLayer
from keras_bert_scratch.layers.dropout import Dropout
from keras_bert_scratch.layers.gated_feed_forward import GatedFeedForward
from keras_bert_scratch.layers.rotary_attention import RotaryAttention


@keras.saving.register_keras_serializable("keras_bert_scratch")
class PreNormBlock(BaseLayer):
    """The pre-norm Transformer encoder block of ModernBERT (Warner et al. 2024, section 2.1).

    The config and the block's number determine whether its attention is local, and its norms: the
    first block does not normalize its input, since the embeddings do, and only the last block
    normalizes its output.

    Args:
        config: The network's sizes and switches.
        index: Number of the block, counted from 0.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Example:
        >>> config = BertConfig.preset("tiny", architecture="modernbert")
        >>> block = PreNormBlock(config, index=1)
        >>> block(np.ones((1, 5, 128), "float32")).shape
        TensorShape([1, 5, 128])
    """

    def __init__(self, config: BertConfig, index: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config
        self.index = index

        # === Layers ===
        dtype, is_local = self.dtype_policy, config.is_local(index)
        norm = functools.partial(
            keras.layers.LayerNormalization,
            epsilon=config.layer_norm_epsilon,
            center=False,
            dtype=dtype,
        )
        self.attention_norm = None if index == 0 else norm(name="attention_norm")
        self.attention = RotaryAttention.for_config(
            config,
            rope_theta=config.local_rope_theta if is_local else config.global_rope_theta,
            window=config.local_window if is_local else None,
            dropout=config.attention_dropout,
            dtype=dtype,
            name="attention",
        )
        self.attention_output_dropout = Dropout(config.attention_dropout, dtype=dtype)
        self.feed_forward_norm = norm(name="feed_forward_norm")
        self.feed_forward = GatedFeedForward.for_config(config, dtype=dtype, name="feed_forward")
        is_last = index == config.num_layers - 1
        self.output_norm = norm(name="output_norm") if is_last else None

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
        """Adds the output of each sub-layer to its input, which it reads normalized.

        Args:
            x: *Shape:* (B, S, H).
            attention_bias: Bias of the padding, see `padding_bias`. *Shape:* (B, 1, 1, S).
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
