"""Trains a vocabulary from raw text, or tells how one fits texts."""

import argparse
import contextlib
import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from keras_bert_scratch.cli import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    actions = parser.add_subparsers(dest="action", required=True)
    train = actions.add_parser("train", help="learn a WordPiece vocabulary from text files")
    train.add_argument("files", nargs="+", help="UTF-8 text")
    train.add_argument(
        "--output", required=True, help="vocab.txt or, if the name ends in .json, tokenizer.json"
    )
    train.add_argument("--size", type=int, default=30522, help="most tokens (default: %(default)s)")
    train.add_argument(
        "--min-frequency",
        type=int,
        default=2,
        help="occurrences that a token needs (default: %(default)s)",
    )
    inspect = actions.add_parser("inspect", help="tell how a vocabulary fits texts")
    inspect.add_argument("vocabulary", help="vocab.txt, tokenizer.json, or a checkpoint's folder")
    inspect.add_argument("files", nargs="*", default=["-"], help="a text a line (default: stdin)")
    inspect.add_argument(
        "--longest", type=int, default=10, help="tokens to name (default: %(default)s)"
    )
    common.add_arguments(inspect, "--json")
    for action in (train, inspect):
        action.add_argument(
            "--cased",
            action="store_true",
            help="keep upper case; a folder or .json holds this itself",
        )


def run(options: argparse.Namespace) -> None:
    """Runs the command."""
    {"train": _train, "inspect": _inspect}[options.action](options)


def _train(options: argparse.Namespace) -> None:
    from tqdm import tqdm

    from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
    from keras_bert_scratch.text.vocabulary import train_vocabulary

    with tqdm(total=100, unit="%", disable=None, file=sys.stderr) as bar:

        def progress(stage: str, share: float) -> None:
            bar.set_description(f"reading {stage}", refresh=False)
            bar.update(int(100 * share) - bar.n)

        vocabulary = train_vocabulary(
            options.files,
            options.size,
            min_frequency=options.min_frequency,
            lowercase=not options.cased,
            progress=progress,
        )
    WordPieceTokenizer(vocabulary, lowercase=not options.cased).to_file(options.output)
    print(f"{options.output}: {len(vocabulary)} tokens")


def _inspect(options: argparse.Namespace) -> None:
    from keras_bert_scratch.text.statistics import vocabulary_statistics
    from keras_bert_scratch.text.tokenizer import WordPieceTokenizer

    path = Path(options.vocabulary)
    read = WordPieceTokenizer.from_directory if path.is_dir() else WordPieceTokenizer.from_file
    tokenizer = read(path, **({"lowercase": False} if options.cased else {}))
    texts = itertools.chain.from_iterable(map(_lines, options.files))
    found = vocabulary_statistics(tokenizer, texts, num_longest=options.longest)
    if options.json:
        print(json.dumps(found._asdict(), ensure_ascii=False))
        return
    print(f"tokens               {len(tokenizer.vocabulary):,}")
    print(f"texts                {found.num_texts:,}")
    print(f"words                {found.num_words:,}")
    print(f"words that are one   {found.coverage:.2%}")
    print(f"pieces that are UNK  {found.unknown_share:.2%}")
    print(f"pieces a word        {found.pieces_per_word:.3f}")
    print(f"longest tokens       {' '.join(found.longest_tokens)}")


def _lines(path: str) -> Iterator[bytes]:
    with contextlib.ExitStack() as stack:
        yield from sys.stdin.buffer if path == "-" else stack.enter_context(open(path, "rb"))
