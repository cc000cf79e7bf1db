"""Folders of encoders of patches; they are read and written by transformers in tests/parity."""

import dataclasses
import json
import logging
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from keras_bert_scratch import PatchEncoder
from keras_bert_scratch.checkpoints.checkpoint import at
from keras_bert_scratch.checkpoints.name_map import patch_encoder_weights, patch_head_weights
from keras_bert_scratch.config import PatchConfig

CONFIG = PatchConfig(
    height=8,
    width=8,
    patch_size=4,
    num_layers=2,
    num_heads=2,
    hidden_dim=6,
    feed_forward_dim=12,
    layer_norm_epsilon=1e-6,
    mean=(0.1, 0.2, 0.3),
    deviation=(0.5, 0.6, 0.7),
)
CONFIGS = {
    "vit": CONFIG,
    "vit with a pooler": dataclasses.replace(CONFIG, pooler=True, activation="relu"),
    "deit": dataclasses.replace(CONFIG, architecture="deit", height=12),
    "deit with a teacher": dataclasses.replace(CONFIG, architecture="deit", distillation_head=True),
    "dinov2": dataclasses.replace(CONFIG, architecture="dinov2", layer_scale=0.5),
    "ast": dataclasses.replace(
        CONFIG,
        architecture="audio-spectrogram-transformer",
        channels=1,
        stride=3,
        width=11,
        mean=(-4.0,),
        deviation=(5.0,),
    ),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    PatchEncoder(CONFIG, ["cat", "dog"]).save_pretrained(tmp_path / "vit")
    return tmp_path / "vit"


def change(folder: Path, **fields: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    config = {name: value for name, value in {**config, **fields}.items() if value != "absent"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "hashes.json").unlink(missing_ok=True)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_every_weight_has_one_row(config: PatchConfig) -> None:
    encoder = PatchEncoder(config, ["a", "b"])
    rows = (*patch_encoder_weights(config), *patch_head_weights(config))
    root = SimpleNamespace(encoder=encoder)
    found = sorted(id(at(root, row.ours)) for row in rows)
    assert found == sorted(map(id, encoder.weights))
    assert len({row.huggingface for row in rows}) == len(rows)
    for row in rows:
        assert row.shape(config) in ((), tuple(at(root, row.ours).shape)), row.ours


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_what_is_written_is_read(config: PatchConfig, tmp_path: Path) -> None:
    encoder = PatchEncoder(config, ["cat", "dog"])
    encoder.save_pretrained(tmp_path / "model")
    loaded = PatchEncoder.from_pretrained(tmp_path / "model")
    assert loaded.config == config
    assert loaded.labels == ["cat", "dog"]
    for ours, theirs in zip(loaded.weights, encoder.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=theirs.path)
    with pytest.raises(FileExistsError, match="exists and is not empty"):
        encoder.save_pretrained(tmp_path / "model")


def test_an_encoder_without_its_head(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    encoder = PatchEncoder.from_pretrained(folder, head=False)
    assert encoder.labels is None
    assert "not used: classifier.bias, classifier.weight" in caplog.text
    encoder.save_pretrained(folder.with_name("bare"))
    # A bare encoder has no prefix in other files.
    bare = folder.with_name("bare") / "model.safetensors"
    weights = {name.removeprefix("vit."): array for name, array in load_file(bare).items()}
    assert "embeddings.cls_token" in weights
    save_file(weights, bare)
    (bare.parent / "hashes.json").unlink()
    again = PatchEncoder.from_pretrained(bare.parent)
    for ours, theirs in zip(again.weights, encoder.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_without_a_preprocessor(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "preprocessor_config.json").unlink()
    (folder / "hashes.json").unlink()
    with caplog.at_level(logging.WARNING):
        encoder = PatchEncoder.from_pretrained(folder)
    assert (encoder.config.mean, encoder.config.deviation) == ((), ())
    assert "preprocessor_config.json: inputs are read as they are, not normalized." in caplog.text


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model_type": "vit_mae"}, "has model_type 'vit_mae'; encoders of patches that can be"),
        ({"model_type": ["vit"]}, "has model_type ['vit']; encoders of patches that can be loaded"),
        ({"image_size": [8, 8, 8]}, "height must be a positive integer, received [8, 8, 8]."),
        ({"qkv_bias": False}, "has qkv_bias False; only True can be loaded."),
        ({"pooler_act": "relu"}, "has pooler_act 'relu'; only 'tanh' can be loaded."),
        ({"hidden_size": "absent"}, "lacks hidden_size: fetch it again."),
        ({"image_size": "absent"}, "height must be a positive integer, received None."),
        ({"image_size": 16}, "vit.embeddings.position_embeddings has shape (1, 5, 6), the config"),
        ({"patch_size": 3}, "projection.weight has shape (6, 3, 4, 4), the config asks for (6, 3"),
        ({"num_hidden_layers": 1_000_000_000}, "asks for 1000000000 layers of 16 weights each"),
        ({"num_hidden_layers": 3}, "asks for 3 layers of 16 weights each, its files hold 40"),
        ({"hidden_act": "mish"}, "has hidden_act 'mish'; known are gelu"),
        ({"num_attention_heads": 4}, "hidden_dim must be divisible by num_heads"),
        ({"id2label": {"0": "cat"}}, "does not name the classes of its head"),
    ],
)
def test_refused_configs(folder: Path, fields: dict[str, Any], message: str) -> None:
    change(folder, **fields)
    with pytest.raises(ValueError, match=re.escape(message)):
        PatchEncoder.from_pretrained(folder)


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        ("dinov2", {"use_swiglu_ffn": True}, "has use_swiglu_ffn True; only False can be loaded."),
        ("dinov2", {"drop_path_rate": 0.1}, "has drop_path_rate 0.1; only 0.0 can be loaded."),
        ("dinov2", {"mlp_ratio": "4"}, "has mlp_ratio '4' and hidden_size 6: correct it."),
        ("ast", {"time_stride": 2}, "has time_stride 2; only 3 can be loaded."),
    ],
)
def test_refused_configs_of_kin(
    kind: str, fields: dict[str, Any], message: str, tmp_path: Path
) -> None:
    PatchEncoder(CONFIGS[kind]).save_pretrained(tmp_path / "model")
    change(tmp_path / "model", **fields)
    with pytest.raises(ValueError, match=re.escape(message)):
        PatchEncoder.from_pretrained(tmp_path / "model")


@pytest.mark.parametrize("mean", [[0.5], ["a", "b", "c"], 0.5, None])
def test_refused_means(folder: Path, mean: Any) -> None:
    fields = {"image_mean": mean, "image_std": [0.5] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(fields))
    (folder / "hashes.json").unlink()
    with pytest.raises(ValueError, match=r"config.json is refused: mean (must hold|and deviation)"):
        PatchEncoder.from_pretrained(folder)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"do_rescale": False}, "has do_rescale False; only True can be loaded."),
        ({"rescale_factor": 1 / 127.5}, "has rescale_factor 0.00784313725490196; only 0.0039"),
        ({"sampling_rate": 8000}, "has sampling_rate 8000; only 16000 can be loaded."),
    ],
)
def test_refused_preprocessors(folder: Path, fields: dict[str, Any], message: str) -> None:
    (folder / "preprocessor_config.json").write_text(json.dumps(fields))
    (folder / "hashes.json").unlink()
    with pytest.raises(ValueError, match=re.escape(message)):
        PatchEncoder.from_pretrained(folder)


def test_a_dinov2_that_transformers_has_not(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIGS["dinov2"], feed_forward_dim=13)
    with pytest.raises(ValueError, match="no DINOv2 whose feed_forward_dim, 13, is not a multiple"):
        PatchEncoder(config).save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model").exists()
