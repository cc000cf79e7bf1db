"""The order of the sub-layers and norms, with answers worked out by hand."""

import math
from typing import Any

import numpy as np
import pytest

from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.layers.attention import padding_bias
from keras_bert_scratch.layers.pre_norm_block import PreNormBlock

X = np.array([[[3, 1, -1, -3]]], "float32")  # mean 0, variance 5
NORM = X / math.sqrt(5)


def config(**changes: Any) -> BertConfig:
    sizes = {"num_layers": 4, "num_heads": 1, "hidden_dim": 4, "feed_forward_dim": 4}
    fields = {**sizes, "activation": "relu", "local_window": 2, **changes}
    return BertConfig(architecture="modernbert", **fields)


def block(index: int = 1, **changes: Any) -> PreNormBlock:
    """A block whose sub-layers return 0."""
    block = PreNormBlock(config(**changes), index)
    block.build((None, None, 4))
    block.attention.query_key_value.kernel.assign(np.zeros((4, 12)))
    block.attention.output_projection.kernel.assign(np.zeros((4, 4)))
    block.feed_forward.contract.kernel.assign(np.zeros((4, 4)))
    return block


def pass_values(block: PreNormBlock) -> None:
    """Lets attention return its input where there is one position."""
    values = np.concatenate([np.zeros((4, 8)), np.eye(4)], axis=1)
    block.attention.query_key_value.kernel.assign(values)
    block.attention.output_projection.kernel.assign(np.eye(4))


def test_the_residual_is_not_normalized() -> None:
    np.testing.assert_array_equal(block()(X), X)


def test_attention_reads_the_norm_and_is_added_to_the_input() -> None:
    layer = block()
    pass_values(layer)
    np.testing.assert_allclose(layer(X), X + NORM, rtol=1e-5)


def test_the_first_block_reads_its_input_as_it_is() -> None:
    layer = block(index=0)
    pass_values(layer)
    np.testing.assert_allclose(layer(X), X + X, rtol=1e-5)


def test_feed_forward_reads_the_norm_of_the_sum() -> None:
    layer = block()
    pass_values(layer)
    # X + NORM is a multiple of X, so that its norm is that of X; relu(x) * x, then times 1.
    layer.feed_forward.expand.kernel.assign(np.concatenate([np.eye(4), np.eye(4)], axis=1))
    layer.feed_forward.contract.kernel.assign(np.eye(4))
    expected = X + NORM + np.array([[[9 / 5, 1 / 5, 0, 0]]])
    np.testing.assert_allclose(layer(X), expected, rtol=1e-5)


def test_the_last_block_normalizes_what_it_returns() -> None:
    np.testing.assert_allclose(block(index=3)(X), NORM, rtol=1e-5)


def test_every_norm_has_the_epsilon_and_no_bias() -> None:
    layer = block(index=3, layer_norm_epsilon=4.0)
    norms = (layer.attention_norm, layer.feed_forward_norm, layer.output_norm)
    for norm in norms:
        assert [weight.name for weight in norm.weights] == ["gamma"]
        np.testing.assert_allclose(norm(X), X / math.sqrt(5 + 4), rtol=1e-5)


def test_attention_is_local_or_global_by_the_index() -> None:
    layers = [PreNormBlock(config(), index).attention for index in range(4)]
    assert [(layer.window, layer.rope_theta) for layer in layers] == [
        (None, 160_000.0), (2, 10_000.0), (2, 10_000.0), (None, 160_000.0),
    ]  # fmt: skip


@pytest.mark.parametrize("index", [1, 3], ids=["local", "global"])
def test_attention_is_masked_and_returned_on_request(index: int) -> None:
    x = np.concatenate([X, -X], axis=1)
    bias = padding_bias(np.array([[1, 0]]), "float32")
    layer = block(index, num_layers=9)
    outputs, probabilities = layer(x, attention_bias=bias, return_attention=True)
    assert outputs.shape == (1, 2, 4)
    np.testing.assert_allclose(probabilities, [[[[1, 0], [1, 0]]]], atol=1e-12)


@pytest.mark.parametrize("num_layers", [2, 3], ids=["last", "inner"])
def test_first_only_is_the_first_of_all(num_layers: int) -> None:
    layer = PreNormBlock(config(num_layers=num_layers, num_heads=2, initializer_range=0.5), 1)
    x = np.random.default_rng(0).normal(size=(2, 5, 4)).astype("float32")
    whole = np.array(layer(x))
    np.testing.assert_allclose(layer(x, first_only=True), whole[:, :1], rtol=0, atol=1e-6)
