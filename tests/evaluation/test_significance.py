import numpy as np
import pytest
from scipy.stats import bootstrap, chi2
from sklearn.metrics import f1_score

from keras_bert_scratch.evaluation.significance import bootstrap_intervals, mcnemar


# === McNemar ===
def answers(both, first_only, second_only, neither):
    first = [True] * (both + first_only) + [False] * (second_only + neither)
    second = [True] * both + [False] * first_only + [True] * second_only + [False] * neither
    return first, second


def test_by_hand():
    # Five coins, of which one or none shows heads, or one or none shows tails: 2 (1 + 5) / 32.
    found = mcnemar(*answers(3, 4, 1, 2))
    assert found == (4, 1, pytest.approx(0.375))


def test_textbook():
    # Agresti, "Categorical Data Analysis", table 10.1: 150 and 86 changed their minds. With so
    # many, the chi-squared test with continuity correction comes near the exact one.
    approximate = chi2.sf((abs(150 - 86) - 1) ** 2 / (150 + 86), 1)
    assert mcnemar(*answers(794, 150, 86, 570)).p_value == pytest.approx(approximate, rel=0.1)


def test_equal_models_do_not_differ():
    assert mcnemar([True, False], [True, False]) == (0, 0, 1.0)


def test_other_examples():
    with pytest.raises(
        ValueError, match=r"to the same examples, received shapes \(2,\) and \(1,\)"
    ):
        mcnemar([True, False], [True])


# === Bootstrap ===
def test_accuracy_is_binomial():
    # 90 of 100 right: the samples' accuracy is binomial, whose 2.5 % and 97.5 % quantiles are 0.84
    # and 0.95 (Abramowitz and Stegun's tables give 84 and 95 of 100).
    low, high = bootstrap_intervals([1] * 100, [1] * 90 + [0] * 10, 2)["accuracy"]
    assert (low, high) == (pytest.approx(0.84, abs=0.0101), pytest.approx(0.95, abs=0.0101))


@pytest.mark.parametrize("num_classes", [2, 4])
def test_f1_is_that_of_scipy_and_scikit_learn(num_classes):
    generator = np.random.default_rng(0)
    true = generator.integers(num_classes, size=120)
    predicted = np.where(
        generator.random(120) < 0.7, true, generator.integers(num_classes, size=120)
    )
    expected = bootstrap(
        (true, predicted),
        lambda t, p: f1_score(t, p, labels=range(num_classes), average="macro", zero_division=0),
        paired=True,
        vectorized=False,
        method="percentile",
        n_resamples=500,
        random_state=1,
    ).confidence_interval
    found = bootstrap_intervals(true, predicted, num_classes)["macro_f1"]
    # Both are random; their ends scatter by about 0.005.
    assert found == pytest.approx(tuple(expected), abs=0.02)


def test_several_labels():
    # Half of the examples are right in both labels, the others in one: of the first label all, of
    # the second half of its ones.
    true = np.array([[1, 1], [1, 1]] * 50)
    predicted = np.array([[1, 1], [1, 0]] * 50)
    intervals = bootstrap_intervals(true, predicted, 2)
    low, high = intervals["accuracy"]
    assert (low, high) == (pytest.approx(0.4, abs=0.021), pytest.approx(0.6, abs=0.021))
    # F1 is 1 of the first, and 2 r / (1 + r) of the second with a recall of r.
    expected = [(1 + 2 * recall / (1 + recall)) / 2 for recall in (low, high)]
    assert intervals["macro_f1"] == pytest.approx(expected)


def test_the_same_each_time():
    arguments = ([0, 1, 1, 0], [0, 1, 0, 0], 2)
    assert bootstrap_intervals(*arguments) == bootstrap_intervals(*arguments)
