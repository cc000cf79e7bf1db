"""Attention in blocks is attention under a mask, in memory that grows with the length."""

import numpy as np
import pytest
import tensorflow as tf

from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.layers.attention import MASKED_SCORE, attend, padding_bias
from keras_bert_scratch.layers.local_attention import attend_locally, window_bias
from keras_bert_scratch.layers.pre_norm_block import PreNormBlock


def kept(probabilities):
    return probabilities


def test_window_bias_by_hand() -> None:
    m = MASKED_SCORE
    expected = [[0, 0, m, m], [0, 0, 0, m], [m, 0, 0, 0]]
    np.testing.assert_array_equal(window_bias(3, 4, 2, "float32"), expected)


@pytest.mark.parametrize("window", [2, 4, 6, 10, 64])
@pytest.mark.parametrize("length", [1, 2, 3, 5, 6, 7, 31])
def test_the_same_as_under_a_mask(length: int, window: int) -> None:
    rng = np.random.default_rng(length)
    query, key, value = rng.normal(size=(3, 3, 2, length, 4)).astype("float32")
    mask = np.arange(length) < np.array([[length], [(length + 1) // 2], [1]])
    bias = padding_bias(mask, "float32")
    hidden = np.minimum(bias, window_bias(length, length, window, "float32"))
    expected, _ = attend(query, key, value, hidden, kept)
    found = attend_locally(query, key, value, bias, window, kept)
    assert found.shape == expected.shape
    visible = np.broadcast_to(mask[:, None, :], (3, 2, length))
    np.testing.assert_allclose(
        np.array(found)[visible], np.array(expected)[visible], rtol=0, atol=1e-5
    )
    assert np.isfinite(found).all()  # also where a query sees padding alone


@pytest.mark.parametrize("length", [3, 5, 12])
def test_one_row_of_padding_for_all(length: int) -> None:
    query, key, value = np.random.default_rng(0).normal(size=(3, 3, 2, length, 4)).astype("float32")
    mask = np.arange(length)[None] < length - 1
    one, all_rows = (padding_bias(rows, "float32") for rows in (mask, np.repeat(mask, 3, axis=0)))
    expected = attend_locally(query, key, value, all_rows, 4, kept)
    np.testing.assert_array_equal(attend_locally(query, key, value, one, 4, kept), expected)


def largest_tensor(length: int, window: int | None) -> int:
    """Counts the values of the largest tensor in the graph of a block and its gradient."""
    config = BertConfig(
        num_heads=2,
        hidden_dim=8,
        feed_forward_dim=8,
        architecture="modernbert",
        local_window=window or 2,
        global_every=3 if window else 1,
    )
    block = PreNormBlock(config, index=1)
    block.build((None, None, 8))

    def gradient(x: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(block(x, training=True) ** 2)
        return tape.gradient(loss, [weight.value for weight in block.trainable_weights])

    graph = tf.function(gradient).get_concrete_function(tf.TensorSpec((1, length, 8))).graph
    shapes = [tensor.shape for op in graph.get_operations() for tensor in op.outputs]
    assert sum(shape.num_elements() is not None for shape in shapes) > 100
    return max(shape.num_elements() or 0 for shape in shapes)


def test_no_tensor_grows_faster_than_the_length() -> None:
    local = [largest_tensor(length, window=16) for length in (2048, 4096, 8192)]
    # 2 heads see 3 blocks of 8 keys.
    assert local == [2 * length * 3 * 8 for length in (2048, 4096, 8192)]
    # It would show: global attention has scores of every pair.
    assert largest_tensor(2048, window=None) == 2 * 2048**2
