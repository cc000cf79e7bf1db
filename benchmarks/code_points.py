"""Code points -> ids in a LiteRT file: size and time, beside the file that takes text.

    python benchmarks/code_points.py

The vocabulary is MiniLM's, of 30,522 tokens. Files hold the tokenizer alone and run on one thread;
the least time of many runs counts.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import functools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from keras_bert_scratch.text.graphs.phone_engine import PhoneEngine

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


def least_milliseconds(function: Callable[[], Any]) -> float:
    """Returns the least time of a call."""
    times = []
    for _ in range(RUNS):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return min(times) * 1000


def main() -> None:
    """Prints a table."""
    vocabulary = Vocabulary.from_file(find_checkpoint("minilm") / "vocab.txt")
    tokenizer = WordPieceTokenizer(vocabulary)
    text_engine = PhoneEngine(tokenizer)
    row = [tf.TensorSpec((1, NUM_CODE_POINTS), tf.int32, name="code_points")]
    graphs = {
        "text": LiteGraph(
            lambda text: {"token_ids": text_engine(text)},
            [tf.TensorSpec((1,), tf.string, name="text")],
            {},
            len,
            [text_engine],
        )
    }
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
            run = LiteRTRunner(path, takes_text=name == "text")
            figures = []
            for length in LENGTHS:
                text = TEXT[:length]
                inputs: dict[str, Any] = {"text": np.array([text.encode()])}
                if name != "text":
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
