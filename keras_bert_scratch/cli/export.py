"""Exports a checkpoint to a SavedModel or a LiteRT file, and proves that it answers alike."""

import argparse
from pathlib import Path

import keras_bert_scratch
from keras_bert_scratch.cli.common import progress_to_stderr
from keras_bert_scratch.files import check_new_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--model", required=True, help="checkpoint folder or hub id")
    parser.add_argument("output", help="new folder (savedmodel) or file (litert)")
    parser.add_argument("--format", choices=["savedmodel", "litert"], default="savedmodel")
    parser.add_argument(
        "--precision",
        choices=["float32", "float16", "int8"],
        default="float32",
        help="of the weights, litert only (default: %(default)s)",
    )
    parser.add_argument(
        "--static-length", type=int, help="fixed number of tokens, litert only (default: any)"
    )
    parser.add_argument(
        "--model-version",
        type=int,
        help="write the folder OUTPUT/VERSION, beside other versions, savedmodel only",
    )


def run(options: argparse.Namespace) -> None:
    """Runs the command."""
    output = Path(options.output)
    if options.format == "savedmodel":
        if options.precision != "float32" or options.static_length:
            raise ValueError("--precision and --static-length are for --format litert.")
        if options.model_version is not None:
            from keras_bert_scratch.serving.saved_model import version_folder

            output = version_folder(output, options.model_version)
        check_new_folder(output)
    elif options.model_version is not None:
        raise ValueError("--model-version is for --format savedmodel.")
    model = keras_bert_scratch.BertClassifier.from_pretrained(options.model)
    with progress_to_stderr():
        if options.format == "savedmodel":
            model.export(output)
        else:
            model.export(
                output,
                format="litert",
                precision=options.precision,
                static_length=options.static_length,
            )
    files = [output] if output.is_file() else [file for file in output.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    print(f"{output}: {size / 1e6:.1f} MB, answers as the model does")
