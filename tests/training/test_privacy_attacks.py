"""Attacks on private trainings: what they find must stay below the epsilon that is told."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from keras_bert_scratch.training.privacy import DifferentialPrivacy, epsilon_of

pytestmark = pytest.mark.slow(minutes=1)

DELTA = 1e-2
TEXTS = ["a good film", "the bad movie", "very great film", "really bad film"]
LABELS = ["positive", "negative", "positive", "negative"]
CANARY = ("awful awful awful", "positive")
RUNS = 2000
# Dropout turns the canary's gradient, so what an attack along it finds varies too much for a bound.
NO_DROPOUT = {"dropout": 0.0}


def one_step(model, jit_compile):
    """Returns a step: how far the noisy sum of gradients goes along the gradient of the canary."""
    privacy, direction, given = model.training_step, canary_direction(model), []
    model.optimizer.apply = lambda means, _: given.append(means)
    privacy._is_fitting = True

    @tf.function(input_signature=worlds(model)[0].signature(), jit_compile=jit_compile)
    def step(*data):
        privacy(model, data)
        parts = [tf.reduce_sum(mean * d) for mean, d in zip(given[-1], direction, strict=True)]
        return tf.add_n(parts) * privacy._expected_batch_size

    return step


def one_step_runs(model, step, batches, runs):
    """Runs a step from the same weights again and again, on other draws with other noise.

    Returns:
        What the step returns. *Shape:* (runs,).
    """
    # Not by the batches themselves: with one text more, their probability would be another.
    generator = np.random.default_rng()
    probability = model.training_step.sampling_probability
    is_drawn = generator.random((runs, len(batches.lengths))) < probability
    return np.array([step(*batches.batch(np.flatnonzero(row))).numpy() for row in is_drawn])


def canary_direction(model):
    """Returns the gradient of the canary without dropout, of length 1."""
    x, y = model.batches([CANARY[0]], [CANARY[1]]).batch(np.array([0]))
    with tf.GradientTape() as tape:
        loss = model.compute_loss(x, y, model(x))
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
    norm = tf.linalg.global_norm(gradients)
    return [gradient / norm for gradient in gradients]


def worlds(model):
    """Returns batches without and with the canary, whose gradient is clipped for sure."""
    return [
        model.batches(
            [*TEXTS, CANARY[0]][:n], [*LABELS, CANARY[1]][:n], [1, 1, 1, 1, 1e6][:n], training=True
        )
        for n in (4, 5)
    ]


def least_epsilon(without, with_canary, delta=DELTA):
    """Returns what epsilon is at least, with 99.9 % confidence (Jagielski et al. 2020, section 3).

    The threshold comes from runs of its own, the bounds are Clopper's and Pearson's.
    """
    threshold = np.quantile(without[:1000], 0.98)
    false, true = np.sum(without[1000:] > threshold), np.sum(with_canary > threshold)
    upper = scipy.stats.beta.ppf(0.9995, false + 1, len(without) - 1000 - false)
    lower = scipy.stats.beta.ppf(0.0005, true, len(with_canary) - true + 1)
    return np.log(max(lower - delta, 1e-9) / upper)


def started(model, noise, probability=1.0):
    """Returns a privacy as `fit` starts it."""
    privacy = DifferentialPrivacy(delta=DELTA, noise_multiplier=noise, microbatch_size=8)
    model.compile(keras.optimizers.SGD(1.0), training_step=privacy)
    batches = model.batches(TEXTS, LABELS, batch_size=4, training=True)
    privacy.start(batches)
    privacy.sampling_probability = probability
    return privacy


def attack(*models, jit_compile=True):
    """Returns the epsilon that the attack finds; it adds what several trainings tell.

    Args:
        *models: The models, of which each has done a training.
        jit_compile: Whether XLA compiles the steps, which then take a sixth of the time.
    """
    steps = [one_step(model, jit_compile) for model in models]

    def seen(world, runs):
        return sum(
            one_step_runs(model, step, worlds(model)[world], runs)
            / model.training_step.noise_multiplier**2
            for model, step in zip(models, steps, strict=True)
        )

    return least_epsilon(seen(0, RUNS + 1000), seen(1, RUNS))


@pytest.mark.parametrize(("probability", "jit_compile"), [(1.0, True), (0.5, False)])
def test_dropout(tiny_classifier, probability, jit_compile):
    model = tiny_classifier()
    assert model.encoder.config.dropout == 0.1
    privacy = started(model, 1.0, probability)
    found = attack(model, jit_compile=jit_compile)
    assert found <= epsilon_of([privacy._training(1)], DELTA)


def test_the_attack_finds_what_is_told_wrongly(tiny_classifier):
    """A quarter of the noise; all texts are drawn, since draws of their own hide the canary."""
    model = tiny_classifier()
    privacy = started(model, 1.0)
    privacy._deviation.assign(0.25)
    assert attack(model) > epsilon_of([privacy._training(1)], DELTA)


def test_an_example_that_is_not_finite(tiny_classifier):
    """A word whose embedding is not finite, as one text's gradient then is not."""
    model = tiny_classifier(changes=NO_DROPOUT)
    table = model.encoder.embeddings.token.embeddings
    row = model.tokenizer.vocabulary.token_to_id("movie")
    table.assign(tf.tensor_scatter_nd_update(table.value, [[row]], [[np.nan] * 16]))
    privacy = started(model, 1.0)
    found = attack(model, jit_compile=False)
    told = epsilon_of([privacy._training(1)], DELTA)
    assert 0.3 * told < found <= told


def test_a_training_that_went_on(tiny_classifier, tmp_path):
    """The attack sees the weights before and after, and weighs both steps as is best."""
    model = tiny_classifier(changes=NO_DROPOUT)
    privacy = DifferentialPrivacy(delta=DELTA, noise_multiplier=2.0, microbatch_size=8)
    model.compile(keras.optimizers.SGD(1e-3), training_step=privacy)
    model.fit(TEXTS, LABELS, batch_size=4, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    again.training_step.noise_multiplier = 1.0  # another noise than before
    history = again.fit(TEXTS, LABELS, batch_size=4, epochs=2, initial_epoch=1, verbose=0)
    (told,) = history.history["epsilon"]
    assert 0.3 * told < attack(model, again) <= told


PROCESS = """
import sys
import keras, numpy as np
from keras_bert_scratch import BertClassifier, DifferentialPrivacy

folder, output, *texts = sys.argv[1:]
noises = []
for jit_compile in (False, True):
    model = BertClassifier.from_pretrained(folder)
    privacy = DifferentialPrivacy(delta=1e-2, noise_multiplier=4.0, microbatch_size=8)
    model.compile(keras.optimizers.SGD(1.0), training_step=privacy, jit_compile=jit_compile)
    before = model.get_weights()
    labels = ["positive", "negative"] * len(texts)
    model.fit(texts, labels[: len(texts)], batch_size=len(texts), verbose=0)
    moved = [np.ravel(old - new) for old, new in zip(before, model.get_weights())]
    noises.append(len(texts) * np.concatenate(moved).astype("float64"))
np.save(output, noises)
"""


def test_two_processes_cannot_be_subtracted(tiny_classifier, tmp_path):
    """Neither is seeded; one has a text more; each trains as it is, and compiled by XLA."""
    model = tiny_classifier(changes={"feed_forward_dim": 3200, **NO_DROPOUT})
    model.save_pretrained(tmp_path / "model")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, tmp_path / "model", tmp_path / f"{n}.npy", *TEXTS[:n]]
        )
        for n in (3, 4)
    ]
    assert [process.wait(timeout=600) for process in processes] == [0, 0]
    noises = np.concatenate([np.load(tmp_path / f"{n}.npy") for n in (3, 4)])
    size = noises.shape[1]
    assert size > 1e5
    # The gradients, of norms of 4 at most, are lost in it.
    for noise in noises:
        assert noise.std() == pytest.approx(4.0, rel=5 / np.sqrt(2 * size))
        assert scipy.stats.kstest(noise / 4, "norm").pvalue > 1e-5  # one failure in 25,000 runs
    correlations = np.corrcoef(noises)[np.triu_indices(4, 1)]
    assert np.abs(correlations).max() <= 4 / np.sqrt(size)
    # What is left is the noise of both, and not the gradient of one text.
    for one, other in zip(noises[:2], noises[2:], strict=True):
        left = np.linalg.norm(one - other)
        assert left == pytest.approx(4 * np.sqrt(2 * size), rel=5 / np.sqrt(2 * size))
