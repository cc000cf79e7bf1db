"""Asks an export for answers in a fresh process without Keras, as on a server."""

import contextlib
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_bert_scratch.text.columns import text_columns

# Accents, other scripts, emoji, control characters, special tokens as text, an empty text, a word
# that no vocabulary has, and a text longer than any sequence.
PROBE_TEXTS = [
    "a film to remember",
    "An Über-café, naïve & déjà vu!",
    "这部电影太棒了，值得再看。",
    "Das war nichts … 1/10 👎🏽",
    "영화가 정말 재미있어요",
    "tab\tnew\nline\u00a0space\u200bzero\x00nul \ufffd",
    "[CLS] [SEP] [MASK] [PAD]",
    "",
    "pneumono" * 20,
    "one word after another " * 400,
]
# The readers of each task: the function that loads an export, and the method that answers.
_READERS = {
    "classifier": ("load_predictor", "probabilities"),
    "column_classifier": ("load_column_predictor", "of_rows"),
    "sentence_encoder": ("load_embedder", "encode"),
    "tagger": ("load_tagger", "word_probabilities"),
    "answerer": ("load_answerer", "probabilities"),
    "summarizer": ("load_summarizer", "summarize"),
}
_FOLDER = "keras_bert_scratch.serving.readers"
# Each latency is the median of the runs that fill this time, at least five.
_SECONDS_TIMED = 0.5


@contextlib.contextmanager
def started() -> Iterator[subprocess.Popen]:
    """Yields a process for a call of `ask` on a SavedModel, which imports TensorFlow meanwhile."""
    with _start("wait") as process:
        try:
            yield process
        finally:
            process.kill()


def _start(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", __name__, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
    )


def ask(
    path: str | Path,
    texts: Any,
    timed: Mapping[int, str] | None = None,
    threads: int = 1,
    *,
    task: str = "classifier",
    process: subprocess.Popen | None = None,
) -> tuple[np.ndarray, dict[tuple[int, int], float]]:
    """Asks an export in a fresh process without Keras.

    Args:
        path: A SavedModel folder or a file.
        texts: n strings, a tuple of two columns of them, or None.
        timed: Texts whose latency is measured, by their number of tokens.
        threads: Number of threads to compute with.
        task: The task of the export, a key of `_READERS`.
        process: One that `started` gave; by default a new one.

    Returns:
        The answers to `texts` (*Shape:* (n, C), (n, H), (words, C), (n, 2) or (n,), by task), and
        the median milliseconds from string to answer by (tokens, threads).

    Raises:
        RuntimeError: If the export does not load.
    """
    question = {
        "path": str(path),
        "columns": texts and [column for column in text_columns(texts) if column is not None],
        "timed": timed or {},
        "threads": threads,
        "task": task,
    }
    # SavedModels take their threads from the environment.
    counts = {f"TF_NUM_{kind}_THREADS": str(threads) for kind in ("INTRAOP", "INTEROP")}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "question.json").write_text(json.dumps(question), encoding="utf-8")
        if process is None:
            process = _start(env={**os.environ, **counts} if timed else None)
        _, errors = process.communicate(folder)
        if process.returncode:
            raise RuntimeError(f"The export does not load in a fresh process:\n{errors[-2000:]}")
        found = np.load(Path(folder) / "answers.npy")
        times = json.loads((Path(folder) / "milliseconds.json").read_text())
    return found, {(int(tokens), threads): value for tokens, value in times.items()}


def main(*arguments: str) -> None:
    """Answers the question in the folder that standard input names, and writes answers there.

    Args:
        *arguments: "wait" for a SavedModel: TensorFlow is imported before the folder is read.
    """
    if arguments:
        sys.modules["keras"] = None  # type: ignore[assignment]
        importlib.import_module("tensorflow")
    folder = sys.stdin.read()
    question = json.loads((Path(folder) / "question.json").read_text("utf-8"))
    if not question["path"].endswith(".tflite"):
        # TensorFlow imports Keras if it is installed; this makes the import fail, as on a server.
        # LiteRT files import neither, except those that take text: tensorflow-text needs both.
        sys.modules["keras"] = None  # type: ignore[assignment]
    load, method = _READERS[question["task"]]
    readers = importlib.import_module(f"{_FOLDER}.{question['task']}")
    answer = getattr(getattr(readers, load)(question["path"], question["threads"]), method)
    columns = question["columns"]
    found: Any = []
    if columns:
        found = answer(columns[0] if len(columns) == 1 else tuple(columns))
    np.save(Path(folder) / "answers.npy", found)
    times = {tokens: _milliseconds(answer, text) for tokens, text in question["timed"].items()}
    (Path(folder) / "milliseconds.json").write_text(json.dumps(times))


def _milliseconds(answer: Callable[[list[str]], Any], text: str) -> float:
    answer([text])
    runs: list[float] = []
    while sum(runs) < _SECONDS_TIMED or len(runs) < 5:
        started = time.perf_counter()
        answer([text])
        runs.append(time.perf_counter() - started)
    return float(np.median(runs)) * 1000


if __name__ == "__main__":
    main(*sys.argv[1:])
