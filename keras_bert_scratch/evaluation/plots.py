"""Pictures of a classifier, of its training, and of what goes on inside an encoder.

Each function returns a figure, and writes it to `path` if that is given; the suffix of the path
says which kind of image. Figures are made without pyplot, so that the user's own backend and open
figures stay untouched. Matplotlib's settings apply; on a dark background, draw within
`matplotlib.rc_context(keras_bert_scratch.pictures.DARK)`. Words of any script get an installed font
that has their characters; a warning names those that no font has.

Axes: S sequence, H hidden, N heads, P positions, n examples.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter

from keras_bert_scratch.evaluation.calibration import Calibration, reliability
from keras_bert_scratch.evaluation.classification import OUTCOMES, ClassificationReport
from keras_bert_scratch.evaluation.stress import StressReport
from keras_bert_scratch.pictures import (
    BLUE,
    ORANGE,
    PALETTE,
    add_grid_and_legend,
    choose_fonts,
    finished,
    ink,
    ink_on,
    is_right_to_left,
    new_figure,
    shades,
    signed_colors,
    without_glyph_warnings,
)
from keras_bert_scratch.tables import shortened
from keras_bert_scratch.text.tokenizer import Encoding
from keras_bert_scratch.text.vocabulary import CONTINUATION

if TYPE_CHECKING:
    # It imports Keras, which the pictures do not need.
    from keras_bert_scratch.evaluation.explanations import Explanation, Faithfulness

_LONGEST_NAME = 28
# With more classes, counts would be too small to read; the colors still show where errors are.
_MOST_CLASSES_WITH_COUNTS = 40
# Metrics with one of these in their names are better when smaller.
_SMALLER_IS_BETTER = ("loss", "error", "entropy", "perplexity", "divergence")
# Metrics with one of these in their names are shares: their axis runs from 0 to 1.
_SHARES = ("accuracy", "precision", "recall", "f1", "auc")
# Labels with a color and a mark of their own in a map of embeddings; the rest is grey.
_MARKS = "osD^vPX*"
_MOST_LABELS = 12
# Width of pictures of running text, and their margin, in points.
_TEXT_WIDTH, _MARGIN = 576, 14


# === Figures of a classifier ===
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
    names: Sequence[str] = [shortened(name, _LONGEST_NAME) for name in report.class_names]
    columns: Sequence[str]
    if report.is_multi_label:
        counts, columns = report.outcomes, OUTCOMES
        x_label, y_label, what_is_right = "", "Label", "All labels right"
    else:
        counts, columns = report.confusion_matrix, names
        x_label, y_label, what_is_right = "Predicted class", "True class", "Accuracy"
    figure, axes = new_figure(*_heatmap_size(names, columns))
    _draw_heatmap(axes, counts, names, columns)
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.set_title(
        f"{what_is_right} {report.accuracy:.1%}, macro F1 {report.macro_f1:.3f} "
        f"({report.num_examples} examples)",
        fontsize=10,
    )
    bar = figure.colorbar(axes.images[0], ax=axes, format="{x:.0%}", shrink=0.8, aspect=30)
    bar.set_label("Share of the row")
    return finished(figure, path)


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
    image = axes.imshow(shares, cmap=shades(), vmin=0, vmax=1)
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
            # Zeros step back.
            color=ink_on(image.to_rgba(shares[row, column])),
            alpha=1 if count else 0.4,
        )


def plot_learning_curves(history: Any, path: str | Path | None = None) -> Figure:
    """Draws each metric over the epochs, training and validation, with the best epoch marked.

    The axis of losses and errors starts at 0; that of shares, such as accuracy, runs from 0 to 1,
    or, where all values are close together near 1, from a start that its label names.

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
    metrics.sort(key=lambda name: name != "loss")  # What was minimized comes first.
    if not metrics:
        raise ValueError("The history holds no epoch: train for at least one before drawing it.")
    num_columns = min(len(metrics), 3)
    num_rows = -(-len(metrics) // num_columns)
    figure = Figure(figsize=(4.2 * num_columns, 3.4 * num_rows), layout="constrained")
    for place, name in enumerate(metrics, start=1):
        axes = figure.add_subplot(num_rows, num_columns, place)
        _draw_curves(axes, name, curves[name], curves.get(f"val_{name}", []))
    return finished(figure, path)


def _draw_curves(
    axes: Axes, name: str, train: Sequence[float], validation: Sequence[float]
) -> None:
    epochs = np.arange(1, len(train) + 1)
    axes.plot(epochs, train, color=BLUE, marker=".", label="training")
    if len(validation):
        interval = len(train) // len(validation)
        epochs = interval * np.arange(1, len(validation) + 1)
        axes.plot(epochs, validation, color=ORANGE, marker=".", linestyle="--", label="validation")
    best_of = np.asarray(validation if len(validation) else train, float)
    # The learning rate measures nothing; a curve without a number has no best epoch.
    if name != "learning_rate" and not np.isnan(best_of).all():
        smaller_is_better = any(word in name for word in _SMALLER_IS_BETTER)
        best = np.nanargmin(best_of) if smaller_is_better else np.nanargmax(best_of)
        axes.plot(
            epochs[best],
            best_of[best],
            color=ink(),
            linestyle="none",
            marker="o",
            markersize=9,
            fillstyle="none",
            label=f"best: {best_of[best]:.4g}, epoch {epochs[best]}",
        )
    axes.set_title(name.replace("_", " "), fontsize=10, parse_math=False)
    axes.set_xlabel("Epoch")
    axes.set_xlim(0.5, len(train) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    _set_limits(axes, name, np.array([*train, *validation], float))
    add_grid_and_legend(axes)


def _set_limits(axes: Axes, name: str, values: np.ndarray) -> None:
    """Starts the axis of a metric where it should; see `plot_learning_curves`."""
    values = values[np.isfinite(values)]
    if not len(values) or values.min() < 0:
        return
    if any(share in name for share in _SHARES) and values.max() <= 1:
        # To the tenth below the values, if they would be a flat line in the whole.
        start = max(np.floor(values.min() * 10 - 0.2) / 10, 0) if values.min() > 0.7 else 0.0
        axes.set_ylim(start, 1 + 0.02 * (1 - start))
        if start:
            axes.set_ylabel(f"axis starts at {start:.1f}")
    else:
        axes.set_ylim(0, 1.08 * values.max() or 1)


def plot_calibration(calibration: Calibration, path: str | Path | None = None) -> Figure:
    """Draws accuracy over confidence, before and after, and below how many predictions there are.

    On the diagonal, confidence is right. Each point is the mean of about the same number of
    predictions (see `reliability`); its bar is a 95 % interval of the accuracy.

    Args:
        calibration: A result of `calibrate`.
        path: Image file to write, or None.

    Example:
        >>> figure = plot_calibration(calibrate([[2.0, 0.0], [1.0, 0.0]], [0, 1]), "bins.png")
    """
    figure = Figure(figsize=(5.5, 5.6), layout="constrained")
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    axes.plot([0, 1], [0, 1], color="#808080", linestyle=":", label="ideal")
    edges = np.linspace(0, 1, 21)
    styles = ((BLUE, "-", "o"), (ORANGE, "--", "s"))
    for (name, values), (color, line, marker) in zip(
        calibration.probabilities.items(), styles, strict=True
    ):
        bins = reliability(values, calibration.true_ids, multi_label=calibration.multi_label)
        axes.errorbar(
            bins.confidence,
            bins.accuracy,
            yerr=np.abs(bins.intervals.T - bins.accuracy),
            color=color,
            linestyle=line,
            marker=marker,
            markersize=5,
            elinewidth=1,
            label=f"{name}: calibration error {calibration.errors[name]:.3f}",
        )
        counts.hist(
            bins.predictions, edges, histtype="step", color=color, linestyle=line, linewidth=1.4
        )
    smallest, largest = int(bins.counts.min()), int(bins.counts.max())
    size = f"{smallest}" if smallest == largest else f"{smallest} to {largest}"
    axes.set_title(f"Each point: {size} of {bins.counts.sum()} predictions", fontsize=10)
    axes.set(ylabel="Accuracy", xlim=(0, 1), ylim=(0, 1.02))
    counts.set(xlabel="Confidence", ylabel="Predictions")
    counts.set_ylim(bottom=0)
    counts.yaxis.set_major_locator(MaxNLocator(3, integer=True, min_n_ticks=1))
    counts.grid(alpha=0.3)
    add_grid_and_legend(axes)
    return finished(figure, path)


def plot_stress(report: StressReport, path: str | Path | None = None) -> Figure:
    """Draws the accuracy under every perturbation as bars, and that of the texts as a line.

    Args:
        report: A report of `stress_test`.
        path: Image file to write, or None.

    Example:
        >>> figure = plot_stress(stress_test(model.probabilities, texts, ids, labels), "stress.png")
    """
    figure, axes = new_figure(6.5, 1.5 + 0.35 * len(report.stresses))
    values = [stress.accuracy for stress in report.stresses.values()]
    bars = axes.barh(list(report.stresses), values, color=BLUE)
    for bar, value in zip(bars, values, strict=True):
        # The number stands inside its bar where there is room for it.
        inside = value > 0.3
        axes.text(
            value + (-0.012 if inside else 0.012),
            bar.get_y() + bar.get_height() / 2,
            f"{value:.1%} ({100 * (value - report.accuracy):+.1f})",
            ha="right" if inside else "left",
            va="center",
            fontsize=8,
            color=ink_on(BLUE) if inside else ink(),
        )
    label = f"as they are: {report.accuracy:.1%}"
    axes.axvline(report.accuracy, color=ORANGE, linestyle="--", label=label)
    axes.invert_yaxis()
    axes.set(xlabel=f"Accuracy ({report.num_texts} texts)", xlim=(0, 1))
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    figure.legend(fontsize=8, loc="outside upper center")
    return finished(figure, path)


# === Explanations ===
def plot_explanation(explanation: "Explanation", path: str | Path | None = None) -> Figure:
    """Draws the text, each word on the color of its score, with the score below it.

    Blue words speak for the label, orange ones against it. The colors mean the same in the pictures
    of all texts: see `Explanation.full_color`.

    Args:
        explanation: A result of `integrated_gradients` or `explain_by_rollout`.
        path: Image file to write, or None.

    Example:
        >>> figure = plot_explanation(integrated_gradients(model, "a film to remember"), "why.png")
    """
    limit = explanation.full_color
    scale = ScalarMappable(Normalize(-limit, limit), signed_colors())
    chips = [
        _Chip(shortened(word, _LONGEST_NAME), f"{score:+.2f}", scale.to_rgba(score))
        for word, score in zip(explanation.words, explanation.scores, strict=True)
    ]
    title = shortened(explanation.label, _LONGEST_NAME)
    if explanation.probability is not None:
        title += f", probability {explanation.probability:.1%}"
    return finished(_running_text(chips, title, scale, explanation.unit), path)


def plot_tokens(encoding: Encoding, path: str | Path | None = None) -> Figure:
    """Draws a text as a model reads it: its tokens, with their ids below.

    Pieces of one word touch. The first text is blue, the second of a pair orange, [CLS] and [SEP]
    are grey; what is not in the vocabulary has a dashed frame.

    Args:
        encoding: A result of `WordPieceTokenizer.encode`.
        path: Image file to write, or None.

    Example:
        >>> figure = plot_tokens(tokenizer.encode("unaffable films", "a pair"), "tokens.png")
    """
    chips = []
    for token_id, token, sequence in zip(
        encoding.token_ids, encoding.tokens, encoding.sequence, strict=True
    ):
        color = "#9a9a9a" if sequence is None else (BLUE, ORANGE)[sequence]
        chips.append(
            _Chip(
                token,
                str(token_id),
                _faint(color),
                joined=sequence is not None and token.startswith(CONTINUATION),
                marked=sequence is not None and token == "[UNK]",
            )
        )
    unknown = sum(chip.marked for chip in chips)
    title = f"{len(chips)} tokens" + f", {unknown} not in the vocabulary" * bool(unknown)
    return finished(_running_text(chips, title), path)


class _Chip(NamedTuple):
    """A word of a running text.

    Attributes:
        word: The word.
        note: What stands below it.
        color: Color behind it.
        joined: Whether it touches the one before it.
        marked: Whether it has a dashed frame.
    """

    word: str
    note: str
    color: Any
    joined: bool = False
    marked: bool = False


def _faint(color: str) -> Any:
    """Returns a color halfway to the background."""
    background = matplotlib.rcParams["axes.facecolor"]
    return tuple((np.array(to_rgb(color)) + to_rgb(background)) / 2)


def _running_text(
    chips: Sequence[_Chip], title: str, scale: ScalarMappable | None = None, unit: str = ""
) -> Figure:
    """Draws words one after another, in lines, below a title and the legend of their colors."""
    figure = Figure(figsize=(_TEXT_WIDTH / 72, 2))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.text(_MARGIN, _MARGIN, title, fontsize=11, va="top", parse_math=False)
    # Coordinates are points, from the upper left corner.
    axes.set(xlim=(0, _TEXT_WIDTH), ylim=(144, 0))
    words = [
        axes.text(
            0, 0, chip.word, fontsize=11, va="center", ha="center", parse_math=False,
            color=ink_on(chip.color),
        )
        for chip in chips
    ]  # fmt: skip
    choose_fonts(words)
    with without_glyph_warnings():
        widths = [word.get_window_extent().width * 72 / figure.dpi + 8 for word in words]
    line, gap = 38, 5
    # Every word begins after a gap.
    start = float(_MARGIN - gap)
    x, y = start, 54.0
    mirrored = is_right_to_left("".join(chip.word for chip in chips))
    for word, width, chip in zip(words, widths, chips, strict=True):
        x += 0 if chip.joined else gap
        if x + width > _TEXT_WIDTH - _MARGIN and x > start + gap:
            x, y = start + gap, y + line
        left = _TEXT_WIDTH - x - width if mirrored else x
        axes.add_patch(
            Rectangle(
                (left, y - 10), width, 20, facecolor=chip.color,
                edgecolor=ink() if chip.marked else "#9a9a9a",
                linestyle="--" if chip.marked else "-", linewidth=1.2 if chip.marked else 0.4,
            )
        )  # fmt: skip
        word.set_position((left + width / 2, y))
        axes.text(left + width / 2, y + 16, chip.note, fontsize=6.5, ha="center", va="center")
        x += width
    height = y + line + (44 if scale else -8)
    figure.set_size_inches(_TEXT_WIDTH / 72, height / 72)
    axes.set_ylim(height, 0)
    if scale:
        place = (0.25, 32 / height, 0.5, 8 / height)
        bar = figure.colorbar(scale, cax=figure.add_axes(place), orientation="horizontal")
        limit = float(scale.get_clim()[1] or 0)
        bar.set_ticks(
            [-limit, 0, limit], labels=[f"{-limit:.2g} or less", "0", f"{limit:.2g} or more"]
        )
        bar.ax.tick_params(labelsize=7)
        bar.set_label(unit, fontsize=8)
    return figure


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
    figure, axes = new_figure(5, 4)
    for name, curve, areas, style in (
        ("random order", result.random_curve, result.random_areas, (ORANGE, "--")),
        ("by explanation", result.curve, result.areas, (BLUE, "-")),
    ):
        axes.plot(
            result.fractions, curve, color=style[0], linestyle=style[1],
            label=f"{name}: area {areas.mean():.3f}",
        )  # fmt: skip
    axes.set(xlabel="Share of the words deleted", ylabel="Probability of the explained label")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    add_grid_and_legend(axes)
    return finished(figure, path)


# === Inside an encoder ===
def plot_attention(
    attention: Any,
    tokens: Sequence[str] | str,
    path: str | Path | None = None,
    *,
    layers: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
) -> Figure:
    """Draws where each token looks: one square for a head, a row of them for a layer.

    A row of a square is a token that looks, a column a token that is looked at; a row adds up to 1.

    Args:
        attention: `attention` of the encoder's outputs, a list of (1, N, S, S) or (N, S, S), one
            for each layer; or a task with a tokenizer, such as a `BertClassifier`.
        tokens: The S tokens; with a task a text.
        path: Image file to write, or None.
        layers: Numbers of the layers to draw, from 0; by default all.
        heads: Numbers of the heads; by default all.

    Raises:
        ValueError: If tokens and attention differ in number, or there is no such layer or head.

    Example:
        >>> figure = plot_attention(model, "the cat that slept", "heads.png", layers=[0, 1])
    """
    if isinstance(tokens, str):
        from keras_bert_scratch.evaluation.explanations import attention_of

        attention, tokens = attention_of(attention, tokens)
    values = [np.asarray(layer, "float32") for layer in attention]
    values = [layer[0] if layer.ndim == 4 and len(layer) == 1 else layer for layer in values]
    length = len(tokens)
    if any(layer.ndim != 3 or layer.shape[1:] != (length, length) for layer in values):
        raise ValueError(
            f"plot_attention draws one text: there are {length} tokens, and attention of shape "
            f"{values[0].shape} in the first layer; give (heads, {length}, {length})."
        )
    layers = _numbers(layers, len(values), "layers")
    heads = _numbers(heads, min(map(len, values)), "heads")
    panels = [[values[layer][head] for head in heads] for layer in layers]
    # A square is as large as its words need, and the whole at most 20 inches wide.
    largest = 20 / len(heads)
    size = min(max(0.24 * length, 1.2 if len(heads) > 1 else 3.2), largest)
    font_size = min(9.0, 0.72 * 72 * size / length)
    room = 0.09 * font_size * max(map(len, tokens)) / 10 + 0.4
    figure = Figure(
        figsize=(size * len(heads) + room + 1.4, size * len(layers) + room + 0.9),
        layout="constrained",
    )
    grid = figure.subplots(len(layers), len(heads), squeeze=False)
    most = max(float(panel.max()) for row in panels for panel in row)
    names = [shortened(token, _LONGEST_NAME) for token in tokens]
    for layer, row, axes_row in zip(layers, panels, grid, strict=True):
        for head, panel, axes in zip(heads, row, axes_row, strict=True):
            image = axes.imshow(panel, cmap=shades(), vmin=0, vmax=most)
            axes.set_title(f"layer {layer}, head {head}", fontsize=min(9, 7 * size))
            axes.tick_params(length=0)
            # Letters of less than 3 points are not read; inner squares have the words of the outer.
            words = names if font_size >= 3 else []
            axes.set_yticks(
                range(len(words)) if head == heads[0] else [],
                words if head == heads[0] else [],
                fontsize=font_size,
                parse_math=False,
            )
            axes.set_xticks(
                range(len(words)) if layer == layers[-1] else [],
                words if layer == layers[-1] else [],
                fontsize=font_size, parse_math=False, rotation=90,
            )  # fmt: skip
    figure.supylabel("Token that looks", fontsize=9)
    figure.supxlabel("Token that is looked at", fontsize=9)
    bar = figure.colorbar(image, ax=grid, shrink=min(1, 3 / (size * len(layers))), aspect=20)
    bar.set_label("Attention", fontsize=9)
    return finished(figure, path)


def _numbers(chosen: Sequence[int] | None, count: int, what: str) -> Sequence[int]:
    if chosen is None:
        return range(count)
    if not len(chosen) or not all(0 <= number < count for number in chosen):
        raise ValueError(
            f"{what} must be numbers from 0 to {count - 1}, at least one, received {chosen!r}."
        )
    return chosen


def plot_positions(positions: Any, path: str | Path | None = None) -> Figure:
    """Draws position embeddings, and how similar each two of them are.

    Args:
        positions: The table, *shape:* (P, H); or an encoder or a task, whose table is drawn.
        path: Image file to write, or None.

    Raises:
        ValueError: If the encoder has none, as ModernBERT, which rotates queries and keys.

    Example:
        >>> figure = plot_positions(sinusoidal_positions(128, 64), "positions.png")
    """
    if not hasattr(positions, "__array__"):
        positions = _position_table(getattr(positions, "encoder", positions))
    table = np.asarray(positions, "float32")
    lengths = np.linalg.norm(table, axis=1, keepdims=True)
    unit = table / np.maximum(lengths, 1e-12)
    figure = Figure(figsize=(10.5, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
    # A few outliers would leave everything else without color.
    limit = float(np.quantile(np.abs(table), 0.995)) or 1.0
    for axes, values, bound, title, label in (
        (left, table, limit, "Position embeddings", "Value"),
        (right, unit @ unit.T, 1.0, "Similarity of two positions", "Cosine"),
    ):
        image = axes.imshow(
            values, cmap=signed_colors(), vmin=-bound, vmax=bound, aspect="auto",
            interpolation_stage="data",
        )  # fmt: skip
        axes.set_title(title, fontsize=10)
        axes.set_ylabel("Position")
        is_cut = float(np.abs(values).max()) > bound * 1.001
        figure.colorbar(image, ax=axes, label=label, extend="both" if is_cut else "neither")
    left.set_xlabel("Dimension")
    right.set_xlabel("Position")
    return finished(figure, path)


def _position_table(encoder: Any) -> np.ndarray:
    from keras_bert_scratch.layers.embeddings import sinusoidal_positions

    layer = encoder.embeddings
    if not hasattr(layer, "position"):
        raise ValueError(
            "This encoder has no position embeddings: it rotates queries and keys instead. Draw "
            "its attention with plot_attention."
        )
    if layer.position is None:
        return sinusoidal_positions(layer.max_positions, layer.hidden_dim)
    return np.array(layer.position.get_weights()[0], "float32")


def plot_embeddings(
    embeddings: Any, labels: Sequence[str] | None = None, path: str | Path | None = None
) -> Figure:
    """Draws embeddings as a map: the two directions in which they differ most (PCA).

    The axes have one scale, and say which share of the variance they show: where both shares are
    small, points that are close on the map may be far apart.

    Args:
        embeddings: n embeddings, such as those of `BertSentenceEncoder.encode`. *Shape:* (n, H).
        labels: The label of each, which gives its color; or None.
        path: Image file to write, or None.

    Raises:
        ValueError: If there are fewer than three embeddings or two dimensions, or not one label
            for each.

    Example:
        >>> figure = plot_embeddings(model.encode(texts), labels, "map.png")
    """
    from sklearn.decomposition import PCA

    points = np.asarray(embeddings, "float64")
    if points.ndim != 2 or len(points) < 3 or points.shape[1] < 2:
        raise ValueError(
            "plot_embeddings needs at least three embeddings of at least two dimensions, received "
            f"shape {points.shape}."
        )
    labels = [""] * len(points) if labels is None else [str(label) for label in labels]
    if len(labels) != len(points):
        raise ValueError(
            f"There are {len(labels)} labels for {len(points)} embeddings: give one for each."
        )
    pca = PCA(2, svd_solver="full").fit(points)
    places, given = pca.transform(points), np.array(labels, object)
    shares = np.nan_to_num(pca.explained_variance_ratio_)
    figure, axes = new_figure(7, 5)
    counts = Counter(labels).most_common()
    shown = dict(counts[:_MOST_LABELS] if len(counts) > _MOST_LABELS + 1 else counts)
    groups = [
        (given == name, f"{shortened(name, _LONGEST_NAME)} ({shown[name]})") for name in shown
    ]
    if others := len(counts) - len(shown):
        is_other = ~np.isin(given, list(shown))
        groups.insert(0, (is_other, f"{others} other labels ({is_other.sum()})"))
    size = float(np.clip(9000 / len(points), 12, 50))
    for number, (members, name) in enumerate(groups, start=-bool(others)):
        axes.scatter(
            places[members, 0],
            places[members, 1],
            s=size,
            color=PALETTE[number % len(PALETTE)] if number >= 0 else "#b0b0b0",
            marker=_MARKS[number % len(_MARKS)] if number >= 0 else ".",
            linewidths=0,
            alpha=0.8,
            label=name if any(labels) else None,
        )
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel(f"First direction ({shares[0]:.0%} of the variance)")
    axes.set_ylabel(f"Second direction ({shares[1]:.0%})")
    axes.grid(alpha=0.3)
    if any(labels):
        legend = figure.legend(fontsize=8, loc="outside right upper")
        for text in legend.get_texts():
            text.set_parse_math(False)
    return finished(figure, path)
