"""The head that suits an encoder as it is: what fine-tuning a new head starts from.

Source: Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features and Underperform
Out-of-Distribution" (LP-FT).

Axes: n examples, H hidden, C classes.
"""

from typing import Literal

import numpy as np
import scipy.optimize
import scipy.special

Link = Literal["softmax", "sigmoid", "identity"]

_MEANS = {
    "softmax": lambda logits: scipy.special.softmax(logits, axis=1),
    "sigmoid": scipy.special.expit,
    "identity": lambda logits: logits,
}
# The integral of each mean over its logits, which makes the loss of every link convex.
_INTEGRALS = {
    "softmax": lambda logits: scipy.special.logsumexp(logits, axis=1),
    "sigmoid": lambda logits: np.logaddexp(0, logits).sum(axis=1),
    "identity": lambda logits: 0.5 * np.square(logits).sum(axis=1),
}


def fit_head(
    features: np.ndarray,
    targets: np.ndarray,
    kernel: np.ndarray,
    bias: np.ndarray,
    *,
    link: Link = "softmax",
    sample_weight: np.ndarray | None = None,
    inverse_penalty: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the dense layer under which some targets are most likely: a generalized linear model.

    Its distance from the kernel that is given is penalized, so that a kernel that knows something
    is kept where the examples do not speak against it. From a kernel of zeros this is
    scikit-learn's `LogisticRegression(C=inverse_penalty)` on features of mean length 1.

    Args:
        features: What the layer is given. *Shape:* (n, H).
        targets: Probabilities of the classes, zeros and ones, or numbers. *Shape:* (n, C).
        kernel: The kernel to start from. *Shape:* (H, C).
        bias: The bias to start from; it is not penalized. *Shape:* (C,).
        link: What makes of logits the targets' means: `"softmax"` for one class an example,
            `"sigmoid"` for several, `"identity"` for numbers.
        sample_weight: Weights in the loss, or None. *Shape:* (n,).
        inverse_penalty: Weight of the examples beside the penalty.

    Returns:
        The kernel, *shape:* (H, C), and the bias, *shape:* (C,), float32.

    Example:
        >>> features, targets = np.array([[1.0], [-1.0]]), np.eye(2)
        >>> kernel, bias = fit_head(features, targets, np.zeros((1, 2)), np.zeros(2))
        >>> kernel.round(3)
        array([[ 0.521, -0.521]], dtype=float32)
    """
    scale = float(np.linalg.norm(features, axis=1).mean()) or 1.0
    inputs = np.concatenate([features / scale, np.ones((len(features), 1))], axis=1)  # (n, H + 1)
    start = np.concatenate([kernel * scale, bias[None]]).astype(float)  # (H + 1, C)
    weights = np.full(len(features), inverse_penalty)
    if sample_weight is not None:
        weights = weights * sample_weight
    penalized = np.ones((len(start), 1))
    penalized[-1] = 0

    def loss_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
        layer = flat.reshape(start.shape)
        logits = inputs @ layer  # (n, C)
        moved = penalized * (layer - start)
        likelihood = _INTEGRALS[link](logits) - (targets * logits).sum(axis=1)  # (n,)
        errors = weights[:, None] * (_MEANS[link](logits) - targets)  # (n, C)
        loss = weights @ likelihood + 0.5 * np.square(moved).sum()
        return float(loss), (inputs.T @ errors + moved).ravel()

    found = scipy.optimize.minimize(
        loss_and_gradient, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 500}
    )
    layer = found.x.reshape(start.shape).astype("float32")
    return layer[:-1] / np.float32(scale), layer[-1]
