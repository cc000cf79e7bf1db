"""ONNX files in ONNX Runtime."""

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import QuantType, quantize_dynamic

from keras_bert_scratch.serving.fresh_process import PROBE_TEXTS
from keras_bert_scratch.serving.readers.classifier import OnnxPredictor, load_predictor


@pytest.fixture
def exported(models, exports):
    return models("classifier"), exports("classifier", "model.onnx")


def test_batch_and_length_are_free(exported):
    model, path = exported
    predictor = OnnxPredictor(path)
    for batch, length in ((1, 3), (4, 5), (2, 32)):
        ids = np.random.default_rng(0).integers(5, 20, (batch, length))
        inputs = {"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": 0 * ids + 1}
        np.testing.assert_allclose(
            predictor.probabilities_of_ids(inputs), model._activation(model(inputs)), atol=1e-5
        )


def test_names_and_metadata(exported):
    _, path = exported
    graph = onnx.load(path).graph
    assert {value.name for value in graph.input} == {"token_ids", "segment_ids", "padding_mask"}
    assert [value.name for value in graph.output] == ["probabilities"]
    for value in graph.input:
        axes = [axis.dim_param for axis in value.type.tensor_type.shape.dim]
        assert axes == ["batch", "sequence"]


def test_a_model_that_has_changed_is_not_loaded(exported, tmp_path):
    content = bytearray(exported[1].read_bytes())
    # A weight's byte: the file stays an ONNX file.
    weight = next(w for w in onnx.load(exported[1]).graph.initializer if len(w.raw_data) > 1000)
    content[content.index(weight.raw_data) + 2] ^= 1
    (tmp_path / "changed.onnx").write_bytes(content)
    with pytest.raises(ValueError, match="its model has changed since it was written"):
        OnnxPredictor(tmp_path / "changed.onnx")


def test_a_file_quantized_by_onnx_runtime_is_loaded_when_asked_to(exported, tmp_path):
    model, path = exported
    quantize_dynamic(path, tmp_path / "int8.onnx", weight_type=QuantType.QInt8)
    with pytest.raises(ValueError, match="restore it or pass allow_changed=True"):
        OnnxPredictor(tmp_path / "int8.onnx")
    predictor = OnnxPredictor(tmp_path / "int8.onnx", allow_changed=True)
    assert predictor.labels == model.labels
    # Vocabulary and settings are still those of the model; weights of 8 bits cost some.
    np.testing.assert_allclose(
        predictor.probabilities(PROBE_TEXTS), model.probabilities(PROBE_TEXTS), atol=0.05
    )


def test_what_is_no_export_is_not_loaded_when_asked_to_either(exported, tmp_path):
    foreign = onnx.load(exported[1])
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / "foreign.onnx")
    with pytest.raises(ValueError, match="is not an ONNX file of a classifier"):
        OnnxPredictor(tmp_path / "foreign.onnx", allow_changed=True)


def test_refusals(tiny_classifier, tmp_path):
    with pytest.raises(ValueError, match=r"known by its name: .*model must end in \.onnx"):
        tiny_classifier().export(tmp_path / "model", format="onnx")
    (tmp_path / "garbage.onnx").write_bytes(b"garbage")
    with pytest.raises(ValueError, match=r"is not an ONNX file of a classifier"):
        load_predictor(tmp_path / "garbage.onnx")


def test_no_texts(exported):
    predictor = OnnxPredictor(exported[1])
    ids = np.zeros((0, 3), int)
    inputs = {"token_ids": ids, "segment_ids": ids, "padding_mask": ids}
    assert predictor.probabilities_of_ids(inputs).shape == (0, 2)
