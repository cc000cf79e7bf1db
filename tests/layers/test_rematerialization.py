import re

import keras
import numpy as np
import pytest

from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.layers.rematerialization import rematerialize
from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.tasks.classifier import BertClassifier


class Counted(keras.layers.Layer):
    """Dropout on a square, which counts how often it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = keras.layers.Dropout(0.5, seed=3)
        self.calls = 0
        self.build()

    def build(self, input_shape: object = None) -> None:
        self.factor = self.add_weight(shape=(), initializer="ones")
        self.built = True

    def call(self, x: object, training: bool | None = None) -> object:
        self.calls += 1
        return self.dropout(self.factor * x**2, training=training)


def test_the_gradient_computes_again_with_the_same_mask() -> None:
    import tensorflow as tf

    layer, x = Counted(), tf.Variable(np.arange(1, 101, dtype="float32"))
    with tf.GradientTape() as tape:
        y = rematerialize(layer, x, training=True)
    assert layer.calls == 1
    to_x, to_factor = tape.gradient(y, [x, layer.factor.value])
    assert layer.calls == 2
    kept = np.array(y) > 0
    assert 20 < kept.sum() < 80
    # A kept x^2 counts double: its derivative is 4 x.
    np.testing.assert_allclose(to_x, np.where(kept, 4 * np.array(x), 0), rtol=1e-6)
    np.testing.assert_allclose(to_factor, np.sum(y), rtol=1e-6)
    assert not np.array_equal(np.array(rematerialize(layer, x, training=True)) > 0, kept)


@pytest.mark.parametrize(
    ("config", "dtype"),
    [
        ("tiny_config", "float32"),
        ("tiny_config", "mixed_bfloat16"),
        ("modern_config", "float32"),
    ],
)
def test_a_training_is_the_same(request: pytest.FixtureRequest, config: str, dtype: str) -> None:
    tiny_config: BertConfig = request.getfixturevalue(config)
    rng = np.random.default_rng(0)
    ids = rng.integers(5, tiny_config.vocab_size, (8, 9))
    inputs = {"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": 0 * ids + 1}
    trained = []
    for again in (False, True):
        keras.utils.set_random_seed(0)
        encoder = BertEncoder(tiny_config, rematerialize=again, dtype=dtype)
        model = BertClassifier(encoder, ["a", "b"], dtype=dtype)
        model.compile(keras.optimizers.SGD(0.1))
        for _ in range(3):
            model.train_on_batch(inputs, ids[:, 0] % 2)
        trained.append(model)
    assert trained[0].encoder.config.dropout > 0
    for weight, again in zip(trained[0].weights, trained[1].weights, strict=True):
        np.testing.assert_allclose(again, weight, rtol=0, atol=1e-6)
    assert BertEncoder.from_config(trained[1].encoder.get_config()).rematerialize


def test_other_backends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    message = "rematerialize needs Keras' TensorFlow or JAX backend, received PyTorch"
    with pytest.raises(RuntimeError, match=re.escape(message)):
        rematerialize(Counted(), np.ones(3))
