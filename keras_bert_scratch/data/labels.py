"""Names of classes -> numbers.

Axes: C classes.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np


def encode_labels(y: Iterable[Any], labels: Sequence[str]) -> np.ndarray:
    """Turns one label an example into the id of its class.

    Args:
        y: n names, or n ids that already are numbers.
        labels: The C names, in the order of their ids.

    Returns:
        int32. *Shape:* (n,).

    Raises:
        ValueError: If a label is unknown.

    Example:
        >>> encode_labels(["good", "bad"], ["bad", "good"])
        array([1, 0], dtype=int32)
    """
    ids = {label: class_id for class_id, label in enumerate(labels)}
    return np.array([_class_id(label, ids) for label in y], "int32")


def encode_label_sets(y: Any, labels: Sequence[str]) -> np.ndarray:
    """Turns any number of labels an example into zeros and ones.

    Args:
        y: n collections of names, or an array of zeros and ones of shape (n, C).
        labels: The C names, in the order of their ids.

    Returns:
        float32. *Shape:* (n, C).

    Raises:
        ValueError: If a label is unknown, or an array has another shape or other numbers.

    Example:
        >>> encode_label_sets([["sad", "funny"], []], ["funny", "long", "sad"])
        array([[1., 0., 1.],
               [0., 0., 0.]], dtype=float32)
    """
    if hasattr(y, "dtype") and np.asarray(y).dtype.kind in "biuf":
        array = np.asarray(y, "float32")
        if array.ndim != 2 or array.shape[1] != len(labels) or not np.isin(array, (0, 1)).all():
            raise ValueError(
                f"Labels of a multi-label model are zeros and ones of shape (n, {len(labels)}), or "
                f"collections of names; received an array of shape {array.shape}."
            )
        return array
    ids = {label: class_id for class_id, label in enumerate(labels)}
    rows = [list(names) if not isinstance(names, str) else [names] for names in y]
    encoded = np.zeros((len(rows), len(ids)), "float32")
    for row, names in zip(encoded, rows, strict=True):
        row[[_class_id(name, ids) for name in names]] = 1.0
    return encoded


def balanced_class_weights(class_ids: np.ndarray) -> dict[int, float]:
    """Returns the weights with which every class counts the same, for `class_weight` of `fit`.

    n / (number of classes x examples of the class), by scikit-learn.

    Args:
        class_ids: *Shape:* (n,).

    Example:
        >>> balanced_class_weights(np.array([0, 0, 0, 1]))
        {0: 0.6666666666666666, 1: 2.0}
    """
    from sklearn.utils.class_weight import compute_class_weight

    classes = np.unique(class_ids)
    weights = compute_class_weight("balanced", classes=classes, y=class_ids)
    return {int(c): float(weight) for c, weight in zip(classes, weights, strict=True)}


def _class_id(label: Any, ids: dict[str, int]) -> int:
    label = label.decode() if isinstance(label, bytes) else label
    if isinstance(label, str) and label in ids:
        return ids[label]
    if isinstance(label, int | np.integer) and 0 <= label < len(ids):
        return int(label)
    raise ValueError(
        f"Unknown label {label!r}: the model's labels are {', '.join(ids)} "
        f"(ids 0 to {len(ids) - 1})."
    )
