"""Evaluates a checkpoint, a SavedModel or a LiteRT file on a file of texts and labels."""

import argparse
import json

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
    parser.add_argument("--batch-size", type=int, default=32, help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(options: argparse.Namespace) -> None:
    """Runs the command."""
    if options.output:
        check_new_folder(options.output)
    examples = read_data(options.data, options)

    from keras_bert_scratch.data.labels import encode_label_sets, encode_labels
    from keras_bert_scratch.evaluation.classification import evaluate_classification
    from keras_bert_scratch.evaluation.report import write_report

    model = load_any(options.model)
    is_multi_label = options.label_separator is not None
    encode = encode_label_sets if is_multi_label else encode_labels
    true_ids = encode(examples.labels, model.labels)
    with progress_to_stderr():
        probabilities = model.probabilities(texts_of(examples), options.batch_size)
    report = evaluate_classification(
        true_ids, probabilities, model.labels, multi_label=is_multi_label
    )
    if options.output:
        write_report(options.output, report)
    print(json.dumps(report.to_dict()) if options.json else report.to_text())
