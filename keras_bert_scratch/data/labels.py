"""The door for labels: class names, ids, targets and weights -> numbers.

One rule holds wherever labels enter: a label is looked up as a name first. Numbers are class ids
only if no class is named by a number; otherwise they are names.

Axes: n examples, C classes.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from numbers import Number
from typing import Any

import numpy as np

from keras_bert_scratch.data.readers import listed
from keras_bert_scratch.text.columns import column_values, table_columns

# How far the sum of a soft target may be from 1: float16 rounds to 1e-3.
_SUM_TOLERANCE = 5e-3
# An error lists this many of the model's classes.
_LABELS_LISTED = 10


def class_names(labels: Iterable[Any]) -> list[str]:
    """Returns the names of classes as strings, in their order.

    Args:
        labels: C names. Integers, whole floats and booleans become strings such as "1" and "True".

    Raises:
        TypeError: If a name is something else.
        ValueError: If a name is empty, or occurs twice.

    Example:
        >>> class_names([1, 2.0, "other"])
        ['1', '2', 'other']
    """
    names: list[str] = []
    for label in column_values(labels):
        name = _name(label)
        if name is None:
            raise TypeError(
                f"A class is named by a string, a whole number or a boolean, received {label!r}: "
                "convert it to a string."
            )
        names.append(name)
    if "" in names:
        raise ValueError(f"A class needs a name, received '' in {names!r}.")
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"Classes need different names, {twice[0]!r} occurs twice in {names!r}.")
    return names


def encode_labels(y: Any, labels: Sequence[str]) -> np.ndarray:
    """Turns one label an example into the id of its class, or checks probabilities of all classes.

    Args:
        y: n names or n ids, in any container that `text.columns.column_values` accepts; the
            module's docstring says which of the two a number is. Or the probability of every class,
            *shape:* (n, C), such as one-hot rows.
        labels: The C names, in the order of their ids.

    Returns:
        int32 ids, *shape:* (n,); for probabilities float32, *shape:* (n, C).

    Raises:
        ValueError: If a label is unknown, or rows of numbers are not probabilities.
        TypeError: If y is not a column.

    Example:
        >>> encode_labels(["good", "bad"], ["bad", "good"])
        array([1, 0], dtype=int32)
        >>> encode_labels([1, 2], ["1", "2", "3"])
        array([0, 1], dtype=int32)
    """
    rows = _rows(y, labels)
    if rows and all(_is_row(row) for row in rows):
        if all(len(row) == 1 for row in rows):
            rows = [row[0] for row in rows]
        else:
            return _probabilities(rows, labels)
    class_id = _ClassIds(labels)
    return np.array([class_id(label, position) for position, label in enumerate(rows)], "int32")


def class_ids(targets: np.ndarray) -> np.ndarray:
    """Returns the class ids of targets with a single class each.

    Args:
        targets: What `encode_labels` returns.

    Returns:
        int32. *Shape:* (n,).

    Raises:
        ValueError: If a target has several classes.

    Example:
        >>> class_ids(np.array([[0.0, 1.0]]))
        array([1], dtype=int32)
    """
    if targets.ndim == 1:
        return targets
    several = np.flatnonzero(targets.max(axis=1) < 1)
    if len(several):
        raise ValueError(
            f"Expected one class for each example, received the probabilities "
            f"{targets[several[0]].tolist()} at position {several[0]}: give names, ids or one-hot "
            "rows here."
        )
    return targets.argmax(axis=1).astype("int32")


def encode_label_sets(y: Any, labels: Sequence[str]) -> np.ndarray:
    """Turns any number of labels an example into zeros and ones.

    Args:
        y: n rows of C zeros and ones, or n collections of names, in any container that
            `text.columns.column_values` accepts; or a table with a column of zeros and ones for
            each class, with its name.
        labels: The C names, in the order of their ids.

    Returns:
        float32. *Shape:* (n, C).

    Raises:
        ValueError: If a label is unknown, or rows of numbers are ambiguous or neither of these.
        TypeError: If y is not a column of rows.

    Example:
        >>> encode_label_sets([["sad", "funny"], []], ["funny", "long", "sad"])
        array([[1., 0., 1.],
               [0., 0., 0.]], dtype=float32)
        >>> encode_label_sets([[0, 0, 1]], ["funny", "long", "sad"])
        array([[0., 0., 1.]], dtype=float32)
    """
    is_array = hasattr(y, "toarray") or len(getattr(y, "shape", ())) == 2
    rows = _rows(y, labels)
    rows = [[row] if isinstance(row, str | bytes) else row for row in rows]
    if len(labels) == 1:
        rows = [row if _is_row(row) else [row] for row in rows]
    for position, row in enumerate(rows):
        if not _is_row(row):
            raise ValueError(
                f"A model whose texts have several labels takes a list of names, or {len(labels)} "
                f"zeros and ones, for each; received {row!r} at position {position}."
            )
    is_indicator = all(
        len(row) == len(labels) and all(_is_number(value) and value in (0, 1) for value in row)
        for row in rows
    )
    class_id = _ClassIds(labels)
    is_names = all(
        all(class_id.is_name(value) for value in row) and len(set(row)) == len(row) for row in rows
    )
    if is_indicator and (is_array or not is_names):
        return np.array(rows, "float32").reshape(len(rows), len(labels))
    if is_indicator and any(rows):
        raise ValueError(
            f"{rows[0]!r} can be read as zeros and ones, and as names of classes: give names as "
            "strings, or zeros and ones as a numpy array."
        )
    encoded = np.zeros((len(rows), len(labels)), "float32")
    for position, row in enumerate(rows):
        numbers = [value for value in row if _is_number(value)]
        if numbers and not class_id.numbers_are_names:
            raise ValueError(
                f"Rows of numbers are {len(labels)} zeros and ones, one for each of "
                f"{class_id.listing}; received {row!r} at position {position}. Give those, or "
                "names."
            )
        encoded[position, [class_id(name, position) for name in row]] = 1.0
    return encoded


def encode_scores(y: Any) -> np.ndarray:
    """Checks the numbers that a model with one output learns.

    Args:
        y: One number an example, in any container that `text.columns.column_values` accepts.

    Returns:
        float32. *Shape:* (n, 1).

    Raises:
        ValueError: If one is not a finite number.

    Example:
        >>> encode_scores([1, 2.5])
        array([[1. ],
               [2.5]], dtype=float32)
    """
    values = column_values(y)
    for position, value in enumerate(values):
        if not _is_number(value) or not math.isfinite(value):
            raise ValueError(
                f"A model with one output learns finite numbers, received {value!r} at position "
                f"{position}: give a number for each text, or make the model with at least two "
                "labels."
            )
    return np.array(values, "float32").reshape(-1, 1)


def encode_sample_weight(sample_weight: Any, n: int) -> np.ndarray | None:
    """Checks one weight an example.

    Args:
        sample_weight: n numbers, in any container that `text.columns.column_values` accepts; or
            None.
        n: Number of examples.

    Returns:
        float32, *shape:* (n,), or None.

    Raises:
        ValueError: If there are not n, or one is negative or not finite.
    """
    if sample_weight is None:
        return None
    values = column_values(sample_weight)
    if len(values) != n:
        raise ValueError(
            f"There are {n} examples but {len(values)} sample_weight: give one for each."
        )
    return np.array(
        [_weight(value, f"for sample_weight at position {i}") for i, value in enumerate(values)],
        "f4",
    )


def encode_class_weight(class_weight: Any, labels: Sequence[str]) -> np.ndarray:
    """Turns the weights of some classes into one for each.

    Args:
        class_weight: A dict from names or ids to weights; the module's docstring says which of the
            two a number is. Classes that it lacks have weight 1.
        labels: The C names, in the order of their ids.

    Returns:
        float32. *Shape:* (C,).

    Raises:
        TypeError: If it is not a dict.
        ValueError: If a class is unknown or occurs twice, or a weight is negative or not finite.

    Example:
        >>> encode_class_weight({"good": 2.0}, ["bad", "good"])
        array([1., 2.], dtype=float32)
    """
    if not isinstance(class_weight, Mapping):
        raise TypeError(
            f"class_weight is a dict of class to weight, received {class_weight!r}: "
            f"give one such as {{{labels[0]!r}: 2.0}}."
        )
    class_id = _ClassIds(labels)
    found: dict[int, float] = {}
    for key, value in class_weight.items():
        number = class_id(key, None)
        if number in found:
            raise ValueError(f"class_weight names the class {labels[number]!r} twice.")
        found[number] = _weight(value, f"for {key!r} in class_weight")
    return np.array([found.get(number, 1.0) for number in range(len(labels))], "float32")


def balanced_class_weights(class_ids: np.ndarray, labels: Sequence[str]) -> dict[str, float]:
    """Returns weights that make all classes count equally, for `class_weight` of `fit`.

    The weight of a class is n / (number of classes x examples of the class), as in scikit-learn.

    Args:
        class_ids: *Shape:* (n,).
        labels: The C names, in the order of their ids.

    Example:
        >>> balanced_class_weights(np.array([0, 0, 0, 1]), ["bad", "good"])
        {'bad': 0.6666666666666666, 'good': 2.0}
    """
    from sklearn.utils.class_weight import compute_class_weight

    classes = np.unique(class_ids)
    weights = compute_class_weight("balanced", classes=classes, y=class_ids)
    return {labels[c]: float(weight) for c, weight in zip(classes, weights, strict=True)}


class _ClassIds:
    """Looks up class ids by the labels that users give."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.ids = {label: class_id for class_id, label in enumerate(labels)}
        # Names that a number can mean: the number 1 is "1", "1.0" or "01". Two names for the same
        # number can only be distinguished as strings.
        numbers = [_number(label) for label in labels]
        self.by_number = {
            number: class_id
            for class_id, number in enumerate(numbers)
            if number is not None and numbers.count(number) == 1
        }
        self.numbers_are_names = any(number is not None for number in numbers)
        spelled = [label.lower() for label in labels]
        self.booleans = {
            value: spelled.index(str(value).lower())
            for value in (True, False)
            if spelled.count(str(value).lower()) == 1
        }
        self.booleans_are_names = "true" in spelled or "false" in spelled
        self.listing = listed(labels, most=_LABELS_LISTED)

    def is_name(self, label: Any) -> bool:
        """Returns whether a label can be the name of a class."""
        return self._by_name(label) is not None

    def _by_name(self, label: Any) -> int | None:
        name = _name(label)
        if name in self.ids:
            return self.ids[name]
        if isinstance(label, bool | np.bool_) and bool(label) in self.booleans:
            return self.booleans[bool(label)]
        return self.by_number.get(float(label)) if _is_number(label) else None

    def __call__(self, label: Any, position: int | None) -> int:
        class_id = self._by_name(label)
        if class_id is not None:
            return class_id
        name = _name(label)
        # Booleans are 0 and 1, unless they are class names.
        is_name = self.numbers_are_names or (
            isinstance(label, bool | np.bool_) and self.booleans_are_names
        )
        if not is_name and _is_number(label) and name is not None and 0 <= label < len(self.ids):
            return int(label)
        place = "" if position is None else f" at position {position}"
        numbers = (
            "numbers are names here, since classes are named by numbers"
            if self.numbers_are_names
            else f"ids 0 to {len(self.ids) - 1}"
        )
        raise ValueError(
            f"Unknown label {label!r}{place}: the model's labels are {self.listing} ({numbers})."
        )


def _rows(y: Any, labels: Sequence[str]) -> list[Any]:
    """Returns the labels of each example as Python objects."""
    if hasattr(y, "toarray"):  # scipy's sparse matrices
        y = y.toarray()
    table = table_columns(y)
    if table is not None and len(table) > 1:
        names = [_name(name) for name in table]
        if sorted(map(str, names)) != sorted(labels):
            raise ValueError(
                f"A table of labels has a column for each class, {', '.join(labels)}; received "
                f"{', '.join(map(repr, table))}: select or rename them."
            )
        columns = dict(zip(names, table.values(), strict=True))
        return [
            list(row)
            for row in zip(*(column_values(columns[label]) for label in labels), strict=True)
        ]
    rows = column_values(y)
    return [
        row if isinstance(row, str | bytes) or not _is_row(row) else _cells(row) for row in rows
    ]


def _cells(row: Any) -> list[Any]:
    return sorted(row) if isinstance(row, AbstractSet) else column_values(row)


def _is_row(value: Any) -> bool:
    """Returns whether a value is a collection rather than a label."""
    if isinstance(value, str | bytes | Mapping):
        return False
    if hasattr(value, "ndim"):
        return value.ndim > 0
    return isinstance(value, Sequence | AbstractSet) or hasattr(value, "to_pylist")


def _probabilities(rows: list[list[Any]], labels: Sequence[str]) -> np.ndarray:
    for position, row in enumerate(rows):
        if (
            len(row) != len(labels)
            or not all(_is_number(value) and 0 <= value <= 1 for value in row)
            or abs(sum(row) - 1) > _SUM_TOLERANCE
        ):
            raise ValueError(
                f"Each text has one label of {len(labels)}, or the probability of every class, "
                f"which sum to 1; received {row!r} at position {position}. Texts with several "
                "labels need a model made with multi_label=True."
            )
    return np.array(rows, "float32")


def _is_number(value: Any) -> bool:
    return isinstance(value, Number | np.bool_) and not isinstance(value, complex)


def _number(label: str) -> float | None:
    """Returns the number that a name stands for, or None."""
    try:
        number = float(label)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _name(label: Any) -> str | None:
    """Returns a label as the name of a class, or None if it cannot be one."""
    if isinstance(label, bytes):
        return label.decode("utf-8")
    if isinstance(label, str):
        return str(label)
    if isinstance(label, bool | np.bool_):
        return str(bool(label))
    if _is_number(label) and math.isfinite(label) and label == int(label):
        return str(int(label))
    return None


def _weight(value: Any, place: str) -> float:
    if not _is_number(value) or not 0 <= value < math.inf:
        raise ValueError(f"Weights are finite numbers from 0 up, received {value!r} {place}.")
    return float(value)
