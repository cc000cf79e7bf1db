"""The same weights on every backend of Keras give the same numbers."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from keras_bert_scratch import PatchEncoder
from keras_bert_scratch.checkpoints.huggingface import write_checkpoint
from keras_bert_scratch.checkpoints.name_map import encoder_weights, pooler_weights
from keras_bert_scratch.config import BertConfig, PatchConfig
from keras_bert_scratch.models.encoder import BertEncoder

# The backend is chosen at Keras' first import, so each has a process of its own.
SCRIPT = """
import sys
import keras, numpy as np
from keras_bert_scratch.checkpoints.huggingface import load_encoder
from keras_bert_scratch import PatchEncoder
from keras_bert_scratch.data.sounds import log_mel_spectrograms, pad_sounds
from keras_bert_scratch.layers.dropout import Dropout
backend, target, patches, *folders = sys.argv[1:]
assert keras.backend.backend() == backend
def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)
dropped = numpy(Dropout(0.5, seed=0)(np.ones((99, 99), "float32"), training=True))
assert set(np.unique(dropped)) == {0.0, 2.0} and abs(dropped.mean() - 1) < 4 / 99
arrays = {}
for folder in folders:
    encoder = load_encoder(folder)
    with np.load(f"{folder}/cases.npz") as cases:
        inputs = {name: cases[name] for name in ("token_ids", "segment_ids", "padding_mask")}
    outputs = encoder(inputs, return_hidden_states=True, return_attention=True)
    name = folder.rsplit("/", 1)[1]
    arrays[f"{name} pooled_output"] = numpy(outputs["pooled_output"])
    for key in ("hidden_states", "attention"):
        arrays[f"{name} {key}"] = np.stack([numpy(x) for x in outputs[key]])
    arrays[f"{name} predicted"] = encoder.predict(inputs, verbose=0)["sequence_output"]
encoder = PatchEncoder.from_pretrained(patches)
# Positions are interpolated.
pixels = np.random.default_rng(0).random((2, 11, 13, 3), "float32")
for name, array in encoder.predict(pixels, verbose=0).items():
    arrays[f"patches {name}"] = array
sounds = pad_sounds([np.random.default_rng(0).normal(size=3000)], num_frames=20)
sounds = [keras.ops.convert_to_tensor(part) for part in sounds]
arrays["log-mels"] = numpy(log_mel_spectrograms(*sounds, dtype="float32"))
np.savez(target, **arrays)
"""


def run(backend: str, folders: list[Path], target: Path) -> dict[str, np.ndarray]:
    subprocess.run(
        [sys.executable, "-c", SCRIPT, backend, str(target), *map(str, folders)],
        env={**os.environ, "KERAS_BACKEND": backend},
        check=True,
    )
    with np.load(target) as arrays:
        return dict(arrays)


@pytest.fixture
def folders(
    golden_folder: Path, modern_config: BertConfig, random_inputs: Callable, tmp_path: Path
) -> list[Path]:
    """Checkpoints, with inputs for them."""
    keras.utils.set_random_seed(0)
    # At 0.5, states of up to 13 come out, of which float32 itself rounds off more than the bound.
    encoder = BertEncoder(dataclasses.replace(modern_config, initializer_range=0.3))
    rows = (*encoder_weights(encoder.config), *pooler_weights(encoder.config))
    folder = tmp_path / "modernbert"
    folder.mkdir()
    write_checkpoint(folder, SimpleNamespace(encoder=encoder), rows, architecture="BertForMaskedLM")
    np.savez(folder / "cases.npz", **random_inputs(encoder.config, (15, 6)))
    config = PatchConfig("dinov2", 8, 8, 2, num_layers=2, num_heads=2, hidden_dim=6,
                         feed_forward_dim=12, initializer_range=0.3)  # fmt: skip
    PatchEncoder(config, ["a", "b"]).save_pretrained(tmp_path / "patches")
    erf, tanh = golden_folder / "encoder/erf", golden_folder / "encoder/tanh"
    return [tmp_path / "patches", erf, tanh, folder]


def test_same_numbers_on_every_backend(folders: list[Path], tmp_path: Path) -> None:
    expected = run("tensorflow", folders, tmp_path / "tensorflow.npz")
    assert len(expected) == 16
    for backend in ("jax", "torch"):
        outputs = run(backend, folders, tmp_path / f"{backend}.npz")
        for name, array in expected.items():
            np.testing.assert_allclose(
                outputs[name], array, rtol=0, atol=1e-5, err_msg=f"{backend} {name}"
            )
