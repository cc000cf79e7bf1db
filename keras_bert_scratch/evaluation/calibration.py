"""Does a probability of 0.9 mean right nine times in ten? And the temperature that makes it so.

Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", sections 2 and 4.2.

Axes: n examples, C classes.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_expit, log_softmax, softmax
from scipy.stats import binomtest

# Lower and upper bound of the search for the temperature.
_TEMPERATURES = (0.05, 20.0)
# Bins of equal width between 0 and 1, into which predictions go by their confidence.
_NUM_BINS = 15
# Predictions that a point of a reliability diagram should have, and the most points: with fewer
# predictions, chance decides where a point is.
_PREDICTIONS_A_POINT, _MOST_POINTS = 40, 10


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What a temperature does to a classifier's probabilities.

    The errors are measured on the examples that the temperature was fitted to, which is fair for
    one number and some hundred examples.

    Attributes:
        temperature: The logits are divided by it.
        logits: Logits of the examples. *Shape:* (n, C).
        true_ids: Class ids, *shape:* (n,); with `multi_label` zeros and ones, *shape:* (n, C).
        multi_label: Whether an example may have any number of labels.
    """

    temperature: float
    logits: np.ndarray
    true_ids: np.ndarray
    multi_label: bool

    @functools.cached_property
    def probabilities(self) -> dict[str, np.ndarray]:
        """The probabilities "before" and "after". *Shape:* (n, C) each."""
        scaled = {"before": self.logits, "after": self.logits / self.temperature}
        if self.multi_label:
            return {name: expit(logits) for name, logits in scaled.items()}
        return {name: softmax(logits, axis=1) for name, logits in scaled.items()}

    @functools.cached_property
    def errors(self) -> dict[str, float]:
        """The expected calibration error "before" and "after"."""
        return {
            name: expected_calibration_error(values, self.true_ids, multi_label=self.multi_label)
            for name, values in self.probabilities.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """Returns the figures as plain JSON types."""
        return {
            "temperature": self.temperature,
            "num_examples": len(self.logits),
            "expected_calibration_error": self.errors,
        }

    def to_text(self) -> str:
        """Returns the figures in one line."""
        return (
            f"temperature {self.temperature:.3f}: expected calibration error "
            f"{self.errors['before']:.4f} before, {self.errors['after']:.4f} after, on "
            f"{len(self.logits)} examples\n"
        )


def calibrate(logits: Any, true_ids: Any, *, multi_label: bool = False) -> Calibration:
    """Finds the temperature under which the true labels are most likely.

    It changes no prediction: the largest logit stays the largest.

    Args:
        logits: Logits of held-out examples. *Shape:* (n, C).
        true_ids: Class ids, *shape:* (n,); with `multi_label` zeros and ones, *shape:* (n, C).
        multi_label: Whether an example may have any number of labels.

    Raises:
        ValueError: If there are no examples, or the shapes do not fit each other.

    Example:
        >>> calibrate([[2.0, 0.0]] * 4, [0, 0, 0, 1]).temperature  # 2 / log(3)
        1.82...
    """
    logits, true = np.asarray(logits, "float64"), np.asarray(true_ids)
    if not len(logits) or true.shape != (logits.shape if multi_label else logits.shape[:1]):
        raise ValueError(
            f"Calibration needs a label for each of at least one example, received logits of shape "
            f"{logits.shape} and labels of shape {true.shape}."
        )

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        if multi_label:
            return -np.mean(np.where(true > 0, log_expit(scaled), log_expit(-scaled)))
        return -np.mean(np.take_along_axis(log_softmax(scaled, axis=1), true[:, None], axis=1))

    found = minimize_scalar(
        loss, bounds=np.log(_TEMPERATURES), method="bounded", options={"xatol": 1e-6}
    )
    return Calibration(float(np.exp(found.x)), logits, true, multi_label)


def expected_calibration_error(
    probabilities: Any, true_ids: Any, *, multi_label: bool = False
) -> float:
    """Computes the mean gap between confidence and accuracy (Guo et al. 2017, eq. 3).

    Predictions go into 15 bins by their confidence. The error is the mean of the bins' gaps,
    weighted by the number of predictions in each.

    Args:
        probabilities: Probabilities. *Shape:* (n, C).
        true_ids: Class ids, *shape:* (n,); with `multi_label` zeros and ones, *shape:* (n, C), and
            every label of every example is a prediction of its own.
        multi_label: Whether an example may have any number of labels.

    Example:
        >>> expected_calibration_error([[0.9, 0.1], [0.9, 0.1]], [0, 1])  # 90 % sure, 50 % right
        0.4
    """
    confidence, is_right = _predictions(probabilities, true_ids, multi_label)
    bins = np.minimum((confidence * _NUM_BINS).astype(int), _NUM_BINS - 1)
    gaps = np.bincount(bins, weights=confidence - is_right, minlength=_NUM_BINS)
    return float(np.abs(gaps).sum() / len(confidence))


class Reliability(NamedTuple):
    """Predictions in K groups of similar confidence, the least confident first.

    Attributes:
        confidence: Mean confidence of each group. *Shape:* (K,).
        accuracy: Share of each group that is right. *Shape:* (K,).
        intervals: Its 95 % interval (Wilson). *Shape:* (K, 2).
        counts: Number of predictions in each group. *Shape:* (K,).
        predictions: Confidence of every prediction.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    intervals: np.ndarray
    counts: np.ndarray
    predictions: np.ndarray


def reliability(probabilities: Any, true_ids: Any, *, multi_label: bool = False) -> Reliability:
    """Compares confidence and accuracy in groups that fit the number of predictions.

    Groups have about the same size, at least 40 predictions where there are as many, and there are
    at most 10 of them. Predictions of equal confidence stay together.

    Args:
        probabilities: See `expected_calibration_error`, for this and the other arguments.
        true_ids: Class ids, or zeros and ones.
        multi_label: Whether an example may have any number of labels.

    Example:
        >>> bins = reliability([[0.9, 0.1], [0.9, 0.1]], [0, 1])
        >>> bins.confidence, bins.accuracy, bins.counts
        (array([0.9]), array([0.5]), array([2]))
    """
    confidence, is_right = _predictions(probabilities, true_ids, multi_label)
    num_groups = int(np.clip(len(confidence) // _PREDICTIONS_A_POINT, 1, _MOST_POINTS))
    # By the mean rank of equal predictions; a group that gets none is no group.
    ordered = np.sort(confidence)
    low, high = np.searchsorted(ordered, confidence), np.searchsorted(ordered, confidence, "right")
    groups = np.unique((low + high) * num_groups // (2 * len(ordered)), return_inverse=True)[1]
    counts, right = np.bincount(groups), np.bincount(groups, is_right).astype(int)
    intervals = [
        binomtest(int(k), int(n)).proportion_ci(method="wilson")
        for k, n in zip(right, counts, strict=True)
    ]
    return Reliability(
        confidence=np.bincount(groups, confidence) / counts,
        accuracy=right / counts,
        intervals=np.array(intervals),
        counts=counts,
        predictions=confidence,
    )


def _predictions(
    probabilities: Any, true_ids: Any, multi_label: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the confidence of every prediction, and whether it is right."""
    probabilities, true = np.asarray(probabilities, "float64"), np.asarray(true_ids)
    if multi_label:
        confidence = np.maximum(probabilities, 1 - probabilities)
        return confidence.ravel(), ((probabilities > 0.5) == (true > 0)).ravel()
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == true
