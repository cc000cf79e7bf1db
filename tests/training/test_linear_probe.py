import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from keras_bert_scratch.training.linear_probe import fit_head

FEATURES = np.random.default_rng(0).normal(size=(60, 7))
# What `fit_head` scales to 1.
LENGTH = np.linalg.norm(FEATURES, axis=1).mean()
CLASS_IDS = np.arange(60) % 3
WEIGHTS = np.linspace(0.5, 2, 60)


def new(num_classes):
    return np.zeros((7, num_classes)), np.zeros(num_classes)


@pytest.mark.parametrize("inverse_penalty", [1.0, 10.0])
def test_one_class_a_text_is_logistic_regression(inverse_penalty):
    kernel, bias = fit_head(
        FEATURES, np.eye(3)[CLASS_IDS], *new(3), sample_weight=WEIGHTS,
        inverse_penalty=inverse_penalty,
    )  # fmt: skip
    theirs = LogisticRegression(C=inverse_penalty, tol=1e-10, max_iter=10_000)
    theirs.fit(FEATURES / LENGTH, CLASS_IDS, WEIGHTS)
    np.testing.assert_allclose(kernel * LENGTH, theirs.coef_.T, atol=2e-3)
    # Adding the same number to all biases changes no answer.
    np.testing.assert_allclose(
        bias - bias.mean(), theirs.intercept_ - theirs.intercept_.mean(), atol=2e-3
    )


def test_several_labels_are_one_regression_each():
    targets = np.stack([CLASS_IDS == 0, CLASS_IDS != 1], axis=1).astype(float)
    kernel, bias = fit_head(FEATURES, targets, *new(2), link="sigmoid")
    for c in range(2):
        theirs = LogisticRegression(tol=1e-10).fit(FEATURES / LENGTH, targets[:, c])
        np.testing.assert_allclose(kernel[:, c] * LENGTH, theirs.coef_[0], atol=2e-3)
        np.testing.assert_allclose(bias[c], theirs.intercept_[0], atol=2e-3)


def test_a_score_is_ridge_regression():
    targets = 3 + FEATURES[:, :1]
    kernel, bias = fit_head(FEATURES, targets, *new(1), link="identity")
    theirs = Ridge(alpha=1).fit(FEATURES / LENGTH, targets[:, 0])
    np.testing.assert_allclose(kernel[:, 0] * LENGTH, theirs.coef_, atol=2e-3)
    np.testing.assert_allclose(bias, theirs.intercept_, atol=2e-3)


def test_what_a_kernel_knows_is_kept_where_no_example_speaks():
    features = np.concatenate([FEATURES[:, :1], np.zeros((60, 6))], axis=1)
    known = np.arange(21.0).reshape(7, 3)
    kernel, _ = fit_head(features, np.eye(3)[CLASS_IDS], known, np.zeros(3))
    np.testing.assert_allclose(kernel[1:], known[1:], rtol=1e-6)
    assert np.abs(kernel[0] - known[0]).max() > 0.01
