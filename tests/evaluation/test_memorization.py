import numpy as np
import pytest

from keras_bert_scratch.evaluation.memorization import exposure


@pytest.mark.parametrize(("planted", "bits"), [(1, 3), (3, 2), (2, 1), (7, 0)])
def test_by_hand(planted, bits):
    # Those at 1, 3, 2 and 7 are first, second, fourth and last of eight: log2(8 / rank).
    losses = [3.0, 0.1, 2.0, 0.2, 4.0, 5.0, 1.0, 9.0]
    assert exposure(losses, planted) == bits


def test_equal_losses_share_their_ranks():
    # Ranks 1 to 3 share the second; of all alike, 7 share the fourth.
    assert exposure([0.5, 1.0, 0.5, 0.5], 2) == 1.0
    assert exposure([2.0] * 7, 0) == pytest.approx(np.log2(7 / 4))


def test_impossible_secrets_are_last():
    assert exposure([np.inf, 1.0, np.inf, 2.0], 3) == 1.0
    assert exposure([np.inf, 1.0, 0.0, 2.0], 0) == 0.0


def test_chance():
    """Without memory the rank is uniform: the mean of -log2 u is 1 / ln 2, P(bits > 3) is 1/8."""
    rng = np.random.default_rng(0)
    found = np.array([exposure(rng.random(1024), 17) for _ in range(4000)])
    assert found.mean() == pytest.approx(1 / np.log(2), abs=0.1)
    assert np.mean(found > 3) == pytest.approx(1 / 8, abs=0.02)


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ([], r"received 0 NaN in an array of shape \(0,\)"),
        ([1.0, np.nan], r"received 1 NaN in an array of shape \(2,\)"),
        ([[1.0, 2.0]], r"received 0 NaN in an array of shape \(1, 2\)"),
    ],
)
def test_refuses_what_cannot_be_ranked(losses, message):
    with pytest.raises(ValueError, match="must be a number for each secret .*" + message):
        exposure(losses, 0)
