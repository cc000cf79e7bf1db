"""Evaluates a checkpoint, a SavedModel or a LiteRT file on a file of texts and labels."""

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from keras_bert_scratch.cli import common
from keras_bert_scratch.files import check_new_folder

# Time for what is costly in a report: errors are explained, and texts stressed, as many as fit.
_SECONDS = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--model", required=True, help=common.ANY_MODEL)
    common.add_file(parser, "--data", common.EXAMPLES_FILE)
    parser.add_argument("--output", help="new folder for the report and its pictures")
    parser.add_argument(
        "--train",
        metavar="FILE",
        help="the training file: compare with a simple baseline, and look for leaks",
    )
    parser.add_argument("--slice-column", help="column for each of whose values to give figures")
    parser.add_argument(
        "--stress",
        action="store_true",
        help="ask all texts again with typos, other cases, hidden characters; a report has some",
    )
    common.add_arguments(parser, *common.DATA, "--batch-size", *common.ENGINE, "--json")


def run(options: argparse.Namespace) -> None:
    """Runs the command; all files are read before the model is loaded."""
    if options.output:
        check_new_folder(options.output)
    file_format = common.find_format(options.data, options, options.model)
    columns = common.model_columns(options.model)
    if columns and (options.stress or (options.train and common.is_export(options.model))):
        raise ValueError(
            f"{options.model} reads columns: --stress is for models of texts, and --train, which "
            "compares columns, for checkpoints. Omit the option."
        )
    examples = common.read_data(options.data, file_format, columns)
    train = None
    if options.train:
        train_format = common.find_format(options.train, options, options.model)
        train = common.read_data(options.train, train_format, columns)
    column = None
    if options.slice_column and columns:
        if options.slice_column not in examples.cells[0]:
            raise ValueError(
                f"{options.data} has no column {options.slice_column!r}: its columns are "
                f"{', '.join(map(repr, examples.cells[0]))}. Name one of them with --slice-column."
            )
        column = [str(row[options.slice_column]) for row in examples.cells]
    elif options.slice_column:
        sliced = dataclasses.replace(
            file_format, label_column=options.slice_column, label_separator=None
        )
        column = common.read_data(options.data, sliced, label_column="slice_column").labels

    from keras_bert_scratch.data.labels import encode_label_sets, encode_labels
    from keras_bert_scratch.evaluation.classification import evaluate_classification
    from keras_bert_scratch.evaluation.columns import examine_rows
    from keras_bert_scratch.evaluation.model_card import model_card
    from keras_bert_scratch.evaluation.report import examine, write_report

    model = answering = common.load_any(options.model, engine=common.engine_of(options))
    # Explanations need the gradients of Keras.
    if isinstance(answering, common.ByEngine):
        model = answering.model
    elif options.engine not in (None, "keras"):
        model = common.load_checkpoint(options.model)
    is_multi_label = common.is_multi_label(examples)
    encode = encode_label_sets if is_multi_label else encode_labels

    def encoded(some: Any) -> tuple[Any, Any]:
        return common.texts_of(some), encode(some.labels, model.labels)

    data, train_data = encoded(examples), encoded(train) if train is not None else None
    with common.asking(answering):
        probabilities = answering.probabilities(data[0], options.batch_size)
        report = evaluate_classification(
            data[1], probabilities, model.labels, multi_label=is_multi_label
        )
        how = {"multi_label": is_multi_label, "train": train_data, "batch_size": options.batch_size}
        if columns:
            quotes = examples.quotes()
            details = examine_rows(model, *data, probabilities, quotes, groups=column, **how)
        else:
            details = examine(
                model,
                *data,
                probabilities,
                column=column,
                stress=options.stress,
                seconds=_SECONDS if options.output else 0,
                **how,
            )
    if options.output:
        name, data_name = Path(options.model).name, Path(options.data).name
        card = None
        if not common.is_export(options.model):
            card = model_card(
                model, name=name, report=report, baseline=details.get("baseline"), data=data_name
            )
        write_report(
            options.output, report, details=details, title=f"{name} on {data_name}", card=card
        )
        print(f"The report is in {options.output}", file=sys.stderr)
    if options.json:
        found = {name: part.to_dict() for name, part in details.items()}
        print(json.dumps({**report.to_dict(), **found}))
    else:
        print(report.to_text())
        for name, part in details.items():
            print(f"{name.replace('_', ' ')}\n{part.to_text()}")
