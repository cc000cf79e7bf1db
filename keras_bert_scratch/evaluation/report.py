"""A folder that tells how a classifier did, and what goes into it."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_bert_scratch.evaluation.baseline import compare_with_baseline
from keras_bert_scratch.evaluation.calibration import Calibration
from keras_bert_scratch.evaluation.classification import ClassificationReport
from keras_bert_scratch.evaluation.duplicates import find_duplicates
from keras_bert_scratch.evaluation.errors import explain_errors, find_errors
from keras_bert_scratch.evaluation.label_noise import find_label_suspects
from keras_bert_scratch.evaluation.plots import (
    plot_calibration,
    plot_confusion_matrix,
    plot_learning_curves,
    plot_stress,
)
from keras_bert_scratch.evaluation.report_page import report_page
from keras_bert_scratch.evaluation.slices import evaluate_slices, length_groups
from keras_bert_scratch.evaluation.stress import PERTURBATIONS, StressReport, stress_test
from keras_bert_scratch.files import new_folder
from keras_bert_scratch.text.columns import joined_columns, text_columns

# Texts whose answers tell how long an answer takes, and the most texts of a bounded stress test.
_TIMED_TEXTS, _MOST_STRESSED = 32, 500


def write_report(
    directory: str | Path,
    report: ClassificationReport,
    history: Any = None,
    calibration: Calibration | None = None,
    details: Mapping[str, Any] | None = None,
    *,
    title: str = "Report",
    training: Mapping[str, Any] | None = None,
    card: str | None = None,
) -> None:
    """Writes report.html, a page with everything, and the same as texts, JSON and pictures.

    The page is one file that needs no other, nor the network. Beside it stand report.txt,
    report.json and confusion_matrix.png; learning_curves.png with a history; with a calibration
    calibration.json and calibration.png; with details a text and a JSON file of each, some of which
    quote examples, and of a stress report a picture; with a card README.md.

    Args:
        directory: The folder to write; must not exist, or be empty. It appears when complete.
        report: A report of `evaluate_classification`.
        history: The result of `fit`, or its `history`, or None.
        calibration: A result of `calibrate`, or None.
        details: Objects with `to_text` and `to_dict`, such as `Slices` or `BaselineComparison`, by
            the names of their files, see `examine`; or None.
        title: What the page is called.
        training: How the model was trained, by the names of the settings; or None.
        card: A model card, such as `model_card` returns, or None.

    Raises:
        FileExistsError: If the folder exists and is not empty.
        ValueError: If the history holds no epoch.

    Example:
        >>> report = evaluate_classification([0, 1], [[2, 1], [0, 1]], ["no", "yes"])
        >>> write_report("report", report)
    """
    with new_folder(directory) as folder:

        def write_json(name: str, figures: dict[str, Any]) -> None:
            text = json.dumps(figures, indent=2, ensure_ascii=False)
            (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")

        for name, found in {"report": report, **(details or {})}.items():
            (folder / f"{name}.txt").write_text(found.to_text(), encoding="utf-8")
            write_json(name, found.to_dict())
            if isinstance(found, StressReport):
                plot_stress(found, folder / f"{name}.png")
        plot_confusion_matrix(report, folder / "confusion_matrix.png")
        if history is not None:
            plot_learning_curves(history, folder / "learning_curves.png")
        if calibration is not None:
            write_json("calibration", calibration.to_dict())
            plot_calibration(calibration, folder / "calibration.png")
        page = report_page(
            report,
            title=title,
            history=history,
            calibration=calibration,
            details=details,
            training=training,
        )
        (folder / "report.html").write_text(page, encoding="utf-8")
        if card is not None:
            (folder / "README.md").write_text(card, encoding="utf-8")


def examine(
    model: Any,
    texts: Any,
    true_ids: Any,
    probabilities: Any,
    *,
    multi_label: bool = False,
    train: tuple[Any, Any] | None = None,
    column: Any = None,
    stress: bool = False,
    seconds: float = 10,
    batch_size: int = 32,
) -> dict[str, Any]:
    """Finds what a report tells besides the figures: the details for `write_report`.

    Args:
        model: A `BertClassifier`, or an export of one.
        texts: n held-out texts, or a tuple of two columns of them.
        true_ids: Class ids, *shape:* (n,); with `multi_label` zeros and ones, *shape:* (n, C).
        probabilities: The model's probabilities of the texts. *Shape:* (n, C).
        multi_label: Whether a text may have any number of labels.
        train: Texts and label ids that the model was trained on, to look for leaks and to compare
            with TF-IDF; or None.
        column: A group for each text, such as its source, to give figures of each; or None.
        stress: Whether to stress all texts, however long it takes.
        seconds: Time for what is costly: at most about this for the explanation of errors, and for
            a stress test with as many texts as fit. 0 leaves both out.
        batch_size: Number of texts that are asked at a time.

    Returns:
        Objects with `to_text` and `to_dict` by their names.

    Example:
        >>> details = examine(model, texts, ids, model.probabilities(texts), train=(others, theirs))
        >>> write_report("report", report, details=details)
    """
    how: dict[str, Any] = {"multi_label": multi_label}
    quoted = joined_columns(texts)
    details: dict[str, Any] = {}
    if seconds:
        errors = find_errors(true_ids, probabilities, model.labels, quoted, **how)
        is_explained = hasattr(model, "encoder") and text_columns(texts)[1] is None
        details["errors"] = (
            explain_errors(model, errors, seconds=seconds) if is_explained else errors
        )
    for by, names in {"length": length_groups(texts), "column": column}.items():
        if names is not None:
            details[f"by_{by}"] = evaluate_slices(
                names, true_ids, probabilities, model.labels, **how
            )
    if not multi_label:
        details["label_suspects"] = find_label_suspects(
            true_ids, probabilities, model.labels, quoted
        )
    if train is not None:
        details["leaks"] = find_duplicates(texts, train[0])
        details["baseline"] = compare_with_baseline(
            train, (texts, true_ids), probabilities, model.labels, **how
        )
    if stress or seconds:

        def ask(asked: Any) -> np.ndarray:
            return model.probabilities(asked, batch_size)

        columns = [column for column in text_columns(texts) if column is not None]
        chosen = np.arange(len(quoted)) if stress else _that_fit(ask, columns, seconds)
        details["stress"] = stress_test(
            ask,
            _taken(columns, chosen),
            np.asarray(true_ids)[chosen],
            model.labels,
            **how,
        )
    return details


def _that_fit(
    probabilities: Callable[[Any], np.ndarray], columns: list[list[str]], seconds: float
) -> np.ndarray:
    """Draws as many texts as can be asked under every perturbation in some seconds."""
    order = np.random.default_rng(0).permutation(len(columns[0]))[:_MOST_STRESSED]
    timed = order[:_TIMED_TEXTS]
    for _ in range(2):
        start = time.monotonic()
        probabilities(_taken(columns, timed))
        each = (time.monotonic() - start) / len(timed)
        count = int(seconds / (each * (1 + len(PERTURBATIONS)) + 1e-9))
        # The first answers may have compiled the graph: only if they are too slow, ask again.
        if count >= len(order):
            break
    return np.sort(order[: max(count, 1)])


def _taken(columns: list[list[str]], indices: np.ndarray) -> Any:
    taken = tuple([column[i] for i in indices] for column in columns)
    return taken if len(taken) > 1 else taken[0]
