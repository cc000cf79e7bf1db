"""A student that learns from a teacher's logits."""

import keras
import numpy as np
import pytest

from keras_bert_scratch import BertClassifier, Distiller, WordPieceTokenizer


@pytest.fixture
def teacher(two_layer_classifier):
    return two_layer_classifier()


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


def test_class_weight_goes_by_the_label_not_by_the_teachers_logits(two_layer_classifier, reviews):
    teacher = two_layer_classifier(changes={"dropout": 0.0, "attention_dropout": 0.0})
    texts, labels = reviews
    distiller = Distiller(teacher.with_layers([0]), teacher)
    distiller.compile(keras.optimizers.SGD(0.0))
    losses = [
        distiller.fit(texts, labels, verbose=0, **weights).history["loss"][0]
        for weights in (
            {"class_weight": {"positive": 3.0}},
            {"sample_weight": [3.0 if label == "positive" else 1.0 for label in labels]},
            {},
        )
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert losses[0] > 1.5 * losses[2]


def test_windows_have_the_logits_of_their_text(two_layer_classifier):
    model = two_layer_classifier(sequence_length=6, truncation="windows")
    distiller = Distiller(model, two_layer_classifier())
    batches = distiller.batches(["good " * 12, "bad"], [1, 0], training=True)
    expected = two_layer_classifier().predict(["good " * 12, "bad"], verbose=0)
    long, short = batches.labels[:-1], batches.labels[-1]
    assert len(long) > 1
    np.testing.assert_allclose(long, np.tile([1, *expected[0]], (len(long), 1)), atol=1e-6)
    np.testing.assert_allclose(short, [0, *expected[1]], atol=1e-6)


@pytest.mark.parametrize("weight", ["hidden_weight", "attention_weight"])
def test_the_student_learns_how_the_teacher_finds_them(teacher, reviews, weight):
    texts, labels = reviews
    student = teacher.with_layers([0, 1])
    for variable in student.encoder.trainable_variables:
        variable.assign(variable + keras.random.normal(variable.shape, stddev=0.2, seed=0))
    inputs, _ = next(iter(student.batches(texts, labels, batch_size=16, seed=0).dataset()))

    def distances():
        """Of the first layer's [CLS] and of the last one's."""
        options = {"return_hidden_states": True, "return_attention": True}
        ours, theirs = (model.encoder(inputs, **options) for model in (student, teacher))
        key = "hidden_states" if weight == "hidden_weight" else "attention"
        ours, theirs = (
            np.array([x[..., 0, :] for x in found[key][-2:]]) for found in (ours, theirs)
        )
        return np.abs(ours - theirs).reshape(2, -1).mean(axis=1)

    before = distances()
    distiller = Distiller(student, teacher, teacher_weight=1.0, **{weight: 10.0})
    distiller.compile(keras.optimizers.Adam(1e-2))
    distiller.fit(texts, labels, epochs=15, batch_size=16, verbose=0)
    assert (distances() < before / 2).all()


def test_a_layer_learns_from_every_second_one_of_twice_as_many(teacher, reviews, monkeypatch):
    calls = []
    monkeypatch.setattr(
        "keras_bert_scratch.tasks.distiller.hidden_distance",
        lambda *call: calls.append(call) or keras.ops.zeros(()),
    )
    student = teacher.with_layers([0])
    for layer in student._flatten_layers():
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    distiller = Distiller(student, teacher, hidden_weight=1.0)
    inputs, _ = next(iter(distiller.batches(*reviews, batch_size=16, seed=0).dataset()))
    distiller(inputs, training=True)
    ((ours, theirs, mask),) = calls
    for states, model in ((ours, student), (theirs, teacher)):
        expected = model.encoder(inputs)["sequence_output"][:, :1]
        np.testing.assert_allclose(states, expected, atol=1e-6)
    np.testing.assert_array_equal(mask, inputs["padding_mask"])


def test_layers_that_cannot_be_compared(teacher):
    student = BertClassifier.from_pretrained("tiny-en", teacher.labels)
    message = r"multiple of the student's.* \(2, 16, 2\) and \(2, 128, 2\)\. Leave"
    with pytest.raises(ValueError, match=message):
        Distiller(student, teacher, attention_weight=1.0)
    Distiller(student, teacher)


def test_layers_of_other_tokens(two_layer_classifier):
    student, teacher = two_layer_classifier(), two_layer_classifier()
    config = {**teacher.tokenizer.get_config(), "lowercase": False, "strip_accents": False}
    teacher.tokenizer = WordPieceTokenizer.from_config(config)
    with pytest.raises(ValueError, match="must have the same tokenizer, .* or other settings. Lea"):
        Distiller(student, teacher, hidden_weight=1.0)
    Distiller(student, teacher)


def test_other_labels(two_layer_classifier):
    message = r"must have the same labels, one a text; received \['a', 'b'\] and \['negative',"
    with pytest.raises(ValueError, match=message):
        Distiller(two_layer_classifier(), two_layer_classifier(labels=["a", "b"]))


def test_one_class_only(two_layer_classifier):
    distiller = Distiller(two_layer_classifier(), two_layer_classifier())
    distiller.compile(keras.optimizers.SGD(0.0))
    with pytest.raises(ValueError, match="All 2 training examples have the label 'positive'"):
        distiller.fit(["good", "film"], ["positive", "positive"])
