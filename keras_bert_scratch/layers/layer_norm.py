"""Layer normalization. Axes: H hidden."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_bert_scratch")
class LayerNorm(keras.layers.LayerNormalization):
    """Keras' layer normalization over H (Ba et al. 2016), with its gradient written out.

    TensorFlow derives a gradient of twenty passes through memory where eight will do; other
    backends fuse them.

    Args:
        epsilon: Added to the variance.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.LayerNormalization`.

    Example:
        >>> norm = LayerNorm(epsilon=1e-12)
        >>> norm(np.array([[1.0, 3.0]]))  # [[-1., 1.]]
    """

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Normalizes over the last axis.

        Args:
            inputs: *Shape:* (..., H).
            training: Whether gradients will be taken of it.

        Returns:
            *Shape:* (..., H).
        """
        if not training or keras.backend.backend() != "tensorflow":
            return super().call(inputs)
        # In float32 whatever the inputs are, as Keras does.
        outputs = self._normalize(ops.cast(inputs, "float32"))
        return ops.cast(outputs, self.compute_dtype)

    def _normalize(self, inputs: Any) -> Any:
        @ops.custom_gradient
        def normalize(x: Any, gamma: Any, beta: Any) -> Any:
            centered = x - ops.mean(x, axis=-1, keepdims=True)
            variance = ops.mean(ops.square(centered), axis=-1, keepdims=True)
            inverse_deviation = ops.rsqrt(variance + self.epsilon)
            normalized = centered * inverse_deviation

            def gradient(upstream: Any) -> tuple[Any, Any, Any]:
                rows = list(range(len(x.shape) - 1))
                products = upstream * normalized
                scaled = upstream * gamma
                # Of the mean and of the variance, on which each input has its influence.
                mean = ops.mean(scaled, axis=-1, keepdims=True)
                slope = ops.mean(products * gamma, axis=-1, keepdims=True)
                of_x = (scaled - mean - normalized * slope) * inverse_deviation
                return of_x, ops.sum(products, axis=rows), ops.sum(upstream, axis=rows)

            return normalized * gamma + beta, gradient

        return normalize(inputs, self.gamma.value, self.beta.value)
