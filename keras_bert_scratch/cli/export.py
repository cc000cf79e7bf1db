"""Exports a checkpoint for servers, phones or browsers, and checks that it answers alike."""

import argparse
import contextlib
import sys
from pathlib import Path
from typing import Any

from keras_bert_scratch.cli import common
from keras_bert_scratch.files import check_new_folder, new_file, new_folder

# The formats by their names here, and the options that each takes.
FORMATS = {
    "savedmodel": ("tf_saved_model", {"model_version"}),
    "litert": (
        "litert",
        {"precision", "static_length", "inputs", "num_code_points", "pairs", "trainable", "texts"},
    ),
    "mediapipe": ("mediapipe", {"precision", "static_length", "texts"}),
    "onnx": ("onnx", {"inputs", "pairs"}),
    "web": ("web", {"precision", "num_code_points", "texts", "examples"}),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--model", required=True, help=common.CHECKPOINT)
    parser.add_argument("output", help="new folder (savedmodel, web) or file (all else)")
    parser.add_argument("--format", choices=list(FORMATS), default="savedmodel")
    parser.add_argument(
        "--precision",
        choices=["float32", "float16", "int8", "full_int8"],
        help="litert and mediapipe (default: float32), and web, without full_int8 (default: int8); "
        "full_int8 needs --texts",
    )
    parser.add_argument(
        "--static-length",
        type=int,
        help="fixed number of tokens, litert (default: any) and mediapipe (default: the model's)",
    )
    parser.add_argument(
        "--inputs",
        choices=["ids", "code_points"],
        help="what the file takes, litert and onnx (default: ids); of code_points it makes tokens "
        "itself, by the runtime's own operations, so that an app needs no tokenizer",
    )
    parser.add_argument(
        "--num-code-points",
        type=int,
        help="fixed number of characters, web and a litert file that takes code_points",
    )
    parser.add_argument(
        "--pairs",
        action="store_const",
        const=True,
        help="a file that takes code_points takes pairs of texts",
    )
    parser.add_argument(
        "--trainable",
        choices=["head"],
        help="a litert file that takes code_points learns on the device: its head, by examples",
    )
    parser.add_argument(
        "--client",
        choices=["python", "kotlin", "swift", "c"],
        help="print the code with which an app asks a litert file that takes code_points",
    )
    parser.add_argument(
        "--texts",
        help="file of texts such as the model will read, litert, mediapipe and web: "
        "calibrates full_int8, and checks the file's labels",
    )
    parser.add_argument(
        "--examples",
        nargs="+",
        metavar="TEXT",
        help="texts that the page offers to be tried, web",
    )
    parser.add_argument(
        "--model-version",
        type=int,
        help="write the folder OUTPUT/VERSION, beside other versions, savedmodel only",
    )
    common.add_arguments(parser, "--text-column", "--pair-column", *common.FILES)


def run(options: argparse.Namespace) -> None:
    """Runs the command."""
    output = Path(options.output)
    name, known = FORMATS[options.format]
    settings = {
        setting: value
        for setting in sorted(set().union(*(settings for _, settings in FORMATS.values())))
        if (value := getattr(options, setting)) is not None
    }
    for setting in settings:
        if setting not in known:
            formats = [key for key, (_, settings) in FORMATS.items() if setting in settings]
            raise ValueError(
                f"{common.flag(setting)} is for --format {' or '.join(formats)}, received --format "
                f"{options.format}."
            )
    has_columns = bool(common.model_columns(options.model))
    if has_columns and (wrong := settings.keys() & {"texts", "pairs", "trainable", "examples"}):
        raise ValueError(f"{common.flag(wrong.pop())} is for models of texts alone: omit it.")
    asks_code_points = settings.get("inputs") == "code_points"
    if options.client and (has_columns or options.format != "litert" or not asks_code_points):
        raise ValueError(
            "--client is for --format litert --inputs code_points, received --format "
            f"{options.format} --inputs {settings.get('inputs', 'ids')}."
        )
    if "texts" in settings:
        found = common.find_format(options.texts, options, options.model, needs_label=False)
        settings["texts"] = common.texts_of(common.read_data(options.texts, found))
    if "model_version" in settings:
        from keras_bert_scratch.serving.saved_model import version_folder

        output = version_folder(output, settings.pop("model_version"))
    if options.format in ("savedmodel", "web"):
        check_new_folder(output)
    print(f"Loading {options.model} ...", file=sys.stderr)
    model = common.load_checkpoint(options.model)
    print(f"Writing {output}, then asking it in a fresh process ...", file=sys.stderr)
    file_format = common.remembered(options.model)
    write: Any = new_folder if options.format == "savedmodel" else new_file
    # ONNX files have no place for the format of files that leaves their bytes as they were checked,
    # and pages read no files.
    if not file_format or options.format in ("onnx", "web"):
        file_format, write = {}, contextlib.nullcontext
    with write(output) as path, common.progress_to_stderr():
        model.export(path, format=name, **settings)
        common.remember(file_format, path)
    files = [output] if output.is_file() else [file for file in output.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    print(f"{output}: {size / 1e6:.1f} MB, answers as the model does")
    if options.client:
        from keras_bert_scratch.serving.readers.clients import client_code

        print(f"\n{client_code(output, options.client)}", end="")
    elif options.format == "litert" and not (has_columns or asks_code_points):
        print(
            "It takes token ids. An app without a tokenizer wants --inputs code_points.",
            file=sys.stderr,
        )
