"""What several commands share: the arguments that name columns, and loading any kind of model."""

import argparse
import contextlib
import sys
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


def progress_to_stderr() -> contextlib.redirect_stdout:
    """Keeps standard output for results: Keras prints its progress bars there."""
    return contextlib.redirect_stdout(sys.stderr)
