"""A folder that tells how a classifier did."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_bert_scratch.evaluation.calibration import Calibration
from keras_bert_scratch.evaluation.classification import ClassificationReport
from keras_bert_scratch.evaluation.plots import (
    plot_calibration,
    plot_confusion_matrix,
    plot_learning_curves,
    plot_stress,
)
from keras_bert_scratch.evaluation.stress import StressReport
from keras_bert_scratch.files import new_folder


def write_report(
    directory: str | Path,
    report: ClassificationReport,
    history: Any = None,
    calibration: Calibration | None = None,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Writes report.txt, report.json and confusion_matrix.png; learning_curves.png with a history.

    With a calibration also calibration.json and calibration.png; with details a text and a JSON
    file of each, some of which quote examples, and of a stress report a picture.

    Args:
        directory: The folder to write; must not exist, or be empty. It appears when complete.
        report: A report of `evaluate_classification`.
        history: The result of `fit`, or its `history`, or None.
        calibration: A result of `calibrate`, or None.
        details: Objects with `to_text` and `to_dict`, such as `Slices` or `BaselineComparison`, by
            the names of their files; or None.

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
