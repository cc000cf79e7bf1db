"""What each column of a table is worth to a classifier: alone, left out, and beside a baseline.

Axes: n examples, C classes, K columns.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_bert_scratch.data.table import Column, resize_picture
from keras_bert_scratch.evaluation.baseline import (
    MOST_EXAMPLES,
    SIGNIFICANT,
    commonest_scores,
    few_examples_note,
    linear_classifier,
    text_vectorizer,
)
from keras_bert_scratch.evaluation.classification import (
    FEWEST_THAT_TELL,
    ClassificationReport,
    evaluate_classification,
    predicted_ids,
)
from keras_bert_scratch.evaluation.errors import find_errors
from keras_bert_scratch.evaluation.label_noise import find_label_suspects
from keras_bert_scratch.evaluation.significance import McNemar, mcnemar
from keras_bert_scratch.evaluation.slices import evaluate_slices
from keras_bert_scratch.tables import format_table

# Of the baseline's pictures.
_PICTURE_SIDE = 8


@dataclasses.dataclass(frozen=True)
class ColumnComparison:
    """A classifier with all of its columns, with each alone and without each.

    Attributes:
        all_columns: Figures with all columns.
        alone: Figures of the same model where all other columns are hidden, by column.
        without: Figures of the same model where the column is hidden, by column.
        baseline: Figures of logistic regression on TF-IDF, numbers, categories, mean spectrograms,
            and small pictures, or what a frozen encoder tells of them.
        commonest: Figures of the answer that is always the commonest one of the training examples.
        tests: McNemar's test of all columns (first) and all but this one (second), by column.
        baseline_test: McNemar's test of all columns (first) and the baseline (second).
    """

    all_columns: ClassificationReport
    alone: Mapping[str, ClassificationReport]
    without: Mapping[str, ClassificationReport]
    baseline: ClassificationReport
    commonest: ClassificationReport
    tests: Mapping[str, McNemar]
    baseline_test: McNemar

    def to_dict(self) -> dict[str, Any]:
        """Returns all attributes as plain JSON types."""
        return {
            "all_columns": self.all_columns.to_dict(),
            "alone": {name: report.to_dict() for name, report in self.alone.items()},
            "without": {name: report.to_dict() for name, report in self.without.items()},
            "baseline": self.baseline.to_dict(),
            "commonest": self.commonest.to_dict(),
            "tests": {name: test._asdict() for name, test in self.tests.items()},
            "baseline_test": self.baseline_test._asdict(),
        }

    def to_text(self) -> str:
        """Returns the figures as a table, after what a reader should know first."""
        rows = [
            [
                name,
                *(f"{report.accuracy:.4f}", report.interval_text("accuracy")),
                *(f"{report.macro_f1:.4f}", report.interval_text("macro_f1")),
                "" if test is None else f"{test.p_value:.2g}",
            ]
            for name, report, test in self.rows
        ]
        count = f"{self.all_columns.num_examples} examples"
        header = [count, "accuracy", "95 %", "macro F1", "95 %", "p"]
        lines = [*self.warnings, format_table(header, rows)]
        lines.append("p: McNemar's exact test against all columns")
        return "\n".join(lines) + "\n"

    @property
    def rows(self) -> list[tuple[str, ClassificationReport, McNemar | None]]:
        """Each line of the comparison: its name, its figures, and its test against all columns."""
        return [
            ("all columns", self.all_columns, None),
            *((f"{name} alone", report, None) for name, report in self.alone.items()),
            *((f"without {name}", self.without[name], self.tests[name]) for name in self.without),
            ("TF-IDF, values + logistic regression", self.baseline, self.baseline_test),
            ("always the commonest", self.commonest, None),
        ]

    @property
    def warnings(self) -> list[str]:
        """What a reader should know before using the model."""
        if self.all_columns.num_examples < FEWEST_THAT_TELL:
            return [few_examples_note(self.all_columns.num_examples)]
        warnings = []
        accuracy = self.all_columns.accuracy
        if accuracy <= self.commonest.accuracy:
            warnings.append(
                "WARNING: The model is no better than always answering the commonest class: check "
                "that rows and labels belong together, and train it longer or on more rows."
            )
        for name, test in self.tests.items():
            loses = accuracy < self.without[name].accuracy
            if loses and test.p_value <= SIGNIFICANT:
                warnings.append(
                    f"WARNING: The model is better without the column {name!r}: leave it out."
                )
            elif loses or test.p_value > SIGNIFICANT:
                warnings.append(
                    f"NOTE: The column {name!r} adds nothing beyond chance to the others."
                )
        if accuracy <= self.baseline.accuracy:
            warnings.append(
                "WARNING: The model does not beat logistic regression on TF-IDF and values: train "
                "it longer or on more rows, start from other weights, or use the baseline."
            )
        elif self.baseline_test.p_value > SIGNIFICANT:
            warnings.append(
                "NOTE: The model beats logistic regression on TF-IDF and values, but not beyond "
                "chance: more held-out examples would tell."
            )
        return warnings


def compare_columns(
    model: Any, train: tuple[Any, Any], held_out: tuple[Any, Any], batch_size: int = 32
) -> ColumnComparison:
    """Evaluates a classifier of columns with all, with each alone and without each of them.

    Hidden columns are taken as missing, which the model has met in training if its
    `column_dropout` is above 0. A model that is trained on one column alone may do better with it.

    Args:
        model: A trained `ColumnClassifier` of one label an example.
        train: The table and the labels that it was trained on, for the baseline.
        held_out: The same of n examples that it was not trained on.
        batch_size: B.

    Raises:
        ValueError: If the model learns a score or several labels an example, or something is
            refused by `evaluate_classification`.

    Example:
        >>> comparison = compare_columns(model, (train, train_labels), (held_out, labels))
        >>> print(comparison.to_text())
    """
    if model.is_score or model.multi_label:
        raise ValueError(
            f"{model.name} learns {'a score' if model.is_score else 'several labels an example'}, "
            "and columns are compared by one label an example."
        )
    examples, others = model.examples(held_out[0]), model.examples(train[0])
    true_ids, train_ids = model.encode_labels(held_out[1]), model.encode_labels(train[1])
    names = list(model.columns)

    def scores(hidden: Sequence[str]) -> np.ndarray:
        return model.predict(model.hide(examples, hidden), batch_size, verbose=0)

    found: dict[Any, np.ndarray] = {
        "all": scores([]),
        "baseline": _baseline_scores(model.columns, others, train_ids, examples, model.labels),
        "commonest": commonest_scores(train_ids, len(true_ids), len(model.labels)),
        **{("without", name): scores([name]) for name in names},
        **{("alone", name): scores([other for other in names if other != name]) for name in names},
    }
    reports = {
        kind: evaluate_classification(true_ids, rows, model.labels) for kind, rows in found.items()
    }
    is_right = {kind: predicted_ids(rows) == true_ids for kind, rows in found.items()}
    return ColumnComparison(
        all_columns=reports["all"],
        alone={name: reports["alone", name] for name in names},
        without={name: reports["without", name] for name in names},
        baseline=reports["baseline"],
        commonest=reports["commonest"],
        tests={name: mcnemar(is_right["all"], is_right["without", name]) for name in names},
        baseline_test=mcnemar(is_right["all"], is_right["baseline"]),
    )


def examine_rows(
    model: Any,
    table: Any,
    true_ids: np.ndarray,
    probabilities: np.ndarray,
    quotes: Sequence[str],
    *,
    multi_label: bool = False,
    train: tuple[Any, Any] | None = None,
    groups: Any = None,
    batch_size: int = 32,
) -> dict[str, Any]:
    """Finds what a report tells besides the figures; `examine` does so for texts.

    Args:
        model: A `ColumnClassifier`; without `train` it may be an export.
        table: n held-out rows.
        true_ids: Class ids, *shape:* (n,); with `multi_label` zeros and ones, *shape:* (n, C).
        probabilities: The model's probabilities of the rows. *Shape:* (n, C).
        quotes: A line for each row, by which it is quoted.
        multi_label: Whether a row may have any number of labels.
        train: The table and the label ids that the model was trained on, to compare the columns
            where a row has one label; or None.
        groups: A group for each row, to give figures of each; or None.
        batch_size: Number of rows that are asked at a time.

    Returns:
        Objects with `to_text` and `to_dict` by their names.

    Example:
        >>> probabilities = model.probabilities(table)
        >>> details = examine_rows(model, table, ids, probabilities, titles, train=(others, theirs))
        >>> write_report("report", report, details=details)
    """
    how: dict[str, Any] = {"multi_label": multi_label}
    labels = model.labels
    details: dict[str, Any] = {}
    if train is not None and not multi_label:
        details["columns"] = compare_columns(model, train, (table, true_ids), batch_size)
    details["errors"] = find_errors(true_ids, probabilities, labels, quotes, **how)
    if groups is not None:
        details["by_column"] = evaluate_slices(groups, true_ids, probabilities, labels, **how)
    if not multi_label:
        details["label_suspects"] = find_label_suspects(true_ids, probabilities, labels, quotes)
    return details


def _baseline_scores(
    columns: Mapping[str, Column],
    train: Any,
    train_ids: np.ndarray,
    held_out: Any,
    labels: Sequence[str],
) -> np.ndarray:
    """Returns the baseline's probabilities. *Shape:* (n, C)."""
    from scipy.sparse import csr_array, hstack

    drawn = np.random.default_rng(0).permutation(len(train))[:MOST_EXAMPLES]
    train, train_ids = train.take(drawn), train_ids[drawn]
    parts = []
    for texts, other_texts in zip(train.columns, held_out.columns, strict=True):
        if any(texts):
            vectorizer = text_vectorizer()
            parts.append([vectorizer.fit_transform(texts), vectorizer.transform(other_texts)])
    for name, column in columns.items():
        if column.kind != "text":
            features = _features(column, [*train.values[name], *held_out.values[name]])
            parts.append([csr_array(part) for part in np.split(features, [len(train)])])
    x, other_x = (hstack(list(side)).tocsr() for side in zip(*parts, strict=True))
    classifier = linear_classifier().fit(x, train_ids)
    # Classes without a training example keep a probability of 0.
    scores = np.zeros((len(held_out), len(labels)))
    scores[:, classifier.classes_] = classifier.predict_proba(other_x)
    return scores


def _features(column: Column, values: Sequence[Any]) -> np.ndarray:
    """Returns features of a column, and whether a value is missing. *Shape:* (n, features)."""
    is_missing = np.array([value is None for value in values])[:, np.newaxis]
    if column.kind == "image" and any(value is not None and value.ndim == 2 for value in values):
        # The states of a frozen encoder, of length 1 as rows of TF-IDF are.
        ready = column.ready(values).reshape(len(values), -1)
        ready /= np.linalg.norm(ready, axis=1, keepdims=True).clip(1e-9)
    elif column.kind == "image":
        side = _PICTURE_SIDE
        black = np.zeros((side, side, 3), "uint8")
        pictures = [black if v is None else resize_picture(v, side, side) for v in values]
        ready = np.stack(pictures).reshape(len(values), -1) / 255
    else:
        ready = column.ready(values)
        if column.kind == "audio":
            ready = ready.mean(axis=2)[..., 0]  # of each band
        elif column.kind == "category":
            ready = ready == np.arange(len(column.to_dict()["categories"]) + 1)
    return np.hstack([ready, is_missing]).astype("float32")
