import keras
import numpy as np
import pytest

from keras_bert_scratch.training.label_smoothing import SmoothedCrossentropy


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 0.5])
def test_equals_keras_on_one_hot_vectors(label_smoothing):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (2, 4, 7)).astype("float32")
    ids = rng.integers(7, size=(2, 4))
    reference = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=label_smoothing, reduction=None
    )
    expected = reference(np.eye(7)[ids], logits)
    found = SmoothedCrossentropy(label_smoothing, reduction=None)(ids, logits)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_padding_does_not_dilute_the_mean():
    logits = np.log(np.array([[[0.5, 0.5], [0.9, 0.1], [0.9, 0.1]]]))
    loss = SmoothedCrossentropy(0.0)([[0, 0, 0]], logits, sample_weight=np.array([[1.0, 0.0, 0.0]]))
    assert float(loss) == pytest.approx(np.log(2))


@pytest.mark.parametrize("value", [-0.1, 1.0])
def test_refused(value):
    with pytest.raises(ValueError, match=f"from 0 to below 1, received {value}"):
        SmoothedCrossentropy(value)
