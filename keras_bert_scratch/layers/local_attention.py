"""Local attention: a token sees a window around itself, and memory grows with the length only.

Axes: B batch, S sequence, N heads, D head width, M blocks, R reach (half a window), K keys.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from keras_bert_scratch.layers.attention import MASKED_SCORE, attend


def window_bias(num_queries: Any, num_keys: Any, window: int, dtype: str) -> Any:
    """Returns the bias that hides the keys outside of each query's window.

    Queries and keys are counted from the same position.

    Args:
        num_queries: S.
        num_keys: K.
        window: 2R.
        dtype: The compute dtype of the attention.

    Returns:
        0 within the window, `MASKED_SCORE` outside. *Shape:* (S, K).

    Example:
        >>> window_bias(1, 3, 2, "float32").numpy().tolist()
        [[-0.0, -0.0, -60.0]]
    """
    distance = ops.expand_dims(ops.arange(num_queries, dtype="float32"), 1)
    distance = ops.abs(distance - ops.arange(num_keys, dtype="float32"))
    return ops.cast(distance > window // 2, dtype) * MASKED_SCORE


def attend_locally(
    query: Any,
    key: Any,
    value: Any,
    attention_bias: Any,
    window: int,
    dropout: Callable[[Any], Any],
) -> Any:
    """Computes `attend` under `window_bias` without the (S, S) scores.

    A block of R queries sees its own and both neighboring blocks: S x 3R scores in total (Beltagy
    et al. 2020, section 3.1).

    Args:
        query: *Shape:* (B, N, S, D).
        key: *Shape:* (B, N, S, D).
        value: *Shape:* (B, N, S, D).
        attention_bias: Bias of the padding, see `padding_bias`. *Shape:* (B, 1, 1, S), or
            (1, 1, 1, S) for all rows.
        window: 2R.
        dropout: Function that is applied to the probabilities.

    Returns:
        *Shape:* (B, N, S, D).

    Example:
        >>> x, bias = np.ones((1, 2, 5, 4), "float32"), np.zeros((1, 1, 1, 5), "float32")
        >>> attend_locally(x, x, x, bias, 2, lambda probabilities: probabilities).shape
        TensorShape([1, 2, 5, 4])
    """
    reach = window // 2
    batch, num_heads, length = ops.shape(query)[:3]
    if attention_bias.shape[0] == 1 != batch:  # it is cut into blocks by row, as queries are
        attention_bias = ops.repeat(attention_bias, batch, axis=0)
    missing = (reach - length % reach) % reach  # not -length: ONNX rounds its remainder otherwise

    def blocks(x: Any, before: int, after: Any, filling: float = 0.0) -> Any:
        """(B, N, S, D) -> (B, M, N, R, D)."""
        x = ops.pad(x, ((0, 0), (0, 0), (before, after), (0, 0)), constant_values=filling)
        x = ops.reshape(x, (*ops.shape(x)[:2], -1, reach, x.shape[3]))
        return ops.transpose(x, (0, 2, 1, 3, 4))

    def neighbors(x: Any, filling: float = 0.0) -> Any:
        """(B, N, S, D) -> (B, M, N, 3R, D)."""
        x = blocks(x, reach, missing + reach, filling)
        return ops.concatenate([x[:, :-2], x[:, 1:-1], x[:, 2:]], axis=3)

    def as_batch(x: Any) -> Any:
        """(B, M, N, K, D) -> (B x M, N, K, D)."""
        return ops.reshape(x, (-1, *x.shape[2:]))

    padding = as_batch(neighbors(ops.transpose(attention_bias, (0, 1, 3, 2)), MASKED_SCORE))
    # Key k of the three blocks stands k - R after the first query of the block in the middle.
    distance = np.abs(np.arange(3 * reach) - reach - np.arange(reach)[:, None])  # (R, 3R)
    outside = ops.cast(np.where(distance > reach, MASKED_SCORE, 0.0), attention_bias.dtype)
    attended, _ = attend(
        as_batch(blocks(query, 0, missing)),
        as_batch(neighbors(key)),
        as_batch(neighbors(value)),
        # The minimum, since a sum would double the range that int8 calibration has to cover.
        ops.minimum(ops.transpose(padding, (0, 1, 3, 2)), outside),  # (B x M, 1, R, 3R)
        dropout,
    )
    attended = ops.reshape(attended, (batch, -1, num_heads, reach, query.shape[3]))
    attended = ops.transpose(attended, (0, 2, 1, 3, 4))  # (B, N, M, R, D)
    return ops.reshape(attended, (batch, num_heads, -1, query.shape[3]))[:, :, :length]
