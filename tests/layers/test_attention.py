"""Attention, with answers worked out by hand."""

import math

import keras
import numpy as np
import pytest

from keras_bert_scratch.layers.attention import MASKED_SCORE, MultiHeadAttention, padding_bias


def attention(num_heads: int, **kernels: np.ndarray) -> MultiHeadAttention:
    """Returns attention without biases; a kernel that is not named is the identity."""
    width = next(iter(kernels.values())).shape[0]
    layer = MultiHeadAttention(num_heads, width)
    layer.build((None, None, width))
    for name in ("query", "key", "value", "output_projection"):
        getattr(layer, name).kernel.assign(kernels.get(name, np.eye(width)))
    return layer


def test_one_visible_key_is_the_answer_everywhere() -> None:
    layer = attention(2, query=np.eye(4))
    x = np.arange(12, dtype="float32").reshape(1, 3, 4) / 4
    bias = padding_bias(np.array([[0, 1, 0]]), "float32")
    outputs, probabilities = layer(x, attention_bias=bias, return_attention=True)
    np.testing.assert_allclose(outputs, np.broadcast_to(x[:, 1:2], (1, 3, 4)), atol=1e-6)
    expected = np.broadcast_to(np.array([0.0, 1.0, 0.0]), (1, 2, 3, 3))
    np.testing.assert_allclose(probabilities, expected, atol=1e-12)


def test_equal_scores_average_what_is_visible() -> None:
    layer = attention(1, query=np.zeros((2, 2)))
    x = np.array([[[1, 10], [3, 30], [1000, 1000]]], "float32")
    bias = padding_bias(np.array([[1, 1, 0]]), "float32")
    outputs = layer(x, attention_bias=bias)
    np.testing.assert_allclose(outputs, np.broadcast_to([[[2, 20]]], (1, 3, 2)), rtol=1e-6)


def test_scores_are_divided_by_the_root_of_the_head_width() -> None:
    # One head of width 4: the first state's score with itself is a^2 / sqrt(4) = ln 3, with the
    # second 0, so its probabilities are 3/4 and 1/4. The second's scores are 0: 1/2 and 1/2.
    a = math.sqrt(2 * math.log(3))
    x = np.array([[[a, 0, 0, 0], [0, 0, 0, 0]]], "float32")
    outputs, probabilities = attention(1, query=np.eye(4))(x, return_attention=True)
    np.testing.assert_allclose(probabilities, [[[[0.75, 0.25], [0.5, 0.5]]]], rtol=1e-6)
    np.testing.assert_allclose(outputs[0, :, 0], [0.75 * a, 0.5 * a], rtol=1e-6)


def test_query_asks_and_key_answers() -> None:
    # The query sees feature 0, the key feature 1: state 0 = (1, 0) is drawn to state 1 = (0, 1).
    # Head width 2: its score with state 1 is s^2 / sqrt(2) = ln 9, so 9/10 and 1/10.
    s = math.sqrt(math.sqrt(2) * math.log(9))
    only_first = np.array([[s, 0], [0, 0]])
    second_to_first = np.array([[0, 0], [s, 0]])
    layer = attention(1, query=only_first, key=second_to_first)
    _, probabilities = layer(np.eye(2, dtype="float32")[None], return_attention=True)
    np.testing.assert_allclose(probabilities, [[[[0.1, 0.9], [0.5, 0.5]]]], rtol=1e-6)


def test_heads_attend_on_their_own_features() -> None:
    # Two heads of width 1. Head 0 sees feature 0, which is equal in both states: it averages.
    # Head 1 sees feature 1: scores 0 and ln 4 for the second state, 0 and 0 for the first.
    b = math.sqrt(math.log(4))
    x = np.array([[[1, 0], [1, b]]], "float32")
    outputs, probabilities = attention(2, query=np.eye(2))(x, return_attention=True)
    np.testing.assert_allclose(probabilities[0, 0], [[0.5, 0.5], [0.5, 0.5]], rtol=1e-6)
    np.testing.assert_allclose(probabilities[0, 1], [[0.5, 0.5], [0.2, 0.8]], rtol=1e-6)
    np.testing.assert_allclose(outputs[0], [[1, 0.5 * b], [1, 0.8 * b]], rtol=1e-6)


def test_value_and_output_are_projected_in_this_order() -> None:
    value = np.array([[0, 1], [0, 0]])  # feature 0 moves to place 1
    output = np.array([[0, 0], [5, 0]])  # and from there, five times as large, to place 0
    layer = attention(2, value=value, output_projection=output)
    layer.output_projection.bias.assign([0, 7])
    outputs = layer(np.array([[[3, 4]]], "float32"))  # one position: attention changes nothing
    np.testing.assert_allclose(outputs, [[[15, 7]]], rtol=1e-6)


def test_dropout_acts_on_the_probabilities() -> None:
    # All values are 1: an average of them is 1; with half the probabilities dropped and the others
    # doubled it is 2 * (kept / 64).
    keras.utils.set_random_seed(0)
    layer = MultiHeadAttention(1, 1, dropout=0.5)
    layer.build((None, None, 1))
    layer.query.kernel.assign([[0.0]])
    layer.value.kernel.assign([[1.0]])
    layer.output_projection.kernel.assign([[1.0]])
    outputs = np.array(layer(np.ones((1, 64, 1), "float32"), training=True))[0, :, 0]
    kept = outputs * 32
    np.testing.assert_allclose(kept, np.round(kept), atol=1e-4)
    assert 20 < kept.mean() < 44
    assert kept.std() > 1


@pytest.mark.parametrize("mask", [np.array([[1, 0]]), np.array([[True, False]])])
def test_padding_bias(mask: np.ndarray) -> None:
    bias = np.array(padding_bias(mask, "float32"))
    assert bias.shape == (1, 1, 1, 2)
    assert bias.ravel().tolist() == [0.0, MASKED_SCORE]


def test_masked_score_is_lost_in_rounding_yet_modest() -> None:
    assert math.exp(MASKED_SCORE) < np.finfo("float32").eps ** 3
    assert MASKED_SCORE >= -100  # what int8 calibration has to cover
