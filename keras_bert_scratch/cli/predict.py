"""Classifies lines of a file or of standard input by any kind of model."""

import argparse
import json

import numpy as np

from keras_bert_scratch.cli.common import lines_in_chunks, load_any, progress_to_stderr


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--model", required=True, help="checkpoint, SavedModel or .tflite file")
    parser.add_argument("file", nargs="?", default="-", help="one text a line (default: stdin)")
    parser.add_argument(
        "--pairs", action="store_true", help="a line holds two texts, separated by a tab"
    )
    parser.add_argument("--batch-size", type=int, default=32, help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")


def run(options: argparse.Namespace) -> None:
    """Runs the command: a line of input gives a line of output."""
    model = load_any(options.model)
    for first_number, texts in lines_in_chunks(options.file):
        columns = _pairs(first_number, texts) if options.pairs else texts
        with progress_to_stderr():
            rows = model.probabilities(columns, options.batch_size)
        for text, row in zip(texts, rows, strict=True):
            print(_describe(text, row, model.labels, options.json))


def _pairs(first_number: int, lines: list[str]) -> tuple[list[str], list[str]]:
    columns = [line.split("\t") for line in lines]
    for number, parts in enumerate(columns, start=first_number):
        if len(parts) != 2:
            raise ValueError(
                f"Line {number} has {len(parts) - 1} tabs: with --pairs each has exactly one."
            )
    return [first for first, _ in columns], [second for _, second in columns]


def _describe(text: str, row: np.ndarray, labels: list[str], as_json: bool) -> str:
    best = int(np.argmax(row))
    if not as_json:
        return f"{labels[best]}\t{row[best]:.4f}\t{text}"
    probabilities = {label: float(value) for label, value in zip(labels, row, strict=True)}
    return json.dumps(
        {"text": text, "label": labels[best], "probabilities": probabilities}, ensure_ascii=False
    )
