import json
import re

import numpy as np
import pytest

from keras_bert_scratch.evaluation.classification import evaluate_classification

# Six examples; predictions a a b b b a.
TRUE = [0, 0, 0, 1, 1, 2]
SCORES = [[2, 1, 0], [3, -1, 0], [0, 1, 0], [-3, -1, -2], [0, 9, 0], [0.5, 0.2, 0.3]]
NAMES = ["a", "b", "c"]


@pytest.fixture
def report():
    return evaluate_classification(TRUE, SCORES, NAMES)


@pytest.fixture
def multi_label_report():
    true = [[1, 0], [1, 1], [0, 1], [0, 0]]
    scores = [[0.9, 0.1], [0.4, 0.8], [0.6, 0.5], [0.2, 0.1]]
    return evaluate_classification(true, scores, ["x", "y"], multi_label=True)


def test_by_hand(report):
    assert report.confusion_matrix.tolist() == [[2, 1, 0], [0, 2, 0], [1, 0, 0]]
    assert report.num_examples == 6
    assert report.accuracy == pytest.approx(4 / 6)
    expected = {
        "a": {"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "support": 3},
        "b": {"precision": 2 / 3, "recall": 1, "f1": 4 / 5, "support": 2},
        "c": {"precision": 0, "recall": 0, "f1": 0, "support": 1},
    }
    assert list(report.per_class) == report.class_names == NAMES
    for name, figures in expected.items():
        assert report.per_class[name] == pytest.approx(figures)
    assert report.macro_precision == pytest.approx(4 / 9)
    assert report.macro_recall == pytest.approx(5 / 9)
    assert report.macro_f1 == pytest.approx(22 / 45)
    assert report.weighted_precision == pytest.approx(5 / 9)
    assert report.weighted_recall == pytest.approx(4 / 6)
    assert report.weighted_f1 == pytest.approx(3.6 / 6)
    assert report.warnings == []


def test_classes_that_do_not_occur_count_as_zero():
    report = evaluate_classification([0, 1], [[1, 0, 0], [0, 1, 0]], NAMES)
    assert report.macro_f1 == pytest.approx(2 / 3)
    assert report.weighted_f1 == 1
    assert report.confusion_matrix.shape == (3, 3)


def test_several_labels_by_hand(multi_label_report):
    # x: true 1 1 0 0, predicted 1 0 1 0. y: true 0 1 1 0, predicted 0 1 0 0 (0.5 is not above 0.5).
    assert multi_label_report.is_multi_label
    assert multi_label_report.confusion_matrix.tolist() == [[[1, 1], [1, 1]], [[2, 0], [1, 1]]]
    assert multi_label_report.accuracy == 0.5
    assert multi_label_report.per_class["x"] == pytest.approx(
        {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}
    )
    assert multi_label_report.per_class["y"] == pytest.approx(
        {"precision": 1, "recall": 0.5, "f1": 2 / 3, "support": 2}
    )
    assert multi_label_report.macro_f1 == pytest.approx(7 / 12)


def test_threshold():
    arguments = ([[1, 0], [0, 1]], [[0.3, 0.1], [0.2, 0.9]], ["x", "y"])
    low = evaluate_classification(*arguments, multi_label=True, threshold=0.25)
    assert (low.accuracy, low.macro_recall) == (1, 1)
    assert evaluate_classification(*arguments, multi_label=True).accuracy == 0.5


# === As text and JSON ===
def test_text(report):
    (low, high), (f1_low, f1_high) = report.intervals.values()
    assert low < report.accuracy < high
    assert f1_low < report.macro_f1 < f1_high
    assert report.to_text() == (
        "accuracy 0.6667 on 6 examples\n"
        f"95 % intervals: accuracy {low:.4f} to {high:.4f}, "
        f"macro F1 {f1_low:.4f} to {f1_high:.4f}\n"
        "\n"
        "                  precision  recall      f1  support\n"
        "a                    0.6667  0.6667  0.6667        3\n"
        "b                    0.6667  1.0000  0.8000        2\n"
        "c                    0.0000  0.0000  0.0000        1\n"
        "macro average        0.4444  0.5556  0.4889        6\n"
        "weighted average     0.5556  0.6667  0.6000        6\n"
        "\n"
        "confusion matrix: rows true, columns predicted\n"
        "       [0]  [1]  [2]\n"
        "a [0]    2    1    0\n"
        "b [1]    0    2    0\n"
        "c [2]    1    0    0\n"
    )


def test_text_of_several_labels(multi_label_report):
    text = multi_label_report.to_text()
    assert text.startswith("accuracy (all labels right) 0.5000 on 4 examples\n")
    assert text.endswith(
        "   true and predicted  true, missed  false alarm  neither\n"
        "x                   1             1            1        1\n"
        "y                   1             1            0        2\n"
    )


@pytest.mark.parametrize("name", ["report", "multi_label_report"])
def test_json(name, request):
    report = request.getfixturevalue(name)
    fields = json.loads(json.dumps(report.to_dict()))
    assert fields == report.to_dict()
    assert fields["confusion_matrix"] == report.confusion_matrix.tolist()
    assert fields["accuracy"] == report.accuracy
    assert type(fields["per_class"][report.class_names[0]]["support"]) is int


# === Warnings ===
def test_warns_if_all_predictions_are_one_class():
    report = evaluate_classification([0, 1] * 10, [[0, 1]] * 20, ["negative", "positive"])
    (warning,) = report.warnings
    assert warning == (
        "All 20 predictions are the class 'positive': the model does not tell examples apart. "
        "Try a smaller learning rate, warm-up, more epochs or class weights, and check that texts "
        "and labels belong together."
    )
    assert report.to_text().startswith(f"WARNING: {warning}\n\n")
    assert report.to_dict()["warnings"] == [warning]


@pytest.mark.parametrize(
    ("scores", "answer"), [([0.9, 0.8], "the labels 'x', 'y'"), ([0.1, 0.2], "no label at all")]
)
def test_warns_if_all_examples_get_the_same_labels(scores, answer):
    report = evaluate_classification(
        [[1, 0], [0, 0]] * 10, [scores] * 20, ["x", "y"], multi_label=True
    )
    (warning,) = report.warnings
    assert warning.startswith(f"All 20 predictions are {answer}: the model does not tell")
    assert "Try another threshold, " in warning


def test_one_class_rightly_predicted_is_no_warning():
    assert evaluate_classification([1, 1], [[0, 1]] * 2, NAMES[:2]).warnings == []


# === What is refused ===
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": ["a"]}, "class_names must be at least two different names, received ['a']."),
        ({"names": ["a", "a"]}, "at least two different names, received ['a', 'a']."),
        (
            {"names": ["a", "b"]},
            "scores must have shape (examples, classes) = (n, 2), received (6, 3): give one score "
            "for each of class_names.",
        ),
        (
            {"true": [], "scores": np.zeros((0, 3))},
            "There are no examples to evaluate: give at least one.",
        ),
        (
            {"scores": [*SCORES[:1], [np.nan, 0, 0], *SCORES[2:]]},
            "scores are NaN for 1 of 6 examples, the first at position 1: the model's weights or "
            "inputs are not finite.",
        ),
        ({"true": TRUE[:5]}, "true_ids must have shape (6,) to fit the scores, received (5,)"),
        (
            {"true": [0, 0, 0, 1, 3, 2]},
            "true_ids must be integers from 0 to 2, received 3 at position [4]: turn names into "
            "ids, by their place in class_names.",
        ),
        ({"true": [0, 0, 0, 1, -1, 2]}, "from 0 to 2, received -1 at position [4]"),
        ({"true": [0, 0.5, 0, 1, 1, 2]}, "from 0 to 2, received 0.5 at position [1]"),
        ({"true": list("000112")}, "from 0 to 2, received '0' at position [0]"),
    ],
)
def test_refuses(changes, message):
    arguments = {"true": TRUE, "scores": SCORES, "names": NAMES, **changes}
    with pytest.raises(ValueError, match=re.escape(message)):
        evaluate_classification(*arguments.values())


@pytest.mark.parametrize(
    ("true", "scores", "threshold", "message"),
    [
        ([0], [[0.1, 0.2]], 0.5, "must have shape (1, 2) to fit the scores and multi_label, "),
        ([[0, 2]], [[0.1, 0.2]], 0.5, "integers from 0 to 1, received 2 at position [0, 1]"),
        (
            [[0, 1]],
            [[-1.5, 0.2]],
            0.5,
            "With multi_label scores must be probabilities, received values from -1.5 to 0.2: "
            "apply the sigmoid to logits first.",
        ),
        ([[0, 1]], [[0.1, 0.2]], 1, "threshold must be between 0 and 1, both excluded, received 1"),
    ],
)
def test_refuses_several_labels(true, scores, threshold, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        evaluate_classification(true, scores, ["x", "y"], multi_label=True, threshold=threshold)


def test_in_a_notebook():
    report = evaluate_classification([0, 1, 1], [[2, 1], [3, 0], [0, 1]], ["a<b", "c"])
    assert repr(report) == (
        "<ClassificationReport: accuracy 0.6667 and macro F1 0.6667 on 3 examples of 2 classes>"
    )
    html = report._repr_html_()
    assert "<td>a&lt;b [0]</td><td>1</td><td>0</td>" in html
    assert "<td>c [1]</td><td>1</td><td>1</td>" in html
    assert "accuracy 0.6667 on 3 examples<br>95 % intervals" in html
    constant = evaluate_classification([0, 1] * 10, [[2, 1], [3, 0]] * 10, ["a<b", "c"])
    assert "<strong>WARNING: All 20 predictions are the class &#x27;a&lt;b&#x27;" in (
        constant._repr_html_()
    )
