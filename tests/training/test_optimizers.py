"""Optimizers with BERT's settings, against the equations in numpy."""

import json
import math
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_bert_scratch import (
    BertClassifier,
    BertConfig,
    BertDecoder,
    BertEncoder,
    BertSummarizer,
)
from keras_bert_scratch.training.optimizers import BertAdamW, adamw, bert_optimizer

RATE, DECAY, EPSILON, BETA_1, BETA_2 = 0.1, 0.25, 1e-8, 0.9, 0.999


def make_optimizer(**changes: Any) -> BertAdamW:
    return adamw(
        RATE,
        **{"total_steps": 1000, "warmup_ratio": 0.0, "weight_decay": DECAY, **changes},
    )


def test_two_steps_by_hand() -> None:
    # Loshchilov & Hutter 2017, algorithm 2, with the norm of the gradients below the clipping.
    kernel = keras.Variable([[1.0, -2.0]], name="kernel")
    gradients = [np.array([[0.3, -0.4]]), np.array([[0.1, 0.2]])]
    optimizer = make_optimizer()
    expected = np.array([[1.0, -2.0]])
    m = v = 0.0
    for t, gradient in enumerate(gradients, 1):
        optimizer.apply([keras.ops.convert_to_tensor(gradient, "float32")], [kernel])
        rate = RATE * (1000 - (t - 1)) / 1000
        m = BETA_1 * m + (1 - BETA_1) * gradient
        v = BETA_2 * v + (1 - BETA_2) * gradient**2
        unbiased_m, unbiased_v = m / (1 - BETA_1**t), v / (1 - BETA_2**t)
        step = unbiased_m / (np.sqrt(unbiased_v) + EPSILON)
        expected = expected - rate * (step + DECAY * expected)
        np.testing.assert_allclose(kernel, expected, rtol=1e-5)


def test_gradients_are_clipped_by_their_global_norm() -> None:
    # The moment after a step is 0.1 times the clipped gradient: (3, 4) has norm 5, becomes
    # (0.6, 0.8); the norm counts over all weights.
    a, b = keras.Variable([0.0], name="kernel"), keras.Variable([0.0], name="bias")
    optimizer = make_optimizer()
    optimizer.apply([keras.ops.array([3.0]), keras.ops.array([4.0])], [a, b])
    moments = {
        x.path.split("/")[-1]: float(x[0]) for x in optimizer.variables if "momentum" in x.path
    }
    np.testing.assert_allclose(sorted(moments.values()), [0.06, 0.08], rtol=1e-5)


@pytest.mark.parametrize("clip_norm", [1.0, None])
def test_equals_keras(clip_norm: float | None) -> None:
    settings = {"learning_rate": 0.01, "weight_decay": 0.1, "global_clipnorm": clip_norm}
    models = []
    for optimizer in (BertAdamW(**settings), keras.optimizers.AdamW(**settings)):
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [keras.layers.Embedding(9, 4), keras.layers.Flatten(), keras.layers.Dense(1)]
        )
        optimizer.exclude_from_weight_decay(var_names=["bias"])
        model.compile(optimizer, "mse")
        rng = np.random.default_rng(0)
        for _ in range(5):
            # No token twice: see the next test.
            model.train_on_batch(rng.permutation(9).reshape(3, 3), 9 * rng.normal(size=(3, 1)))
        models.append(model)
    for ours, theirs in zip(models[0].weights, models[1].weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_the_gradients_of_a_token_that_comes_twice_are_added_up() -> None:
    # Keras' own clipping adds up their squares instead: it would find the norm sqrt(3^2 + 1^2).
    table = keras.Variable([[0.0], [0.0]], name="embeddings")
    gradient = tf.IndexedSlices(tf.constant([[3.0], [1.0]]), tf.constant([1, 1]), (2, 1))
    optimizer = make_optimizer()
    optimizer.apply([gradient], [table])
    moments = {x.path.split("_")[-1]: np.array(x) for x in optimizer.variables if x.ndim == 2}
    np.testing.assert_allclose(moments["momentum"], [[0], [0.1]], rtol=1e-5)  # of 4, clipped to 1
    np.testing.assert_allclose(moments["velocity"], [[0], [0.001]], rtol=1e-4)


def test_a_gradient_that_is_not_finite_shows() -> None:
    kernel = keras.Variable([1.0], name="kernel")
    make_optimizer().apply([keras.ops.array([np.inf])], [kernel])
    assert np.isnan(kernel[0])


@pytest.fixture
def model() -> keras.Model:
    """One weight of every kind that BERT has, all of them 1."""
    ids = keras.Input((3,), dtype="int32")
    x = keras.layers.Embedding(5, 2, name="token")(ids)
    x = keras.layers.LayerNormalization(name="norm")(x)
    model = keras.Model(ids, keras.layers.Dense(1, name="dense")(x))
    for weight in model.weights:
        weight.assign(np.ones(weight.shape))
    return model


def after_one_step_without_gradient(
    model: keras.Model, optimizer: keras.optimizers.Optimizer
) -> dict[str, float]:
    before = [np.array(weight) for weight in model.trainable_weights]
    optimizer.apply([keras.ops.zeros(w.shape) for w in model.trainable_weights])
    return {
        w.name: float(np.max(np.array(w) / b))
        for w, b in zip(model.trainable_weights, before, strict=True)
    }


def assert_decays_matrices_only(shrunk: dict[str, float], decay: float = DECAY) -> None:
    for name in ("bias", "gamma", "beta"):
        assert shrunk.pop(name) == 1
    assert set(shrunk) == {"embeddings", "kernel"}
    np.testing.assert_allclose(list(shrunk.values()), 1 - RATE * decay, rtol=1e-3)


def test_settings() -> None:
    config = adamw(3e-5, total_steps=50).get_config()
    assert config["learning_rate"]["config"] == {
        "peak_learning_rate": 3e-5, "total_steps": 50, "warmup_steps": 5,
        "batches_per_step": 1,
    }  # fmt: skip
    # Devlin et al. 2018, A.2; the gradient clipping is that of google-research/bert.
    expected = {"weight_decay": 0.01, "beta_1": 0.9, "beta_2": 0.999, "global_clipnorm": 1.0}
    assert config == {**config, **expected}
    config = bert_optimizer("lion", total_steps=10).get_config()
    assert config["learning_rate"]["config"]["peak_learning_rate"] == 1e-4
    config = bert_optimizer("schedule-free", 1e-3, total_steps=50).get_config()
    assert (config["learning_rate"], config["warmup_steps"]) == (pytest.approx(1e-3), 5)


@pytest.mark.parametrize("warmup_ratio", [-0.1, 1.0, math.nan])
def test_bad_warmup_ratio(warmup_ratio: float) -> None:
    message = f"warmup_ratio must be in [0, 1), received {warmup_ratio!r}."
    with pytest.raises(ValueError, match=re.escape(message)):
        adamw(total_steps=10, warmup_ratio=warmup_ratio)


@pytest.mark.parametrize(
    ("warmup_ratio", "total_steps", "warmup_steps"),
    [(0.0, 10, 0), (0.1, 10, 1), (0.1, 11, 2), (0.06, 3907, 235), (0.1, 1, 0), (0.95, 10, 9)],
)
def test_warmup_is_rounded_up_but_leaves_a_step(
    warmup_ratio: float, total_steps: int, warmup_steps: int
) -> None:
    settings = {"total_steps": total_steps, "warmup_ratio": warmup_ratio}
    config = bert_optimizer("adamw", **settings).get_config()
    assert config["learning_rate"]["config"]["warmup_steps"] == warmup_steps
    assert bert_optimizer("schedule-free", **settings).warmup_steps == warmup_steps


def test_no_steps() -> None:
    with pytest.raises(ValueError, match="below total_steps, received warmup_steps=0 and total_s"):
        adamw(total_steps=0)


NAMES = ("adamw", "lamb", "lion", "muon", "schedule-free")


class TestEveryOptimizer:
    @pytest.mark.parametrize("name", NAMES)
    def test_decays_matrices_only_when_made_from_its_config(
        self, model: keras.Model, name: str
    ) -> None:
        optimizer = bert_optimizer(
            name, RATE, total_steps=1000, warmup_ratio=0.0, weight_decay=DECAY
        )
        config = json.dumps(keras.saving.serialize_keras_object(optimizer))
        optimizer = keras.saving.deserialize_keras_object(json.loads(config))
        assert json.dumps(keras.saving.serialize_keras_object(optimizer)) == config
        optimizer.build(model.trainable_weights)
        shrunk = after_one_step_without_gradient(model, optimizer)
        # LAMB makes all of its updates as long as the weights, here one that is decay alone.
        assert_decays_matrices_only(shrunk, 1.0 if name == "lamb" else DECAY)

    @pytest.mark.parametrize("name", NAMES)
    def test_first_step_has_the_peak_rate(self, name: str) -> None:
        # The gradient (3, 0; 0, 4) of a matrix (1, 0; 0, 1) is clipped to (0.6, 0; 0, 0.8). AdamW,
        # Lion and schedule-free take its sign; LAMB's step is as long as the weights, which is also
        # the sign; Muon's is the nearest orthogonal matrix times 0.2 sqrt(2) in Keras, whose
        # singular values five iterations give to within a third.
        matrix = keras.Variable([[1.0, 0.0], [0.0, 1.0]], name="kernel")
        optimizer = bert_optimizer(name, RATE, total_steps=1000, warmup_ratio=0.0, weight_decay=0.0)
        optimizer.apply([keras.ops.array([[3.0, 0.0], [0.0, 4.0]])], [matrix])
        step = np.eye(2) * RATE
        if name == "muon":
            step *= 0.2 * math.sqrt(2)
        np.testing.assert_allclose(1 - np.diag(matrix), np.diag(step), rtol=0.35)
        if name != "muon":
            np.testing.assert_allclose(np.eye(2) - matrix, step, rtol=1e-3)

    @pytest.mark.parametrize("warmup_ratio", [0.0, 0.1, 0.25])
    def test_schedule_free_is_its_algorithm(self, warmup_ratio: float) -> None:
        # Defazio et al. 2024, algorithm 1 with AdamW's denominator: gradients are taken at y, z
        # goes along them, and x is the mean of all z, weighed by the squares of their rates.
        generator = np.random.default_rng(0)
        z = x = generator.normal(size=3)
        squares, sum_of_weights = np.zeros(3), 0.0
        weight = keras.Variable(z, name="kernel", dtype="float64")
        optimizer = bert_optimizer(
            "schedule-free",
            0.125,  # exact in float32, which Keras holds it in
            total_steps=20,
            warmup_ratio=warmup_ratio,
            weight_decay=0.1,
            clip_norm=100.0,
        )
        for step in range(1, 21):
            gradient = generator.normal(size=3)
            optimizer.apply([keras.ops.convert_to_tensor(gradient, "float64")], [weight])
            y, rate = 0.1 * z + 0.9 * x, 0.125 * min(step / max(20 * warmup_ratio, 1), 1)
            squares = 0.999 * squares + 0.001 * gradient**2
            denominator = np.sqrt(squares / (1 - 0.999**step)) + 1e-8
            z = z - rate * (gradient / denominator + 0.1 * y)
            sum_of_weights += rate**2
            x = x + (z - x) * rate**2 / sum_of_weights
            np.testing.assert_allclose(weight, 0.1 * z + 0.9 * x, rtol=1e-6)

    def test_lamb_is_its_algorithm(self) -> None:
        # You et al. 2019, algorithm 2 with phi the identity. A bias does not decay, and a weight of
        # zeros has no norm to go by.
        generator = np.random.default_rng(0)
        x = [generator.normal(size=(3, 2)), generator.normal(size=2), np.zeros((2, 2))]
        names = ("kernel", "bias", "kernel")
        weights = [
            keras.Variable(a, name=n, dtype="float64") for a, n in zip(x, names, strict=True)
        ]
        optimizer = bert_optimizer(
            "lamb", RATE, total_steps=10, warmup_ratio=0.0, weight_decay=DECAY, clip_norm=100.0
        )
        m, v = [0.0] * 3, [0.0] * 3
        for t in range(1, 11):
            gradients = [generator.normal(size=a.shape) for a in x]
            optimizer.apply([keras.ops.convert_to_tensor(g, "float64") for g in gradients], weights)
            rate = RATE * (10 - (t - 1)) / 10
            for i, gradient in enumerate(gradients):
                m[i] = 0.9 * m[i] + 0.1 * gradient
                v[i] = 0.999 * v[i] + 0.001 * gradient**2
                update = m[i] / (1 - 0.9**t) / (np.sqrt(v[i] / (1 - 0.999**t)) + 1e-6)
                update = update + (0.0 if names[i] == "bias" else DECAY) * x[i]
                norm = np.linalg.norm(x[i])
                x[i] = x[i] - rate * (norm / np.linalg.norm(update) if norm else 1.0) * update
                np.testing.assert_allclose(weights[i], x[i], rtol=1e-6)

    @pytest.mark.parametrize("name", ["embeddings", "logits"])
    def test_muon_does_not_go_by_the_name_of_the_network(self, tiny_config, name: str) -> None:
        model = BertClassifier(
            BertEncoder(tiny_config, name=name), ["no", "yes"], name=f"my_{name}"
        )
        optimizer = bert_optimizer("muon", total_steps=10)
        optimizer.build(model.trainable_weights)
        by_adamw = {
            weight.path.partition("/")[2]
            for weight in model.trainable_weights
            if optimizer._should_use_adamw(weight) and weight.ndim == 2
        }
        tables = ("token", "segment", "position")
        expected = {f"embeddings/{table}/embeddings" for table in tables}
        assert by_adamw == expected | {"head/logits/kernel"}

    @pytest.mark.parametrize("name", NAMES)
    def test_learns_in_fit(self, name: str) -> None:
        # The weights that make 2 a - b of a and b, from two others.
        x = np.random.default_rng(0).normal(size=(200 * 8, 2)).astype("float32")
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
        model.layers[0].kernel.assign([[1.0], [1.0]])
        model.compile(bert_optimizer(name, 0.2, total_steps=200, weight_decay=0.0), "mse")
        model.fit(x, x @ [[2.0], [-1.0]], batch_size=8, verbose=0)
        np.testing.assert_allclose(model.layers[0].kernel, [[2.0], [-1.0]], atol=0.2)

    def test_unknown(self) -> None:
        message = "The optimizers are adamw, lamb, lion, muon, schedule-free; received 'adam'."
        with pytest.raises(ValueError, match=re.escape(message)):
            bert_optimizer("adam", total_steps=10)


class TestLayerDecay:
    @pytest.fixture
    def classifier(self, tiny_config: BertConfig) -> BertClassifier:
        return BertClassifier(BertEncoder(tiny_config), ["negative", "positive"])

    def rates(self, model: keras.Model, optimizer: keras.optimizers.Optimizer) -> dict[str, float]:
        """Returns how far a gradient of 1 moves each weight; Adam's first step is the rate."""
        before = [np.array(weight) for weight in model.trainable_weights]
        optimizer.apply([keras.ops.ones(w.shape) for w in model.trainable_weights])
        return {
            w.path.split("/", 1)[1]: float(np.max(b - np.array(w)))
            for w, b in zip(model.trainable_weights, before, strict=True)
        }

    # The user chooses names, also those that are parts of a network elsewhere.
    @pytest.mark.parametrize(
        "name", [None, "decoder", "decoder_1", "block_0", "embeddings", "head"]
    )
    def test_rates_by_hand(self, tiny_config: BertConfig, name: str | None) -> None:
        classifier = BertClassifier(BertEncoder(tiny_config, name=name), ["negative", "positive"])
        optimizer = make_optimizer(layer_decay=0.5, weight_decay=0.0)
        optimizer.build(classifier.trainable_weights)
        rates = self.rates(classifier, optimizer)
        # Three blocks: pooler and head, block 2, 1, 0, embeddings.
        expected = {
            "head": 1, "pooler": 1, "block_2": 1 / 2, "block_1": 1 / 4, "block_0": 1 / 8,
            "embeddings": 1 / 16,
        }  # fmt: skip
        assert {path.split("/")[0] for path in rates} == set(expected)
        for path, rate in rates.items():
            assert rate == pytest.approx(RATE * expected[path.split("/")[0]], rel=1e-3), path

    @pytest.mark.parametrize(
        "names", [(None, None), ("decoder", "encoder"), ("block_1", "block_2")]
    )
    def test_a_decoder_stands_on_the_whole_encoder(self, tiny_config: BertConfig, names) -> None:
        encoder = BertEncoder(tiny_config, name=names[0])
        model = BertSummarizer(encoder, BertDecoder(tiny_config, name=names[1]), summary_length=3)
        optimizer = make_optimizer(layer_decay=0.5, weight_decay=0.0)
        optimizer.build(model.trainable_weights)
        before = [np.array(weight) for weight in model.trainable_weights]
        optimizer.apply([keras.ops.ones(w.shape) for w in model.trainable_weights])
        moved = {
            id(w): np.max(b - np.array(w))
            for w, b in zip(model.trainable_weights, before, strict=True)
        }
        for weight in model.decoder.trainable_weights:
            assert moved[id(weight)] == pytest.approx(RATE, rel=1e-3), weight.path
        for number, block in enumerate(model.encoder.blocks):  # three
            for weight in block.trainable_weights:
                assert moved[id(weight)] == pytest.approx(RATE / 2 ** (3 - number), rel=1e-3)

    def test_decay_of_the_weights_has_the_same_rates(self, classifier: BertClassifier) -> None:
        optimizer = make_optimizer(layer_decay=0.5)
        optimizer.build(classifier.trainable_weights)
        for weight in classifier.weights:
            weight.assign(np.ones(weight.shape))
        shrunk = after_one_step_without_gradient(classifier, optimizer)
        kernel = classifier.encoder.blocks[1].attention.query.kernel
        np.testing.assert_allclose(kernel, 1 - RATE * DECAY / 4, rtol=1e-5)
        np.testing.assert_allclose(classifier.head.logits.kernel, 1 - RATE * DECAY, rtol=1e-5)
        assert shrunk["bias"] == 1

    def test_survives_saving(self, classifier: BertClassifier, tmp_path: Path) -> None:
        classifier.compile(make_optimizer(layer_decay=0.5, weight_decay=0.0))
        classifier.optimizer.build(classifier.trainable_weights)
        classifier.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        rates = self.rates(loaded, loaded.optimizer)
        assert rates["block_0/attention/query/kernel"] == pytest.approx(RATE / 8, rel=1e-3)

    @pytest.mark.parametrize("layer_decay", [0.0, 1.5, math.nan])
    def test_bad_ratio(self, layer_decay: float) -> None:
        message = f"layer_decay must be above 0 and at most 1, received {layer_decay!r}."
        with pytest.raises(ValueError, match=re.escape(message)):
            make_optimizer(layer_decay=layer_decay)
