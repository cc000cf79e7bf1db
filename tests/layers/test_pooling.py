import numpy as np
import pytest

from keras_bert_scratch.layers.pooling import check_pooling, pool_tokens

STATES = np.array([[[1.0, 10.0], [3.0, 30.0], [8.0, 80.0]], [[5.0, 50.0], [9.0, 9.0], [7.0, 7.0]]])
MASK = np.array([[1, 1, 0], [1, 0, 0]])


def test_the_mean_is_of_tokens_alone():
    np.testing.assert_array_equal(pool_tokens(STATES, MASK, "mean"), [[2.0, 20.0], [5.0, 50.0]])


def test_cls_is_the_first_state():
    np.testing.assert_array_equal(pool_tokens(STATES, MASK, "cls"), [[1.0, 10.0], [5.0, 50.0]])


def test_no_token_at_all_gives_zeros():
    np.testing.assert_array_equal(pool_tokens(STATES, 0 * MASK, "mean"), np.zeros((2, 2)))


def test_the_mean_is_taken_in_float32():
    # 300 ones and a two: their mean lies between the two nearest numbers of bfloat16.
    import keras

    states = keras.ops.cast(np.concatenate([np.ones((1, 300, 1)), [[[2.0]]]], 1), "bfloat16")
    pooled = pool_tokens(states, np.ones((1, 301)), "mean")
    assert float(pooled[0, 0]) == pytest.approx(302 / 301, abs=1e-6)


def test_unknown_pooling():
    with pytest.raises(ValueError, match="pooling must be .*'mean'.*; received 'median'"):
        check_pooling("median")
