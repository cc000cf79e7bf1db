"""Accuracy of private training against its epsilon, and what a private step costs in time.

    python benchmarks/privacy.py --output privacy.json

Accuracy: pooler and head of MiniLM on the film-review snippets of examples/sentiment.py, by Adam
with one recipe for all, as Keras trains and privately at several epsilons, delta = 1e-5. The
encoder stays as it is: every trained weight gets noise, and 8,454 texts are too few to outweigh
that of millions. Accuracies are those on held-out snippets after the last epoch.

Time: steps of tiny-en and of six-layer MiniLM on one and the same batch, as Keras trains and
privately, in turn; processor time, which other jobs disturb less.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import functools
import itertools
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import keras
import matplotlib

matplotlib.use("Agg")
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from keras_bert_scratch import BertClassifier, DifferentialPrivacy
from keras_bert_scratch.data.batching import PoissonBatches
from keras_bert_scratch.files import new_file
from keras_bert_scratch.models.adapting import freeze_layers
from keras_bert_scratch.tables import format_table

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from sentiment import LABELS, fetch_snippets, split

DELTA = 1e-5
BATCH_SIZE = 512
LEARNING_RATE = 1e-2
EPOCHS = 5

Column = tuple[list[str], list[str]]


def load(checkpoint: str | Path) -> BertClassifier:
    """Returns the checkpoint with a new head."""
    return BertClassifier.from_pretrained(checkpoint, LABELS, sequence_length=32, pooling="pooler")


# === Accuracy ===
def accuracy(
    train: Column, held_out: Column, epsilon: float | None, epochs: int, seed: int
) -> dict[str, Any]:
    """Trains, privately if there is an epsilon; returns the accuracy and what it cost."""
    keras.utils.set_random_seed(seed)
    model = load("minilm")
    freeze_layers(model.encoder, model.encoder.config.num_layers)
    privacy = epsilon and DifferentialPrivacy(epsilon=epsilon, delta=DELTA, microbatch_size=64)
    model.compile(keras.optimizers.Adam(LEARNING_RATE), training_step=privacy)
    start = time.perf_counter()
    model.fit(*train, batch_size=BATCH_SIZE, epochs=epochs, verbose=0)
    return {
        "target_epsilon": epsilon,
        "epsilon": privacy.epsilon if privacy else None,
        "noise_multiplier": privacy.noise_multiplier if privacy else None,
        "seed": seed,
        "accuracy": model.evaluate(*held_out, verbose=0, return_dict=True)["accuracy"],
        "seconds": time.perf_counter() - start,
    }


# === Time ===
def step_times(checkpoint: str | Path, rows: int, repeats: int) -> dict[str, Any]:
    """Times plain and private steps on the same batch, in turn, after one of each to warm up."""
    texts, labels = fetch_snippets()
    keras.utils.set_random_seed(0)
    chosen = np.random.default_rng(0).choice(len(texts), rows, replace=False)
    functions: dict[str, Any] = {}
    for name in ("plain", "private"):
        model = load(checkpoint)
        privacy = DifferentialPrivacy(noise_multiplier=1.0, delta=DELTA)
        model.compile(
            keras.optimizers.Adam(1e-5), training_step=privacy if name == "private" else None
        )
        batches = model.batches(
            texts, model.encode_labels(labels), batch_size=rows, seed=0, training=True
        )
        if isinstance(batches, PoissonBatches):
            privacy.start(batches)
        inputs, y, *_ = batches.batch(chosen)
        data = tf.nest.map_structure(tf.constant, (inputs, y, np.ones(rows, "float32")))
        model.make_train_function()
        assert model.train_function is not None
        functions[name] = functools.partial(model.train_function, itertools.repeat(data))
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for repeat in range(1 + repeats):
        for name, step in functions.items():
            start = time.process_time()
            float(step()["loss"])
            if repeat:
                seconds[name].append(time.process_time() - start)
    return {"rows": rows, "tokens": int(inputs["token_ids"].shape[1]), **seconds}


# === Figures ===
def to_text(results: dict[str, Any]) -> str:
    """Writes both measurements as tables."""
    rows = []
    for epsilon, runs in by_epsilon(results).items():
        accuracies = [f"{run['accuracy']:.1%}" for run in runs]
        noise = "" if epsilon is None else f"{runs[0]['noise_multiplier']:.2f}"
        rows.append(["not private" if epsilon is None else f"{epsilon:g}", noise, *accuracies])
    seeds = [f"seed {seed}" for seed in sorted({run["seed"] for run in results["accuracy"]})]
    times = []
    for name, found in results["time"].items():
        plain, private = (statistics.median(found[way]) for way in ("plain", "private"))
        ratio = statistics.median(
            [ours / theirs for ours, theirs in zip(found["private"], found["plain"], strict=True)]
        )
        shape = f"{found['rows']} x {found['tokens']}"
        times.append([name, shape, f"{plain:.3f}", f"{private:.3f}", f"{ratio:.2f}"])
    return "\n\n".join(
        [
            format_table(["epsilon", "noise", *seeds], rows),
            format_table(["", "batch", "plain, s", "private, s", "ratio"], times),
        ]
    )


def by_epsilon(results: dict[str, Any]) -> dict[float | None, list[dict[str, Any]]]:
    """Collects the seeds of each epsilon."""
    found: dict[float | None, list[dict[str, Any]]] = {}
    for run in results["accuracy"]:
        found.setdefault(run["target_epsilon"], []).append(run)
    return found


def plot(results: dict[str, Any]) -> Figure:
    """Draws accuracy against epsilon, and the training that is not private as a line."""
    found = by_epsilon(results)
    plain = np.mean([run["accuracy"] for run in found.pop(None)])
    figure = Figure(figsize=(5, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.axhline(plain, color="gray", linestyle="--", label="not private")
    accuracies = [np.mean([run["accuracy"] for run in runs]) for runs in found.values()]
    axes.plot([epsilon or 0 for epsilon in found], accuracies, "o-", label="private")
    axes.set(xscale="log", xlabel=f"epsilon at delta = {DELTA:g}", ylabel="held-out accuracy")
    axes.legend()
    return figure


def main() -> None:
    """Measures, prints tables, and writes the figures and their plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epsilons", type=float, nargs="*", default=[0.5, 1.0, 3.0, 8.0])
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="default: %(default)s")
    parser.add_argument("--seeds", type=int, default=1, help="seeds to run (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="repetitions of the timed steps")
    parser.add_argument("--output", type=Path, default=Path("privacy.json"))
    options = parser.parse_args()
    results: dict[str, Any] = {
        "time": {
            f"{name}, {rows}": step_times(checkpoint, rows, options.repeats)
            for name, checkpoint in (("tiny-en-1", "tiny-en-1"), ("MiniLM", "minilm"))
            for rows in (64, 256)
        },
        "accuracy": [],
    }
    train, held_out = split(*fetch_snippets())
    for epsilon, seed in itertools.product([None, *options.epsilons], range(options.seeds)):
        results["accuracy"].append(accuracy(train, held_out, epsilon, options.epochs, seed))
        print(json.dumps(results["accuracy"][-1]), flush=True)
    print(to_text(results))
    with new_file(options.output) as file:
        file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    plot(results).savefig(options.output.with_suffix(".png"), dpi=150)


if __name__ == "__main__":
    main()
