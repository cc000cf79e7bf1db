"""Which class to answer when classes differ in size: factors found on held-out text.

Axes: n examples, C classes.
"""

from typing import Any

import numpy as np

# The search stops after so many rounds over all classes, without the last thousandths.
_MOST_ROUNDS = 20


def tune_class_factors(probabilities: Any, true_ids: Any) -> np.ndarray:
    """Finds factors on the probabilities that maximize the macro F1 of the largest.

    For two classes this is the threshold with the best F1: a factor f on the second is a threshold
    of 1 / (1 + f). For more, coordinate ascent sets the factor of one class after another to the
    best of all values that change an answer, until none improves. Measure the gain on other text:
    on this one it looks larger than it is.

    Args:
        probabilities: Probabilities of held-out examples. *Shape:* (n, C).
        true_ids: Class ids. *Shape:* (n,).

    Returns:
        Positive factors, 1 for the first class. *Shape:* (C,).

    Raises:
        ValueError: If the shapes do not fit each other, or there are no examples.

    Example:
        Put the factors into the bias of the head: then answers, checkpoints and exports have them.

        >>> factors = tune_class_factors(model.probabilities(texts), model.encode_labels(labels))
        >>> _ = model.head.logits.bias.assign_add(model.temperature * np.log(factors))
    """
    probabilities, true = np.asarray(probabilities, "float64"), np.asarray(true_ids)
    if probabilities.ndim != 2 or not len(true) or true.shape != probabilities.shape[:1]:
        raise ValueError(
            f"Factors need a label for each of at least one example, received probabilities of "
            f"shape {probabilities.shape} and labels of shape {true.shape}."
        )
    scores = np.log(np.maximum(probabilities, 1e-30))
    offsets = np.zeros(scores.shape[1])
    best = _macro_f1(scores, true)
    for _ in range(_MOST_ROUNDS):
        before = best
        for class_id in range(scores.shape[1]):
            offset, f1 = _best_offset(scores + offsets, true, class_id)
            # Rounding must not look like an improvement.
            if f1 > best + 1e-12:
                offsets[class_id] += offset
                best = f1
        if best == before:
            break
    return np.exp(offsets - offsets[0])


def _best_offset(scores: np.ndarray, true: np.ndarray, class_id: int) -> tuple[float, float]:
    """Returns the offset of one class's scores with the best macro F1, and that F1.

    The offset only decides how many examples go to the class: first those where it is least below
    the best other score. The counts of every choice are running sums in that order.
    """
    count, num_classes = scores.shape
    others = scores.copy()
    others[:, class_id] = -np.inf
    rival = others.argmax(axis=1)
    needed = others.max(axis=1) - scores[:, class_id]
    order = np.argsort(needed, kind="stable")
    needed, rival, true_sorted = needed[order], rival[order], true[order]

    # Row k: the first k examples are answered with the class, the others with their rivals.
    answered_by_rival = np.eye(num_classes)[rival]
    is_right = answered_by_rival * (rival == true_sorted)[:, None]
    predicted = _totals_of_the_rest(answered_by_rival)
    hits = _totals_of_the_rest(is_right)
    predicted[:, class_id] = np.arange(count + 1)
    hits[1:, class_id] = np.cumsum(true_sorted == class_id)
    support = np.bincount(true, minlength=num_classes)
    f1 = (2 * hits / np.maximum(predicted + support, 1)).mean(axis=1)

    # An offset can only separate examples that need different ones.
    is_choice = np.concatenate([[True], needed[1:] > needed[:-1], [True]])
    k = int(np.argmax(np.where(is_choice, f1, -1.0)))
    below = needed[k - 1] if k else needed[0] - 2.0
    above = needed[k] if k < count else needed[-1] + 2.0
    return float((below + above) / 2), float(f1[k])


def _totals_of_the_rest(counts: np.ndarray) -> np.ndarray:
    """Returns the column sums from every row on, and zeros after the last. *Shape:* (n + 1, C)."""
    return np.pad(counts[::-1].cumsum(axis=0)[::-1], ((0, 1), (0, 0)))


def _macro_f1(scores: np.ndarray, true: np.ndarray) -> float:
    from sklearn.metrics import f1_score

    return f1_score(
        true,
        scores.argmax(axis=1),
        labels=range(scores.shape[1]),
        average="macro",
        zero_division=0,
    )
