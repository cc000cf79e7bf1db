"""How the time of a training step grows with batch, length and layers, beside its products.

    python benchmarks/growth.py --output growth.png

MiniLM's width, float32, random weights and ids: the time does not depend on them. One size changes
at a time. The line is what the matrix products alone would take, at the rate that the whole step of
the usual sizes has; with the length, attention's grow as its square. The least time of several
steps counts: other work can only add to it.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import itertools
import time
from pathlib import Path

import keras
import matplotlib

matplotlib.use("Agg")
import numpy as np
import tensorflow as tf
from fine_tuning import useful_flops
from matplotlib.figure import Figure

from keras_bert_scratch import BertClassifier, BertConfig, BertEncoder, adamw
from keras_bert_scratch.tables import format_table

SIZES = {
    "batch": (4, 8, 16, 32, 64),
    "length": (16, 32, 64, 128, 256, 512),
    "layers": (1, 2, 4, 6, 12),
}
# The sizes that do not change.
USUAL = {"batch": 16, "length": 64, "layers": 6}


def config_of(layers: int) -> BertConfig:
    """Returns MiniLM's sizes with a number of layers."""
    return BertConfig.preset("minilm", num_layers=layers)


def step_seconds(batch: int, length: int, layers: int, repeats: int = 5) -> float:
    """Times a step of a classifier."""
    model = BertClassifier(BertEncoder(config_of(layers)), ["negative", "positive"])
    model.compile(adamw(total_steps=1000))
    ids = np.random.default_rng(0).integers(5, 30000, (batch, length), dtype="int32")
    inputs = {"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": 0 * ids + 1}
    data = itertools.repeat(tf.nest.map_structure(tf.constant, (inputs, ids[:, 0] % 2)))
    model.make_train_function()
    assert model.train_function is not None
    seconds = []
    for _ in range(1 + repeats):
        started = time.perf_counter()
        float(model.train_function(data)["loss"])
        seconds.append(time.perf_counter() - started)
    keras.backend.clear_session()
    return min(seconds[1:])


def plot(times: dict[str, dict[int, float]]) -> Figure:
    """Draws one picture a size, dots for the times, a line for the products."""
    figure = Figure(figsize=(11, 3.5), layout="constrained")
    for axes, (name, found) in zip(figure.subplots(1, 3), times.items(), strict=True):
        values = list(found)
        flops = [products(name, value) for value in values]
        rate = found[USUAL[name]] / products(name, USUAL[name])
        axes.plot(values, [rate * f for f in flops], color="gray", label="matrix products")
        axes.plot(values, list(found.values()), "o", label="measured")
        if name == "length":
            linear = [rate * products(name, 1) * value for value in values]
            axes.plot(values, linear, color="gray", linestyle=":", label="without their square")
        others = ", ".join(f"{other} {USUAL[other]}" for other in USUAL if other != name)
        axes.set(title=others, xlabel=name, ylabel="seconds a step", xlim=(0, None), ylim=(0, None))
        axes.legend()
    return figure


def products(name: str, value: int) -> int:
    """Counts the operations of a step in which one size has another value than usual."""
    sizes = {**USUAL, name: value}
    lengths = [sizes["length"]] * sizes["batch"]
    return useful_flops(lengths, config_of(sizes["layers"]), 2, training=True)


def main() -> None:
    """Measures, prints a table, and draws."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("growth.png"))
    options = parser.parse_args()
    times: dict[str, dict[int, float]] = {}
    rows = []
    for name, values in SIZES.items():
        times[name] = {value: step_seconds(**{**USUAL, name: value}) for value in values}
        for value, seconds in times[name].items():
            rate = products(name, value) / seconds / 1e9
            rows.append([name, str(value), f"{seconds * 1000:.0f}", f"{rate:.0f}"])
    print(format_table(["", "size", "ms a step", "GFLOP/s"], rows))
    plot(times).savefig(options.output, dpi=120)


if __name__ == "__main__":
    main()
