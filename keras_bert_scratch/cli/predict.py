"""Classifies the rows of a CSV file, or the lines of any other, by any kind of model."""

import argparse
import contextlib
import csv
import hashlib
import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from keras_bert_scratch.cli import common
from keras_bert_scratch.cli.quiet import without_keras
from keras_bert_scratch.files import check_new_folder, new_file

# The options that the lines of output depend on, besides the model and the file.
_SETTINGS = ("pairs", "batch_size", "json", "shard_lines", "encoding", "engine")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--model", required=True, help=common.ANY_MODEL)
    parser.add_argument(
        "--pairs", action="store_true", help="a line holds two texts, separated by a tab"
    )
    parser.add_argument(
        "--output",
        help="new CSV file for rows; for lines a folder of files, which goes on where it stopped",
    )
    parser.add_argument(
        "--shard-lines",
        type=int,
        help="lines of a file of --output (default: 10000)",
    )
    parser.add_argument(
        "file",
        nargs="?",
        default="-",
        help=f"{common.EXAMPLES_FILE}, whose rows come back with a prediction each, as CSV; any "
        "other file has one text a line (default: stdin)",
    )
    common.add_arguments(parser, "--text-column", "--pair-column", *common.FILES)
    common.add_arguments(parser, "--batch-size", *common.ENGINE, "--json")


def run(options: argparse.Namespace) -> None:
    """Runs the command: each row or line of input gives one of output."""
    # With --pairs even a file whose name ends in .tsv has no header.
    if common.is_table(options.file) and not options.pairs:
        _predict_table(options)
        return
    if common.model_columns(options.model):
        raise ValueError(
            f"{options.model} reads rows of several columns: give a {common.EXAMPLES_FILE}, "
            f"received {options.file!r}."
        )
    for option in ("text_column", "pair_column", "delimiter", "quoting"):
        if getattr(options, option) is not None:
            raise ValueError(
                f"{common.flag(option)} is for a {common.EXAMPLES_FILE}, and {options.file!r} is "
                "read line by line: omit it."
            )
    options.encoding = options.encoding or "utf-8"
    options.shard_lines = 10_000 if options.shard_lines is None else options.shard_lines
    if options.output is not None:
        _write_shards(options)
        return
    model = _load(options)
    for first_number, texts in common.lines_in_chunks(options.file, encoding=options.encoding):
        for line in _predict(model, first_number, texts, options):
            print(line)


def _load(options: argparse.Namespace) -> Any:
    """Loads what answers: of a checkpoint, the engine that is kept beside it, or Keras."""
    engine = common.engine_of(options)
    if engine is None and not common.is_export(options.model):
        from keras_bert_scratch.serving.engines import Engine

        kept = common.kept_engine(options.model, Engine(least_agreement=options.least_agreement))
        if kept is not None:
            options.engine = "litert-int8"
            return kept
    if common.is_export(options.model):
        without_keras()
    return common.load_any(options.model, engine=engine)


def _predict_table(options: argparse.Namespace) -> None:
    """Writes the rows of a file with all their columns and a prediction each."""
    if options.shard_lines is not None:
        raise ValueError(f"--shard-lines is for files of lines, not {options.file}: omit it.")
    if options.output is not None and Path(options.output).exists():
        raise FileExistsError(f"{options.output} exists: remove it, or name another --output.")
    file_format = common.find_format(options.file, options, options.model, needs_label=False)
    rows, examples = common.read_rows(
        options.file, file_format, common.model_columns(options.model)
    )
    model = _load(options)
    with common.asking(model):
        probabilities = model.probabilities(common.texts_of(examples), options.batch_size)

    columns = list(dict.fromkeys(name for row in rows for name in row))
    separator = file_format.label_separator
    if separator is None and getattr(model, "multi_label", False):
        separator = ";"
    found = {
        _free_name(name, columns): values
        for name, values in _predictions(probabilities, model.labels, separator).items()
    }
    with _opened(options.output) as file:
        if options.json:
            for row, *answers in zip(rows, *found.values(), strict=True):
                document = {**row, **dict(zip(found, answers, strict=True))}
                file.write(json.dumps(document, ensure_ascii=False, default=str) + "\n")
            return
        writer = csv.writer(file, delimiter=file_format.delimiter or ",", lineterminator="\n")
        writer.writerow([*columns, *found])
        for row, *answers in zip(rows, *found.values(), strict=True):
            writer.writerow([*(_cell(row.get(name)) for name in columns), *answers])
    if options.output is not None:
        print(f"{options.output}: {len(rows)} rows")


def _predictions(
    probabilities: np.ndarray, labels: list[str], separator: str | None
) -> dict[str, list[Any]]:
    """Returns the columns of predictions by name.

    Args:
        probabilities: *Shape:* (n, C).
        labels: C names.
        separator: Stands between the labels of a text that may have several, with a probability
            above a half each; None for models of one label a text.
    """
    if separator is None and len(labels) == 1:  # a score
        return {f"predicted_{labels[0]}": [f"{row[0]:.4f}" for row in probabilities]}
    best = [[int(np.argmax(row))] for row in probabilities]
    if separator is not None:
        best = [np.flatnonzero(row > 0.5).tolist() for row in probabilities]
    return {
        "predicted_label": [(separator or "").join(labels[n] for n in row) for row in best],
        "probability": [
            (separator or "").join(f"{values[n]:.4f}" for n in row)
            for row, values in zip(best, probabilities, strict=True)
        ],
    }


def _free_name(name: str, taken: Sequence[str]) -> str:
    names = itertools.chain([name], (f"{name}_{number}" for number in itertools.count(2)))
    return next(candidate for candidate in names if candidate not in taken)


def _cell(value: Any) -> str:
    """Writes a value of JSON or Parquet into a cell."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False, default=str)


@contextlib.contextmanager
def _opened(output: str | None) -> Iterator[TextIO]:
    """Yields standard output, or a file that appears when it is complete."""
    if output is None:
        yield sys.stdout
        return
    with new_file(output) as path, path.open("w", encoding="utf-8", newline="") as file:
        yield file


def _write_shards(options: argparse.Namespace) -> None:
    """Writes one file for each `--shard-lines` lines of input; files that exist are kept."""
    if options.file == "-" or options.shard_lines < 1:
        raise ValueError(
            "--output needs a file, not standard input, and --shard-lines of at least 1; received "
            f"{options.file!r} and {options.shard_lines}."
        )
    model = _load(options)
    run = {name: getattr(options, name) for name in _SETTINGS}
    run |= {"model": _sha256(options.model), "file": _sha256(options.file)}
    folder = Path(options.output)
    record = folder / "run.json"
    if not record.exists():
        check_new_folder(folder)
        with new_file(record) as temporary:
            temporary.write_text(json.dumps(run, indent=2) + "\n")
    # Runs of versions without these options read UTF-8 and asked Keras.
    recorded = {"encoding": "utf-8", "engine": None, **json.loads(record.read_text())}
    if differing := [name for name in run if run[name] != recorded.get(name)]:
        raise ValueError(
            f"{folder} holds the predictions of another run, which differs in "
            f"{', '.join(differing)}: name another folder, or remove it."
        )
    chunks = common.lines_in_chunks(options.file, options.shard_lines, options.encoding)
    for number, (first_number, texts) in enumerate(chunks):
        shard = folder / f"predictions-{number:06}.{'jsonl' if options.json else 'tsv'}"
        if not shard.exists():
            lines = _predict(model, first_number, texts, options)
            with new_file(shard) as temporary:
                temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    print(folder)


def _sha256(path: str) -> str:
    """Returns the hash of a file, of all files of a folder but its engines, or of a hub id."""
    from keras_bert_scratch.serving.engines import FOLDER

    place = Path(path)
    files = sorted(
        file
        for file in (place, *place.rglob("*"))
        if file.is_file() and file.parent != place / FOLDER
    )
    digest = hashlib.sha256(b"" if files else path.encode())
    for file in files:
        with file.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()


def _predict(
    model: Any, first_number: int, texts: list[str], options: argparse.Namespace
) -> Iterator[str]:
    """Yields one line of output for each text."""
    columns = _pairs(first_number, texts) if options.pairs else texts
    with common.asking(model):
        rows = model.probabilities(columns, options.batch_size)
    for text, row in zip(texts, rows, strict=True):
        yield _describe(text, row, model.labels, options.json)


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
