"""Latency of a MiniLM-sized classifier's exports, batch 1: LiteRT against ONNX Runtime.

    python benchmarks/latency.py

Six layers, 384 wide, random weights: the time does not depend on them. Everything runs in turn in
the same process, many times; the least time of each counts, since other work on the machine can
only add. With one thread that is the processor's time, with more the clock's: run it on a machine
that does nothing else. Models take ready ids, so that the tokenizer does not count.

Where PyTorch and transformers are installed, a BertForSequenceClassification of the same sizes
joins in, exported by torch.onnx and quantized as ours is: what ONNX Runtime is otherwise given. Its
last block computes all tokens; ours computes [CLS] alone.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import functools
import importlib.util
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
TRANSFORMERS = "transformers int8"
FILES = {
    LITERT: "float.tflite",
    LITERT_INT8: "int8.tflite",
    ONNX: "float.onnx",
    ONNX_INT8: "int8.onnx",
}
HAS_TRANSFORMERS = all(importlib.util.find_spec(name) for name in ("torch", "transformers"))


def write_models(folder: Path) -> None:
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
    model.export(folder / FILES[LITERT], format="litert")
    model.export(folder / FILES[LITERT_INT8], format="litert", precision="int8")
    model.export(folder / FILES[ONNX], format="onnx")
    quantize_dynamic(folder / FILES[ONNX], folder / FILES[ONNX_INT8])


def write_transformers(folder: Path) -> None:
    """Exports transformers' model as ONNX, quantized dynamically."""
    import torch
    import transformers
    from onnxruntime.quantization import quantize_dynamic

    config = transformers.BertConfig(
        vocab_size=30522,
        num_hidden_layers=6,
        num_attention_heads=12,
        hidden_size=384,
        intermediate_size=1536,
    )
    model = transformers.BertForSequenceClassification(config).eval()
    names = ["input_ids", "attention_mask", "token_type_ids"]
    torch.onnx.export(
        model,
        (torch.ones(2, 16, dtype=torch.int64),) * 3,
        folder / "transformers.onnx",
        input_names=names,
        output_names=["logits"],
        dynamic_axes={name: {0: "batch", 1: "length"} for name in names},
        dynamo=False,
    )
    quantize_dynamic(folder / "transformers.onnx", folder / "transformers_int8.onnx")


def runners(folder: Path, threads: int, length: int) -> dict[str, Callable[[], Any]]:
    """Returns a function per model that runs it on one row of random ids."""
    import onnxruntime

    row = np.random.default_rng(0).integers(5, 30000, (1, length), dtype="int32")
    inputs = {"token_ids": row, "segment_ids": 0 * row, "padding_mask": 0 * row + 1}
    found: dict[str, Callable[[], Any]] = {}
    for name, file in FILES.items():
        kind = OnnxPredictor if file.endswith(".onnx") else LiteRTPredictor
        found[name] = functools.partial(kind(folder / file, threads).probabilities_of_ids, inputs)
    if HAS_TRANSFORMERS:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(folder / "transformers_int8.onnx", options)
        ids = row.astype("int64")
        found[TRANSFORMERS] = functools.partial(
            session.run,
            None,
            {"input_ids": ids, "attention_mask": 0 * ids + 1, "token_type_ids": 0 * ids},
        )
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
    """Prints a table, and LiteRT's dynamic int8 against the others."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=[16, 64, 128, 256])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=20, help="seconds per case")
    parser.add_argument("--models", help="folder for the models: written there, or reused")
    parser.add_argument("--json", help="file to write the figures to")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.models or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not all((folder / file).exists() for file in FILES.values()):
            write_models(folder)
        if HAS_TRANSFORMERS and not (folder / "transformers_int8.onnx").exists():
            write_transformers(folder)
        for name, file in FILES.items():
            print(f"{name:18} {(folder / file).stat().st_size / 1e6:6.1f} MB")
        names = [*FILES, *[TRANSFORMERS] * HAS_TRANSFORMERS]
        ratios = [ONNX_INT8, *[TRANSFORMERS] * HAS_TRANSFORMERS, LITERT]
        print(f"\n{'tokens':>6} {'threads':>7}" + "".join(f"{name:>20}" for name in names), end="")
        print("".join(f"{'/ ' + name:>20}" for name in ratios))
        rows = []
        for threads in options.threads:
            for length in options.lengths:
                clock = time.thread_time if threads == 1 else time.perf_counter
                least = measure(runners(folder, threads, length), options.seconds, clock)
                rows.append({"tokens": length, "threads": threads, **least})
                print(
                    f"{length:6} {threads:7}"
                    + "".join(f"{least[name]:17.2f} ms" for name in names)
                    + "".join(f"{least[LITERT_INT8] / least[name]:20.2f}" for name in ratios),
                    flush=True,
                )
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
