"""Turns lines of a file or of standard input into embeddings."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

import keras_bert_scratch
from keras_bert_scratch.cli.common import add_encoding_argument, lines_in_chunks, progress_to_stderr
from keras_bert_scratch.files import new_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--model", required=True, help="checkpoint, SavedModel or .tflite file")
    parser.add_argument("file", nargs="?", default="-", help="one text a line (default: stdin)")
    add_encoding_argument(parser)
    parser.add_argument(
        "--output",
        help="a .npy file of one row a line, or a .jsonl file (default: JSONL to stdout)",
    )
    parser.add_argument("--batch-size", type=int, default=32, help="default: %(default)s")


def run(options: argparse.Namespace) -> None:
    """Runs the command: a line of input gives an embedding."""
    suffix = Path(options.output).suffix if options.output else ".jsonl"
    if suffix not in (".npy", ".jsonl"):
        raise ValueError(f"--output must end in .npy or .jsonl, received {options.output}.")
    model = _load(options.model)

    def encoded() -> Any:
        for _, texts in lines_in_chunks(options.file, encoding=options.encoding):
            with progress_to_stderr():
                yield texts, model.encode(texts, options.batch_size)

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


def _load(path: str) -> Any:
    if Path(path).is_file() or (Path(path) / "saved_model.pb").exists():
        from keras_bert_scratch.serving.readers.sentence_encoder import load_embedder

        return load_embedder(path)
    return keras_bert_scratch.BertSentenceEncoder.from_pretrained(path)


def _write_lines(encoded: Any, file: Any) -> None:
    for texts, rows in encoded:
        for text, row in zip(texts, rows, strict=True):
            document = {"text": text, "embedding": row.tolist()}
            file.write(json.dumps(document, ensure_ascii=False) + "\n")
