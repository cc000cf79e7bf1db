"""Dropout by 16 random bits a value."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_bert_scratch.layers.dropout import Dropout

# An odd number of rows: of the last random integers half is used.
ONES = np.ones((101, 3, 333), "float32")


def dropped(layer: Dropout) -> np.ndarray:
    return keras.ops.convert_to_numpy(layer(ONES, training=True))


@pytest.mark.parametrize("rate", [0.25, 0.1, 2**-16, 1 - 2**-16])
def test_drops_its_share_and_scales_the_others(rate: float) -> None:
    found = dropped(Dropout(rate, seed=1))
    # 0.1 becomes 6554 / 65536.
    share = round(rate * 2**16) / 2**16
    kept = found[found != 0]
    np.testing.assert_allclose(kept, 1 / (1 - share), rtol=1e-6)
    deviation = np.sqrt(share * (1 - share) / found.size)
    assert abs(1 - len(kept) / found.size - share) < 4 * deviation


def test_values_are_dropped_independently() -> None:
    """Neighbours, which share a random integer, rows, and two steps."""
    layer = Dropout(0.5, seed=1)
    one, other = (dropped(layer) - 1 for _ in range(2))
    flat = one.ravel()
    for first, second in (
        (flat[:-1:2], flat[1::2]),
        (flat[1:-1:2], flat[2::2]),
        (one[:-1], one[1:]),
        (one, other),
    ):
        assert abs((first * second).mean()) < 4 / np.sqrt(first.size)


def test_a_seed_repeats_a_run() -> None:
    np.testing.assert_array_equal(dropped(Dropout(0.5, seed=1)), dropped(Dropout(0.5, seed=1)))
    assert (dropped(Dropout(0.5, seed=1)) != dropped(Dropout(0.5, seed=2))).any()


def test_gradient_is_the_scale_of_what_is_kept() -> None:
    x = tf.Variable(ONES)
    with tf.GradientTape() as tape:
        y = Dropout(0.5, seed=1)(x, training=True)
    np.testing.assert_array_equal(tape.gradient(y, x), y)


def test_shapes_that_a_graph_does_not_know() -> None:
    layer = Dropout(0.5, dtype="bfloat16")
    call = tf.function(
        lambda x: layer(x, training=True),
        input_signature=[tf.TensorSpec((None, 3, None), tf.bfloat16)],
    )
    for length in (1, 4):
        y = call(tf.ones((5, 3, length), tf.bfloat16))
        assert (y.shape, y.dtype) == ((5, 3, length), tf.bfloat16)
        assert set(np.unique(tf.cast(y, tf.float32))) <= {0.0, 2.0}


@pytest.mark.parametrize(
    ("layer", "expected"),
    [(Dropout(0.0), 1.0), (Dropout(1e-9, seed=1), 1.0), (Dropout(1.0), 0.0)],
    ids=["0", "nearly 0", "1"],
)
def test_nothing_or_all_is_dropped(layer: Dropout, expected: float) -> None:
    np.testing.assert_allclose(dropped(layer), np.full_like(ONES, expected), atol=1e-5)


def test_one_number_for_several_values_as_keras() -> None:
    found = dropped(Dropout(0.5, noise_shape=(101, 1, 333), seed=1))
    assert set(np.unique(found)) == {0.0, 2.0}
    np.testing.assert_array_equal(found, np.repeat(found[:, :1], 3, axis=1))


def test_nothing_happens_without_training() -> None:
    np.testing.assert_array_equal(Dropout(0.5)(ONES), ONES)
