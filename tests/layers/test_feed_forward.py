"""The feed-forward network, with answers worked out by hand."""

import math
from statistics import NormalDist

import numpy as np
import pytest

from keras_bert_scratch.layers.feed_forward import FeedForward, gelu, gelu_tanh

POINTS = np.linspace(-6, 6, 97, dtype="float32")


def test_gelu_is_x_times_the_normal_distribution() -> None:
    expected = [float(x) * NormalDist().cdf(float(x)) for x in POINTS]
    np.testing.assert_allclose(gelu(POINTS), expected, atol=1e-6)


def test_gelu_tanh_is_its_approximation() -> None:
    expected = [
        0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        for x in POINTS.tolist()
    ]
    np.testing.assert_allclose(gelu_tanh(POINTS), expected, atol=1e-6)


def test_the_two_differ_where_they_should() -> None:
    difference = np.abs(np.array(gelu(POINTS)) - np.array(gelu_tanh(POINTS)))
    assert 4e-4 < difference.max() < 5e-4  # known: 4.73e-4, near |x| = 2.2


def test_two_layers_with_the_activation_between() -> None:
    # relu(x) + relu(-x) = |x|; then times 3, plus 10.
    layer = FeedForward(hidden_dim=1, feed_forward_dim=2, activation="relu")
    layer.build((None, None, 1))
    layer.expand.kernel.assign([[1, -1]])
    layer.contract.kernel.assign([[3], [3]])
    layer.contract.bias.assign([10])
    outputs = layer(np.array([[[-2], [0], [5]]], "float32"))
    np.testing.assert_allclose(outputs, [[[16], [10], [25]]])


@pytest.mark.parametrize(("name", "at_one"), [("gelu", 0.8413447), ("gelu_tanh", 0.8411920)])
def test_activation_is_chosen_by_name(name: str, at_one: float) -> None:
    layer = FeedForward(hidden_dim=1, feed_forward_dim=1, activation=name)
    layer.build((None, None, 1))
    layer.expand.bias.assign([1])
    layer.contract.kernel.assign([[1]])
    np.testing.assert_allclose(layer(np.zeros((1, 1, 1))), [[[at_one]]], atol=1e-6)
