"""Files whose head learns on the device."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from tensorflow.lite.python import schema_py_generated as schema

from keras_bert_scratch.serving import load_predictor
from keras_bert_scratch.serving.packed import encode_code_points

LEARNS = {"format": "litert", "inputs": "code_points", "trainable": "head", "num_code_points": 64}
RATE = np.array([0.3], np.float32)


@pytest.fixture(scope="module")
def model(tiny_classifier):
    return tiny_classifier(changes={"dropout": 0.0, "attention_dropout": 0.0}, temperature=1.7)


@pytest.fixture(scope="module")
def path(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("learning") / "x.tflite"
    model.export(path, **LEARNS)
    return path


def learn(file, head, text, label):
    step = file.get_signature_runner("train")(
        code_points=encode_code_points(text, 64),
        label=np.array([label], np.int32),
        learning_rate=RATE,
        **head,
    )
    return {name: step[name] for name in ("kernel", "bias")}, float(step["loss"][0])


def test_200_steps_are_those_of_keras(model, path, reviews):
    texts, labels = reviews[0], [model.labels.index(label) for label in reviews[1]]
    order = np.random.default_rng(0).integers(len(texts), size=200)
    file = Interpreter(str(path))
    head = file.get_signature_runner("head")()
    np.testing.assert_array_equal(head["kernel"], model.head.logits.kernel)
    infer = file.get_signature_runner("infer")

    def right(head):
        rows = [infer(code_points=encode_code_points(t, 64), **head) for t in texts]
        return np.mean(
            [r["probabilities"].argmax() == y for r, y in zip(rows, labels, strict=True)]
        )

    before, losses = right(head), []
    for i in order:
        head, loss = learn(file, head, texts[i], labels[i])
        losses.append(loss)

    theirs = keras.models.clone_model(model)
    theirs.set_weights(model.get_weights())
    theirs.encoder.trainable = False
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    theirs.compile(keras.optimizers.SGD(float(RATE[0])), loss=loss, metrics=[])
    found = theirs.evaluate([texts[order[0]]], [reviews[1][order[0]]], verbose=0)
    np.testing.assert_allclose(losses[0], found, atol=1e-5)
    for i in order:
        theirs.train_on_batch([texts[i]], [reviews[1][i]])
    np.testing.assert_allclose(head["kernel"], theirs.head.logits.kernel, atol=1e-5)
    np.testing.assert_allclose(head["bias"], theirs.head.logits.bias, atol=1e-5)
    assert np.abs(head["kernel"] - model.head.logits.kernel).max() > 0.1
    assert right(head) > before + 0.1
    rows = [infer(code_points=encode_code_points(t, 64), **head)["probabilities"] for t in texts]
    np.testing.assert_allclose(np.concatenate(rows), theirs.probabilities(texts), atol=1e-5)


def test_it_answers_as_any_other_file(model, path):
    texts = ["a good film", "\u00fcber 电影", ""]
    reader = load_predictor(path)
    np.testing.assert_allclose(reader.probabilities(texts), model.probabilities(texts), atol=1e-5)


# An app that learns from three texts and stores the head after each step, with LiteRT and numpy
# alone. It is killed within the step of the given number.
APP = """
import os, sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter
path, state, killed = sys.argv[1], sys.argv[2], int(sys.argv[3])
file = Interpreter(path)
head, done = file.get_signature_runner("head")(), 0
if os.path.exists(state):
    with np.load(state) as stored:
        head, done = {name: stored[name] for name in ("kernel", "bias")}, int(stored["done"])
for step in range(done, 3):
    row = np.zeros((1, 64), np.int32)
    text = ["a good film", "an awful movie", "great"][step]
    row[0, : len(text)] = [ord(c) for c in text]
    head = file.get_signature_runner("train")(
        code_points=row, label=np.array([step % 2], np.int32),
        learning_rate=np.array([0.3], np.float32), **head)
    del head["loss"]
    if step == killed:
        os.kill(os.getpid(), 9)
    np.savez(state + ".new.npz", done=step + 1, **head)
    os.replace(state + ".new.npz", state)
"""


def test_a_killed_app_loses_no_more_than_the_last_step(path, tmp_path):
    state = tmp_path / "head.npz"
    run = [sys.executable, "-c", APP, str(path), str(state)]
    assert subprocess.run([*run, "1"], check=False).returncode == -9
    assert np.load(state)["done"] == 1
    subprocess.run([*run, "-1"], check=True)
    file = Interpreter(str(path))
    head = file.get_signature_runner("head")()
    for number, text in enumerate(["a good film", "an awful movie", "great"]):
        head, _ = learn(file, head, text, number % 2)
    with np.load(state) as stored:
        assert stored["done"] == 3
        for name, value in head.items():
            np.testing.assert_array_equal(stored[name], value)


@pytest.mark.slow
def test_an_int8_encoder_under_a_float_head(tiny_classifier, tmp_path):
    # Matrices of fewer than 1,024 weights stay floats.
    model = tiny_classifier(changes={"hidden_dim": 64, "feed_forward_dim": 64})
    path = tmp_path / "x.tflite"
    model.export(path, precision="int8", **LEARNS)
    file = Interpreter(str(path))
    head = file.get_signature_runner("head")()
    row = encode_code_points("a very good film", 64)
    found = file.get_signature_runner("infer")(code_points=row, **head)["probabilities"]
    wanted = file.get_signature_runner("serving_default")(code_points=row)["probabilities"]
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    again, loss = learn(file, head, "a very good film", 1)
    assert np.isfinite(loss)
    assert learn(file, again, "a very good film", 1)[1] < loss
    subgraphs = schema.ModelT.InitFromPackedBuf(path.read_bytes()).subgraphs
    assert schema.TensorType.INT8 in {t.type for subgraph in subgraphs for t in subgraph.tensors}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trainable": "encoder"}, "trainable must be 'head' or None, received 'encoder'"),
        ({"inputs": "ids", "num_code_points": None}, "inputs='ids' and pairs=False: use inputs="),
        ({"pairs": True}, "inputs='code_points' and pairs=True: use inputs='code_points'"),
    ],
)
def test_options_that_are_refused(model, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        model.export(tmp_path / "x.tflite", **{**LEARNS, **options})
    assert list(tmp_path.iterdir()) == []


def test_models_that_are_refused(tiny_classifier, models, tmp_path):
    for other in (tiny_classifier(multi_label=True), tiny_classifier(labels=["score"])):
        with pytest.raises(ValueError, match="exactly one of several labels: fine-tune"):
            other.export(tmp_path / "x.tflite", **LEARNS)
    with pytest.raises(
        ValueError, match="trainable='head' is for classifiers, received a tagger: fine-tune"
    ):
        models("tagger").export(tmp_path / "x.tflite", **LEARNS)
