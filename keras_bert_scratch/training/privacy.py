"""Differential privacy: the weights tell next to nothing about any single training example.

Axes: B rows of a batch, R rows of a microbatch, S sequence, C classes, T tokens of an example that
are looked up, H hidden.
"""

import functools
import importlib.metadata
from typing import Any, Self

import keras
import tensorflow as tf

from keras_bert_scratch.data.batching import LengthBucketedBatches

# Below, noise protects nothing; above, it leaves nothing to learn from.
_NOISE_MULTIPLIERS = (0.25, 1000.0)
# Of the privacy losses. Rounded up, so that epsilon is too large, never too small: by 0.1 % or so.
_DISCRETIZATION = 1e-3
# How often an epoch epsilon is computed for the progress bar; each takes up to 60 ms.
_UPDATES_AN_EPOCH = 20


@keras.saving.register_keras_serializable("keras_bert_scratch")
class DifferentialPrivacy:
    """Trains by DP-SGD with any Keras optimizer (Abadi et al. 2016, algorithm 1); one `fit` only.

    In each step every example comes with the same probability q; the gradient of each is clipped to
    `clip_norm`, and their sum, plus Gaussian noise of standard deviation `noise_multiplier` x
    `clip_norm`, is divided by the expected number of examples, the `batch_size` of `fit`. A batch
    is worked off in microbatches, so that it may be large, as privacy needs it, while memory holds
    the gradients of `microbatch_size` examples; those share their dropout.

    What is (epsilon, delta)-private is the trained weights, in the sense of one example added to
    the training data or removed from it: a text that stands there k times, or a person with k
    texts, is protected less. Losses and metrics are not private, nor are choices made by those of
    the training data. Only trainable weights get noise: with frozen ones or LoRA there is less.

    Args:
        delta: Probability that more than `epsilon` is lost; at most 1 / n for n examples.
        epsilon: What all epochs may cost; finds `noise_multiplier`.
        noise_multiplier: The noise instead; tells what it costs.
        clip_norm: Largest global norm of an example's gradient.
        microbatch_size: R, examples whose gradients are held at a time.

    Attributes:
        noise_multiplier: As given, or as found at the start of `fit`.
        sampling_probability: q, from the start of `fit` on.

    Raises:
        ModuleNotFoundError: If dp-accounting is not installed.
        ValueError: Unless exactly one of `epsilon` and `noise_multiplier` is given, or if a value
            is not above 0, `delta` not below 1, or `noise_multiplier` below 0.25.

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
    ) -> None:
        try:
            import dp_accounting  # noqa: F401
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "Differential privacy needs the package dp-accounting: "
                'pip install "keras_bert_scratch[privacy]".'
            ) from error
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
        for name, value in self._config.items():
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0, received {value!r}.")
        if not delta < 1:
            raise ValueError(f"delta must be below 1, received {delta!r}.")
        if noise_multiplier is not None and noise_multiplier < _NOISE_MULTIPLIERS[0]:
            raise ValueError(
                f"noise_multiplier must be at least {_NOISE_MULTIPLIERS[0]}, received "
                f"{noise_multiplier!r}: less noise protects nothing."
            )
        self.target_epsilon = epsilon
        self.delta = delta
        self.noise_multiplier = noise_multiplier
        self.clip_norm = clip_norm
        self.microbatch_size = microbatch_size
        self.sampling_probability: float | None = None
        self._steps = tf.Variable(0, dtype=tf.int64, trainable=False)

    # === What it costs ===
    @property
    def steps(self) -> int:
        """Steps done."""
        return int(self._steps.numpy())

    @property
    def epsilon(self) -> float:
        """The epsilon spent so far, at `delta`."""
        return self.epsilon_after(self.steps)

    def epsilon_after(self, steps: int) -> float:
        """Returns the epsilon at `delta` after some steps in all.

        By dp-accounting's privacy loss distributions of the Poisson-sampled Gaussian mechanism
        (Koskela et al. 2020; Doroshenko et al. 2022).

        Raises:
            ValueError: If `fit` has not begun.
        """
        if self.sampling_probability is None:
            raise ValueError("What a step costs follows from the data: call fit first.")
        if steps == 0:
            return 0.0
        return float(self._one_step.self_compose(steps).get_epsilon_for_delta(self.delta))

    @functools.cached_property
    def _one_step(self) -> Any:
        from dp_accounting.pld.privacy_loss_distribution import from_gaussian_mechanism

        return from_gaussian_mechanism(
            self.noise_multiplier,
            sampling_prob=self.sampling_probability,
            value_discretization_interval=_DISCRETIZATION,
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns what a model card should say of the privacy of the weights."""
        return {
            "epsilon": self.epsilon,
            "delta": self.delta,
            "neighbours": "one example added or removed",
            "mechanism": "DP-SGD, Poisson-sampled",
            "noise_multiplier": self.noise_multiplier,
            "clip_norm": self.clip_norm,
            "sampling_probability": self.sampling_probability,
            "steps": self.steps,
            "accountant": f"dp-accounting {importlib.metadata.version('dp-accounting')}, "
            "privacy loss distributions",
        }

    # === Training ===
    def check_fit(self, *, draws: bool, is_windows: bool) -> None:
        """Refuses a `fit` that is not private; `fit` calls it.

        Args:
            draws: Whether the batches are drawn from texts in memory.
            is_windows: Whether a text is several examples.

        Raises:
            ValueError: If the privacy would be less than what is told.
        """
        if not draws:
            raise ValueError(
                "Differential privacy holds for batches drawn at random by fit itself: give it "
                "texts held in memory, and neither shuffle=False nor steps_per_epoch."
            )
        if is_windows:
            raise ValueError(
                'Differential privacy is of examples, and with truncation="windows" a text is '
                'several of them: choose "head", "tail" or "head_tail".'
            )

    def start(
        self, batches: LengthBucketedBatches, epochs: int = 1, initial_epoch: int = 0
    ) -> None:
        """Finds what is not given; `fit` calls it.

        Args:
            batches: Of the training data.
            epochs: The last one, as in `fit`.
            initial_epoch: Epochs done before; their steps count as spent.

        Raises:
            ValueError: If it has trained before, a batch is larger than the data, delta is above
                1 / n, or epsilon cannot be reached.
        """
        n, batch_size = len(batches.lengths), batches.batch_size
        if self.sampling_probability is not None:
            raise ValueError(
                f"This DifferentialPrivacy belongs to a fit that has spent epsilon="
                f"{self.epsilon:.4g}, delta={self.delta}: compile with a new one, and add up the "
                "epsilons and the deltas."
            )
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
        probability, steps = batch_size / n, epochs * len(batches)
        if self.target_epsilon is not None:
            self.noise_multiplier = find_noise_multiplier(
                self.target_epsilon, self.delta, probability, steps
            )
        self.sampling_probability = probability
        self._expected_batch_size = batch_size
        self._steps.assign(initial_epoch * len(batches))

    def __call__(self, model: keras.Model, data: Any) -> dict[str, Any]:
        """Trains one step, in the place of `keras.Model.train_step`.

        Args:
            model: Compiled.
            data: Of `PoissonBatches`.

        Returns:
            The loss and the metrics.

        Raises:
            ValueError: If `fit` has not begun.
        """
        if self.sampling_probability is None or self.noise_multiplier is None:
            raise ValueError("Differential privacy draws its batches itself: train by fit.")
        optimizer, variables = model.optimizer, model.trainable_variables
        loss_tracker = next(metric for metric in model.metrics if metric.name == "loss")

        def add_microbatch(sums: list[tf.Tensor], microbatch: Any) -> list[tf.Tensor]:
            x, y, weights = microbatch
            gradients, losses, logits = per_example_gradients(model, x, y, weights)
            # Rows of weight 0 fill the batch up: their gradients are 0, and they have no metrics.
            is_drawn = weights > 0
            drawn = [tf.boolean_mask(rows, is_drawn) for rows in (y, logits, weights)]
            loss_tracker.update_state(tf.boolean_mask(losses, is_drawn))
            model.compute_metrics(x, *drawn)
            return add_clipped(sums, gradients, self.clip_norm)

        sums = tf.foldl(
            add_microbatch,
            tf.nest.map_structure(self._microbatches, keras.utils.unpack_x_y_sample_weight(data)),
            [tf.zeros(v.shape, v.dtype) for v in variables],
            parallel_iterations=1,
        )
        deviation = self.noise_multiplier * self.clip_norm
        noisy_means = [
            (total + tf.random.normal(total.shape, stddev=deviation)) / self._expected_batch_size
            for total in sums
        ]
        # The optimizer undoes the scale that Keras' own step gives the loss.
        optimizer.apply([optimizer.scale_loss(mean) for mean in noisy_means], variables)
        self._steps.assign_add(1)
        return model.get_metrics_result()

    def _microbatches(self, rows: tf.Tensor) -> tf.Tensor:
        """(B, ...) -> (B / R, R, ...)."""
        return tf.reshape(rows, tf.concat([[-1, self.microbatch_size], tf.shape(rows)[1:]], 0))

    # === Config ===
    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return self._config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Inverts `get_config`; what was spent is told by the one that spent it."""
        return cls(**config)


class EpsilonInLogs(keras.callbacks.Callback):
    """Adds the epsilon spent to the logs, and so to the progress bar and the history.

    It is exact at the end of an epoch, and within an epoch that of the steps up to its next update.

    Args:
        privacy: Has started.

    Example:
        >>> EpsilonInLogs(privacy)  # which `fit` does
    """

    def __init__(self, privacy: DifferentialPrivacy) -> None:
        super().__init__()
        self.privacy = privacy
        self.steps, self.epsilon = 0, 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes where the epoch will end."""
        self.epoch_end = self.privacy.steps + self.params["steps"]

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds it."""
        if self.privacy.steps > self.steps:
            ahead = -(-self.params["steps"] // _UPDATES_AN_EPOCH)
            self.steps = min(self.privacy.steps + ahead - 1, self.epoch_end)
            self.epsilon = self.privacy.epsilon_after(self.steps)
        if logs is not None:
            logs["epsilon"] = self.epsilon

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds it."""
        if logs is not None:
            logs["epsilon"] = self.privacy.epsilon


def find_noise_multiplier(epsilon: float, delta: float, probability: float, steps: int) -> float:
    """Returns the least noise with which some steps cost at most epsilon, to 0.001.

    Args:
        epsilon: What all steps may cost.
        delta: At this delta.
        probability: With which an example is drawn in a step.
        steps: Their number.

    Raises:
        ValueError: If no noise multiplier from 0.25 to 1000 does it.

    Example:
        >>> find_noise_multiplier(3.0, delta=1e-5, probability=0.03, steps=330)
        1.08...
    """
    import dp_accounting as dp
    from dp_accounting.pld import PLDAccountant

    accountant = functools.partial(PLDAccountant, value_discretization_interval=_DISCRETIZATION)

    def training(noise_multiplier: float) -> dp.DpEvent:
        step = dp.PoissonSampledDpEvent(probability, dp.GaussianDpEvent(noise_multiplier))
        return dp.SelfComposedDpEvent(step, steps)

    most, least = (
        accountant().compose(training(noise)).get_epsilon(delta) for noise in _NOISE_MULTIPLIERS
    )
    if not least <= epsilon < most:
        raise ValueError(
            f"epsilon={epsilon} cannot be reached in {steps} steps with sampling probability "
            f"{probability:.3g} and delta={delta}: noise multipliers from {_NOISE_MULTIPLIERS[1]} "
            f"to {_NOISE_MULTIPLIERS[0]} give {least:.3g} to {most:.3g}. Choose one in between, or "
            "change the epochs or the batch size."
        )
    bracket = dp.ExplicitBracketInterval(*_NOISE_MULTIPLIERS)
    return dp.calibrate_dp_mechanism(accountant, training, epsilon, delta, bracket, tol=1e-3)


def per_example_gradients(
    model: keras.Model, x: Any, y: tf.Tensor, sample_weight: tf.Tensor
) -> tuple[list[Any], tf.Tensor, tf.Tensor]:
    """Computes the gradient of the loss of each example, all at once.

    Args:
        model: Compiled.
        x: What it is called with. *Shape:* (R, ...) each.
        y: Labels. *Shape:* (R,) or (R, C).
        sample_weight: *Shape:* (R,).

    Returns:
        The gradients by trainable variables, *shape:* (R, ...); for a table that is only looked up,
        a pair of the gradients of what was found there, *shape:* (R, T, H), and the rows where it
        was found, *shape:* (R, T). Then the losses, *shape:* (R,), and the logits, *shape:* (R, C).

    Example:
        >>> gradients, losses, logits = per_example_gradients(model, inputs, labels, tf.ones(2))
    """
    variables = [variable.value for variable in model.trainable_variables]

    def gradients_of(example: Any) -> Any:
        x, y, sample_weight = tf.nest.map_structure(lambda row: row[None], example)
        with tf.GradientTape() as tape:
            logits = model(x, training=True)
            loss = model.compute_loss(x, y, logits, sample_weight)
        gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
        slices = [
            (g.values, g.indices) if isinstance(g, tf.IndexedSlices) else g for g in gradients
        ]
        return slices, loss, logits[0]

    return tf.vectorized_map(gradients_of, (x, y, sample_weight))


def add_clipped(sums: list[tf.Tensor], gradients: list[Any], clip_norm: float) -> list[tf.Tensor]:
    """Clips the gradient of each example by its global norm, and adds them up.

    Args:
        sums: What to add to, one a variable.
        gradients: Of `per_example_gradients`.
        clip_norm: Largest norm.

    Example:
        >>> add_clipped([tf.zeros(2)], [tf.constant([[3.0, 4.0], [0.3, 0.4]])], clip_norm=1.0)
        [<tf.Tensor: shape=(2,), dtype=float32, numpy=array([0.9, 1.2], dtype=float32)>]
    """
    norms = tf.sqrt(tf.add_n([_squared_norms(gradient) for gradient in gradients]))
    scales = clip_norm / tf.maximum(norms, clip_norm)
    return [
        tf.tensor_scatter_nd_add(total, g[1][..., None], g[0] * scales[:, None, None])
        if isinstance(g, tuple)
        else total + tf.tensordot(scales, g, 1)
        for total, g in zip(sums, gradients, strict=True)
    ]


def _squared_norms(gradient: Any) -> tf.Tensor:
    """Returns the squared norm of each example's gradient of one variable, (R,)."""
    if not isinstance(gradient, tuple):
        return tf.reduce_sum(tf.square(gradient), axis=tf.range(1, tf.rank(gradient)))
    # |sum of v_i in row i|^2 is the sum of v_i v_j over all i, j of the same row: what a text has
    # twice counts together, and the table, mostly zeros, need not be filled for each example.
    values, rows = gradient
    is_same_row = tf.cast(rows[:, :, None] == rows[:, None, :], values.dtype)  # (R, T, T)
    return tf.reduce_sum(is_same_row * tf.matmul(values, values, transpose_b=True), axis=(1, 2))
