"""ModernBERT's checkpoint folders; what transformers itself writes: tests/parity."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from keras_bert_scratch.checkpoints.huggingface import (
    HuggingFaceCheckpoint,
    load_encoder,
    write_checkpoint,
)
from keras_bert_scratch.checkpoints.name_map import encoder_weights, pooler_weights
from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.models.encoder import BertEncoder


def write(folder: Path, encoder: BertEncoder, architecture: str = "BertForMaskedLM") -> None:
    rows = (*encoder_weights(encoder.config), *pooler_weights(encoder.config))
    write_checkpoint(folder, SimpleNamespace(encoder=encoder), rows, architecture=architecture)


@pytest.fixture
def folder(modern_config: BertConfig, tmp_path: Path) -> Path:
    """A checkpoint that this package wrote, to be changed."""
    write(tmp_path, BertEncoder(modern_config))
    return tmp_path


def rewrite_config(folder: Path, removed: tuple[str, ...] = (), **fields: Any) -> None:
    document = json.loads((folder / "config.json").read_text())
    document = {name: value for name, value in document.items() if name not in removed}
    (folder / "config.json").write_text(json.dumps({**document, **fields}))


def test_what_is_written_is_read_bit_for_bit(
    modern_config: BertConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = BertEncoder(modern_config)
    write(tmp_path, encoder)
    fields = json.loads((tmp_path / "config.json").read_text())
    assert (fields["model_type"], fields["architectures"]) == (
        "modernbert",
        ["ModernBertForMaskedLM"],
    )
    tensors = load_file(tmp_path / "model.safetensors")
    bare = {name.removeprefix("model."): tensor for name, tensor in tensors.items()}
    for names in (tensors, bare):
        save_file(names, tmp_path / "model.safetensors")
        loaded = load_encoder(tmp_path)
        assert loaded.config == modern_config
        for a, b in zip(loaded.weights, encoder.weights, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=a.path)
    assert caplog.records == []  # nothing new, nothing left over


@pytest.mark.parametrize(
    ("layer_types", "global_every"),
    [("gllg", 3), ("glgl", 2), ("gggg", 1), ("glll", 4)],
)
def test_layers_and_positions_as_transformers_5_writes_them(
    folder: Path, layer_types: str, global_every: int
) -> None:
    names = {"g": "full_attention", "l": "sliding_attention"}
    rewrite_config(
        folder,
        removed=("global_attn_every_n_layers", "global_rope_theta", "local_rope_theta"),
        layer_types=[names[letter] for letter in layer_types],
        rope_parameters={
            "full_attention": {"rope_theta": 300.0, "rope_type": "default"},
            "sliding_attention": {"rope_theta": 20.0, "rope_type": "default"},
        },
    )
    config = HuggingFaceCheckpoint(folder).config
    assert config.global_every == global_every
    assert (config.global_rope_theta, config.local_rope_theta) == (300.0, 20.0)


YARN = {
    "full_attention": {"rope_theta": 160000.0, "rope_type": "yarn", "factor": 2.0},
    "sliding_attention": {"rope_theta": 10000.0, "rope_type": "default"},
}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hidden_activation": "tanh"}, "has hidden_activation 'tanh'; known are gelu, gelu_pyt"),
        ({"attention_bias": True}, "has attention_bias True; only False can be loaded."),
        ({"mlp_bias": True}, "has mlp_bias True; only False can be loaded."),
        ({"norm_bias": True}, "has norm_bias True; only False can be loaded."),
        ({"classifier_bias": True}, "has classifier_bias True; only False can be loaded."),
        ({"decoder_bias": False}, "has decoder_bias False; only True can be loaded."),
        ({"tie_word_embeddings": False}, "has tie_word_embeddings False; only True can be loaded."),
        ({"classifier_activation": "relu"}, "has classifier_activation 'relu'; only 'gelu' can be"),
        ({"embedding_dropout": 0.5}, "has embedding_dropout 0.5; only 0.1 can be loaded."),
        ({"rope_scaling": {"type": "linear"}}, "has rope_scaling {'type': 'linear'}; only None"),
        ({"rope_parameters": YARN}, "'rope_type': 'yarn', 'factor': 2.0}"),
        ({"rope_parameters": [1]}, "has rope_parameters [1]; only {'full_attention': {"),
        ({"layer_types": ["sliding_attention"] * 4}, "has layer_types ['sliding_attention', "),
        ({"layer_types": ["full_attention"]}, "has layer_types ['full_attention']; only ['full_"),
        ({"layer_types": 3}, "has layer_types 3; only ['full_attention'] can be loaded."),
        ({"local_attention": 5}, "is refused: The window of local attention must be an even numb"),
        ({"local_attention": 0}, "is refused: local_window must be a positive integer, received 0"),
        ({"num_hidden_layers": 10**9}, "asks for 1000000000 layers of 6 weights each, its files"),
        ({"intermediate_size": 13}, "mlp.Wi.weight has shape (24, 8), the config asks for (26, 8)"),
        ({"global_rope_theta": 0}, "is refused: rope_theta must be a finite number above 0"),
        (
            {
                "architectures": ["ModernBertForSequenceClassification"],
                "classifier_pooling": "mean",
            },
            "has classifier_pooling 'mean'; only 'cls' can be loaded.",
        ),
    ],
)
def test_config_that_cannot_be_built(folder: Path, fields: dict[str, Any], message: str) -> None:
    rewrite_config(folder, **fields)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        load_encoder(folder)
    assert str(folder) in str(caught.value)


def test_what_plays_no_part_may_be_anything(folder: Path) -> None:
    # The pooling of a classifier, in checkpoints that have the masked-LM head.
    rewrite_config(folder, classifier_pooling="mean", rope_scaling=None, layer_types=None)
    assert HuggingFaceCheckpoint(folder).config.architecture == "modernbert"


def test_missing_fields_are_named_at_once(folder: Path) -> None:
    rewrite_config(folder, removed=("local_attention", "mlp_dropout"))
    with pytest.raises(ValueError, match=re.escape("lacks mlp_dropout, local_attention: fetch")):
        load_encoder(folder)


def test_missing_weights_are_named(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.attn.Wqkv.weight"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"missing: model\.layers\.1\.attn\.Wqkv\.weight\. Use th"):
        load_encoder(folder)


def test_architectures_that_transformers_lacks(modern_config: BertConfig, tmp_path: Path) -> None:
    message = (
        "transformers has no ModernBERT that is built as BertForPreTraining (it has BertModel, "
        "BertForMaskedLM, BertForSequenceClassification): save the model as a .keras file."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        write(tmp_path, BertEncoder(modern_config), architecture="BertForPreTraining")
    assert list(tmp_path.iterdir()) == []
