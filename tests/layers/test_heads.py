"""The heads, with answers worked out by hand."""

import math

import keras
import numpy as np

from keras_bert_scratch.layers.heads import ClassificationHead, Pooler


def test_pooler_sees_the_first_token_only() -> None:
    pooler = Pooler(hidden_dim=2)
    pooler.build((None, None, 2))
    pooler.dense.kernel.assign([[1, 0], [2, 0]])
    pooler.dense.bias.assign([0, -1])
    x = np.array([[[0.5, 0.25], [100, 100]]], "float32")
    np.testing.assert_allclose(pooler(x), [[math.tanh(1.0), math.tanh(-1.0)]], rtol=1e-6)


def test_classification_head_is_linear() -> None:
    head = ClassificationHead(num_classes=3, dropout=0.0)
    head.build((None, 2))
    head.logits.kernel.assign([[1, 0, -1], [0, 10, 0]])
    head.logits.bias.assign([0, 0, 7])
    np.testing.assert_allclose(head(np.array([[2, 3]], "float32")), [[2, 30, 5]])


def test_dropout_acts_on_the_pooled_output() -> None:
    keras.utils.set_random_seed(0)
    head = ClassificationHead(num_classes=1, dropout=0.5)
    head.build((None, 1))
    head.logits.kernel.assign([[1.0]])
    head.logits.bias.assign([3.0])
    outputs = np.array(head(np.ones((64, 1), "float32"), training=True))
    assert set(outputs.ravel()) == {3.0, 5.0}  # dropped, or kept and doubled
