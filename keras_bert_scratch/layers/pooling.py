"""One vector for a text from the states of its tokens.

Axes: B batch, S sequence, H hidden.
"""

from typing import Any, Literal, get_args

from keras import ops

Pooling = Literal["mean", "cls"]


def check_pooling(pooling: Pooling) -> None:
    """Raises a ValueError if the pooling is unknown."""
    if pooling not in get_args(Pooling):
        raise ValueError(f"pooling must be 'mean' or 'cls', received {pooling!r}.")


def pool_tokens(sequence_output: Any, padding_mask: Any, pooling: Pooling) -> Any:
    """Takes the mean over the tokens of each text, or the state of its first, [CLS].

    Source: Reimers and Gurevych 2019, "Sentence-BERT", section 3. [CLS] and [SEP] are tokens like
    any other in the mean; the [CLS] state does not go through the pooler's dense layer.

    Args:
        sequence_output: *Shape:* (B, S, H).
        padding_mask: 1 for tokens, 0 for padding. *Shape:* (B, S).
        pooling: "mean" or "cls".

    Returns:
        float32. *Shape:* (B, H).

    Example:
        >>> states = np.array([[[1.0], [3.0], [9.0]]])
        >>> pool_tokens(states, np.array([[1, 1, 0]]), "mean")
        [[2.0]]
    """
    states = ops.cast(sequence_output, "float32")
    if pooling == "cls":
        return states[:, 0]
    is_token = ops.cast(ops.expand_dims(padding_mask, 2), "float32")
    # A row of padding alone gives zeros.
    return ops.sum(states * is_token, axis=1) / ops.maximum(ops.sum(is_token, axis=1), 1.0)
