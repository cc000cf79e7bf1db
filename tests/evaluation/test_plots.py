import itertools

import matplotlib.image
import matplotlib.pyplot as plt
import numpy as np
import pytest

from keras_bert_scratch.evaluation.calibration import Calibration
from keras_bert_scratch.evaluation.classification import evaluate_classification
from keras_bert_scratch.evaluation.plots import (
    plot_calibration,
    plot_confusion_matrix,
    plot_learning_curves,
)

HISTORY = {
    "loss": [0.9, 0.5, 0.3, 0.2],
    "val_loss": [0.8, 0.6, 0.7, 0.75],
    "accuracy": [0.5, 0.7, 0.8, 0.9],
    "val_accuracy": [0.6, 0.7, 0.75, 0.74],
}


def label_texts(labels):
    return [label.get_text() for label in labels]


def perfect_report(names):
    return evaluate_classification(np.arange(len(names)), np.eye(len(names)), names)


# === Confusion matrix ===
def test_counts_stand_in_their_cells():
    report = evaluate_classification([0, 0, 0, 1], [[1, 0], [1, 0], [0, 1], [0, 1]], ["no", "yes"])
    figure = plot_confusion_matrix(report)
    axes = figure.axes[0]
    counts = {text.get_position(): text.get_text() for text in axes.texts}
    # Positions are (column, row): (predicted, true).
    assert counts == {(0, 0): "2", (1, 0): "1", (0, 1): "0", (1, 1): "1"}
    np.testing.assert_allclose(axes.images[0].get_array(), [[2 / 3, 1 / 3], [0, 1]])
    assert label_texts(axes.get_yticklabels()) == ["no", "yes"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Predicted class", "True class")
    assert axes.get_title() == "Accuracy 75.0%, macro F1 0.733 (4 examples)"


def test_counts_of_several_labels():
    report = evaluate_classification(
        [[1, 0], [1, 0]], [[0.9, 0.9], [0.1, 0.1]], ["x", "y"], multi_label=True
    )
    axes = plot_confusion_matrix(report).axes[0]
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])
    assert label_texts(axes.get_xticklabels()) == [
        "true and predicted",
        "true, missed",
        "false alarm",
        "neither",
    ]


@pytest.mark.parametrize("num_classes", [2, 5, 20, 60])
def test_names_and_cells_stay_inside_the_picture_and_apart(num_classes):
    names = [f"{'a rather long name of a class' * (i % 2)} {i}" for i in range(num_classes)]
    figure = plot_confusion_matrix(perfect_report(names))
    figure.draw_without_rendering()
    axes = figure.axes[0]
    for label in [*axes.get_xticklabels(), *axes.get_yticklabels(), axes.title]:
        box = label.get_window_extent()
        assert figure.bbox.x0 <= box.x0, label
        assert figure.bbox.y0 <= box.y0, label
        assert box.x1 <= figure.bbox.x1, label
        assert box.y1 <= figure.bbox.y1, label
    rows = [label.get_window_extent() for label in axes.get_yticklabels()]
    assert all(upper.y0 >= lower.y1 for upper, lower in itertools.pairwise(rows))


def test_long_names_are_cut_and_dollars_stay():
    axes = plot_confusion_matrix(perfect_report(["x" * 40, "$a_b$ and $"])).axes[0]
    assert label_texts(axes.get_yticklabels()) == ["x" * 27 + "…", "$a_b$ and $"]
    assert not any(label.get_parse_math() for label in axes.get_xticklabels())


def test_a_class_without_examples_has_an_empty_row():
    report = evaluate_classification([0, 0], [[1, 0], [0, 1]], ["a", "b"])
    shares = plot_confusion_matrix(report).axes[0].images[0].get_array()
    np.testing.assert_array_equal(shares, [[0.5, 0.5], [0, 0]])


# === Learning curves ===
def curves_of(axes):
    return {line.get_label(): line.get_xydata().tolist() for line in axes.lines}


def test_learning_curves():
    figure = plot_learning_curves(HISTORY)
    loss, accuracy = figure.axes
    assert (loss.get_title(), accuracy.get_title()) == ("loss", "accuracy")
    assert curves_of(loss) == {
        "training": [[1, 0.9], [2, 0.5], [3, 0.3], [4, 0.2]],
        "validation": [[1, 0.8], [2, 0.6], [3, 0.7], [4, 0.75]],
        "best: 0.6, epoch 2": [[2, 0.6]],
    }
    assert curves_of(accuracy)["best: 0.75, epoch 3"] == [[3, 0.75]]


def test_learning_curves_take_what_fit_returns():
    class History:
        history = HISTORY

    assert len(plot_learning_curves(History()).axes) == 2


NAN = float("nan")


@pytest.mark.parametrize(
    ("history", "marks"),
    [
        # Without validation, the best epoch is that of training.
        ({"loss": [0.9, 0.5, 0.2]}, [{"best: 0.2, epoch 3": [[3, 0.2]]}]),
        ({"loss": [2.0], "learning_rate": [1e-5]}, [{"best: 2, epoch 1": [[1, 2.0]]}, {}]),
        # Epochs without a number are never best.
        ({"loss": [NAN, 3, NAN]}, [{"best: 3, epoch 2": [[2, 3]]}]),
        ({"loss": [NAN]}, [{}]),
        (
            {"loss": [5, 4, 3, 2, 1], "val_loss": [4.5, 2.5]},  # every second epoch
            [{"validation": [[2, 4.5], [4, 2.5]], "best: 2.5, epoch 4": [[4, 2.5]]}],
        ),
    ],
)
def test_best_epochs(history, marks):
    curves = [curves_of(axes) for axes in plot_learning_curves(history).axes]
    for found in curves:
        del found["training"]
    assert curves == marks


@pytest.mark.parametrize("history", [{}, {"loss": []}])
def test_refuses_an_empty_history(history):
    message = "The history holds no epoch: train for at least one before drawing it."
    with pytest.raises(ValueError, match=message):
        plot_learning_curves(history)


# === Files ===
def test_files(tmp_path):
    plot_learning_curves(HISTORY, tmp_path / "curves.svg")
    plot_confusion_matrix(perfect_report(["a", "b"]), tmp_path / "new" / "matrix.png")
    assert (tmp_path / "curves.svg").read_text().startswith("<?xml")
    height, width, _ = matplotlib.image.imread(tmp_path / "new" / "matrix.png").shape
    assert min(height, width) > 400
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["curves.svg", "matrix.png", "new"]


def test_a_failed_drawing_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="Format 'gibberish' is not supported"):
        plot_learning_curves(HISTORY, tmp_path / "curves.gibberish")
    assert list(tmp_path.iterdir()) == []


def test_the_users_backend_and_figures_stay():
    before = plt.get_backend()
    try:
        plt.switch_backend("svg")
        mine = plt.figure()
        plot_learning_curves(HISTORY)
        plot_confusion_matrix(perfect_report(["a", "b"]))
        assert plt.get_backend() == "svg"
        assert plt.get_fignums() == [mine.number]
    finally:
        plt.close("all")
        plt.switch_backend(before)


# === Calibration ===
def test_calibration_bins_lie_where_confidence_and_accuracy_say(tmp_path):
    # Bins at 0.9 (one of two right) and 0.62 on average (both right).
    probabilities = np.array([[0.9, 0.1], [0.1, 0.9], [0.64, 0.36], [0.4, 0.6]])
    calibration = Calibration(1.0, np.log(probabilities), np.array([0, 0, 0, 1]), False)
    figure = plot_calibration(calibration, tmp_path / "bins.png")
    ideal, line, after = figure.axes[0].lines
    np.testing.assert_array_equal(after.get_xydata(), line.get_xydata())
    np.testing.assert_allclose(line.get_xydata(), [[0.62, 1.0], [0.9, 0.5]])
    np.testing.assert_array_equal(ideal.get_xydata(), [[0, 0], [1, 1]])
    assert matplotlib.image.imread(tmp_path / "bins.png").std() > 0
