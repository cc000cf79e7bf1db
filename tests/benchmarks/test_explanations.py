"""The calibration errors of a small classifier and its exports; nothing is trained."""

import numpy as np
import pytest

from keras_bert_scratch.data.readers import stratified_split
from keras_bert_scratch.evaluation.calibration import calibrate, expected_calibration_error


@pytest.mark.slow
def test_calibration_is_measured_on_texts_that_it_was_not_fitted_to(
    benchmark, tiny_classifier, reviews
):
    model = tiny_classifier()
    texts, labels = reviews
    fitted, others = stratified_split(labels, 0.5, seed=0)
    logits = model.predict(texts, verbose=0).astype("float64")
    true_ids = model.encode_labels(labels)
    temperature = calibrate(logits[fitted], true_ids[fitted]).temperature

    def error(temperature):
        scaled = np.exp(logits[others] / temperature)
        return expected_calibration_error(
            scaled / scaled.sum(axis=1, keepdims=True), true_ids[others]
        )

    found = benchmark.calibration_figures(model, texts, labels)
    assert found["texts"] == {"fitted": 24, "measured": 24}
    assert found["temperature"] == pytest.approx(temperature)
    errors = found["expected_calibration_error"]
    assert errors["before"] == pytest.approx(error(1.0), abs=1e-6)
    for name in ("after", "SavedModel", "LiteRT"):
        assert errors[name] == pytest.approx(error(temperature), abs=1e-5)
    assert errors["LiteRT int8"] == pytest.approx(errors["after"], abs=0.1)
    assert errors["after"] < errors["before"]
