"""Evaluates a checkpoint, a SavedModel or a LiteRT file on a file of texts and labels."""

import argparse
import json
from typing import Any

from keras_bert_scratch.cli.common import (
    add_data_arguments,
    load_any,
    progress_to_stderr,
    read_data,
    texts_of,
)
from keras_bert_scratch.files import check_new_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--model", required=True, help="checkpoint, SavedModel or .tflite file")
    parser.add_argument("--data", required=True, help="CSV, TSV, JSONL or Parquet file")
    parser.add_argument("--output", help="new folder for the report and its pictures")
    add_data_arguments(parser)
    parser.add_argument(
        "--train",
        metavar="FILE",
        help="what the model was trained on: compare with a simple baseline, look for leaks",
    )
    parser.add_argument("--slice-column", help="column for each of whose values to give figures")
    parser.add_argument(
        "--stress", action="store_true", help="ask again with typos, other cases, hidden characters"
    )
    parser.add_argument("--batch-size", type=int, default=32, help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(options: argparse.Namespace) -> None:
    """Runs the command; all files are read before the model is loaded."""
    if options.output:
        check_new_folder(options.output)
    examples = read_data(options.data, options)
    train = read_data(options.train, options) if options.train else None
    groups: dict[str, Any] = {}
    if options.slice_column:
        groups["column"] = read_data(
            options.data, options, label_column="slice_column", label_separator=None
        ).labels

    from keras_bert_scratch.data.labels import encode_label_sets, encode_labels
    from keras_bert_scratch.evaluation.baseline import compare_with_baseline
    from keras_bert_scratch.evaluation.classification import evaluate_classification
    from keras_bert_scratch.evaluation.duplicates import find_duplicates
    from keras_bert_scratch.evaluation.label_noise import find_label_suspects
    from keras_bert_scratch.evaluation.report import write_report
    from keras_bert_scratch.evaluation.slices import evaluate_slices, length_groups
    from keras_bert_scratch.evaluation.stress import stress_test
    from keras_bert_scratch.text.columns import joined_columns

    model = load_any(options.model)
    is_multi_label = options.label_separator is not None
    encode = encode_label_sets if is_multi_label else encode_labels
    texts, true_ids = texts_of(examples), encode(examples.labels, model.labels)
    if train is not None:
        train_texts, train_ids = texts_of(train), encode(train.labels, model.labels)
    with progress_to_stderr():
        probabilities = model.probabilities(texts, options.batch_size)
    figures: Any = (true_ids, probabilities, model.labels)
    report = evaluate_classification(*figures, multi_label=is_multi_label)
    details: dict[str, Any] = {
        f"by_{by}": evaluate_slices(names, *figures, multi_label=is_multi_label)
        for by, names in {"length": length_groups(texts), **groups}.items()
    }
    if not is_multi_label:
        details["label_suspects"] = find_label_suspects(
            true_ids, probabilities, model.labels, joined_columns(texts)
        )
    if train is not None:
        details["leaks"] = find_duplicates(texts, train_texts)
        details["baseline"] = compare_with_baseline(
            (train_texts, train_ids),
            (texts, true_ids),
            probabilities,
            model.labels,
            multi_label=is_multi_label,
        )
    if options.stress:
        with progress_to_stderr():
            details["stress"] = stress_test(
                lambda asked: model.probabilities(asked, options.batch_size),
                texts,
                true_ids,
                model.labels,
                multi_label=is_multi_label,
            )
    if options.output:
        write_report(options.output, report, details=details)
    if options.json:
        found = {name: part.to_dict() for name, part in details.items()}
        print(json.dumps({**report.to_dict(), **found}))
    else:
        print(report.to_text())
        for name, part in details.items():
            print(f"{name.replace('_', ' ')}\n{part.to_text()}")
