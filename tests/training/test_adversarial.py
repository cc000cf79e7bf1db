"""Adversarial training: its perturbations, worked out by hand."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest

from keras_bert_scratch.tasks.classifier import BertClassifier
from keras_bert_scratch.training.adversarial import AdversarialTraining, added_to_output
from keras_bert_scratch.training.distribution import DistributableModel


class Linear(DistributableModel):
    """Embeddings of 0, and the logits (0, w · their sum over the tokens), with w = (3, 4)."""

    def __init__(self):
        super().__init__()
        self.embedding = keras.layers.Embedding(5, 2, embeddings_initializer="zeros")
        self.embedding.build()
        self.embedding.trainable = False
        self.encoder = SimpleNamespace(embeddings=SimpleNamespace(token=self.embedding))
        self.w = self.add_weight(shape=(2,), initializer="zeros")
        self.w.assign([3.0, 4.0])
        self.built = True
        self.seen = []

    def call(self, inputs, training=None):
        embeddings = self.embedding(inputs["token_ids"])
        self.seen.append(np.array(embeddings))
        mask = keras.ops.cast(inputs["padding_mask"], "float32")[..., None]
        z = keras.ops.sum(embeddings * mask, axis=1) @ self.w[:, None]
        return keras.ops.concatenate([0 * z, z], axis=1)


@pytest.fixture
def linear():
    model = Linear()
    model.compile(
        keras.optimizers.SGD(1.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        run_eagerly=True,
    )
    return model


def batch():
    """Two texts of 4 tokens and one of 1, with padding; of class 0, 1 and 0."""
    mask = np.array([[1, 1, 1, 1, 0], [1, 1, 1, 1, 0], [1, 0, 0, 0, 0]])
    x = {"token_ids": mask, "segment_ids": 0 * mask, "padding_mask": mask}
    return {name: rows.astype("int32") for name, rows in x.items()}, np.array([0, 1, 0])


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


class TestFgm:
    def test_perturbation_by_hand(self, linear):
        """The gradient by each token is ± w / 2; |w| = 5, so that over 4 tokens it has norm 5.

        r is radius 2 of (0.3, 0.4) for each of 4 tokens, up for class 0 and down for class 1, and
        2 of (0.6, 0.8) for a single token.
        """
        AdversarialTraining(radius=2.0)(linear, batch())
        clean, perturbed = linear.seen
        assert not clean.any()
        four, one, none = [0.6, 0.8], [1.2, 1.6], [0, 0]
        expected = [[four] * 4 + [none], -np.array([four] * 4 + [none]), [one] + [none] * 4]
        np.testing.assert_allclose(perturbed, expected, atol=1e-6)

    def test_step_is_that_of_the_sum_of_both_losses(self, linear):
        """On the texts themselves, all 0, the gradient by w is 0.

        Perturbed, a sum of embeddings is E = ± (2.4, 3.2), and z = w · E = ± 20; for the single
        token (1.2, 1.6), and 10. The gradient of a text is (sigmoid(z) - class) E, and their mean
        counts.
        """
        logs = AdversarialTraining(radius=2.0)(linear, batch())
        e = np.array([2.4, 3.2])
        gradient = (sigmoid(20) * e + (sigmoid(-20) - 1) * -e + sigmoid(10) * e / 2) / 3
        np.testing.assert_allclose(linear.w, np.array([3.0, 4.0]) - gradient, rtol=1e-5)
        assert float(logs["loss"]) == pytest.approx(np.log(2))
        assert float(logs["accuracy"]) == pytest.approx(2 / 3)


class TestPgd:
    def test_each_step_goes_on_from_the_last(self, linear):
        """Where the gradient keeps its direction, steps of 0.5 reach 1.5, and no more than 1.25."""
        AdversarialTraining(radius=1.25, steps=3, step_size=0.5)(linear, batch())
        lengths = [np.sqrt((seen**2).sum((1, 2))) for seen in linear.seen]
        np.testing.assert_allclose(lengths, [[0] * 3, [0.5] * 3, [1] * 3, [1.25] * 3], atol=1e-6)

    @pytest.mark.parametrize(
        ("radius", "gradient", "expected"),
        [
            (2.0, [0.0, 5.0], [0.6, 0.8]),  # inside the ball
            (0.5, [0.0, 5.0], [0.3, 0.4]),  # back to it
            (2.0, [0.0, 0.0], [0.6, 0.0]),  # nowhere to go
        ],
    )
    def test_move(self, radius, gradient, expected):
        step = AdversarialTraining(radius, steps=2, step_size=0.8)
        moved = step.move(np.array([[[0.6, 0.0]]], "float32"), np.array([[gradient]], "float32"))
        np.testing.assert_allclose(moved, [[expected]], atol=1e-6)

    def test_default_step_size(self):
        assert AdversarialTraining(2.0, steps=4).step_size == 2.5 * 2.0 / 4


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"radius": 0}, "radius must be above 0, received 0"),
        ({"steps": 0}, "steps must be above 0, received 0"),
        ({"step_size": -1.0}, "step_size must be above 0, received -1.0"),
    ],
)
def test_bad_values(kwargs, message):
    with pytest.raises(ValueError, match=message):
        AdversarialTraining(**kwargs)


class TestClassifier:
    def test_term_is_added_to_the_token_embeddings(self, tiny_classifier, reviews):
        """A constant added to the output is that constant added to every row of the table."""
        model = tiny_classifier()
        x = model.batches(reviews[0]).batch(np.arange(4))[0]
        token = model.encoder.embeddings.token
        before, shift = model(x), np.linspace(-1, 1, 16, dtype="float32")
        with added_to_output(token, shift):
            got = model(x)
        np.testing.assert_array_equal(model(x), before)
        token.embeddings.assign(token.embeddings + shift)
        np.testing.assert_allclose(got, model(x), atol=1e-5)
        assert not np.allclose(got, before, atol=1e-2)

    @pytest.mark.filterwarnings("ignore:This processor has no bfloat16 products")
    def test_fit_learns_in_mixed_precision_and_is_saved(self, tiny_classifier, reviews, tmp_path):
        tiny_classifier().save_pretrained(tmp_path / "model")
        model = BertClassifier.from_pretrained(tmp_path / "model", dtype="mixed_bfloat16")
        step = AdversarialTraining(radius=0.05, steps=2)
        model.compile(keras.optimizers.Adam(3e-3), training_step=step)
        history = model.fit(*reviews, batch_size=8, epochs=12, verbose=0).history
        assert history["accuracy"][-1] > 0.9 > history["accuracy"][0]
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        assert again.training_step.get_config() == step.get_config()
        # Without the argument, compile trains as Keras does.
        again.compile("sgd")
        assert again.training_step is None
