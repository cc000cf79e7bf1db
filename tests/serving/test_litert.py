"""LiteRT files: text in, full int8, tensor names, and what is refused."""

import inspect
import json
import lzma

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

from keras_bert_scratch import (
    BertClassifier,
    BertConfig,
    BertEncoder,
    Vocabulary,
    WordPieceTokenizer,
)
from keras_bert_scratch.serving import litert
from keras_bert_scratch.serving.fresh_process import PROBE_TEXTS
from keras_bert_scratch.serving.graphs.classifier import ClassifierSignature
from keras_bert_scratch.serving.graphs.signature import LiteGraph
from keras_bert_scratch.serving.readers.classifier import LiteRTPredictor


@pytest.fixture(scope="module")
def trained(tiny_classifier, reviews):
    """A classifier that tells the reviews apart, so that its labels do not hang on a rounding."""
    from keras_bert_scratch import adamw

    model = tiny_classifier()
    model.compile(optimizer=adamw(3e-3, total_steps=100))
    model.fit(*reviews, batch_size=8, epochs=10, verbose=0)
    return model


@pytest.fixture(scope="module")
def texts(reviews):
    """144 texts, and a label each."""
    return reviews[0] * 3, reviews[1] * 3


class TestTextIn:
    """Files of version 0.1.0 could take strings, for an interpreter with tensorflow-text."""

    @pytest.fixture(scope="class")
    def predictor(self, golden_folder, tmp_path_factory):
        path = tmp_path_factory.mktemp("text") / "text.tflite"
        path.write_bytes(
            lzma.decompress((golden_folder / "exports/takes_text.tflite.xz").read_bytes())
        )
        return LiteRTPredictor(path)

    def test_answers_as_the_model_did(self, predictor, golden_folder):
        golden = json.loads((golden_folder / "exports" / "answers.json").read_text())
        found = predictor.probabilities(golden["texts"])
        np.testing.assert_allclose(found, golden["answers"]["classifier"], atol=1e-5)

    def test_refusals(self, predictor, trained, tmp_path):
        with pytest.raises(ValueError, match="takes one text, not a pair"):
            predictor.probabilities((["a"], ["b"]))
        with pytest.raises(ValueError, match="takes text, not ids"):
            predictor.probabilities_of_ids({})
        with pytest.raises(ValueError, match="'code_points' in a file .* received 'text'"):
            trained.export(tmp_path / "x.tflite", format="litert", inputs="text")


class TestFullInt8:
    @pytest.mark.parametrize("static_length", [None, 16])
    def test_labels_stay(self, trained, texts, tmp_path, static_length):
        path = tmp_path / "x.tflite"
        trained.export(
            path,
            format="litert",
            precision="full_int8",
            static_length=static_length,
            texts=texts[0],
        )
        found = LiteRTPredictor(path).probabilities(texts[0])
        assert [trained.labels[i] for i in found.argmax(axis=-1)] == texts[1]
        model = schema.ModelT.InitFromPackedBuf(path.read_bytes())
        kinds = {tensor.type for tensor in model.subgraphs[0].tensors}
        assert schema.TensorType.INT8 in kinds
        assert schema.TensorType.FLOAT16 not in kinds

    def test_no_or_too_few_texts(self, trained, tmp_path):
        for texts, number in ((None, 0), (["good"] * 99, 99)):
            with pytest.raises(
                ValueError, match=f"'full_int8' is calibrated .* at least 100; received {number}"
            ):
                trained.export(
                    tmp_path / "x.tflite", format="litert", precision="full_int8", texts=texts
                )

    def test_texts_of_another_language(self, trained, tmp_path):
        with pytest.raises(ValueError, match=r"100% of the pieces .* in another language than"):
            trained.export(
                tmp_path / "x.tflite",
                format="litert",
                precision="full_int8",
                texts=["фильм плохой"] * 100,
            )

    def test_lost_labels_are_named_and_nothing_is_written(
        self, trained, texts, tmp_path, monkeypatch
    ):
        # The model's answers as this export sees them: the labels of held-out texts turned around.
        answer = trained.probabilities

        def turned(asked):
            return answer(asked) if len(asked) == len(PROBE_TEXTS) else 1 - answer(asked)

        monkeypatch.setattr(trained, "probabilities", turned)
        with pytest.raises(
            RuntimeError,
            match=r"model's label to only 0.0% of 72 held-out texts, fewer than 97%: it changed "
            r"36 from 'negative' to 'positive'; 36 from 'positive' to 'negative', and .* Nothing",
        ):
            trained.export(
                tmp_path / "x.tflite", format="litert", precision="full_int8", texts=texts[0]
            )
        assert list(tmp_path.iterdir()) == []


def tensor_names(model):
    graph = model.subgraphs[0]
    return tuple(
        [graph.tensors[index].name.encode() if isinstance(graph.tensors[index].name, str)
         else graph.tensors[index].name for index in indices]
        for indices in (graph.inputs, graph.outputs)
    )  # fmt: skip


def test_names_explain_themselves_and_weights_are_aligned(trained, tmp_path):
    path = tmp_path / "x.tflite"
    trained.export(path, format="litert")
    content = path.read_bytes()
    inputs, outputs = tensor_names(schema.ModelT.InitFromPackedBuf(content))
    assert set(inputs) == {b"token_ids", b"segment_ids", b"padding_mask"}
    assert outputs == [b"probabilities"]
    model = schema.Model.GetRootAs(content)
    starts = [
        model.Buffers(i)._tab.Vector(model.Buffers(i)._tab.Offset(4))
        for i in range(model.BuffersLength())
        if model.Buffers(i).DataLength()
    ]
    assert starts
    # A multiple of 16, as schema.fbs says of Buffer.data (force_align: 16).
    assert {start % 16 for start in starts} == {0}


def test_int8_is_small_and_keeps_the_precision_of_every_embedding(tmp_path):
    # A row of 50 would set the step of the whole table to 50/127, twenty times its deviation.
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{n}" for n in range(995))]
    encoder = BertEncoder(BertConfig.preset("tiny", vocab_size=1000))
    table = encoder.embeddings.token.embeddings
    table.assign(np.concatenate([table[:-1], np.full((1, table.shape[1]), 50.0)]))
    model = BertClassifier(encoder, ["a", "b"], WordPieceTokenizer(Vocabulary(tokens)))
    path = tmp_path / "x.tflite"
    model.export(path, format="litert", precision="int8")
    assert path.stat().st_size < 0.35 * 4 * model.count_params()
    texts = ["w1 w2 w3", "w4 w5", "w6 " * 20]
    found = LiteRTPredictor(path).probabilities(texts)
    np.testing.assert_allclose(found, model.probabilities(texts), atol=2e-3)


RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("layer", "inputs", "parameters"),
    [
        (
            keras.layers.Dense(3, activation="gelu", bias_initializer="normal"),
            RANDOM.normal(size=(2, 5, 4)).astype("float32"),
            ["self", "inputs", "training"],
        ),
        (
            keras.layers.LayerNormalization(
                epsilon=0.1, gamma_initializer="normal", beta_initializer="normal"
            ),
            RANDOM.normal(size=(2, 5, 4)).astype("float32"),
            ["self", "inputs"],
        ),
        (keras.layers.Embedding(7, 4), RANDOM.integers(7, size=(2, 5)), ["self", "inputs"]),
    ],
    ids=lambda value: value.name if isinstance(value, keras.Layer) else "",
)
def test_keras_computes_what_the_forms_for_litert_take_the_place_of(layer, inputs, parameters):
    """If a new Keras fails here, revise `_forms_for_litert`, or lower `keras` in pyproject.toml."""
    wanted = layer(inputs)
    kind = type(layer)
    assert [*inspect.signature(kind.call).parameters] == parameters
    with litert._forms_for_litert("int8"):
        assert "_forms_for_litert" in kind.call.__qualname__
        np.testing.assert_allclose(layer(inputs), wanted, rtol=0, atol=1e-6)
    assert "_forms_for_litert" not in kind.call.__qualname__
    # A layer's call is looked up in its class.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "call", lambda layer, inputs, training=None: inputs + 1)
        np.testing.assert_array_equal(layer(inputs), inputs + 1)


def test_dense_layers_are_one_operation_each(two_layer_classifier, tmp_path):
    path = tmp_path / "x.tflite"
    two_layer_classifier().export(path, format="litert")
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes())
    codes = [code.builtinCode for code in model.operatorCodes]
    used = [codes[operator.opcodeIndex] for operator in model.subgraphs[0].operators]
    # Query, key, value, output and two of feed-forward in each of 2 blocks; pooler and head.
    assert used.count(schema.BuiltinOperator.FULLY_CONNECTED) == 14
    assert schema.BuiltinOperator.REDUCE_PROD not in used


def test_int8_weights_are_those_of_the_layers(tiny_classifier, tmp_path):
    # The converter would multiply the kernels behind a LayerNormalization by its gamma; it does not
    # quantize weights of fewer than 1024 values.
    model = tiny_classifier(changes={"hidden_dim": 32})
    layers = [*model._flatten_layers()]
    for layer in layers:
        if isinstance(layer, keras.layers.LayerNormalization):
            layer.gamma.assign(10.0 ** RANDOM.uniform(-1, 1, layer.gamma.shape))
    path = tmp_path / "x.tflite"
    model.export(path, format="litert", precision="int8")
    file = schema.ModelT.InitFromPackedBuf(path.read_bytes())
    is_dense = schema.BuiltinOperator.FULLY_CONNECTED
    codes = [code.builtinCode for code in file.operatorCodes]
    graph = file.subgraphs[0]
    weights = [
        graph.tensors[operator.inputs[1]]
        for operator in graph.operators
        if codes[operator.opcodeIndex] == is_dense
    ]
    found = [w.quantization.scale for w in weights if w.type == schema.TensorType.INT8]
    kernels = [layer.kernel for layer in layers if isinstance(layer, keras.layers.Dense)]
    wanted = [np.abs(keras.ops.convert_to_numpy(k)).max(axis=0) / 127 for k in kernels]
    assert len(found) >= 6
    for scales in found:
        assert any(len(scales) == len(w) and np.allclose(scales, w, rtol=1e-5) for w in wanted)


def test_a_static_length_below_the_model_s_is_compared_at_that_length(trained, tmp_path):
    # 30 tokens, of which the file reads 8 and the model all.
    text = "good " * 6 + "awful " * 22
    path = tmp_path / "x.tflite"
    with pytest.raises(ValueError, match="static_length must be between 3 and .* 32"):
        trained.export(path, format="litert", static_length=33)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ClassifierSignature, "probes", [text])
        trained.export(path, format="litert", static_length=8)
    found = LiteRTPredictor(path).probabilities([text])
    np.testing.assert_allclose(found, trained.probabilities(["good " * 6]), atol=1e-5)
    assert np.abs(found - trained.probabilities([text])).max() > 1e-3


def test_labels_are_lines(tiny_classifier, tmp_path):
    model = tiny_classifier(labels=("good", "very\nbad"))
    with pytest.raises(ValueError, match=r"one label a line, and 'very\\nbad' is not"):
        model.export(tmp_path / "x.tflite", format="litert")


def test_a_tensorflow_operation_in_a_litert_file(tmp_path):
    graph = LiteGraph(
        lambda text: {"hash": tf.strings.to_hash_bucket_fast(text, 9)},
        [tf.TensorSpec((None,), tf.string, name="text")],
        files={},
        expected=None,
    )
    path = tmp_path / "flex.tflite"
    path.write_bytes(litert.to_bytes(litert.convert(graph, "float32")))
    with pytest.raises(RuntimeError, match="needs operations that LiteRT lacks: StringToHashBuck"):
        litert.check_operations(path)


def test_a_variable_handle_in_a_litert_file(tmp_path):
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
