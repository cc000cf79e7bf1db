import re

import keras
import numpy as np
import pytest
import sklearn.metrics

from keras_bert_scratch.evaluation.metrics import MacroF1, MacroPrecision, MacroRecall

METRICS = {
    MacroPrecision: sklearn.metrics.precision_score,
    MacroRecall: sklearn.metrics.recall_score,
    MacroF1: sklearn.metrics.f1_score,
}
all_metrics = pytest.mark.parametrize("metric_class", METRICS)


def reference(metric_class, true_ids, scores, sample_weight=None):
    num_classes = scores.shape[1]
    return METRICS[metric_class](
        true_ids,
        scores.argmax(axis=1),
        labels=range(num_classes),
        average="macro",
        zero_division=0,
        sample_weight=sample_weight,
    )


@pytest.fixture
def random_batch():
    generator = np.random.default_rng(0)
    true_ids = generator.integers(0, 4, 200).astype("int32")
    return true_ids, generator.normal(size=(200, 4)).astype("float32")


@pytest.mark.parametrize(
    "y_true",
    [[0, 0, 0, 1], [[0.6, 0.4, 0.0], [0.5, 0.2, 0.3], [0.9, 0.0, 0.1], [0.1, 0.8, 0.1]]],
    ids=["ids", "probabilities"],
)
@pytest.mark.parametrize(
    ("metric_class", "expected"),
    # Confusion matrix, rows true: [[2, 1, 0], [0, 1, 0], [0, 0, 0]]; class 2 counts as 0.
    [
        (MacroPrecision, (2 / 2 + 1 / 2 + 0) / 3),
        (MacroRecall, (2 / 3 + 1 / 1 + 0) / 3),
        (MacroF1, (4 / 5 + 2 / 3 + 0) / 3),
    ],
)
def test_by_hand(metric_class, expected, y_true):
    metric = metric_class(num_classes=3)
    metric.update_state(y_true, np.eye(3)[[0, 0, 1, 1]])
    assert float(metric.result()) == pytest.approx(expected, abs=1e-6)


@all_metrics
def test_against_scikit_learn_over_batches(metric_class, random_batch):
    true_ids, scores = random_batch
    metric = metric_class(num_classes=4)
    for start in range(0, 200, 70):
        metric.update_state(true_ids[start : start + 70], scores[start : start + 70])
    expected = reference(metric_class, true_ids, scores)
    assert float(metric.result()) == pytest.approx(expected, abs=1e-6)


@all_metrics
def test_sample_weight(metric_class, random_batch):
    true_ids, scores = random_batch
    weight = np.random.default_rng(1).random(200).astype("float32")
    expected = reference(metric_class, true_ids, scores, weight)
    for shape in ((200,), (200, 1)):
        metric = metric_class(num_classes=4)
        metric.update_state(true_ids, scores, sample_weight=weight.reshape(shape))
        assert float(metric.result()) == pytest.approx(expected, abs=1e-5)


@all_metrics
def test_probabilities_and_column_labels_give_the_same(metric_class, random_batch):
    true_ids, scores = random_batch
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    values = []
    for true, given in ((true_ids, scores), (true_ids[:, None], probabilities)):
        metric = metric_class(num_classes=4)
        metric.update_state(true, given)
        values.append(float(metric.result()))
    assert values[0] == values[1] > 0


@all_metrics
def test_nothing_seen_and_reset(metric_class):
    metric = metric_class(num_classes=2)
    assert float(metric.result()) == 0
    metric.update_state([0, 1], np.eye(2))
    assert float(metric.result()) == 1
    metric.reset_state()
    assert float(metric.result()) == 0


@all_metrics
def test_config_round_trip(metric_class):
    metric = metric_class(num_classes=3, name="score")
    config = keras.saving.serialize_keras_object(metric)
    assert config["registered_name"] == f"keras_bert_scratch>{metric_class.__name__}"
    copy = keras.saving.deserialize_keras_object(config)
    assert type(copy) is metric_class
    assert copy.get_config() == metric.get_config()
    assert (copy.num_classes, copy.name) == (3, "score")


def test_inside_fit_evaluate_and_early_stopping():
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(60, 5)).astype("float32")
    y = x[:, :3].argmax(axis=1)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    model.compile(
        optimizer="adam",
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[metric_class(3, name=metric_class.__name__) for metric_class in METRICS],
    )
    # EarlyStopping must find out by itself that more is better.
    stop = keras.callbacks.EarlyStopping("val_MacroF1", patience=3)
    history = model.fit(
        x, y, batch_size=25, epochs=2, validation_data=(x, y), callbacks=[stop], verbose=0
    )
    logits = model.predict(x, batch_size=25, verbose=0)
    results = model.evaluate(x, y, batch_size=25, verbose=0, return_dict=True)
    for metric_class in METRICS:
        expected = reference(metric_class, y, logits)
        assert results[metric_class.__name__] == pytest.approx(expected, abs=1e-6)
        last = history.history[f"val_{metric_class.__name__}"][-1]
        assert last == pytest.approx(expected, abs=1e-6)
    assert stop.monitor_op(2, 1)


def test_keras_metrics_suffice_for_several_labels_an_example():
    generator = np.random.default_rng(0)
    true = generator.integers(0, 2, (300, 4)).astype("float32")
    logits = generator.normal(size=(300, 4)).astype("float32")
    predicted = logits > 0
    expected = {
        keras.metrics.Precision(thresholds=0.0): sklearn.metrics.precision_score(
            true, predicted, average="micro"
        ),
        keras.metrics.Recall(thresholds=0.0): sklearn.metrics.recall_score(
            true, predicted, average="micro"
        ),
        keras.metrics.F1Score("macro", threshold=1e-7): sklearn.metrics.f1_score(
            true, predicted, average="macro"
        ),
        keras.metrics.BinaryAccuracy(threshold=0.0): (true == predicted).mean(),
    }
    for metric, value in expected.items():
        metric.update_state(true, logits)
        assert float(metric.result()) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("num_classes", [1, 0, 2.0, "3"])
def test_refuses_a_number_of_classes(num_classes):
    message = f"num_classes must be an integer of at least 2, received {num_classes!r}."
    with pytest.raises(ValueError, match=re.escape(message)):
        MacroF1(num_classes)


@pytest.mark.parametrize("shape", [(4, 2), (4,)])
def test_refuses_scores_of_another_shape(shape):
    message = (
        f"y_pred must have shape (batch, num_classes) = (batch, 3), received {shape}: "
        "give the metric the number of classes of the model."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        MacroF1(3).update_state(np.zeros(4, "int32"), np.zeros(shape, "float32"))
