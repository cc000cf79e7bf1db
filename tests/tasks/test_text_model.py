"""What people bring to `fit`, `evaluate` and `predict`: taken by position, the same everywhere."""

import keras
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.stats
import tensorflow as tf

from keras_bert_scratch.tasks import text_model
from keras_bert_scratch.text.graphs.tokenizer_graph import tokenizer_graph

LABELS = ["negative", "positive"]
TEXTS = ["a good film", "a bad bad film", "great", "an awful movie", "the film", "really bad"]
NAMES = ["positive", "negative", "positive", "negative", "positive", "negative"]
IDS = [1, 0, 1, 0, 1, 0]
# The loss of a step is then that of `evaluate`.
CALM = {"dropout": 0.0, "attention_dropout": 0.0}


@pytest.fixture(scope="module")
def model(tiny_classifier):
    """A classifier that does not learn, so that all tests may use it."""
    model = tiny_classifier(changes=CALM)
    model.compile(keras.optimizers.SGD(0.0), metrics=["accuracy"])
    return model


def _lists(tensor):
    return tensor.to_list() if isinstance(tensor, tf.RaggedTensor) else tensor.numpy().tolist()


def examples_of(model, *args):
    examples = model.examples(*args)
    return (
        examples.texts,
        examples.pairs,
        np.asarray(examples.targets).tolist(),
        np.asarray(examples.sample_weight).tolist(),
    )


@pytest.mark.parametrize(
    ("texts", "column"),
    [
        (
            lambda x: pd.Series(x, index=range(100, 106)),
            lambda y: pd.Series(y, index=range(6)[::-1]),
        ),
        (lambda x: pd.DataFrame({"text": x}).iloc[::1], lambda y: pd.DataFrame({"y": y})),
        (lambda x: pl.Series(x), lambda y: pl.Series(y)),
        (lambda x: pa.chunked_array([x[:2], x[2:]]), lambda y: pa.array(y)),
        (lambda x: {"text": x}, tuple),
        (lambda x: np.array(x).reshape(-1, 1), lambda y: np.array(y).reshape(-1, 1)),
        (tf.constant, tf.constant),
    ],
)
def test_columns_go_by_position(model, texts, column):
    expected = examples_of(model, TEXTS, NAMES, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    assert expected == (TEXTS, None, IDS, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    weights = column([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    assert examples_of(model, texts(TEXTS), column(NAMES), weights) == expected
    assert examples_of(model, texts(TEXTS), column(IDS), weights) == expected


@pytest.mark.parametrize("table", [pd.DataFrame, pl.DataFrame, pa.table, dict])
def test_tables_of_two_columns_are_pairs(model, table):
    pairs = table({"text": TEXTS, "pair": TEXTS[::-1]})
    assert examples_of(model, pairs, NAMES) == (TEXTS, TEXTS[::-1], IDS, None)


def test_validation_split_of_a_filtered_frame(model):
    frame = pd.DataFrame({"text": TEXTS * 2, "label": IDS * 2, "weight": range(12)}).iloc[4:]
    history = model.fit(
        frame.text, frame.label, sample_weight=frame.weight, validation_split=0.25, verbose=0
    )
    assert "val_loss" in history.history


@pytest.mark.parametrize(
    ("x", "y", "weight", "error", "message"),
    [
        (TEXTS, None, None, ValueError, "learns from labels: pass one for each text as y"),
        (TEXTS, NAMES, [1.0] * 5, ValueError, "There are 6 examples but 5 sample_weight"),
        (TEXTS, NAMES, [np.nan] * 6, ValueError, "finite numbers from 0 up, received nan"),
        ({"a": TEXTS, "b": TEXTS}, NAMES, None, TypeError, "received the columns 'a', 'b': select"),
        ({"x", "y"}, NAMES, None, TypeError, "Expected a column of values"),
        ([TEXTS, TEXTS], NAMES, None, TypeError, r"Texts are strings, received \['a good film'"),
    ],
)
def test_what_is_not_understood_is_refused(model, x, y, weight, error, message):
    if isinstance(x, set):
        with pytest.raises(error, match=message):
            model.examples(x, y)
        return
    with pytest.raises(error, match=message):
        model.fit(x, y, sample_weight=weight, verbose=0)


class Batches(keras.utils.PyDataset):
    """Batches of texts and names, two at a time."""

    def __init__(self, form=list):
        super().__init__()
        self.form = form

    def __len__(self):
        return 3

    def __getitem__(self, index):
        rows = slice(2 * index, 2 * index + 2)
        return self.form(TEXTS[rows]), NAMES[rows]


def unknown_shapes(texts, labels):
    return tf.data.Dataset.from_generator(
        lambda: zip(tf.split(texts, 3), tf.split(labels, 3), strict=True),
        output_signature=(tf.TensorSpec(None, tf.string), tf.TensorSpec(None, labels.dtype)),
    )


DATASETS = {
    "names": lambda: tf.data.Dataset.from_tensor_slices((TEXTS, NAMES)).batch(2),
    "ids": lambda: tf.data.Dataset.from_tensor_slices((TEXTS, IDS)).batch(2),
    "dict": lambda: tf.data.Dataset.from_tensor_slices(({"title": TEXTS}, IDS)).batch(2),
    "columns": lambda: tf.data.Dataset.from_tensor_slices(
        ([[text] for text in TEXTS], [[name] for name in NAMES])
    ).batch(2),
    "unknown shapes": lambda: unknown_shapes(tf.constant(TEXTS), tf.constant(NAMES)),
    "one-hot": lambda: tf.data.Dataset.from_tensor_slices((TEXTS, np.eye(2)[IDS])).batch(2),
    "PyDataset": Batches,
    "PyDataset of series": lambda: Batches(lambda x: pd.Series(x, index=[8, 9])),
    "generator": lambda: ((TEXTS[i : i + 2], NAMES[i : i + 2]) for i in (0, 2, 4)),
}


@pytest.mark.parametrize("make", DATASETS.values(), ids=DATASETS)
def test_every_dataset_gives_the_same(model, make):
    expected = model.evaluate(TEXTS, NAMES, verbose=0)
    assert model.evaluate(make(), verbose=0) == pytest.approx(expected, rel=1e-5)
    history = model.fit(make(), verbose=0, validation_data=make()).history
    assert history["val_loss"][0] == pytest.approx(expected[0], rel=1e-5)
    np.testing.assert_allclose(
        model.predict(make(), verbose=0), model.predict(TEXTS, verbose=0), atol=1e-6
    )


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (({"a": TEXTS, "b": TEXTS}, IDS), "a dict of one column or of 'text' and 'pair'; received"),
        (({"text": TEXTS, "length": IDS}, IDS), "a dict of one column or of 'text' and 'pair'"),
        (((TEXTS, TEXTS, TEXTS), IDS), "a tuple of two for pairs"),
        (([[t, t] for t in TEXTS], IDS), "must be batched"),
    ],
)
def test_datasets_that_are_not_understood(model, dataset, message):
    dataset = tf.data.Dataset.from_tensor_slices(dataset).batch(2)
    with pytest.raises(ValueError, match=message):
        model.evaluate(dataset, verbose=0)


def test_an_unknown_name_in_a_dataset(model):
    dataset = tf.data.Dataset.from_tensor_slices((TEXTS, ["neutral"] * 6)).batch(2)
    with pytest.raises(tf.errors.OpError, match="Unknown label b?'neutral' at position 0"):
        model.evaluate(dataset, verbose=0)


def test_pairs_in_a_dataset(model):
    pairs = {"pair": TEXTS[::-1], "text": TEXTS}
    dataset = tf.data.Dataset.from_tensor_slices((pairs, NAMES)).batch(6)
    expected = model.evaluate((TEXTS, TEXTS[::-1]), NAMES, verbose=0)
    assert model.evaluate(dataset, verbose=0) == pytest.approx(expected, rel=1e-5)


def test_single_batches_of_texts(model):
    expected = model.evaluate(TEXTS, NAMES, verbose=0)
    for y in (NAMES, IDS, np.eye(2)[IDS]):
        assert model.test_on_batch(np.array(TEXTS), y) == pytest.approx(expected, rel=1e-5)
    assert model.train_on_batch(TEXTS, NAMES)[0] == pytest.approx(expected[0], rel=1e-5)
    np.testing.assert_allclose(
        model.predict_on_batch(pd.Series(TEXTS)), model.predict(TEXTS, verbose=0), atol=1e-6
    )
    heavy = model.train_on_batch(TEXTS, NAMES, class_weight={"negative": 2.0, "positive": 2.0})
    assert heavy[0] == pytest.approx(2 * expected[0], rel=1e-5)


def test_names_beside_ready_inputs(model):
    inputs = tokenizer_graph(model.tokenizer, "fast")(tf.constant(TEXTS), sequence_length=16)
    expected = model.evaluate(TEXTS, NAMES, verbose=0)
    assert model.evaluate(inputs, NAMES, verbose=0) == pytest.approx(expected, rel=1e-5)
    dataset = tf.data.Dataset.from_tensor_slices((inputs, NAMES)).batch(2)
    for data, validation in (((inputs, NAMES), (inputs, NAMES)), ((dataset,), dataset)):
        history = model.fit(*data, verbose=0, validation_data=validation).history
        assert history["val_loss"][0] == pytest.approx(expected[0], rel=1e-5)
    logits = model.predict(TEXTS, verbose=0)
    np.testing.assert_allclose(model.predict(inputs, verbose=0), logits, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "columns"),
    [
        ({}, [TEXTS]),
        ({}, [TEXTS, TEXTS[::-1]]),
        ({"truncation": "tail"}, [TEXTS]),
        ({"truncation": "windows", "window_stride": 2}, [TEXTS]),
    ],
)
def test_few_texts_become_the_tokens_of_many(tiny_classifier, monkeypatch, settings, columns):
    model = tiny_classifier(sequence_length=7, **settings)
    columns = [[*column, "", "caf\u00e9, \U0001f600 " * 9] for column in columns]
    few = model.tokenize(*columns)
    monkeypatch.setattr(text_model, "_FEW_TEXTS", 0)
    for found, wanted in zip(few, model.tokenize(*columns), strict=True):
        assert found.dtype == wanted.dtype
        assert _lists(found) == _lists(wanted)


def test_lone_surrogates_are_deleted_from_few_texts_and_many(model, monkeypatch):
    wanted = model.predict(["a good film"], verbose=0)
    for few in (text_model._FEW_TEXTS, 0):
        monkeypatch.setattr(text_model, "_FEW_TEXTS", few)
        found = model.predict(["a good \ud800film", "a \udfff good film"], verbose=0)
        np.testing.assert_allclose(found, np.repeat(wanted, 2, axis=0), atol=1e-6)


def test_no_texts_no_answers(model):
    for none in ([], np.array([], str), pd.Series([], dtype=str)):
        assert model.predict(none, verbose=0).shape == (0, 2)
        assert model.probabilities(none).shape == (0, 2)
        assert model.classify(none) == []
    assert model.predict(([], []), verbose=0).shape == (0, 2)
    for method in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match="There are no texts: give at least one"):
            method([], [])


def test_steps_are_for_datasets(model):
    for method in (model.predict, lambda x, steps: model.evaluate(x, IDS, steps=steps)):
        with pytest.raises(ValueError, match="steps cannot act on examples held in memory"):
            method(TEXTS, steps=1)


def test_classes_named_by_numbers(tiny_classifier):
    """Stars 1 to 3: a number is the star that it says, in memory, in a dataset and as a weight."""
    model = tiny_classifier(labels=[1, 2, 3], changes=CALM)
    assert model.labels == ["1", "2", "3"]
    model.compile(keras.optimizers.SGD(0.0), metrics=[])
    stars = [3, 1, 2, 1, 3, 1]
    expected = model.evaluate(TEXTS, [str(star) for star in stars], verbose=0)
    for y in (stars, np.array(stars, float), pd.Series(stars, index=range(6, 12))):
        assert model.evaluate(TEXTS, y, verbose=0) == expected
    dataset = tf.data.Dataset.from_tensor_slices((TEXTS, stars)).batch(6)
    assert model.evaluate(dataset, verbose=0) == pytest.approx(expected, rel=1e-5)
    plain, weighted = (
        model.fit(TEXTS, stars, verbose=0, class_weight=weights).history["loss"][0]
        for weights in (None, {1: 1.0, 2: 1.0, 3: 0.0})
    )
    alone = model.evaluate([TEXTS[0], TEXTS[4]], [3, 3], verbose=0)
    assert weighted == pytest.approx(plain - alone * 2 / 6, rel=1e-4)


class TestTargets:
    def compiled(self, tiny_classifier, loss):
        model = tiny_classifier()
        model.compile(keras.optimizers.SGD(0.0), loss=loss)
        return model

    @pytest.mark.parametrize(
        "loss",
        ["categorical_crossentropy", keras.losses.CategoricalCrossentropy(from_logits=True)],
        ids=["by name", "as object"],
    )
    def test_a_loss_on_one_hot_rows(self, tiny_classifier, loss):
        model = self.compiled(tiny_classifier, loss)
        rows = np.eye(2)[IDS]
        figures = [
            model.evaluate(TEXTS, y, verbose=0, return_dict=True) for y in (rows, IDS, NAMES)
        ]
        assert figures[0] == figures[1] == figures[2]
        assert figures[0].keys() == {"loss", "accuracy", "precision", "recall", "f1"}
        plain = self.compiled(tiny_classifier, "auto").evaluate(
            TEXTS, rows, verbose=0, return_dict=True
        )
        for name in ("accuracy", "precision", "recall", "f1"):
            assert figures[0][name] == pytest.approx(plain[name])
        model.fit(TEXTS, NAMES, validation_split=0.5, class_weight={"positive": 2.0}, verbose=0)

    @pytest.mark.parametrize(
        ("loss", "shape"),
        [
            ("kl_divergence", (6, 2)),
            (keras.losses.categorical_focal_crossentropy, (6, 2)),
            ("sparse_categorical_crossentropy", (6,)),
            (keras.losses.KLDivergence(), (6, 2)),
        ],
    )
    def test_names_become_what_the_loss_compares_with(self, tiny_classifier, loss, shape):
        model = self.compiled(tiny_classifier, loss)
        assert model.encode_targets(NAMES).shape == shape
        assert model.encode_targets(np.eye(2)[IDS]).shape == shape

    def test_soft_targets(self, tiny_classifier):
        model = self.compiled(
            tiny_classifier, keras.losses.CategoricalCrossentropy(from_logits=True)
        )
        soft = 0.8 * np.eye(2)[IDS] + 0.1
        logits = model.predict(TEXTS, verbose=0)
        expected = -np.mean(
            np.sum(soft * np.log(np.exp(logits) / np.exp(logits).sum(1, keepdims=True)), 1)
        )
        assert model.evaluate(TEXTS, soft, verbose=0)[0] == pytest.approx(expected, rel=1e-5)
        dataset = tf.data.Dataset.from_tensor_slices((TEXTS, soft)).batch(6)
        assert model.evaluate(dataset, verbose=0)[0] == pytest.approx(expected, rel=1e-5)
        model.fit(TEXTS, soft, verbose=0)
        with pytest.raises(
            ValueError, match="Expected one class for each example, received the pr"
        ):
            model.fit(TEXTS, soft, class_weight={0: 2.0}, verbose=0)

    def test_soft_targets_and_a_loss_on_ids(self, model):
        with pytest.raises(
            ValueError, match=r"compile with loss=keras.losses.CategoricalCrossentr"
        ):
            model.fit(TEXTS, 0.8 * np.eye(2)[IDS] + 0.1, verbose=0)


def test_class_weight_of_several_labels_is_refused(tiny_classifier):
    model = tiny_classifier(labels=["a", "b"], multi_label=True)
    model.compile(keras.optimizers.SGD(0.0))
    with pytest.raises(
        ValueError, match="this model learns several labels a text: pass one weight"
    ):
        model.fit(TEXTS, [["a"], ["b"]] * 3, class_weight={0: 1.0}, verbose=0)


def test_several_labels_in_a_dataset(tiny_classifier):
    model = tiny_classifier(labels=["a", "b", "c"], multi_label=True)
    model.compile(keras.optimizers.SGD(0.0))
    sets = [["a"], ["b", "c"], [], ["c"], ["a", "b", "c"], []]
    expected = model.evaluate(TEXTS, sets, verbose=0)
    rows = [[1, 0, 0], [0, 1, 1], [0, 0, 0], [0, 0, 1], [1, 1, 1], [0, 0, 0]]
    for y in (tf.ragged.constant(sets, dtype=tf.string, ragged_rank=1), rows):
        dataset = tf.data.Dataset.from_tensor_slices((TEXTS, y)).batch(6)
        assert model.evaluate(dataset, verbose=0) == pytest.approx(expected, rel=1e-5)


def test_a_yes_or_no(tiny_classifier):
    model = tiny_classifier(labels=["spam"], multi_label=True)
    model.compile(keras.optimizers.Adam(3e-3))
    model.fit(TEXTS, [[1], [0]] * 3, epochs=2, verbose=0)
    assert model.classify(TEXTS)[0].keys() == {"spam"}


SCORES = [4.5, 1.0, 5.0, 0.5, 3.0, 2.0]


@pytest.fixture(scope="module")
def fitted(tiny_classifier):
    model = tiny_classifier(labels=["stars"])
    model.compile(keras.optimizers.Adam(3e-3))
    model.fit(TEXTS, SCORES, epochs=3, validation_split=0.5, verbose=0)
    return model


class TestScores:
    def test_figures_are_those_of_others(self, fitted):
        scores = fitted.predict(TEXTS, verbose=0)[:, 0]
        figures = fitted.evaluate(TEXTS, SCORES, batch_size=2, verbose=0, return_dict=True)
        assert figures["loss"] == pytest.approx(np.mean((scores - SCORES) ** 2), rel=1e-5)
        assert figures["mae"] == pytest.approx(np.mean(np.abs(scores - SCORES)), rel=1e-5)
        right = scipy.stats.pearsonr(scores, SCORES).statistic
        assert figures["pearson"] == pytest.approx(right, abs=1e-5)

    def test_answers(self, fitted):
        scores = fitted.predict(TEXTS, verbose=0)
        np.testing.assert_array_equal(fitted.probabilities(TEXTS), scores)
        assert fitted.classify(TEXTS[:1]) == [
            {"stars": pytest.approx(float(scores[0, 0]), rel=1e-5)}
        ]

    def test_refusals(self, fitted):
        with pytest.raises(
            ValueError, match="learns finite numbers, received 'good' at position 0"
        ):
            fitted.fit(TEXTS, ["good"] * 6, verbose=0)
        with pytest.raises(ValueError, match="All 6 training examples have the score 2"):
            fitted.fit(TEXTS, [2.0] * 6, verbose=0)
        with pytest.raises(ValueError, match="this model learns a score"):
            fitted.fit(TEXTS, SCORES, class_weight={0: 1.0}, verbose=0)
        with pytest.raises(ValueError, match="no probabilities to calibrate"):
            fitted.calibrate(TEXTS, SCORES)
