"""A fine-tuning that is killed goes on exactly; the rest of the command is in test_commands.py."""

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

EPOCHS = 60


@pytest.fixture
def folder(tmp_path, tiny_classifier, reviews, write_csv):
    tiny_classifier().save_pretrained(tmp_path / "start")
    write_csv(tmp_path / "train.csv", ["text", "label"], 4 * list(zip(*reviews, strict=True)))
    return tmp_path


def start(folder: Path, name: str) -> subprocess.Popen:
    """Runs the command in a process of its own."""
    command = [sys.executable, "-m", "keras_bert_scratch.cli.main", "finetune", "--epochs", EPOCHS]
    command += ["--model", folder / "start", "--train", folder / "train.csv", "--batch-size", 8]
    command += ["--calibrate", "--checkpoint", folder / f"{name}.safetensors"]
    with (folder / "log.txt").open("a") as log:
        return subprocess.Popen(
            [*map(str, command), "--output", str(folder / name)], stdout=log, stderr=log
        )


def finish(folder: Path, name: str) -> None:
    assert start(folder, name).wait() == 0, (folder / "log.txt").read_text()[-2000:]


def epochs_done(folder: Path) -> int:
    path = folder / "killed.safetensors"
    if not path.exists():
        return 0
    with safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()["training"])["epochs_done"]


def kill_after(folder: Path, epochs: int, seconds: float) -> None:
    """Starts a run, and kills it so many seconds after so many epochs in all."""
    process = start(folder, "killed")
    while epochs_done(folder) < epochs and process.poll() is None:
        time.sleep(0.01)
    time.sleep(seconds)
    assert process.poll() is None, "The run ended before it was to be killed."
    process.kill()
    process.wait()


@pytest.mark.slow
def test_ten_kills_change_nothing(folder):
    finish(folder, "whole")
    rng = np.random.default_rng(0)
    for _ in range(10):
        # While Python starts, while the model is made, or after an epoch or two.
        epochs = rng.integers(3)
        seconds = rng.uniform(0, 0.3 if epochs else 10)
        kill_after(folder, min(epochs_done(folder) + epochs, EPOCHS - 1), seconds)
    # Once more, when nothing is left to train, and the model and its report are to be written.
    kill_after(folder, EPOCHS, rng.uniform(0, 0.3))
    assert not (folder / "killed").exists()
    finish(folder, "killed")
    # The checkpoint holds the optimizer, dropout's seeds and the history.
    for name in ("model.safetensors", "config.json", "report/report.json", "checkpoint"):
        paths = (
            folder / (f"{run}.safetensors" if name == "checkpoint" else f"{run}/{name}")
            for run in ("whole", "killed")
        )
        whole, killed = (hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)
        assert killed == whole, name
