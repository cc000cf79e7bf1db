"""Long texts from `fit` to the exports, against a classifier that reads the windows one by one."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_bert_scratch import BertClassifier
from keras_bert_scratch.layers.windows import aggregate_windows
from keras_bert_scratch.serving.fresh_process import PROBE_TEXTS
from keras_bert_scratch.serving.readers.classifier import load_predictor

WORDS = "a the very really good great bad awful film movie".split()
# Ten words; with sequence_length=6 four at a time, by default two further each time.
LONG = " ".join(WORDS)
WINDOWS = [" ".join(WORDS[start : start + 4]) for start in (0, 2, 4, 6)]
READ = {
    "head": "a the very really",
    "tail": "bad awful film movie",
    "head_tail": "a awful film movie",
}
TEXTS = [LONG, "good film", "", "bad " * 5, LONG + " " + LONG, *PROBE_TEXTS[:-1]]


@pytest.fixture(scope="module")
def plain(tiny_classifier):
    return tiny_classifier()


def windowed(plain: BertClassifier, **kwargs) -> BertClassifier:
    """Returns the same weights with sliding windows."""
    settings = {"sequence_length": 6, "truncation": "windows", **kwargs}
    model = BertClassifier(plain.encoder, plain.labels, plain.tokenizer, **settings)
    model.head.set_weights(plain.head.get_weights())
    return model


def logits(model: BertClassifier, texts: list[str]) -> np.ndarray:
    return model.predict(texts, verbose=0)


def test_aggregation_by_hand():
    values = np.array([[1, 0], [4, -2], [2, -4], [6, 9]], "float32")
    num_windows = np.array([1, 3], "int32")
    np.testing.assert_array_equal(aggregate_windows(values, num_windows, "mean"), [[1, 0], [4, 1]])
    np.testing.assert_array_equal(aggregate_windows(values, num_windows, "max"), [[1, 0], [6, 9]])


class TestPredict:
    @pytest.mark.parametrize("truncation", ["head", "tail", "head_tail"])
    def test_what_is_read(self, plain, truncation):
        model = windowed(plain, truncation=truncation)
        expected = logits(plain, [READ[truncation], "good film"])
        np.testing.assert_allclose(logits(model, [LONG, "good film"]), expected, atol=1e-6)

    @pytest.mark.parametrize("aggregation", ["mean", "max"])
    def test_windows(self, plain, aggregation):
        model = windowed(plain, aggregation=aggregation)
        of_windows = logits(plain, WINDOWS)
        # The windows must differ for the test to tell.
        assert np.ptp(of_windows, axis=0).min() > 1e-3
        expected = getattr(np, aggregation)(of_windows, axis=0)
        np.testing.assert_allclose(logits(model, [LONG])[0], expected, atol=1e-6)

    def test_stride(self, plain):
        windows = ["a the very really", "good great bad awful", "film movie"]
        expected = logits(plain, windows).mean(axis=0)
        found = logits(windowed(plain, window_stride=4), [LONG])[0]
        np.testing.assert_allclose(found, expected, atol=1e-6)

    @pytest.mark.parametrize("batch_size", [3, 100])
    def test_many_texts_in_their_order(self, plain, batch_size):
        model = windowed(plain)
        together = model.predict(TEXTS, batch_size=batch_size, verbose=0)
        alone = np.concatenate([logits(model, [text]) for text in TEXTS])
        np.testing.assert_allclose(together, alone, atol=1e-5)

    def test_dataset_of_strings(self, plain):
        model = windowed(plain)
        dataset = tf.data.Dataset.from_tensor_slices(TEXTS[:3]).batch(2)
        np.testing.assert_allclose(
            model.predict(dataset, verbose=0), logits(model, TEXTS[:3]), atol=1e-6
        )

    def test_no_batch_has_more_windows_than_its_size(self, plain):
        batches = windowed(plain).batches([LONG, *["good"] * 5, LONG, f"{LONG} " * 3], batch_size=8)
        inputs = [batch[0] for batch in batches.dataset()]
        assert [batch["num_windows"].numpy().tolist() for batch in inputs] == [
            [1, 1, 1, 1, 1], [4, 4], [14],
        ]  # fmt: skip
        assert [len(batch["token_ids"]) for batch in inputs] == [5, 8, 14]
        assert len(batches) == 3


class TestEvaluate:
    def test_is_of_the_texts(self, plain):
        model = windowed(plain)
        model.compile("sgd")
        texts, labels = [LONG, "bad film", "good"], [0, 1, 0]
        losses = -np.log(model.probabilities(texts)[np.arange(3), labels])
        correct = logits(model, texts).argmax(axis=1) == labels
        for batch_size in (1, 5, 32):
            figures = model.evaluate(
                texts, labels, batch_size=batch_size, verbose=0, return_dict=True
            )
            # The loss is the mean over texts, however many windows each has.
            assert figures["loss"] == pytest.approx(losses.mean(), rel=1e-5)
            assert figures["accuracy"] == pytest.approx(correct.mean())
        weights = np.array([3.0, 0.0, 0.0])
        weighted = model.evaluate(texts, labels, sample_weight=weights, verbose=0, return_dict=True)
        assert weighted["loss"] == pytest.approx(3 * losses[0] / 3, rel=1e-5)
        dataset = tf.data.Dataset.from_tensor_slices((texts, labels)).batch(2)
        by_dataset = model.evaluate(dataset, verbose=0, return_dict=True)
        assert by_dataset["loss"] == pytest.approx(losses.mean(), rel=1e-5)

    def test_validation_in_fit_is_of_the_texts(self, plain):
        model = windowed(plain)
        model.compile(keras.optimizers.SGD(0.0))
        history = model.fit(
            ["good", "bad"], [0, 1], validation_data=([LONG, "bad"], [0, 1]), verbose=0
        ).history
        expected = model.evaluate([LONG, "bad"], [0, 1], verbose=0, return_dict=True)
        assert history["val_loss"][0] == pytest.approx(expected["loss"], rel=1e-6)


class TestFit:
    def test_each_window_is_an_example_with_its_texts_label_and_weight(self, plain):
        batches = windowed(plain).batches(
            [LONG, "good film"], [1, 0], [0.5, 2.0], seed=None, training=True
        )
        ((inputs, labels, weights),) = batches.dataset()
        assert "num_windows" not in inputs
        # Sorted by length: the two words first.
        assert labels.numpy().tolist() == [0, 1, 1, 1, 1]
        assert weights.numpy().tolist() == [2.0, 0.5, 0.5, 0.5, 0.5]
        rows = [row[row > 4].tolist() for row in inputs["token_ids"].numpy()]
        ids = {word: plain.tokenizer.vocabulary.token_to_id(word) for word in WORDS}
        expected = ["good film", *WINDOWS]
        assert rows == [[ids[word] for word in text.split()] for text in expected]

    @pytest.mark.parametrize("form", ["lists", "dataset"])
    def test_loss_is_that_of_the_windows(self, tiny_classifier, form):
        plain = tiny_classifier()
        model = windowed(plain)
        losses = []
        expanded = ([*WINDOWS, "bad film"], [1, 1, 1, 1, 0])
        for classifier, x, y in ((model, [LONG, "bad film"], [1, 0]), (plain, *expanded)):
            classifier.compile(keras.optimizers.SGD(0.0))
            # No dropout: both see their examples in orders of their own.
            for layer in classifier._flatten_layers():
                if isinstance(layer, keras.layers.Dropout):
                    layer.rate = 0.0
            data = (x, y)
            if form == "dataset":
                data = (tf.data.Dataset.from_tensor_slices((x, y)).batch(2),)
            losses.append(classifier.fit(*data, batch_size=5, verbose=0).history["loss"][0])
        if form == "lists":
            assert losses[0] == pytest.approx(losses[1], rel=1e-5)
        else:
            # Keras weighs batches by their rows: all five windows were one batch.
            assert losses[0] == pytest.approx(
                plain.evaluate(*expanded, batch_size=5, verbose=0, return_dict=True)["loss"],
                rel=1e-5,
            )

    def test_learns_from_what_stands_at_the_end(self, tiny_classifier):
        texts = [f"{'a the film ' * 5}{word} film" for word in ("good", "awful", "great", "bad")]
        labels = ["positive", "negative"] * 2
        model = windowed(tiny_classifier(), window_stride=4, aggregation="max")
        model.compile(keras.optimizers.Adam(3e-3))
        model.fit(texts * 4, labels * 4, epochs=16, batch_size=8, verbose=0)
        assert model.evaluate(texts, labels, verbose=0, return_dict=True)["accuracy"] == 1.0

    def test_multi_label(self, tiny_classifier):
        model = windowed(tiny_classifier(labels=["x", "y", "z"]), multi_label=True)
        model.compile("adam")
        model.fit([LONG, "good"], [["x"], ["y", "z"]], verbose=0)
        assert model.probabilities([LONG, "good"]).shape == (2, 3)


def test_a_saved_stride_belongs_to_its_truncation(plain, tmp_path):
    model = windowed(plain, window_stride=3, aggregation="max")
    model.save_pretrained(tmp_path / "model")
    other = BertClassifier.from_pretrained(tmp_path / "model", truncation="tail")
    assert (other.truncation, other.window_stride, other.aggregation) == ("tail", None, "mean")
    other = BertClassifier.from_pretrained(tmp_path / "model", window_stride=2)
    assert (other.truncation, other.window_stride, other.aggregation) == ("windows", 2, "max")


class TestExports:
    @pytest.mark.parametrize(
        ("format", "truncation", "aggregation"),
        [
            ("tf_saved_model", "tail", "mean"),
            ("tf_saved_model", "windows", "max"),
            ("litert", "head_tail", "mean"),
            ("litert", "windows", "mean"),
            ("litert", "windows", "max"),
        ],
    )
    def test_agree_with_the_model(self, plain, tmp_path, format, truncation, aggregation):
        model = windowed(plain, truncation=truncation, aggregation=aggregation)
        path = tmp_path / ("model.tflite" if format == "litert" else "model")
        model.export(path, format=format)
        predictor = load_predictor(path)
        expected = model.probabilities(TEXTS)
        np.testing.assert_allclose(predictor.probabilities(TEXTS), expected, atol=1e-5)
        with pytest.raises(ValueError, match="single texts"):
            predictor.probabilities((TEXTS, TEXTS))

    def test_static_length_has_one_row(self, plain, tmp_path):
        path = tmp_path / "model.tflite"
        with pytest.raises(
            ValueError, match="static_length=6 .* one window .* truncation='windows'"
        ):
            windowed(plain).export(path, format="litert", static_length=6)
        tail = windowed(plain, truncation="tail")
        tail.export(path, format="litert", static_length=6)
        np.testing.assert_allclose(
            load_predictor(path).probabilities(TEXTS), tail.probabilities(TEXTS), atol=1e-5
        )

    @pytest.mark.parametrize("format", ["mediapipe", "onnx"])
    def test_formats_that_read_heads_only(self, plain, tmp_path, format):
        with pytest.raises(ValueError, match=f"'{format}' reads the heads .* truncation='tail'"):
            windowed(plain, truncation="tail").export(tmp_path / "model.onnx", format=format)


class TestRefusals:
    @pytest.mark.parametrize("truncation", ["tail", "head_tail", "windows"])
    def test_pairs(self, plain, truncation):
        with pytest.raises(ValueError, match=f"truncation='{truncation}' is for single texts, and"):
            logits(windowed(plain, truncation=truncation), ([LONG], [LONG]))

    def test_settings_that_do_not_fit(self, plain):
        with pytest.raises(ValueError, match="window_stride=3 is for windows, .*'head': use trunc"):
            windowed(plain, truncation="head", window_stride=3)
        with pytest.raises(ValueError, match="window_stride must be from 1 to 4, .* received 5"):
            windowed(plain, window_stride=5)
        with pytest.raises(ValueError, match="truncation must be one of .* received 'middle'"):
            windowed(plain, truncation="middle")
        with pytest.raises(ValueError, match="aggregation must be 'mean' or 'max', received 'sum'"):
            windowed(plain, aggregation="sum")
