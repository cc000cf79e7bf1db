"""Where a classifier is better and worse: its figures for groups of examples.

Axes: n examples, C classes.
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_bert_scratch.evaluation.classification import (
    ClassificationReport,
    evaluate_classification,
)
from keras_bert_scratch.tables import format_table
from keras_bert_scratch.text.columns import joined_columns


@dataclasses.dataclass(frozen=True)
class Slices:
    """The figures of every group.

    Attributes:
        reports: Reports by the names of the groups, sorted by names and the numbers in them.
    """

    reports: dict[str, ClassificationReport]

    def to_dict(self) -> dict[str, Any]:
        """Returns all figures as plain JSON types."""
        return {name: report.to_dict() for name, report in self.reports.items()}

    def to_text(self) -> str:
        """Returns a table with a row for each group."""
        rows = [
            [
                name,
                str(report.num_examples),
                f"{report.accuracy:.4f}",
                report.interval_text("accuracy"),
                f"{report.macro_f1:.4f}",
            ]
            for name, report in self.reports.items()
        ]
        header = ["", "examples", "accuracy", "95 % interval", "macro F1"]
        return format_table(header, rows) + "\n"


def evaluate_slices(
    groups: Sequence[str],
    true_ids: Any,
    scores: Any,
    class_names: Sequence[str],
    *,
    multi_label: bool = False,
) -> Slices:
    """Evaluates every group of examples on its own.

    Args:
        groups: Name of the group of every example. *Shape:* (n,).
        true_ids: See `evaluate_classification`, for this and the other arguments.
        scores: Logits or probabilities.
        class_names: C names.
        multi_label: Whether an example may have any number of labels.

    Raises:
        TypeError: If a group is not a string.
        ValueError: If there is not one group for each example, or `evaluate_classification` refuses
            one.

    Example:
        >>> slices = evaluate_slices(
        ...     ["web", "web", "mail"], [0, 1, 1], [[1, 0], [0, 1], [1, 0]], ["no", "yes"]
        ... )
        >>> {name: report.accuracy for name, report in slices.reports.items()}
        {'mail': 0.0, 'web': 1.0}
    """
    strangers = [group for group in groups if not isinstance(group, str)]
    if strangers:
        raise TypeError(
            f"Groups are strings, received {strangers[0]!r}: choose a column of single names."
        )
    true, scores, names = np.asarray(true_ids), np.asarray(scores), np.asarray(groups)
    if not len(names) == len(true) == len(scores):
        raise ValueError(
            f"There are {len(names)} groups for {len(scores)} scores and {len(true)} labels: give "
            "one of each an example."
        )
    reports = {
        name: evaluate_classification(
            true[names == name], scores[names == name], class_names, multi_label=multi_label
        )
        for name in sorted(set(groups), key=_by_number)
    }
    return Slices(reports)


def _by_number(name: str) -> list[str | int]:
    """Sorts "9 words" before "10 words": every other part is a number."""
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"(\d+)", name))]


def length_groups(texts: Any) -> list[str]:
    """Divides texts by their number of words into four groups of about the same size.

    There are fewer if many texts are equally long. Words are separated by white space: a long
    Chinese text counts as one.

    Args:
        texts: n strings; or a tuple of two columns of them, whose words are added up.

    Returns:
        The name of every text's group.

    Example:
        >>> length_groups(["one", "one two", "one two three", "one two three four"])
        ['1 words', '2 words', '3 words', '4 words']
    """
    lengths = np.array([len(text.split()) for text in joined_columns(texts)])
    bounds = np.quantile(lengths, [0.25, 0.5, 0.75], method="lower")
    # A length on a bound goes to the group below it.
    group_ids = np.searchsorted(np.unique(bounds), lengths)
    names = {}
    for group_id in np.unique(group_ids):
        members = lengths[group_ids == group_id]
        shortest, longest = members.min(), members.max()
        span = f"{shortest} to {longest}" if shortest < longest else f"{shortest}"
        names[group_id] = f"{span} words"
    return [names[group_id] for group_id in group_ids]
