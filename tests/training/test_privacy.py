"""Differential privacy: gradients against a loop's, the noise, and dp-accounting's epsilon."""

import json
import sys

import dp_accounting as dp
import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant

from keras_bert_scratch.training.privacy import (
    DifferentialPrivacy,
    find_noise_multiplier,
    per_example_gradients,
)


@pytest.fixture
def model(tiny_classifier):
    model = tiny_classifier()
    model.compile(keras.optimizers.SGD(1.0))
    return model


def examples_of(model, reviews, n=6):
    """Inputs, labels and weights; the same word comes twice in a text, and one weight is 0."""
    texts = ["good good bad good film film", *reviews[0][: n - 1]]
    labels = model.encode_labels((["negative"] + reviews[1])[:n])
    x, y = model.batches(texts, labels).batch(np.arange(n))
    return x, tf.constant(y), tf.constant([1.0, 0.5, 0.0, 2.0, 1.0, 0.1, 1.0, 1.0][:n])


def dense(gradient, variable):
    """One example's gradient of one variable."""
    if isinstance(gradient, tuple):
        gradient = tf.IndexedSlices(*gradient, variable.shape)
    return np.array(tf.convert_to_tensor(gradient))


def by_a_loop(model, x, y, weights):
    """The same gradients by one plain tape an example."""
    gradients = []
    for i in range(len(y)):
        row = {name: column[i : i + 1] for name, column in x.items()}
        with tf.GradientTape() as tape:
            loss = model.compute_loss(row, y[i : i + 1], model(row), weights[i : i + 1])
        slices = tape.gradient(loss, [v.value for v in model.trainable_variables])
        gradients.append([np.array(tf.convert_to_tensor(g)) for g in slices])
    return gradients


def without_dropout(model):
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    return model


class TestGradients:
    @pytest.mark.parametrize("trained", ["all", "head", "lora"])
    def test_equal_a_loops(self, model, reviews, trained):
        without_dropout(model)
        if trained == "head":
            model.encoder.trainable = False
        if trained == "lora":
            for block in model.encoder.blocks:
                block.attention.query.enable_lora(2)
                block.attention.query.lora_kernel_b.assign(np.full((2, 16), 0.1))
        x, y, weights = examples_of(model, reviews)
        expected = by_a_loop(model, x, y, weights)
        got, losses, logits = tf.function(per_example_gradients)(
            model, x, y, weights, tf.zeros(6, tf.uint32)
        )
        np.testing.assert_allclose(logits, model(x), atol=1e-6)
        assert losses[2] == 0
        scale = max(np.abs(g).max() for rows in expected for g in rows)
        assert scale > 0.1
        for i, rows in enumerate(expected):
            ours = [tuple(p[i] for p in g) if isinstance(g, tuple) else g[i] for g in got]
            for gradient, row, v in zip(ours, rows, model.trainable_variables, strict=True):
                np.testing.assert_allclose(dense(gradient, v), row, atol=1e-6)


def started(model, reviews, batch_size=4, epochs=1, initial_epoch=0, **kwargs):
    """A DifferentialPrivacy at the start of a fit on the 48 reviews, and its batches."""
    kwargs = {"delta": 1e-2, "noise_multiplier": 2.0, "microbatch_size": 4, **kwargs}
    privacy = DifferentialPrivacy(**kwargs)
    model.training_step = privacy
    texts, labels = reviews
    batches = model.batches(
        texts, model.encode_labels(labels), batch_size=batch_size, seed=0, training=True
    )
    privacy.start(batches, epochs, initial_epoch)
    return privacy, batches


class TestStep:
    def test_noise_has_the_stated_deviation(self, model, reviews):
        """Of examples of weight 0 the gradients are 0, so that noise alone moves the weights."""
        privacy, batches = started(model, reviews, noise_multiplier=3.0, clip_norm=0.5)
        x, y, weights = batches.batch(np.arange(6))
        before = np.concatenate([np.ravel(w) for w in model.get_weights()])
        moved = []
        step = tf.function(privacy)
        for _ in range(2):
            step(model, (x, y, 0 * weights))
            after = np.concatenate([np.ravel(w) for w in model.get_weights()])
            moved.append(after - before)
            before = after
        moved = np.concatenate(moved)
        deviation = 3.0 * 0.5 / 4
        assert moved.std() == pytest.approx(deviation, rel=4 / np.sqrt(2 * len(moved)))
        assert abs(moved.mean()) < 4 * deviation / np.sqrt(len(moved))
        assert scipy.stats.kstest(moved / deviation, "norm").pvalue > 0.01
        # No two weights, and no two steps, have the same noise.
        assert len(np.unique(moved.round(6))) > 0.9 * len(moved)

    def test_moves_by_the_sum_of_the_clipped_over_the_expected_size(
        self, two_layer_classifier, reviews, monkeypatch
    ):
        monkeypatch.setattr(
            tf.random, "stateless_normal", lambda shape, seed, **kwargs: tf.zeros(shape)
        )
        model = two_layer_classifier()
        model.compile(keras.optimizers.SGD(1.0))
        without_dropout(model)
        privacy, _ = started(model, reviews)
        x, y, weights = examples_of(model, reviews, 8)
        loop = by_a_loop(model, x, y, weights)
        norms = [np.sqrt(sum(np.sum(g**2) for g in rows)) for rows in loop]
        assert np.sum(np.array(norms) > 1) in range(2, 6)
        variables = model.trainable_variables
        expected = [
            v - sum(g * 1 / max(n, 1) for g, n in zip(rows, norms, strict=True)) / 4
            for v, rows in zip(variables, zip(*loop, strict=True), strict=True)
        ]
        logits = model(x).numpy()
        logs = tf.function(privacy)(model, (x, y, weights))
        for got, want in zip(variables, expected, strict=True):
            np.testing.assert_allclose(got, want, atol=1e-6)
        # Metrics are those of the rows whose weight is not 0.
        losses = np.logaddexp.reduce(logits, axis=1) - logits[np.arange(8), y]
        drawn = weights.numpy() > 0
        assert float(logs["loss"]) == pytest.approx(np.mean((losses * weights)[drawn]), rel=1e-5)
        assert float(logs["accuracy"]) == pytest.approx(np.mean((logits.argmax(1) == y)[drawn]))
        assert privacy.steps == 1

    def test_dropout_differs_from_step_to_step(self, model, reviews):
        x, y, weights = examples_of(model, reviews)
        step = tf.function(lambda: per_example_gradients(model, x, y, weights)[1])
        assert np.any(step().numpy() != step().numpy())


class TestAccounting:
    @pytest.mark.parametrize(
        ("batch_size", "noise", "steps"), [(4, 1.0, 60), (12, 2.0, 8), (48, 5.0, 3)]
    )
    def test_epsilon_is_that_of_dp_accounting(self, model, reviews, batch_size, noise, steps):
        privacy, _ = started(model, reviews, batch_size, noise_multiplier=noise)
        event = dp.PoissonSampledDpEvent(batch_size / 48, dp.GaussianDpEvent(noise))
        epsilon = privacy.epsilon_after(steps)
        coarse = PLDAccountant(value_discretization_interval=1e-3).compose(event, steps)
        assert epsilon == pytest.approx(coarse.get_epsilon(1e-2), rel=1e-9)
        # Its own default, ten times finer, is never above ours, and hardly below.
        fine = PLDAccountant().compose(event, steps).get_epsilon(1e-2)
        assert fine <= epsilon <= 1.005 * fine
        assert epsilon <= RdpAccountant().compose(event, steps).get_epsilon(1e-2)

    def test_target_finds_the_least_noise(self):
        noise = find_noise_multiplier(3.0, delta=1e-5, probability=0.03, steps=100)

        def epsilon(noise):
            event = dp.PoissonSampledDpEvent(0.03, dp.GaussianDpEvent(noise))
            return PLDAccountant().compose(event, 100).get_epsilon(1e-5)

        assert epsilon(noise) <= 3.0 < epsilon(noise - 0.005)

    def test_epochs_done_before_count(self, model, reviews):
        privacy, batches = started(model, reviews, epochs=3, initial_epoch=2)
        assert privacy.steps == 2 * len(batches) == 24

    @pytest.mark.parametrize(
        ("kwargs", "message"),
        [
            ({"delta": 1e-5}, "Give epsilon or noise_multiplier, .* received epsilon=None"),
            ({"delta": 1e-5, "epsilon": 1, "noise_multiplier": 1}, "Give epsilon or noise_mult"),
            ({"delta": 0.0, "epsilon": 1.0}, "delta must be above 0, received 0.0"),
            ({"delta": 1.0, "epsilon": 1.0}, "delta must be below 1, received 1.0"),
            ({"delta": 1e-5, "epsilon": -1.0}, "epsilon must be above 0, received -1.0"),
            (
                {"delta": 1e-5, "noise_multiplier": 0.1},
                "noise_multiplier must be at least 0.25, received 0.1: less noise protects nothing",
            ),
            (
                {"delta": 1e-5, "epsilon": 1.0, "clip_norm": 0},
                "clip_norm must be above 0, received 0",
            ),
        ],
    )
    def test_bad_values(self, kwargs, message):
        with pytest.raises(ValueError, match=message):
            DifferentialPrivacy(**kwargs)

    def test_delta_above_one_in_n(self, model, reviews):
        with pytest.raises(ValueError, match="at most 1 / n, received 0.03 for 48 .* above 0.0208"):
            started(model, reviews, delta=0.03)

    def test_batch_larger_than_the_data(self, model, reviews):
        with pytest.raises(ValueError, match="batch_size=49 for 48 examples: make it 48 at most"):
            started(model, reviews, batch_size=49)

    @pytest.mark.parametrize("epsilon", [1e-6, 1e6])
    def test_epsilon_out_of_reach(self, model, reviews, epsilon):
        message = (
            rf"epsilon={epsilon} cannot be reached in 12 steps with sampling probability 0.0833 and"
            r" delta=1e-06: noise multipliers from 1000.0 to 0.25 give 0.00\d+ to \d+"
        )
        with pytest.raises(ValueError, match=message):
            started(model, reviews, noise_multiplier=None, epsilon=epsilon, delta=1e-6)

    def test_cost_is_unknown_before_the_fit(self):
        with pytest.raises(ValueError, match="follows from the data: call fit first"):
            _ = DifferentialPrivacy(delta=1e-5, noise_multiplier=1.0).epsilon

    def test_missing_package(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "dp_accounting", None)
        with pytest.raises(
            ModuleNotFoundError, match=r'pip install "keras_bert_scratch\[privacy\]"'
        ):
            DifferentialPrivacy(delta=1e-5, epsilon=1.0)


class TestFit:
    def test_spends_its_budget_and_shows_it(self, model, reviews, capsys, tmp_path):
        texts, labels = reviews
        privacy = DifferentialPrivacy(delta=1e-2, epsilon=2.0, microbatch_size=4)
        model.compile(keras.optimizers.Adam(1e-3), training_step=privacy)
        held_out = (texts[:8], labels[:8])
        history = model.fit(texts, labels, batch_size=8, epochs=3, validation_data=held_out).history
        assert privacy.steps == 3 * 6
        event = dp.PoissonSampledDpEvent(8 / 48, dp.GaussianDpEvent(privacy.noise_multiplier))
        for epoch, epsilon in enumerate(history["epsilon"]):
            spent = PLDAccountant().compose(event, 6 * (epoch + 1)).get_epsilon(1e-2)
            assert epsilon == pytest.approx(spent, rel=5e-3)
        assert 1.95 < privacy.epsilon <= 2.0
        assert f"epsilon: {privacy.epsilon:.4f}" in capsys.readouterr().out
        assert set(history) >= {"loss", "accuracy", "val_loss", "val_accuracy"}
        card = json.loads(json.dumps(privacy.to_dict()))
        assert card["epsilon"] == privacy.epsilon
        assert card["steps"] == 18
        assert card["sampling_probability"] == 8 / 48

        with pytest.raises(
            ValueError, match=r"spent epsilon=[12][.0-9]*, delta=0.01: compile with a new"
        ):
            model.fit(texts, labels, batch_size=8)
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        assert again.training_step.get_config() == privacy.get_config()
        assert model.evaluate(*held_out, verbose=0) == again.evaluate(*held_out, verbose=0)

    @pytest.mark.parametrize("kwargs", [{"shuffle": False}, {"steps_per_epoch": 3}, {"x": "ids"}])
    def test_batches_that_are_not_drawn(self, model, reviews, kwargs):
        texts, labels = reviews
        privacy = DifferentialPrivacy(delta=1e-2, noise_multiplier=1.0)
        model.compile("sgd", training_step=privacy)
        if "x" in kwargs:
            kwargs = {"x": model.batches(texts).batch(np.arange(48))[0]}
        with pytest.raises(
            ValueError, match="batches drawn at random by fit itself: give it texts"
        ):
            model.fit(**{"x": texts, "y": model.encode_labels(labels), **kwargs})

    def test_windows(self, tiny_classifier, reviews):
        model = tiny_classifier(truncation="windows", sequence_length=8, window_stride=3)
        model.compile("sgd", training_step=DifferentialPrivacy(delta=1e-2, noise_multiplier=1.0))
        with pytest.raises(ValueError, match="is of examples, .* a text is several of them"):
            model.fit(*reviews)
