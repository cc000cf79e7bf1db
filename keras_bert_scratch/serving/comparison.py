"""Measures the size, speed and accuracy of exports, and how far they are from their model.

Axes: n texts, C classes.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from sklearn.metrics import accuracy_score, f1_score

from keras_bert_scratch.pictures import BLUE, ORANGE, PALETTE, finished, ink, ink_on, new_figure
from keras_bert_scratch.serving.fresh_process import ask
from keras_bert_scratch.tables import format_table
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer

# Smaller probabilities are rounding errors: their logarithms are not compared.
_SMALLEST_PROBABILITY = 1e-6


@dataclasses.dataclass(frozen=True)
class ArtifactFigures:
    """Size, speed and accuracy of an export, beside those of its model.

    Attributes:
        path: The SavedModel folder or file.
        megabytes: Size of the export, in units of 10^6 bytes.
        largest_logit_gap: Largest difference of a logit. Exports return probabilities: up to a
            constant, the logits are their logarithms less the mean.
        flipped_labels: Share of the texts whose label differs; with several labels a text, share of
            all labels.
        accuracy: Accuracy of the export on the texts.
        macro_f1: Macro F1 of the export on the texts.
        accuracy_change: The export's accuracy minus the model's.
        macro_f1_change: The export's macro F1 minus the model's.
        milliseconds: Median time of a text from string to probabilities, by (tokens, threads).
    """

    path: str
    megabytes: float
    largest_logit_gap: float
    flipped_labels: float
    accuracy: float
    macro_f1: float
    accuracy_change: float
    macro_f1_change: float
    milliseconds: dict[tuple[int, int], float]

    def to_dict(self) -> dict[str, Any]:
        """Returns the attributes as plain JSON types."""
        times = [
            {"tokens": tokens, "threads": threads, "milliseconds": value}
            for (tokens, threads), value in self.milliseconds.items()
        ]
        return {**dataclasses.asdict(self), "milliseconds": times}


def measure_artifact(
    path: str | Path,
    texts: Any,
    true_ids: Any,
    expected: Any,
    tokenizer: WordPieceTokenizer,
    *,
    lengths: Sequence[int] = (16, 64, 128),
    threads: Sequence[int] = (1, 2),
    multi_label: bool = False,
) -> ArtifactFigures:
    """Measures an export on held-out texts.

    Args:
        path: A SavedModel folder or a file.
        texts: n strings, or a tuple of two columns of them.
        true_ids: Class ids, *shape:* (n,); with `multi_label` zeros and ones, *shape:* (n, C).
        expected: The model's own probabilities of the texts. *Shape:* (n, C)
        tokenizer: The model's tokenizer, which makes texts of the lengths.
        lengths: Numbers of tokens of the texts whose latency is measured.
        threads: Numbers of threads with which it is measured.
        multi_label: Whether a text may have any number of labels.

    Raises:
        RuntimeError: If the export does not load.
    """
    timed = {tokens: text_of_length(tokenizer, tokens) for tokens in lengths}
    found, milliseconds = ask(path, texts, timed, threads[0])
    for count in threads[1:]:
        milliseconds |= ask(path, None, timed, count)[1]
    expected = np.asarray(expected)
    answers = [_predicted(values, multi_label) for values in (found, expected)]
    accuracies = [float(accuracy_score(true_ids, answer)) for answer in answers]
    f1_scores = [
        float(f1_score(true_ids, answer, average="macro", zero_division=0)) for answer in answers
    ]
    return ArtifactFigures(
        path=str(path),
        megabytes=size_in_megabytes(path),
        largest_logit_gap=float(
            np.max(np.abs(_logits(found, multi_label) - _logits(expected, multi_label)))
        ),
        flipped_labels=float(np.mean(answers[0] != answers[1])),
        accuracy=accuracies[0],
        macro_f1=f1_scores[0],
        accuracy_change=accuracies[0] - accuracies[1],
        macro_f1_change=f1_scores[0] - f1_scores[1],
        milliseconds=milliseconds,
    )


def check_bounds(
    figures: Sequence[ArtifactFigures],
    *,
    largest_logit_gap: float | None = None,
    flipped_labels: float | None = 0.05,
    accuracy_loss: float | None = 0.03,
) -> None:
    """Refuses exports that are too far from their model.

    The default bounds are between what int8 files with a dynamic range do and what broken files do.
    The former flip the labels of texts on the edge between two classes: 0.2 % of 500 film reviews,
    0.7 % of 300 headlines, and by chance one or two of 60 texts, 3 %. Files that were calibrated on
    other texts flip 6 % and more, those with another model's weights or vocabulary half of all. Set
    lower bounds where texts are many.

    Args:
        figures: Results of `measure_artifact`.
        largest_logit_gap: Largest accepted difference of a logit; None accepts any.
        flipped_labels: Largest accepted share; None accepts any.
        accuracy_loss: Largest accepted loss of accuracy; None accepts any.

    Raises:
        RuntimeError: If an export exceeds a bound; the message names all that do.
    """
    faults = []
    for export in figures:
        for name, value, bound in (
            ("largest logit gap", export.largest_logit_gap, largest_logit_gap),
            ("share of flipped labels", export.flipped_labels, flipped_labels),
            ("loss of accuracy", -export.accuracy_change, accuracy_loss),
        ):
            if bound is not None and not value <= bound:
                faults.append(f"{export.path}: {name} {value:.3g}, more than {bound:.3g}")
    if faults:
        raise RuntimeError("; ".join(faults) + ".")


def figures_to_text(figures: Sequence[ArtifactFigures]) -> str:
    """Returns the figures as a table with one row per export."""
    keys = sorted({key for export in figures for key in export.milliseconds})
    header = ["", "MB", "logit gap", "flipped", "accuracy", "change", "macro F1", "change"]
    header += [f"ms {tokens} tokens/{count} thr" for tokens, count in keys]
    rows = [
        [
            Path(export.path).name,
            f"{export.megabytes:.1f}",
            f"{export.largest_logit_gap:.1e}",
            f"{export.flipped_labels:.2%}",
            f"{export.accuracy:.4f}",
            f"{export.accuracy_change:+.4f}",
            f"{export.macro_f1:.4f}",
            f"{export.macro_f1_change:+.4f}",
            *(
                f"{export.milliseconds[key]:.2f}" if key in export.milliseconds else ""
                for key in keys
            ),
        ]
        for export in figures
    ]
    return format_table(header, rows)


def plot_figures(
    figures: Sequence[ArtifactFigures],
    path: str | Path,
    *,
    best: ArtifactFigures | None = None,
    max_megabytes: float = float("inf"),
    max_milliseconds: float = float("inf"),
    max_f1_loss: float | None = None,
) -> Figure:
    """Plots what exports lose of their model's macro F1 over their latency, with the budget.

    Each export is a numbered point, whose area is the export's size; beside the picture stands
    which is which. The zero of the vertical axis is the model, and that of the other no time.

    Args:
        figures: Results of `measure_artifact`.
        path: Image file to write; its suffix decides the format.
        best: The export that is marked as chosen, or None.
        max_megabytes: Exports that are larger are drawn hollow.
        max_milliseconds: Drawn as a line.
        max_f1_loss: In points of 100; drawn as a line.

    Returns:
        The figure.
    """
    figure, axes = new_figure(9, 4.5)
    largest = max(export.megabytes for export in figures)
    changes = [100 * export.macro_f1_change for export in figures]
    times = [export.milliseconds[_slowest(export)] for export in figures]
    for number, (export, at) in enumerate(
        zip(figures, zip(times, changes, strict=True), strict=True), start=1
    ):
        color = PALETTE[(number - 1) % len(PALETTE)]
        is_best, fits = export is best, export.megabytes <= max_megabytes
        axes.scatter(
            *at,
            s=60 + 360 * export.megabytes / largest,
            facecolor=color if fits else "none",
            edgecolor=ink() if is_best else color,
            linewidths=2.5 if is_best else 1,
            label=f"{number}  {Path(export.path).name}: {export.megabytes:.1f} MB, {at[0]:.2f} ms, "
            f"{at[1]:+.2f}{', chosen' * is_best}"
            + ("" if fits else f", above {max_megabytes:g} MB"),
        )
        axes.annotate(
            str(number), at, fontsize=8, ha="center", va="center",
            color=ink_on(color) if fits else ink(), weight="bold" if is_best else "normal",
        )  # fmt: skip
    model_f1 = figures[0].macro_f1 - figures[0].macro_f1_change
    axes.axhline(0, color=ink(), linewidth=1, label=f"the model: macro F1 {model_f1:.4f}")
    if max_f1_loss is not None:
        label = f"budget: a loss of {max_f1_loss:g} points"
        axes.axhline(-max_f1_loss, color=ORANGE, linestyle="--", label=label)
        changes.append(-max_f1_loss)
    if max_milliseconds < float("inf"):
        label = f"budget: {max_milliseconds:g} ms"
        axes.axvline(max_milliseconds, color=BLUE, linestyle="--", label=label)
        times.append(max_milliseconds)
    tokens, threads = _slowest(figures[0])
    # Differences of less than a point are not drawn as if they were large.
    span = max(1.0, max(map(abs, changes))) * 1.2
    axes.set(
        xlim=(0, 1.1 * max(times)),
        ylim=(-span, max(span / 4, 1.3 * max(changes))),
        xlabel=f"Milliseconds a text ({tokens} tokens, {threads} thread{'s' * (threads > 1)})"
        if len({_slowest(export) for export in figures}) == 1
        else "Milliseconds a text (of full length)",
        ylabel="Points of macro F1 against the model",
    )
    axes.grid(alpha=0.3)
    legend = figure.legend(fontsize=8, loc="outside right upper")
    for handle in legend.legend_handles:
        if isinstance(handle, PathCollection):
            handle.set_sizes([50])
    return finished(figure, path)


def _slowest(export: ArtifactFigures) -> tuple[int, int]:
    """Returns the slowest case, as tokens and threads: the longest text on the fewest threads."""
    return max(export.milliseconds, key=lambda key: (key[0], -key[1]))


def text_of_length(tokenizer: WordPieceTokenizer, num_tokens: int) -> str:
    """Returns a text of `num_tokens` tokens, [CLS] and [SEP] included.

    Raises:
        ValueError: If no token of the vocabulary is a word.
    """
    for token in tokenizer.vocabulary.tokens:
        if token.isalpha() and len(tokenizer.encode(f"{token} {token}").token_ids) == 4:
            return " ".join([token] * (num_tokens - 2))
    raise ValueError("No token of the vocabulary is a word: texts of a length cannot be made.")


def size_in_megabytes(path: str | Path) -> float:
    """Returns the size of a file, or of all files in a folder, in units of 10^6 bytes."""
    files = [Path(path), *Path(path).rglob("*")]
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


def _predicted(probabilities: np.ndarray, multi_label: bool) -> np.ndarray:
    return (probabilities > 0.5).astype(int) if multi_label else probabilities.argmax(axis=-1)


def _logits(probabilities: np.ndarray, multi_label: bool) -> np.ndarray:
    kept = np.clip(probabilities.astype("float64"), _SMALLEST_PROBABILITY, None)
    if multi_label:
        kept = np.minimum(kept, 1 - _SMALLEST_PROBABILITY)
        return np.log(kept) - np.log1p(-kept)
    return np.log(kept) - np.log(kept).mean(axis=-1, keepdims=True)
