"""What a SavedModel holds for TensorFlow Serving: signatures, versions, warm-up requests."""

import shutil

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from keras_bert_scratch.serving.fresh_process import PROBE_TEXTS
from keras_bert_scratch.serving.readers.classifier import SavedModelPredictor
from keras_bert_scratch.serving.saved_model import version_folder
from keras_bert_scratch.serving.server.served_model import ServedModel
from keras_bert_scratch.text.graphs.tokenizer_graph import tokenizer_graph


@pytest.fixture(scope="module")
def exported(versioned_export):
    """A classifier, its export as version 3, and that export's signatures."""
    model, folder = versioned_export
    return model, folder / "3", tf.saved_model.load(folder / "3").signatures


def tokens(model, texts):
    inputs = tokenizer_graph(model.tokenizer, "core")(tf.constant(texts), sequence_length=32)
    return {name: np.array(value) for name, value in inputs.items()}


def test_labels(exported):
    model, _, signatures = exported
    outputs = signatures["serving_default"](text=tf.constant(["a good film", "bad"]))
    assert outputs["classes"].numpy().tolist() == [[b"negative", b"positive"]] * 2
    best = outputs["probabilities"].numpy().argmax(axis=-1)
    assert outputs["label"].numpy().tolist() == [model.labels[i].encode() for i in best]


def test_embeddings_are_the_encoders(exported):
    model, _, signatures = exported
    outputs = signatures["embeddings"](text=tf.constant(PROBE_TEXTS))
    for row, text in enumerate(PROBE_TEXTS):
        # One by one there is no padding, so the mean needs no mask.
        encoded = model.encoder(tokens(model, [text]))
        mean = np.mean(encoded["sequence_output"][0], axis=0)
        np.testing.assert_allclose(outputs["mean_output"][row], mean, atol=1e-5)
        np.testing.assert_allclose(
            outputs["pooled_output"][row], encoded["pooled_output"][0], atol=1e-5
        )


def test_classify_takes_examples(exported):
    model, _, signatures = exported
    examples = []
    for text in PROBE_TEXTS:
        example = tf.train.Example()
        example.features.feature["text"].bytes_list.value.append(text.encode())
        examples.append(example.SerializeToString())
    outputs = signatures["classify"](inputs=tf.constant(examples))
    assert outputs["classes"].numpy().tolist() == [[b"negative", b"positive"]] * len(examples)
    np.testing.assert_allclose(outputs["scores"], model.probabilities(PROBE_TEXTS), atol=1e-5)


def test_method_names_are_tensorflow_servings(exported):
    _, folder, _ = exported
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    saved = SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    definitions = saved.meta_graphs[0].signature_def
    assert definitions["classify"].method_name == "tensorflow/serving/classify"
    assert set(definitions["classify"].inputs) == {"inputs"}
    assert set(definitions["classify"].outputs) == {"classes", "scores"}
    for name in ("serving_default", "pairs", "tokens", "embeddings"):
        assert definitions[name].method_name == "tensorflow/serving/predict"


def test_warmup_requests_parse_and_run(exported):
    _, folder, signatures = exported
    records = tf.data.TFRecordDataset(str(folder / "assets.extra/tf_serving_warmup_requests"))
    seen = []
    for record in records.as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        kind = log.WhichOneof("log_type")
        request = getattr(log, kind).request
        if kind == "predict_log":
            inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        else:
            examples = request.input.example_list.examples
            inputs = {"inputs": [example.SerializeToString() for example in examples]}
        inputs = {name: tf.constant(value) for name, value in inputs.items()}
        outputs = signatures[request.model_spec.signature_name](**inputs)
        assert {output.shape[0] for output in outputs.values() if output.shape.rank} == {2}
        seen.append((kind, request.model_spec.signature_name))
    assert seen == [
        ("predict_log", "serving_default"),
        ("predict_log", "pairs"),
        ("predict_log", "embeddings"),
        ("classify_log", "classify"),
    ]


def test_labels_are_inside(exported):
    _, folder, _ = exported
    assert (folder / "assets.extra/labels.txt").read_text() == "negative\npositive\n"


class TestVersions:
    def test_other_versions_stay(self, versioned_export):
        assert sorted(path.name for path in versioned_export[1].iterdir()) == ["2", "3"]

    def test_one_that_exists(self, exported):
        model, folder, _ = exported
        before = sorted(folder.parent.rglob("*"))
        with pytest.raises(FileExistsError, match="has a version 3 already: choose another"):
            model.export(folder.parent, version=3)
        assert sorted(folder.parent.rglob("*")) == before

    @pytest.mark.parametrize("version", [0, -1, "1", 1.0])
    def test_no_version(self, tmp_path, version):
        with pytest.raises(ValueError, match="version must be a positive whole number, received"):
            version_folder(tmp_path, version)

    def test_a_folder_without_versions(self, exported):
        _, folder, _ = exported
        with pytest.raises(FileExistsError, match="is a SavedModel without versions: name another"):
            version_folder(folder, 1)

    def test_the_next_number_is_a_number(self, tmp_path):
        for name in ("2", "10", "notes"):
            (tmp_path / name).mkdir()
        with pytest.raises(FileExistsError, match="choose another, such as 11"):
            version_folder(tmp_path, 2)


@pytest.mark.parametrize("load", [SavedModelPredictor, ServedModel])
def test_an_export_that_has_changed_is_not_loaded(exported, tmp_path, load):
    folder = shutil.copytree(exported[1], tmp_path / "copy")
    variables = folder / "variables" / "variables.data-00000-of-00001"
    with variables.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x55")
    with pytest.raises(ValueError, match="variables.data-00000-of-00001 has changed since the fol"):
        load(folder)
    variables.unlink()
    with pytest.raises(ValueError, match="variables.data-00000-of-00001 is missing since the fol"):
        load(folder)
