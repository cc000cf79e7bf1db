"""Classifies lines of a file or of standard input by any kind of model."""

import argparse
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_bert_scratch.cli import common
from keras_bert_scratch.files import check_new_folder, new_file

# The options that the lines of output depend on, besides the model and the file.
_SETTINGS = ("pairs", "batch_size", "json", "shard_lines", "encoding")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--model", required=True, help=common.ANY_MODEL)
    parser.add_argument(
        "--pairs", action="store_true", help="a line holds two texts, separated by a tab"
    )
    parser.add_argument(
        "--output", help="folder of files to write instead of printing; goes on where it stopped"
    )
    parser.add_argument(
        "--shard-lines",
        type=int,
        default=10_000,
        help="lines of a file of --output (default: %(default)s)",
    )
    common.add_arguments(parser, *common.LINES, "--batch-size", "--json")


def run(options: argparse.Namespace) -> None:
    """Runs the command: each line of input gives a line of output."""
    if options.output is not None:
        _write_shards(options)
        return
    model = common.load_any(options.model)
    for first_number, texts in common.lines_in_chunks(options.file, encoding=options.encoding):
        for line in _predict(model, first_number, texts, options):
            print(line)


def _write_shards(options: argparse.Namespace) -> None:
    """Writes one file for each `--shard-lines` lines of input; files that exist are kept."""
    if options.file == "-" or options.shard_lines < 1:
        raise ValueError(
            "--output needs a file, not standard input, and --shard-lines of at least 1; received "
            f"{options.file!r} and {options.shard_lines}."
        )
    run = {name: getattr(options, name) for name in _SETTINGS}
    run |= {"model": _sha256(options.model), "file": _sha256(options.file)}
    folder = Path(options.output)
    record = folder / "run.json"
    if not record.exists():
        check_new_folder(folder)
        with new_file(record) as temporary:
            temporary.write_text(json.dumps(run, indent=2) + "\n")
    # Runs of versions without the option --encoding read UTF-8.
    recorded = {"encoding": "utf-8", **json.loads(record.read_text())}
    if differing := [name for name in run if run[name] != recorded.get(name)]:
        raise ValueError(
            f"{folder} holds the predictions of another run, which differs in "
            f"{', '.join(differing)}: name another folder, or remove it."
        )
    model = common.load_any(options.model)
    chunks = common.lines_in_chunks(options.file, options.shard_lines, options.encoding)
    for number, (first_number, texts) in enumerate(chunks):
        shard = folder / f"predictions-{number:06}.{'jsonl' if options.json else 'tsv'}"
        if not shard.exists():
            lines = _predict(model, first_number, texts, options)
            with new_file(shard) as temporary:
                temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    print(folder)


def _sha256(path: str) -> str:
    """Returns the hash of a file, of all files of a folder, or of a hub id."""
    place = Path(path)
    files = sorted(file for file in (place, *place.rglob("*")) if file.is_file())
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
    with common.progress_to_stderr():
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
