"""Keras' dense layer, which keeps low-rank updates as they are in files."""

from typing import Any

import keras
import numpy as np

# In a file, the factor of the product of the low-rank matrices.
_SCALE = "lora_scale"


@keras.saving.register_keras_serializable("keras_bert_scratch")
class Dense(keras.layers.Dense):
    """Keras' `Dense`, which saves low-rank updates beside their matrix.

    Keras saves the sum of both instead, and loads 0 for both factors of the update: then neither
    has a gradient, and nothing is learned.

    Args:
        *args: Arguments of `keras.layers.Dense`.
        **kwargs: Further arguments of `keras.layers.Dense`.

    Example:
        >>> Dense(3)(np.ones((2, 8), "float32")).shape
        TensorShape([2, 3])
    """

    def save_own_variables(self, store: Any) -> None:
        """Saves all weights as they are; a quantized layer saves as Keras does."""
        if not self.lora_enabled or self.quantization_mode:
            super().save_own_variables(store)
            return
        for number, weight in enumerate(self._weights_of_file()):
            store[str(number)] = weight
        store[_SCALE] = np.array(self.lora_alpha / self.lora_rank)

    def load_own_variables(self, store: Any) -> None:
        """Loads the weights of a layer with or without low-rank updates.

        A layer without updates adds those of the file to its matrix. A layer with updates keeps its
        own, new and ready to learn, if the file has none.
        """
        if self.quantization_mode or not self.built:
            super().load_own_variables(store)
            return
        if _SCALE not in store.keys():  # noqa: SIM118, a store is no dict
            first_factor = np.array(self.lora_kernel_a) if self.lora_enabled else None
            super().load_own_variables(store)
            if self.lora_enabled:
                self.lora_kernel_a.assign(first_factor)
            return
        values = [np.asarray(store[str(n)]) for n in range(4 if self.use_bias else 3)]
        scale = float(np.asarray(store[_SCALE]))
        if self.lora_enabled:
            self.lora_alpha = scale * self.lora_rank
        else:
            *values, first, second = values
            values[0] = values[0] + scale * first @ second
        for weight, value in zip(self._weights_of_file(), values, strict=True):
            weight.assign(value)

    def _weights_of_file(self) -> list[keras.Variable]:
        """Returns the weights in the order of a file; `self.kernel` would be the updated sum."""
        weights = {weight.name: weight for weight in self.weights}
        names = ("kernel", "bias", "lora_kernel_a", "lora_kernel_b")
        return [weights[name] for name in names if name in weights]

    def quantize(self, mode: Any = None, type_check: bool = True, config: Any = None) -> None:
        """Quantizes as Keras does, which would refuse a subclass."""
        super().quantize(mode, type_check=False, config=config)
