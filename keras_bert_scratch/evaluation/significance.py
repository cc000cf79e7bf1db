"""How far figures can be trusted: intervals, and whether one model is better than another.

For several seeds and k folds, use scikit-learn with `BertSklearnClassifier`: see its examples.

Axes: n examples, C classes.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.stats import binomtest

_NUM_SAMPLES = 2000
# Quantiles between which 95 % of the samples lie.
_OUTSIDE = (1 - 0.95) / 2
_QUANTILES = (_OUTSIDE, 1 - _OUTSIDE)


class McNemar(NamedTuple):
    """Result of McNemar's test of two models.

    Attributes:
        first_only: Number of examples that only the first model gets right.
        second_only: Number of examples that only the second gets right.
        p_value: Probability of a split at least as uneven if both are right equally often.
    """

    first_only: int
    second_only: int
    p_value: float


def mcnemar(first_is_right: Any, second_is_right: Any) -> McNemar:
    """Tests whether two models are right equally often on the same examples, exactly.

    Only the examples that exactly one model gets right distinguish the two; equal models would each
    get half of them: a binomial test (McNemar 1947; Dietterich 1998, section 3.1).

    Args:
        first_is_right: Booleans. *Shape:* (n,).
        second_is_right: Booleans for the same examples. *Shape:* (n,).

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> mcnemar([True, True, True, False], [False, False, False, False])
        McNemar(first_only=3, second_only=0, p_value=0.25)
    """
    first, second = np.asarray(first_is_right, bool), np.asarray(second_is_right, bool)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(
            f"McNemar's test compares answers to the same examples, received shapes {first.shape} "
            f"and {second.shape}: give one boolean an example for each model."
        )
    first_only, second_only = int(np.sum(first & ~second)), int(np.sum(second & ~first))
    differing = first_only + second_only
    p_value = float(binomtest(first_only, differing).pvalue) if differing else 1.0
    return McNemar(first_only, second_only, p_value)


def bootstrap_intervals(
    true_ids: Any, predicted_ids: Any, num_classes: int
) -> dict[str, tuple[float, float]]:
    """Returns the 95 % intervals of accuracy and macro F1 on examples of the same kind.

    The percentile bootstrap (Efron and Tibshirani 1993, chapter 13): both are computed again on
    2000 samples of n examples, drawn with replacement, always the same ones. What never happened in
    n examples happens in no sample: an interval that reaches 1 after a few examples means little.

    Args:
        true_ids: Class ids, *shape:* (n,), or zeros and ones, *shape:* (n, C).
        predicted_ids: Predictions in the same form.
        num_classes: C.

    Returns:
        Lower and upper end of `accuracy` and `macro_f1`.

    Example:
        >>> bootstrap_intervals([0, 1] * 50, [0, 1] * 45 + [1, 0] * 5, 2)["accuracy"]
        (0.84, 0.95)
    """
    true, predicted = np.asarray(true_ids), np.asarray(predicted_ids)
    if true.ndim == 1:
        true, predicted = (ids[:, None] == np.arange(num_classes) for ids in (true, predicted))
    # A sample is described by its number of examples of each kind of truth and answer.
    kinds, counts = np.unique(
        np.stack([true, predicted], axis=1).astype(bool), axis=0, return_counts=True
    )
    true, predicted = kinds[:, 0], kinds[:, 1]
    is_right = (true == predicted).all(axis=1)
    hits, either = true & predicted, true.astype(int) + predicted

    def figures(count_of_kind: np.ndarray) -> tuple[float, float]:
        # F1 is 2 TP / (2 TP + FP + FN), and 0 for a class that does not occur.
        f1 = 2 * count_of_kind @ hits / np.maximum(count_of_kind @ either, 1)
        return count_of_kind @ is_right / counts.sum(), f1.mean()

    generator = np.random.default_rng(0)
    samples = [
        figures(generator.multinomial(counts.sum(), counts / counts.sum()))
        for _ in range(_NUM_SAMPLES)
    ]
    ends = np.quantile(samples, _QUANTILES, axis=0)
    return {
        name: (float(low), float(high))
        for name, (low, high) in zip(("accuracy", "macro_f1"), ends.T, strict=True)
    }
