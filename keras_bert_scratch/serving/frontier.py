"""Finds the export that fits a budget: every precision at every length is written and measured.

Axes: n texts, C classes.
"""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from keras_bert_scratch.files import new_folder
from keras_bert_scratch.serving.comparison import (
    ArtifactFigures,
    figures_to_text,
    measure_artifact,
    plot_figures,
)
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer

# Gain of macro F1 below which the curve over time counts as flat.
_FLAT = 0.005


def write_frontier(
    folder: str | Path,
    export: Callable[[Path, Any, int], None],
    texts: Any,
    true_ids: Any,
    expected: Any,
    tokenizer: WordPieceTokenizer,
    labels: Sequence[str],
    *,
    precisions: Sequence[str],
    lengths: Sequence[int],
    multi_label: bool = False,
    max_megabytes: float = float("inf"),
    max_milliseconds: float = float("inf"),
    max_f1_loss: float | None = None,
    progress: Callable[[str], None] = lambda message: None,
) -> ArtifactFigures:
    """Exports every precision at every length, measures the files, and keeps the best that fits.

    The folder gets that file, frontier.json and frontier.png with the figures of all files, and
    README.md, a model card.

    Args:
        folder: Folder to write; must not exist, or be empty. It appears when it is complete.
        export: Writes a file, given its path, a precision, and the number of tokens to which it
            truncates texts.
        texts: n held-out strings, or a tuple of two columns of them.
        true_ids: Class ids, *shape:* (n,); with `multi_label` zeros and ones, *shape:* (n, C).
        expected: The model's own probabilities of the texts. *Shape:* (n, C)
        tokenizer: The model's tokenizer.
        labels: Names of the classes.
        precisions: Precisions that `export` takes.
        lengths: Numbers of tokens to which texts are truncated.
        multi_label: Whether a text may have any number of labels.
        max_megabytes: Largest size of the file, in units of 10^6 bytes.
        max_milliseconds: Longest time of a text of full length, on one thread.
        max_f1_loss: Largest loss of macro F1 against the model, in points of 100. If it is given,
            the fastest file that fits is kept, otherwise the one with the best macro F1; see `pick`
            for a call without any budget.
        progress: Called with a description of the next step.

    Returns:
        The figures of the file that was kept.

    Raises:
        FileExistsError: If the folder is not empty.
        RuntimeError: If nothing fits the budget; nothing is written.
    """
    wanted = [(length, precision) for length in lengths for precision in precisions]
    with new_folder(folder) as temporary:
        figures = []
        for number, (length, precision) in enumerate(wanted, start=1):
            path = temporary / f"{precision}_{length}.tflite"
            progress(f"[{number}/{len(wanted)}] {precision}, {length} tokens")
            export(path, precision, length)
            figures.append(
                measure_artifact(
                    path,
                    texts,
                    true_ids,
                    expected,
                    tokenizer,
                    lengths=[length],
                    threads=[1],
                    multi_label=multi_label,
                )
            )
        best = pick(figures, max_megabytes, max_milliseconds, max_f1_loss)
        for export_figures in figures:
            if export_figures is not best:
                Path(export_figures.path).unlink()
        rows = [{**row.to_dict(), "path": Path(row.path).name} for row in figures]
        (temporary / "frontier.json").write_text(json.dumps(rows, indent=2) + "\n")
        plot_figures(
            figures,
            temporary / "frontier.png",
            best=best,
            max_megabytes=max_megabytes,
            max_milliseconds=max_milliseconds,
            max_f1_loss=max_f1_loss,
        )
        (temporary / "README.md").write_text(
            model_card(best, figures, labels, tokenizer, num_texts=len(expected)), encoding="utf-8"
        )
    return dataclasses.replace(best, path=str(Path(folder) / Path(best.path).name))


def pick(
    figures: Sequence[ArtifactFigures],
    max_megabytes: float = float("inf"),
    max_milliseconds: float = float("inf"),
    max_f1_loss: float | None = None,
) -> ArtifactFigures:
    """Chooses an export for a budget, see `write_frontier`.

    Without any budget it is the knee of the curve of macro F1 over time: the fastest file that no
    slower one beats by more than half a point of macro F1.

    Raises:
        RuntimeError: If none fits; the message says what would.
    """
    largest_loss = float("inf") if max_f1_loss is None else max_f1_loss
    fitting = [
        row
        for row in figures
        if row.megabytes <= max_megabytes
        and _milliseconds(row) <= max_milliseconds
        and -100 * row.macro_f1_change <= largest_loss
    ]
    if not fitting:
        raise RuntimeError(
            f"No export fits {max_megabytes:g} MB, {max_milliseconds:g} ms and a loss of "
            f"{largest_loss:g} points of F1; the smallest has "
            f"{min(row.megabytes for row in figures):.1f} MB, the fastest takes "
            f"{min(map(_milliseconds, figures)):.2f} ms, the best loses "
            f"{100 * (0 - max(row.macro_f1_change for row in figures)):.2f} points: raise the "
            "budget."
        )
    if max_f1_loss is None and max_megabytes == max_milliseconds == float("inf"):
        enough = max(row.macro_f1 for row in figures) - _FLAT
        fitting = [row for row in figures if row.macro_f1 >= enough]
    elif max_f1_loss is None:
        return max(fitting, key=lambda row: (row.macro_f1, -_milliseconds(row)))
    return min(fitting, key=lambda row: (_milliseconds(row), -row.macro_f1))


def model_card(
    best: ArtifactFigures,
    figures: Sequence[ArtifactFigures],
    labels: Sequence[str],
    tokenizer: WordPieceTokenizer,
    *,
    num_texts: int,
) -> str:
    """Returns a model card in Markdown (Mitchell et al. 2019, "Model Cards for Model Reporting").

    Args:
        best: Figures of the export that the card describes.
        figures: Figures of all exports that were measured.
        labels: Names of the classes.
        tokenizer: The model's tokenizer.
        num_texts: Number of texts on which the exports were measured.
    """
    (length, _), milliseconds = next(iter(best.milliseconds.items()))
    name = Path(best.path).name
    case = "lower-cased" if tokenizer.lowercase else "cased"
    return f"""# {name}

Classifies texts as {", ".join(labels)}.

A BERT classifier in LiteRT format, {best.megabytes:.1f} MB, with its labels and its vocabulary
({len(tokenizer.vocabulary)} tokens, {case}, "{tokenizer.normalization}" normalization) packed in.
Texts are truncated to {length} tokens.

| on {num_texts} held-out texts | |
|---|---|
| accuracy | {best.accuracy:.4f} ({best.accuracy_change:+.4f} against the model it was made from) |
| macro F1 | {best.macro_f1:.4f} ({best.macro_f1_change:+.4f}) |
| texts with another label than the model's | {best.flipped_labels:.2%} |
| a text of {length} tokens, one thread, where this was measured | {milliseconds:.2f} ms |

```python
from keras_bert_scratch.serving import LiteRTPredictor

LiteRTPredictor("{name}").probabilities(["a text"])
```

Use it for texts like those that it was trained and measured on; the figures say nothing about
others. Everything that was measured for it:

```
{figures_to_text(figures)}
```
"""


def _milliseconds(row: ArtifactFigures) -> float:
    return max(row.milliseconds.values())
