"""Rotary positions and windows, with answers worked out by hand."""

import math
import re
from typing import Any

import keras
import numpy as np
import pytest

from keras_bert_scratch.layers.attention import padding_bias
from keras_bert_scratch.layers.rotary_attention import RotaryAttention, rotate


# === Rotation ===
def test_position_11_is_nearly_turned_by_a_right_angle() -> None:
    # A single pair turns by theta^0 = 1 radian a position; 11 are seven right angles and 0.0044.
    x = np.zeros((1, 1, 12, 2), "float32")
    x[..., 0], x[..., 1] = 3, 5
    turned = np.array(rotate(x, 10_000.0))[0, 0]
    np.testing.assert_array_equal(turned[0], [3, 5])  # position 0 stays
    # Seven right angles forward are one back: (a, b) becomes (b, -a).
    np.testing.assert_allclose(turned[11], [5, -3], atol=0.03)


def test_pairs_are_half_the_width_apart_and_turn_at_their_own_speed() -> None:
    # Width 4: features (0, 2) turn by 1 radian a position, (1, 3) by theta^(-1/2) = 1/10.
    x = np.tile(np.array([1, 1, 0, 0], "float32"), (1, 1, 2, 1))
    turned = np.array(rotate(x, 100.0))[0, 0, 1]
    expected = [math.cos(1), math.cos(0.1), math.sin(1), math.sin(0.1)]
    np.testing.assert_allclose(turned, expected, rtol=1e-6)


def test_products_depend_on_the_distance_alone() -> None:
    rng = np.random.default_rng(0)
    query, key = rng.normal(size=(2, 1, 1, 1, 8))
    positions = np.ones((1, 1, 20, 1))
    turned_query, turned_key = (
        np.array(rotate((x * positions).astype("float32"), 10.0))[0, 0] for x in (query, key)
    )
    products = turned_query @ turned_key.T
    for distance in range(-19, 20):
        diagonal = np.diagonal(products, distance)
        np.testing.assert_allclose(diagonal, diagonal[0], rtol=0, atol=1e-5)
    assert np.abs(products[0] - products[0, 0])[1:].min() > 1e-3


def test_half_precision_rounds_the_result_only() -> None:
    # Positions above 256 are not numbers of bfloat16.
    x = np.random.default_rng(0).normal(size=(1, 1, 1000, 8)).astype("float32")
    rounded = keras.ops.cast(x, "bfloat16")
    found = rotate(rounded, 10_000.0)
    assert keras.backend.standardize_dtype(found.dtype) == "bfloat16"
    exact = np.array(rotate(keras.ops.cast(rounded, "float32"), 10_000.0))
    np.testing.assert_allclose(keras.ops.cast(found, "float32"), exact, rtol=2**-8, atol=1e-6)


# === Attention ===
def identity(**arguments: Any) -> RotaryAttention:
    """Returns attention whose values are its input, and whose queries and keys are 0."""
    layer = RotaryAttention(num_heads=1, hidden_dim=2, **arguments)
    layer.build((None, None, 2))
    zeros = np.zeros((2, 2))
    layer.query_key_value.kernel.assign(np.concatenate([zeros, zeros, np.eye(2)], axis=1))
    layer.output_projection.kernel.assign(np.eye(2))
    return layer


def test_a_window_shows_half_of_it_on_either_side() -> None:
    # Without scores each position is the mean of those that it sees: of 0, 1, ..., 6 with one
    # neighbor on either side.
    x = np.arange(7, dtype="float32")[None, :, None] * np.ones(2, "float32")
    expected = [0.5, 1, 2, 3, 4, 5, 5.5]
    np.testing.assert_allclose(identity(window=2)(x)[0, :, 0], expected, rtol=1e-6)
    # With two on either side.
    expected = [1, 1.5, 2, 3, 4, 4.5, 5]
    np.testing.assert_allclose(identity(window=4)(x)[0, :, 0], expected, rtol=1e-6)
    # And without a window.
    np.testing.assert_allclose(identity()(x)[0, :, 0], [3] * 7, rtol=1e-6)


def test_padding_is_not_seen_in_a_window() -> None:
    x = np.arange(5, dtype="float32")[None, :, None] * np.ones(2, "float32")
    bias = padding_bias(np.array([[1, 1, 1, 0, 0]]), "float32")
    found = np.array(identity(window=2)(x, attention_bias=bias))[0, :3, 0]
    np.testing.assert_allclose(found, [0.5, 1, 1.5], rtol=1e-6)


def test_query_and_key_are_turned_and_the_value_is_not() -> None:
    # Queries and keys are (s, 0) at both positions, their product s^2 cos(distance); the values
    # are feature 1. With s^2 / sqrt(2) (1 - cos 1) = ln 3, the own one has 3/4.
    s = math.sqrt(math.sqrt(2) * math.log(3) / (1 - math.cos(1)))
    layer = RotaryAttention(num_heads=1, hidden_dim=2)
    layer.build((None, None, 2))
    first, value = np.array([[s, 0], [0, 0]]), np.array([[0, 0], [0, 1]])
    layer.query_key_value.kernel.assign(np.concatenate([first, first, value], axis=1))
    layer.output_projection.kernel.assign(np.eye(2))
    outputs, probabilities = layer(np.array([[[1, 4], [1, 8]]], "float32"), return_attention=True)
    np.testing.assert_allclose(probabilities[0, 0], [[0.75, 0.25], [0.25, 0.75]], rtol=1e-5)
    np.testing.assert_allclose(outputs[0, :, 1], [5, 7], rtol=1e-5)


@pytest.mark.parametrize("window", [2, 4, 10, None])
def test_first_only_and_with_probabilities_it_is_the_same(window: int | None) -> None:
    keras.utils.set_random_seed(0)
    layer = RotaryAttention(2, 8, window=window, initializer_range=1.0)
    x = np.random.default_rng(0).normal(size=(3, 9, 8)).astype("float32")
    plain = np.array(layer(x))
    shown, probabilities = layer(x, return_attention=True)
    first, of_first = layer(x, return_attention=True, first_only=True)
    np.testing.assert_allclose(plain, shown, rtol=0, atol=1e-5)
    np.testing.assert_allclose(first, plain[:, :1], rtol=0, atol=1e-5)
    np.testing.assert_allclose(layer(x, first_only=True), plain[:, :1], rtol=0, atol=1e-5)
    np.testing.assert_allclose(of_first, np.array(probabilities)[:, :, :1], rtol=0, atol=1e-6)
    outside = np.abs(np.subtract.outer(np.arange(9), np.arange(9))) > (window or 20) // 2
    assert (np.array(probabilities)[:, :, outside] < 1e-15).all()


# === Errors ===
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_heads": 3, "hidden_dim": 10}, "received hidden_dim=10 and num_heads=3: change one"),
        ({"num_heads": 2, "hidden_dim": 6}, "need heads of an even width, received 3: change"),
        (
            {"window": -2},
            "must be an even number from 2, received -2: half of it is on either",
        ),
        ({"window": 5}, "must be an even number from 2, received 5"),
        ({"rope_theta": math.inf}, "rope_theta must be a finite number above 0, received inf."),
    ],
)
def test_bad_values(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        RotaryAttention(**{"num_heads": 2, "hidden_dim": 8, **arguments})
