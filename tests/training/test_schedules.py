"""The learning rate, with values worked out by hand."""

import re

import keras
import numpy as np
import pytest

from keras_bert_scratch.training.schedules import WarmupLinearDecay


def test_rises_then_falls() -> None:
    schedule = WarmupLinearDecay(2.0, total_steps=10, warmup_steps=4)
    rates = [float(schedule(step)) for step in range(12)]
    expected = [0, 0.5, 1, 1.5, 2, 10 / 6, 8 / 6, 1, 4 / 6, 2 / 6, 0, 0]
    np.testing.assert_allclose(rates, expected, atol=1e-7)


def test_without_warmup_it_starts_at_the_peak() -> None:
    schedule = WarmupLinearDecay(2.0, total_steps=4, warmup_steps=0)
    rates = [float(schedule(step)) for step in range(5)]
    np.testing.assert_allclose(rates, [2, 1.5, 1, 0.5, 0])


def test_as_transformers_has_it() -> None:
    # transformers 5.23.0: get_linear_schedule_with_warmup(SGD(lr=1.0), 3, 8).get_last_lr()
    theirs = [0.0, 1 / 3, 2 / 3, 1.0, 0.8, 0.6, 0.4, 0.2, 0.0]
    schedule = WarmupLinearDecay(1.0, total_steps=8, warmup_steps=3)
    np.testing.assert_allclose([float(schedule(step)) for step in range(9)], theirs, atol=1e-7)


def test_batches_that_are_accumulated_share_a_rate() -> None:
    schedule = WarmupLinearDecay(2.0, total_steps=4, warmup_steps=2, batches_per_step=3)
    rates = [float(schedule(batch)) for batch in range(12)]
    np.testing.assert_allclose(rates, [0, 0, 0, 1, 1, 1, 2, 2, 2, 1, 1, 1])


def test_optimizer_follows_it() -> None:
    # Plain gradient descent on a gradient of 1 moves by the rate: 0, 1/2, 1, 1/2.
    weight = keras.Variable([0.0])
    optimizer = keras.optimizers.SGD(WarmupLinearDecay(1.0, total_steps=4, warmup_steps=2))
    positions = []
    for _ in range(4):
        optimizer.apply([keras.ops.ones((1,))], [weight])
        positions.append(float(weight[0]))
    np.testing.assert_allclose(positions, [0, -0.5, -1.5, -2])


def test_config_round_trip() -> None:
    schedule = WarmupLinearDecay(2.0, total_steps=10, warmup_steps=4, batches_per_step=2)
    config = keras.saving.serialize_keras_object(schedule)
    copy = keras.saving.deserialize_keras_object(config)
    assert isinstance(copy, WarmupLinearDecay)
    assert copy.get_config() == schedule.get_config()


@pytest.mark.parametrize(("warmup_steps", "total_steps"), [(-1, 10), (10, 10), (0, 0)])
def test_bad_steps(warmup_steps: int, total_steps: int) -> None:
    message = (
        "warmup_steps must be at least 0 and below total_steps, received warmup_steps="
        f"{warmup_steps} and total_steps={total_steps}."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        WarmupLinearDecay(1.0, total_steps=total_steps, warmup_steps=warmup_steps)
