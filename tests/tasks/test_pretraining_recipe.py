"""The recipe: what it makes, what it refuses, and that a killed run goes on exactly."""

import contextlib
import dataclasses
import json
import multiprocessing
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file
from tensorflow.python.framework import config as tf_config

from keras_bert_scratch.cli.main import main
from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.tasks.classifier import BertClassifier
from keras_bert_scratch.tasks.pretrainer import BertPretrainer
from keras_bert_scratch.tasks.pretraining_recipe import PretrainingRecipe, pretrain
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import SPECIAL_TOKENS, Vocabulary

FIELDS: dict[str, Any] = {
    "train": ["text/train*.txt"],
    "held_out": ["text/held_out.txt"],
    "vocabulary": 150,
    "encoder": {
        "num_layers": 1,
        "num_heads": 2,
        "hidden_dim": 16,
        "feed_forward_dim": 32,
        "max_positions": 48,
    },
    # Longer sequences and smaller batches last.
    "phases": [
        {"sequence_length": 24, "batch_size": 16, "steps": 8},
        {"sequence_length": 48, "batch_size": 8, "steps": 8},
    ],
    "learning_rate": 0.01,
    "evaluate_every": 4,
    "gradient_accumulation": 2,
    "steps_per_execution": 2,
    "seed": 5,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with texts in which a name is followed by what it does, and a recipe."""
    rng = np.random.default_rng(0)
    acts = {"the cat": "sleeps", "the dog": "barks", "a bird": "sings", "my fish": "swims"}

    def document() -> str:
        names = rng.choice(list(acts), rng.integers(3, 9))
        return " ".join(f"Today {name} {acts[name]} in the garden." for name in names)

    (tmp_path / "text").mkdir()
    for name in ("train1", "train2", "held_out"):
        (tmp_path / f"text/{name}.txt").write_text("\n\n".join(document() for _ in range(30)))
    write(tmp_path)
    return tmp_path


def write(folder: Path, **changes: Any) -> Path:
    fields = {name: value for name, value in {**FIELDS, **changes}.items() if value is not None}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(fields))
    return folder / "recipe.yaml"


@pytest.fixture(autouse=True)
def _determinism_ends_with_the_test() -> Iterator[None]:
    yield
    # TensorFlow has no public name for it.
    tf_config.disable_op_determinism()


COMMAND = [sys.executable, "-m", "keras_bert_scratch.cli.main", "pretrain"]
# Processes that have TensorFlow from their start, so that a life costs little.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["keras_bert_scratch.tasks.pretraining_recipe"])


def free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def start(folder: Path, run: Path) -> ForkServerProcess:
    """Runs the command in a process of its own."""
    arguments = ["pretrain", f"{folder}/recipe.yaml", "--output", str(run)]
    process = FORKS.Process(target=main, args=(arguments,))
    process.start()
    return process


def finish(folder: Path, run: Path) -> None:
    process = start(folder, run)
    process.join()
    assert process.exitcode == 0
    assert (run / "model").is_dir()


def kill_after(process: ForkServerProcess, run: Path, epochs: int, seconds: float) -> None:
    """Kills a run so many seconds after its next so many checkpoints."""
    checkpoint = run / "checkpoint.safetensors"

    def written() -> int:
        return checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0

    last = written()
    while epochs and process.is_alive():
        time.sleep(0.01)
        if written() != last:
            last = written()
            epochs -= 1
    time.sleep(seconds)
    assert process.is_alive(), "The run ended before it was to be killed."
    process.kill()
    process.join()


def assert_same_run(left: Path, right: Path, epochs: int) -> None:
    history = json.loads((left / "history.json").read_text())
    assert json.loads((right / "history.json").read_text()) == history
    # The curve has no gap, and nothing twice.
    assert {len(values) for values in history.values()} == {epochs}
    for name in ("model/model.safetensors", "checkpoint.safetensors"):
        ours, theirs = load_file(left / name), load_file(right / name)
        assert ours.keys() == theirs.keys()
        for key in ours:
            np.testing.assert_array_equal(ours[key], theirs[key], err_msg=f"{name} {key}")


@pytest.mark.slow(minutes=3)
def test_three_kills_change_nothing(folder: Path) -> None:
    phases = [{**phase, "steps": 14} for phase in FIELDS["phases"]]
    write(folder, phases=phases, evaluate_every=2)
    finish(folder, folder / "whole")
    rng = np.random.default_rng()
    for _ in range(3):
        # 14 checkpoints in all: each life but the last writes two at most, or none.
        process = start(folder, folder / "killed")
        kill_after(process, folder / "killed", int(rng.integers(3)), rng.uniform(0, 0.3))
    finish(folder, folder / "killed")
    assert_same_run(folder / "whole", folder / "killed", epochs=14)


@pytest.mark.slow(minutes=2)
def test_two_workers_learn_what_one_does(folder: Path) -> None:
    encoder = {**FIELDS["encoder"], "dropout": 0.0, "attention_dropout": 0.0}
    recipe = write(folder, encoder=encoder, steps_per_execution=1)
    finish(folder, folder / "one")
    ports = free_ports(2)
    workers = [f"127.0.0.1:{port}" for port in ports]
    processes = []
    for index in (0, 1):
        task = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        with (folder / f"log{index}.txt").open("w") as log:
            processes.append(
                subprocess.Popen(
                    [*COMMAND, recipe, "--output", folder / "two", "--distribute", "multi-worker"],
                    env={**os.environ, "TF_CONFIG": json.dumps(task), "CUDA_VISIBLE_DEVICES": ""},
                    stdout=log,
                    stderr=log,
                )
            )
    for index, process in enumerate(processes):
        assert process.wait() == 0, (folder / f"log{index}.txt").read_text()[-2000:]
    one, two = (load_file(folder / run / "model/model.safetensors") for run in ("one", "two"))
    for name in one:
        # Adam makes steps of rounding errors where the gradient is none, as a key's bias has.
        bound = 0.1 if name.endswith("key.bias") else 2e-6
        np.testing.assert_allclose(two[name], one[name], rtol=0, atol=bound, err_msg=name)
    curves = [json.loads((folder / run / "history.json").read_text()) for run in ("one", "two")]
    for name, values in curves[0].items():
        # Of the held-out text's last batch the replicas have other numbers of rows, and Keras
        # averages the losses of single heads over replicas, whatever their rows.
        if not re.fullmatch(r"val_\w+_loss", name):
            np.testing.assert_allclose(curves[1][name], values, rtol=1e-4, err_msg=name)


def test_what_is_not_distributed(folder: Path) -> None:
    recipe = PretrainingRecipe.from_yaml(folder / "recipe.yaml")
    two = types.SimpleNamespace(num_replicas_in_sync=2)
    with pytest.raises(ValueError, match="steps_per_execution is 2, which .*: set it to 1"):
        pretrain(recipe, folder / "run", strategy=two)
    # Parts of 8 and of 4 rows.
    recipe = dataclasses.replace(recipe, steps_per_execution=1)
    eight = types.SimpleNamespace(num_replicas_in_sync=8)
    with pytest.raises(ValueError, match="The batch size 8 is .* 8 replicas .* 2 parts.* as 16"):
        pretrain(recipe, folder / "run", strategy=eight)
    assert not (folder / "run").exists()


@pytest.fixture
def start_folder(folder: Path) -> Path:
    """The folder with a checkpoint, `start`, whose vocabulary keeps capitals."""
    keras.utils.set_random_seed(1)
    words = "Today the cat dog a bird my fish sleeps barks sings swims in garden .".split()
    tokenizer = WordPieceTokenizer(Vocabulary([*SPECIAL_TOKENS, *words]), lowercase=False)
    sizes = {**FIELDS["encoder"], "vocab_size": len(tokenizer.vocabulary)}
    encoder = BertEncoder(BertConfig(**sizes))
    BertPretrainer(encoder, tokenizer).save_pretrained(folder / "start")
    return folder


FROM_START = {"vocabulary": None, "encoder": None, "start": "start"}


def test_goes_on_from_a_checkpoint(start_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    phases = [{"sequence_length": 24, "batch_size": 8, "steps": 8}]
    changes = {**FROM_START, "phases": phases, "steps_per_execution": 1, "learning_rate": 1e-9}
    recipe = PretrainingRecipe.from_yaml(write(start_folder, **changes))
    assert recipe.start == str(start_folder / "start")
    model = pretrain(recipe, start_folder / "whole")
    # With steps as good as none, sizes, heads and vocabulary are those of the checkpoint.
    start = BertPretrainer.from_pretrained(start_folder / "start")
    assert model.encoder.config == start.encoder.config
    for ours, theirs in zip(model.weights, start.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
    again = BertPretrainer.from_pretrained(start_folder / "whole/model")
    assert again.tokenizer.get_config() == start.tokenizer.get_config()
    assert "Newly initialized" not in caplog.text

    # Other weights in its place are another recipe.
    shutil.rmtree(start_folder / "start")
    for weight in start.trainable_weights:
        weight.assign(weight + 1.0)
    start.save_pretrained(start_folder / "start")
    recipe = PretrainingRecipe.from_yaml(start_folder / "recipe.yaml")
    with pytest.raises(ValueError, match="written by another recipe, which differs in start"):
        pretrain(recipe, start_folder / "whole")


def test_heads_that_the_checkpoint_lacks_are_new(
    start_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    start = BertPretrainer.from_pretrained(start_folder / "start")
    BertClassifier(start.encoder, ["a", "b"], start.tokenizer).save_pretrained(
        start_folder / "classifier"
    )
    phases = [{"sequence_length": 24, "batch_size": 8, "steps": 4}]
    path = write(start_folder, **{**FROM_START, "start": None}, phases=phases)
    command = ["pretrain", str(path), "--output", f"{start_folder}/run"]
    assert main([*command, "--start", f"{start_folder}/classifier"]) == 0
    assert "Newly initialized, to be trained: masked_language_model" in caplog.text
    assert BertPretrainer.from_pretrained(start_folder / "run/model").next_sentence is not None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": None}, "the recipe lacks vocabulary and encoder: add them, or name a checkp"),
        ({"vocabulary": 150}, "which has its own vocabulary, and vocabulary is 150: leave it out"),
        ({"encoder": {"hidden_dim": 32}}, "encoder.hidden_dim is 32, but 16 in the checkpoint"),
        (
            {"encoder": {"preset": "tiny"}},
            "encoder.preset is 'tiny', but no size of the checkpoint",
        ),
        ({"lowercase": True}, "lowercase is True, but False in the checkpoint"),
        (
            {"phases": [{"sequence_length": 64, "batch_size": 2, "steps": 4}]},
            "sequence_length is 64, but the encoder has 48 positions",
        ),
    ],
)
def test_contradictions_to_the_checkpoint(
    start_folder: Path, changes: dict[str, Any], message: str
) -> None:
    path = write(start_folder, **{**FROM_START, **changes})
    with pytest.raises(ValueError, match=f"recipe.yaml is refused: .*{message}"):
        PretrainingRecipe.from_yaml(path)


def test_what_agrees_with_the_checkpoint(start_folder: Path) -> None:
    encoder = {"hidden_dim": 16, "num_layers": 1}
    recipe = PretrainingRecipe.from_yaml(
        write(start_folder, **{**FROM_START, "encoder": encoder}, lowercase=False)
    )
    assert recipe.config(1).hidden_dim == 16
    with pytest.raises(ValueError, match="it starts from 'start', and 'tiny-en' is asked for"):
        PretrainingRecipe.from_yaml(start_folder / "recipe.yaml", start="tiny-en")
    with pytest.raises(FileNotFoundError, match="'no/such/folder' is not a folder"):
        PretrainingRecipe.from_yaml(
            write(start_folder, **{**FROM_START, "start": "no/such/folder"})
        )


class Killed(BaseException):
    """Stands for a kill: nothing that cleans up after exceptions may catch it."""


class KillAt(keras.callbacks.Callback):
    """Ends a run in the middle of an epoch."""

    def __init__(self, batch: int) -> None:
        super().__init__()
        self.batches_left = batch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.batches_left -= 1
        if self.batches_left == 0:
            raise Killed


# A document of three sentences and two special tokens has 26 tokens.
LEARNS_VECTORS = {
    "teacher": "tiny-en-1",
    "next_sentence": False,
    "phases": [
        {**phase, "sequence_length": n} for phase, n in zip(FIELDS["phases"], (32, 48), strict=True)
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes", [LEARNS_VECTORS, {"generator_layers": 1, "next_sentence": False}]
)
def test_stops_change_nothing(
    changes: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the test above, of other objectives, in one process: in either phase's second epoch."""
    recipe = PretrainingRecipe.from_yaml(
        write(folder, gradient_accumulation=1, steps_per_execution=1, **changes)
    )
    pretrain(recipe, folder / "whole")
    original = BertPretrainer.fit
    for batch in (6, 10):
        stop = KillAt(batch)

        def fit(self: Any, *args: Any, stop: Any = stop, **kwargs: Any) -> Any:
            kwargs["callbacks"] = [*kwargs["callbacks"], stop]
            return original(self, *args, **kwargs)

        monkeypatch.setattr(BertPretrainer, "fit", fit)
        with pytest.raises(Killed):
            pretrain(recipe, folder / "killed")
    monkeypatch.undo()
    pretrain(recipe, folder / "killed")
    assert_same_run(folder / "whole", folder / "killed", epochs=4)


def test_from_text_to_a_classifier(folder: Path, capsys: pytest.CaptureFixture) -> None:
    sizes = {"hidden_dim": 32, "feed_forward_dim": 64, "dropout": 0.0, "attention_dropout": 0.0}
    recipe = write(
        folder,
        encoder={**FIELDS["encoder"], **sizes},
        phases=[{"sequence_length": 24, "batch_size": 16, "steps": 300}],
        evaluate_every=50,
        gradient_accumulation=1,
        steps_per_execution=10,
        dtype="mixed_bfloat16",
    )
    assert main(["pretrain", str(recipe), "--output", f"{folder}/run"]) == 0
    assert capsys.readouterr().out == f"{folder}/run/model\n"
    history = json.loads((folder / "run/history.json").read_text())
    assert history["loss"][-1] < history["loss"][0] - 0.3
    # No token is more than an eighth of the text.
    assert history["val_masked_language_model_accuracy"][-1] > 0.4
    assert history["val_masked_language_model_perplexity"][-1] < 10
    assert {"val_next_sentence_accuracy", "val_loss"} <= set(history)
    assert list((folder / "run/logs").rglob("events*"))

    model = BertPretrainer.from_pretrained(folder / "run/model")
    (guesses,) = model.fill_mask("Today the dog [MASK] in the garden.", top_k=2)
    assert set(guesses) <= {"sleeps", "barks", "sings", "swims"}
    classifier = BertClassifier.from_pretrained(folder / "run/model", labels=["a", "b"])
    assert classifier.encoder.config.max_positions == 48


def test_another_recipe_does_not_go_on(folder: Path, capsys: pytest.CaptureFixture) -> None:
    phases = [{"sequence_length": 24, "batch_size": 8, "steps": 4}]
    command = ["pretrain", str(write(folder, phases=phases)), "--output", f"{folder}/run"]
    assert main(command) == 0
    before = (folder / "run/checkpoint.safetensors").read_bytes()
    write(folder, phases=phases, learning_rate=0.02)
    assert main(command) == 1
    assert "differs in learning_rate (learning_rate was 0.01, now it is 0.02)" in (
        capsys.readouterr().err
    )
    write(folder, phases=phases, masking_rate=0.3, static_masking=True)
    assert main(command) == 1
    assert "made with another settings" in capsys.readouterr().err
    (folder / "text/train1.txt").write_text("Other text. Of two sentences.\n\nAnd another.")
    write(folder, phases=phases)
    assert main(command) == 1
    assert "made with another source_sha256" in capsys.readouterr().err
    assert (folder / "run/checkpoint.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": None}, "the recipe lacks learning_rate; its fields are train, held_out"),
        ({"learning_rte": 1.0}, "the recipe does not know learning_rte"),
        ({"phases": [{"steps": 4}]}, "a phase lacks sequence_length, batch_size"),
        ({"phases": []}, "phases is empty: name at least one"),
        (
            {"phases": [{"sequence_length": 64, "batch_size": 2, "steps": 4}]},
            r"phases\[0\].sequence_length is 64, but the encoder has 48 positions: shorten it",
        ),
        (
            {"phases": [{"sequence_length": 24, "batch_size": 2, "steps": 6}]},
            r"phases\[0\].steps must be a multiple of evaluate_every, received 6 and 4",
        ),
        (
            {"phases": [{"sequence_length": 24, "batch_size": 3, "steps": 4}]},
            r"phases\[0\].batch_size must be a multiple of gradient_accumulation, received 3 and 2",
        ),
        (
            {"phases": [{"sequence_length": 24, "batch_size": 0, "steps": 4}]},
            r"phases\[0\].batch_size must be a positive integer, received 0",
        ),
        (
            {"optimizer": "sgd"},
            "The optimizers are adamw, lamb, lion, muon, schedule-free; received 'sgd'",
        ),
        ({"encoder": {"preset": "giant"}}, "Unknown preset 'giant'"),
        (
            {"encoder": {"preset": "tiny", "architecture": "modernbert"}},
            "next_sentence is true, but the encoder's architecture is 'modernbert', which .* false",
        ),
        ({"generator_layers": 1}, "generator_layers is 1, and next_sentence is true: leave one"),
        ({"generator_layers": 1.0}, "generator_layers must be 0 or a positive integer, .* 1.0"),
        ({"warmup_ratio": 1.0}, r"warmup_ratio must be in \[0, 1\), received 1.0"),
    ],
)
def test_a_recipe_that_is_refused(folder: Path, changes: dict[str, Any], message: str) -> None:
    path = write(folder, **changes)
    with pytest.raises(ValueError, match=f"recipe.yaml is refused: .*{message}"):
        PretrainingRecipe.from_yaml(path)


def test_files_that_are_missing(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"There is no file .*gone\*.txt: check the recipe"):
        PretrainingRecipe.from_yaml(write(folder, train=["gone*.txt"]))
    with pytest.raises(FileNotFoundError, match="There is no recipe .*nothing.yaml"):
        PretrainingRecipe.from_yaml(folder / "nothing.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "is not YAML"),
        ("a: 2026-13-41", "is not YAML: month must be in"),
        (f"a: {'9' * 5000}", "is not YAML: Exceeds the limit"),
        ("a: \xff", "is not UTF-8"),
        ("a: " + "[" * 100_000, "is nested too deeply: a recipe has lists and fields of three"),
        ("a: " + "[" * 2_000 + "]" * 2_000, "is nested too deeply"),
        ("a: " + "{a: " * 2_000, "is nested too deeply"),
        # Ten lines, ten thousand million words.
        (
            "a0: &a0 [lol]\n"
            + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 11)),
            r"the alias \*a0 is not read: write out what it stands for",
        ),
        ("a: &a [*a]", r"the alias \*a is not read"),
        ("a: &a {b: 1}\nc:\n  <<: [*a, *a]", r"the alias \*a is not read"),
        ("1: 2\na: 3", "the recipe does not know 1, a and lacks train"),
    ],
    ids=lambda text: text[:20],
)
def test_hostile_yaml(folder: Path, text: str, message: str) -> None:
    (folder / "recipe.yaml").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=f"recipe.yaml .*{message}"):
        PretrainingRecipe.from_yaml(folder / "recipe.yaml")


def test_too_little_text_is_refused_before_any_step(folder: Path) -> None:
    (folder / "text/held_out.txt").write_text("One sentence only.")
    with pytest.raises(ValueError, match="held_out.txt has 1 documents of at most"):
        pretrain(PretrainingRecipe.from_yaml(folder / "recipe.yaml"), folder / "run")
    assert not (folder / "run/checkpoint.safetensors").exists()


@pytest.mark.parametrize(
    ("optimizer", "encoder"),
    [
        pytest.param("lamb", {}, marks=pytest.mark.slow),
        pytest.param("lion", {}, marks=pytest.mark.slow),
        pytest.param("muon", {}, marks=pytest.mark.slow),
        ("adamw", {"architecture": "modernbert", "local_window": 8, "global_every": 2}),
    ],
    ids=["lamb", "lion", "muon", "adamw-modernbert"],
)
def test_every_optimizer_trains(folder: Path, optimizer: str, encoder: dict[str, Any]) -> None:
    recipe = PretrainingRecipe.from_yaml(folder / "recipe.yaml")
    phase = dataclasses.replace(recipe.phases[0], steps=12)
    recipe = dataclasses.replace(
        recipe,
        phases=[phase],
        encoder={**recipe.encoder, **encoder},
        optimizer=optimizer,
        learning_rate=0.003 if optimizer == "lion" else 0.03,
        gradient_accumulation=1,
        next_sentence=False,
    )
    pretrain(recipe, folder / "run")
    history = json.loads((folder / "run/history.json").read_text())
    assert history["val_loss"][-1] < history["val_loss"][0] - 0.02
