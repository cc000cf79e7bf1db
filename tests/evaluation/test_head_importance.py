"""Importance of heads, against what it is by definition: the loss's change by a factor."""

import keras
import numpy as np
import pytest

from keras_bert_scratch import enable_lora
from keras_bert_scratch.evaluation.head_importance import head_importance

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="gradients are TensorFlow's"
)

TEXTS = ["a really great film", "the awful, awful movie", "a movie"]


def losses(model, true):
    """Those of each text, by the definition of cross-entropy; `true` is 0 or 1, (n, C)."""
    p = model.probabilities(TEXTS).astype("float64")
    if model.multi_label:
        return -(true * np.log(p) + (1 - true) * np.log(1 - p)).mean(1)
    return -(true * np.log(p)).sum(1)


@pytest.mark.parametrize(
    ("settings", "labels", "true"),
    [
        ({}, ["positive", "negative", "positive"], [[0, 1], [1, 0], [0, 1]]),
        (
            {"multi_label": True},
            [["positive"], [], ["negative", "positive"]],
            [[0, 1], [0, 0], [1, 1]],
        ),
        (
            {"changes": {"architecture": "modernbert", "num_layers": 2, "local_window": 2}},
            ["positive", "negative", "positive"],
            [[0, 1], [1, 0], [0, 1]],
        ),
    ],
)
def test_is_the_mean_change_of_the_loss_by_a_factor(two_layer_classifier, settings, labels, true):
    model = two_layer_classifier(**settings)
    found = head_importance(model, TEXTS, labels)
    step = 1e-2
    for layer, block in enumerate(model.encoder.blocks):
        kernel = block.attention.output_projection.kernel
        start = keras.ops.convert_to_numpy(kernel).copy()
        for head in range(2):
            changed = []
            for sign in (1, -1):
                values = start.copy()
                values[8 * head : 8 * (head + 1)] *= 1 + sign * step
                kernel.assign(values)
                changed.append(losses(model, np.array(true)))
            kernel.assign(start)
            expected = np.abs((changed[0] - changed[1]) / (2 * step)).mean()
            assert found[layer, head] == pytest.approx(expected, rel=0.01, abs=1e-5)
    assert found.shape == (2, 2)
    assert (found > 1e-4).all()


def test_a_head_that_says_nothing(two_layer_classifier):
    model = two_layer_classifier()
    kernel = model.encoder.blocks[1].attention.output_projection.kernel
    kernel.assign(keras.ops.convert_to_numpy(kernel) * np.repeat([1, 0], 8)[:, None])
    found = head_importance(model, TEXTS, ["positive", "negative", "positive"])
    assert found[1, 1] == 0
    assert (found[[0, 0, 1], [0, 1, 0]] > 0).all()


def test_an_unknown_label(two_layer_classifier):
    with pytest.raises(ValueError, match="good"):
        head_importance(two_layer_classifier(), TEXTS, ["positive", "negative", "good"])


def test_adapters(two_layer_classifier):
    model = two_layer_classifier()
    enable_lora(model.encoder, rank=2)
    with pytest.raises(ValueError, match="with adapters cannot be weighed: use merge_lora first"):
        head_importance(model, TEXTS, ["positive", "negative", "positive"])


def test_another_backend(two_layer_classifier, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(
        RuntimeError, match="TensorFlow's here, and Keras runs on jax: set KERAS_BA"
    ):
        head_importance(two_layer_classifier(), TEXTS, ["positive", "negative", "positive"])
