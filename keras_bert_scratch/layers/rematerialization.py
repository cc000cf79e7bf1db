"""Less memory for more arithmetic in training."""

from typing import Any

import keras


def rematerialize(layer: keras.layers.Layer, x: Any, **kwargs: Any) -> Any:
    """Calls a layer of which only the input is kept; the gradient computes the rest again.

    Memory grows by one tensor a layer instead of by all that it computes, for a third more
    arithmetic (Chen et al. 2016, section 3). It is Keras' `remat`; but Keras' `RematScope` fails
    with keyword arguments on TensorFlow, and dropout would draw other masks the second time. Here
    the seeds, like all variables, are arguments, which are the same both times.

    Args:
        layer: A layer that is built, its dropout seeds among its variables.
        x: Its first argument.
        **kwargs: Its other arguments.

    Returns:
        What the layer returns.

    Raises:
        RuntimeError: On PyTorch, where Keras' dropout would draw other masks all the same.

    Example:
        >>> block = EncoderBlock(num_heads=2, hidden_dim=8, feed_forward_dim=32)
        >>> block.build((None, None, 8))
        >>> rematerialize(block, np.ones((1, 5, 8), "float32"), training=True).shape  # (1, 5, 8)
    """
    if keras.backend.backend() == "torch":
        raise RuntimeError(
            "rematerialize needs Keras' TensorFlow or JAX backend, received PyTorch: set "
            "KERAS_BACKEND, or leave rematerialize out."
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
