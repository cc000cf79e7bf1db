"""Evaluates a checkpoint, a SavedModel or a LiteRT file on a file of texts and labels."""

import argparse
import dataclasses
import json
import sys
from typing import Any

from keras_bert_scratch.cli import common
from keras_bert_scratch.files import check_new_folder


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
        "--stress", action="store_true", help="ask again with typos, other cases, hidden characters"
    )
    common.add_arguments(parser, *common.DATA, "--batch-size", "--json")


def run(options: argparse.Namespace) -> None:
    """Runs the command; all files are read before the model is loaded."""
    if options.output:
        check_new_folder(options.output)
    file_format = common.find_format(options.data, options, options.model)
    examples = common.read_data(options.data, file_format)
    train = None
    if options.train:
        train_format = common.find_format(options.train, options, options.model)
        train = common.read_data(options.train, train_format)
    column = None
    if options.slice_column:
        sliced = dataclasses.replace(
            file_format, label_column=options.slice_column, label_separator=None
        )
        column = common.read_data(options.data, sliced, label_column="slice_column").labels

    from keras_bert_scratch.data.labels import encode_label_sets, encode_labels
    from keras_bert_scratch.evaluation.classification import evaluate_classification
    from keras_bert_scratch.evaluation.report import write_report

    model = common.load_any(options.model)
    is_multi_label = common.is_multi_label(examples)
    encode = encode_label_sets if is_multi_label else encode_labels

    def encoded(some: Any) -> tuple[Any, Any]:
        return common.texts_of(some), encode(some.labels, model.labels)

    data, train_data = encoded(examples), encoded(train) if train is not None else None
    with common.asking(options.model):
        probabilities = model.probabilities(data[0], options.batch_size)
        report = evaluate_classification(
            data[1], probabilities, model.labels, multi_label=is_multi_label
        )
        details = _details(
            options, model, data, probabilities, train_data, column, multi_label=is_multi_label
        )
    if options.output:
        write_report(options.output, report, details=details)
        print(f"The report is in {options.output}", file=sys.stderr)
    if options.json:
        found = {name: part.to_dict() for name, part in details.items()}
        print(json.dumps({**report.to_dict(), **found}))
    else:
        print(report.to_text())
        for name, part in details.items():
            print(f"{name.replace('_', ' ')}\n{part.to_text()}")


def _details(
    options: argparse.Namespace,
    model: Any,
    data: tuple[Any, Any],
    probabilities: Any,
    train: tuple[Any, Any] | None,
    column: Any,
    **how: Any,
) -> dict[str, Any]:
    """Returns the parts of the report besides the figures of all texts together."""
    from keras_bert_scratch.evaluation.baseline import compare_with_baseline
    from keras_bert_scratch.evaluation.duplicates import find_duplicates
    from keras_bert_scratch.evaluation.label_noise import find_label_suspects
    from keras_bert_scratch.evaluation.slices import evaluate_slices, length_groups
    from keras_bert_scratch.evaluation.stress import stress_test
    from keras_bert_scratch.text.columns import joined_columns

    texts, true_ids = data
    groups = {"length": length_groups(texts), "column": column}
    details: dict[str, Any] = {
        f"by_{by}": evaluate_slices(names, true_ids, probabilities, model.labels, **how)
        for by, names in groups.items()
        if names is not None
    }
    if not how["multi_label"]:
        details["label_suspects"] = find_label_suspects(
            true_ids, probabilities, model.labels, joined_columns(texts)
        )
    if train is not None:
        details["leaks"] = find_duplicates(texts, train[0])
        details["baseline"] = compare_with_baseline(train, data, probabilities, model.labels, **how)
    if options.stress:
        details["stress"] = stress_test(
            lambda asked: model.probabilities(asked, options.batch_size),
            texts,
            true_ids,
            model.labels,
            **how,
        )
    return details
