"""Less memory in training, for more arithmetic."""

from typing import Any

import keras


def rematerialize(layer: keras.layers.Layer, x: Any, **kwargs: Any) -> Any:
    """Calls a layer and keeps its input only; the gradient computes the rest again.

    Memory grows by one tensor a layer instead of by all intermediate values, for a third more
    arithmetic (Chen et al. 2016, section 3). This is Keras' `remat`, with all variables as
    arguments, so that dropout draws the same masks the second time. Keras' own `RematScope` draws
    others, and fails with keyword arguments on TensorFlow.

    Args:
        layer: A built layer.
        x: Its first argument.
        **kwargs: Its other arguments.

    Returns:
        The layer's outputs.

    Raises:
        RuntimeError: On PyTorch, where Keras' dropout draws other masks the second time.

    Example:
        >>> feed_forward = FeedForward(hidden_dim=8, feed_forward_dim=32)
        >>> feed_forward.build((None, None, 8))
        >>> rematerialize(feed_forward, np.ones((1, 5, 8), "float32")).shape
        TensorShape([1, 5, 8])
    """
    if keras.backend.backend() == "torch":
        raise RuntimeError(
            "rematerialize needs Keras' TensorFlow or JAX backend, received PyTorch: set "
            "KERAS_BACKEND, or omit rematerialize."
        )
    variables = layer.variables
    seeds = [v for v in variables if not keras.backend.is_float_dtype(v.dtype)]

    def call(x: Any, *values: Any) -> tuple[Any, list[Any]]:
        mapping = list(zip(variables, values, strict=True))
        with keras.StatelessScope(state_mapping=mapping) as scope:
            outputs = layer(x, **kwargs)
        return outputs, [scope.get_current_value(seed) for seed in seeds]

    values = [keras.ops.copy(variable.value) for variable in variables]
    outputs, drawn = keras.remat(call)(x, *values)
    for seed, value in zip(seeds, drawn, strict=True):
        seed.assign(value)
    return outputs
