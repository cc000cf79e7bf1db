"""Embeddings, with answers worked out by hand."""

import math
import re

import numpy as np
import pytest

from keras_bert_scratch.layers.embeddings import BertEmbeddings, sinusoidal_positions


def test_sum_of_three_tables_then_norm() -> None:
    layer = BertEmbeddings(3, 4, max_positions=2, dropout=0.0)
    layer.build((None, None))
    layer.token.embeddings.assign([[9, 9, 9, 9], [2, 0, 0, -2], [0, 0, 0, 0]])
    layer.position.embeddings.assign([[1, 0, 0, -1], [0, 2, 0, 0]])
    layer.segment.embeddings.assign([[9, 9, 9, 9], [0, 1, -1, 0]])
    outputs = layer(np.array([[1, 2]]), np.array([[1, 1]]))
    # Position 0: (3, 1, -1, -3), mean 0, variance 5. Position 1: (0, 3, -1, 0), mean 1/2,
    # less the mean (-1, 5, -3, -1) / 2, variance (1 + 25 + 9 + 1) / 16 = 9/4.
    expected = [
        np.array([3, 1, -1, -3]) / math.sqrt(5),
        np.array([-1, 5, -3, -1]) / 3,
    ]
    np.testing.assert_allclose(outputs[0], expected, rtol=1e-5)


def test_norm_has_the_epsilon_it_was_given() -> None:
    # (1, -1) has variance 1: with epsilon 3 it is divided by 2.
    layer = BertEmbeddings(1, 2, layer_norm_epsilon=3.0, dropout=0.0)
    layer.build((None, None))
    for table in (layer.segment, layer.position):
        table.embeddings.assign(np.zeros(table.embeddings.shape))
    layer.token.embeddings.assign([[1, -1]])
    np.testing.assert_allclose(layer(np.array([[0]]), np.array([[0]])), [[[0.5, -0.5]]])


def test_sinusoidal_table() -> None:
    # H=4: the wavelengths are 2 pi and 2 pi * 10000^(2/4) = 2 pi * 100.
    table = sinusoidal_positions(3, 4)
    for p in range(3):
        expected = [math.sin(p), math.cos(p), math.sin(p / 100), math.cos(p / 100)]
        np.testing.assert_allclose(table[p], expected, atol=1e-7)
    assert table.dtype == "float32"


def test_sinusoidal_table_of_odd_width() -> None:
    expected = [math.sin(1), math.cos(1), math.sin(10000 ** (-2 / 3))]
    np.testing.assert_allclose(sinusoidal_positions(2, 3)[1], expected, rtol=1e-6)


def test_sinusoidal_positions_are_added() -> None:
    layer = BertEmbeddings(1, 4, position_embedding="sinusoidal", dropout=0.0)
    layer.build((None, None))
    layer.token.embeddings.assign([[1, 0, 0, 0]])
    layer.segment.embeddings.assign(np.zeros((2, 4)))
    outputs = layer(np.zeros((1, 2)), np.zeros((1, 2)))
    # Position 0 adds (0, 1, 0, 1): (1, 1, 0, 1), mean 3/4, variance 3/16.
    np.testing.assert_allclose(outputs[0, 0], np.array([1, 1, -3, 1]) / math.sqrt(3), rtol=1e-5)
    summed = np.array([1 + math.sin(1), math.cos(1), math.sin(0.01), math.cos(0.01)])
    np.testing.assert_allclose(outputs[0, 1], (summed - summed.mean()) / summed.std(), rtol=1e-4)
    assert [weight.path.split("/")[-2] for weight in layer.weights] == [
        "token", "segment", "norm", "norm",
    ]  # fmt: skip


def test_unknown_position_embedding() -> None:
    message = "position_embedding must be one of learned, sinusoidal; received 'rotary'."
    with pytest.raises(ValueError, match=re.escape(message)):
        BertEmbeddings(3, 4, position_embedding="rotary")
