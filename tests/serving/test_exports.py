"""Exports of a small classifier, asked in this process and in fresh ones."""

import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_bert_scratch.serving import litert
from keras_bert_scratch.serving.parity import PROBE_TEXTS, check_artifact
from keras_bert_scratch.serving.predictor import (
    LiteRTPredictor,
    SavedModelPredictor,
    load_predictor,
)
from keras_bert_scratch.text.graphs.tokenizer_graph import tokenizer_graph


@pytest.fixture(scope="module")
def exported(tiny_classifier, tmp_path_factory):
    """A classifier, and the folder with its exports."""
    folder = tmp_path_factory.mktemp("exports")
    model = tiny_classifier(temperature=1.7)
    model.export(folder / "saved_model")
    model.export(folder / "float32.tflite", format="litert")
    model.export(folder / "static.tflite", format="litert", static_length=16)
    model.export(folder / "float16.tflite", format="litert", precision="float16")
    model.export(folder / "int8.tflite", format="litert", precision="int8")
    return model, folder


@pytest.mark.parametrize("name", ["saved_model", "float32.tflite"])
def test_float_exports_answer_as_the_model(exported, name):
    model, folder = exported
    predictor = load_predictor(folder / name)
    assert predictor.labels == model.labels
    np.testing.assert_allclose(
        predictor.probabilities(PROBE_TEXTS), model.probabilities(PROBE_TEXTS), atol=1e-5
    )
    pairs = (PROBE_TEXTS, PROBE_TEXTS[::-1])
    np.testing.assert_allclose(
        predictor.probabilities(pairs), model.probabilities(pairs), atol=1e-5
    )


@pytest.mark.parametrize("name", ["saved_model", "float32.tflite"])
def test_the_temperature_is_baked_in(exported, name):
    model, folder = exported
    logits = model.predict(PROBE_TEXTS, verbose=0) / 1.7
    by_hand = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = load_predictor(folder / name).probabilities(PROBE_TEXTS)
    np.testing.assert_allclose(found, by_hand, atol=1e-5)
    # Without it they would be others.
    assert np.abs(found - keras.ops.softmax(logits * 1.7)).max() > 1e-3


@pytest.mark.parametrize(("name", "gap"), [("float16.tflite", 1e-2), ("int8.tflite", 0.1)])
def test_smaller_exports_are_close(exported, name, gap):
    model, folder = exported
    found = LiteRTPredictor(folder / name).probabilities(PROBE_TEXTS)
    np.testing.assert_allclose(found, model.probabilities(PROBE_TEXTS), atol=gap)


def test_a_static_length_truncates(exported):
    _, folder = exported
    static = LiteRTPredictor(folder / "static.tflite")
    dynamic = LiteRTPredictor(folder / "float32.tflite")
    short = ["a good film", "awful"]
    np.testing.assert_allclose(static.probabilities(short), dynamic.probabilities(short), atol=1e-6)
    first_words, more_words = "good " * 14, "good " * 14 + "bad " * 10
    np.testing.assert_array_equal(
        static.probabilities([first_words]), static.probabilities([more_words])
    )


def test_saved_model_signatures(exported):
    model, folder = exported
    signatures = tf.saved_model.load(folder / "saved_model").signatures
    assert set(signatures) >= {"serving_default", "pairs", "tokens"}
    outputs = signatures["serving_default"](text=tf.constant(["a good film", "bad"]))
    assert outputs["classes"].numpy().tolist() == [[b"negative", b"positive"]] * 2
    best = outputs["probabilities"].numpy().argmax(axis=-1)
    assert outputs["label"].numpy().tolist() == [model.labels[i].encode() for i in best]
    inputs = tokenizer_graph(model.tokenizer, "core")(
        tf.constant(["a good film"]), sequence_length=16
    )
    np.testing.assert_allclose(signatures["tokens"](**inputs)["logits"], model(inputs), atol=1e-5)


def test_saved_model_needs_core_tensorflow_alone(exported):
    _, folder = exported
    code = (
        # TensorFlow imports Keras where it is installed; None makes that fail, as on a server.
        "import sys; sys.modules['keras'] = None\n"
        "import tensorflow as tf\n"
        f"f = tf.saved_model.load({str(folder / 'saved_model')!r}).signatures['serving_default']\n"
        "print(f(text=tf.constant(['a good film']))['label'].numpy()[0].decode())\n"
        "assert not {'tensorflow_text', 'keras_bert_scratch'} & set(sys.modules)\n"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert process.stdout.strip() in ("negative", "positive")


def test_litert_file_is_built_in_operations_and_complete(exported):
    _, folder = exported
    for name in ("float32.tflite", "static.tflite", "float16.tflite", "int8.tflite"):
        with zipfile.ZipFile(folder / name) as packed:
            assert packed.read("labels.txt") == b"negative\npositive\n"
        interpreter = LiteRTPredictor(folder / name)._runner._interpreter
        operations = {op["op_name"] for op in interpreter._get_ops_details()}
        assert {"FULLY_CONNECTED", "SOFTMAX"} <= operations
        assert not [op for op in operations if op.startswith("Flex") or op == "VAR_HANDLE"]
        inputs = interpreter.get_signature_runner("serving_default").get_input_details()
        assert set(inputs) == {"token_ids", "segment_ids", "padding_mask"}


def test_int8_is_smaller_for_a_model_of_some_size(tmp_path):
    from keras_bert_scratch import (
        BertClassifier,
        BertConfig,
        BertEncoder,
        Vocabulary,
        WordPieceTokenizer,
    )

    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{n}" for n in range(995))]
    encoder = BertEncoder(BertConfig.preset("tiny", vocab_size=1000))
    model = BertClassifier(encoder, ["a", "b"], WordPieceTokenizer(Vocabulary(tokens)))
    sizes = {}
    for precision in ("float32", "int8"):
        path = tmp_path / f"{precision}.tflite"
        model.export(path, format="litert", precision=precision)
        sizes[precision] = path.stat().st_size
    assert sizes["int8"] < 0.35 * sizes["float32"]


class TestRefusals:
    def test_gap_above_the_bound_leaves_nothing(self, tiny_classifier, tmp_path, monkeypatch):
        model = tiny_classifier()
        monkeypatch.setattr(model, "probabilities", lambda texts: np.full((len(texts), 2), 0.123))
        with pytest.raises(
            RuntimeError, match=r"differ from the model's by .* nothing was written"
        ):
            model.export(tmp_path / "saved_model")
        with pytest.raises(
            RuntimeError, match=r"differ from the model's by .* nothing was written"
        ):
            model.export(tmp_path / "model.tflite", format="litert")
        assert list(tmp_path.iterdir()) == []

    def test_not_a_number_is_a_gap(self, exported):
        _, folder = exported
        with pytest.raises(RuntimeError, match="differ from the model's by nan"):
            check_artifact(
                folder / "float32.tflite",
                lambda texts: np.full((len(texts), 2), np.nan),
                largest_gap=1e-5,
            )

    def test_a_tensorflow_operation_in_a_litert_file(self, tmp_path):
        @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])
        def length(text):
            return {"probabilities": tf.strings.length(text)}

        converter = tf.lite.TFLiteConverter.from_concrete_functions(
            [length.get_concrete_function()], tf.Module()
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.SELECT_TF_OPS]
        path = tmp_path / "flex.tflite"
        path.write_bytes(converter.convert())
        with pytest.raises(
            RuntimeError, match="needs operations that LiteRT lacks: Flex.*FlexStringLen"
        ):
            litert.check_operations(path)

    def test_a_variable_handle_in_a_litert_file(self, tmp_path):
        # The converter writes handles for the weights of a Keras layer inside a tf.Module.
        module = tf.Module()
        module.layer = keras.layers.Dense(1)
        module.layer.build((None, 1))

        @tf.function(input_signature=[tf.TensorSpec((None, 1), tf.float32)])
        def dense(x):
            return {"probabilities": module.layer(x)}

        tf.saved_model.save(module, tmp_path / "m", signatures={"serving_default": dense})
        converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "m"))
        path = tmp_path / "variable.tflite"
        path.write_bytes(converter.convert())
        with pytest.raises(RuntimeError, match="needs operations that LiteRT lacks: VAR_HANDLE"):
            litert.check_operations(path)

    def test_full_folder(self, tiny_classifier, tmp_path):
        (tmp_path / "note.txt").write_text("mine")
        with pytest.raises(FileExistsError, match="exists and is not empty"):
            tiny_classifier().export(tmp_path)

    def test_unknown_precision_and_length(self, tiny_classifier, tmp_path):
        model = tiny_classifier()
        with pytest.raises(ValueError, match="precision must be one of float32, float16, int8"):
            model.export(tmp_path / "m.tflite", format="litert", precision="int4")
        with pytest.raises(ValueError, match="static_length must be between 3 and .* 32"):
            model.export(tmp_path / "m.tflite", format="litert", static_length=33)

    @pytest.mark.parametrize("name", ["garbage.tflite", "folder"])
    def test_something_else(self, tmp_path, name):
        path = tmp_path / name
        if path.suffix:
            path.write_bytes(b"garbage")
        else:
            path.mkdir()
        with pytest.raises(ValueError, match="is not a .* name (one|a folder) that `export` wrote"):
            load_predictor(path)

    def test_nothing_there(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="does not exist: name a SavedModel folder, a"):
            load_predictor(tmp_path / "nothing")

    def test_another_backend(self, tiny_classifier, tmp_path, monkeypatch):
        monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
        with pytest.raises(RuntimeError, match="needs Keras' TensorFlow backend, .* on 'jax'"):
            tiny_classifier().export(tmp_path / "saved_model")


def test_predictors_are_of_their_class(exported):
    _, folder = exported
    assert isinstance(load_predictor(folder / "saved_model"), SavedModelPredictor)
    assert isinstance(load_predictor(folder / "int8.tflite"), LiteRTPredictor)
