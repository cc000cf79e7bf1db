"""Figures of a classifier, all from scikit-learn, as values, text and JSON.

Axes: n examples, C classes.
"""

import dataclasses
import html
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    multilabel_confusion_matrix,
    precision_recall_fscore_support,
)

from keras_bert_scratch.evaluation.significance import bootstrap_intervals
from keras_bert_scratch.tables import format_table, html_table

_SHARES = ("precision", "recall", "f1")
# What the four counts of a class say, where an example may have any number of labels.
OUTCOMES = ("true and predicted", "true, missed", "false alarm", "neither")
# Fewer examples do not tell whether a model is good.
FEWEST_THAT_TELL = 20


@dataclasses.dataclass(frozen=True)
class ClassificationReport:
    """How well a classifier did.

    A share whose denominator is 0 (the precision of a class that was never predicted) is 0.

    Attributes:
        num_examples: n.
        accuracy: Share of the examples that are right; with several labels an example, right in
            every label.
        macro_precision: Mean over all C classes, each with equal weight.
        macro_recall: Likewise.
        macro_f1: Likewise.
        weighted_precision: Mean over the classes, each weighted by its support.
        weighted_recall: Likewise.
        weighted_f1: Likewise.
        intervals: Lower and upper end of the 95 % intervals of `accuracy` and `macro_f1`, found by
            `bootstrap_intervals`.
        per_class: `precision`, `recall`, `f1` and `support` (number of examples that have the
            label) of every class by its name, in the order of the ids.
        confusion_matrix: Number of examples, rows true and columns predicted. *Shape:* (C, C); with
            several labels an example (C, 2, 2), for every class [[TN, FP], [FN, TP]].
        warnings: What a reader should know before believing the figures.
    """

    num_examples: int
    accuracy: float
    macro_precision: float
    macro_recall: float
    macro_f1: float
    weighted_precision: float
    weighted_recall: float
    weighted_f1: float
    intervals: dict[str, tuple[float, float]]
    per_class: dict[str, dict[str, float]]
    confusion_matrix: np.ndarray
    warnings: list[str]

    @property
    def class_names(self) -> list[str]:
        """Names of the classes, in the order of their ids."""
        return list(self.per_class)

    @property
    def is_multi_label(self) -> bool:
        """Whether an example may have any number of labels."""
        return self.confusion_matrix.ndim == 3

    @property
    def outcomes(self) -> np.ndarray:
        """The confusion matrix with several labels, in the order of `OUTCOMES`. *Shape:* (C, 4)."""
        return self.confusion_matrix.reshape(-1, 4)[:, [3, 2, 1, 0]]

    def to_dict(self) -> dict[str, Any]:
        """Returns all attributes as plain JSON types."""
        fields = dataclasses.asdict(self)
        intervals = {name: list(ends) for name, ends in self.intervals.items()}
        matrix = self.confusion_matrix.tolist()
        return {**fields, "intervals": intervals, "confusion_matrix": matrix}

    def __repr__(self) -> str:
        return (
            f"<ClassificationReport: accuracy {self.accuracy:.4f} and macro F1 {self.macro_f1:.4f} "
            f"on {self.num_examples:,} examples of {len(self.per_class)} classes>"
        )

    def to_text(self) -> str:
        """Returns the figures as aligned tables, and the warnings above them."""
        header, rows, title = self._confusion_table()
        parts = [
            *(f"WARNING: {warning}" for warning in self.warnings),
            "\n".join(self._headlines()),
            format_table(*self._figures_table()),
            (f"{title}\n" if title else "") + format_table(header, rows),
        ]
        return "\n\n".join(parts) + "\n"

    def _repr_html_(self) -> str:
        """Shows what `to_text` says in a notebook."""
        header, rows, title = self._confusion_table()
        warnings = [f"<strong>WARNING: {html.escape(text)}</strong>" for text in self.warnings]
        return (
            f"<div><p>{'<br>'.join([*warnings, *map(html.escape, self._headlines())])}</p>"
            f"{html_table(*self._figures_table())}{html_table(header, rows, title)}</div>"
        )

    def _headlines(self) -> list[str]:
        accuracy = "accuracy (all labels right)" if self.is_multi_label else "accuracy"
        return [
            f"{accuracy} {self.accuracy:.4f} on {self.num_examples} examples",
            f"95 % intervals: accuracy {self.interval_text('accuracy')}, macro F1 "
            f"{self.interval_text('macro_f1')}",
        ]

    def _figures_table(self) -> tuple[list[str], list[list[str]]]:
        """Returns the header and the rows of the classes and the averages."""
        rows = [
            [name, *(f"{figures[key]:.4f}" for key in _SHARES), str(figures["support"])]
            for name, figures in self.per_class.items()
        ]
        support = str(sum(int(figures["support"]) for figures in self.per_class.values()))
        for kind in ("macro", "weighted"):
            shares = [f"{getattr(self, f'{kind}_{key}'):.4f}" for key in _SHARES]
            rows.append([f"{kind} average", *shares, support])
        return ["", *_SHARES, "support"], rows

    def interval_text(self, name: str) -> str:
        """Returns the interval of `accuracy` or `macro_f1` in words."""
        return "{:.4f} to {:.4f}".format(*self.intervals[name])

    def _confusion_table(self) -> tuple[list[str], list[list[str]], str]:
        """Returns the header, the rows and the title of the confusion matrix."""
        if self.is_multi_label:
            title, names, header, counts = "", self.class_names, [*OUTCOMES], self.outcomes
        else:
            # Columns have numbers: as wide as their names, twenty would not fit on a screen.
            title = "confusion matrix: rows true, columns predicted"
            header = [f"[{number}]" for number in range(len(self.class_names))]
            names = [" ".join(pair) for pair in zip(self.class_names, header, strict=True)]
            counts = self.confusion_matrix
        rows = [[name, *map(str, row)] for name, row in zip(names, counts.tolist(), strict=True)]
        return ["", *header], rows, title


def evaluate_classification(
    true_ids: Any,
    scores: Any,
    class_names: Sequence[str],
    *,
    multi_label: bool = False,
    threshold: float = 0.5,
) -> ClassificationReport:
    """Compares a classifier's scores with the truth.

    Args:
        true_ids: Class ids, *shape:* (n,); with `multi_label` zeros and ones, *shape:* (n, C).
        scores: Logits or probabilities, of which the largest is the prediction; with `multi_label`
            probabilities. *Shape:* (n, C).
        class_names: C names, in the order of the ids.
        multi_label: Whether an example may have any number of labels.
        threshold: With `multi_label`, a label is predicted if its probability is above this.

    Returns:
        The figures, over all C classes whether they occur or not.

    Raises:
        ValueError: If shapes do not fit each other, there are no examples, a label or a probability
            is out of range, or a score is not a number.

    Example:
        >>> report = evaluate_classification([0, 1, 1], [[2, 1], [3, 0], [0, 1]], ["no", "yes"])
        >>> report.confusion_matrix.tolist()
        [[1, 0], [1, 1]]
    """
    names = list(class_names)
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(f"class_names must be at least two different names, received {names!r}.")
    scores = _checked_scores(scores, len(names))
    true = _checked_labels(true_ids, len(scores), len(names), multi_label)
    if multi_label:
        _check_probabilities(scores, threshold)
    predicted = predicted_ids(scores, multi_label, threshold)
    classes = range(len(names))

    def figures(average: str | None) -> Any:
        return precision_recall_fscore_support(
            true, predicted, labels=classes, average=average, zero_division=0
        )

    averages = {
        f"{average}_{share}": float(value)
        for average in ("macro", "weighted")
        for share, value in zip(_SHARES, figures(average)[:3], strict=True)
    }
    return ClassificationReport(
        num_examples=len(true),
        accuracy=float(accuracy_score(true, predicted)),
        **averages,
        intervals=bootstrap_intervals(true, predicted, len(names)),
        per_class={
            name: {"precision": float(p), "recall": float(r), "f1": float(f1), "support": int(n)}
            for name, p, r, f1, n in zip(names, *figures(None), strict=True)
        },
        confusion_matrix=multilabel_confusion_matrix(true, predicted)
        if multi_label
        else confusion_matrix(true, predicted, labels=classes),
        warnings=_constant_prediction(true, predicted, names),
    )


def predicted_ids(scores: Any, multi_label: bool = False, threshold: float = 0.5) -> np.ndarray:
    """Returns a classifier's answers; for the arguments, see `evaluate_classification`.

    Returns:
        Class ids, *shape:* (n,); with `multi_label` zeros and ones, *shape:* (n, C).

    Example:
        >>> predicted_ids([[0.3, 0.7]]), predicted_ids([[0.3, 0.7]], multi_label=True)
        (array([1]), array([[0, 1]]))
    """
    scores = np.asarray(scores)
    return (scores > threshold).astype(int) if multi_label else scores.argmax(axis=1)


def _checked_scores(scores: Any, num_classes: int) -> np.ndarray:
    scores = np.asarray(scores)
    if scores.ndim != 2 or scores.shape[1] != num_classes:
        raise ValueError(
            f"scores must have shape (examples, classes) = (n, {num_classes}), received "
            f"{scores.shape}: give one score for each of class_names."
        )
    if not len(scores):
        raise ValueError("There are no examples to evaluate: give at least one.")
    bad = np.flatnonzero(np.isnan(scores).any(axis=1))
    if len(bad):
        raise ValueError(
            f"scores are NaN for {len(bad)} of {len(scores)} examples, the first at position "
            f"{bad[0]}: the model's weights or inputs are not finite."
        )
    return scores


def _checked_labels(
    true_ids: Any, num_examples: int, num_classes: int, multi_label: bool
) -> np.ndarray:
    true = np.asarray(true_ids)
    shape = (num_examples, num_classes) if multi_label else (num_examples,)
    if true.shape != shape:
        raise ValueError(
            f"true_ids must have shape {shape} to fit the scores"
            f"{' and multi_label' * multi_label}, received {true.shape}."
        )
    highest = 1 if multi_label else num_classes - 1
    # isin would compare the names "0" and "1" with the ids 0 and 1.
    is_numeric = true.dtype.kind in "biuf"
    is_allowed = is_numeric & np.isin(true, np.arange(highest + 1))
    if not is_allowed.all():
        raise ValueError(
            f"true_ids must be integers from 0 to {highest}, received "
            f"{true[~is_allowed][0].item()!r} at position {np.argwhere(~is_allowed)[0].tolist()}: "
            "turn names into ids, by their place in class_names."
        )
    return true.astype(int)


def _check_probabilities(scores: np.ndarray, threshold: float) -> None:
    if not 0 < threshold < 1:
        raise ValueError(f"threshold must be between 0 and 1, both excluded, received {threshold}.")
    if scores.min() < 0 or scores.max() > 1:
        raise ValueError(
            f"With multi_label scores must be probabilities, received values from "
            f"{scores.min():.4g} to {scores.max():.4g}: apply the sigmoid to logits first."
        )


def _constant_prediction(true: np.ndarray, predicted: np.ndarray, names: list[str]) -> list[str]:
    """Warns if the answer does not depend on the example, though it should."""
    if len(true) < FEWEST_THAT_TELL or (predicted != predicted[0]).any() or (true == true[0]).all():
        return []
    if predicted.ndim == 2:
        chosen = [names[class_id] for class_id in np.flatnonzero(predicted[0])]
        answer = f"the labels {', '.join(map(repr, chosen))}" if chosen else "no label at all"
        advice = "another threshold, a smaller learning rate or more epochs"
    else:
        answer = f"the class {names[predicted[0]]!r}"
        advice = "a smaller learning rate, warm-up, more epochs or class weights"
    return [
        f"All {len(predicted)} predictions are {answer}: the model does not tell examples apart. "
        f"Try {advice}, and check that texts and labels belong together."
    ]
