"""Training less, and smaller models: LoRA beside full fine-tuning, students beside their teacher.

    python benchmarks/smaller.py --output smaller.json
    python benchmarks/smaller.py --output smaller.json --parts heads optimizers

On the film-review snippets with MiniLM of 6 layers (see examples/sentiment.py for the split), in
mixed bfloat16, with three seeds. Results in the JSON file are not measured again.

- students: the teacher is MiniLM, fine-tuned for two epochs, one for all. The student has the
  pretrained embeddings and layers 0 and 3, and learns for six epochs at a peak rate of 1e-4 from
  the labels alone, by `Distiller` from the teacher's answers, or from its hidden states, too. The
  teacher and the first student of hidden states stay beside the JSON, with the held-out texts, for
  `keras-bert-scratch frontier --model smaller.student --data smaller.csv --output frontier`.
- heads: the same teacher with 6 of 12 heads a layer, those that it needs most or least by
  `head_importance` on 1,000 training texts, as they are, and trained for one more epoch.
- lora: all weights at a peak rate of 5e-5, or adapters of rank 8 at 1e-3, three epochs each.
- optimizers: the student without a teacher, one epoch with each optimizer, at the peak rate out of
  three with which it classified most of the last 1,854 training texts right after the others.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import csv
import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_bert_scratch import BertClassifier, Distiller, bert_optimizer, enable_lora
from keras_bert_scratch.evaluation.head_importance import head_importance
from keras_bert_scratch.files import new_file

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from sentiment import LABELS, fetch_snippets, split

SEEDS = (0, 1, 2)
STUDENT_LAYERS = [0, 3]
OPTIMIZERS = {"adamw": 2e-4, "lamb": 2e-3, "lion": 1e-4, "muon": 1e-3, "schedule-free": 3e-4}
Texts = tuple[list[str], list[str]]


def minilm() -> BertClassifier:
    """Returns MiniLM with a new head."""
    return BertClassifier.from_pretrained(
        "minilm", labels=LABELS, sequence_length=64, pooling="pooler", dtype="mixed_bfloat16"
    )


def train(
    model: Any, data: tuple[Texts, Texts], epochs: int, optimizer: str = "adamw", rate: Any = None
) -> dict[str, float]:
    """Trains; returns the accuracy on the held-out texts, the weights trained, and the seconds."""
    (texts, labels), held_out = data
    steps = epochs * -(-len(texts) // 32)
    start = time.process_time()
    if epochs:
        model.compile(bert_optimizer(optimizer, rate, total_steps=steps))
        model.fit(texts, labels, batch_size=32, epochs=epochs, verbose=0)
    seconds = time.process_time() - start
    student = getattr(model, "student", model)
    predicted = student.probabilities(held_out[0], batch_size=64).argmax(1)
    return {
        "accuracy": float(np.mean(predicted == student.encode_labels(held_out[1]))),
        "trained": sum(int(np.prod(weight.shape)) for weight in model.trainable_weights),
        "cpu_seconds": seconds,
    }


def lora(rank: int | None) -> Callable[..., dict[str, float]]:
    """Returns a function that fine-tunes MiniLM, with adapters if a rank is given."""

    def run(data: tuple[Texts, Texts]) -> dict[str, float]:
        model = minilm()
        if rank:
            enable_lora(model.encoder, rank)
        return train(model, data, 3, rate=1e-3 if rank else None)

    return run


def student(teacher: Path | None, hidden_weight: float = 0.0) -> Callable[..., dict[str, float]]:
    """Returns a function that trains the student, with a teacher if one is given."""

    def run(data: tuple[Texts, Texts]) -> dict[str, float]:
        model: Any = minilm().with_layers(STUDENT_LAYERS)
        if not teacher:
            return train(model, data, 6, rate=1e-4)
        large = BertClassifier.from_pretrained(teacher, dtype="mixed_bfloat16")
        result = train(Distiller(model, large, hidden_weight=hidden_weight), data, 6, rate=1e-4)
        if hidden_weight and not (folder := teacher.with_suffix(".student")).exists():
            model.save_pretrained(folder)
        return result

    return run


def heads(teacher: Path, sign: int, epochs: int) -> Callable[..., dict[str, float]]:
    """Returns a function that keeps half of the heads: the most (-1) or least (1) important."""

    def run(data: tuple[Texts, Texts]) -> dict[str, float]:
        model = BertClassifier.from_pretrained(teacher, dtype="mixed_bfloat16")
        texts, labels = (column[:1000] for column in data[0])
        importance = head_importance(model, texts, labels)
        return train(model.with_heads(np.argsort(sign * importance)[:, :6]), data, epochs)

    return run


def with_optimizer(name: str, rate: float) -> Callable[..., dict[str, float]]:
    """Returns a function that trains the student for an epoch."""
    return lambda data: train(minilm().with_layers(STUDENT_LAYERS), data, 1, name, rate)


def measure(parts: Sequence[str], output: Path, limit: int | None = None) -> dict[str, Any]:
    """Measures what is missing in the JSON file.

    Args:
        parts: Parts to measure: `students`, `heads`, `lora` or `optimizers`.
        output: The JSON file; teacher and student are saved in folders beside it.
        limit: Number of snippets to use; None for all.
    """
    results: dict[str, Any] = json.loads(output.read_text()) if output.exists() else {}
    texts, labels = fetch_snippets()
    data = split(texts[:limit], labels[:limit])
    teacher = output.with_suffix(".teacher")

    def fine_tune_teacher(data: tuple[Texts, Texts]) -> dict[str, float]:
        model = minilm()
        result = train(model, data, 2)
        model.save_pretrained(teacher)
        csv_path = output.with_suffix(".csv")
        with new_file(csv_path) as path, path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *zip(*data[1], strict=True)])
        return result

    runs: list[tuple[str, Callable[..., dict[str, float]]]] = []
    if {"students", "heads"} & set(parts):
        runs.append(("teacher, 6 layers, 0", fine_tune_teacher))
    for seed in SEEDS:
        if "students" in parts:
            runs.append((f"2 layers, labels alone, {seed}", student(None)))
            runs.append((f"2 layers, the teacher's answers, {seed}", student(teacher)))
            hidden = student(teacher, hidden_weight=1.0)
            runs.append((f"2 layers, its hidden states, too, {seed}", hidden))
        if "heads" in parts:
            for name, sign in (("most", -1), ("least", 1)):
                key = f"6 of 12 heads, the {name} needed"
                if seed == SEEDS[0]:
                    runs.append((f"{key}, as they are, {seed}", heads(teacher, sign, 0)))
                runs.append((f"{key}, one more epoch, {seed}", heads(teacher, sign, 1)))
        if "optimizers" in parts:
            for name, rate in OPTIMIZERS.items():
                runs.append((f"{name} at {rate}, one epoch, {seed}", with_optimizer(name, rate)))
        if "lora" in parts:
            runs.append((f"6 layers, all weights, {seed}", lora(None)))
            runs.append((f"6 layers, LoRA of rank 8, {seed}", lora(8)))
    for key, run in runs:
        if key not in results:
            keras.utils.set_random_seed(int(key.split(", ")[-1]))
            results[key] = run(data)
            output.write_text(json.dumps(results, indent=1) + "\n")
            print(key, f"{results[key]['accuracy']:.4f}", flush=True)
    print(table(results))
    return results


def table(results: dict[str, dict[str, float]]) -> str:
    """Writes the mean and range over the seeds as a table."""
    groups: dict[str, list[dict[str, float]]] = {}
    for key, result in results.items():
        groups.setdefault(key.rsplit(", ", 1)[0], []).append(result)
    lines = [
        "| what | seeds | accuracy | from | to | weights trained | CPU seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, rows in groups.items():
        accuracy = 100 * np.array([row["accuracy"] for row in rows])
        seconds = np.mean([row["cpu_seconds"] for row in rows])
        lines.append(
            f"| {name} | {len(rows)} | {accuracy.mean():.2f} % | {accuracy.min():.2f} % | "
            f"{accuracy.max():.2f} % | {rows[0]['trained']:,} | {seconds:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measures, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = ["students", "heads", "lora", "optimizers"]
    parser.add_argument("--output", type=Path, default=Path("smaller.json"))
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    options = parser.parse_args()
    logging.getLogger("keras_bert_scratch").setLevel(logging.ERROR)
    measure(options.parts, options.output)


if __name__ == "__main__":
    main()
