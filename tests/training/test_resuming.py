"""A training that was stopped goes on exactly; test_pretraining_recipe.py kills whole runs."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_bert_scratch.training.optimizers import bert_optimizer
from keras_bert_scratch.training.resuming import ExactResume

RECIPE = {"seed": 1, "optimizer": {"name": "adamw", "rate": 0.01}}


def make_model(width: int = 4) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(width),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(1),
        ]
    )
    model.compile(bert_optimizer("adamw", 0.01, total_steps=40), "mse", metrics=["mae"])
    return model


def data(epoch: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(epoch)
    x = rng.normal(size=(20, 3)).astype("float32")
    return x, x.sum(1, keepdims=True)


def train(model: keras.Model, resume: ExactResume, epochs: int) -> None:
    for epoch in range(resume.epochs_done, epochs):
        x, y = data(epoch)
        model.fit(
            x, y, batch_size=5, shuffle=False, verbose=0, initial_epoch=epoch, epochs=epoch + 1,
            callbacks=[resume],
        )  # fmt: skip


def state(model: keras.Model) -> list[np.ndarray]:
    return [np.array(v) for v in (*model.variables, *model.optimizer.variables)]


def test_goes_on_exactly(tmp_path: Path) -> None:
    whole, stopped = (ExactResume(tmp_path / f"{name}.safetensors", RECIPE) for name in "ab")
    model = make_model()
    whole.restore(model)
    assert whole.epochs_done == 0
    train(model, whole, 6)
    for epochs in (1, 4, 6):
        other = make_model()
        stopped = ExactResume(tmp_path / "b.safetensors", RECIPE)
        stopped.restore(other)
        train(other, stopped, epochs)
    assert stopped.epochs_done == 6
    assert stopped.history == whole.history
    assert {name: len(values) for name, values in whole.history.items()} == {"loss": 6, "mae": 6}
    for left, right in zip(state(model), state(other), strict=True):
        np.testing.assert_array_equal(left, right)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({**RECIPE, "seed": 2}, r"differs in seed \(seed was 1, now it is 2\)"),
        (
            {"optimizer": {"name": "lamb", "rate": 0.01}, "new": True},
            r"differs in new, optimizer.name, seed \(new was None, now it is True\)",
        ),
    ],
)
def test_another_recipe_is_refused(tmp_path: Path, recipe: dict[str, Any], message: str) -> None:
    model = make_model()
    resume = ExactResume(tmp_path / "a.safetensors", RECIPE)
    train(model, resume, 1)
    content = resume.path.read_bytes()
    with pytest.raises(ValueError, match=message + ": go on with that recipe, or start"):
        ExactResume(resume.path, recipe).restore(make_model())
    assert resume.path.read_bytes() == content


def test_other_weights_and_damage_are_refused(tmp_path: Path) -> None:
    resume = ExactResume(tmp_path / "a.safetensors", RECIPE)
    train(make_model(), resume, 1)
    other = make_model(width=5)
    before = state(other)
    with pytest.raises(ValueError, match="does not hold the variables of this model"):
        ExactResume(resume.path, RECIPE).restore(other)
    np.testing.assert_array_equal(before[0], state(other)[0])
    resume.path.write_bytes(resume.path.read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"a.safetensors is damaged \(.*remove it, and start"):
        ExactResume(resume.path, RECIPE).restore(make_model())
