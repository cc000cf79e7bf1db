"""Checkpoint folders: read in every dress they come in, written, and refused when they are bad."""

import dataclasses
import json
import logging
import re
import shutil
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from keras_bert_scratch.checkpoints.google import open_checkpoint
from keras_bert_scratch.checkpoints.huggingface import (
    HuggingFaceCheckpoint,
    config_fields,
    find_checkpoint,
    load_encoder,
    write_checkpoint,
)
from keras_bert_scratch.checkpoints.name_map import CLASSIFIER, encoder_weights, pooler_weights
from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.layers.heads import ClassificationHead
from keras_bert_scratch.models.encoder import BertEncoder

Tensors = dict[str, np.ndarray]
LOGGER = "keras_bert_scratch.checkpoints.huggingface"


@pytest.fixture
def folder(golden_folder: Path, tmp_path: Path) -> Path:
    """A copy of a checkpoint that transformers wrote, to be changed."""
    target = tmp_path / "checkpoint"
    target.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copyfile(golden_folder / "encoder" / "erf" / name, target / name)
    return target


def rewrite(folder: Path, change: Callable[[Tensors], Tensors]) -> None:
    """Replaces the weights by what `change` makes of them."""
    save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors")


def rewrite_config(folder: Path, **fields: Any) -> None:
    document = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**document, **fields}))


def assert_same_weights(ours: BertEncoder, theirs: BertEncoder) -> None:
    assert len(ours.weights) == len(theirs.weights) > 0
    for a, b in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=a.path)


# === Reading ===
def test_config(golden_folder: Path) -> None:
    # As tests/golden/make_encoder.py sets them.
    checkpoint = HuggingFaceCheckpoint(golden_folder / "encoder" / "tanh")
    assert checkpoint.config == BertConfig(
        vocab_size=44,
        num_layers=3,
        num_heads=4,
        hidden_dim=16,
        feed_forward_dim=36,
        max_positions=13,
        num_segments=3,
        activation="gelu_tanh",
        layer_norm_epsilon=1e-3,
    )
    assert checkpoint.labels is None


def test_every_tensor_arrives_at_its_place(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    encoder = load_encoder(folder)
    attention = encoder.blocks[1].attention
    theirs = "encoder.layer.1.attention.self.query"
    np.testing.assert_array_equal(attention.query.kernel, tensors[f"{theirs}.weight"].T)
    np.testing.assert_array_equal(attention.query.bias, tensors[f"{theirs}.bias"])
    np.testing.assert_array_equal(
        encoder.embeddings.token.embeddings, tensors["embeddings.word_embeddings.weight"]
    )
    assert sum(weight.size for weight in tensors.values()) == encoder.count_params()


def as_old_norms(tensors: Tensors) -> Tensors:
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    return {re.sub(r"LayerNorm\.\w+", lambda m: old[m[0]], k): v for k, v in tensors.items()}


def with_prefix(tensors: Tensors) -> Tensors:
    return {f"bert.{name}": tensor for name, tensor in tensors.items()}


def with_position_ids(tensors: Tensors) -> Tensors:
    return {**tensors, "embeddings.position_ids": np.arange(20)[None]}


@pytest.mark.parametrize(
    "dress",
    [
        as_old_norms,
        with_prefix,
        with_position_ids,
        lambda tensors: with_prefix(as_old_norms(with_position_ids(tensors))),
    ],
    ids=["gamma-beta", "prefix", "position_ids", "all"],
)
def test_names_of_other_times(
    folder: Path,
    golden_folder: Path,
    dress: Callable[[Tensors], Tensors],
    caplog: pytest.LogCaptureFixture,
) -> None:
    rewrite(folder, dress)
    assert_same_weights(load_encoder(folder), load_encoder(golden_folder / "encoder" / "erf"))
    assert caplog.records == []  # nothing new, nothing left over


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_files(folder: Path, dtype: type) -> None:
    exact = load_encoder(folder)
    rewrite(folder, lambda tensors: {k: v.astype(dtype) for k, v in tensors.items()})
    rewrite_config(folder, dtype=dtype.__name__)
    encoder = load_encoder(folder, name="mine", dtype="mixed_bfloat16")
    assert (encoder.name, encoder.compute_dtype) == ("mine", "bfloat16")
    for weight, original in zip(encoder.weights, exact.weights, strict=True):
        assert weight.dtype == "float32"
        np.testing.assert_array_equal(weight, np.array(original).astype(dtype).astype("float32"))


def shard(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    weight_map = {}
    for i, name in enumerate(sorted(tensors)):
        weight_map[name] = f"model-0000{i % 3 + 1}-of-00003.safetensors"
    for file in set(weight_map.values()):
        save_file({k: v for k, v in tensors.items() if weight_map[k] == file}, folder / file)
    (folder / "model.safetensors").unlink()
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def test_sharded(folder: Path, golden_folder: Path) -> None:
    shard(folder)
    assert_same_weights(load_encoder(folder), load_encoder(golden_folder / "encoder" / "erf"))
    (folder / "model-00002-of-00003.safetensors").unlink()
    refused(folder, FileNotFoundError, "model-00002-of-00003.safetensors is missing: weights are")


def test_config_without_optional_fields_has_the_defaults_of_bert(folder: Path) -> None:
    document = json.loads((folder / "config.json").read_text())
    for field in ("hidden_act", "layer_norm_eps", "hidden_dropout_prob", "type_vocab_size"):
        del document[field]
    (folder / "config.json").write_text(json.dumps(document))
    config = load_encoder(folder).config
    assert (config.activation, config.layer_norm_epsilon) == ("gelu", 1e-12)
    assert (config.dropout, config.num_segments) == (0.1, 2)


# === Reports ===
def test_new_and_unused_weights_are_reported(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    head = {"cls.predictions.bias": np.zeros(50), "classifier.weight": np.zeros((2, 24))}
    rewrite(folder, lambda t: {**{k: v for k, v in t.items() if "pooler" not in k}, **head})
    with caplog.at_level(logging.WARNING, LOGGER):
        load_encoder(folder)
    assert [record.message for record in caplog.records] == [
        "Newly initialized, to be trained: encoder.pooler.dense.kernel, encoder.pooler.dense.bias.",
        "In the checkpoint but not used: classifier.weight, cls.predictions.bias.",
    ]


# === Writing ===
class Task(SimpleNamespace):
    """The least that has an encoder and a head."""


def make_task(config: BertConfig) -> Task:
    head = ClassificationHead(num_classes=3)
    head.build((None, config.hidden_dim))
    return Task(encoder=BertEncoder(config), head=head)


def rows_of(config: BertConfig) -> tuple:
    return (*encoder_weights(config), *pooler_weights(config), *CLASSIFIER)


def test_what_is_written_is_read_bit_for_bit(tiny_config: BertConfig, tmp_path: Path) -> None:
    task, rows = make_task(tiny_config), rows_of(tiny_config)
    write_checkpoint(tmp_path, task, rows, architecture="BertForSequenceClassification", extra=[1])
    checkpoint = HuggingFaceCheckpoint(tmp_path)
    assert checkpoint.config == tiny_config
    assert checkpoint.fields["architectures"] == ["BertForSequenceClassification"]
    assert checkpoint.fields["extra"] == [1]
    copy = make_task(tiny_config)
    checkpoint.load(copy, rows)
    assert_same_weights(copy.encoder, task.encoder)
    for a, b in zip(copy.head.weights, task.head.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    modes = {path.name: path.stat().st_mode for path in tmp_path.iterdir()}
    assert modes["model.safetensors"] == modes["config.json"]


def test_what_transformers_wrote_is_written_again_bit_for_bit(folder: Path, tmp_path: Path) -> None:
    encoder = load_encoder(folder)
    rows = (*encoder_weights(encoder.config), *pooler_weights(encoder.config))
    write_checkpoint(tmp_path, Task(encoder=encoder), rows, architecture="BertModel")
    ours = load_file(tmp_path / "model.safetensors")
    theirs = with_prefix(load_file(folder / "model.safetensors"))
    assert set(ours) == set(theirs)
    for name, tensor in theirs.items():
        np.testing.assert_array_equal(ours[name], tensor, err_msg=name)
        assert ours[name].dtype == tensor.dtype


@pytest.mark.parametrize(
    ("name", "activation"),
    [
        ("gelu", "gelu"),
        ("gelu_new", "gelu_tanh"),
        ("quick_gelu", "quick_gelu"),
        ("relu", "relu"),
        ("silu", "silu"),
        ("gelu_python", "gelu"),
        ("gelu_fast", "gelu_tanh"),
        ("swish", "silu"),
    ],
)
def test_activations_by_the_names_of_transformers(folder: Path, name: str, activation: str) -> None:
    rewrite_config(folder, hidden_act=name)
    config = HuggingFaceCheckpoint(folder).config
    assert config.activation == activation
    if name not in ("gelu_python", "gelu_fast", "swish"):
        assert config_fields(config)["hidden_act"] == name


def test_sinusoidal_positions_become_a_table_of_the_same_values(
    tiny_config: BertConfig, random_inputs: Callable, tmp_path: Path
) -> None:
    config = BertConfig(**{**tiny_config.to_dict(), "position_embedding": "sinusoidal"})
    task = make_task(config)
    write_checkpoint(tmp_path, task, rows_of(config), architecture="BertForSequenceClassification")
    inputs = random_inputs(config)
    loaded = load_encoder(tmp_path)
    assert loaded.config.position_embedding == "learned"
    np.testing.assert_array_equal(
        loaded(inputs)["sequence_output"], task.encoder(inputs)["sequence_output"]
    )


# === Bad input ===
def refused(folder: Path, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        load_encoder(folder)


def header(entry: dict[str, Any]) -> bytes:
    text = json.dumps({"embeddings.word_embeddings.weight": entry}).encode()
    return struct.pack("<Q", len(text)) + text + b"\x00" * 4


@pytest.mark.parametrize(
    "content",
    [
        None,  # the right one, cut off
        b"",
        b"\x00\x01",
        b"this is no safetensors file at all",
        struct.pack("<Q", 5) + b"{bad}",
        struct.pack("<Q", 2**64 - 1) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        header({"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 0]}),  # overflows to 0
        header({"dtype": "F32", "shape": [1 << 30], "data_offsets": [0, 4 << 30]}),
        header({"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}),
        header({"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}),
        header({"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}),
        header({"dtype": "X", "shape": [1], "data_offsets": [0, 4]}),
        header({"dtype": "F32", "shape": [1], "data_offsets": [0, 2**64]}),
        header({"dtype": "F32"}),
    ],
)
def test_damaged_weights(folder: Path, content: bytes | None) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100] if content is None else content)
    refused(folder, ValueError, f"{file} is truncated or not a safetensors file")


def test_header_of_millions_of_weights_is_not_parsed(folder: Path) -> None:
    # safetensors would take nine times its size, and many seconds.
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", 90_000_000))
        file.truncate(100_000_000)
    refused(folder, ValueError, "announce a header of 90000000, and at most 10000000 are read.")


@pytest.mark.parametrize(
    ("file", "content", "error", "message"),
    [
        ("config.json", None, FileNotFoundError, "has no config.json: a checkpoint folder holds"),
        ("config.json", "{", ValueError, "config.json is not JSON ("),
        ("model.safetensors", None, FileNotFoundError, "is missing: weights are read from files"),
        ("model.safetensors", Path("../other"), ValueError, "is a link that leads out of its fol"),
    ],
)
def test_files_that_are_missing_damaged_or_elsewhere(
    folder: Path, file: str, content: str | Path | None, error: type[Exception], message: str
) -> None:
    (folder / file).unlink()
    if isinstance(content, str):
        (folder / file).write_text(content)
    elif content is not None:
        (folder / file).symlink_to(content)
    refused(folder, error, message)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model_type": "roberta"}, "has model_type 'roberta', and only 'bert' can be loaded"),
        ({"model_type": None}, "has model_type None, and only 'bert' can be loaded"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type 'relative_key'"),
        ({"is_decoder": True}, "is_decoder True; only encoders"),
        ({"hidden_act": "gelu_10"}, "has hidden_act 'gelu_10'; known are gelu, gelu_python, gelu"),
        ({"hidden_act": ["gelu"]}, "has hidden_act ['gelu']; known are gelu, gelu_python"),
        ({"hidden_size": 25}, "is refused: hidden_dim must be divisible by num_heads, received"),
        ({"hidden_size": "24"}, "is refused: hidden_dim must be a positive integer, received '24'"),
        ({"vocab_size": None}, "is refused: vocab_size must be a positive integer, received None"),
    ],
)
def test_config_that_cannot_be_built(folder: Path, fields: dict[str, Any], message: str) -> None:
    rewrite_config(folder, **fields)
    refused(folder, ValueError, message)


def test_missing_misshaped_and_quantized_weights_are_named_at_once(folder: Path) -> None:
    def damage(tensors: Tensors) -> Tensors:
        del tensors["encoder.layer.0.attention.self.key.bias"]
        del tensors["encoder.layer.1.output.dense.weight"]
        tensors["embeddings.word_embeddings.weight"] = np.zeros((49, 24), "float32")
        tensors["encoder.layer.0.intermediate.dense.weight"] = np.zeros((24, 40), "float32")
        tensors["encoder.layer.0.intermediate.dense.bias"] = np.zeros(40, "int8")
        tensors["pooler.dense.bias"] = np.zeros(3, "float32")  # optional
        return tensors

    rewrite(folder, damage)
    message = (
        "do not fit the model: missing: bert.encoder.layer.0.attention.self.key.bias; missing: "
        "bert.encoder.layer.1.output.dense.weight; embeddings.word_embeddings.weight has shape "
        "(49, 24), the config asks for (50, 24); encoder.layer.0.intermediate.dense.weight has "
        "shape (24, 40), the config asks for (40, 24); encoder.layer.0.intermediate.dense.bias has "
        "dtype I8, known are F64, F32, F16, BF16; pooler.dense.bias has shape (3,), the config "
        "asks for (24,). Use the config.json that belongs to them."
    )
    refused(folder, ValueError, message)


def test_a_model_into_which_weights_do_not_fit_is_left_as_it_is(folder: Path) -> None:
    checkpoint = HuggingFaceCheckpoint(folder)
    task = Task(encoder=BertEncoder(dataclasses.replace(checkpoint.config, feed_forward_dim=41)))
    before = task.encoder.get_weights()
    with pytest.raises(ValueError, match="do not fit the model"):
        checkpoint.load(task, encoder_weights(task.encoder.config))
    for now, then in zip(task.encoder.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


# What a config of a few bytes asks for, of which nothing may be made: terabytes, or no end.
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"hidden_size": 24 * 10**5},
            "word_embeddings.weight has shape (50, 24), the config asks for (50, 2400000);",
        ),
        ({"vocab_size": 10**12}, "has shape (50, 24), the config asks for (1000000000000, 24)."),
        ({"intermediate_size": 10**12}, "the config asks for (1000000000000, 24);"),
        ({"max_position_embeddings": 10**12}, "the config asks for (1000000000000, 24)."),
        ({"type_vocab_size": 10**12}, "the config asks for (1000000000000, 24)."),
        (
            {"num_hidden_layers": 10**12},
            "asks for 1000000000000 layers of 16 weights each, its files hold 39 weights in all:",
        ),
    ],
)
def test_sizes_that_the_files_do_not_have(
    folder: Path, fields: dict[str, Any], message: str
) -> None:
    rewrite_config(folder, **fields)
    with pytest.raises(ValueError, match=re.escape(message)):
        HuggingFaceCheckpoint(folder)


@pytest.mark.parametrize(
    "id2label",
    [
        {"0": "a"},
        {"0": "a", "2": "b"},
        {"0": "a", "1": None},
        {str(n): "x" for n in range(10**5)},
        ["a"],
        "a, b",
    ],
)
def test_labels_that_the_head_does_not_have(folder: Path, id2label: Any) -> None:
    rewrite(folder, lambda tensors: {**tensors, "classifier.weight": np.zeros((2, 24))})
    rewrite_config(folder, id2label=id2label)
    message = r"does not name the classes of its head, of shape \(2, 24\), from 0 on in id2label"
    with pytest.raises(ValueError, match=message):
        _ = HuggingFaceCheckpoint(folder).labels


def test_model_type_may_be_missing(folder: Path) -> None:
    document = json.loads((folder / "config.json").read_text())
    del document["model_type"]
    (folder / "config.json").write_text(json.dumps(document))
    assert HuggingFaceCheckpoint(folder).config.hidden_dim == 24
    rewrite_config(folder, architectures=["RobertaModel"])
    refused(folder, ValueError, "has no model_type, and is of ['RobertaModel'], which is not BERT")


def test_settings_are_of_their_kind(folder: Path) -> None:
    rewrite_config(folder, a=1, b=2, c=1.5, d=None, e="x")
    settings = HuggingFaceCheckpoint(folder).settings(a=int, b=float, c=float, d=str, e=str, f=int)
    assert settings == {"a": 1, "b": 2, "c": 1.5, "e": "x"}


@pytest.mark.parametrize(
    ("value", "kind"),
    [("1", int), (1.0, int), (True, int), ([], float), (True, float), (float("nan"), float),
     (float("inf"), float), (10**400, float), (1, str), ({}, list)],
)  # fmt: skip
def test_settings_of_another_kind(folder: Path, value: Any, kind: type) -> None:
    rewrite_config(folder, sequence_length=value)
    checkpoint = HuggingFaceCheckpoint(folder)
    message = (
        f"The config of {folder} has sequence_length {value!r}, which must be of the type "
        f"{kind.__name__}: correct it"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        checkpoint.settings(sequence_length=kind)


OUTSIDE = ["../other.safetensors", "/etc/passwd", "a/b.safetensors", 3, "a\0.safetensors", ".."]


@pytest.mark.parametrize(
    "index",
    [{}, {"weight_map": []}, *({"weight_map": {"a": name}} for name in (*OUTSIDE, "config.json"))],
)
def test_an_index_that_does_not_name_files_of_the_folder(
    folder: Path, index: dict[str, Any]
) -> None:
    shutil.copyfile(folder / "model.safetensors", folder.parent / "other.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(folder, ValueError, "does not name files of its folder in weight_map: do not use it.")


def test_pickled_weights_without_pytorch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    monkeypatch.setitem(sys.modules, "torch", None)
    refused(folder, ImportError, 'the extra "pytorch" of keras_bert_scratch')


# === Classification heads ===
LABELS_OF_A_FILE = [
    ({}, ["LABEL_0", "LABEL_1"]),
    ({"num_labels": 2}, ["LABEL_0", "LABEL_1"]),
    # transformers' default names, whatever the number of classes.
    ({"id2label": {"0": "LABEL_0"}}, ["LABEL_0", "LABEL_1"]),
    ({"id2label": {"1": "good", "0": "bad"}}, ["bad", "good"]),
    ({"id2label": ["bad", "good"]}, ["bad", "good"]),
    ({"id2label": {"0": 1, "1": 5}}, ["1", "5"]),
    ({"label2id": {"good": 1, "bad": 0}}, ["bad", "good"]),
    (
        {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}, "label2id": {"good": 1, "bad": 0}},
        ["bad", "good"],
    ),
]


@pytest.fixture
def with_head(folder: Path) -> Path:
    head = {"classifier.weight": np.zeros((2, 24)), "classifier.bias": np.zeros(2)}
    rewrite(folder, lambda tensors: {**tensors, **head})
    return folder


@pytest.mark.parametrize(("fields", "labels"), LABELS_OF_A_FILE, ids=str)
def test_names_of_classes(with_head: Path, fields: dict[str, Any], labels: list[str]) -> None:
    rewrite_config(with_head, **fields)
    assert HuggingFaceCheckpoint(with_head).labels == labels


def test_names_that_contradict_each_other(with_head: Path) -> None:
    rewrite_config(with_head, id2label={"0": "bad", "1": "good"}, label2id={"good": 0, "bad": 1})
    message = r"names the classes \['bad', 'good'\] in id2label and \['good', 'bad'\] in label2id"
    with pytest.raises(ValueError, match=message):
        _ = HuggingFaceCheckpoint(with_head).labels


@pytest.mark.parametrize(
    ("labels", "order", "level"),
    [
        (["bad", "good"], [0, 1], None),
        (["good", "bad"], [1, 0], None),
        (["Good", "BAD"], [1, 0], None),
        (["bad", "great"], [0, 1], logging.WARNING),
        (["a", "b"], [0, 1], logging.WARNING),
        (["a"], None, None),
        (["bad", "good", "c"], None, None),
    ],
    ids=str,
)
def test_labels_that_are_asked_for(
    with_head: Path,
    labels: list[str],
    order: list[int] | None,
    level: int | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    rewrite_config(with_head, id2label={"0": "bad", "1": "good"})
    with caplog.at_level(logging.INFO):
        assert HuggingFaceCheckpoint(with_head).match_labels(labels) == order
        assert [record.levelno for record in caplog.records] == ([level] if level else [])
        caplog.clear()
        # Classes without names are named in their order.
        rewrite_config(with_head, id2label=None)
        assert HuggingFaceCheckpoint(with_head).match_labels(["x", "y"]) == [0, 1]
    assert "LABEL_0 is called x, LABEL_1 is called y." in caplog.text
    assert [record.levelno for record in caplog.records] == [logging.INFO]


def test_a_name_of_the_head_is_given_to_no_other_class(with_head: Path) -> None:
    rewrite_config(with_head, id2label={"0": "bad", "1": "good"})
    with pytest.raises(ValueError, match="gives the name of one of them to another: load it with"):
        HuggingFaceCheckpoint(with_head).match_labels(["good", "awful"])


def test_googles_config_beside_safetensors(folder: Path) -> None:
    (folder / "config.json").rename(folder / "bert_config.json")
    assert isinstance(open_checkpoint(folder), HuggingFaceCheckpoint)
    assert load_encoder(folder).config.hidden_dim == 24


def test_more_rows_than_the_config_says(folder: Path) -> None:
    rewrite_config(folder, vocab_size=43)
    encoder = load_encoder(folder)
    assert encoder.config.vocab_size == 50
    table = load_file(folder / "model.safetensors")["embeddings.word_embeddings.weight"]
    np.testing.assert_array_equal(encoder.embeddings.token.embeddings, table)


# === The hub ===
@pytest.mark.parametrize("hub_id", ["bert-base-uncased", "google/bert_uncased_L-2_H-128_A-2"])
def test_hub_id(folder: Path, hub_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def snapshot_download(repo_id: str, *, allow_patterns: list[str]) -> str:
        calls.append((repo_id, allow_patterns))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert load_encoder(hub_id).config.hidden_dim == 24
    # Never the pickled weights.
    assert calls == [(hub_id, ["*.json", "*.safetensors", "*vocab.txt"])]


def test_hub_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot_download(*_: Any, **__: Any) -> str:
        raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    message = (
        "'bert-typo' is neither a folder here nor one of minilm, tiny-en, tiny-en-1, and the hub "
        "did not"
    )
    with pytest.raises(FileNotFoundError, match=re.escape(message)):
        load_encoder("bert-typo")


@pytest.mark.parametrize(
    "path", ["no/such/folder", "/no/such", "./my model", "~/x/y", "a//b", "checkpoint/config.json"]
)
def test_a_path_needs_no_hub(folder: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: pytest.fail("hub"))
    monkeypatch.chdir(folder.parent)
    assert find_checkpoint("checkpoint") == Path("checkpoint")
    with pytest.raises(FileNotFoundError, match="is not a folder: name the folder of a checkpoint"):
        load_encoder(path)
