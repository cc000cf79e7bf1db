import itertools

import numpy as np
import pytest
from sklearn.metrics import f1_score

from keras_bert_scratch.evaluation.thresholds import tune_class_factors


def macro_f1(probabilities, true, factors):
    answers = (np.asarray(probabilities) * factors).argmax(axis=1)
    classes = range(len(factors))
    return f1_score(true, answers, labels=classes, average="macro", zero_division=0)


def test_two_classes_by_hand():
    # The positives stand at 0.2 and above, and nothing else does: any threshold between 0.1 and
    # 0.2 is perfect, so 1 / (1 + f) lies there, and f between 4 and 9.
    positive = np.array([0.05, 0.1, 0.2, 0.3, 0.4])
    factors = tune_class_factors(np.stack([1 - positive, positive], 1), [0, 0, 1, 1, 1])
    assert factors[0] == 1.0
    assert 4 < factors[1] < 9


def test_perfect_answers_stay():
    np.testing.assert_array_equal(tune_class_factors(np.eye(3), [0, 1, 2]), [1.0, 1.0, 1.0])


@pytest.mark.parametrize("seed", range(5))
def test_two_classes_are_as_good_as_every_threshold(seed):
    rng = np.random.default_rng(seed)
    true = rng.random(60) < 0.2
    positive = np.round(np.clip(0.15 * true + 0.5 * rng.random(60), 0, 1), 2)  # with ties
    probabilities = np.stack([1 - positive, positive], 1)
    best = max(
        macro_f1(probabilities, true, [1.0, (1 - threshold) / threshold])
        for threshold in np.linspace(0.005, 0.995, 199)
    )
    found = macro_f1(probabilities, true, tune_class_factors(probabilities, true.astype(int)))
    assert found == pytest.approx(best)


@pytest.mark.parametrize("seed", range(2))
def test_three_classes_come_near_a_grid(seed):
    rng = np.random.default_rng(seed)
    true = rng.choice(3, 80, p=[0.7, 0.2, 0.1])
    probabilities = rng.dirichlet([1, 1, 1], 80) * [3.0, 1.0, 0.5] + 0.3 * np.eye(3)[true]
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    grid = np.exp(np.linspace(-3, 3, 25))
    best = max(
        macro_f1(probabilities, true, [1.0, one, other])
        for one, other in itertools.product(grid, grid)
    )
    found = macro_f1(probabilities, true, tune_class_factors(probabilities, true))
    assert found > macro_f1(probabilities, true, np.ones(3))
    assert found > best - 0.05


def test_a_certain_probability_of_zero():
    factors = tune_class_factors([[1.0, 0.0], [1.0, 0.0], [0.6, 0.4]], [0, 0, 1])
    assert macro_f1([[1.0, 0.0], [1.0, 0.0], [0.6, 0.4]], [0, 0, 1], factors) == 1.0


def test_in_the_bias_of_the_head_they_are_the_models_answers(tiny_classifier, reviews):
    model = tiny_classifier(["bad", "so-so", "good"], temperature=2.0)
    factors = np.array([1.0, 3.0, 0.5])
    expected = model.probabilities(reviews[0]) * factors
    model.head.logits.bias.assign_add(model.temperature * np.log(factors))
    np.testing.assert_allclose(
        model.probabilities(reviews[0]), expected / expected.sum(1, keepdims=True), atol=1e-6
    )


@pytest.mark.parametrize(
    ("probabilities", "true_ids"), [([[0.5, 0.5]], [0, 1]), (np.zeros((0, 2)), []), ([0.5], [0])]
)
def test_shapes(probabilities, true_ids):
    with pytest.raises(ValueError, match="Factors need a label for each of at least one example"):
        tune_class_factors(probabilities, true_ids)
