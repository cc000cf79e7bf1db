"""Weights in files of PyTorch, which is no dependency."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from keras_bert_scratch.checkpoints.huggingface import load_encoder
from keras_bert_scratch.checkpoints.pytorch import PyTorchFile


@pytest.fixture
def tensors(golden_folder: Path, tmp_path: Path) -> dict:
    """Tensors of a checkpoint whose config lies in the test's folder."""
    golden = golden_folder / "encoder" / "erf"
    (tmp_path / "config.json").write_bytes((golden / "config.json").read_bytes())
    return {k: torch.tensor(v) for k, v in load_file(golden / "model.safetensors").items()}


def assert_same_weights(folder: Path, golden_folder: Path) -> None:
    expected = load_encoder(golden_folder / "encoder" / "erf").get_weights()
    for ours, theirs in zip(load_encoder(folder).get_weights(), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "before-1.6"])
def test_one_file(tensors: dict, golden_folder: Path, tmp_path: Path, is_zip: bool) -> None:
    old = {name.replace("LayerNorm.weight", "LayerNorm.gamma"): t for name, t in tensors.items()}
    old["embeddings.position_ids"] = torch.arange(20)[None]
    torch.save(old, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=is_zip)
    assert_same_weights(tmp_path, golden_folder)


def test_parts(tensors: dict, golden_folder: Path, tmp_path: Path) -> None:
    weight_map = {name: f"pytorch_model-{len(name) % 2}.bin" for name in tensors}
    for file in set(weight_map.values()):
        part = {name: tensor for name, tensor in tensors.items() if weight_map[name] == file}
        torch.save(part, tmp_path / file)
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    assert_same_weights(tmp_path, golden_folder)
    index.write_text(json.dumps({"weight_map": {"a": "../pytorch_model-0.bin"}}))
    with pytest.raises(ValueError, match="does not name files of its folder in weight_map"):
        load_encoder(tmp_path)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_dtypes(tmp_path: Path, dtype) -> None:
    tensor = torch.tensor([0.1, -2.0], dtype=dtype)
    torch.save({"a": tensor, "step": 3}, tmp_path / "a.bin")
    file = PyTorchFile(tmp_path / "a.bin")
    assert file.keys() == ["a"]
    assert file.get_slice("a").get_shape() == [2]
    np.testing.assert_array_equal(file.get_tensor("a"), tensor.float().numpy())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is damaged, or holds more than tensors"),
        (b"not a pickle", "is damaged, or holds more than tensors"),
        ([1, 2], "holds list, not a dict of tensors by name"),
        # What would run code, were it unpickled.
        ({"a": Path("x")}, "is damaged, or holds more than tensors"),
    ],
    ids=["empty", "text", "list", "object"],
)
def test_refusals(tmp_path: Path, content, message: str) -> None:
    file = tmp_path / "a.bin"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    with pytest.raises(ValueError, match=message):
        PyTorchFile(file)
