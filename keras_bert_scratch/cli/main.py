"""The command `keras-bert-scratch`: parses the arguments and calls one command's `run`."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from keras_bert_scratch import __version__
from keras_bert_scratch.cli.quiet import quiet_tensorflow

# The modules of this folder that are commands, in the order of --help.
COMMANDS = (
    *("pretrain", "finetune", "evaluate", "predict", "explain", "encode", "export", "compare"),
    *("frontier", "serve", "tag", "qa", "summarize", "vocabulary"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        arguments: The command line without the program's name; by default the process's.

    Returns:
        The exit status: 0 on success, 1 if the input was refused, 130 if the command was
        interrupted. Arguments that do not parse end the process with 2.
    """
    parser = argparse.ArgumentParser(
        prog="keras-bert-scratch", description="BERT from raw text to a served model, in Keras."
    )
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(dest="command", required=True)
    for name in COMMANDS:
        command = importlib.import_module(f"keras_bert_scratch.cli.{name}")
        summary = (command.__doc__ or "").splitlines()[0]
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        command.add_arguments(subparser)
        subparser.set_defaults(run=command.run)
    options = parser.parse_args(arguments)

    quiet_tensorflow()
    try:
        options.run(options)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read the output has closed it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, OSError, TypeError, RuntimeError, ImportError) as error:
        print(f"keras-bert-scratch {options.command}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
