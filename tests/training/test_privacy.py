"""Differential privacy: gradients against a loop's, the noise, and dp-accounting's epsilon.

Attacks on whole trainings are in test_privacy_attacks.py.
"""

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

from keras_bert_scratch import BertClassifier
from keras_bert_scratch.models.adapting import enable_lora
from keras_bert_scratch.training.privacy import (
    DifferentialPrivacy,
    add_clipped,
    epsilon_of,
    example_keys,
    find_noise_multiplier,
    per_example_gradients,
)


@pytest.fixture
def model(tiny_classifier):
    model = tiny_classifier()
    model.compile(keras.optimizers.SGD(1.0))
    return model


def examples_of(model, reviews, n=6):
    """Inputs, labels and weights; a text has a word twice, and one weight is 0."""
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
    @pytest.mark.parametrize("trained", ["all", "lora"])
    def test_equal_a_loops(self, model, reviews, trained):
        without_dropout(model)
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
        """Examples of weight 0 have gradients of 0: noise alone moves the weights."""
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

    def test_dropout_differs_from_step_to_step_and_fit_to_fit(self, model, reviews, monkeypatch):
        privacy, batches = started(model, reviews)
        gradients = recorded(privacy, model, monkeypatch)
        data = batches.batch(np.arange(6))
        found = [gradients(*data) for _ in range(2)]
        privacy.start(batches)
        found.append(gradients(*data))
        assert len({gradient.tobytes() for gradient in found}) == 3

    def test_is_for_fits_alone(self, model, reviews):
        privacy, batches = started(model, reviews)
        privacy.finish()
        with pytest.raises(ValueError, match="draws its batches itself: train by fit"):
            privacy(model, batches.batch(np.arange(4)))


def recorded(privacy, model, monkeypatch, noise=False):
    """Returns the step as a function to the sum that the optimizer would be given."""
    if not noise:
        monkeypatch.setattr(
            tf.random, "stateless_normal", lambda shape, seed, **kwargs: tf.zeros(shape)
        )
    given = []
    monkeypatch.setattr(model.optimizer, "apply", lambda means, _: given.append(means))

    ids = tf.TensorSpec((None, None), tf.int32)
    inputs = dict.fromkeys(("token_ids", "segment_ids", "padding_mask"), ids)
    columns = [tf.TensorSpec((None,), tf.int32), tf.TensorSpec((None,), tf.float32)]

    # One trace for all shapes.
    @tf.function(input_signature=[inputs, *columns])
    def step(*data):
        privacy(model, data)
        return given[-1]

    def total(*data):
        means = step(*data)
        size = privacy._expected_batch_size.numpy()
        return size * np.concatenate([np.ravel(mean).astype("float64") for mean in means])

    return total


class TestClipping:
    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
    def test_examples_that_are_not_finite_add_nothing(self, bad):
        """1e30 is finite, and its square is not."""
        gradients = [
            tf.constant([[3.0, 4.0], [bad, 0.0], [0.3, 0.4], [0.1, 0.1]]),
            (tf.zeros((4, 1, 2)), tf.zeros((4, 1), tf.int64)),
        ]
        is_drawn = tf.constant([True, True, True, False])
        sums = [tf.ones(2), tf.zeros((3, 2))]
        dense, table = tf.function(add_clipped)(sums, gradients, 1.0, is_drawn)
        np.testing.assert_allclose(dense, [1.9, 2.2], rtol=1e-6)
        np.testing.assert_array_equal(table, 0)

    def test_what_is_not_finite_in_a_table_or_was_not_drawn_adds_nothing(self):
        values = tf.constant([[[np.nan], [1.0]], [[2.0], [3.0]], [[np.inf], [1.0]]])
        rows = tf.constant([[0, 1], [2, 2], [3, 3]])
        found = add_clipped(
            [tf.zeros((4, 1))], [(values, rows)], 10.0, tf.constant([True, True, False])
        )
        np.testing.assert_allclose(found[0], [[0], [0], [5], [0]])

    def test_what_a_text_has_twice_and_nearly_cancels(self):
        """The norm is that of the sum, 1, where products of the parts leave rounding errors."""
        values = np.zeros((1, 2, 3), "float32")
        values[0, :, :2] = [[3000.0, 0.0], [-3000.0, 1.0]]
        rows = tf.constant([[1, 1]])
        found = add_clipped([tf.zeros((2, 3))], [(values, rows)], 0.5, tf.constant([True]))
        np.testing.assert_allclose(found[0], [[0, 0, 0], [0, 0.5, 0]], rtol=1e-6)

    def test_products_coarser_than_float32_leave_room(self, monkeypatch):
        """Both factors are rounded to 11 bits, up in the worst case."""
        config = tf.config
        monkeypatch.setattr(config, "list_physical_devices", lambda kind: ["a GPU"])
        gradient = [tf.constant([[3.0, 4.0]])]
        found = [add_clipped([tf.zeros(2)], gradient, 1.0, tf.constant([True]))[0]]
        monkeypatch.setattr(config.experimental, "tensor_float_32_execution_enabled", lambda: False)
        found.append(add_clipped([tf.zeros(2)], gradient, 1.0, tf.constant([True]))[0])
        norms = [np.linalg.norm(f) for f in found]
        assert norms[0] * (1 + 2**-11) ** 2 <= 1
        assert norms[0] > 0.995
        assert norms[1] == pytest.approx(1, rel=1e-6)


# Texts added to the others: long ones, to which the others are padded, with repeated words; a copy
# of another one; one of a single word.
NEIGHBOURS = [" ".join(["good"] * 25), "bad good " * 12, "a  good film", "film"]


@pytest.mark.filterwarnings("ignore:insecure_test_seed")
class TestSensitivity:
    @pytest.mark.parametrize("microbatch_size", [1, 4])
    def test_one_more_example_moves_the_sum_by_at_most_the_clip_norm(
        self, model, reviews, monkeypatch, microbatch_size
    ):
        """With dropout, and the example anywhere among the others."""
        assert model.encoder.config.dropout == 0.1
        privacy, _ = started(
            model, reviews, microbatch_size=microbatch_size, insecure_test_seed=1, clip_norm=0.5
        )
        texts, labels = (column[::6] for column in reviews)
        gradients = recorded(privacy, model, monkeypatch)

        def total(texts, labels, weights):
            privacy._steps.assign(3)  # the same masks
            batches = model.batches(texts, labels, weights, batch_size=4, training=True)
            return gradients(*batches.batch(np.arange(len(texts))))

        without = total(texts, labels, [1.0] * 8)
        moved = []
        for number, text in enumerate(NEIGHBOURS):
            place = 3 * number  # first, between others, last
            data = [list(column) for column in (texts, labels, [1.0] * 8)]
            for column, value in zip(data, (text, "negative", 1e6), strict=True):
                column.insert(place, value)
            moved.append(np.linalg.norm(total(*data) - without))
        assert max(moved) <= 0.5 * (1 + 1e-5)
        assert min(moved) >= 0.5 * (1 - 1e-5)

    def test_an_examples_key_is_its_own(self, model, reviews):
        key = tf.constant(5, tf.uint32)
        batches = model.batches(["a good film", "a bad film", "a bad film " * 5])
        keys = [
            example_keys(batches.batch(np.array(rows))[0], key).numpy()
            for rows in ([0, 1], [1, 0, 2])
        ]
        assert keys[0][0] == keys[1][1]
        assert keys[0][1] == keys[1][0]
        assert len({*keys[0], *keys[1]}) == 3
        assert example_keys(batches.batch(np.array([0]))[0], key + 1)[0] != keys[0][0]


class TestSecrets:
    def test_no_seed_of_keras_touches_them(self, model, reviews, monkeypatch):
        """Fits under the same seed, in one graph: each has its own noise and draws."""
        privacy, batches = started(model, reviews)
        gradients = recorded(privacy, model, monkeypatch, noise=True)
        x, y, weights = batches.batch(np.arange(4))
        noises, draws, deviations = [], [], (1.0, 1.0, 3.0)
        for deviation in deviations:
            privacy.noise_multiplier = deviation
            keras.utils.set_random_seed(0)
            privacy.start(batches)
            noises += [gradients(x, y, 0 * weights) for _ in range(2)]
            keras.utils.set_random_seed(0)
            draws.append(np.concatenate(model.batches(*reviews, training=True).order(0)))
        assert np.std(noises, axis=1) == pytest.approx(np.repeat(deviations, 2), rel=0.05)
        correlations = np.corrcoef(noises)[np.triu_indices(6, 1)]
        assert np.abs(correlations).max() <= 4 / np.sqrt(len(noises[0]))
        assert len({draw.tobytes() for draw in draws}) == 3

    def test_a_seed_for_tests_repeats_a_run_and_warns(self, model, reviews, monkeypatch):
        found = []
        for _ in range(2):
            with pytest.warns(UserWarning, match="insecure_test_seed=7 makes the noise known"):
                privacy, batches = started(model, reviews, insecure_test_seed=7)
            gradients = recorded(privacy, model, monkeypatch, noise=True)
            data = batches.batch(np.arange(4))
            noises = [gradients(*data)]
            privacy.start(batches)
            found.append([*noises, gradients(*data), *batches.order(0)])
            assert "insecure_test_seed" not in privacy.get_config()
        for one, other in zip(*found, strict=True):
            np.testing.assert_array_equal(one, other)
        # Even so, a training that goes on has new noise.
        assert np.all(found[0][0] != found[0][1])


def spending(noise, probability, steps):
    return {"noise_multiplier": noise, "sampling_probability": probability, "steps": steps}


class TestAccounting:
    @pytest.mark.parametrize(
        "trainings",  # noise, probability, steps
        [[(1.0, 4 / 48, 60)], [(5.0, 1.0, 3)], [(1.0, 0.1, 20), (3.0, 0.5, 7)]],
    )
    def test_epsilon_is_that_of_dp_accounting(self, trainings):
        coarse = PLDAccountant(value_discretization_interval=1e-3)
        fine, renyi = PLDAccountant(), RdpAccountant()
        for noise, probability, steps in trainings:
            event = dp.PoissonSampledDpEvent(probability, dp.GaussianDpEvent(noise))
            for accountant in (coarse, fine, renyi):
                accountant.compose(event, steps)
        epsilon = epsilon_of([spending(*training) for training in trainings], 1e-2)
        assert epsilon == pytest.approx(coarse.get_epsilon(1e-2), rel=1e-9)
        # Its own default, ten times finer, is never above ours, and hardly below.
        assert fine.get_epsilon(1e-2) <= epsilon <= 1.005 * fine.get_epsilon(1e-2)
        assert epsilon <= renyi.get_epsilon(1e-2)
        assert epsilon_of([], 1e-2) == 0.0

    def test_target_finds_the_least_noise(self):
        noise = find_noise_multiplier(3.0, delta=1e-5, probability=0.03, steps=100)

        def epsilon(noise):
            event = dp.PoissonSampledDpEvent(0.03, dp.GaussianDpEvent(noise))
            return PLDAccountant().compose(event, 100).get_epsilon(1e-5)

        assert epsilon(noise) <= 3.0 < epsilon(noise - 0.005)

    def test_target_takes_off_what_was_spent(self):
        spent = [spending(2.0, 0.05, 100)]
        noise = find_noise_multiplier(3.0, 1e-5, probability=0.03, steps=100, spent=spent)
        assert 2.97 < epsilon_of([*spent, spending(noise, 0.03, 100)], 1e-5) <= 3.0
        with pytest.raises(ValueError, match=r"epsilon=1.1 is spent: earlier fits cost 1.09\d+ at"):
            find_noise_multiplier(1.1, 1e-5, probability=0.03, steps=100, spent=spent)

    @pytest.mark.parametrize(
        ("kwargs", "message"),
        [
            ({"epsilon": None}, "Give epsilon or noise_multiplier, .* received epsilon=None"),
            ({"noise_multiplier": 1}, "Give epsilon or noise_mult"),
            ({"delta": 0.0}, "delta must be above 0, received 0.0"),
            ({"delta": 1.0}, "delta must be below 1, received 1.0"),
            ({"epsilon": -1.0}, "epsilon must be above 0, received -1.0"),
            (
                {"epsilon": None, "noise_multiplier": 0.1},
                "noise_multiplier must be at least 0.25, received 0.1: less noise protects nothing",
            ),
            ({"clip_norm": 0}, "clip_norm must be above 0, received 0"),
            ({"clip_norm": np.inf}, "clip_norm must be .*, received inf: give a finite number"),
            ({"epsilon": np.nan}, "epsilon must be above 0, received nan"),
            ({"epsilon": "3"}, "epsilon must be above 0, received '3'"),
            ({"microbatch_size": 2.5}, "microbatch_size must be an integer, received 2.5"),
        ],
    )
    def test_bad_values(self, kwargs, message):
        with pytest.raises(ValueError, match=message):
            DifferentialPrivacy(**{"delta": 1e-5, "epsilon": 1.0, **kwargs})

    @pytest.mark.parametrize(
        ("kwargs", "message"),
        [
            ({"delta": 0.03}, "at most 1 / n, received 0.03 for 48 .* above 0.0208"),
            ({"batch_size": 49}, "batch_size=49 for 48 examples: make it 48 at most"),
            (
                {"epochs": 3, "initial_epoch": 2},
                "initial_epoch=2 says .* does not know what they have spent",
            ),
            ({"epochs": 0}, "nothing to train from initial_epoch=0 to epochs=0"),
            *(
                (
                    {"noise_multiplier": None, "epsilon": epsilon, "delta": 1e-6},
                    rf"epsilon={epsilon} cannot be reached in 12 steps with sampling probability "
                    r"0.0833 and delta=1e-06: noise .* from 1000.0 to 0.25 give 0.00\d+ to \d+",
                )
                for epsilon in (1e-6, 1e6)
            ),
        ],
    )
    def test_fits_that_cannot_start(self, model, reviews, kwargs, message):
        with pytest.raises(ValueError, match=message):
            started(model, reviews, **kwargs)

    def test_cost_is_unknown_before_the_fit(self):
        with pytest.raises(ValueError, match="follows from the data: call fit first"):
            _ = DifferentialPrivacy(delta=1e-5, noise_multiplier=1.0).epsilon

    def test_missing_package(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "dp_accounting", None)
        with pytest.raises(ModuleNotFoundError, match='pip install .*the extra "privacy"'):
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

        with pytest.raises(ValueError, match=r"epsilon=2.0 is spent: earlier fits cost 2 at"):
            model.fit(texts, labels, batch_size=8)
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        assert again.training_step.get_config() == privacy.get_config()
        assert again.training_step.epsilon == privacy.epsilon
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


SPENT = [spending(2.0, 0.5, 3)]


class TestSpent:
    def test_goes_on_where_it_stopped(self, model, reviews, tmp_path):
        """Three epochs at once, in two fits, from a file, under new noise."""
        texts, labels = reviews

        def fit(model, **kwargs):
            return model.fit(texts, labels, batch_size=24, verbose=0, **kwargs).history["epsilon"]

        def compiled(model, noise):
            privacy = DifferentialPrivacy(delta=1e-2, noise_multiplier=noise, microbatch_size=8)
            model.compile(keras.optimizers.SGD(0.1), training_step=privacy)
            return model

        def epsilon(*trainings):
            return epsilon_of([spending(*training) for training in trainings], 1e-2)

        fit(compiled(model, 2.0), epochs=2)
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        for other in (model, again):
            found = fit(other, epochs=3, initial_epoch=2)
            assert found == [pytest.approx(epsilon((2.0, 0.5, 6)), rel=1e-6)]
        batches = again.batches(texts, labels, batch_size=24, training=True)
        compiled(again, 5.0).training_step.start(batches)
        again.training_step._steps.assign(2)
        expected = epsilon((2.0, 0.5, 6), (5.0, 0.5, 2))
        assert again.training_step.epsilon == pytest.approx(expected, rel=1e-6)
        assert [training["steps"] for training in again.privacy_spent] == [4, 2, 2]
        # A total that leaves something.
        privacy = DifferentialPrivacy(delta=1e-2, epsilon=expected + 0.5, microbatch_size=8)
        again.compile(keras.optimizers.SGD(0.1), training_step=privacy)
        privacy.start(batches, epochs=2)
        assert privacy.steps == 4 + 2 + 2
        assert expected + 0.45 < privacy.epsilon_after(8 + 4) <= expected + 0.5

    def test_stays_with_the_weights_however_they_go(self, tiny_classifier, tmp_path):
        model = tiny_classifier(privacy_spent=SPENT)
        model.save(tmp_path / "model.keras")
        model.save_pretrained(tmp_path / "folder")
        copies = [
            keras.saving.load_model(tmp_path / "model.keras"),
            BertClassifier.from_pretrained(tmp_path / "folder"),
            BertClassifier.from_pretrained(tmp_path / "folder", labels=["other", "names"]),
            model.with_layers([0]),
        ]
        for copy in copies:
            privacy = DifferentialPrivacy(delta=1e-2, noise_multiplier=1.0)
            copy.compile("sgd", training_step=privacy)
            assert copy.privacy_spent == privacy.spent == SPENT
            assert privacy.epsilon == epsilon_of(SPENT, 1e-2)
            copy.compile("sgd")
            assert copy.privacy_spent == SPENT

    @pytest.mark.parametrize("compiled", [False, True])
    def test_comes_with_an_adapter(self, tiny_classifier, tmp_path, compiled):
        models = [tiny_classifier(privacy_spent=spent) for spent in (SPENT, [])]
        for model in models:
            enable_lora(model.encoder, 2)
        models[0].save_adapter(tmp_path / "adapter")
        privacy = DifferentialPrivacy(delta=1e-2, noise_multiplier=1.0)
        if compiled:
            models[1].compile("sgd", training_step=privacy)
        models[1].load_adapter(tmp_path / "adapter")
        models[1].compile("sgd", training_step=privacy)
        assert models[1].privacy_spent == privacy.spent == SPENT

    def test_one_object_for_two_models(self, model, two_layer_classifier, reviews):
        privacy, _ = started(model, reviews)
        privacy._steps.assign(2)
        with pytest.raises(ValueError, match="has trained another model, for 2 steps: make a new"):
            two_layer_classifier().compile("sgd", training_step=privacy)

    @pytest.mark.parametrize(
        "change",
        [
            {"steps": 0},
            {"steps": 1.5},
            {"sampling_probability": 1.5},
            {"noise_multiplier": "2"},
            {"noise_multiplier": np.inf},
            {"epsilon": 0.1},
        ],
    )
    def test_damaged(self, tiny_classifier, change):
        with pytest.raises(ValueError, match="What a training has spent must be noise_multipl"):
            tiny_classifier(privacy_spent=[{**SPENT[0], **change}])
        with pytest.raises(ValueError, match="received 'steps'"):
            tiny_classifier(privacy_spent=["steps"])


class NoisyHead(keras.layers.Layer):
    """A head that is as a test wants it."""

    def __init__(self, layer):
        super().__init__()
        self.layer, self.dense = layer, keras.layers.Dense(2)
        layer.build((None, 16))
        self.dense.build((None, 16))

    def call(self, x, training=None):
        return self.dense(self.layer(x))


class AddsLoss(keras.layers.Layer):
    def call(self, x):
        self.add_loss(keras.ops.sum(x))
        return x


class TestRefusals:
    """They come before the first step: the weights stay as they were."""

    @pytest.mark.parametrize(
        ("layer", "message"),
        [
            (keras.layers.BatchNormalization(), "batch_normalization.* keeps a state that follows"),
            (keras.layers.Dropout(0.5), r"dropout\S* \(Dropout\) would draw the same for all"),
            (keras.layers.GaussianNoise(0.5), r"\(GaussianNoise\) would draw the same for all"),
            (keras.layers.Dense(16, kernel_regularizer="l2"), "has losses beside it"),
            (keras.layers.Dense(16, activity_regularizer="l2"), "has losses beside it"),
            (AddsLoss(), "has losses beside it"),
            (keras.layers.Dense(16, dtype="bfloat16"), "weights in float32, and .* has bfloat16"),
        ],
        ids=lambda value: getattr(value, "name", ""),
    )
    def test_models_whose_gradient_is_no_sum_over_examples(self, model, reviews, layer, message):
        model._tracker.unlock()  # as a subclass would, which makes its own head
        model.head = NoisyHead(layer)
        model.compile("sgd", training_step=DifferentialPrivacy(delta=1e-2, noise_multiplier=1.0))
        before = model.get_weights()
        with pytest.raises(ValueError, match=message):
            model.fit(*reviews, batch_size=8, verbose=0)
        for one, other in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"sample_weight": [1e30] + [1.0] * 47}, "from 0 to 1e.06, received 1.*e.30 at pos"),
            ({"class_weight": "balanced"}, "'balanced' follows from the labels of all examples"),
            (
                {"callbacks": [keras.callbacks.BackupAndRestore("backup")]},
                "BackupAndRestore brings back weights without what they have spent",
            ),
        ],
    )
    def test_arguments_of_fit(self, model, reviews, arguments, message):
        privacy = DifferentialPrivacy(delta=1e-2, noise_multiplier=1.0)
        model.compile("sgd", training_step=privacy)
        with pytest.raises(ValueError, match=message):
            model.fit(*reviews, batch_size=8, **arguments)
        assert privacy.spent == []

    @pytest.mark.parametrize("weight", [np.nan, np.inf, -1.0])
    def test_weights_that_are_none(self, model, reviews, weight):
        model.compile("sgd", training_step=DifferentialPrivacy(delta=1e-2, noise_multiplier=1.0))
        with pytest.raises(ValueError, match="weight"):
            model.fit(*reviews, batch_size=8, sample_weight=[1.0] * 47 + [weight])

    def test_batches_that_were_chosen(self, model, reviews):
        model.compile("sgd", training_step=DifferentialPrivacy(delta=1e-2, noise_multiplier=1.0))
        data = model.batches(*reviews).batch(np.arange(4))
        with pytest.raises(ValueError, match="train_on_batch takes a batch that was chosen"):
            model.train_on_batch(*data)

    def test_other_backends(self, model, monkeypatch):
        monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
        with pytest.raises(ValueError, match="needs Keras' TensorFlow backend, received jax"):
            DifferentialPrivacy(delta=1e-2, noise_multiplier=1.0).check_fit(model, draws=True)
