"""Tells which words of a text a checkpoint's answer came from."""

import argparse
import json

import keras_bert_scratch
from keras_bert_scratch.cli import common
from keras_bert_scratch.files import check_new_folder, new_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--model", required=True, help="checkpoint of a classifier")
    parser.add_argument("text", help="the text to explain")
    parser.add_argument(
        "--method",
        choices=["gradients", "rollout"],
        default="gradients",
        help="integrated gradients, or where attention went (default: %(default)s)",
    )
    parser.add_argument("--label", help="the label to explain (default: the most probable)")
    parser.add_argument("--output", help="new folder for HTML, PNG and JSON")
    common.add_arguments(parser, "--json")


def run(options: argparse.Namespace) -> None:
    """Runs the command."""
    if options.label and options.method == "rollout":
        raise ValueError("--label is for --method gradients: attention has no label. Omit --label.")
    if options.output:
        check_new_folder(options.output)

    from keras_bert_scratch.evaluation.explanations import explain_by_rollout, integrated_gradients
    from keras_bert_scratch.evaluation.plots import plot_explanation

    model = keras_bert_scratch.BertClassifier.from_pretrained(options.model)
    if options.method == "rollout":
        explanation = explain_by_rollout(model, options.text)
    else:
        explanation = integrated_gradients(model, options.text, options.label)
    as_json = json.dumps(explanation.to_dict(), ensure_ascii=False)
    if options.output:
        with new_folder(options.output) as folder:
            (folder / "explanation.html").write_text(explanation.to_html(), encoding="utf-8")
            (folder / "explanation.json").write_text(as_json + "\n", encoding="utf-8")
            plot_explanation(explanation, folder / "explanation.png")
    print(as_json if options.json else explanation.to_text())
