import numpy as np
import pytest

from keras_bert_scratch.data.ratings import (
    SENTIMENTS,
    expected_ratings,
    mean_ratings,
    sentiments,
)


def test_a_threshold_itself_is_neutral():
    assert sentiments([-4, -1.1, -1, 0, 2, 2.1], thresholds=(-1, 2)) == [
        *("negative", "negative"),
        *("neutral", "neutral", "neutral"),
        "positive",
    ]


def test_one_threshold_calls_it_alone_neutral():
    assert sentiments(np.array([-0.1, 0, 0.1]), thresholds=(0, 0)) == list(SENTIMENTS)


def test_thresholds_the_wrong_way_round():
    with pytest.raises(ValueError, match=r"lower and the upper, received \(2, 1\): swap them"):
        sentiments([0], thresholds=(2, 1))


@pytest.mark.parametrize("rating", [float("nan"), float("inf")])
def test_no_number(rating):
    message = f"2 of 4 ratings are not finite numbers, the first, {rating}, at position 1"
    with pytest.raises(ValueError, match=message):
        sentiments([1, rating, 2, rating], thresholds=(0, 0))


def test_mean_ratings():
    labels = ["positive", "negative", "positive"]
    assert mean_ratings([1.0, -3.0, 4.0], labels) == {"negative": -3.0, "positive": 2.5}
    with pytest.raises(ValueError, match="There are 3 ratings but 2 labels"):
        mean_ratings([1, 2, 3], ["a", "b"])


def test_expected_ratings():
    found = expected_ratings([[0.25, 0.5, 0.25], [0.0, 0.5, 0.5]], [-2, 0, 4])
    np.testing.assert_allclose(found, [0.5, 2.0])
    with pytest.raises(ValueError, match=r"2 numbers for probabilities of shape \(1, 3\)"):
        expected_ratings([[0.2, 0.3, 0.5]], [0, 1])
