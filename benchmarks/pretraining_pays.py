"""Whether pretraining pays: our small weights, the same network without them, and TF-IDF.

    make parity
    .venv/bin/python benchmarks/pretraining_pays.py --output pays.json tiny-en tiny-en-1

On film snippets, BBC news, R8 and 20 Newsgroups, as `few_shot.py` splits them, some examples are
drawn by each seed, or all are taken. Accuracy is on the same 1,000 test texts. Each classifier is
trained by `compile()` and `fit(texts, labels)`, and reads 64 tokens of a text.

- tf-idf: TF-IDF and logistic regression as `evaluation.baseline` trains them, on whole texts.
- random: the network and the tokenizer of the first weights, with new weights.

A run that was stopped goes on where it stopped. `--plot` draws accuracy against a number that is
part of the weights' names, as in `after-1.5`: minutes of pretraining.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import json
import logging
import re
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import numpy as np
from few_shot import SETS, Columns, load_set, take, tf_idf
from matplotlib.figure import Figure

from keras_bert_scratch import BertClassifier, BertEncoder
from keras_bert_scratch.files import new_file
from keras_bert_scratch.tables import format_table

SIZES = (100, 500, 0)
SEQUENCE_LENGTH = 64
BASELINES = ("tf-idf", "random")


def draw(columns: Columns, size: int, seed: int) -> Columns:
    """Draws some examples, one of each class first; with 0 takes all."""
    order = np.random.default_rng(seed).permutation(len(columns[0]))
    _, firsts = np.unique(np.array(columns[1])[order], return_index=True)
    order = np.concatenate([order[np.sort(firsts)], np.delete(order, firsts)])
    return take(columns, order[: size or None])


def accuracy(checkpoint: str | Path, is_random: bool, train: Columns, test: Columns) -> float:
    """Trains a classifier from a checkpoint, or from new weights, and returns its accuracy."""
    model = BertClassifier.from_pretrained(
        checkpoint, labels=sorted(set(train[1])), sequence_length=SEQUENCE_LENGTH
    )
    if is_random:
        model.encoder.set_weights(BertEncoder(model.encoder.config).get_weights())
    model.compile()
    model.fit(*train, verbose=0)
    predicted = model.probabilities(test[0], batch_size=64).argmax(axis=1)
    return float(np.mean(predicted == model.encode_labels(test[1])))


# === Results ===
def groups(results: dict[str, float]) -> dict[tuple[str, str], dict[str, np.ndarray]]:
    """Collects the seeds of each set and size, by weights."""
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    for key, value in results.items():
        name, size, _, weights = key.split("/")
        found.setdefault((name, size), {}).setdefault(weights, []).append(100 * value)
    return {key: {w: np.array(v) for w, v in runs.items()} for key, runs in found.items()}


def summarize(results: dict[str, float]) -> str:
    """Returns a table: mean accuracy in %, ± standard deviation, and the number of seeds."""
    rows = []
    for (name, size), runs in groups(results).items():
        for weights, values in runs.items():
            deviation = f"{values.std(ddof=1):.1f}" if len(values) > 1 else "-"
            rows.append([name, size, weights, f"{values.mean():.1f}", deviation, str(len(values))])
    header = ["set", "examples", "weights", "accuracy %", "standard deviation", "seeds"]
    return format_table(header, rows)


def plot(results: dict[str, float]) -> Figure:
    """Draws accuracy against minutes of pretraining, from 0 (random weights), and TF-IDF."""
    found = groups(results)
    names = [name for name in SETS if any(key[0] == name for key in found)]
    figure = Figure(figsize=(3.6 * len(names), 3.2), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for color, size in enumerate(dict.fromkeys(size for key, size in found if key == name)):
            means = {weights: v.mean() for weights, v in found[name, size].items()}
            points = sorted(
                (float(minutes[1]), mean)
                for weights, mean in means.items()
                if (minutes := re.fullmatch(r"after-([\d.]+)", weights))
            )
            if "random" in means:
                points.insert(0, (0.0, means["random"]))
            axes.plot(*zip(*points, strict=True), "o-", color=f"C{color}", label=f"{size} examples")
            if "tf-idf" in means:
                axes.axhline(means["tf-idf"], color=f"C{color}", linestyle=":")
        axes.set(title=name, xlabel="minutes of pretraining", ylabel="accuracy, %")
        axes.legend(loc="lower right")
    return figure


def main() -> None:
    """Runs what the output file lacks, and prints all that it holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", nargs="+", help="names of weights, or their folders")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES, help="0 takes all")
    parser.add_argument("--seeds", nargs="+", type=int, default=range(5))
    parser.add_argument("--skip", nargs="+", choices=BASELINES, default=())
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()

    import keras

    logging.getLogger("keras_bert_scratch").setLevel(logging.ERROR)
    results = json.loads(options.output.read_text()) if options.output.exists() else {}
    names = [*(name for name in BASELINES if name not in options.skip), *options.weights]
    sets = {name: load_set(name) for name in options.sets}
    # Seeds last, so that what has run so far compares all.
    for seed in options.seeds:
        for size in options.sizes:
            for name, (pool, test) in sets.items():
                train = draw(pool, size, seed)
                for weights in names:
                    key = f"{name}/{size or 'all'}/{seed}/{Path(weights).name}"
                    if key in results:
                        continue
                    keras.utils.set_random_seed(seed)
                    if weights == "tf-idf":
                        predicted, _ = tf_idf(train, test[0], {})
                        results[key] = float(np.mean(np.array(predicted) == np.array(test[1])))
                    else:
                        is_random = weights == "random"
                        checkpoint = options.weights[0] if is_random else weights
                        results[key] = accuracy(checkpoint, is_random, train, test)
                    with new_file(options.output) as temporary:
                        temporary.write_text(json.dumps(results, indent=1) + "\n")
                    print(f"{key}: {results[key]:.3f}", file=sys.stderr, flush=True)
    print(summarize(results))
    if options.plot:
        plot(results).savefig(options.plot, dpi=120)


if __name__ == "__main__":
    main()
