import numpy as np
import pytest

from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.layers.decoder_block import DecoderBlock, causal_bias


def test_causal_bias_by_hand():
    expected = [[[[0, -60, -60], [0, 0, -60], [0, 0, 0]]]]
    np.testing.assert_array_equal(causal_bias(3, "float32"), expected)


@pytest.fixture
def block():
    block = DecoderBlock(BertConfig(num_heads=2, hidden_dim=4, feed_forward_dim=6))
    block.build()
    for weight in block.weights:
        # Nothing but the residuals and the norms: a gamma of 1, everything else 0.
        weight.assign(np.full(weight.shape, float("gamma" in weight.path)))
    return block


X = np.array([[[1.0, -1.0, 2.0, -2.0]]], "float32")
OTHER = np.array([[[4.0, 0.0, -4.0, 0.0]]], "float32")


def norm(x):
    return (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True)


def test_without_sub_layers_it_is_the_norm_of_the_residual(block):
    np.testing.assert_allclose(block(X, OTHER), norm(X), atol=1e-6)


def test_cross_attention_reads_the_encoder_and_is_added_after_the_first_norm(block):
    for name in ("value", "output_projection"):
        getattr(block.cross_attention, name).kernel.assign(np.eye(4))
    np.testing.assert_allclose(block(X, OTHER), norm(norm(X) + OTHER), atol=1e-6)


def test_self_attention_reads_the_given_keys_and_values(block):
    for name in ("value", "output_projection"):
        getattr(block.attention, name).kernel.assign(np.eye(4))
    own = block(X, OTHER)
    np.testing.assert_allclose(own, norm(2 * X), atol=1e-6)
    given = block(X, OTHER, keys_and_values=block.attention.keys_and_values(OTHER))
    np.testing.assert_allclose(given, norm(X + OTHER), atol=1e-6)
