"""One vector for a text from the states of its tokens.

Axes: B batch, S sequence, H hidden.
"""

from typing import Any, Literal, get_args

from keras import ops

Pooling = Literal["mean", "cls", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]


def check_pooling(pooling: Pooling) -> None:
    """Raises a ValueError if the pooling is unknown."""
    if pooling not in get_args(Pooling):
        names = ", ".join(map(repr, get_args(Pooling)))
        raise ValueError(f"pooling must be one of {names}; received {pooling!r}.")


def pool_tokens(sequence_output: Any, padding_mask: Any, pooling: Pooling) -> Any:
    """Pools the states of each text's tokens into one vector, as sentence-transformers does.

    Source: Reimers and Gurevych 2019, "Sentence-BERT", section 3. [CLS] and [SEP] are tokens like
    any other in the mean; the [CLS] state does not go through the pooler's dense layer.

    Args:
        sequence_output: *Shape:* (B, S, H).
        padding_mask: 1 for tokens, 0 for padding. *Shape:* (B, S).
        pooling: "mean" over the tokens; "cls", the state of the first; "max" of each feature;
            "mean_sqrt_len_tokens", the sum over the square root of the number of tokens;
            "weightedmean", where the n-th token counts n times; "lasttoken", the state of the last.

    Returns:
        float32. *Shape:* (B, H).

    Example:
        >>> states = np.array([[[1.0], [3.0], [9.0]]])
        >>> pool_tokens(states, np.array([[1, 1, 0]]), "mean").numpy().tolist()
        [[2.0]]
    """
    states = ops.cast(sequence_output, "float32")
    if pooling == "cls":
        return states[:, 0]
    is_token = ops.cast(ops.expand_dims(padding_mask, 2), "float32")
    # A row of padding alone gives zeros.
    if pooling == "max":
        # Below all outputs of a layer norm, and within the range of float16.
        highest = ops.max(ops.where(is_token > 0, states, -3e4), axis=1)
        return highest * ops.max(is_token, axis=1)
    weights = is_token
    if pooling in ("weightedmean", "lasttoken"):
        weights = is_token * ops.cumsum(is_token, axis=1)
    if pooling == "lasttoken":
        # 1 for the token with the highest number.
        last = ops.maximum(ops.max(weights, axis=1, keepdims=True), 1.0)
        weights = ops.cast(ops.equal(weights, last), "float32")
    total = ops.maximum(ops.sum(weights, axis=1), 1.0)
    if pooling == "mean_sqrt_len_tokens":
        total = ops.sqrt(total)
    return ops.sum(states * weights, axis=1) / total
