"""Low-rank updates in files: saved as they are, and added where there is no room for them."""

from pathlib import Path

import keras
import numpy as np
import pytest

from keras_bert_scratch.layers.dense import Dense

X = np.array([[1.0, 2.0]], "float32")


def make(use_bias: bool = True, adapted: bool = False) -> keras.Model:
    model = keras.Sequential([keras.Input((2,)), Dense(1, use_bias=use_bias)])
    if adapted:
        model.layers[0].enable_lora(1, lora_alpha=2)
    return model


@pytest.fixture(params=[True, False], ids=["with bias", "without"])
def use_bias(request) -> bool:
    return request.param


@pytest.fixture
def saved(use_bias: bool, tmp_path: Path) -> Path:
    """A file of x W + b + 2 (x A) B with W = (1, 1), b = 0.5, A = (3, 0) and B = 5."""
    model = make(use_bias, adapted=True)
    values = {
        "kernel": [[1.0], [1.0]],
        "bias": [0.5],
        "lora_kernel_a": [[3.0], [0.0]],
        "lora_kernel_b": [[5.0]],
    }
    for weight in model.layers[0].weights:
        weight.assign(values[weight.name])
    model.save_weights(tmp_path / "adapted.weights.h5")
    return tmp_path / "adapted.weights.h5"


def test_updates_stay_updates(saved: Path, use_bias: bool) -> None:
    model = make(use_bias, adapted=True)
    model.load_weights(saved)
    layer = model.layers[0]
    weights = {weight.name: weight for weight in layer.weights}
    np.testing.assert_array_equal(weights["kernel"], [[1.0], [1.0]])
    np.testing.assert_array_equal(weights["lora_kernel_a"], [[3.0], [0.0]])
    np.testing.assert_array_equal(weights["lora_kernel_b"], [[5.0]])
    assert layer.lora_alpha == 2
    assert float(model(X)[0, 0]) == 1 + 2 + 0.5 * use_bias + 2 * 3 * 5


def test_a_layer_without_updates_gets_their_sum(saved: Path, use_bias: bool) -> None:
    model = make(use_bias)
    model.load_weights(saved)
    np.testing.assert_array_equal(model.layers[0].kernel, [[1.0 + 2 * 3 * 5], [1.0]])
    assert float(model(X)[0, 0]) == 1 + 2 + 0.5 * use_bias + 2 * 3 * 5


def test_a_file_without_updates(tmp_path: Path, use_bias: bool) -> None:
    plain, adapted = make(use_bias), make(use_bias, adapted=True)
    plain.save_weights(tmp_path / "plain.weights.h5")
    adapted.load_weights(tmp_path / "plain.weights.h5")
    np.testing.assert_array_equal(adapted(X), plain(X))
    assert np.abs(adapted.layers[0].lora_kernel_a).max() > 0


def test_quantizes_as_keras(use_bias: bool, tmp_path: Path) -> None:
    model = make(use_bias)
    exact = float(model(X)[0, 0])
    model.quantize("int8")
    assert model.layers[0].quantization_mode == "int8"
    assert float(model(X)[0, 0]) == pytest.approx(exact, abs=0.05)
    again = make(use_bias)
    again.quantize("int8")
    model.save_weights(tmp_path / "int8.weights.h5")
    again.load_weights(tmp_path / "int8.weights.h5")
    np.testing.assert_array_equal(again(X), model(X))
