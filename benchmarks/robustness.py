"""Does adversarial training help against noisy texts? MiniLM on film reviews.

    python benchmarks/robustness.py --output robustness.json
    python benchmarks/robustness.py --output robustness.json --methods plain FGM PGD misspelt
    python benchmarks/robustness.py --checkpoint tiny-en --rate 5e-4 --seeds 10 --output tiny.json
    python benchmarks/robustness.py --plain-epochs 2 --epochs 1 --radius 1 --output afterwards.json

Fine-tunes MiniLM of 6 layers on film-review snippets (see examples/sentiment.py for the split)
plainly, by FGM, by PGD of three steps, and on the texts together with a copy of each in which one
word in five is misspelt; all with the same seeds, epochs and rates, after plain epochs if there are
any, with a schedule of rates of their own; and compares the accuracy on held-out snippets, as they
are and under every perturbation of the stress report, of which the misspelt copies know one.
Lower and upper case, accents and hidden characters change nothing for an uncased model. Results
in the JSON file are not measured again.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_bert_scratch import AdversarialTraining, BertClassifier, adamw
from keras_bert_scratch.evaluation.stress import stress_test, typos
from keras_bert_scratch.files import new_file
from keras_bert_scratch.tables import format_table

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from sentiment import LABELS, fetch_snippets, split

# Steps of the adversary.
METHODS = {"plain": 0, "FGM": 1, "PGD": 3, "misspelt": 0}

Texts = tuple[list[str], list[str]]
Run = dict[str, Any]
# By method and seed: a figure for each row of a table.
Points = dict[str, dict[str, np.ndarray]]


def run(
    method: str,
    seed: int,
    data: tuple[Texts, Texts],
    *,
    checkpoint: str | None,
    rate: float,
    plain_epochs: int,
    epochs: int,
    dtype: str,
    radius: float,
) -> Run:
    """Trains; returns the accuracy on the held-out texts by what was done to them."""
    (texts, labels), held_out = data
    start = time.process_time()
    keras.utils.set_random_seed(seed)
    model = BertClassifier.from_pretrained(
        checkpoint or "minilm", LABELS, sequence_length=64, pooling="pooler", dtype=dtype
    )
    steps = METHODS[method]
    adversary = AdversarialTraining(radius, steps) if steps else None
    phases = [(None, plain_epochs)] if plain_epochs else []
    if method == "misspelt":
        # The report misspells with another seed.
        texts, labels = texts + [typos(text, 1) for text in texts], labels * 2
    for training_step, count in [*phases, (adversary, epochs)]:
        optimizer = adamw(rate, total_steps=count * -(-len(texts) // 32), warmup_ratio=0.1)
        model.compile(optimizer, training_step=training_step)
        model.fit(texts, labels, batch_size=32, epochs=count, verbose=0)
    report = stress_test(
        lambda asked: model.probabilities(asked, batch_size=64),
        held_out[0],
        model.encode_labels(held_out[1]),
        LABELS,
    )
    stresses = {name: stress.accuracy for name, stress in report.stresses.items()}
    return {
        "accuracy": {"as they are": report.accuracy, **stresses},
        "cpu_seconds": time.process_time() - start,
    }


def measure(
    output: Path, methods: list[str], seeds: int, num_texts: int | None, **recipe: Any
) -> dict[str, Any]:
    """Measures what is missing in the JSON file, and returns all its results.

    Args:
        output: The JSON file.
        methods: Names of `METHODS`.
        seeds: Number of seeds.
        num_texts: Number of texts to train on; None for all.
        **recipe: Keyword arguments of `run`.

    Raises:
        ValueError: If the JSON file has results of another recipe.
    """
    asked = {"texts": num_texts, **recipe}
    results: dict[str, Any] = {"recipe": asked, "runs": {}}
    if output.exists():
        results = json.loads(output.read_text("utf-8"))
    if results["recipe"] != asked:
        raise ValueError(f"{output} is of {results['recipe']}, not {asked}: name another file.")
    (texts, labels), held_out = split(*fetch_snippets())
    data = (texts[:num_texts], labels[:num_texts]), held_out
    for seed in range(seeds):
        for method in methods:
            key = f"{method}, {seed}"
            if key not in results["runs"]:
                results["runs"][key] = run(method, seed, data, **recipe)
                with new_file(output) as file:
                    file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
                print(key, json.dumps(results["runs"][key]), flush=True)
    return results


def to_text(runs: dict[str, Run]) -> str:
    """Writes accuracies, and how much of them is lost, in points, as mean ± standard deviation."""
    accuracies: Points = {}
    losses: Points = {}
    for key, result in runs.items():
        method, seed = key.split(", ")
        # That of the texts as they are stands first.
        points = 100 * np.array(list(result["accuracy"].values()))
        lost = points[0] - points[1:]
        accuracies.setdefault(method, {})[seed] = points
        losses.setdefault(method, {})[seed] = np.append(lost, lost.mean())
    clean, *perturbed = next(iter(runs.values()))["accuracy"]
    seconds = [f"{key}: {result['cpu_seconds']:.0f} CPU seconds" for key, result in runs.items()]
    return "\n\n".join(
        [
            comparison("accuracy", [clean, *perturbed], accuracies),
            comparison("loss of accuracy", [*perturbed, "mean"], losses),
            "\n".join(seconds),
        ]
    )


def comparison(title: str, names: list[str], points: Points) -> str:
    """Writes a table of all methods, and what they differ by from the first with the same seed."""
    first, *others = points
    columns = {method: _cells(list(points[method].values()), "") for method in points}
    for method in others:
        seeds = [seed for seed in points[method] if seed in points[first]]
        differences = [points[method][seed] - points[first][seed] for seed in seeds]
        columns[f"{method} - {first}"] = _cells(differences, "+")
    return format_table([title, *columns], list(zip(names, *columns.values(), strict=True)))


def _cells(rows: list[np.ndarray], sign: str) -> list[str]:
    """Writes the mean over the seeds of each column, and with several its deviation."""
    means = np.mean(rows, axis=0)
    if len(rows) < 2:
        return [f"{mean:{sign}.2f}" for mean in means]
    deviations = np.std(rows, axis=0, ddof=1)
    return [f"{m:{sign}.2f} ± {d:.2f}" for m, d in zip(means, deviations, strict=True)]


def main() -> None:
    """Measures, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("robustness.json"))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["plain", "FGM"])
    parser.add_argument("--seeds", type=int, default=3, help="seeds to run (default: %(default)s)")
    parser.add_argument("--checkpoint", help="checkpoint to start from (default: MiniLM)")
    parser.add_argument("--rate", type=float, default=5e-5, help="default: %(default)s")
    parser.add_argument("--texts", type=int, help="number of texts to train on (default: all)")
    parser.add_argument(
        "--plain-epochs",
        type=int,
        default=0,
        help="default: %(default)s",
    )
    parser.add_argument("--epochs", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--dtype", default="mixed_bfloat16", help="default: %(default)s")
    parser.add_argument("--radius", type=float, default=0.1, help="default: %(default)s")
    options = parser.parse_args()
    logging.getLogger("keras_bert_scratch").setLevel(logging.ERROR)
    results = measure(
        options.output,
        options.methods,
        options.seeds,
        options.texts,
        checkpoint=options.checkpoint,
        rate=options.rate,
        plain_epochs=options.plain_epochs,
        epochs=options.epochs,
        dtype=options.dtype,
        radius=options.radius,
    )
    print(to_text(results["runs"]))


if __name__ == "__main__":
    main()
