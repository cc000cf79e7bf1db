"""Two processes or replicas learn what one learns from the same batches, and recover from a kill.

The tests of several processes are slow:

python -m pytest tests/training/test_distribution.py -m slow
"""

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_bert_scratch.tasks.distiller import Distiller
from keras_bert_scratch.tasks.token_classifier import BertTokenClassifier
from keras_bert_scratch.training.adversarial import AdversarialTraining
from keras_bert_scratch.training.distribution import check_batch_size, distribution_strategy
from keras_bert_scratch.training.losses import InBatchContrastiveLoss
from keras_bert_scratch.training.optimizers import adamw

WORKER = Path(__file__).with_name("distribution_worker.py")
ROOT = Path(__file__).parents[2]


def free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def start(*settings: dict[str, Any]) -> list[subprocess.Popen[str]]:
    """Starts one process for each settings; several make a cluster."""
    ports = free_ports(len(settings))
    workers = [f"127.0.0.1:{port}" for port in ports]
    processes = []
    for index, one in enumerate(settings):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
        if len(settings) > 1:
            one = {**one, "distribute": "multi-worker"}
            task = {"type": "worker", "index": index}
            environment["TF_CONFIG"] = json.dumps({"cluster": {"worker": workers}, "task": task})
        processes.append(
            subprocess.Popen(
                [sys.executable, WORKER, json.dumps(one)],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    return processes


def results(processes: list[subprocess.Popen[str]]) -> list[dict[str, Any]]:
    """Waits for processes, and returns what each printed; of a killed one, nothing."""
    found = []
    for process in processes:
        output, errors = process.communicate(timeout=1800)
        lines = [line for line in output.splitlines() if line.startswith("{")]
        assert lines or process.returncode == -signal.SIGKILL, errors
        found.append(json.loads(lines[-1]) if lines else {})
    return found


def wait_for_epoch(file: Path, epoch: int) -> None:
    end = time.monotonic() + 1800
    while not file.exists() or int(file.read_text() or -1) < epoch:
        assert time.monotonic() < end
        time.sleep(0.1)


def difference(left: dict[str, Any], right: dict[str, Any]) -> dict[str, float]:
    assert left.keys() == right.keys()
    return {
        name: float(np.abs(np.subtract(left[name], right[name])).max())
        for name in left
        if "seed_generator" not in name
    }


@pytest.mark.slow(minutes=2)
def test_two_processes_equal_one(tmp_path: Path) -> None:
    # Epochs of 73 examples: 9 x 8, and 1.
    epochs = {"sgd": 5, "adamw": 5, "accumulating adamw": 15}

    def settings(run: str) -> dict[str, Any]:
        first, *others = (
            {"optimizer": optimizer, "epochs": number, "look": True}
            | {"checkpoint": str(tmp_path / f"{run} {optimizer}.safetensors")}
            for optimizer, number in epochs.items()
        )
        return {**first, "then": others}

    runs = results([*start(settings("one")), *start(settings("two"), settings("two"))])
    trainings = zip(*([run, *run["then"]] for run in runs), strict=True)
    for optimizer, (one, first, second) in zip(epochs, trainings, strict=True):
        assert one["updates"] == first["updates"] == 50
        assert first["hash"] == second["hash"] != one["hash"]

        found = difference(one["weights"], first["weights"])
        # A key's bias moves all scores of a query alike, which the softmax ignores: its gradient is
        # rounding error alone, and Adam makes steps of the learning rate from it.
        rounding = {name: found.pop(name) for name in list(found) if name.endswith("key/bias")}
        assert len(rounding) == 1  # of one layer
        assert max(found.values()) <= 1e-6
        assert max(rounding.values()) <= (1e-6 if "sgd" in optimizer else 1e-3)
        np.testing.assert_allclose(first["logits"], one["logits"], atol=2e-6)
        for name, values in one["history"].items():
            np.testing.assert_allclose(first["history"][name], values, rtol=1e-5)
            assert first["history"][name] == second["history"][name]

        for epoch, every_example in enumerate(one["given"]):
            assert len(every_example) == 73
            ours, theirs = first["given"][epoch], second["given"][epoch]
            assert (len(ours), len(theirs)) == (9 * 4 + 1, 9 * 4)
            assert sorted(ours + theirs) == sorted(every_example)


# Each in a process of its own: TensorFlow numbers the sums of all models of a process together.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "optimizer", "updates"),
    [
        ("classifier", "accumulating sgd", 2),
        ("classifier", "sgd", 8),
        ("tagger", "sgd", 8),
        ("answerer", "sgd", 8),
        ("summarizer", "sgd", 8),
        ("sentence encoder", "sgd", 8),
        ("pretrainer", "sgd", 8),
    ],
)
def test_two_replicas_equal_one(tmp_path: Path, task: str, optimizer: str, updates: int) -> None:
    one = {"task": task, "optimizer": optimizer, "epochs": 2, "examples": 25}  # 3 x 8, and 1
    two = {"checkpoint": str(tmp_path / "two.safetensors"), "distribute": "two CPUs"}
    # The second training of a classifier goes on from the first.
    then = [{**two, "epochs": 1}, two] if task == "classifier" else [two]
    (one,) = results(start({**one, "checkpoint": str(tmp_path / "one"), "then": then}))
    two = one["then"][-1]
    assert two["start"] == len(then) - 1
    assert one["hash"] != two["hash"]
    if task in ("classifier", "tagger"):
        assert one["updates"] == two["updates"] == updates
    bound = 1e-6 if task == "classifier" else 1e-5
    assert max(difference(one["weights"], two["weights"]).values()) <= bound
    assert {"loss", "val_loss"} <= {*one["history"]}
    for name, values in one["history"].items():
        # Keras logs the loss of each of several heads as a mean of means.
        if not name.endswith("_loss") or name == "val_loss":
            np.testing.assert_allclose(two["history"][name], values, rtol=1e-5)
    assert one.get("evaluated") == two.get("evaluated")


@pytest.mark.slow(minutes=2)
def test_goes_on_after_a_kill(tmp_path: Path) -> None:
    settings = {"optimizer": "adamw", "dropout": 0.1}
    whole_file, broken_file = tmp_path / "whole.safetensors", tmp_path / "broken.safetensors"
    whole = {**settings, "checkpoint": str(whole_file)}
    unbroken = results(start(whole, whole))
    assert unbroken[0]["hash"] == unbroken[1]["hash"]

    broken = {**settings, "checkpoint": str(broken_file)}
    progress = tmp_path / "progress"
    processes = start(broken, {**broken, "progress": str(progress)})
    wait_for_epoch(progress, 1)
    processes[1].kill()
    killed = time.monotonic()
    survivor, _ = results(processes)
    print(f"The other worker ended {time.monotonic() - killed:.1f} s after the kill.")
    assert "WorkerLostError: A worker stopped answering (" in survivor["error"]
    assert "start all workers again, or fewer" in survivor["error"]

    # One process, without a cluster, from a copy; then two.
    alone_file = tmp_path / "alone.safetensors"
    alone_file.write_bytes(broken_file.read_bytes())
    (alone,) = results(start({**settings, "checkpoint": str(alone_file)}))
    again = results(start(broken, broken))
    assert again[0]["start"] == again[1]["start"] == alone["start"] >= 2
    assert again[0]["hash"] == again[1]["hash"] == unbroken[0]["hash"]
    assert again[0]["history"] == unbroken[0]["history"]
    assert alone["updates"] == 50
    # Dropout draws otherwise in another number of replicas: close, not equal.
    np.testing.assert_allclose(alone["history"]["loss"], unbroken[0]["history"]["loss"], rtol=0.1)
    assert alone["history"]["loss"][:2] == unbroken[0]["history"]["loss"][:2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"examples": 72}, "ValueError: The workers do not have the same data (worker 1) as"),
        ({"seed": 1}, "ValueError: The workers do not have the same seed (worker 1) as worker 0: "),
    ],
)
def test_workers_that_differ_are_found(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    settings = {"optimizer": "sgd", "checkpoint": str(tmp_path / "a.safetensors")}
    for result in results(start(settings, {**settings, **changes})):
        assert result["error"].startswith(message)
    assert not (tmp_path / "a.safetensors").exists()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", r"TF_CONFIG is '', which cannot be read \(JSONDecodeError"),
        ("{}", r"which cannot be read \(KeyError: 'cluster'\): set it on every worker, like \{"),
        (
            '{"cluster": {"worker": []}, "task": {"type": "worker", "index": 0}}',
            "cluster.worker must be a list of addresses",
        ),
        (
            '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}',
            "lists 2 workers, so there is no worker 2; index must be from 0 to 1",
        ),
        (
            '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "ps", "index": 0}}',
            "all tasks of the cluster must be of type worker",
        ),
    ],
)
def test_bad_tf_config(monkeypatch, value: str, message: str) -> None:
    monkeypatch.setenv("TF_CONFIG", value)
    with pytest.raises(ValueError, match=message):
        distribution_strategy("multi-worker")


def test_a_batch_that_cannot_be_shared() -> None:
    three = types.SimpleNamespace(num_replicas_in_sync=3)
    check_batch_size(9, three)
    check_batch_size(12, three, parts=2)
    with pytest.raises(ValueError, match="The batch size 8 .* all 3 replicas .* such as 9"):
        check_batch_size(8, three)
    with pytest.raises(ValueError, match="3 replicas together, in 2 parts, .* such as 12"):
        check_batch_size(9, three, parts=2)


def test_class_weight_of_texts_is_their_sample_weight(tiny_classifier, reviews) -> None:
    texts, labels = reviews
    losses = []
    for weights in (
        {"class_weight": {"positive": 3.0}},
        {"sample_weight": [3.0 if label == "positive" else 1.0 for label in labels]},
    ):
        with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
            model = tiny_classifier(changes={"dropout": 0.0, "attention_dropout": 0.0})
            model.compile("sgd")
        losses.append(model.fit(texts, labels, verbose=0, **weights).history["loss"][0])
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_what_is_refused(tiny_classifier, reviews) -> None:
    mean = keras.losses.MeanSquaredError(reduction="mean_with_sample_weight")
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = tiny_classifier()
        scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())
        for arguments, message in (
            ({"optimizer": keras.optimizers.SGD(use_ema=True)}, "use_ema=True .*; omit it"),
            ({"optimizer": scaled}, 'Loss scaling does not work .* use dtype="mixed_bfloat16"'),
            ({"loss": InBatchContrastiveLoss()}, "InBatchContrastiveLoss does not work under"),
            ({"steps_per_execution": 2}, "steps_per_execution=2 does not .*; omit it"),
            ({"training_step": AdversarialTraining()}, "AdversarialTraining does not work under"),
            ({"loss": [mean, "mse"]}, "None of several losses under tf.distribute can be a mean"),
        ):
            with pytest.raises(ValueError, match=message):
                model.compile(**{"optimizer": "sgd", **arguments})
        distiller = Distiller(tiny_classifier(), tiny_classifier(), hidden_weight=1.0)
        with pytest.raises(ValueError, match="hidden_weight and attention_weight do not work und"):
            distiller.compile("sgd")
        model.compile("sgd")
    texts, labels = reviews
    dataset = tf.data.Dataset.from_tensor_slices((texts, labels)).batch(8)
    with pytest.raises(ValueError, match="class_weight does not work .* as sample_weight"):
        model.fit(dataset, class_weight={0: 1.0})
    with pytest.raises(TypeError, match="texts or a tf.data.Dataset .*, received dict"):
        model.fit({"token_ids": np.zeros((2, 4))}, np.zeros(2))
    model.truncation = "windows"
    with pytest.raises(ValueError, match="separate the windows of one text: validate on a copy"):
        model.evaluate(texts, labels)


class TestLossWeight:
    """What a loss is a mean over: worked out by hand."""

    @pytest.mark.parametrize(
        ("loss", "sample_weight", "expected"),
        [
            ("mse", None, 2),
            (keras.losses.MeanSquaredError(), [3.0, 4.0], 2),
            (keras.losses.MeanSquaredError(reduction="sum"), None, 1),
            (keras.losses.MeanSquaredError(reduction="mean_with_sample_weight"), [3.0, 4.0], 7),
            (keras.losses.SparseCategoricalCrossentropy(ignore_class=-1), None, 3),
            (
                keras.losses.SparseCategoricalCrossentropy(
                    ignore_class=-1, reduction="mean_with_sample_weight"
                ),
                [[0.5], [2.0]],
                3,
            ),
            ({"a": "mse", "b": keras.losses.MeanSquaredError()}, None, 2),
        ],
    )
    def test_denominators(self, tiny_classifier, loss, sample_weight, expected) -> None:
        model = tiny_classifier()
        model.compile("sgd", loss, metrics=[])
        inputs, y = {"token_ids": np.zeros((2, 3))}, tf.constant([[1, -1, 0], [-1, -1, 2]])
        assert float(model.loss_weight(inputs, y, sample_weight)) == expected

    def test_the_loss_over_a_data_set_does_not_depend_on_the_batch_size(
        self, tiny_classifier
    ) -> None:
        base = tiny_classifier()
        model = BertTokenClassifier(base.encoder, ["O", "B-x"], base.tokenizer)
        model.compile("sgd")
        words = [["good"], ["a", "very", "bad", "film"], ["film", "good"]]
        tags = [["O"], ["O", "O", "B-x", "O"], ["B-x", "O"]]
        losses = []
        for size in (1, 2, 3):
            dataset = model.dataset(model.batches(words, tags, batch_size=size))
            losses.append(keras.Model.evaluate(model, dataset, verbose=0)[0])
        assert losses == pytest.approx(losses[:1] * 3, rel=1e-6)


def test_a_trained_model_is_let_go(tiny_classifier, reviews) -> None:
    def graphs() -> int:
        keras.utils.clear_session()
        gc.collect()
        gc.collect()
        return sum(type(one).__name__ == "FuncGraph" for one in gc.get_objects())

    def train() -> None:
        model = tiny_classifier()
        model.compile(adamw(1e-3, total_steps=10))
        model.fit(*reviews, batch_size=24, verbose=0)

    train()
    before = graphs()
    train()
    assert graphs() <= before


def test_clips_by_the_norm_of_the_gradient(tiny_classifier) -> None:
    # Both rows have the same token twice: the norm over occurrences would be smaller.
    model = tiny_classifier()
    model.compile(keras.optimizers.SGD(1.0, global_clipnorm=1e-3), metrics=[])
    before = [keras.ops.convert_to_numpy(weight) for weight in model.trainable_weights]
    model.fit(["good good", "good good"], [1, 0], batch_size=2, verbose=0)
    steps = [
        keras.ops.convert_to_numpy(weight) - old
        for weight, old in zip(model.trainable_weights, before, strict=True)
    ]
    norm = np.sqrt(sum((step.astype("float64") ** 2).sum() for step in steps))
    np.testing.assert_allclose(norm, 1e-3, rtol=1e-3)


def test_unknown_strategy() -> None:
    with pytest.raises(ValueError, match='"mirrored" or "multi-worker", received \'tpu\''):
        distribution_strategy("tpu")
    assert distribution_strategy(None) is tf.distribute.get_strategy()


@pytest.mark.parametrize(("backend", "name"), [("jax", "multi-worker"), ("torch", "mirrored")])
def test_other_backends(monkeypatch, backend: str, name: str) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    with pytest.raises(ValueError, match=f"is {backend}, received '{name}': set KERAS_BACKEND="):
        distribution_strategy(name)
