"""Optimizers with BERT's settings."""

from typing import Any

import keras

from keras_bert_scratch.training.schedules import WarmupLinearDecay


@keras.saving.register_keras_serializable("keras_bert_scratch")
class BertAdamW(keras.optimizers.AdamW):
    """Keras' AdamW that never decays biases and layer norms (Devlin et al. 2018, A.2).

    A class, because `exclude_from_weight_decay` alone is forgotten when a model is saved.

    On TensorFlow one operation updates a weight, and one sums its squares, where Keras' own take a
    dozen, each of them a pass through memory: a seventh of a step of MiniLM on 32 x 32 tokens.

    Args:
        **kwargs: For `keras.optimizers.AdamW`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates one weight (Kingma & Ba 2015, algorithm 1, in the form that ends section 2)."""
        if keras.backend.backend() != "tensorflow" or self.amsgrad:
            super().update_step(gradient, variable, learning_rate)
            return
        import tensorflow as tf

        index = self._get_variable_index(variable)
        step = tf.cast(self.iterations + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.pow(tf.cast(self.beta_1, variable.dtype), step),
            beta2_power=tf.pow(tf.cast(self.beta_2, variable.dtype), step),
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=tf.cast(self.beta_1, variable.dtype),
            beta2=tf.cast(self.beta_2, variable.dtype),
            epsilon=tf.cast(self.epsilon, variable.dtype),
            grad=tf.cast(tf.convert_to_tensor(gradient), variable.dtype),
        )

    def _clip_gradients(self, grads: list[Any]) -> list[Any]:
        if keras.backend.backend() != "tensorflow" or not self.global_clipnorm:
            return super()._clip_gradients(grads)
        import tensorflow as tf

        grads = [grad if grad is None else tf.convert_to_tensor(grad) for grad in grads]
        halves = [tf.nn.l2_loss(grad) for grad in grads if grad is not None]
        norm = tf.sqrt(2.0 * tf.add_n(halves))
        # As in Keras, a norm that is not finite shows: the second term is then NaN.
        scale = self.global_clipnorm / tf.maximum(norm, self.global_clipnorm) + (norm - norm)
        return [grad if grad is None else grad * scale for grad in grads]


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
    return BertAdamW(
        learning_rate=_schedule(peak_learning_rate, total_steps, warmup_ratio),
        weight_decay=weight_decay,
        epsilon=1e-8,
        global_clipnorm=clip_norm,
    )


def pretraining_optimizer(
    name: str,
    peak_learning_rate: float,
    *,
    total_steps: int,
    warmup_ratio: float = 0.1,
    weight_decay: float = 0.01,
    clip_norm: float = 1.0,
    gradient_accumulation: int = 1,
) -> keras.optimizers.Optimizer:
    """Returns one of Keras' optimizers with BERT's schedule, clipping and decay.

    Args:
        name: `"adamw"`, `"lamb"` (You et al. 2019), `"lion"` (Chen et al. 2023) or `"muon"` (Jordan
            et al. 2024; embeddings, vectors and the next-sentence head are left to its AdamW).
        peak_learning_rate: The rate at the end of the warm-up.
        total_steps: Updates.
        warmup_ratio: Share of the updates in which the rate rises.
        weight_decay: Decoupled decay of the matrices and tables.
        clip_norm: Largest global norm of the gradients.
        gradient_accumulation: Batches whose gradients are averaged for one update.

    Raises:
        ValueError: If the name is unknown, `warmup_ratio` is not in [0, 1), or `total_steps` below
            1.

    Example:
        >>> optimizer = pretraining_optimizer("lamb", 2e-3, total_steps=10_000)
    """
    classes: dict[str, tuple[type[keras.optimizers.Optimizer], dict[str, Any]]] = {
        "adamw": (BertAdamW, {"epsilon": 1e-6}),
        "lamb": (keras.optimizers.Lamb, {"epsilon": 1e-6}),
        "lion": (keras.optimizers.Lion, {}),
        "muon": (
            keras.optimizers.Muon,
            {"adam_weight_decay": weight_decay, "exclude_layers": ["next_sentence"]},
        ),
    }
    if name not in classes:
        raise ValueError(f"The optimizers are {', '.join(classes)}; received {name!r}.")
    optimizer_class, arguments = classes[name]
    optimizer = optimizer_class(
        learning_rate=_schedule(
            peak_learning_rate, total_steps, warmup_ratio, gradient_accumulation
        ),
        weight_decay=weight_decay,
        global_clipnorm=clip_norm,
        # Keras counts from 2; None is its word for 1.
        gradient_accumulation_steps=gradient_accumulation if gradient_accumulation > 1 else None,
        **arguments,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def _schedule(
    peak_learning_rate: float, total_steps: int, warmup_ratio: float, batches_per_step: int = 1
) -> WarmupLinearDecay:
    if not 0 <= warmup_ratio < 1:
        raise ValueError(f"warmup_ratio must be in [0, 1), received {warmup_ratio!r}.")
    return WarmupLinearDecay(
        peak_learning_rate, total_steps, int(warmup_ratio * total_steps), batches_per_step
    )
