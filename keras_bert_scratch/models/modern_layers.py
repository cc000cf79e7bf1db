"""The layers of an encoder whose architecture is ModernBERT's (Warner et al. 2024)."""

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
        config: Sizes and switches.
        dtype: Dtype or dtype policy of the layers.
    """
    embeddings = TokenEmbeddings.for_config(config, dtype=dtype, name="embeddings")
    blocks = [
        PreNormBlock(config, n, dtype=dtype, name=f"block_{n}") for n in range(config.num_layers)
    ]
    return embeddings, blocks, NormalizedPooler.for_config(config, dtype=dtype, name="pooler")
