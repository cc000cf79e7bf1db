"""Compares exports with their checkpoint on a file of texts and labels; fails beyond bounds."""

import argparse
import json
import sys

from keras_bert_scratch.cli import common
from keras_bert_scratch.files import check_new_folder, new_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--model", required=True, help="checkpoint that the exports were made from")
    parser.add_argument("--data", required=True, help="file of held-out examples")
    parser.add_argument("exports", nargs="+", help="SavedModel folders or .tflite files")
    parser.add_argument("--output", help="new folder for the table and its picture")
    parser.add_argument("--lengths", type=int, nargs="+", default=[16, 64], help="in tokens")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--max-logit-gap", type=float, help="largest accepted (default: any)")
    parser.add_argument(
        "--max-flipped", type=float, default=0.05, help="share of labels (default: %(default)s)"
    )
    parser.add_argument(
        "--max-accuracy-loss", type=float, default=0.03, help="default: %(default)s"
    )
    common.add_arguments(parser, *common.DATA, "--json")


def run(options: argparse.Namespace) -> None:
    """Runs the command."""
    if options.output:
        check_new_folder(options.output)
    model, texts, true_ids = common.classifier_and_data(options)

    from keras_bert_scratch.serving.comparison import (
        check_bounds,
        figures_to_text,
        measure_artifact,
        plot_figures,
    )
    from keras_bert_scratch.serving.frontier import pick

    with common.progress_to_stderr():
        expected = model.probabilities(texts)
        figures = []
        for number, path in enumerate(options.exports, start=1):
            print(f"[{number}/{len(options.exports)}] {path} ...", flush=True)
            figures.append(
                measure_artifact(
                    path,
                    texts,
                    true_ids,
                    expected,
                    model.tokenizer,
                    lengths=options.lengths,
                    threads=options.threads,
                    multi_label=model.multi_label,
                )
            )
    as_json = json.dumps([row.to_dict() for row in figures], indent=2)
    as_text = figures_to_text(figures)
    if options.output:
        with new_folder(options.output) as folder:
            (folder / "comparison.json").write_text(as_json + "\n")
            (folder / "comparison.txt").write_text(as_text + "\n", encoding="utf-8")
            plot_figures(figures, folder / "comparison.png", best=pick(figures))
    print(as_json if options.json else as_text)
    if options.output:
        print(f"The table and its picture are in {options.output}", file=sys.stderr)
    check_bounds(
        figures,
        largest_logit_gap=options.max_logit_gap,
        flipped_labels=options.max_flipped,
        accuracy_loss=options.max_accuracy_loss,
    )
