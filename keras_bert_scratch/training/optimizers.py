"""Keras' optimizers with BERT's settings."""

import math
import re
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_bert_scratch.training.schedules import WarmupLinearDecay


class _BertSettings(keras.optimizers.Optimizer):
    """Settings that BERT's optimizers share, on top of Keras' own: which weights change how much.

    Biases and layer norms do not decay (Devlin et al. 2018, A.2). Lower layers have lower rates:
    pooler, heads and decoder the full one, each block below `layer_decay` times that of the layer
    above, and the embeddings the lowest (Howard & Ruder 2018, 3.1; Clark et al. 2020, A). This is a
    class because neither would be saved with a model otherwise.

    Gradients are clipped by the norm of a table's summed gradient; Keras would add up the squares
    of a token that occurs twice.

    Args:
        layer_decay: Above 0, at most 1.
        **kwargs: Arguments of Keras' optimizer.

    Raises:
        ValueError: If `layer_decay` is out of its range.
    """

    def __init__(self, *, layer_decay: float = 1.0, **kwargs: Any) -> None:
        if not 0 < layer_decay <= 1:
            raise ValueError(
                f"layer_decay must be above 0 and at most 1, received {layer_decay!r}."
            )
        super().__init__(**kwargs)
        self.layer_decay = layer_decay
        self.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Finds the depth of every variable by its path."""
        depths = _depths([variable.path for variable in variables])
        self.factors = tuple(self.layer_decay ** (max(depths) - depth) for depth in depths)
        super().build(variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Decays a variable, and updates it, both at its own rate."""
        index = self._get_variable_index(variable)
        rate = ops.cast(learning_rate, variable.dtype) * self.factors[index]
        if self.weight_decay and self._use_weight_decay(variable):
            self.decay(variable, self.weight_decay * rate)
        self.update(gradient, variable, rate)

    def decay(self, variable: Any, share: Any) -> None:
        """Makes a variable smaller by a share of it, in one pass through memory."""
        self.assign(variable, variable * (1 - share))

    def update(self, gradient: Any, variable: Any, rate: Any) -> None:
        """Updates a variable by its gradient alone."""
        super().update_step(gradient, variable, rate)

    def _apply_weight_decay(self, variables: Any) -> None:
        """Leaves the decay to `update_step`: here Keras has one rate for all."""

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

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "layer_decay": self.layer_decay}


@keras.saving.register_keras_serializable("keras_bert_scratch")
class BertAdamW(_BertSettings, keras.optimizers.AdamW):
    """Keras' AdamW (Loshchilov & Hutter 2017), with one operation per weight on TensorFlow.

    Keras' own takes a dozen, each of them a pass through memory: together with the sum of squares
    of `_BertSettings` this saves a seventh of a step of MiniLM on 32 x 32 tokens.
    """

    def update(self, gradient: Any, variable: Any, rate: Any) -> None:
        """Updates one weight (Kingma & Ba 2015, algorithm 1, in the form that ends section 2)."""
        if keras.backend.backend() != "tensorflow" or self.amsgrad:
            super().update(gradient, variable, rate)
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
            lr=tf.cast(rate, variable.dtype),
            beta1=tf.cast(self.beta_1, variable.dtype),
            beta2=tf.cast(self.beta_2, variable.dtype),
            epsilon=tf.cast(self.epsilon, variable.dtype),
            grad=tf.cast(tf.convert_to_tensor(gradient), variable.dtype),
        )


@keras.saving.register_keras_serializable("keras_bert_scratch")
class BertLamb(_BertSettings, keras.optimizers.Lamb):
    """Keras' LAMB with the decay inside the trust ratio, where the paper has it.

    Keras decays apart from it, so that neither affects the other.
    """

    def decay(self, variable: Any, share: Any) -> None:
        """Leaves the decay to `update`, whose trust ratio includes it."""

    def update(self, gradient: Any, variable: Any, rate: Any) -> None:
        """Updates one weight (You et al. 2019, algorithm 2, with phi the identity)."""
        index = self._get_variable_index(variable)
        momentum, velocity = self._momentums[index], self._velocities[index]
        gradient = ops.cast(gradient, variable.dtype)
        step = ops.cast(self.iterations + 1, variable.dtype)
        mean = self.beta_1 * momentum + (1 - self.beta_1) * gradient
        squares = self.beta_2 * velocity + (1 - self.beta_2) * ops.square(gradient)
        unbiased_mean = mean / (1 - ops.power(self.beta_1, step))
        unbiased_squares = squares / (1 - ops.power(self.beta_2, step))
        update = unbiased_mean / (ops.sqrt(unbiased_squares) + self.epsilon)
        if self.weight_decay and self._use_weight_decay(variable):
            update = update + self.weight_decay * variable
        weight_norm, update_norm = ops.norm(variable), ops.norm(update)
        has_ratio = ops.logical_and(weight_norm > 0, update_norm > 0)
        ratio = ops.where(has_ratio, weight_norm / ops.where(has_ratio, update_norm, 1.0), 1.0)
        self.assign(momentum, mean)
        self.assign(velocity, squares)
        self.assign_sub(variable, rate * ratio * update)


@keras.saving.register_keras_serializable("keras_bert_scratch")
class BertLion(_BertSettings, keras.optimizers.Lion):
    """Keras' Lion (Chen et al. 2023)."""


@keras.saving.register_keras_serializable("keras_bert_scratch")
class BertMuon(_BertSettings, keras.optimizers.Muon):
    """Keras' Muon (Jordan et al. 2024), with its AdamW for all but the matrices of layers."""

    def _should_use_adamw(self, variable: Any) -> bool:
        # Without the network's name, which the user chooses: Keras would search it, too.
        path = variable.path.partition("/")[2]
        is_table = self.exclude_embeddings and "embedding" in path
        is_excluded = any(re.search(layer, path) for layer in self.exclude_layers)
        return len(variable.shape) != 2 or is_table or is_excluded


@keras.saving.register_keras_serializable("keras_bert_scratch")
class BertScheduleFreeAdamW(_BertSettings, keras.optimizers.ScheduleFreeAdamW):
    """Schedule-free AdamW (Defazio et al. 2024), which on TensorFlow fails to learn in Keras 3.15.

    Keras' own `fit` builds it while it traces, where the iterate's first value is never assigned:
    the first step makes all weights 0. The update recovers the average from the iterate's old value
    after it has changed the iterate, and the old value, `momentum.value`, is then the new one.

    The iterate of step t counts in the average by the square of its rate, gamma_t, as in the paper
    and in its package `schedulefree` (`weight_lr_power=2`); in Keras those of the warm-up count as
    much as all others.
    """

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Creates the iterates, which start at the variables' values."""
        if keras.backend.backend() != "tensorflow":
            super().build(variables)
            return
        import tensorflow as tf

        with tf.init_scope():
            super().build(variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Decays a variable, and updates it, both at the rate of the warm-up."""
        step = ops.cast(self.iterations + 1, variable.dtype)
        warmup = ops.minimum(step / self.warmup_steps, 1.0) if self.warmup_steps else 1.0
        rate = ops.cast(learning_rate, variable.dtype) * warmup
        super().update_step(gradient, variable, rate)

    def decay(self, variable: Any, share: Any) -> None:
        """Decays the iterate that steps are taken from, as the paper's algorithm 1 does.

        Keras would decay the variable alone, (1 - beta_1) iterate + beta_1 average; the average
        changes only by steps of the iterate.
        """
        iterate = self._momentums[self._get_variable_index(variable)]
        amount = variable * share
        self.assign_sub(iterate, amount)
        self.assign_sub(variable, (1 - self.beta_1) * amount)

    def update(self, gradient: Any, variable: Any, rate: Any) -> None:
        """Updates one weight, y of the paper's algorithm 1 with AdamW."""
        index = self._get_variable_index(variable)
        iterate, velocity = self._momentums[index], self._velocities[index]
        step = ops.cast(self.iterations + 1, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        average = (variable - (1 - self.beta_1) * iterate) / self.beta_1
        squares = self.beta_2 * velocity + (1 - self.beta_2) * ops.square(gradient)
        mean_square = squares / (1 - ops.power(self.beta_2, step))
        moved = iterate - rate * gradient / (ops.sqrt(mean_square) + self.epsilon)
        average = average + self._share_of_step(step) * (moved - average)
        self.assign(velocity, squares)
        self.assign(iterate, moved)
        self.assign(variable, (1 - self.beta_1) * moved + self.beta_1 * average)

    def _share_of_step(self, step: Any) -> Any:
        """Returns gamma_t^2 over the sum of those up to step t, counted from 1."""
        num_warmup = float(self.warmup_steps)
        if not num_warmup:
            return 1 / step
        # 1^2 + ... + n^2 = n (n + 1) (2 n + 1) / 6
        rising = 6 * step / ((step + 1) * (2 * step + 1))
        of_warmup = (num_warmup + 1) * (2 * num_warmup + 1) / (6 * num_warmup)
        return ops.where(step <= num_warmup, rising, 1 / (of_warmup + step - num_warmup))


# The rates of Lion, Muon and schedule-free are the best of three each, by the accuracy of MiniLM's
# layers 0 and 3 on held-out film reviews.
_RECIPES: dict[str, tuple[Any, float, dict[str, Any]]] = {
    # class, peak rate for fine-tuning, arguments
    "adamw": (BertAdamW, 5e-5, {"epsilon": 1e-8}),
    "lamb": (BertLamb, 1e-3, {"epsilon": 1e-6}),
    "lion": (BertLion, 1e-4, {}),
    "muon": (BertMuon, 1e-3, {"exclude_layers": ["logits"]}),
    "schedule-free": (BertScheduleFreeAdamW, 3e-4, {}),
}


def adamw(
    peak_learning_rate: float = 5e-5, *, total_steps: int, **settings: Any
) -> keras.optimizers.Optimizer:
    """Returns `bert_optimizer("adamw", ...)`, the optimizer that BERT is fine-tuned with.

    AdamW (Loshchilov & Hutter 2017) with bias correction, decay on matrices only, gradients
    clipped by their global norm, linear warm-up and linear decay (Devlin et al. 2018, A.2).

    Args:
        peak_learning_rate: Learning rate at the end of the warm-up.
        total_steps: Batches of an epoch times epochs.
        **settings: Other arguments of `bert_optimizer`, such as `warmup_ratio`.

    Raises:
        ValueError: As `bert_optimizer` does.

    Example:
        >>> optimizer = adamw(5e-5, total_steps=800)
    """
    return bert_optimizer("adamw", peak_learning_rate, total_steps=total_steps, **settings)


def bert_optimizer(
    name: str,
    peak_learning_rate: float | None = None,
    *,
    total_steps: int,
    warmup_ratio: float = 0.1,
    weight_decay: float = 0.01,
    clip_norm: float = 1.0,
    layer_decay: float = 1.0,
    gradient_accumulation: int = 1,
    **arguments: Any,
) -> keras.optimizers.Optimizer:
    """Returns one of Keras' optimizers with BERT's schedule, clipping and decay.

    Args:
        name: `"adamw"`, `"lamb"` (You et al. 2019), `"lion"` (Chen et al. 2023), `"muon"` (Jordan
            et al. 2024; its AdamW updates embeddings, vectors and the heads' last matrices), or
            `"schedule-free"` (Defazio et al. 2024; AdamW whose rate stays at the peak, and whose
            weights are nine tenths the average of those of all steps).
        peak_learning_rate: Learning rate at the end of the warm-up; by default one for fine-tuning.
        total_steps: Number of updates.
        warmup_ratio: Share of the updates in which the rate rises, rounded up to whole updates.
        weight_decay: Decoupled decay of the matrices and tables.
        clip_norm: Largest global norm of the gradients.
        layer_decay: Rate of a layer over that of the layer above it, above 0 and at most 1:
            pooler, heads and decoder have the full rate, the last of the encoder's L blocks
            `layer_decay` times that, and its embeddings `layer_decay ** (L + 1)` times (Howard &
            Ruder 2018, section 3.1).
        gradient_accumulation: Number of batches whose gradients are averaged for one update.
        **arguments: Arguments of Keras' optimizer, such as `epsilon`.

    Raises:
        ValueError: If the name is unknown, `warmup_ratio` is not in [0, 1), `total_steps` below
            1, or `layer_decay` not in (0, 1].

    Example:
        >>> optimizer = bert_optimizer("lamb", 2e-3, total_steps=10_000)
    """
    if name not in _RECIPES:
        raise ValueError(f"The optimizers are {', '.join(_RECIPES)}; received {name!r}.")
    if not 0 <= warmup_ratio < 1:
        raise ValueError(f"warmup_ratio must be in [0, 1), received {warmup_ratio!r}.")
    optimizer_class, fine_tuning_rate, own_arguments = _RECIPES[name]
    peak = fine_tuning_rate if peak_learning_rate is None else peak_learning_rate
    # Rounded up, as transformers does; at least one step has a rate that does not rise.
    warmup_steps = min(math.ceil(warmup_ratio * total_steps), max(total_steps - 1, 0))
    rate: Any = WarmupLinearDecay(peak, total_steps, warmup_steps, gradient_accumulation)
    if name == "schedule-free":
        rate, arguments["warmup_steps"] = peak, warmup_steps
    return optimizer_class(
        learning_rate=rate,
        weight_decay=weight_decay,
        global_clipnorm=clip_norm,
        layer_decay=layer_decay,
        # Keras counts from 2, and calls 1 None.
        gradient_accumulation_steps=gradient_accumulation if gradient_accumulation > 1 else None,
        **{**own_arguments, **arguments},
    )


# Paths of weights in a network of any name: NETWORK/embeddings/..., NETWORK/block_N/...
_PLACE = re.compile(r"(?P<network>.+?/)(?:embeddings/|block_(?P<number>\d+)/(?P<layer>[^/]+))")


def _depths(paths: Sequence[str]) -> list[int]:
    """Returns 0 for embeddings, n + 1 for block n, and one more than the last for all else.

    All weights of a decoder, the network with cross-attention, are above the encoder.
    """
    places = [_PLACE.match(path) for path in paths]
    decoders = {
        place["network"] for place in places if place and place["layer"] == "cross_attention"
    }
    places = [None if place and place["network"] in decoders else place for place in places]
    numbers = [place and place["number"] for place in places]
    top = 1 + max((int(number) + 1 for number in numbers if number), default=0)
    return [
        top if place is None else int(number) + 1 if number else 0
        for place, number in zip(places, numbers, strict=True)
    ]
