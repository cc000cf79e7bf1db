"""The command `keras-bert-scratch`: parses the arguments and calls one command's `run`."""

import argparse
import os
import sys
from collections.abc import Sequence

from keras_bert_scratch import __version__
from keras_bert_scratch.cli import (
    compare,
    encode,
    evaluate,
    explain,
    export,
    finetune,
    frontier,
    predict,
    pretrain,
    qa,
    serve,
    summarize,
    tag,
    vocabulary,
)

COMMANDS = {
    "pretrain": pretrain,
    "finetune": finetune,
    "evaluate": evaluate,
    "predict": predict,
    "explain": explain,
    "encode": encode,
    "export": export,
    "compare": compare,
    "frontier": frontier,
    "serve": serve,
    "tag": tag,
    "qa": qa,
    "summarize": summarize,
    "vocabulary": vocabulary,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        arguments: The command line without the program's name; by default the process's.

    Returns:
        The exit status: 0 if all went well, 1 if the input was refused, 130 if it was interrupted.
        Arguments that do not parse end the process with 2.
    """
    parser = argparse.ArgumentParser(
        prog="keras-bert-scratch", description="BERT from raw text to a served model, in Keras."
    )
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(dest="command", required=True)
    for name, command in COMMANDS.items():
        summary = (command.__doc__ or "").splitlines()[0]
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        command.add_arguments(subparser)
    options = parser.parse_args(arguments)

    # TensorFlow's start-up chatter; it must be silenced before the first import.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        COMMANDS[options.command].run(options)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output has gone; there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, OSError, TypeError, RuntimeError, ImportError) as error:
        print(f"keras-bert-scratch {options.command}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
