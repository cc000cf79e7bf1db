"""Optimizers with BERT's settings."""

from typing import Any

import keras

from keras_bert_scratch.training.schedules import WarmupLinearDecay


@keras.saving.register_keras_serializable("keras_bert_scratch")
class BertAdamW(keras.optimizers.AdamW):
    """Keras' AdamW that never decays biases and layer norms (Devlin et al. 2018, A.2).

    A class, because `exclude_from_weight_decay` alone is forgotten when a model is saved.

    Args:
        **kwargs: For `keras.optimizers.AdamW`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])


def adamw(
    peak_learning_rate: float = 5e-5,
    *,
    total_steps: int,
    warmup_ratio: float = 0.1,
    weight_decay: float = 0.01,
    clip_norm: float = 1.0,
) -> BertAdamW:
    """Returns the optimizer that BERT is fine-tuned with.

    AdamW (Loshchilov & Hutter 2017) with bias correction, decay on matrices only, gradients
    clipped by their global norm, linear warm-up and linear decay (Devlin et al. 2018, A.2).

    Args:
        peak_learning_rate: The rate at the end of the warm-up.
        total_steps: Batches an epoch times epochs.
        warmup_ratio: Share of the steps in which the rate rises.
        weight_decay: Decoupled decay of the matrices and tables.
        clip_norm: Largest global norm of the gradients.

    Raises:
        ValueError: If `warmup_ratio` is not in [0, 1), or `total_steps` below 1.

    Example:
        >>> optimizer = adamw(5e-5, total_steps=800)
    """
    if not 0 <= warmup_ratio < 1:
        raise ValueError(f"warmup_ratio must be in [0, 1), received {warmup_ratio!r}.")
    schedule = WarmupLinearDecay(
        peak_learning_rate, total_steps, warmup_steps=int(warmup_ratio * total_steps)
    )
    return BertAdamW(
        learning_rate=schedule,
        weight_decay=weight_decay,
        epsilon=1e-8,
        global_clipnorm=clip_norm,
    )
