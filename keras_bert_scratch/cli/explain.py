"""Tells which words of a text, or which columns of a row, a checkpoint's answer came from."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from keras_bert_scratch.cli import common
from keras_bert_scratch.files import check_new_folder, new_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--model", required=True, help="checkpoint of a classifier")
    parser.add_argument("text", help=f"the text to explain; or a {common.EXAMPLES_FILE}")
    parser.add_argument(
        "--row", type=int, metavar="N", help="the row of the file to explain (default: 1)"
    )
    parser.add_argument(
        "--method",
        choices=["gradients", "rollout"],
        default="gradients",
        help="integrated gradients, or where attention went (default: %(default)s)",
    )
    parser.add_argument("--label", help="the label to explain (default: the most probable)")
    parser.add_argument("--output", help="new folder for HTML and JSON, of texts also PNG")
    common.add_arguments(parser, "--text-column", *common.FILES, "--json")


def run(options: argparse.Namespace) -> None:
    """Runs the command."""
    if options.label and options.method == "rollout":
        raise ValueError("--label is for --method gradients: attention has no label. Omit --label.")
    if options.output:
        check_new_folder(options.output)
    if columns := common.model_columns(options.model):
        _explain_row(options, columns)
        return
    text = _text(options)

    from keras_bert_scratch.evaluation.explanations import explain_by_rollout, integrated_gradients
    from keras_bert_scratch.evaluation.plots import plot_explanation

    model = common.load_checkpoint(options.model)
    if options.method == "rollout":
        explanation = explain_by_rollout(model, text)
    else:
        explanation = integrated_gradients(model, text, options.label)
    as_json = json.dumps(explanation.to_dict(), ensure_ascii=False)
    if options.output:
        with new_folder(options.output) as folder:
            (folder / "explanation.html").write_text(explanation.to_html(), encoding="utf-8")
            (folder / "explanation.json").write_text(as_json + "\n", encoding="utf-8")
            plot_explanation(explanation, folder / "explanation.png")
    print(as_json if options.json else explanation.to_text())
    if options.output:
        print(f"The explanation is in {options.output}", file=sys.stderr)


def _text(options: argparse.Namespace) -> str:
    """Returns the text to explain: the argument itself, or a row of the file that it names."""
    text: str = options.text
    if not (common.is_table(text) and Path(text).is_file()):
        if options.row is not None:
            raise ValueError(f"--row is for files of examples, and {text!r} is none: omit it.")
        return text
    found = common.find_format(text, options, options.model, needs_label=False)
    texts: list[str] = common.read_data(text, found).texts
    return texts[_position(options, len(texts))]


def _position(options: argparse.Namespace, count: int) -> int:
    """Returns the position of the row that the options name."""
    row: int = 1 if options.row is None else options.row
    if not 1 <= row <= count:
        raise ValueError(
            f"--row must be from 1 to {count}, the rows of {options.text}: it is {row}."
        )
    return row - 1


def _explain_row(options: argparse.Namespace, columns: dict[str, Any]) -> None:
    """Explains a row of a file by its columns."""
    if options.method == "rollout":
        raise ValueError("--method rollout is for models of texts: omit it.")
    if not common.is_table(options.text):
        raise ValueError(
            f"{options.model} reads rows of several columns: give a {common.EXAMPLES_FILE}, "
            f"received {options.text!r}."
        )
    found = common.find_format(options.text, options, options.model, needs_label=False)
    rows = common.read_data(options.text, found, columns)
    row = rows.take([_position(options, len(rows))])

    from keras_bert_scratch.evaluation.row_explanations import explain_row

    explanation = explain_row(common.load_checkpoint(options.model), row.table, options.label)
    as_json = json.dumps(explanation.to_dict(), ensure_ascii=False)
    if options.output:
        with new_folder(options.output) as folder:
            (folder / "explanation.html").write_text(explanation.to_html(), encoding="utf-8")
            (folder / "explanation.json").write_text(as_json + "\n", encoding="utf-8")
    print(as_json if options.json else explanation.to_text())
    if options.output:
        print(f"The explanation is in {options.output}", file=sys.stderr)
