import numpy as np
import tensorflow as tf

from keras_bert_scratch.data.teacher_forcing import TeacherForcedBatches

TEXTS = tf.ragged.constant([[2, 7, 8, 9, 3], [2, 7, 3], [2, 3]], dtype=tf.int32)
# As wide as the longest of other batches.
LABELS = np.array([[5, 6, 3], [5, 3, 0], [5, 6, 7]], "int32")
LABELS = np.pad(np.concatenate([LABELS, [[0], [0], [3]]], 1), ((0, 0), (0, 16))).astype("int32")


def batches(**kwargs):
    return TeacherForcedBatches(
        TEXTS, tf.zeros_like(TEXTS), start_id=2, labels=LABELS, batch_size=2, pad_id=0, **kwargs
    )


def test_targets_stand_one_place_to_the_right_of_the_labels():
    inputs, labels, weights = batches().batch(np.array([0, 1]))
    np.testing.assert_array_equal(labels, [[5, 6, 3], [5, 3, 0]])
    np.testing.assert_array_equal(inputs["target_ids"], [[2, 5, 6], [2, 5, 3]])
    np.testing.assert_array_equal(weights, [[1, 1, 1], [1, 1, 0]])
    np.testing.assert_array_equal(inputs["token_ids"], [[2, 7, 8, 9, 3], [2, 7, 3, 0, 0]])


def test_a_texts_weight_is_that_of_its_tokens():
    weighted = batches(sample_weight=np.array([2.0, 0.5, 1.0], "float32"))
    weights = weighted.batch(np.array([0, 1]))[2]
    np.testing.assert_array_equal(weights, [[2, 2, 2], [0.5, 0.5, 0]])


def test_the_dataset_serves_every_example_once():
    rows = [row for _, labels, _ in batches(seed=1).dataset() for row in labels.numpy().tolist()]
    stripped = sorted([token for token in row if token] for row in rows)
    assert stripped == [[5, 3], [5, 6, 3], [5, 6, 7, 3]]


def test_batches_have_targets_of_similar_lengths_where_texts_are_padded_alike():
    texts = tf.ragged.constant([[2] * 9, [2] * 16, [2]], dtype=tf.int32)
    # 9 and 16 tokens are of nearly one length: the targets' 3 and 2 decide.
    sorted_batches = TeacherForcedBatches(
        texts, tf.zeros_like(texts), start_id=2, labels=LABELS, batch_size=2, pad_id=0
    )
    assert np.concatenate(sorted_batches.order(0)).tolist() == [2, 1, 0]
