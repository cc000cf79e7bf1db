"""Serves an export, or a checkpoint's engine, over HTTP, with TensorFlow Serving's REST API."""

import argparse
import dataclasses
import logging
from pathlib import Path

from keras_bert_scratch.cli import common
from keras_bert_scratch.cli.quiet import without_keras
from keras_bert_scratch.serving.server.limits import Limits


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "folder",
        help="SavedModel, or a folder of versions of one; .tflite or .onnx file; or a checkpoint "
        "with an engine, which finetune keeps beside it",
    )
    parser.add_argument(
        "--engine",
        choices=["litert-int8", "litert"],
        default="litert-int8",
        help="of a checkpoint (default: %(default)s)",
    )
    parser.add_argument("--name", default="model", help="in the addresses (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    parser.add_argument("--port", type=int, default=8501, help="default: %(default)s; 0: any")
    parser.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name that clients use for the server, besides localhost and --host; * for any; may "
        "be repeated",
    )
    parser.add_argument(
        "--cors-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="an origin whose pages may use the server, such as https://example.org; * for any; "
        "may be repeated",
    )
    parser.add_argument(
        "--root-path",
        default="",
        help="prefix of all addresses, such as /films, of a proxy that does not remove it",
    )
    for field in dataclasses.fields(Limits):
        parser.add_argument(
            common.flag(field.name),
            type=type(field.default),
            default=field.default,
            help=f"{field.metadata['meaning']} (default: %(default)s)",
        )


# Where a model reads pictures or sounds, so many bytes are taken if the options say nothing.
_OF_FILES = {"max_text_bytes": 12_000_000, "max_body_bytes": 16_000_000}


def _reads_files(folder: str) -> bool:
    """Returns whether an export, or a version in its folder, reads pictures or sounds."""
    places = [Path(folder), *Path(folder).glob("[0-9]*")]
    columns = [column for place in places for column in common.model_columns(str(place)).values()]
    return any(column.kind in ("image", "audio") for column in columns)


def _served(folder: str, engine: str) -> str:
    """Returns what is served: of a checkpoint, its engine."""
    if not (Path(folder) / "config.json").is_file():
        return folder
    if common.model_columns(folder):
        raise ValueError(
            f"{folder} is a checkpoint, and an export is served: keras-bert-scratch export --model "
            f"{folder} {folder}_served, and serve {folder}_served."
        )
    from keras_bert_scratch.serving.engines import kept_file

    path, record = kept_file(folder, engine)
    if record is None:
        raise ValueError(
            f"{folder} has no engine {engine} of its files: keep one, keras-bert-scratch predict "
            f"--model {folder} --engine {engine} FILE, or export a SavedModel and serve that."
        )
    return str(path)


def run(options: argparse.Namespace) -> None:
    """Runs the command."""
    from keras_bert_scratch.serving.server.app import serve

    without_keras()

    # Which versions are served, and which cannot be.
    logging.basicConfig(format="%(asctime)s %(message)s")
    logging.getLogger("keras_bert_scratch").setLevel(logging.INFO)
    limits = {field.name: getattr(options, field.name) for field in dataclasses.fields(Limits)}
    if _reads_files(options.folder):
        limits |= {
            name: value
            for name, value in _OF_FILES.items()
            if limits[name] == getattr(Limits, name)
        }
    serve(
        _served(options.folder, options.engine),
        options.name,
        host=options.host,
        port=options.port,
        limits=Limits(**limits),
        allowed_hosts=options.allowed_host,
        cors_origins=options.cors_origin,
        root_path=options.root_path,
    )
