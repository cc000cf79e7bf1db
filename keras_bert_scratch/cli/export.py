"""Exports a checkpoint for servers, phones or browsers, and proves that it answers alike."""

import argparse
from pathlib import Path
from typing import Any

import keras_bert_scratch
from keras_bert_scratch.cli.common import (
    add_file_arguments,
    progress_to_stderr,
    read_data,
    texts_of,
)
from keras_bert_scratch.files import check_new_folder

# The formats by their names here, and what each can be told.
FORMATS = {
    "savedmodel": ("tf_saved_model", {"model_version"}),
    "litert": ("litert", {"precision", "static_length", "inputs", "texts"}),
    "mediapipe": ("mediapipe", {"precision", "static_length", "texts"}),
    "onnx": ("onnx", set[str]()),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--model", required=True, help="checkpoint folder or hub id")
    parser.add_argument("output", help="new folder (savedmodel) or file (all else)")
    parser.add_argument("--format", choices=list(FORMATS), default="savedmodel")
    parser.add_argument(
        "--precision",
        choices=["float32", "float16", "int8", "full_int8"],
        help="litert and mediapipe (default: float32); full_int8 needs --texts",
    )
    parser.add_argument(
        "--static-length",
        type=int,
        help="fixed number of tokens, litert (default: any) and mediapipe (default: the model's)",
    )
    parser.add_argument(
        "--inputs", choices=["ids", "text"], help="what the file takes, litert (default: ids)"
    )
    parser.add_argument(
        "--texts",
        help="file of texts such as the model will read, litert and mediapipe: "
        "calibrates full_int8, and checks the file's labels",
    )
    parser.add_argument("--text-column", default="text", help="default: %(default)s")
    parser.add_argument("--pair-column", help="column of the second text, for pairs")
    add_file_arguments(parser)
    parser.add_argument(
        "--model-version",
        type=int,
        help="write the folder OUTPUT/VERSION, beside other versions, savedmodel only",
    )


def run(options: argparse.Namespace) -> None:
    """Runs the command."""
    output = Path(options.output)
    name, known = FORMATS[options.format]
    settings: dict[str, Any] = {}
    for setting in sorted(set().union(*(settings for _, settings in FORMATS.values()))):
        value = getattr(options, setting)
        if value is not None and setting not in known:
            formats = [key for key, (_, settings) in FORMATS.items() if setting in settings]
            raise ValueError(
                f"--{setting.replace('_', '-')} is for --format {' or '.join(formats)}, "
                f"received --format {options.format}."
            )
        if value is not None:
            settings[setting] = value
    if "texts" in settings:
        settings["texts"] = texts_of(
            read_data(options.texts, options, label_column=None, label_separator=None)
        )
    if options.format == "savedmodel":
        if "model_version" in settings:
            from keras_bert_scratch.serving.saved_model import version_folder

            output = version_folder(output, settings.pop("model_version"))
        check_new_folder(output)
    model = keras_bert_scratch.BertClassifier.from_pretrained(options.model)
    with progress_to_stderr():
        model.export(output, format=name, **settings)
    files = [output] if output.is_file() else [file for file in output.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    print(f"{output}: {size / 1e6:.1f} MB, answers as the model does")
