"""Serves an exported SavedModel over HTTP, with TensorFlow Serving's REST API."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments; limits default to those of `serving.server`."""
    parser.add_argument("folder", help="SavedModel, or a folder of versions of one")
    parser.add_argument("--name", default="model", help="in the addresses (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    parser.add_argument("--port", type=int, default=8501, help="default: %(default)s; 0: any")
    # Left away, they are the server's own defaults, which this file could only repeat.
    parser.add_argument("--max-batch-size", type=int, help="rows of one call of the model")
    parser.add_argument("--max-wait-ms", type=float, help="how long a row waits for others")
    parser.add_argument("--max-queue", type=int, help="rows that may wait; beyond: 503")
    parser.add_argument("--max-body-bytes", type=int, help="of a request; beyond: 413")
    parser.add_argument("--max-text-bytes", type=int, help="of one text; beyond: 413")
    parser.add_argument("--timeout", type=float, help="seconds to an answer; beyond: 504")


def run(options: argparse.Namespace) -> None:
    """Runs the command."""
    import dataclasses

    from keras_bert_scratch.serving.server import Limits, serve

    given = {
        field.name: value
        for field in dataclasses.fields(Limits)
        if (value := getattr(options, field.name)) is not None
    }
    serve(
        options.folder, options.name, host=options.host, port=options.port, limits=Limits(**given)
    )
