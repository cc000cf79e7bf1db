"""The learning rate, with values worked out by hand."""

import re

import keras
import numpy as np
import pytest

from keras_bert_scratch.training.schedules import WarmupLinearDecay


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ((2.0, 10, 4), [0, 0.5, 1, 1.5, 2, 10 / 6, 8 / 6, 1, 4 / 6, 2 / 6, 0, 0]),
        # Without warm-up, it starts at the peak.
        ((2.0, 4, 0), [2, 1.5, 1, 0.5, 0]),
        # transformers 5.23.0: get_linear_schedule_with_warmup(SGD(lr=1.0), 3, 8).get_last_lr()
        ((1.0, 8, 3), [0, 1 / 3, 2 / 3, 1, 0.8, 0.6, 0.4, 0.2, 0]),
        # Three batches that are accumulated share a rate.
        ((2.0, 4, 2, 3), [0, 0, 0, 1, 1, 1, 2, 2, 2, 1, 1, 1]),
    ],
)
def test_rates_by_hand(settings: tuple[float, ...], expected: list[float]) -> None:
    schedule = WarmupLinearDecay(*settings)
    rates = [float(schedule(step)) for step in range(len(expected))]
    np.testing.assert_allclose(rates, expected, atol=1e-7)


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
