"""Dropout with half as many random bits."""

import math
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_bert_scratch")
class Dropout(keras.layers.Dropout):
    """Sets values to 0 at random, and scales the others up (Srivastava et al. 2014, section 4).

    As `keras.layers.Dropout`, which draws 32 random bits for a value. Here they are 16, and the
    rate is rounded to a multiple of 2^-16: in bfloat16 on a CPU, MiniLM's steps take 0.93 of the
    time at length 32, and 0.89 at 128.

    Args:
        rate: Share of the values to drop.
        **kwargs: Of `keras.layers.Dropout`.

    Example:
        >>> Dropout(0.5)(np.ones(6, "float32"), training=True)  # e.g. [2., 0., 0., 2., 0., 2.]
    """

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Drops values while training, and returns `inputs` otherwise.

        Args:
            inputs: *Shape:* any of one axis or more.
            training: Whether to drop.

        Returns:
            *Shape:* that of `inputs`.
        """
        num_dropped = round(self.rate * 2**16)  # of the 2^16 numbers that may be drawn
        if not training or num_dropped in (0, 2**16) or self.noise_shape is not None:
            return super().call(inputs, training=training)
        shape = ops.shape(inputs)
        # Halves two axes at once: the first may be 1, and the product of all too large for int32.
        rows, rest = math.prod(shape[:2]), shape[2:]
        half = (rows + 1) // 2
        pairs = keras.random.randint(
            (half, *rest, 1), -(2**31), 2**31 - 1, dtype="int32", seed=self.seed_generator
        )
        numbers = ops.reshape(ops.view(pairs, "int16"), (2 * half, *rest))[:rows]
        is_kept = ops.reshape(numbers, shape) >= num_dropped - 2**15
        return ops.where(is_kept, inputs * (2**16 / (2**16 - num_dropped)), 0)
