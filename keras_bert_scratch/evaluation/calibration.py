"""Does a probability of 0.9 mean right nine times in ten? And the temperature that makes it so.

Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", sections 2 and 4.2.

Axes: n examples, C classes.
"""

import dataclasses
import functools
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_expit, log_softmax, softmax

# Lower and upper bound of the search for the temperature.
_TEMPERATURES = (0.05, 20.0)
# Bins of equal width between 0 and 1, into which predictions go by their confidence.
_NUM_BINS = 15


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
    bins, confidence, is_right = binned(probabilities, true_ids, multi_label)
    gaps = np.bincount(bins, weights=confidence - is_right, minlength=_NUM_BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def binned(
    probabilities: Any, true_ids: Any, multi_label: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns of every prediction its bin, its confidence and whether it is right."""
    probabilities, true = np.asarray(probabilities, "float64"), np.asarray(true_ids)
    if multi_label:
        confidence = np.maximum(probabilities, 1 - probabilities).ravel()
        is_right = ((probabilities > 0.5) == (true > 0)).ravel()
    else:
        confidence, is_right = probabilities.max(axis=1), probabilities.argmax(axis=1) == true
    return np.minimum((confidence * _NUM_BINS).astype(int), _NUM_BINS - 1), confidence, is_right
