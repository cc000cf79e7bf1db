"""Latency of a MiniLM-sized classifier's exports, batch 1: LiteRT against ONNX Runtime.

    python benchmarks/latency.py

Six layers, 384 wide, random weights: the time does not depend on them. Everything runs in turn in
the same process, many times; the least time of each counts, since other work on the machine can
only add. With one thread that is the processor's time, with more the clock's: run it on a machine
that does nothing else. Models take ready ids, so that the tokenizer does not count.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import functools
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from keras_bert_scratch import (
    BertClassifier,
    BertConfig,
    BertEncoder,
    Vocabulary,
    WordPieceTokenizer,
)
from keras_bert_scratch.serving import LiteRTPredictor, OnnxPredictor

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LITERT, LITERT_INT8, ONNX, ONNX_INT8 = "LiteRT", "LiteRT int8", "ONNX Runtime", "ONNX Runtime int8"


def write_models(folder: Path) -> dict[str, Path]:
    """Exports one model four times; int8 is dynamic, each by its own house's quantizer."""
    from onnxruntime.quantization import quantize_dynamic

    tokens = [*SPECIAL, *(f"w{n}" for n in range(30522 - len(SPECIAL)))]
    config = BertConfig(
        vocab_size=len(tokens), num_layers=6, num_heads=12, hidden_dim=384, feed_forward_dim=1536
    )
    encoder = BertEncoder(config)
    model = BertClassifier(
        encoder, ["negative", "positive"], WordPieceTokenizer(Vocabulary(tokens))
    )
    paths = {
        LITERT: folder / "float.tflite",
        LITERT_INT8: folder / "int8.tflite",
        ONNX: folder / "float.onnx",
        ONNX_INT8: folder / "int8.onnx",
    }
    model.export(paths[LITERT], format="litert")
    model.export(paths[LITERT_INT8], format="litert", precision="int8")
    model.export(paths[ONNX], format="onnx")
    quantize_dynamic(paths[ONNX], paths[ONNX_INT8])
    return paths


def runners(paths: dict[str, Path], threads: int, length: int) -> dict[str, Callable[[], Any]]:
    """Returns a function a model that runs it on one row of random ids."""
    row = np.random.default_rng(0).integers(5, 30000, (1, length), dtype="int32")
    inputs = {"token_ids": row, "segment_ids": 0 * row, "padding_mask": 0 * row + 1}
    found: dict[str, Callable[[], Any]] = {}
    for name, path in paths.items():
        predictor = (OnnxPredictor if path.suffix == ".onnx" else LiteRTPredictor)(path, threads)
        found[name] = functools.partial(predictor.probabilities_of_ids, inputs)
    return found


def measure(
    functions: dict[str, Callable[[], Any]], seconds: float, clock: Callable[[], float]
) -> dict[str, float]:
    """Returns the least milliseconds of each, all run in turn for so many seconds."""
    for function in functions.values():
        function()
    least = dict.fromkeys(functions, float("inf"))
    stop = time.perf_counter() + seconds
    while time.perf_counter() < stop:
        for name, function in functions.items():
            started = clock()
            function()
            least[name] = min(least[name], (clock() - started) * 1000)
    return least


def main() -> None:
    """Prints a table, and the two ratios that LiteRT's dynamic int8 is chosen for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=[16, 64, 128, 256])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=20, help="for each length and threads")
    parser.add_argument("--models", help="folder for the models: written there, or reused")
    parser.add_argument("--json", help="file to write the figures to")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.models or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        names = ("float.tflite", "int8.tflite", "float.onnx", "int8.onnx")
        paths = dict(
            zip((LITERT, LITERT_INT8, ONNX, ONNX_INT8), map(folder.joinpath, names), strict=True)
        )
        if not all(path.exists() for path in paths.values()):
            paths = write_models(folder)
        for name, path in paths.items():
            print(f"{name:18} {path.stat().st_size / 1e6:6.1f} MB")
        print(f"\n{'tokens':>6} {'threads':>7}" + "".join(f"{name:>19}" for name in paths), end="")
        print(f"{'int8 / ONNX int8':>19}{'int8 / float':>14}")
        rows = []
        for threads in options.threads:
            for length in options.lengths:
                clock = time.thread_time if threads == 1 else time.perf_counter
                least = measure(runners(paths, threads, length), options.seconds, clock)
                rows.append({"tokens": length, "threads": threads, **least})
                print(
                    f"{length:6} {threads:7}"
                    + "".join(f"{milliseconds:16.2f} ms" for milliseconds in least.values())
                    + f"{least[LITERT_INT8] / least[ONNX_INT8]:19.2f}"
                    + f"{least[LITERT_INT8] / least[LITERT]:14.2f}",
                    flush=True,
                )
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
