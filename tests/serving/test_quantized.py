"""Weights in 8 and 4 bits by Keras' quantizers, and their export."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from keras_bert_scratch import BertClassifier

TEXTS = ["a good film", "bad, bad, bad", "the movie"]
# Keras warns of layers that have nothing to quantize.
pytestmark = pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("variables.data*"))


# A weight is off by half a step of its column's largest: 1/254, or 1/14 for 4 bits.
@pytest.mark.parametrize(
    ("mode", "tolerance"), [("int8", 0.01), pytest.param("int4", 0.1, marks=pytest.mark.slow)]
)
def test_export_of_a_quantized_model(
    tiny_classifier: Callable[..., BertClassifier], mode: str, tolerance: float, tmp_path: Path
) -> None:
    # Wide enough for its matrices to be nearly all of it.
    sizes = {"hidden_dim": 64, "feed_forward_dim": 256, "initializer_range": 0.05}
    model = tiny_classifier(changes=sizes)
    exact = model.probabilities(TEXTS)
    float_size = 4 * model.count_params()
    model.quantize(mode)
    rounded = model.probabilities(TEXTS)
    assert 0 < np.abs(rounded - exact).max() < tolerance
    model.export(tmp_path / mode)
    served = tf.saved_model.load(tmp_path / mode).signatures["serving_default"]
    outputs = served(text=tf.constant(TEXTS))
    np.testing.assert_allclose(outputs["probabilities"], rounded, atol=1e-5)
    # A quarter of the bytes, some scales, and what is not quantized.
    assert size(tmp_path / mode) < 0.3 * float_size

    message = "is quantized to int8, and a checkpoint holds floats: call save_pretrained before"
    with pytest.raises(ValueError, match=re.escape(message)):
        model.save_pretrained(tmp_path / "checkpoint")
    assert not (tmp_path / "checkpoint").exists()
