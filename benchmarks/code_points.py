"""Code points -> ids in a LiteRT file: size and time; and on many random strings.

    python benchmarks/code_points.py
    python benchmarks/code_points.py --strings 1000000

The vocabulary is MiniLM's, of 30,522 tokens. Files hold the tokenizer alone and run on one thread;
the least time of many runs counts. With `--strings`, ids and offsets of as many random strings are
compared with those of Hugging Face `tokenizers` instead, with a vocabulary of their parts.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import functools
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf
from tokenizers import Tokenizer

from keras_bert_scratch import Vocabulary, WordPieceTokenizer
from keras_bert_scratch.checkpoints.huggingface import find_checkpoint
from keras_bert_scratch.serving import litert
from keras_bert_scratch.serving.graphs.signature import LiteGraph
from keras_bert_scratch.serving.packed import encode_code_points
from keras_bert_scratch.serving.readers.base import LiteRTRunner
from keras_bert_scratch.text.graphs.integer_engine import IntegerEngine

NUM_CODE_POINTS = 1024
LENGTHS = (0, 60, 300, 1000)
TEXT = "A film to remember, if only for the wrong reasons; " * 20
RUNS = 500
STRINGS_AT_ONCE = 100_000


def least_milliseconds(function: Callable[[], Any]) -> float:
    """Returns the least time of a call."""
    times = []
    for _ in range(RUNS):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return min(times) * 1000


def compare_strings(number: int) -> None:
    """Compares random strings with the reference, a hundred thousand at a time."""
    sys.path[:0] = [str(Path(__file__).parents[1] / "tests" / "text")]
    from test_identity import (
        assert_equal,
        integer_answers,
        make_vocabulary,
        pieces_of,
        random_texts,
        reference_answers,
    )

    vocabulary = make_vocabulary(pieces_of(random_texts(20_000, seed=0)))
    tokenizer = WordPieceTokenizer(vocabulary)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save(folder)
        reference = Tokenizer.from_file(f"{folder}/tokenizer.json")
    # Special tokens are text for ours.
    reference.encode_special_tokens = True
    for seed, done in enumerate(range(0, number, STRINGS_AT_ONCE), 1):
        texts = random_texts(min(STRINGS_AT_ONCE, number - done), seed=seed)
        assert_equal(integer_answers(tokenizer, texts), reference_answers(reference, texts), texts)
        print(f"{done + len(texts):>10,} random strings: the same ids and offsets", flush=True)


def main() -> None:
    """Prints a table, or compares strings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--strings", type=int, help="compare so many random strings instead")
    if number := parser.parse_args().strings:
        compare_strings(number)
        return
    vocabulary = Vocabulary.from_file(find_checkpoint("minilm") / "vocab.txt")
    tokenizer = WordPieceTokenizer(vocabulary)
    row = [tf.TensorSpec((1, NUM_CODE_POINTS), tf.int32, name="code_points")]
    graphs = {}
    for name, with_offsets in (("code points", False), ("with offsets", True)):
        engine = IntegerEngine(tokenizer, with_offsets=with_offsets)
        columns = ("token_ids", "starts", "ends") if with_offsets else ("token_ids",)

        def tokens(code_points: tf.Tensor, engine: Any = engine, columns: Any = columns) -> Any:
            found = engine(code_points)._asdict()
            return {column: found[column] for column in columns}

        graphs[name] = LiteGraph(tokens, row, {}, len)

    print(
        f"{'takes':<14}{'MB':>6}" + "".join(f"{length:>8}" for length in LENGTHS) + "  characters"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, graph in graphs.items():
            path = Path(folder) / "tokenizer.tflite"
            path.write_bytes(litert.to_bytes(litert.convert(graph, "float32")))
            run = LiteRTRunner(path)
            figures = []
            for length in LENGTHS:
                text = TEXT[:length]
                inputs = {"code_points": encode_code_points(text, NUM_CODE_POINTS)}
                wanted = tokenizer.encode(text).token_ids[1:-1]
                assert run(**inputs)["token_ids"].tolist() == wanted
                figures.append(least_milliseconds(functools.partial(run, **inputs)))
            megabytes = path.stat().st_size / 1e6
            print(
                f"{name:<14}{megabytes:>6.2f}" + "".join(f"{ms:>8.3f}" for ms in figures) + "  ms"
            )


if __name__ == "__main__":
    main()
