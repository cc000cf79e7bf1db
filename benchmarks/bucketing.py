"""Accuracy and time of training in batches of similar lengths, against batches drawn at random.

    python benchmarks/bucketing.py --output bucketing.json

MiniLM on the film-review snippets of examples/sentiment.py and on R8's official split, the recipe
of the README, three seeds. Both ways pad a batch to its longest text; random batches hold more
padding. Results in the output file are not measured again.
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
from fine_tuning import SETS, fetch_reuters

from keras_bert_scratch import BertClassifier, adamw
from keras_bert_scratch.data import batching
from keras_bert_scratch.files import new_file
from keras_bert_scratch.tables import format_table

sys.path.append(str(Path(__file__).parents[1] / "examples"))
from sentiment import fetch_snippets, split

WAYS = ("similar lengths", "random")
BATCH_SIZE = 32
Column = tuple[list[str], list[str]]


def load(name: str) -> tuple[Column, Column]:
    """Returns texts and labels to train on, and held out."""
    if name == "snippets":
        return split(*fetch_snippets())
    return fetch_reuters("train"), fetch_reuters("test")


def train(name: str, way: str, seed: int, epochs: int, dtype: str) -> dict[str, Any]:
    """Trains once; returns the accuracy on held-out texts, and the seconds."""
    # A run of one batch, sorted or not, is a batch drawn at random.
    batching._BATCHES_SORTED_TOGETHER = 1 if way == "random" else 50
    (texts, labels), held_out = load(name)
    keras.utils.set_random_seed(seed)
    model = BertClassifier.from_pretrained(
        "minilm",
        sorted(set(labels)),
        sequence_length=SETS[name],
        pooling="pooler",
        dtype=dtype,
    )
    model.compile(adamw(5e-5, total_steps=epochs * -(-len(texts) // BATCH_SIZE)))
    started = time.perf_counter()
    model.fit(texts, labels, BATCH_SIZE, epochs=epochs, verbose=0)
    seconds = time.perf_counter() - started
    accuracy = model.evaluate(*held_out, verbose=0, return_dict=True)["accuracy"]
    keras.backend.clear_session()
    return {
        "set": name, "way": way, "seed": seed, "epochs": epochs, "dtype": dtype,
        "accuracy": accuracy, "seconds": seconds,
    }  # fmt: skip


def to_text(runs: list[dict[str, Any]]) -> str:
    """Writes the accuracies as a table."""
    rows = []
    for name, way in itertools.product(SETS, WAYS):
        found = [run for run in runs if (run["set"], run["way"]) == (name, way)]
        if found:
            accuracies = [run["accuracy"] for run in found]
            seeds = " ".join(f"{accuracy:.2%}" for accuracy in accuracies)
            mean = statistics.mean(accuracies)
            seconds = statistics.mean(run["seconds"] for run in found)
            rows.append([f"{name}, {way}", seeds, f"{mean:.2%}", f"{seconds:.0f}"])
    return format_table(["batches", "by seed", "mean", "seconds"], rows)


def main() -> None:
    """Trains what is missing in the file, and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sets", choices=("snippets", "r8"), nargs="+", default=["snippets", "r8"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--dtype", default="mixed_bfloat16", help="or float32")
    parser.add_argument("--output", type=Path, default=Path("bucketing.json"))
    options = parser.parse_args()
    runs = json.loads(options.output.read_text()) if options.output.exists() else []
    keys = ("set", "way", "seed", "epochs", "dtype")
    done = {tuple(run[key] for key in keys) for run in runs}
    for seed, name, way in itertools.product(options.seeds, options.sets, WAYS):
        job = (name, way, seed, options.epochs, options.dtype)
        if job not in done:
            runs.append(train(*job))
            print(runs[-1], flush=True)
            with new_file(options.output) as temporary:
                temporary.write_text(json.dumps(runs, indent=1) + "\n")
    print(to_text(runs))


if __name__ == "__main__":
    main()
