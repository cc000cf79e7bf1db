"""What several commands share: the arguments that name columns, and loading any kind of model."""

import argparse
import contextlib
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras_bert_scratch


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that say where texts and labels stand in a file."""
    parser.add_argument("--text-column", default="text", help="default: %(default)s")
    parser.add_argument("--pair-column", help="column of the second text, for pairs")
    parser.add_argument("--label-column", default="label", help="default: %(default)s")
    parser.add_argument(
        "--label-separator", help="between several labels of one text; makes the model multi-label"
    )


def add_distribute_argument(parser: argparse.ArgumentParser) -> None:
    """Adds the argument that says where to train."""
    parser.add_argument(
        "--distribute",
        choices=["mirrored", "multi-worker"],
        help="train on all GPUs of this machine; or on the machines that TF_CONFIG lists, running "
        "this command on each. Batch sizes are those of all together",
    )


def read_data(path: str, options: argparse.Namespace) -> Any:
    """Reads a file of examples by the arguments of `add_data_arguments`."""
    return keras_bert_scratch.read_examples(
        path,
        text_column=options.text_column,
        pair_column=options.pair_column,
        label_column=options.label_column,
        label_separator=options.label_separator,
    )


def texts_of(examples: Any) -> Any:
    """Returns what a model takes as texts: one column, or a tuple of two."""
    return examples.texts if examples.pairs is None else (examples.texts, examples.pairs)


def load_any(path: str) -> Any:
    """Loads a checkpoint folder, a SavedModel folder or a LiteRT file; all give probabilities.

    Raises:
        FileNotFoundError: If there is nothing at the path.
        ValueError: If it is none of the three.
    """
    place = Path(path)
    if place.is_file() or (place / "saved_model.pb").exists():
        from keras_bert_scratch.serving.predictor import load_predictor

        return load_predictor(place)
    return keras_bert_scratch.BertClassifier.from_pretrained(path)


def lines_in_chunks(path: str, size: int = 1024) -> Iterator[tuple[int, list[str]]]:
    """Yields some lines at a time, and the number of the first of them, so that memory is bounded.

    Args:
        path: A file in UTF-8, or "-" for standard input.
        size: Lines at a time.

    Raises:
        ValueError: If a line is not UTF-8.
    """
    with contextlib.ExitStack() as stack:
        binary = sys.stdin.buffer if path == "-" else stack.enter_context(open(path, "rb"))
        lines = enumerate(binary, start=1)
        while chunk := list(itertools.islice(lines, size)):
            yield chunk[0][0], [_decode(number, line) for number, line in chunk]


def _decode(number: int, line: bytes) -> str:
    try:
        return line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"Line {number} is not UTF-8 (byte {error.start}): convert the input."
        ) from None


def progress_to_stderr() -> contextlib.redirect_stdout:
    """Keeps standard output for results: Keras prints its progress bars there."""
    return contextlib.redirect_stdout(sys.stderr)
