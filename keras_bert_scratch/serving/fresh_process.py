"""Does an export answer as the model does? Asked of a fresh process, without Keras."""

import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_bert_scratch.text.columns import text_columns

# Accents, other scripts, emoji, control characters, the special tokens as text, nothing at all, a
# word beyond any vocabulary, and more than any sequence holds.
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
# What an export may be asked for: who loads it, and which method answers.
_ANSWERS = {
    "probabilities": ("keras_bert_scratch.serving.predictor", "load_predictor", "probabilities"),
    "embeddings": ("keras_bert_scratch.serving.embedder", "load_embedder", "encode"),
    "tags": ("keras_bert_scratch.serving.tagger", "load_tagger", "padded_probabilities"),
    "answers": ("keras_bert_scratch.serving.answerer", "load_answerer", "probabilities"),
    "summaries": ("keras_bert_scratch.serving.summarizer", "load_summarizer", "summarize"),
}
# Each latency is the median of runs that fill this time, and of no fewer than five.
_SECONDS_TIMED = 0.5


def check_artifact(
    path: Path, expected: Callable[[list[str]], Any], *, largest_gap: float
) -> float:
    """Loads an export in a fresh process without Keras and compares its probabilities.

    Args:
        path: A SavedModel folder or a LiteRT file.
        expected: Gives the probabilities that the export must give for some texts.
        largest_gap: Largest accepted difference of a probability.

    Returns:
        The largest difference found.

    Raises:
        RuntimeError: If the export does not load, or a difference is larger or not a number.
    """
    found, _ = ask(path, PROBE_TEXTS)
    return check_gap(found, np.asarray(expected(PROBE_TEXTS)), largest_gap)


def check_gap(found: np.ndarray, wanted: np.ndarray, largest_gap: float) -> float:
    """Returns the largest difference of two arrays of probabilities.

    Scores, which may be large, count as shares of the largest of them.

    Raises:
        RuntimeError: If it is larger than `largest_gap`, or not a number.
    """
    gap = float(np.max(np.abs(found - wanted)) / max(1.0, np.max(np.abs(wanted))))
    # Written so that a gap that is not a number fails, too.
    if not gap <= largest_gap:
        raise RuntimeError(
            f"The export's probabilities differ from the model's by {gap:.2g}, more than "
            f"{largest_gap:.2g}: nothing was written."
        )
    return gap


def ask(
    path: str | Path,
    texts: Any,
    timed: Mapping[int, str] | None = None,
    threads: int = 1,
    *,
    answer: str = "probabilities",
) -> tuple[np.ndarray, dict[tuple[int, int], float]]:
    """Asks an export in a fresh process without Keras.

    Args:
        path: A SavedModel folder or a LiteRT file.
        texts: n strings, a tuple of two columns of them, or None.
        timed: Texts to measure the latency of, by their number of tokens.
        threads: To compute with.
        answer: What is asked for: a key of `_ANSWERS`.

    Returns:
        The answers to `texts` (*Shape:* (n, C) or (n, H)), and the median milliseconds from string
        to answer by (tokens, threads).

    Raises:
        RuntimeError: If the export does not load.
    """
    question = {
        "path": str(path),
        "columns": texts and [column for column in text_columns(texts) if column is not None],
        "timed": timed or {},
        "threads": threads,
        "answer": answer,
    }
    # SavedModels take their threads from the environment.
    counts = {f"TF_NUM_{kind}_THREADS": str(threads) for kind in ("INTRAOP", "INTEROP")}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "question.json").write_text(json.dumps(question), encoding="utf-8")
        process = subprocess.run(
            [sys.executable, "-m", __name__, folder],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **counts} if timed else None,
        )
        if process.returncode:
            raise RuntimeError(
                f"The export does not load in a fresh process:\n{process.stderr[-2000:]}"
            )
        found = np.load(Path(folder) / "answers.npy")
        times = json.loads((Path(folder) / "milliseconds.json").read_text())
    return found, {(int(tokens), threads): value for tokens, value in times.items()}


def main(folder: str) -> None:
    """Answers the question in a folder: writes the answers and latencies beside it."""
    question = json.loads((Path(folder) / "question.json").read_text("utf-8"))
    if not question["path"].endswith(".tflite"):
        # TensorFlow imports Keras if it is installed; this makes the import fail, as on a server.
        # LiteRT files import neither, but for tensorflow-text, which needs both, if they take text.
        sys.modules["keras"] = None  # type: ignore[assignment]
    module, load, method = _ANSWERS[question["answer"]]
    loaded = getattr(importlib.import_module(module), load)(question["path"], question["threads"])
    answer = getattr(loaded, method)
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
