"""Graded ratings -> negative, neutral or positive; and a score back from the probabilities.

Axes: n examples, C classes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

# In ascending order, so that a class's id grows with its rating.
SENTIMENTS = ("negative", "neutral", "positive")


def sentiments(ratings: Any, thresholds: tuple[float, float]) -> list[str]:
    """Names the sentiment of each rating: below the thresholds, between them, or above.

    A rating equal to a threshold is neutral.

    Args:
        ratings: n numbers, such as stars, or means over several people.
        thresholds: The lower and the upper threshold; with (0, 0), only zero is neutral.

    Returns:
        n members of `SENTIMENTS`.

    Raises:
        ValueError: If the thresholds are swapped, or a rating is not a finite number.

    Example:
        >>> sentiments([1, 3, 5], thresholds=(2.5, 3.5))
        ['negative', 'neutral', 'positive']
    """
    lower, upper = thresholds
    if not lower <= upper:
        raise ValueError(
            f"thresholds are the lower and the upper, received {thresholds}: swap them."
        )
    numbers = _finite(ratings)
    return [SENTIMENTS[i] for i in 1 + (numbers > upper) - (numbers < lower).astype(int)]


def mean_ratings(ratings: Any, labels: Sequence[Any]) -> dict[Any, float]:
    """Returns the mean rating of each label.

    Args:
        ratings: n numbers.
        labels: The label of each rating.

    Raises:
        ValueError: If there is not one label for each rating, or a rating is not a finite number.

    Example:
        >>> mean_ratings([-3, -1, 2], ["negative", "negative", "positive"])
        {'negative': -2.0, 'positive': 2.0}
    """
    numbers = _finite(ratings)
    if len(numbers) != len(labels):
        raise ValueError(
            f"There are {len(numbers)} ratings but {len(labels)} labels: give one for each."
        )
    of_label: dict[Any, list[float]] = {}
    for label, number in zip(labels, numbers.tolist(), strict=True):
        of_label.setdefault(label, []).append(number)
    return {label: float(np.mean(of_label[label])) for label in sorted(of_label)}


def expected_ratings(probabilities: Any, class_ratings: Sequence[float]) -> np.ndarray:
    """Computes a score for each text: the expected rating of its classes.

    Args:
        probabilities: *Shape:* (n, C).
        class_ratings: The rating of each class, C numbers; see `mean_ratings`.

    Returns:
        *Shape:* (n,).

    Raises:
        ValueError: If there are not as many ratings as classes.

    Example:
        >>> expected_ratings([[0.5, 0.0, 0.5], [0.0, 0.2, 0.8]], [-1, 0, 1])
        array([0. , 0.8])
    """
    probabilities = np.asarray(probabilities)
    if probabilities.ndim != 2 or probabilities.shape[1] != len(class_ratings):
        raise ValueError(
            f"class_ratings has {len(class_ratings)} numbers for probabilities of shape "
            f"{probabilities.shape}: give one number for each class."
        )
    return probabilities @ np.asarray(class_ratings, "float64")


def _finite(ratings: Any) -> np.ndarray:
    numbers = np.asarray(ratings, "float64")
    wrong = np.flatnonzero(~np.isfinite(numbers))
    if wrong.size:
        raise ValueError(
            f"{wrong.size} of {numbers.size} ratings are not finite numbers, the first, "
            f"{numbers[wrong[0]]}, at position {wrong[0]}: remove them."
        )
    return numbers
