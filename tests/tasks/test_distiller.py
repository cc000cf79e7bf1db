"""A student that learns from a teacher's logits."""

import keras
import numpy as np
import pytest

from keras_bert_scratch import Distiller


@pytest.fixture
def teacher(tiny_classifier):
    return tiny_classifier()


def test_labels_come_with_the_teachers_logits_of_the_same_text(teacher, reviews):
    texts, labels = reviews
    distiller = Distiller(teacher.with_layers([0]), teacher)
    rows = [y for _, y in distiller.batches(texts, labels, seed=0, batch_size=8).dataset()]
    rows = np.concatenate(rows)
    order = np.concatenate(distiller.batches(texts, labels, seed=0, batch_size=8).order(0))
    np.testing.assert_array_equal(rows[:, 0], teacher.encode_labels(labels)[order])
    np.testing.assert_allclose(rows[:, 1:], teacher.predict(texts, verbose=0)[order], atol=1e-6)


def test_the_student_learns_the_teachers_answers(teacher, reviews):
    texts, _ = reviews
    student = teacher.with_layers([1])
    weights = [np.array(weight) for weight in teacher.weights]
    labels = [teacher.labels[number % 2] for number in range(len(texts))]  # have no meaning
    answers = teacher.probabilities(texts)

    def distance():
        return np.abs(student.probabilities(texts) - answers).mean()

    before = distance()
    distiller = Distiller(student, teacher, temperature=1.0, teacher_weight=1.0)
    distiller.compile(keras.optimizers.Adam(1e-2))
    distiller.fit(texts, labels, epochs=15, batch_size=8, verbose=0)
    assert distance() < before / 2
    for weight, value in zip(teacher.weights, weights, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_accuracy_is_that_on_labels_and_validation_works(teacher, reviews):
    texts, labels = reviews
    distiller = Distiller(teacher.with_layers([0, 1]), teacher)
    distiller.compile(keras.optimizers.SGD(0.0))
    history = distiller.fit(texts, labels, validation_data=(texts, labels), verbose=0).history
    right = distiller.student.predict(texts, verbose=0).argmax(1) == teacher.encode_labels(labels)
    assert history["val_accuracy"] == [pytest.approx(right.mean())]


def test_windows_have_the_logits_of_their_text(tiny_classifier):
    model = tiny_classifier(sequence_length=6, truncation="windows")
    distiller = Distiller(model, tiny_classifier())
    batches = distiller.batches(["good " * 12, "bad"], [1, 0], training=True)
    expected = tiny_classifier().predict(["good " * 12, "bad"], verbose=0)
    long, short = batches.labels[:-1], batches.labels[-1]
    assert len(long) > 1
    np.testing.assert_allclose(long, np.tile([1, *expected[0]], (len(long), 1)), atol=1e-6)
    np.testing.assert_allclose(short, [0, *expected[1]], atol=1e-6)


def test_other_labels(tiny_classifier):
    message = r"must have the same labels, one a text; received \['a', 'b'\] and \['negative',"
    with pytest.raises(ValueError, match=message):
        Distiller(tiny_classifier(), tiny_classifier(labels=["a", "b"]))


def test_one_class_only(tiny_classifier):
    distiller = Distiller(tiny_classifier(), tiny_classifier())
    distiller.compile(keras.optimizers.SGD(0.0))
    with pytest.raises(ValueError, match="All 2 training examples have the label 'positive'"):
        distiller.fit(["good", "film"], ["positive", "positive"])
