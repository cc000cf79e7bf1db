import numpy as np
import pytest

from keras_bert_scratch.evaluation.baseline import compare_with_baseline

NAMES = ["negative", "positive"]


@pytest.fixture
def data(reviews):
    texts, labels = reviews
    return texts, np.array([NAMES.index(label) for label in labels])


def test_learns_what_words_tell(data):
    texts, ids = data
    train = (texts[:24], ids[:24])
    scores = np.eye(2)[1 - ids[24:]]  # a model that is always wrong
    comparison = compare_with_baseline(train, (texts[24:], ids[24:]), scores, NAMES)
    assert comparison.report.accuracy == 1.0
    assert comparison.accuracy_gain == -1.0
    assert comparison.test == (0, 24, pytest.approx(2 / 2**24))
    first, second, _, *rows, last = comparison.to_text().splitlines()
    assert first.startswith("WARNING: The model is no better than always answering the commonest")
    assert second.startswith("WARNING: The model does not beat the baseline, TF-IDF and logistic")
    assert [" ".join(row.split()) for row in rows] == [
        "the model 0.0000 0.0000 to 0.0000 0.0000 0.0000 to 0.0000",
        "TF-IDF + logistic regression 1.0000 1.0000 to 1.0000 1.0000 1.0000 to 1.0000",
        " ".join(rows[2].split()),
    ]
    assert rows[2].startswith("always the commonest")
    assert last == (
        "the model is right alone on 0 examples, TF-IDF on 24: -1.0000 accuracy, "
        "p = 1.2e-07 (McNemar, exact)"
    )


def test_the_commonest_class_by_hand():
    # 2 of 3 training texts are positive; so is 1 of 4 held-out texts, whose F1 is 2 / (1 + 4).
    scores = np.eye(2)[[0, 0, 1, 0]]
    comparison = compare_with_baseline(
        (["bad", "good", "good"], [0, 1, 1]), (["bad"] * 4, [0, 0, 0, 1]), scores, NAMES
    )
    assert comparison.commonest.accuracy == 0.25
    assert comparison.commonest.macro_f1 == pytest.approx((0 + 2 / 5) / 2)
    assert comparison.model.accuracy == 0.5
    assert "commonest class" not in comparison.to_text()
    assert comparison.to_dict()["commonest"]["accuracy"] == 0.25


def test_a_lead_that_may_be_chance_is_noted():
    # Right on the one text that the baseline misses.
    train, texts = (["good", "bad"], [0, 1]), ["good", *["bad"] * 19]
    comparison = compare_with_baseline(train, (texts, [1] * 20), np.eye(2)[[1] * 20], NAMES)
    assert comparison.accuracy_gain == pytest.approx(1 / 20)
    assert comparison.to_text().startswith("NOTE: The model beats TF-IDF and logistic regression,")


def test_a_handful_of_held_out_examples_tells_nothing():
    train, held_out = (["good", "bad"], [0, 1]), (["good"] * 19, [0] * 19)
    wrong = np.eye(2)[[1] * 19]
    assert compare_with_baseline(train, held_out, wrong, NAMES).warnings == [
        "NOTE: 19 held-out examples do not tell whether the model is good: hold out 20 at least."
    ]


def test_a_better_model_is_not_warned_of(data):
    texts, ids = data
    # Trained on the opposite labels, the baseline is always wrong.
    comparison = compare_with_baseline((texts, 1 - ids), (texts, ids), np.eye(2)[ids], NAMES)
    assert comparison.accuracy_gain == 1.0
    assert "WARNING" not in comparison.to_text()
    assert comparison.to_dict()["test"]["first_only"] == 48


def test_an_equal_model_is_warned_of(data):
    texts, ids = data
    comparison = compare_with_baseline((texts, ids), (texts, ids), np.eye(2)[ids], NAMES)
    assert comparison.test.p_value == 1.0
    assert "WARNING" in comparison.to_text()


def test_of_many_texts_some_are_read(data, monkeypatch):
    monkeypatch.setattr("keras_bert_scratch.evaluation.baseline.MOST_EXAMPLES", 24)
    texts, ids = data
    order = np.argsort(ids)  # the first 24 are of one class
    train = ([texts[i] for i in order], ids[order])
    comparison = compare_with_baseline(train, (texts, ids), np.eye(2)[ids], NAMES)
    assert comparison.report.accuracy > 0.9
    assert "NOTE: TF-IDF was trained on 24 of the 48 texts." in comparison.to_text()


def test_classes_that_training_lacks_and_chinese_characters():
    # 好 is good, and 坏 bad: in words between spaces, none of the held-out texts would be known.
    comparison = compare_with_baseline(
        (["很好", "很坏"] * 5, [0, 2] * 5), (["好电影", "坏电影"], [0, 2]), np.eye(3)[[0, 2]], "abc"
    )
    assert comparison.report.accuracy == 1.0


def test_several_labels():
    texts = ["good", "long", "good long", "film"] * 5
    labels = np.array([[1, 0], [0, 1], [1, 1], [0, 0]] * 5)
    comparison = compare_with_baseline(
        (texts, labels), (texts, labels), labels * 0.8 + 0.1, ["good", "long"], multi_label=True
    )
    assert comparison.report.accuracy == 1.0
    assert comparison.test == (0, 0, 1.0)
    # Neither label is usual: a fourth of the texts has none, a fourth both.
    assert comparison.commonest.accuracy == 0.25


def test_pairs():
    pairs = (["who?"] * 4, ["me", "you"] * 2)
    comparison = compare_with_baseline((pairs, [0, 1, 0, 1]), (pairs, [0, 1, 0, 1]),
                                       np.eye(2)[[0, 1, 0, 1]], NAMES)  # fmt: skip
    assert comparison.report.accuracy == 1.0


def test_one_class():
    with pytest.raises(ValueError, match="needs training texts of at least two classes, received"):
        compare_with_baseline((["a", "b"], [1, 1]), (["a"], [1]), [[0, 1]], NAMES)
