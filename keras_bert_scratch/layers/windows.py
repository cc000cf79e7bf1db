"""One answer for a text from the answers for its windows.

Axes: B batch of texts, W windows of all texts of the batch, C classes.
"""

from typing import Any, Literal, get_args

from keras import ops

Aggregation = Literal["mean", "max"]


def check_aggregation(aggregation: Aggregation) -> None:
    """Raises a ValueError if the aggregation is unknown."""
    if aggregation not in get_args(Aggregation):
        raise ValueError(f"aggregation must be 'mean' or 'max', received {aggregation!r}.")


def aggregate_windows(logits: Any, num_windows: Any, aggregation: Aggregation) -> Any:
    """Takes the mean or the maximum over the windows of each text.

    Args:
        logits: Logits of the windows; those of a text are consecutive. *Shape:* (W, C).
        num_windows: int32. Windows of each text, W in all. *Shape:* (B,).
        aggregation: "mean" or "max".

    Returns:
        float32. *Shape:* (B, C).

    Example:
        >>> logits = np.array([[1.0], [2.0], [6.0]])
        >>> aggregate_windows(logits, np.array([1, 2]), "mean").numpy().tolist()
        [[1.0], [4.0]]
    """
    logits = ops.cast(logits, "float32")
    after = ops.expand_dims(ops.cumsum(num_windows), 1)
    first = after - ops.expand_dims(num_windows, 1)
    window = ops.arange(ops.shape(logits)[0], dtype=num_windows.dtype)
    # Neither JAX nor a graph can index by numbers that only the batch knows; (B, W) is small.
    is_of_text = ops.logical_and(window >= first, window < after)
    if aggregation == "max":
        of_text = ops.where(ops.expand_dims(is_of_text, 2), logits, -float("inf"))  # (B, W, C)
        return ops.max(of_text, axis=1)
    total = ops.matmul(ops.cast(is_of_text, "float32"), logits)
    return total / ops.cast(ops.expand_dims(num_windows, 1), "float32")
