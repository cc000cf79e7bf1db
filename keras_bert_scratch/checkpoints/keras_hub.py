"""Encoders from and to KerasHub, whose presets `from_pretrained` takes by name.

KerasHub computes GELU by tanh, in all its BERTs.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
from safetensors.numpy import save_file

from keras_bert_scratch.checkpoints.checkpoint import at
from keras_bert_scratch.checkpoints.name_map import Weight, encoder_weights, pooler_weights
from keras_bert_scratch.checkpoints.registry import cached_folder
from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import Vocabulary

PREFIX = "keras-hub:"
# Our config field, KerasHub's and Hugging Face's.
_SIZES = (
    ("vocab_size", "vocabulary_size", "vocab_size"),
    ("num_layers", "num_layers", "num_hidden_layers"),
    ("num_heads", "num_heads", "num_attention_heads"),
    ("hidden_dim", "hidden_dim", "hidden_size"),
    ("feed_forward_dim", "intermediate_dim", "intermediate_size"),
    ("max_positions", "max_sequence_length", "max_position_embeddings"),
    ("num_segments", "num_segments", "type_vocab_size"),
    ("dropout", "dropout", "hidden_dropout_prob"),
    ("attention_dropout", "dropout", "attention_probs_dropout_prob"),
)
# Replaced in this order, in our names.
_NAMES = (
    ("encoder.", ""),
    ("embeddings.norm", "embeddings_layer_norm"),
    ("embeddings.token.", "token_embedding."),
    ("embeddings.position.", "position_embedding."),
    ("embeddings.segment.", "segment_embedding."),
    ("blocks.", "transformer_layer_"),
    ("attention_norm", "self_attention_layer_norm"),
    (".attention.", ".self_attention_layer."),
    ("output_projection", "attention_output"),
    ("feed_forward.expand", "feedforward_intermediate_dense"),
    ("feed_forward.contract", "feedforward_output_dense"),
    ("feed_forward_norm", "feedforward_layer_norm"),
    ("pooler.dense", "pooled_dense"),
)


def fetch_preset(name: str) -> Path:
    """Returns a folder with a preset's weights and tokenizer, fetched if it is not cached.

    Args:
        name: Name of a preset of KerasHub's `BertBackbone`, such as `"bert_tiny_en_uncased"`.

    Raises:
        FileNotFoundError: If KerasHub has no such preset or cannot fetch it.
    """
    from keras_nlp.models import BertBackbone, BertTokenizer

    if name not in BertBackbone.presets:
        raise FileNotFoundError(
            f"KerasHub has no BERT preset {name!r}: name one of {', '.join(BertBackbone.presets)}."
        )

    def write(folder: Path) -> None:
        try:
            backbone = BertBackbone.from_preset(name)
            tokenizer = BertTokenizer.from_preset(name)
        # Its download raises errors of its own, of the hubs' clients and OSErrors.
        except Exception as error:
            raise FileNotFoundError(
                f"KerasHub could not fetch the preset {name!r} ({type(error).__name__}: {error}): "
                "check the network, or name a folder or tiny-en."
            ) from error
        write_backbone(folder, backbone)
        vocabulary = Vocabulary(tokenizer.get_vocabulary())
        WordPieceTokenizer(vocabulary, lowercase=tokenizer.lowercase).save(folder)

    return cached_folder(f"keras-hub-{name}", write)


def write_backbone(folder: Path, backbone: Any) -> None:
    """Writes config.json and model.safetensors of a backbone, as `transformers` has them.

    Args:
        folder: An existing folder.
        backbone: A `BertBackbone` of KerasHub.
    """
    sizes = backbone.get_config()
    config = BertConfig(**{ours: sizes[theirs] for ours, theirs, _ in _SIZES})
    fields = {name: sizes[theirs] for _, theirs, name in _SIZES}
    fields |= {"architectures": ["BertModel"], "model_type": "bert", "hidden_act": "gelu_new"}
    (folder / "config.json").write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
    variables = {variable.path: variable for variable in backbone.variables}
    tensors = {}
    for row in (*encoder_weights(config), *pooler_weights(config)):
        # KerasHub keeps the heads apart, in an axis of their own.
        value = keras.ops.convert_to_numpy(variables[_theirs(row)]).reshape(row.shape(config))
        value = value.astype("float32")
        tensors[row.huggingface] = np.ascontiguousarray(value.T if row.transpose else value)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    # safetensors writes files that their owner alone can read.
    shutil.copymode(folder / "config.json", folder / "model.safetensors")


def to_keras_hub(encoder: BertEncoder, **settings: Any) -> Any:
    """Returns KerasHub's `BertBackbone` with an encoder's weights.

    Args:
        encoder: The encoder.
        **settings: Other arguments of `BertBackbone`, such as `dtype`.

    Raises:
        ValueError: If KerasHub has no such encoder.

    Example:
        >>> backbone = to_keras_hub(encoder)
        >>> backbone({"token_ids": ids, "segment_ids": zeros, "padding_mask": ones})
    """
    from keras_nlp.models import BertBackbone

    config = encoder.config
    fixed = {
        "architecture": "bert",
        "activation": "gelu_tanh",
        "position_embedding": "learned",
        "head_dim": None,
        "attention_dropout": config.dropout,
        "layer_norm_epsilon": 1e-12,
    }
    if other := [name for name, value in fixed.items() if getattr(config, name) != value]:
        found = ", ".join(f"{name}={getattr(config, name)!r}" for name in other)
        wanted = ", ".join(f"{name}={fixed[name]!r}" for name in other)
        raise ValueError(
            f"KerasHub's BertBackbone has {wanted}, and this encoder {found}: make and train an "
            "encoder with KerasHub's settings."
        )
    sizes = {theirs: getattr(config, ours) for ours, theirs, _ in _SIZES}
    backbone = BertBackbone(**sizes, **settings)
    variables = {variable.path: variable for variable in backbone.variables}
    for row in (*encoder_weights(config), *pooler_weights(config)):
        variable = variables[_theirs(row)]
        value = keras.ops.convert_to_numpy(at(encoder, row.ours.removeprefix("encoder.")))
        variable.assign(value.reshape(variable.shape))
    return backbone


def _theirs(row: Weight) -> str:
    name = row.ours
    for ours, theirs in _NAMES:
        name = name.replace(ours, theirs)
    return name.replace(".", "/")
