import numpy as np
import pytest
from scipy.special import softmax

from keras_bert_scratch.evaluation.calibration import calibrate, expected_calibration_error


class TestExpectedCalibrationError:
    def test_by_hand(self):
        # Two bins: two predictions at 0.9, one right (gap 0.4); two at 0.6, both right (gap 0.4).
        probabilities = [[0.9, 0.1], [0.1, 0.9], [0.6, 0.4], [0.4, 0.6]]
        assert expected_calibration_error(probabilities, [0, 0, 0, 1]) == pytest.approx(0.4)

    def test_gaps_of_one_bin_cancel(self):
        # All in one bin: 0.75 sure on average, and three of four are right.
        probabilities = [[0.74, 0.26], [0.75, 0.25], [0.75, 0.25], [0.76, 0.24]]
        assert expected_calibration_error(probabilities, [0, 0, 0, 1]) == pytest.approx(0, abs=1e-9)

    def test_certainty_stays_in_the_last_bin(self):
        assert expected_calibration_error([[1.0, 0.0]], [1]) == 1.0

    def test_multi_label(self):
        # Confidences 0.9 and 0.8, right and wrong: gaps 0.1 and 0.8 in two bins.
        error = expected_calibration_error([[0.9, 0.2]], [[1, 1]], multi_label=True)
        assert error == pytest.approx((0.1 + 0.8) / 2)


class TestTemperature:
    def test_by_hand(self):
        # Three of four are right: the likelihood is largest where sigmoid(2 / T) = 3 / 4.
        found = calibrate([[2.0, 0.0]] * 4, [0, 0, 0, 1])
        assert found.temperature == pytest.approx(2 / np.log(3), rel=1e-5)
        assert found.errors["before"] == pytest.approx(1 / (1 + np.exp(-2)) - 0.75)
        assert found.errors["after"] == pytest.approx(0, abs=1e-5)
        assert "expected calibration error 0.1308 before, 0.0000 after" in found.to_text()

    def test_multi_label_by_hand(self):
        found = calibrate([[2.0]] * 4, [[1], [1], [1], [0]], multi_label=True)
        assert found.temperature == pytest.approx(2 / np.log(3), rel=1e-5)

    def test_finds_the_temperature_that_made_the_labels(self):
        rng = np.random.default_rng(0)
        logits = rng.normal(scale=3, size=(20_000, 4))
        draws = softmax(logits / 2.5, axis=1).cumsum(axis=1) > rng.random((20_000, 1))
        found = calibrate(logits, draws.argmax(axis=1))
        assert found.temperature == pytest.approx(2.5, rel=0.03)
        assert found.errors["after"] < 0.01 < found.errors["before"]

    @pytest.mark.parametrize(("logits", "labels"), [(np.zeros((0, 2)), []), ([[1, 2]], [0, 1])])
    def test_refuses_what_does_not_fit(self, logits, labels):
        with pytest.raises(ValueError, match="needs a label for each of at least one example"):
            calibrate(logits, labels)
