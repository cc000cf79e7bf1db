"""What an encoder is made of where its architecture is ModernBERT's (Warner et al. 2024)."""

from typing import Any

from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.layers.heads import NormalizedPooler
from keras_bert_scratch.layers.pre_norm_block import PreNormBlock
from keras_bert_scratch.layers.token_embeddings import TokenEmbeddings


def modern_layers(
    config: BertConfig, dtype: Any
) -> tuple[TokenEmbeddings, list[PreNormBlock], NormalizedPooler]:
    """Makes the embeddings, the blocks and the pooler.

    Args:
        config: Every size and switch.
        dtype: Of the computation.
    """
    embeddings = TokenEmbeddings(
        vocab_size=config.vocab_size,
        hidden_dim=config.hidden_dim,
        max_positions=config.max_positions,
        dropout=config.dropout,
        layer_norm_epsilon=config.layer_norm_epsilon,
        initializer_range=config.initializer_range,
        dtype=dtype,
        name="embeddings",
    )
    blocks = [
        PreNormBlock(
            num_heads=config.num_heads,
            hidden_dim=config.hidden_dim,
            feed_forward_dim=config.feed_forward_dim,
            activation=config.activation,
            rope_theta=config.local_rope_theta if config.is_local(n) else config.global_rope_theta,
            window=config.local_window if config.is_local(n) else None,
            dropout=config.dropout,
            attention_dropout=config.attention_dropout,
            layer_norm_epsilon=config.layer_norm_epsilon,
            initializer_range=config.initializer_range,
            is_first=n == 0,
            is_last=n == config.num_layers - 1,
            dtype=dtype,
            name=f"block_{n}",
        )
        for n in range(config.num_layers)
    ]
    pooler = NormalizedPooler(
        config.hidden_dim,
        activation=config.activation,
        layer_norm_epsilon=config.layer_norm_epsilon,
        initializer_range=config.initializer_range,
        dtype=dtype,
        name="pooler",
    )
    return embeddings, blocks, pooler
