"""The gated feed-forward network, with answers worked out by hand."""

import numpy as np

from keras_bert_scratch.layers.gated_feed_forward import GatedFeedForward


def test_the_first_half_is_activated_and_the_second_is_its_gate() -> None:
    layer = GatedFeedForward(hidden_dim=2, feed_forward_dim=1, activation="relu")
    layer.build((None, None, 2))
    layer.expand.kernel.assign([[1, 0], [0, 1]])  # feature 0 is activated, feature 1 the gate
    layer.contract.kernel.assign([[1, 10]])
    # relu(2) * -3 = -6; relu(-2) * -3 = 0.
    outputs = layer(np.array([[[2, -3], [-2, -3]]], "float32"))
    np.testing.assert_allclose(outputs, [[[-6, -60], [0, 0]]])


def test_it_has_no_biases() -> None:
    layer = GatedFeedForward(hidden_dim=3, feed_forward_dim=5)
    np.testing.assert_array_equal(layer(np.zeros((1, 2, 3))), np.zeros((1, 2, 3)))
    assert layer.count_params() == 3 * 2 * 5 + 5 * 3
