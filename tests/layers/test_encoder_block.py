"""The order of the sub-layers, with answers worked out by hand."""

import math
from typing import Any

import numpy as np
import pytest

from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.layers.attention import padding_bias
from keras_bert_scratch.layers.encoder_block import EncoderBlock

X = np.array([[[3, 1, -1, -3]]], "float32")  # mean 0, variance 5


def make(hidden_dim: int = 4, **changes: Any) -> EncoderBlock:
    """Returns a block whose sub-layers return 0."""
    sizes = {"num_heads": 1, "hidden_dim": hidden_dim, "feed_forward_dim": hidden_dim}
    block = EncoderBlock(BertConfig(**sizes, activation="relu", **changes))
    block.build((None, None, hidden_dim))
    for dense in (block.attention.output_projection, block.feed_forward.contract):
        dense.kernel.assign(np.zeros((hidden_dim, hidden_dim)))
    return block


@pytest.fixture
def block() -> EncoderBlock:
    return make()


def test_without_sub_layers_it_is_the_norm_of_the_residual(block: EncoderBlock) -> None:
    np.testing.assert_allclose(block(X), X / math.sqrt(5), rtol=1e-5)


def test_feed_forward_reads_the_first_norm_and_is_added_to_it(block: EncoderBlock) -> None:
    block.attention_norm.gamma.assign([math.sqrt(5)] * 4)  # the first norm gives X again
    block.feed_forward.expand.kernel.assign(np.eye(4))
    block.feed_forward.contract.kernel.assign(np.eye(4))
    # X + relu(X) = (6, 2, -1, -3): mean 1, less the mean (5, 1, -2, -4), variance 46/4.
    expected = np.array([[[5, 1, -2, -4]]]) / math.sqrt(11.5)
    np.testing.assert_allclose(block(X), expected, rtol=1e-5)


def test_attention_reads_the_input_and_is_added_to_it(block: EncoderBlock) -> None:
    block.attention.value.kernel.assign(np.eye(4))
    block.attention.output_projection.kernel.assign(np.diag([1, 1, 1, 3]))
    # One position attends to itself: X + (3, 1, -1, -9) = (6, 2, -2, -12), mean -1.5,
    # less the mean (7.5, 3.5, -0.5, -10.5), variance (56.25 + 12.25 + 0.25 + 110.25) / 4.
    expected = np.array([[[7.5, 3.5, -0.5, -10.5]]]) / math.sqrt(44.75)
    np.testing.assert_allclose(block(X), expected, rtol=1e-5)


def test_every_norm_has_the_epsilon() -> None:
    block = make(2, layer_norm_epsilon=3.0)
    # (1, -1) has variance 1: divided by sqrt(1 + 3); then (1/2, -1/2), by sqrt(1/4 + 3).
    expected = np.array([[[0.5, -0.5]]]) / math.sqrt(3.25)
    np.testing.assert_allclose(block(np.array([[[1, -1]]], "float32")), expected, rtol=1e-5)


def test_attention_is_masked_and_returned_on_request(block: EncoderBlock) -> None:
    x = np.concatenate([X, -X], axis=1)
    bias = padding_bias(np.array([[1, 0]]), "float32")
    outputs, probabilities = block(x, attention_bias=bias, return_attention=True)
    assert outputs.shape == (1, 2, 4)
    np.testing.assert_allclose(probabilities, [[[[1, 0], [1, 0]]]], atol=1e-12)
