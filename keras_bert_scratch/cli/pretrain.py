"""Pretrains an encoder from files of text, as a YAML file says; goes on where it stopped."""

import argparse
import logging
import sys

from keras_bert_scratch.cli import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("recipe", help="YAML file, see tasks/pretraining.py for its fields")
    parser.add_argument("--output", required=True, help="folder of the run, new or to go on with")
    parser.add_argument(
        "--start",
        help="checkpoint to go on from, if the recipe names none: replaces its vocabulary and "
        "encoder",
    )
    parser.add_argument(
        "--processes", type=int, default=1, help="number that make examples (default: %(default)s)"
    )
    common.add_arguments(parser, "--distribute")


def run(options: argparse.Namespace) -> None:
    """Runs the command."""
    from keras_bert_scratch.tasks.pretraining_recipe import PretrainingRecipe, pretrain
    from keras_bert_scratch.training.distribution import distribution_strategy

    logging.basicConfig(stream=sys.stderr, format="%(message)s")
    logging.getLogger("keras_bert_scratch").setLevel(logging.INFO)
    # Before TensorFlow makes its first tensor, which a recipe does.
    strategy = distribution_strategy(options.distribute)
    recipe = PretrainingRecipe.from_yaml(options.recipe, start=options.start)
    with common.progress_to_stderr():
        pretrain(recipe, options.output, num_processes=options.processes, strategy=strategy)
    print(f"{options.output}/model")
