"""A fine-tuning that is killed goes on exactly; the rest of the command is in test_commands.py."""

import hashlib
import json
import multiprocessing
import time
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from keras_bert_scratch.cli.main import main

EPOCHS = 60
# Processes that have TensorFlow from their start, so that a life costs little.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["keras_bert_scratch.tasks.classifier", "keras_bert_scratch.evaluation.report"]
)


@pytest.fixture
def folder(tmp_path, tiny_classifier, reviews, write_csv):
    tiny_classifier().save_pretrained(tmp_path / "start")
    write_csv(tmp_path / "train.csv", ["text", "label"], 4 * list(zip(*reviews, strict=True)))
    return tmp_path


def start(folder: Path, name: str) -> ForkServerProcess:
    """Runs the command in a process of its own."""
    arguments = [
        "finetune",
        "--epochs",
        EPOCHS,
        "--batch-size",
        8,
        "--calibrate",
        "--engine",
        "keras",
    ]
    arguments += ["--model", folder / "start", "--train", folder / "train.csv"]
    arguments += ["--checkpoint", folder / f"{name}.safetensors", "--output", folder / name]
    process = FORKS.Process(target=main, args=([*map(str, arguments)],))
    process.start()
    return process


def finish(folder: Path, name: str) -> None:
    process = start(folder, name)
    process.join()
    assert process.exitcode == 0


def epochs_done(folder: Path) -> int:
    path = folder / "killed.safetensors"
    if not path.exists():
        return 0
    with safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()["training"])["epochs_done"]


def kill_after(folder: Path, epochs: int, seconds: float) -> None:
    """Starts a run, and kills it so many seconds after so many epochs in all."""
    process = start(folder, "killed")
    while epochs_done(folder) < epochs and process.is_alive():
        time.sleep(0.01)
    time.sleep(seconds)
    assert process.is_alive(), "The run ended before it was to be killed."
    process.kill()
    process.join()


@pytest.mark.slow(minutes=3)
def test_three_kills_change_nothing(folder):
    finish(folder, "whole")
    rng = np.random.default_rng(0)
    for _ in range(3):
        # While the model is made, or after an epoch or two.
        epochs = rng.integers(3)
        seconds = rng.uniform(0, 0.3 if epochs else 4)
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
