"""A folder that tells how a classifier did."""

import json
from pathlib import Path
from typing import Any

from keras_bert_scratch.evaluation.calibration import Calibration
from keras_bert_scratch.evaluation.classification import ClassificationReport
from keras_bert_scratch.evaluation.plots import (
    plot_calibration,
    plot_confusion_matrix,
    plot_learning_curves,
)
from keras_bert_scratch.files import new_folder


def write_report(
    directory: str | Path,
    report: ClassificationReport,
    history: Any = None,
    calibration: Calibration | None = None,
) -> None:
    """Writes report.txt, report.json and confusion_matrix.png; learning_curves.png with a history.

    With a calibration also calibration.json and calibration.png.

    Args:
        directory: The folder to write; must not exist, or be empty. It appears when complete.
        report: Of `evaluate_classification`.
        history: What `fit` returned, or its `history`, or None.
        calibration: What `calibrate` returned, or None.

    Raises:
        FileExistsError: If the folder exists and is not empty.
        ValueError: If the history holds no epoch.

    Example:
        >>> report = evaluate_classification([0, 1], [[2, 1], [0, 1]], ["no", "yes"])
        >>> write_report("report", report)
    """
    with new_folder(directory) as folder:
        (folder / "report.txt").write_text(report.to_text(), encoding="utf-8")
        (folder / "report.json").write_text(report.to_json() + "\n", encoding="utf-8")
        plot_confusion_matrix(report, folder / "confusion_matrix.png")
        if history is not None:
            plot_learning_curves(history, folder / "learning_curves.png")
        if calibration is not None:
            figures = json.dumps(calibration.to_dict(), indent=2)
            (folder / "calibration.json").write_text(figures + "\n", encoding="utf-8")
            plot_calibration(calibration, folder / "calibration.png")
