"""Differential privacy: the weights tell next to nothing about any single training example.

docs/privacy.md says what is covered and what is not.

Axes: B rows of a batch, R rows of a microbatch, S sequence, C classes, T tokens of an example that
are looked up, H hidden.
"""

import importlib.metadata
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from keras_bert_scratch.data.batching import LengthBucketedBatches, PoissonBatches
from keras_bert_scratch.extras import installation
from keras_bert_scratch.layers.dropout import Dropout, keyed_bits, keyed_dropout, mix_bits
from keras_bert_scratch.training.training_step import TrainingStep

# Less noise protects nothing; more leaves nothing to learn from.
_NOISE_MULTIPLIERS = (0.25, 1000.0)
# Privacy losses are rounded up, so that epsilon is too large, never too small: by 0.1 % or so.
_DISCRETIZATION = 1e-3
# Computations of epsilon in an epoch for the progress bar; each takes up to 60 ms.
_UPDATES_AN_EPOCH = 20
# A target counts as spent at this share: the rest would need noise that teaches nothing.
_SPENT = 0.99
# Weights scale the loss before the gradient is clipped, and so cannot do harm. A larger one is a
# mistake, whose gradients might exceed float32 and then not count at all.
_LARGEST_WEIGHT = 1e6
# TensorFloat-32 rounds both factors of a product to 11 bits: a sum of clipped gradients computed
# with it may be longer by two such roundings.
_TENSOR_FLOAT_32 = 1 - 2**-9

_TRAINING = ("noise_multiplier", "sampling_probability", "steps")
# Successive trainings, each with these values.
Spent = Sequence[Mapping[str, Any]]


@keras.saving.register_keras_serializable("keras_bert_scratch")
class DifferentialPrivacy(TrainingStep):
    """Trains by DP-SGD with any Keras optimizer (Abadi et al. 2016, algorithm 1).

    In each step every example is drawn with the same probability q. The gradient of each is clipped
    to `clip_norm`, and their sum, plus Gaussian noise of standard deviation `noise_multiplier` x
    `clip_norm`, is divided by the expected number of examples, the `batch_size` of `fit`. A batch
    is processed in microbatches: it may be large, as privacy requires, while memory holds the
    gradients of `microbatch_size` examples. An example whose gradient is not finite counts as if it
    had not been drawn.

    The trained weights are (epsilon, delta)-private with respect to one example added to the
    training data or removed from it: a text that occurs k times, or a person with k texts, is
    protected less. Losses and metrics are not private, nor are choices based on those of the
    training data. Only trainable weights get noise: frozen weights or LoRA need less.
    The page docs/privacy.md says more.

    The noise and the draws of each `fit` follow from a new key of the operating system, whatever
    `keras.utils.set_random_seed` was given. The cost of earlier fits is saved with the model and
    counts: `epsilon`, also as a target, is the total.

    Args:
        delta: Probability that more than `epsilon` is lost; at most 1 / n for n examples.
        epsilon: Total cost allowed to all trainings of the model; determines `noise_multiplier`.
        noise_multiplier: The noise, if `epsilon` is not given.
        clip_norm: Largest global norm of an example's gradient.
        microbatch_size: R, the number of examples whose gradients are held at a time.
        insecure_test_seed: Seed of noise and draws, for tests. Anyone who knows it can subtract the
            noise: there is no privacy. It is not saved.

    Attributes:
        noise_multiplier: The given value, or the one found at the start of `fit`.
        sampling_probability: q, from the start of `fit` on.

    Raises:
        ModuleNotFoundError: If dp-accounting is not installed.
        ValueError: Unless exactly one of `epsilon` and `noise_multiplier` is given, or if a value
            is not above 0 and finite, `delta` not below 1, `noise_multiplier` below 0.25, or
            `microbatch_size` not an integer.

    Example:
        >>> privacy = DifferentialPrivacy(epsilon=3.0, delta=1e-5)
        >>> model.compile(keras.optimizers.Adam(1e-3), training_step=privacy)
        >>> model.fit(texts, labels, batch_size=256, epochs=10)  # shows the epsilon spent so far
        >>> privacy.to_dict()["epsilon"]
        2.998...
    """

    def __init__(
        self,
        *,
        delta: float,
        epsilon: float | None = None,
        noise_multiplier: float | None = None,
        clip_norm: float = 1.0,
        microbatch_size: int = 16,
        insecure_test_seed: int | None = None,
    ) -> None:
        _dp_accounting()
        if (epsilon is None) == (noise_multiplier is None):
            raise ValueError(
                f"Give epsilon or noise_multiplier, the other follows; received epsilon={epsilon!r}"
                f" and noise_multiplier={noise_multiplier!r}."
            )
        self._config = {
            "delta": delta,
            "epsilon": epsilon,
            "noise_multiplier": noise_multiplier,
            "clip_norm": clip_norm,
            "microbatch_size": microbatch_size,
        }
        _check_settings(self._config)
        self.target_epsilon = epsilon
        self.delta = delta
        self.noise_multiplier = noise_multiplier
        self.clip_norm = clip_norm
        self.microbatch_size = microbatch_size
        self.sampling_probability: float | None = None
        self._past: list[dict[str, Any]] = []
        self._is_fitting = False
        self._test_generator: np.random.Generator | None = None
        if insecure_test_seed is not None:
            warnings.warn(
                f"insecure_test_seed={insecure_test_seed} makes the noise known to whoever knows "
                "the seed: the weights are not private. Omit it, except in tests.",
                stacklevel=2,
            )
            self._test_generator = np.random.default_rng(insecure_test_seed)
        # Values that differ between fits are variables: the step is traced once for all of them.
        self._steps = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._key = tf.Variable([0, 0], dtype=tf.int64, trainable=False)
        self._deviation = tf.Variable(0.0, trainable=False)
        self._expected_batch_size = tf.Variable(1.0, trainable=False)

    # === What it costs ===
    @property
    def spent(self) -> list[dict[str, Any]]:
        """The cost so far, whatever delta is.

        `noise_multiplier`, `sampling_probability` and `steps` of each `fit`, in JSON's types.
        """
        steps = int(self._steps.numpy())
        return [*self._past, self._training(steps)] if steps else list(self._past)

    @property
    def steps(self) -> int:
        """Number of steps done, including those of earlier fits."""
        return sum(training["steps"] for training in self.spent)

    @property
    def epsilon(self) -> float:
        """The epsilon spent so far, at `delta`."""
        return self.epsilon_after(self.steps)

    def epsilon_after(self, steps: int) -> float:
        """Returns the epsilon at `delta` after a number of steps, including those of earlier fits.

        Raises:
            ValueError: If neither this nor an earlier `fit` has begun.
        """
        if self.sampling_probability is None and not self._past:
            raise ValueError("What a step costs follows from the data: call fit first.")
        steps -= sum(training["steps"] for training in self._past)
        return epsilon_of([*self._past, self._training(steps)] if steps else self._past, self.delta)

    def _training(self, steps: int) -> dict[str, Any]:
        """Returns the cost of a number of steps of this fit."""
        return _training(self.noise_multiplier, self.sampling_probability, steps)

    def to_dict(self) -> dict[str, Any]:
        """Returns what a model card should say about the privacy of the weights."""
        return {
            "epsilon": self.epsilon,
            "delta": self.delta,
            "neighbours": "one example added or removed",
            "mechanism": "DP-SGD, Poisson-sampled",
            "noise_multiplier": self.noise_multiplier,
            "clip_norm": self.clip_norm,
            "sampling_probability": self.sampling_probability,
            "steps": self.steps,
            "spent": self.spent,
            "accountant": f"dp-accounting {importlib.metadata.version('dp-accounting')}, "
            "privacy loss distributions",
        }

    # === Training ===
    def continue_after(self, spent: Spent) -> None:
        """Counts the cost of a model's earlier trainings; `compile` calls it.

        Args:
            spent: The `spent` of these trainings.

        Raises:
            ValueError: If `spent` is damaged, or this object has trained another model.
        """
        past = check_spent(spent)
        if self.spent != past[: len(self.spent)]:
            raise ValueError(
                f"This DifferentialPrivacy has trained another model, for {self.steps} steps: make "
                "a new one, so that each model tells what it has spent itself."
            )
        self._past = past
        self._steps.assign(0)
        self._is_fitting = False

    def check_fit(
        self, model: keras.Model, *, draws: bool, callbacks: Any = None, class_weight: Any = None
    ) -> None:
        """Refuses a `fit` that is not private; see `TrainingStep.check_fit`.

        Raises:
            ValueError: If the privacy would be less than what is told.
        """
        if not draws:
            raise ValueError(
                "Differential privacy holds for batches drawn at random by fit itself: give it "
                "texts held in memory, and neither shuffle=False nor steps_per_epoch."
            )
        if getattr(model, "truncation", None) == "windows":
            raise ValueError(
                'Differential privacy is of examples, and with truncation="windows" a text is '
                'several of them: choose "head", "tail" or "head_tail".'
            )
        if isinstance(class_weight, str):
            raise ValueError(
                f"class_weight={class_weight!r} follows from the labels of all examples, so that "
                "one more example would change the gradients of the others: give a dict of weights "
                "that were chosen without the training data."
            )
        if any(
            isinstance(callback, keras.callbacks.BackupAndRestore)
            for callback in keras.tree.flatten(callbacks)
        ):
            raise ValueError(
                "BackupAndRestore brings back weights without what they have spent, so that "
                "epsilon would be told too small: save the model as a .keras file, with "
                "ModelCheckpoint, and go on with the loaded model."
            )
        _check_model(model)

    def check_single_batch(self) -> None:
        """Refuses batches that were not drawn at random."""
        raise ValueError(
            "train_on_batch takes a batch that was chosen, and differential privacy holds for "
            "batches drawn at random: train by fit, or compile without the training_step."
        )

    def make_batches(self, *args: Any, **kwargs: Any) -> PoissonBatches:
        """Makes batches whose draws nobody can repeat; `seed` is not used."""
        seed = int.from_bytes(self._random_bytes(16), "little")
        return PoissonBatches(
            *args, **{**kwargs, "seed": seed, "microbatch_size": self.microbatch_size}
        )

    def rows_at_once(self, batches: LengthBucketedBatches) -> int:
        """Returns the size of a microbatch."""
        return self.microbatch_size

    def start(
        self, batches: LengthBucketedBatches, epochs: int = 1, initial_epoch: int = 0
    ) -> keras.callbacks.Callback:
        """Finds the noise for a target, and draws a new key for it; `fit` calls it.

        Args:
            batches: Batches of the training data.
            epochs: Number of the last epoch, as in `fit`.
            initial_epoch: Number of epochs done before.

        Returns:
            The callback that shows the epsilon spent.

        Raises:
            ValueError: If a batch is larger than the data, delta is above 1 / n, a weight is not
                from 0 to 1e6, epsilon is spent or cannot be reached, or the cost of the epochs done
                before is unknown.
        """
        n, batch_size = len(batches.lengths), batches.batch_size
        if batch_size > n:
            raise ValueError(
                f"An example is drawn with probability batch_size / n, received batch_size="
                f"{batch_size} for {n} examples: make it {n} at most."
            )
        if self.delta > 1 / n:
            raise ValueError(
                f"delta must be at most 1 / n, received {self.delta} for {n} examples: above "
                f"{1 / n:.3g}, publishing an example at random would count as private."
            )
        _check_weights(batches.sample_weight)
        past = self.spent
        if initial_epoch > 0 and not past:
            raise ValueError(
                f"initial_epoch={initial_epoch} says that epochs were done before, and the model "
                "does not know what they have spent: go on with the model that did them, or with "
                "its .keras file or its save_pretrained folder."
            )
        probability, steps = batch_size / n, (epochs - initial_epoch) * len(batches)
        if steps < 1:
            raise ValueError(
                f"There is nothing to train from initial_epoch={initial_epoch} to epochs={epochs}: "
                "make epochs larger, it is the number of the last one."
            )
        if self.target_epsilon is not None:
            self.noise_multiplier = find_noise_multiplier(
                self.target_epsilon, self.delta, probability, steps, past
            )
        assert self.noise_multiplier is not None
        self._past = past
        self.sampling_probability = probability
        self._steps.assign(0)
        # New for each fit, and never saved: no two trainings, and no two parts of a stopped one,
        # have the same noise.
        self._key.assign(np.frombuffer(self._random_bytes(16), np.int64))
        self._deviation.assign(self.noise_multiplier * self.clip_norm)
        self._expected_batch_size.assign(batch_size)
        self._is_fitting = True
        return EpsilonInLogs(self)

    def finish(self) -> None:
        """Refuses batches until the next `fit`; its callback calls it."""
        self._is_fitting = False

    def _random_bytes(self, size: int) -> bytes:
        if self._test_generator is not None:
            return self._test_generator.bytes(size)
        return os.urandom(size)

    def __call__(self, model: keras.Model, data: Any) -> dict[str, Any]:
        """Trains one step, in place of `keras.Model.train_step`.

        Args:
            model: A compiled model.
            data: A batch of `PoissonBatches`.

        Returns:
            The loss and the metrics.

        Raises:
            ValueError: If no `fit` is running.
        """
        if not self._is_fitting:
            raise ValueError("Differential privacy draws its batches itself: train by fit.")
        optimizer, variables = model.optimizer, model.trainable_variables
        loss_tracker = next(metric for metric in model.metrics if metric.name == "loss")
        # Seed i of this step belongs to the noise of variable i; one more to dropout.
        numbers_drawn = self._steps * (len(variables) + 1)

        def seed(i: int) -> tf.Tensor:
            return self._key + tf.stack([tf.zeros_like(numbers_drawn), numbers_drawn + i])

        dropout_key = tf.random.stateless_uniform(
            (), seed(len(variables)), minval=None, maxval=None, dtype=tf.uint32, alg="philox"
        )

        def add_microbatch(sums: list[tf.Tensor], microbatch: Any) -> list[tf.Tensor]:
            x, y, weights = microbatch
            gradients, losses, logits = per_example_gradients(
                model, x, y, weights, example_keys(x, dropout_key)
            )
            # Rows of weight 0 pad the batch: they add nothing, and have no metrics.
            is_drawn = weights > 0
            drawn = [tf.boolean_mask(rows, is_drawn) for rows in (y, logits, weights)]
            loss_tracker.update_state(tf.boolean_mask(losses, is_drawn))
            model.compute_metrics(x, *drawn)
            return add_clipped(sums, gradients, self.clip_norm, is_drawn)

        microbatches = tf.nest.map_structure(
            self._microbatches, keras.utils.unpack_x_y_sample_weight(data)
        )
        zeros = [tf.zeros(v.shape, v.dtype) for v in variables]
        # Stateless: compiled by XLA, tf.random.normal draws the same in every process.
        noisy_means = []
        for i, total in enumerate(_fold(add_microbatch, zeros, microbatches)):
            noise = tf.random.stateless_normal(
                total.shape, seed(i), stddev=self._deviation, alg="philox"
            )
            noisy_means.append((total + noise) / self._expected_batch_size)
        # The optimizer divides by the scale that Keras' own step gives the loss.
        optimizer.apply([optimizer.scale_loss(mean) for mean in noisy_means], variables)
        self._steps.assign_add(1)
        return model.get_metrics_result()

    def _microbatches(self, rows: tf.Tensor) -> tf.Tensor:
        """(B, ...) -> (B / R, R, ...)."""
        return tf.reshape(rows, tf.concat([[-1, self.microbatch_size], tf.shape(rows)[1:]], 0))

    # === Config ===
    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, without a seed for tests."""
        return self._config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Inverts `get_config`; the model knows what was spent."""
        return cls(**config)


class EpsilonInLogs(keras.callbacks.Callback):
    """Adds the epsilon spent to the logs, and so to the progress bar and the history.

    It is exact at the end of an epoch; within an epoch it includes the steps until its next update.

    Args:
        privacy: The training step, after its `start`.
    """

    def __init__(self, privacy: DifferentialPrivacy) -> None:
        super().__init__()
        self.privacy = privacy
        self.steps, self.epsilon = 0, 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Computes the step at which the epoch will end."""
        self.epoch_end = self.privacy.steps + self.params["steps"]

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Adds an upper bound of the epsilon."""
        if self.privacy.steps > self.steps:
            ahead = -(-self.params["steps"] // _UPDATES_AN_EPOCH)
            self.steps = min(self.privacy.steps + ahead - 1, self.epoch_end)
            self.epsilon = self.privacy.epsilon_after(self.steps)
        logs["epsilon"] = self.epsilon

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Adds the exact epsilon."""
        logs["epsilon"] = self.privacy.epsilon

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Ends the training."""
        self.privacy.finish()


# === Accounting ===
def check_spent(spent: Spent) -> list[dict[str, Any]]:
    """Returns a valid `DifferentialPrivacy.spent` as dicts.

    Raises:
        ValueError: If it is damaged.
    """
    for training in spent:
        is_valid = isinstance(training, Mapping) and set(training) == set(_TRAINING)
        noise, probability, steps = (is_valid and training[name] for name in _TRAINING)
        if (
            not (_is_positive(noise) and _is_positive(probability) and _is_count(steps))
            or probability > 1
        ):
            raise ValueError(
                f"What a training has spent must be {', '.join(_TRAINING)}, above 0, of which the "
                f"second is at most 1 and the third an integer; received {training!r}."
            )
    return [dict(training) for training in spent]


def epsilon_of(spent: Spent, delta: float) -> float:
    """Returns the epsilon of successive trainings at some delta.

    It is computed from dp-accounting's privacy loss distributions of the Poisson-sampled Gaussian
    mechanism (Koskela et al. 2020; Doroshenko et al. 2022).

    Example:
        >>> epsilon_of([{"noise_multiplier": 1.0, "sampling_probability": 0.1, "steps": 5}], 1e-5)
        1.9...
    """
    return float(_accountant().compose(_event(spent)).get_epsilon(delta)) if spent else 0.0


def find_noise_multiplier(
    epsilon: float, delta: float, probability: float, steps: int, spent: Spent = ()
) -> float:
    """Returns the least noise multiplier whose total cost is at most epsilon, to 0.001.

    Args:
        epsilon: Total cost at `delta`, that of earlier trainings included.
        delta: Probability that more is lost.
        probability: Sampling probability of an example in a step.
        steps: Number of steps.
        spent: Cost of earlier trainings.

    Raises:
        ValueError: If epsilon is spent, or no noise multiplier from 0.25 to 1000 reaches it.

    Example:
        >>> find_noise_multiplier(3.0, delta=1e-5, probability=0.03, steps=330)
        1.08...
    """
    dp = _dp_accounting()
    before = epsilon_of(spent, delta)
    if before > _SPENT * epsilon:
        raise ValueError(
            f"epsilon={epsilon} is spent: earlier fits cost {before:.4g} at delta={delta}. Compile "
            "with a larger epsilon, which is the total of all fits."
        )

    def event(noise_multiplier: float) -> Any:
        return _event([*spent, _training(noise_multiplier, probability, steps)])

    most, least = (
        _accountant().compose(event(noise)).get_epsilon(delta) for noise in _NOISE_MULTIPLIERS
    )
    if not least <= epsilon < most:
        raise ValueError(
            f"epsilon={epsilon} cannot be reached in {steps} steps with sampling probability "
            f"{probability:.3g} and delta={delta}: noise multipliers from {_NOISE_MULTIPLIERS[1]} "
            f"to {_NOISE_MULTIPLIERS[0]} give {least:.3g} to {most:.3g}. Choose one in between, or "
            "change the epochs or the batch size."
        )
    bracket = dp.ExplicitBracketInterval(*_NOISE_MULTIPLIERS)
    return dp.calibrate_dp_mechanism(_accountant, event, epsilon, delta, bracket, tol=1e-3)


def _dp_accounting() -> Any:
    try:
        import dp_accounting
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"Differential privacy needs the package dp-accounting: {installation('privacy')}."
        ) from error
    return dp_accounting


def _accountant() -> Any:
    from dp_accounting.pld import PLDAccountant

    return PLDAccountant(value_discretization_interval=_DISCRETIZATION)


def _training(*values: float | None) -> dict[str, Any]:
    """Returns the cost of a training with the values of `_TRAINING`."""
    return dict(zip(_TRAINING, values, strict=True))


def _event(spent: Spent) -> Any:
    """Returns successive trainings as an event of dp-accounting."""
    dp = _dp_accounting()
    events = []
    for training in spent:
        noise, probability, steps = (training[name] for name in _TRAINING)
        step = dp.PoissonSampledDpEvent(probability, dp.GaussianDpEvent(noise))
        events.append(dp.SelfComposedDpEvent(step, steps))
    return dp.ComposedDpEvent(events)


# === Gradients ===
def example_keys(x: Any, key: tf.Tensor) -> tf.Tensor:
    """Returns a key for each example, which follows from its own tokens alone.

    As its dropout follows from the key, the gradient of an example is the same whichever others
    are drawn with it. So one more example changes the sum by its own gradient alone, by at most
    the clip norm, and epsilon holds even against one who knows all masks: they need not be secret.

    Args:
        x: `token_ids` and `padding_mask`, int32. *Shape:* (R, S) each.
        key: Key of the step, uint32. *Shape:* ().

    Returns:
        uint32. *Shape:* (R,).
    """
    token_ids = tf.cast(x["token_ids"], tf.uint32)
    mixed = mix_bits(token_ids ^ keyed_bits(key, (tf.shape(token_ids)[1],)))
    of_tokens = tf.where(tf.cast(x["padding_mask"], tf.bool), mixed, 0)
    # The sum, which wraps around, does not depend on the padding.
    return mix_bits(tf.reduce_sum(of_tokens, axis=1))


def per_example_gradients(
    model: keras.Model, x: Any, y: tf.Tensor, sample_weight: tf.Tensor, keys: tf.Tensor
) -> tuple[list[Any], tf.Tensor, tf.Tensor]:
    """Computes the gradient of each example's loss, all at once.

    Args:
        model: A compiled model.
        x: Inputs of the model. *Shape:* (R, ...) each.
        y: Labels. *Shape:* (R,) or (R, C).
        sample_weight: Weights. *Shape:* (R,).
        keys: Keys of `example_keys`. *Shape:* (R,).

    Returns:
        The gradients by trainable variables, *shape:* (R, ...); for a table that is only looked up,
        a pair of the gradients of the looked-up rows, *shape:* (R, T, H), and their numbers,
        *shape:* (R, T). Then the losses, *shape:* (R,), and the logits, *shape:* (R, C).

    Raises:
        ValueError: If a layer adds a loss of its own.
    """
    variables = [variable.value for variable in model.trainable_variables]

    def gradients_of(example: Any) -> Any:
        *example, key = example
        x, y, sample_weight = tf.nest.map_structure(lambda row: row[None], example)
        with keyed_dropout(key):
            with tf.GradientTape() as tape:
                logits = model(x, training=True)
                _check_losses(model)
                loss = model.compute_loss(x, y, logits, sample_weight)
            gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
        slices = [
            (g.values, g.indices) if isinstance(g, tf.IndexedSlices) else g for g in gradients
        ]
        return slices, loss, logits[0]

    return tf.vectorized_map(gradients_of, (x, y, sample_weight, keys))


def add_clipped(
    sums: list[tf.Tensor], gradients: list[Any], clip_norm: float, is_drawn: tf.Tensor
) -> list[tf.Tensor]:
    """Clips the gradient of each example by its global norm, and adds them up.

    Args:
        sums: Tensors to add to, one for each variable.
        gradients: Gradients of `per_example_gradients`. Examples whose norm is not finite are
            skipped.
        clip_norm: Largest norm.
        is_drawn: Whether to add each example. *Shape:* (R,).

    Example:
        >>> gradients = [tf.constant([[3.0, 4.0], [0.3, 0.4], [np.inf, 0.0]])]
        >>> add_clipped([tf.zeros(2)], gradients, clip_norm=1.0, is_drawn=tf.ones(3, tf.bool))
        [<tf.Tensor: shape=(2,), dtype=float32, numpy=array([0.9, 1.2], dtype=float32)>]
    """
    gradients = [_merged(*g) if isinstance(g, tuple) else g for g in gradients]
    dense = [g[0] if isinstance(g, tuple) else g for g in gradients]
    squares = [tf.reduce_sum(tf.square(g), axis=tf.range(1, tf.rank(g))) for g in dense]
    norms = tf.sqrt(tf.add_n(squares))
    is_finite = tf.math.is_finite(norms)
    # Multiplying by 0 would keep NaN. tf.where takes time, and is seldom needed.
    dense = tf.cond(
        tf.reduce_all(is_finite),
        lambda: dense,
        lambda: [tf.where(_over(is_finite, g), g, 0.0) for g in dense],
    )
    largest = clip_norm * _TENSOR_FLOAT_32 if _has_tensor_float_32() else clip_norm
    scales = tf.where(is_finite & is_drawn, largest / tf.maximum(norms, largest), 0.0)
    return [
        tf.tensor_scatter_nd_add(total, g[1][..., None], values * _over(scales, values))
        if isinstance(g, tuple)
        else total + tf.tensordot(scales, values, 1)
        for total, g, values in zip(sums, gradients, dense, strict=True)
    ]


def _fold(function: Callable[[Any, Any], Any], state: Any, rows: Any) -> Any:
    """Does what tf.foldl does, in which an error changes TensorFlow's variable scope for good."""
    number = tf.shape(tf.nest.flatten(rows)[0])[0]
    _, state = tf.while_loop(
        lambda i, _: i < number,
        lambda i, state: (i + 1, function(state, tf.nest.map_structure(lambda x: x[i], rows))),
        (tf.constant(0), state),
        parallel_iterations=1,
    )
    return state


def _merged(values: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Sums an example's gradients, (R, T, H), of the same row, (R, T), where it occurs first.

    The other occurrences get zeros. The norm is then that of the table's gradient, which is mostly
    zeros and need not be filled for each example.
    """
    is_same = rows[:, :, None] == rows[:, None, :]  # (R, T, T)
    first = tf.argmax(tf.cast(is_same, values.dtype), axis=2, output_type=rows.dtype)
    is_first = first == tf.range(tf.shape(rows)[1], dtype=rows.dtype)
    return tf.matmul(tf.cast(is_same & is_first[:, :, None], values.dtype), values), rows


def _over(of_examples: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """(R,) -> (R, 1, ...), with as many axes as the values."""
    return tf.reshape(of_examples, [-1, *[1] * (values.shape.rank - 1)])


# === Checks ===
def _check_settings(config: Mapping[str, Any]) -> None:
    for name, value in config.items():
        if value is not None and not _is_positive(value):
            raise ValueError(f"{name} must be above 0, received {value!r}: give a finite number.")
    delta, noise, size = (config[name] for name in ("delta", "noise_multiplier", "microbatch_size"))
    if not delta < 1:
        raise ValueError(f"delta must be below 1, received {delta!r}.")
    if noise is not None and noise < _NOISE_MULTIPLIERS[0]:
        raise ValueError(
            f"noise_multiplier must be at least {_NOISE_MULTIPLIERS[0]}, received {noise!r}: less "
            "noise protects nothing."
        )
    if not _is_count(size):
        raise ValueError(f"microbatch_size must be an integer, received {size!r}.")


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and bool(0 < value < np.inf)


def _is_count(value: Any) -> bool:
    return isinstance(value, int | np.integer) and bool(value > 0)


def _has_tensor_float_32() -> bool:
    """Whether products of float32 may be coarser than float32."""
    return bool(
        tf.config.list_physical_devices("GPU")
        and tf.config.experimental.tensor_float_32_execution_enabled()
    )


def _check_weights(sample_weight: np.ndarray | None) -> None:
    if sample_weight is None:
        return
    is_wrong = ~((sample_weight >= 0) & (sample_weight <= _LARGEST_WEIGHT))
    if is_wrong.any():
        position = int(np.argmax(is_wrong))
        raise ValueError(
            f"With differential privacy, sample weights must be from 0 to {_LARGEST_WEIGHT:g}, "
            f"received {sample_weight[position]} at position {position}: the gradient that it "
            "scales is clipped anyway."
        )


def _check_losses(model: keras.Model) -> None:
    if model.losses or any(
        getattr(layer, "activity_regularizer", None) is not None
        for layer in model._flatten_layers()
    ):
        raise ValueError(
            "Differential privacy clips the gradients of the loss of single examples, and the "
            "model has losses beside it (regularizers, or add_loss): remove them; weight decay of "
            "the optimizer acts on the weights, after the noise."
        )


def _check_model(model: keras.Model) -> None:
    """Refuses a model whose gradient is not a sum of the clipped gradients of examples."""
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "Differential privacy needs Keras' TensorFlow backend, received "
            f"{keras.backend.backend()}: set KERAS_BACKEND=tensorflow."
        )
    _check_losses(model)
    for layer in model._flatten_layers():
        if layer._seed_generators and not isinstance(layer, Dropout):
            raise ValueError(
                f"The layer {layer.name} ({type(layer).__name__}) would draw the same for all "
                "examples of a microbatch, so that one more example changes the gradients of "
                "others: remove it, or use keras_bert_scratch's Dropout."
            )
        if layer._non_trainable_variables and getattr(layer, "quantization_mode", None) is None:
            raise ValueError(
                f"The layer {layer.name} ({type(layer).__name__}) keeps a state that follows from "
                "many examples and gets no noise, as batch normalization does: use layer "
                "normalization, or remove it."
            )
    for variable in model.trainable_variables:
        if keras.backend.standardize_dtype(variable.dtype) != "float32":
            raise ValueError(
                f"Differential privacy needs weights in float32, and {variable.path} has "
                f"{variable.dtype}: with another dtype, use mixed_bfloat16 or mixed_float16."
            )
