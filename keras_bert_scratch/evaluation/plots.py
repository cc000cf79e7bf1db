"""Pictures of a classifier and of its training.

Each function returns a figure, and writes it to `path` if that is given; the suffix of the path
says which kind of image. Figures are made without pyplot, so that the user's own backend and open
figures stay untouched. Matplotlib's settings apply: for class names in Chinese, name a font that
has its characters, `matplotlib.rcParams["font.family"] = ["DejaVu Sans", "Noto Sans CJK SC"]`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from keras_bert_scratch.evaluation.calibration import Calibration, binned
from keras_bert_scratch.evaluation.classification import OUTCOMES, ClassificationReport
from keras_bert_scratch.evaluation.stress import StressReport
from keras_bert_scratch.files import new_file
from keras_bert_scratch.tables import shortened

if TYPE_CHECKING:
    # It imports Keras, which the pictures do not need.
    from keras_bert_scratch.evaluation.explanations import Explanation, Faithfulness

_LONGEST_NAME = 28
# With more classes, counts would be too small to read; the colors still show where errors are.
_MOST_CLASSES_WITH_COUNTS = 40
_DPI = 150
_TRAIN_COLOR, _VALIDATION_COLOR = "#4878a8", "#d1652b"
# Metrics with one of these in their names are better when smaller.
_SMALLER_IS_BETTER = ("loss", "error", "entropy", "perplexity", "divergence")


def plot_confusion_matrix(report: ClassificationReport, path: str | Path | None = None) -> Figure:
    """Draws the confusion matrix: counts, colored by their share of the row.

    If examples may have several labels, each class has a row: how often its label was found,
    missed, given in error, and rightly not given.

    Args:
        report: A report of `evaluate_classification`.
        path: Image file to write, or None.

    Example:
        >>> report = evaluate_classification([0, 1], [[2, 1], [0, 1]], ["no", "yes"])
        >>> figure = plot_confusion_matrix(report, "confusion_matrix.png")
    """
    names = [shortened(name, _LONGEST_NAME) for name in report.class_names]
    if report.is_multi_label:
        counts, columns = report.outcomes, OUTCOMES
        x_label, y_label, what_is_right = "", "Label", "All labels right"
    else:
        counts, columns = report.confusion_matrix, names
        x_label, y_label, what_is_right = "Predicted class", "True class", "Accuracy"
    figure, axes = _figure(*_heatmap_size(names, columns))
    _draw_heatmap(axes, counts, names, columns)
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.set_title(
        f"{what_is_right} {report.accuracy:.1%}, macro F1 {report.macro_f1:.3f} "
        f"({report.num_examples} examples)",
        fontsize=10,
    )
    bar = figure.colorbar(axes.images[0], ax=axes, format="{x:.0%}", shrink=0.8, aspect=30)
    bar.set_label("Share of the row")
    return _written(figure, path)


def _heatmap_size(names: Sequence[str], columns: Sequence[str]) -> tuple[float, float]:
    """Returns width and height in inches: square cells, and room for the names."""
    cell = 0.8 if len(names) <= 8 else 0.5 if len(names) <= _MOST_CLASSES_WITH_COUNTS else 0.2
    names_room = 0.075 * max(map(len, names))
    columns_room = 0.06 * max(map(len, columns))
    width = max(cell * len(columns), 2) + names_room + 2
    height = max(cell * len(names), 2) + columns_room + 1
    return min(max(width, 5), 24), min(height, 22)


def _draw_heatmap(
    axes: Axes, counts: np.ndarray, names: Sequence[str], columns: Sequence[str]
) -> None:
    # A class without examples has an empty row: its shares are 0, not NaN.
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    font_size = 9 if len(names) <= _MOST_CLASSES_WITH_COUNTS else 6
    # Without parse_math, a dollar in a name stays a dollar.
    axes.set_yticks(range(len(names)), names, fontsize=font_size, parse_math=False)
    # Short names fit below their cells; others would overlap.
    is_flat = max(map(len, columns)) <= 8 and len(columns) <= 8
    axes.set_xticks(
        range(len(columns)),
        columns,
        fontsize=font_size,
        parse_math=False,
        rotation=0 if is_flat else 45,
        ha="center" if is_flat else "right",
        rotation_mode="anchor",
        va="top" if is_flat else "center",
    )
    if len(names) > _MOST_CLASSES_WITH_COUNTS:
        return
    largest = 11 if len(names) <= 8 else 8
    for (row, column), count in np.ndenumerate(counts):
        axes.text(
            column,
            row,
            str(count),
            ha="center",
            va="center",
            # Long numbers shrink to fit the cell.
            fontsize=largest * min(1, 4 / len(str(count))),
            color="white" if shares[row, column] > 0.5 else ("black" if count else "#b0b0b0"),
        )


def plot_learning_curves(history: Any, path: str | Path | None = None) -> Figure:
    """Draws each metric over the epochs, training and validation, with the best epoch marked.

    The best epoch is that of the validation curve, or of the training curve if there is none:
    the smallest value of losses and errors, the largest of other metrics. If validation ran every
    k-th epoch, k is taken to be the number of epochs over the number of validations, rounded down.

    Args:
        history: The result of `fit`, or its `history`: a list of values, one for each epoch, for
            every metric; names of validation metrics start with `val_`.
        path: Image file to write, or None.

    Raises:
        ValueError: If the history holds no epoch.

    Example:
        >>> history = {"loss": [0.7, 0.4, 0.2], "val_loss": [0.6, 0.5, 0.55]}
        >>> figure = plot_learning_curves(history, "learning_curves.png")
    """
    curves: Mapping[str, Sequence[float]] = getattr(history, "history", history)
    metrics = [name for name, values in curves.items() if len(values) and name[:4] != "val_"]
    if not metrics:
        raise ValueError("The history holds no epoch: train for at least one before drawing it.")
    num_columns = min(len(metrics), 3)
    num_rows = -(-len(metrics) // num_columns)
    figure = Figure(figsize=(4.2 * num_columns, 3.2 * num_rows), layout="constrained")
    for place, name in enumerate(metrics, start=1):
        axes = figure.add_subplot(num_rows, num_columns, place)
        _draw_curves(axes, name, curves[name], curves.get(f"val_{name}", []))
    return _written(figure, path)


def _draw_curves(
    axes: Axes, name: str, train: Sequence[float], validation: Sequence[float]
) -> None:
    epochs = np.arange(1, len(train) + 1)
    axes.plot(epochs, train, color=_TRAIN_COLOR, marker=".", label="training")
    if len(validation):
        interval = len(train) // len(validation)
        epochs = interval * np.arange(1, len(validation) + 1)
        axes.plot(epochs, validation, color=_VALIDATION_COLOR, marker=".", label="validation")
    best_of = np.asarray(validation if len(validation) else train, float)
    # The learning rate measures nothing; a curve without a number has no best epoch.
    if name != "learning_rate" and not np.isnan(best_of).all():
        smaller_is_better = any(word in name for word in _SMALLER_IS_BETTER)
        best = np.nanargmin(best_of) if smaller_is_better else np.nanargmax(best_of)
        axes.plot(
            epochs[best],
            best_of[best],
            color="black",
            linestyle="none",
            marker="o",
            markersize=9,
            fillstyle="none",
            label=f"best: {best_of[best]:.4g}, epoch {epochs[best]}",
        )
    axes.set_title(name.replace("_", " "), fontsize=10, parse_math=False)
    axes.set_xlabel("Epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    _add_grid_and_legend(axes)


def plot_calibration(calibration: Calibration, path: str | Path | None = None) -> Figure:
    """Draws accuracy over confidence, before and after; the diagonal is ideal.

    Args:
        calibration: A result of `calibrate`. Empty bins are not drawn.
        path: Image file to write, or None.

    Example:
        >>> figure = plot_calibration(calibrate([[2.0, 0.0], [1.0, 0.0]], [0, 1]), "bins.png")
    """
    figure, axes = _figure(5, 4.5)
    axes.plot([0, 1], [0, 1], color="#b0b0b0", linestyle="--", label="ideal")
    for name, values in calibration.probabilities.items():
        bins, *columns = binned(values, calibration.true_ids, calibration.multi_label)
        count = np.bincount(bins)
        x, y = (np.bincount(bins, column)[count > 0] / count[count > 0] for column in columns)
        error = f"{calibration.errors[name]:.3f}"
        axes.plot(x, y, marker="o", label=f"{name}: calibration error {error}")
    axes.set(xlabel="Confidence", ylabel="Accuracy", xlim=(0, 1), ylim=(0, 1))
    _add_grid_and_legend(axes)
    return _written(figure, path)


def plot_stress(report: StressReport, path: str | Path | None = None) -> Figure:
    """Draws the accuracy under every perturbation as bars, and that of the texts as a line.

    Args:
        report: A report of `stress_test`.
        path: Image file to write, or None.

    Example:
        >>> figure = plot_stress(stress_test(model.probabilities, texts, ids, labels), "stress.png")
    """
    figure, axes = _figure(6, 1.5 + 0.35 * len(report.stresses))
    values = [stress.accuracy for stress in report.stresses.values()]
    bars = axes.barh(list(report.stresses), values, color=_TRAIN_COLOR)
    axes.bar_label(bars, fmt="{:.1%}", label_type="center", color="white", fontsize=8)
    label = f"as they are: {report.accuracy:.1%}"
    axes.axvline(report.accuracy, color=_VALIDATION_COLOR, linestyle="--", label=label)
    axes.invert_yaxis()
    axes.set(xlabel=f"Accuracy ({report.num_texts} texts)", xlim=(0, 1))
    figure.legend(fontsize=8, loc="outside upper center")
    return _written(figure, path)


def plot_explanation(explanation: "Explanation", path: str | Path | None = None) -> Figure:
    """Draws the words' scores as bars, in the order of the text.

    Args:
        explanation: A result of `integrated_gradients` or `explain_by_rollout`.
        path: Image file to write, or None.

    Example:
        >>> figure = plot_explanation(integrated_gradients(model, "a film to remember"), "why.png")
    """
    count = len(explanation.spans)
    figure, axes = _figure(6, 1.2 + 0.25 * count)
    colors = ["#2e8b57" if score > 0 else "#c0392b" for score in explanation.scores]
    axes.barh(range(count), explanation.scores, color=colors)
    names = [shortened(word, _LONGEST_NAME) for word in explanation.words]
    axes.set_yticks(range(count), names, fontsize=9, parse_math=False)
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    title = f"{shortened(explanation.label, _LONGEST_NAME)} ({explanation.method})"
    axes.set_title(title, fontsize=10, parse_math=False)
    return _written(figure, path)


def plot_faithfulness(result: "Faithfulness", path: str | Path | None = None) -> Figure:
    """Draws the deletion curve beside that of a random order.

    Args:
        result: A result of `faithfulness`.
        path: Image file to write, or None.

    Example:
        >>> explanations = [integrated_gradients(model, text) for text in texts]
        >>> result = faithfulness(model.probabilities, model.labels, explanations)
        >>> figure = plot_faithfulness(result, "deletion.png")
    """
    figure, axes = _figure(5, 4)
    for name, curve, areas in (
        ("random order", result.random_curve, result.random_areas),
        ("by explanation", result.curve, result.areas),
    ):
        axes.plot(result.fractions, curve, label=f"{name}: area {areas.mean():.3f}")
    axes.set(xlabel="Share of the words deleted", ylabel="Probability of the explained label")
    axes.set_ylim(0, 1)
    _add_grid_and_legend(axes)
    return _written(figure, path)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _add_grid_and_legend(axes: Axes) -> None:
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def _written(figure: Figure, path: str | Path | None) -> Figure:
    if path is not None:
        with new_file(path) as temporary:
            figure.savefig(temporary, dpi=_DPI, format=temporary.suffix[1:] or "png")
    return figure
