"""ModernBERT's input layer."""

import math

import numpy as np

from keras_bert_scratch.layers.token_embeddings import TokenEmbeddings


def test_neither_position_nor_segment_plays_a_part() -> None:
    layer = TokenEmbeddings(vocab_size=3, hidden_dim=2, layer_norm_epsilon=0.0)
    layer.build((None, None))
    layer.token.embeddings.assign([[0, 0], [5, 1], [1, 5]])
    ids = np.array([[1, 2, 1]])
    # (5, 1) has mean 3 and variance 4.
    expected = [[[1, -1], [-1, 1], [1, -1]]]
    np.testing.assert_allclose(layer(ids), expected, rtol=1e-6)
    np.testing.assert_allclose(layer(ids, np.array([[0, 0, 1]])), expected, rtol=1e-6)


def test_the_norm_has_the_epsilon_and_no_bias() -> None:
    layer = TokenEmbeddings(vocab_size=1, hidden_dim=2, layer_norm_epsilon=5.0)
    layer.build((None, None))
    layer.token.embeddings.assign([[2, -2]])
    layer.norm.gamma.assign([3, 6])
    np.testing.assert_allclose(layer(np.array([[0]])), [[[2, -4]]], rtol=1e-6)  # 2 / sqrt(4 + 5)
    assert math.prod(layer.norm.gamma.shape) + 2 == layer.count_params()
