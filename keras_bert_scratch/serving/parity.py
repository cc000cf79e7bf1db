"""Does an export answer as the model does? Asked of a fresh process, without Keras."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

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
    with tempfile.TemporaryDirectory() as folder:
        texts, answers = Path(folder) / "texts.json", Path(folder) / "answers.npy"
        texts.write_text(json.dumps(PROBE_TEXTS), encoding="utf-8")
        process = subprocess.run(
            [sys.executable, "-m", __name__, str(path), str(texts), str(answers)],
            capture_output=True,
            text=True,
            check=False,
        )
        if process.returncode:
            raise RuntimeError(
                f"The export does not load in a fresh process:\n{process.stderr[-2000:]}"
            )
        found = np.load(answers)
    gap = float(np.max(np.abs(found - np.asarray(expected(PROBE_TEXTS)))))
    # Written so that a gap that is not a number fails, too.
    if not gap <= largest_gap:
        raise RuntimeError(
            f"The export's probabilities differ from the model's by {gap:.2g}, more than "
            f"{largest_gap:.2g}: nothing was written."
        )
    return gap


def main(path: str, texts: str, answers: str) -> None:
    """Answers the texts of a JSON file with an export, into a numpy file."""
    # TensorFlow imports Keras if it is installed; this makes the import fail, as on a server.
    sys.modules["keras"] = None  # type: ignore[assignment]
    from keras_bert_scratch.serving.predictor import load_predictor

    predictor = load_predictor(path)
    np.save(answers, predictor.probabilities(json.loads(Path(texts).read_text("utf-8"))))


if __name__ == "__main__":
    main(*sys.argv[1:])
