"""Accuracy of private training against its epsilon, and what a private step costs in time.

    python benchmarks/privacy.py --output privacy.json

Accuracy: tiny-en, all its weights, on the film-review snippets of examples/sentiment.py, by Adam
with one recipe for all, as Keras trains and privately at several epsilons, delta = 1e-5. Accuracies
are those on held-out snippets after the last epoch, so that nothing is chosen by them.

Time: steps of tiny-en and of six-layer MiniLM on one and the same batch, as Keras trains and
privately, in turn.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
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

from keras_bert_scratch import BertClassifier
from keras_bert_scratch.files import new_file
from keras_bert_scratch.tables import format_table
from keras_bert_scratch.training.privacy import DifferentialPrivacy

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from sentiment import LABELS, fetch_checkpoint, fetch_snippets, split

DELTA = 1e-5
BATCH_SIZE = 512
LEARNING_RATE = 1e-3

Column = tuple[list[str], list[str]]


def load(checkpoint: str | Path) -> BertClassifier:
    """Returns the checkpoint with a new head."""
    return BertClassifier.from_pretrained(checkpoint, labels=LABELS, sequence_length=32)


# === Accuracy ===
def accuracy(
    train: Column, held_out: Column, epsilon: float | None, epochs: int, seed: int
) -> dict[str, Any]:
    """Trains, privately if there is an epsilon; returns the accuracy and what it cost."""
    keras.utils.set_random_seed(seed)
    model = load("tiny-en")
    privacy = epsilon and DifferentialPrivacy(epsilon=epsilon, delta=DELTA, microbatch_size=64)
    model.compile(keras.optimizers.Adam(LEARNING_RATE), training_step=privacy)
    start = time.perf_counter()
    model.fit(*train, batch_size=BATCH_SIZE, epochs=epochs, verbose=0)
    return {
        "epsilon": privacy.epsilon if privacy else None,
        "noise_multiplier": privacy.noise_multiplier if privacy else None,
        "seed": seed,
        "accuracy": model.evaluate(*held_out, verbose=0, return_dict=True)["accuracy"],
        "seconds": time.perf_counter() - start,
    }


# === Time ===
def step_times(checkpoint: str | Path, rows: int, repeats: int) -> dict[str, Any]:
    """Returns the seconds of plain and of private steps on the same batch, in turn."""
    texts, labels = fetch_snippets()
    steps = {}
    for name in ("plain", "private"):
        model = load(checkpoint)
        privacy = DifferentialPrivacy(noise_multiplier=1.0, delta=DELTA)
        model.compile(
            keras.optimizers.Adam(1e-5), training_step=privacy if name == "private" else None
        )
        batches = model.batches(
            texts, model.encode_labels(labels), batch_size=rows, seed=0, training=True
        )
        if name == "private":
            privacy.start(batches)
            # Of plain batches the shapes are the same for both.
            inputs, y = batch[0], batch[1]
            data = (inputs, y, np.ones(rows, "float32"))
        else:
            batch = batches.batch(np.random.default_rng(0).choice(len(texts), rows, replace=False))
            data = batch
        model.make_train_function()
        steps[name] = (model.train_function, data)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(repeats + 2):
        for name, (function, data) in steps.items():
            start = time.perf_counter()
            function(iter([data]))
            seconds[name].append(time.perf_counter() - start)
    return {name: values[2:] for name, values in seconds.items()} | {
        "tokens": list(batch[0]["token_ids"].shape)
    }
