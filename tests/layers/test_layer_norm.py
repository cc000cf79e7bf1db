"""Layer normalization, against Keras' own and its derived gradient."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_bert_scratch.layers.layer_norm import LayerNorm


def test_by_hand() -> None:
    # Mean 2 and variance 4: -1 and 1, times gamma, plus beta.
    norm = LayerNorm(epsilon=0.0)
    norm.build((None, 2))
    norm.set_weights([np.array([1.0, 2.0]), np.array([0.5, 0.0])])
    for training in (False, True):
        np.testing.assert_allclose(norm(np.array([[0.0, 4.0]]), training=training), [[-0.5, 2.0]])


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-6), ("mixed_bfloat16", 2e-2)])
@pytest.mark.parametrize("shape", [(7, 6), (3, 5, 6)])
def test_gradients_are_those_that_tensorflow_derives(
    dtype: str, tolerance: float, shape: tuple[int, ...]
) -> None:
    random = np.random.default_rng(0)
    gamma, beta = random.normal(size=(2, 6))
    x, upstream = random.normal(1.0, 2.0, (2, *shape)).astype("float32")
    x[0] = 3.0  # without variance, where only epsilon keeps it finite
    found = []
    for layer in (LayerNorm, keras.layers.LayerNormalization):
        norm = layer(epsilon=1e-2, dtype=dtype)
        norm.build(shape)
        norm.set_weights([gamma, beta])
        inputs = tf.Variable(tf.cast(x, norm.compute_dtype))
        with tf.GradientTape() as tape:
            outputs = norm(inputs, **({"training": True} if layer is LayerNorm else {}))
        assert outputs.dtype == norm.compute_dtype
        sources = [inputs, *(weight.value for weight in norm.trainable_weights)]
        gradients = tape.gradient(outputs, sources, tf.cast(upstream, outputs.dtype))
        found.append([tf.cast(t, "float32").numpy() for t in (outputs, *gradients)])
    for ours, theirs in zip(*found, strict=True):
        scale = np.abs(theirs).max()
        np.testing.assert_allclose(ours / scale, theirs / scale, atol=tolerance)
