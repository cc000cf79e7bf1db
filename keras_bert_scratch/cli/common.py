"""What several commands share: how files are read, and loading any kind of model."""

import argparse
import contextlib
import itertools
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras_bert_scratch

_DATA_ARGUMENTS = (
    "text_column", "pair_column", "label_column", "label_separator", "encoding", "delimiter",
    "quoting",
)  # fmt: skip


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that say where texts and labels stand in a file."""
    parser.add_argument("--text-column", default="text", help="default: %(default)s")
    parser.add_argument("--pair-column", help="column of the second text, for pairs")
    parser.add_argument("--label-column", default="label", help="default: %(default)s")
    parser.add_argument(
        "--label-separator", help="between several labels of one text; makes the model multi-label"
    )
    add_file_arguments(parser)


def add_file_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that say how files of examples are written."""
    add_encoding_argument(parser)
    parser.add_argument(
        "--delimiter",
        type=lambda value: "\t" if value == r"\t" else value,
        help=r"between the cells of CSV and TSV, such as ';' or '\t' (default: by the suffix)",
    )
    parser.add_argument(
        "--quoting",
        action=argparse.BooleanOptionalAction,
        help="whether quotation marks in CSV and TSV enclose cells (default: in CSV, and in TSV "
        "that shows it)",
    )


def add_encoding_argument(parser: argparse.ArgumentParser) -> None:
    """Adds the argument that says how the characters of files are written."""
    parser.add_argument(
        "--encoding", default="utf-8", help="of files, such as cp1252 (default: %(default)s)"
    )


def add_distribute_argument(parser: argparse.ArgumentParser) -> None:
    """Adds the argument that says where to train."""
    parser.add_argument(
        "--distribute",
        choices=["mirrored", "multi-worker"],
        help="train on all GPUs of this machine; or on the machines that TF_CONFIG lists, running "
        "this command on each. Batch sizes are those of all together",
    )


def read_data(path: str, options: argparse.Namespace, **other_options: str | None) -> Any:
    """Reads a file of examples by the arguments of `add_data_arguments`.

    Args:
        path: The file.
        options: The command's options.
        **other_options: For an argument of `read_examples`, the option that holds it if that has
            another name, or None if there is none.
    """
    names = {**{name: name for name in _DATA_ARGUMENTS}, **other_options}
    values = {name: getattr(options, option) for name, option in names.items() if option}
    with naming_options(names):
        return keras_bert_scratch.read_examples(path, **{"label_column": None, **values})


@contextlib.contextmanager
def naming_options(options: Mapping[str, str | None]) -> Iterator[None]:
    """Lets the errors of a reader, which name its arguments, name the options of a command.

    Args:
        options: For each argument the option that holds it.
    """
    try:
        yield
    except (ValueError, TypeError) as error:
        message = str(error).replace(", or pass label_column=None to read texts without labels", "")
        for name, option in options.items():
            flag = "--" + (option or name).replace("_", "-")
            message = message.replace(f"{name}=False", f"--no-{name}").replace(f"{name}=True", flag)
            # Names of files and columns stay as they are.
            message = re.sub(rf"(?<![\w'./-]){name}=", f"{flag} ", message)
            message = re.sub(rf"(?<![\w'./-]){name}(?![\w'/-]|\.\w)", flag, message)
        raise ValueError(message) from error


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
        from keras_bert_scratch.serving.readers.classifier import load_predictor

        return load_predictor(place)
    return keras_bert_scratch.BertClassifier.from_pretrained(path)


def lines_in_chunks(
    path: str, size: int = 1024, encoding: str = "utf-8"
) -> Iterator[tuple[int, list[str]]]:
    """Yields some lines at a time, and the number of the first of them, so that memory is bounded.

    Args:
        path: A file, or "-" for standard input.
        size: Lines at a time.
        encoding: Of the characters; one in which a line break is a byte.

    Raises:
        ValueError: If the encoding is another, or a line is not in it.
    """
    try:
        is_of_lines = "\n".encode(encoding) == b"\n"
    except (LookupError, UnicodeError):
        is_of_lines = False
    if not is_of_lines:
        raise ValueError(
            f"--encoding {encoding} cannot be read line by line: convert the input to UTF-8."
        )
    with contextlib.ExitStack() as stack:
        binary = sys.stdin.buffer if path == "-" else stack.enter_context(open(path, "rb"))
        lines = enumerate(binary, start=1)
        while chunk := list(itertools.islice(lines, size)):
            yield chunk[0][0], [_decode(number, line, encoding) for number, line in chunk]


def _decode(number: int, line: bytes, encoding: str) -> str:
    try:
        text = line.decode(encoding).rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"Line {number} is not {encoding.upper()} (byte {error.start}): convert the input, or "
            "name its --encoding."
        ) from None
    # The byte order mark is no part of the first text.
    return text.removeprefix("\ufeff") if number == 1 else text


def progress_to_stderr() -> contextlib.redirect_stdout:
    """Keeps standard output for results: Keras prints its progress bars there."""
    return contextlib.redirect_stdout(sys.stderr)
