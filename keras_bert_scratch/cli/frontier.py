"""Exports a checkpoint in many precisions and lengths, and keeps the one that fits a budget."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from keras_bert_scratch.cli import common
from keras_bert_scratch.files import check_new_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--model", required=True, help=common.CHECKPOINT)
    parser.add_argument("--data", required=True, help="file of held-out examples")
    parser.add_argument("--output", required=True, help="new folder for the file and its card")
    parser.add_argument("--precisions", nargs="+", default=["float32", "float16", "int8"])
    parser.add_argument("--lengths", type=int, nargs="+", default=[32, 64, 128], help="in tokens")
    parser.add_argument("--max-megabytes", type=float, default=float("inf"))
    parser.add_argument(
        "--max-milliseconds",
        type=float,
        default=float("inf"),
        help="for a text of full length, on one thread of this machine",
    )
    parser.add_argument(
        "--max-f1-loss",
        type=float,
        help="points of macro F1: keeps the fastest within (default: keeps the best macro F1; "
        "without any budget, the fastest file within half a point of it)",
    )
    common.add_arguments(parser, *common.DATA, "--json")


def run(options: argparse.Namespace) -> None:
    """Runs the command."""
    check_new_folder(options.output)
    model, texts, true_ids = common.classifier_and_data(options)

    from keras_bert_scratch.serving.frontier import write_frontier

    file_format = common.remembered(options.model)

    def export(path: Path, precision: Any, length: int) -> None:
        model.sequence_length = length
        model.export(path, format="litert", precision=precision)
        common.remember(file_format, path)

    with common.progress_to_stderr():
        best = write_frontier(
            options.output,
            export,
            texts,
            true_ids,
            model.probabilities(texts),
            model.tokenizer,
            model.labels,
            precisions=options.precisions,
            # No file reads more than the model does.
            lengths=sorted({min(length, model.sequence_length) for length in options.lengths}),
            multi_label=model.multi_label,
            max_megabytes=options.max_megabytes,
            max_milliseconds=options.max_milliseconds,
            max_f1_loss=options.max_f1_loss,
            progress=lambda message: print(f"{message} ...", flush=True),
        )
    card = Path(options.output) / "README.md"
    print(json.dumps(best.to_dict()) if options.json else card.read_text("utf-8"))
    print(f"{best.path}: {best.megabytes:.1f} MB, with its card {card}", file=sys.stderr)
