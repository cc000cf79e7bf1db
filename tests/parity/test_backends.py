"""The same weights on every backend of Keras give the same numbers."""

import dataclasses
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from keras_bert_scratch.checkpoints.huggingface import write_checkpoint
from keras_bert_scratch.checkpoints.name_map import encoder_weights, pooler_weights
from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.models.encoder import BertEncoder

pytestmark = pytest.mark.parity

# The backend is chosen at Keras' first import, so each has a process of its own.
SCRIPT = """
import sys
import keras, numpy as np
from keras_bert_scratch.checkpoints.huggingface import load_encoder
from keras_bert_scratch.layers.dropout import Dropout
backend, folder, target = sys.argv[1:]
assert keras.backend.backend() == backend
encoder = load_encoder(folder)
with np.load(f"{folder}/cases.npz") as arrays:
    inputs = {name: arrays[name] for name in ("token_ids", "segment_ids", "padding_mask")}
outputs = encoder(inputs, return_hidden_states=True, return_attention=True)
def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)
dropped = numpy(Dropout(0.5, seed=0)(np.ones((99, 99), "float32"), training=True))
assert set(np.unique(dropped)) == {0.0, 2.0} and abs(dropped.mean() - 1) < 4 / 99
np.savez(
    target,
    pooled_output=numpy(outputs["pooled_output"]),
    hidden_states=np.stack([numpy(x) for x in outputs["hidden_states"]]),
    attention=np.stack([numpy(x) for x in outputs["attention"]]),
    predicted=encoder.predict(inputs, verbose=0)["sequence_output"],
)
"""


def run(backend: str, folder: Path, target: Path) -> dict[str, np.ndarray]:
    subprocess.run(
        [sys.executable, "-c", SCRIPT, backend, str(folder), str(target)],
        env={**os.environ, "KERAS_BACKEND": backend},
        check=True,
    )
    with np.load(target) as arrays:
        return dict(arrays)


@pytest.fixture(params=["erf", "tanh", "modernbert"])
def folder(
    request: pytest.FixtureRequest,
    golden_folder: Path,
    modern_config: BertConfig,
    random_inputs: Callable,
    tmp_path: Path,
) -> Path:
    """A checkpoint, with inputs for it."""
    if request.param != "modernbert":
        return golden_folder / "encoder" / request.param
    keras.utils.set_random_seed(0)
    # At 0.5, states of up to 13 come out, of which float32 itself rounds off more than the bound.
    encoder = BertEncoder(dataclasses.replace(modern_config, initializer_range=0.3))
    rows = (*encoder_weights(encoder.config), *pooler_weights(encoder.config))
    folder = tmp_path / "modernbert"
    folder.mkdir()
    write_checkpoint(folder, SimpleNamespace(encoder=encoder), rows, architecture="BertForMaskedLM")
    np.savez(folder / "cases.npz", **random_inputs(encoder.config, (15, 6)))
    return folder


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_same_numbers_as_tensorflow(backend: str, folder: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed: run `make parity`")
    expected = run("tensorflow", folder, tmp_path / "tensorflow.npz")
    outputs = run(backend, folder, tmp_path / "other.npz")
    for name, array in expected.items():
        np.testing.assert_allclose(outputs[name], array, rtol=0, atol=1e-5, err_msg=name)
