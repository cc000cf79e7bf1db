"""Turns lines of a file or of standard input into embeddings."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from keras_bert_scratch.cli import common
from keras_bert_scratch.files import new_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--model", required=True, help=common.ANY_MODEL)
    parser.add_argument(
        "--output",
        help="a .npy file of one row a line, or a .jsonl file (default: JSONL to stdout)",
    )
    common.add_arguments(parser, *common.LINES, "--batch-size", *common.ENGINE)


def run(options: argparse.Namespace) -> None:
    """Runs the command: each line of input gives an embedding."""
    suffix = Path(options.output).suffix if options.output else ".jsonl"
    if suffix not in (".npy", ".jsonl"):
        raise ValueError(f"--output must end in .npy or .jsonl, received {options.output}.")
    model = common.load_any(options.model, "BertSentenceEncoder", common.engine_of(options))

    def encoded() -> Any:
        for _, texts in common.lines_in_chunks(options.file, encoding=options.encoding):
            with common.asking(model):
                rows = model.encode(texts, options.batch_size)
            yield texts, rows

    if not options.output:
        _write_lines(encoded(), sys.stdout)
        return
    with new_file(options.output) as temporary:
        if suffix == ".jsonl":
            with temporary.open("w", encoding="utf-8") as file:
                _write_lines(encoded(), file)
            return
        chunks = [rows for _, rows in encoded()]
        if not chunks:
            raise ValueError("There are no texts: give at least one line.")
        np.save(temporary, np.concatenate(chunks))


def _write_lines(encoded: Any, file: Any) -> None:
    for texts, rows in encoded:
        for text, row in zip(texts, rows, strict=True):
            document = {"text": text, "embedding": row.tolist()}
            file.write(json.dumps(document, ensure_ascii=False) + "\n")
