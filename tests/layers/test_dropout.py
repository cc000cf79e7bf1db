"""Dropout by 16 random bits a value, and by a key."""

import contextlib
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_bert_scratch.layers.dropout import Dropout, keyed_dropout, mix_bits
from keras_bert_scratch.layers.rematerialization import rematerialize

# An odd number of rows: of the last random integers half is used.
ONES = np.ones((101, 3, 333), "float32")


def key(number: int) -> contextlib.AbstractContextManager[None]:
    return keyed_dropout(keras.ops.cast(number, "uint32"))


by_seed_and_key = pytest.mark.parametrize(
    "context", [contextlib.nullcontext, lambda: key(3)], ids=["seed", "key"]
)


def dropped(layer: Dropout) -> np.ndarray:
    return keras.ops.convert_to_numpy(layer(ONES, training=True))


@by_seed_and_key
@pytest.mark.parametrize("rate", [0.25, 0.1, 2**-16, 1 - 2**-16])
def test_drops_its_share_and_scales_the_others(context: Callable, rate: float) -> None:
    with context():
        found = dropped(Dropout(rate, seed=1))
    # By a seed, 0.1 becomes 6554 / 65536.
    share = round(rate * 2**16) / 2**16 if context is contextlib.nullcontext else rate
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


@by_seed_and_key
@pytest.mark.parametrize(("rate", "expected"), [(0.0, 1.0), (1e-12, 1.0), (1.0, 0.0)])
def test_nothing_or_all_is_dropped(context: Callable, rate: float, expected: float) -> None:
    with context():
        np.testing.assert_array_equal(dropped(Dropout(rate)), np.full_like(ONES, expected))


@by_seed_and_key
def test_one_number_for_several_values_as_keras(context: Callable) -> None:
    with context():
        found = dropped(Dropout(0.5, noise_shape=(None, 1, 333), seed=1))
    assert set(np.unique(found)) == {0.0, 2.0}
    np.testing.assert_array_equal(found, np.repeat(found[:, :1], 3, axis=1))


class TestKeyed:
    """Masks that follow from a key."""

    def test_bits_are_those_of_murmur_hash(self) -> None:
        """MurmurHash3's finalizer, in Python's own integers."""

        def finalizer(h: int) -> int:
            h = ((h ^ (h >> 16)) * 0x85EBCA6B) % 2**32
            h = ((h ^ (h >> 13)) * 0xC2B2AE35) % 2**32
            return h ^ (h >> 16)

        numbers = [0, 1, 7, 2**31, 2**32 - 1]
        found = keras.ops.convert_to_numpy(mix_bits(np.array(numbers, "uint32")))
        assert found.tolist() == [finalizer(number) for number in numbers]

    def test_follow_from_key_layer_and_position_alone(self) -> None:
        layers = [Dropout(0.5), Dropout(0.5)]

        def masks(number: int, shape: tuple[int, ...] = (1, 3, 40, 40)) -> list[np.ndarray]:
            ones = np.ones(shape, "float32")
            with key(number):
                return [keras.ops.convert_to_numpy(layer(ones, training=True)) for layer in layers]

        first, second = masks(1)
        again, _ = masks(1)
        np.testing.assert_array_equal(first, again)
        # The corner of a larger tensor: an example padded further.
        np.testing.assert_array_equal(first, masks(1, (1, 5, 50, 60))[0][:, :3, :40, :40])
        for one, other in (
            (first, second),
            (first, masks(2)[0]),
            (first[:, :, 1:], first[:, :, :-1]),
            (first[..., 1:], first[..., :-1]),
            (first[:, 1:], first[:, :-1]),
        ):
            assert abs(((one - 1) * (other - 1)).mean()) < 4 / np.sqrt(one.size)

    def test_a_layer_computed_again_drops_the_same(self) -> None:
        """Rematerialization calls a layer twice, the second time for the gradient."""
        layer = Dropout(0.5)
        layer.build((None, None))
        x = tf.Variable(np.ones((8, 50), "float32"))
        with key(1), tf.GradientTape() as tape:
            y = rematerialize(layer, x.value(), training=True)
            loss = tf.reduce_sum(y)
            gradient = tape.gradient(loss, x)
        np.testing.assert_array_equal(gradient, y)
        assert set(np.unique(y)) == {0.0, 2.0}

    def test_draws_again_after_it(self) -> None:
        layer = Dropout(0.5)
        with key(1):
            first = dropped(layer)
        assert (dropped(layer) != first).any()
        np.testing.assert_array_equal(layer(ONES), ONES)
