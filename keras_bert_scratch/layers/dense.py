"""Keras' dense layer, whose low-rank updates stay what they are in files."""

from typing import Any

import keras
import numpy as np

# In a file, what the product of the two factors is multiplied by.
_SCALE = "lora_scale"


@keras.saving.register_keras_serializable("keras_bert_scratch")
class Dense(keras.layers.Dense):
    """Keras' `Dense`, which saves low-rank updates beside the matrix that they are of.

    Keras saves the sum of both instead, and loads 0 for both factors of the update: then neither
    has a gradient, and nothing is learned.

    Args:
        *args: Of `keras.layers.Dense`.
        **kwargs: Of `keras.layers.Dense`.

    Example:
        >>> Dense(3)(np.ones((2, 8), "float32")).shape  # (2, 3)
    """

    def save_own_variables(self, store: Any) -> None:
        """Saves all weights as they are; those of a quantized layer as Keras does."""
        if not self.lora_enabled or self.quantization_mode:
            super().save_own_variables(store)
            return
        biases = [self.bias] if self.use_bias else []
        weights = (self._kernel, *biases, self.lora_kernel_a, self.lora_kernel_b)
        for number, weight in enumerate(weights):
            store[str(number)] = weight
        store[_SCALE] = np.array(self.lora_alpha / self.lora_rank)

    def load_own_variables(self, store: Any) -> None:
        """Loads what a layer has saved, with low-rank updates or without.

        Those of a file are added to the matrix if the layer has none. The layer's own stay as they
        are when new, ready to learn, if the file has none.
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
        number = 4 if self.use_bias else 3
        kernel, *bias, first, second = (np.asarray(store[str(n)]) for n in range(number))
        scale = float(np.asarray(store[_SCALE]))
        if self.lora_enabled:
            self.lora_kernel_a.assign(first)
            self.lora_kernel_b.assign(second)
            self.lora_alpha = scale * self.lora_rank
        else:
            kernel = kernel + scale * first @ second
        self._kernel.assign(kernel)
        if bias:
            self.bias.assign(bias[0])

    def quantize(self, mode: Any = None, type_check: bool = True, config: Any = None) -> None:
        """Quantizes as Keras does, which would refuse a subclass."""
        super().quantize(mode, type_check=False, config=config)
