import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from keras_bert_scratch.config import BertConfig, PatchConfig


@pytest.mark.parametrize(
    ("name", "layers", "hidden", "heads"),
    [
        # Turc et al. 2019, table 1: L2/H128 to L8/H512, heads of width 64.
        ("tiny", 2, 128, 2),
        ("mini", 4, 256, 4),
        ("small", 4, 512, 8),
        ("medium", 8, 512, 8),
        # Devlin et al. 2018, section 3.
        ("base", 12, 768, 12),
        ("large", 24, 1024, 16),
        # Wang et al. 2020, table 4: 6 layers of 384.
        ("minilm", 6, 384, 12),
    ],
)
def test_presets(name: str, layers: int, hidden: int, heads: int) -> None:
    config = BertConfig.preset(name)
    assert (config.num_layers, config.hidden_dim, config.num_heads) == (layers, hidden, heads)
    assert config.feed_forward_dim == 4 * hidden
    assert (config.vocab_size, config.max_positions, config.num_segments) == (30522, 512, 2)


def test_base_is_the_default() -> None:
    assert BertConfig() == BertConfig.preset("base")


def test_preset_with_changes() -> None:
    config = BertConfig.preset("tiny", vocab_size=8000, feed_forward_dim=300)
    assert (config.vocab_size, config.feed_forward_dim, config.hidden_dim) == (8000, 300, 128)


def test_unknown_preset() -> None:
    with pytest.raises(ValueError, match="Unknown preset 'huge': the presets are tiny, mini,"):
        BertConfig.preset("huge")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_dim": 10, "num_heads": 3}, "received hidden_dim=10 and num_heads=3: change one"),
        ({"head_dim": 0}, "head_dim must be a positive integer or None, received 0."),
        ({"head_dim": 2.0}, "head_dim must be a positive integer or None, received 2.0."),
        ({"vocab_size": 0}, "vocab_size must be a positive integer, received 0."),
        ({"num_layers": -1}, "num_layers must be a positive integer, received -1."),
        ({"num_layers": 2.0}, "num_layers must be a positive integer, received 2.0."),
        ({"num_layers": True}, "num_layers must be a positive integer, received True."),
        ({"hidden_dim": "64"}, "hidden_dim must be a positive integer, received '64'."),
        ({"dropout": -0.1}, "dropout must be a finite number of at least 0, received -0.1."),
        ({"dropout": 1.0}, "dropout must be below 1, received 1.0."),
        ({"attention_dropout": 1}, "attention_dropout must be below 1, received 1."),
        ({"dropout": math.nan}, "dropout must be a finite number of at least 0, received nan."),
        (
            {"initializer_range": math.inf},
            "initializer_range must be a finite number of at least 0",
        ),
        ({"dropout": 10**400}, "dropout must be a finite number of at least 0, received 1000"),
        (
            {"layer_norm_epsilon": "1e-12"},
            "layer_norm_epsilon must be a finite number of at least 0",
        ),
        ({"activation": "swish"}, "gelu_tanh, quick_gelu, relu, silu; received 'swish'"),
        ({"activation": ["gelu"]}, "gelu_tanh, quick_gelu, relu, silu; received ['gelu']"),
        ({"position_embedding": "rotary"}, "must be one of learned, sinusoidal; received 'rotary'"),
        ({"architecture": "gpt"}, "architecture must be one of bert, modernbert; received 'gpt'."),
        (
            {"local_window": 64},
            "local_window is of architecture 'modernbert', received architecture='bert' and "
            "local_window=64: omit it.",
        ),
        (
            {"architecture": "modernbert", "num_segments": 1},
            "num_segments is of architecture 'bert', received architecture='modernbert'",
        ),
        ({"architecture": "modernbert", "local_window": 0}, "local_window must be a positive int"),
        (
            {"architecture": "modernbert", "local_window": 7},
            "window of local attention must be an even number from 2, received 7: half of it",
        ),
        ({"architecture": "modernbert", "global_every": 0}, "global_every must be a positive int"),
        (
            {"architecture": "modernbert", "local_rope_theta": 0.0},
            "rope_theta must be a finite number above 0, received 0.0.",
        ),
        (
            {"architecture": "modernbert", "global_rope_theta": -1.0},
            "global_rope_theta must be a finite number of at least 0, received -1.0.",
        ),
        (
            {"architecture": "modernbert", "hidden_dim": 36},
            "need heads of an even width, received 3: change hidden_dim or num_heads.",
        ),
    ],
)
def test_bad_values(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        BertConfig(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"activation": "gelu_tanh", "position_embedding": "sinusoidal"},
        {"architecture": "modernbert", "local_window": 64, "global_every": 2},
    ],
    ids=["bert", "modernbert"],
)
def test_round_trips(changes: dict[str, Any], tmp_path: Path) -> None:
    config = BertConfig.preset("mini", **changes)
    assert BertConfig.from_dict(config.to_dict()) == config
    config.to_json(tmp_path / "config.json")
    assert BertConfig.from_json(tmp_path / "config.json") == config


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[]", "holds list, not an object"),
        (b'{"vocab_size": []}', r"vocab_size must be a positive integer, received \[\]"),
    ],
)
def test_damaged_files(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        BertConfig.from_json(tmp_path / "config.json")


def test_every_third_layer_of_a_modernbert_is_global_from_the_first_on() -> None:
    config = BertConfig(architecture="modernbert")
    assert [n for n in range(8) if not config.is_local(n)] == [0, 3, 6]
    assert not any(BertConfig().is_local(n) for n in range(8))


def test_unknown_field() -> None:
    with pytest.raises(ValueError, match="Unknown config fields heads, layers: the fields are voc"):
        BertConfig.from_dict({"layers": 2, "heads": 2})


def test_is_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        BertConfig().hidden_dim = 3


@pytest.mark.parametrize(
    "config",
    [
        BertConfig(),
        BertConfig.preset("tiny", activation="relu", dropout=0.0),
        BertConfig(num_heads=6, head_dim=32),
        BertConfig(architecture="modernbert", hidden_dim=96, num_heads=6, local_window=64),
    ],
)
def test_repr_makes_the_same_config(config):
    assert eval(repr(config)) == config


def test_repr_shows_sizes_and_what_is_unusual():
    assert repr(BertConfig.preset("minilm", vocab_size=99, dropout=0.2)) == (
        "BertConfig(vocab_size=99, num_layers=6, num_heads=12, hidden_dim=384, "
        "feed_forward_dim=1536, max_positions=512, num_segments=2, dropout=0.2)"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch_size": 0}, "patch_size must be a positive integer, received 0."),
        ({"stride": 1.5}, "stride must be a positive integer or None, received 1.5."),
        ({"pooler": 1}, "pooler must be True or False, received 1."),
        ({"architecture": "beit"}, "architecture must be one of vit, deit, dinov2, audio-spec"),
        ({"layer_scale": 0.1}, "layer_scale is of architecture 'dinov2', received architecture="),
        ({"distillation_head": True}, "distillation_head is of architecture 'deit', received"),
        ({"dropout": 1.0}, "dropout must be below 1, received 1.0."),
        ({"num_heads": 5}, "hidden_dim must be divisible by num_heads"),
        ({"height": 15}, "The pictures have 15 x 224 pixels, which must be at least patch_size=16"),
        ({"mean": (0.5, 0.5)}, "mean and deviation must have one number for each of 3 channels"),
        ({"mean": (0, 0, 0), "deviation": (1, 0, 1)}, "and no deviation may be 0; received"),
        ({"mean": (math.nan,) * 3}, "mean must hold finite numbers, received (nan, nan, nan)."),
    ],
)
def test_refused_patches(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        PatchConfig(**changes)


def test_patches_as_json() -> None:
    config = PatchConfig(architecture="dinov2", patch_size=14, mean=(0, 0, 0), deviation=(1, 1, 2))
    fields = json.loads(json.dumps(config.to_dict()))
    assert PatchConfig.from_dict(fields) == config
    assert config.grid == (16, 16)
    assert config.axes["S"] == 257
    # 12 x 101 patches and two tokens (Gong et al. 2021, section 2.1).
    sound = PatchConfig("audio-spectrogram-transformer", 128, 1024, stride=10, channels=1)
    assert sound.axes["S"] == 1214
