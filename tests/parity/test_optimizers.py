"""The schedule-free optimizer and its package, the warm-up and transformers' number of steps."""

from pathlib import Path

import keras
import numpy as np
import pytest
import torch

from keras_bert_scratch.training.optimizers import bert_optimizer


@pytest.mark.parametrize("warmup_ratio", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_schedule_free(warmup_ratio: float, weight_decay: float) -> None:
    import schedulefree

    rng = np.random.default_rng(0)
    target, start = rng.normal(size=(2, 4, 3))
    ours = keras.Variable(start, name="kernel", dtype="float64")
    theirs = torch.nn.Parameter(torch.tensor(start))
    optimizer = bert_optimizer(
        "schedule-free",
        0.0625,  # exact in float32, which Keras holds it in
        total_steps=60,
        warmup_ratio=warmup_ratio,
        weight_decay=weight_decay,
        clip_norm=None,
    )
    reference = schedulefree.AdamWScheduleFree(
        [theirs], lr=0.0625, warmup_steps=int(60 * warmup_ratio), weight_decay=weight_decay
    )
    reference.train()
    for _ in range(60):
        noise = rng.normal(0, 0.3, target.shape)
        # Each goes down the slope of its own place: differences would grow.
        optimizer.apply([ours - keras.ops.convert_to_tensor(target - noise)], [ours])
        theirs.grad = theirs.detach() - torch.tensor(target - noise)
        reference.step()
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-6)


@pytest.mark.parametrize("warmup_ratio", [0.05, 0.07, 0.1, 0.3])
def test_steps_of_the_warmup(warmup_ratio: float, tmp_path: Path) -> None:
    import transformers

    settings = transformers.TrainingArguments(str(tmp_path), warmup_steps=warmup_ratio)
    for total_steps in (10, 33, 100, 3907):
        schedule = bert_optimizer(
            "adamw", total_steps=total_steps, warmup_ratio=warmup_ratio
        )._learning_rate
        assert schedule.warmup_steps == settings.get_warmup_steps(total_steps)
