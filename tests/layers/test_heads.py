"""The heads, with answers worked out by hand."""

import math

import keras
import numpy as np
import tensorflow as tf

from keras_bert_scratch.layers.heads import ClassificationHead, MaskedLanguageModelHead, Pooler


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


def masked_head(vocab_size: int = 3) -> MaskedLanguageModelHead:
    head = MaskedLanguageModelHead(2, vocab_size, activation="relu", layer_norm_epsilon=0.0)
    head.build()
    head.dense.kernel.assign([[1, 0], [0, 1]])
    head.bias.assign([0, 10, 20])
    return head


def test_masked_head_compares_gathered_states_with_embeddings() -> None:
    states = np.array([[[9, 9], [5, 1], [9, 9]], [[9, 9], [9, 9], [2, 4]]], "float32")
    embeddings = np.array([[1, 0], [0, 1], [3, 2]], "float32")
    logits = masked_head()(states, np.array([[1], [2]]), embeddings)
    # The layer norm of two different numbers is 1 for the larger one, -1 for the smaller.
    np.testing.assert_allclose(logits, [[[1, 9, 21]], [[-1, 11, 19]]], rtol=1e-6)


def test_masked_head_projects_the_masked_positions_only() -> None:
    """No other state reaches the vocabulary: the cost is that of P positions, not of S."""
    head = masked_head()

    @tf.function(input_signature=[tf.TensorSpec((4, 50, 2)), tf.TensorSpec((4, 7), tf.int32)])
    def logits(states: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
        return head(states, positions, tf.ones((3, 2)))

    operations = logits.get_concrete_function().graph.get_operations()
    products = [op for op in operations if op.type in ("MatMul", "BatchMatMulV2", "Einsum")]
    rows = {op.outputs[0].shape[:-1].num_elements() for op in products}
    assert len(products) == 2
    assert rows == {4 * 7}
    assert logits(tf.zeros((4, 50, 2)), tf.zeros((4, 7), tf.int32)).shape == (4, 7, 3)
