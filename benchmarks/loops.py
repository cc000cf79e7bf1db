"""Does memory stay constant, and does each thread get its own answers?

    python benchmarks/loops.py memory
    python benchmarks/loops.py memory --model sentence-transformers/all-MiniLM-L6-v2 train
    python benchmarks/loops.py threads

`memory` repeats an action ten times in a separate process, keeps nothing in between, and prints the
process's memory after each repetition. After two repetitions TensorFlow has allocated what it needs
once: after the tenth, memory may be 5 % larger, otherwise the script fails. `train` makes, compiles
and fits a model, as in a search or a cross-validation.

`threads` asks one predictor of every kind, and one model of every task, from eight threads 1,000
times each, and counts answers that differ from the answer to the same text asked alone.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import functools
import gc
import logging
import multiprocessing
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_bert_scratch import (
    BertClassifier,
    BertQuestionAnswerer,
    BertSentenceEncoder,
    BertSummarizer,
    BertTokenClassifier,
    adamw,
)
from keras_bert_scratch.evaluation.explanations import integrated_gradients
from keras_bert_scratch.serving import load_predictor
from keras_bert_scratch.serving.readers.answerer import load_answerer
from keras_bert_scratch.serving.readers.sentence_encoder import load_embedder
from keras_bert_scratch.serving.readers.summarizer import load_summarizer
from keras_bert_scratch.serving.readers.tagger import load_tagger
from keras_bert_scratch.tables import format_table

TEXTS = ["a good film", "a bad film that nobody should see", "awful", "great joy for all of us"]
LABELS = ["negative", "positive"]
MOST_GROWTH = 1.05


# === Memory ===
def make(path: str) -> BertClassifier:
    """Makes a classifier that reads short texts."""
    model = BertClassifier.from_pretrained(path, LABELS, sequence_length=16)
    model.compile(adamw(1e-4, total_steps=100))
    return model


def train(path: str, folder: Path) -> None:
    """Trains a model for four steps."""
    make(path).fit(TEXTS * 8, LABELS * 16, batch_size=8, verbose=0)


def evaluate(path: str, folder: Path) -> None:
    """Evaluates a model."""
    make(path).evaluate(TEXTS * 8, LABELS * 16, verbose=0)


def predict(path: str, folder: Path) -> None:
    """Classifies texts."""
    make(path).classify(TEXTS * 8)


def explain(path: str, folder: Path) -> None:
    """Explains an answer."""
    integrated_gradients(make(path), TEXTS[1], num_points=4)


def export(path: str, folder: Path) -> None:
    """Exports a model to both formats."""
    with tempfile.TemporaryDirectory(dir=folder) as exports:
        make(path).export(Path(exports) / "model")
        make(path).export(Path(exports) / "model.tflite", format="litert")


def load(path: str, folder: Path) -> None:
    """Loads both exports, and asks them."""
    for name, options in (("model", {}), ("model.tflite", {"format": "litert"})):
        if not (folder / name).exists():
            make(path).export(folder / name, **options)
        load_predictor(folder / name).probabilities(TEXTS)


THINGS: dict[str, Callable[[str, Path], None]] = {
    function.__name__: function for function in (train, evaluate, predict, explain, export, load)
}


def resident() -> float:
    """Returns the memory of this process in MB."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def repeat(name: str, path: str, times: int) -> list[float]:
    """Repeats an action, and returns the memory after each repetition."""
    logging.getLogger("keras_bert_scratch").setLevel(logging.ERROR)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(times):
            THINGS[name](path, Path(folder))
            keras.utils.clear_session()
            found.append(resident())
    return found


def memory(options: argparse.Namespace) -> bool:
    """Prints the memory after each repetition, and returns whether it stayed constant."""
    rows, stayed = [], True
    for name in options.things or THINGS:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found = pool.apply(repeat, (name, options.model, options.times))
        growth = found[-1] / found[1]
        stayed &= growth <= MOST_GROWTH
        rows.append([name, *(f"{megabytes:.0f}" for megabytes in found), f"{growth:.3f}"])
        print(*rows[-1], flush=True)
    times = [str(time) for time in range(1, options.times + 1)]
    print(format_table(["MB after", *times, "last / 2nd"], rows))
    return stayed


# === Threads ===
FORMATS: dict[str, tuple[str, dict[str, str]]] = {
    "SavedModel": ("", {}),
    "LiteRT": (".tflite", {"format": "litert"}),
    "ONNX": (".onnx", {"format": "onnx"}),
}


def callers(
    folder: Path, formats: list[str], num_keras: int
) -> dict[str, tuple[Callable[[str], Any], int | None]]:
    """Returns functions that answer a text by name, and the number of requests if it is special."""
    short: dict[str, Any] = {"sequence_length": 16}
    classifier = BertClassifier.from_pretrained("tiny-en-1", LABELS, **short)
    encoder = BertSentenceEncoder.from_pretrained("tiny-en-1", **short)
    tagger = BertTokenClassifier.from_pretrained("tiny-en-1", ["O", "B-joy", "I-joy"], **short)
    answerer = BertQuestionAnswerer.from_pretrained("tiny-en-1", sequence_length=24)
    summarizer = BertSummarizer.from_pretrained("tiny-en-1", summary_length=6, **short)
    context = "nobody should see a bad film, and all of us saw a good one with joy"
    kinds: dict[str, tuple[Any, Any, Callable[[Any, str], Any]]] = {
        "classifier": (classifier, load_predictor, lambda one, text: one.probabilities([text])),
        "encoder": (encoder, load_embedder, lambda one, text: one.encode([text])),
        "tagger": (tagger, load_tagger, lambda one, text: one.probabilities([text])[0]),
        "answerer": (
            answerer,
            load_answerer,
            lambda one, text: one.probabilities(([text], [context])),
        ),
        "summarizer": (summarizer, load_summarizer, lambda one, text: one.summarize([text])),
    }
    found: dict[str, tuple[Callable[[str], Any], int | None]] = {}
    for name, (model, load, ask) in kinds.items():
        for kind, (ending, options) in FORMATS.items():
            if kind in formats and (kind != "ONNX" or name == "classifier"):
                path = folder / f"{name}{ending}"
                model.export(path, **options)
                found[f"{name} {kind}"] = functools.partial(ask, load(path)), None
        if "Keras" in formats:
            ask = _encode_quietly if name == "encoder" else ask
            found[f"{name} Keras"] = functools.partial(ask, model), num_keras
    return found


def _encode_quietly(model: BertSentenceEncoder, text: str) -> np.ndarray:
    return model.encode([text], verbose=0)


def is_same(found: Any, wanted: Any) -> bool:
    """Whether two answers are the same, but for rounding."""
    if isinstance(wanted, np.ndarray):
        return found.shape == wanted.shape and np.allclose(found, wanted, atol=1e-4)
    return found == wanted


def wrong_answers(ask: Callable[[str], Any], num_threads: int, num_requests: int) -> int:
    """Asks from several threads at once, and returns the number of answers to another text."""
    texts = TEXTS[:1] * num_threads + [f"{TEXTS[n % 4]} {n}" for n in range(8)]
    right = {text: ask(text) for text in texts}
    wrong: list[str] = []

    def work(thread: int) -> None:
        for request in range(num_requests):
            text = texts[(request + thread) % len(texts)]
            try:
                is_wrong = not is_same(ask(text), right[text])
            except Exception as error:
                print(f"{type(error).__name__}: {error}", flush=True)
                is_wrong = True
            if is_wrong:
                wrong.append(text)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(num_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(wrong)


def threads(options: argparse.Namespace) -> bool:
    """Prints the number of wrong answers, and returns whether there are none."""
    logging.getLogger("keras_bert_scratch").setLevel(logging.ERROR)
    rows, total = [], 0
    with tempfile.TemporaryDirectory() as folder:
        asked_of = callers(Path(folder), options.formats, options.keras_requests)
        for name, (ask, num_requests) in asked_of.items():
            num_requests = num_requests or options.requests
            started = time.perf_counter()
            wrong = wrong_answers(ask, options.threads, num_requests)
            seconds = time.perf_counter() - started
            asked = options.threads * num_requests
            rows.append([name, f"{asked:,}", str(wrong), f"{asked / seconds:.0f}"])
            print(*rows[-1], flush=True)
            total += wrong
    print(format_table(["", "requests", "wrong", "a second"], rows))
    return not total


def main() -> None:
    """Measures, prints a table, and fails if the figures are wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("memory", help="memory after each of ten repetitions")
    command.add_argument("things", nargs="*", metavar="THING", help=f"actions: {', '.join(THINGS)}")
    command.add_argument("--model", default="tiny-en-1", help="default: %(default)s")
    command.add_argument("--times", type=int, default=10, help="default: %(default)s")
    command.set_defaults(run=memory)
    command = commands.add_parser("threads", help="one predictor, eight threads")
    command.add_argument(
        "--formats", nargs="*", default=[*FORMATS, "Keras"], help="default: all of %(default)s"
    )
    command.add_argument("--threads", type=int, default=8, help="default: %(default)s")
    command.add_argument("--requests", type=int, default=1000, help="requests of each thread")
    command.add_argument("--keras-requests", type=int, default=50, help="the same for Keras models")
    command.set_defaults(run=threads)
    options = parser.parse_args()
    sys.exit(0 if options.run(options) else 1)


if __name__ == "__main__":
    main()
