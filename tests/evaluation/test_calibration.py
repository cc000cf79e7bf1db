import numpy as np
import pytest
from scipy.special import softmax

from keras_bert_scratch.evaluation.calibration import (
    calibrate,
    expected_calibration_error,
    reliability,
)


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


class TestReliability:
    def test_groups_are_as_large_as_the_sample_allows(self):
        rng = np.random.default_rng(0)
        for size, groups in ((1, 1), (79, 1), (80, 2), (200, 5), (5000, 10)):
            confidence = rng.uniform(0.5, 1, size)
            bins = reliability(np.stack([confidence, 1 - confidence], 1), np.zeros(size, int))
            assert len(bins.counts) == groups
            assert bins.counts.sum() == size
            assert bins.counts.max() - bins.counts.min() <= 2
            assert (np.diff(bins.confidence) > 0).all()

    def test_by_hand(self):
        # 40 predictions at 0.8, of which 30 are right, and 40 at 0.9, all right.
        confidence = np.repeat([0.8, 0.9], 40)
        true_ids = np.repeat([1, 0], [10, 70])
        bins = reliability(np.stack([confidence, 1 - confidence], 1), true_ids)
        np.testing.assert_allclose(bins.confidence, [0.8, 0.9])
        np.testing.assert_allclose(bins.accuracy, [0.75, 1.0])
        # Wilson's interval of 30 of 40, by its formula with z = 1.96.
        z = 1.959964
        middle, spread = 0.75 + z**2 / 80, z * np.sqrt(0.75 * 0.25 / 40 + z**2 / 6400)
        low, high = ((middle + sign * spread) / (1 + z**2 / 40) for sign in (-1, 1))
        np.testing.assert_allclose(bins.intervals[0], [low, high], rtol=1e-4)

    def test_equal_predictions_stay_together(self):
        bins = reliability([[0.9, 0.1]] * 500, [0] * 500)
        assert bins.counts.tolist() == [500]

    def test_multi_label(self):
        bins = reliability([[0.9, 0.2]], [[1, 1]], multi_label=True)
        assert (bins.counts.tolist(), bins.accuracy.tolist()) == ([2], [0.5])
        np.testing.assert_allclose(bins.confidence, [0.85])


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
