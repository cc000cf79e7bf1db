"""Training on several devices and machines, equal to training on one.

It uses `tf.distribute`; on JAX, Keras' own data parallelism on the devices of one machine.

Axes: B rows of a global batch, R replicas.
"""

import contextlib
import functools
import hashlib
import inspect
import json
import os
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_bert_scratch.data.batching import LengthBucketedBatches
from keras_bert_scratch.training.losses import InBatchContrastiveLoss
from keras_bert_scratch.training.training_step import TrainingStep

# Errors that TensorFlow raises on the other workers when one has died, depending on what they did.
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
)


class WorkerLostError(RuntimeError):
    """Another worker of the training stopped answering."""


def distribution_strategy(name: str | None) -> tf.distribute.Strategy:
    """Returns the strategy under whose `scope()` a model is to be made, compiled and restored.

    Call it first: the connection to other workers is made before TensorFlow's first tensor.

    Args:
        name: `"mirrored"` for all GPUs of this machine, or, on the JAX backend, all its devices,
            from then on in the whole process; `"multi-worker"` for the machines listed in the
            environment variable TF_CONFIG, each of which runs this program on the same data and
            with the same seeds; None for no distribution.

    Raises:
        ValueError: If the name is unknown, TF_CONFIG does not name this worker, or the backend
            does not support the strategy.

    Example:
        >>> strategy = distribution_strategy("mirrored")
        >>> with strategy.scope():
        ...     model = BertClassifier.from_pretrained("path/or/hub-id", labels=["bad", "good"])
        ...     model.compile(adamw(5e-5, total_steps=800))
        >>> model.fit(texts, labels, batch_size=64)  # of all replicas together
    """
    if name is None:
        return tf.distribute.get_strategy()
    backend = keras.backend.backend()
    if backend == "jax" and name == "mirrored":
        keras.distribution.set_distribution(_DataParallel())
        return tf.distribute.get_strategy()
    if backend != "tensorflow":
        raise ValueError(
            'Training is distributed on TensorFlow, and with "mirrored" on JAX; this backend is '
            f"{backend}, received {name!r}: set KERAS_BACKEND=tensorflow."
        )
    if name == "mirrored":
        return tf.distribute.MirroredStrategy()
    if name == "multi-worker":
        _check_tf_config(os.environ.get("TF_CONFIG", ""))
        return tf.distribute.MultiWorkerMirroredStrategy()
    raise ValueError(f'distribute must be "mirrored" or "multi-worker", received {name!r}.')


def _check_tf_config(text: str) -> None:
    example = (
        '{"cluster": {"worker": ["host0:12345", "host1:12345"]}, '
        '"task": {"type": "worker", "index": 0}}'
    )
    try:
        config = json.loads(text)
        workers, task = config["cluster"]["worker"], config["task"]
        task_type, index = task["type"], int(task["index"])
        if not isinstance(workers, list) or not workers:
            raise TypeError("cluster.worker must be a list of addresses")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"TF_CONFIG is {text!r}, which cannot be read ({type(error).__name__}: {error}): set "
            f"it on every worker, like {example}."
        ) from error
    if set(config["cluster"]) != {"worker"} or task_type != "worker":
        raise ValueError(
            f"TF_CONFIG is {text!r}: all tasks of the cluster must be of type worker; number 0 "
            f"writes the files. Set it like {example}."
        )
    if not 0 <= index < len(workers):
        raise ValueError(
            f"TF_CONFIG is {text!r}: it lists {len(workers)} workers, so there is no worker "
            f"{index}; index must be from 0 to {len(workers) - 1}."
        )


def is_multi_worker(strategy: tf.distribute.Strategy | None) -> bool:
    """Whether other processes take part in the training."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return False
    return len(strategy.cluster_resolver.cluster_spec().as_dict().get("worker", ())) > 1


def is_chief(strategy: tf.distribute.Strategy | None) -> bool:
    """Whether this process is the one that writes files."""
    if strategy is None or not is_multi_worker(strategy):
        return True
    return strategy.cluster_resolver.task_id == 0


def shard(
    dataset: tf.data.Dataset, strategy: tf.distribute.Strategy
) -> tf.distribute.DistributedDataset:
    """Gives each replica every R-th row of every global batch.

    All workers read the same dataset. If B is not a multiple of R, some replicas get one row less
    than others, or none.

    Args:
        dataset: Global batches. *Shape:* (B, ...) each leaf.
        strategy: Strategy of R replicas.

    Returns:
        A dataset for `keras.Model.fit` and `evaluate`, with as many steps.
    """
    replicas = strategy.num_replicas_in_sync
    spec = dataset.element_spec
    inputs = spec[0] if isinstance(spec, tuple) else spec
    if isinstance(inputs, dict) and "num_windows" in inputs:
        raise ValueError(
            'With truncation="windows", a row is a window of a text, and tf.distribute would '
            "separate the windows of one text: validate on a copy of the model made without a "
            "strategy."
        )

    def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
        local = replicas // context.num_input_pipelines
        first = context.input_pipeline_id * local

        def shares(*batch: Any) -> tf.data.Dataset:
            return tf.data.Dataset.range(first, first + local).map(
                lambda replica: keras.tree.map_structure(
                    lambda leaf: leaf[replica::replicas], batch
                )
            )

        return dataset.flat_map(shares).prefetch(tf.data.AUTOTUNE)

    sharded = strategy.distribute_datasets_from_function(of_worker)
    # Keras reads the number of steps here; TensorFlow would count the shares of all local replicas.
    sharded._cardinality = np.int64(dataset.cardinality())
    return sharded


def check_batch_size(batch_size: int, strategy: tf.distribute.Strategy, parts: int = 1) -> None:
    """Raises a ValueError if the replicas cannot share each part of a global batch evenly."""
    replicas = strategy.num_replicas_in_sync
    shares = replicas * parts
    if batch_size % shares:
        raise ValueError(
            f"The batch size {batch_size} is that of all {replicas} replicas together"
            f"{f', in {parts} parts' if parts > 1 else ''}, and must be a multiple of {shares}, "
            f"such as {-(-batch_size // shares) * shares}."
        )


def check_workers_agree(strategy: tf.distribute.Strategy, facts: dict[str, Any]) -> None:
    """Checks that values are the same on all workers, before anything is trained.

    Args:
        strategy: Strategy of the training.
        facts: Values by name, compared by the hash of their representation.

    Raises:
        ValueError: On all workers, if one has another value than worker 0.
        WorkerLostError: If a worker stopped.
    """
    if not is_multi_worker(strategy):
        return
    digests = [list(hashlib.sha256(repr(value).encode()).digest()) for value in facts.values()]
    # Every collective implementation has float32, which holds a byte exactly.
    ours = tf.constant([digests], tf.float32)

    @tf.function
    def gather() -> Any:
        return strategy.run(lambda: tf.distribute.get_replica_context().all_gather(ours, axis=0))

    with _named_loss(strategy):
        theirs = strategy.experimental_local_results(gather())[0].numpy()
    differs = (theirs != theirs[0]).any(axis=2)
    if differs.any():
        local = len(strategy.extended.worker_devices)
        found = [
            f"{name} (worker {np.flatnonzero(differs[:, i])[0] // local})"
            for i, name in enumerate(facts)
            if differs[:, i].any()
        ]
        raise ValueError(
            f"The workers do not have the same {', '.join(found)} as worker 0: start all of them "
            "with the same files, options and seeds."
        )


@contextlib.contextmanager
def chief_first(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Lets worker 0 run the block before the others, which then find the files that it wrote.

    Raises:
        WorkerLostError: If a worker stopped.
    """
    if not is_chief(strategy):
        check_workers_agree(strategy, {"turn": True})
    yield
    if is_chief(strategy):
        check_workers_agree(strategy, {"turn": True})


def state_hash(model: keras.Model) -> str:
    """Returns the sha256 of a model's weights and its optimizer's."""
    digest = hashlib.sha256()
    for variable in (*model.variables, *model.optimizer.variables):
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(variable)).tobytes())
    return digest.hexdigest()


@contextlib.contextmanager
def _named_loss(strategy: tf.distribute.Strategy | None) -> Iterator[None]:
    try:
        yield
    except _LOST as error:
        if not is_multi_worker(strategy):
            raise
        raise WorkerLostError(
            f"A worker stopped answering ({error.message.splitlines()[0]}): find out why, and "
            "start all workers again, or fewer; with a checkpoint they resume from it."
        ) from error


def _accumulate(
    optimizer: keras.optimizers.Optimizer, gradients: list[Any], weights: list[keras.Variable]
) -> None:
    """Adds a batch's gradients to an optimizer's accumulators, or updates the weights.

    It replaces Keras' `_backend_apply_gradients`, in which each replica enters the branch alone,
    where replicas cannot synchronize. Here they synchronize first, and restart within the branch.
    """
    steps = optimizer.gradient_accumulation_steps
    accumulators = [
        optimizer._accumulated_gradients[optimizer._get_variable_index(weight)]
        for weight in weights
    ]

    def add(gradients: list[Any]) -> None:
        optimizer._backend_increment_gradient_accumulators(gradients, accumulators)

    def update(gradients: list[Any]) -> None:
        means = [
            (gradient + accumulator) / steps
            for gradient, accumulator in zip(gradients, accumulators, strict=True)
        ]
        means = optimizer._clip_gradients(means)
        optimizer._apply_weight_decay(weights)
        optimizer._backend_update_step(means, weights, optimizer.learning_rate)
        # Back to zero. Keras' own reset assigns, which TensorFlow forbids in a replica.
        add([-accumulator for accumulator in accumulators])

    def branch(strategy: tf.distribute.Strategy, gradients: Any) -> None:
        tf.cond(
            (optimizer._iterations + 1) % steps == 0,
            lambda: strategy.run(update, (gradients,)),
            lambda: strategy.run(add, (gradients,)),
        )

    tf.distribute.get_replica_context().merge_call(branch, (gradients,))


class _DataParallel(keras.distribution.DataParallel):
    """Keras' data parallelism on JAX, with batches whose rows the devices cannot share evenly.

    Keras 3.15 lays out all batches of an epoch like the first, which fails for an odd last one.
    Here all devices receive the whole batch, and the step gives each its rows.
    """

    def get_data_layout(self, data_shape: tuple[int, ...]) -> keras.distribution.TensorLayout:
        """Returns the layout of an incoming batch."""
        return keras.distribution.TensorLayout([None] * len(data_shape), self.device_mesh)

    def split(self, leaf: Any) -> Any:
        """Gives each device its rows of an array of a batch."""
        layout = super().get_data_layout(leaf.shape)
        return keras.distribution.distribute_tensor(leaf, layout)


def _is_by_weight(loss: Any) -> bool:
    """Whether a loss is a mean over something other than its rows."""
    ignores = getattr(loss, "ignore_class", None) is not None
    return ignores or getattr(loss, "reduction", None) == "mean_with_sample_weight"


def _split(data: Any) -> Any:
    """Shares a batch among the devices, on JAX under `distribution_strategy`."""
    distribution = keras.distribution.distribution()
    if not isinstance(distribution, _DataParallel):
        return data
    return keras.tree.map_structure(distribution.split, data, none_is_leaf=False)


# Names the positional arguments.
_FIT = inspect.signature(keras.Model.fit)


class DistributableModel(keras.Model):
    """A Keras model whose `fit` and `evaluate` work under a strategy.

    Batches are global: the weights are those that one device would learn from them, also with
    gradients clipped by their global norm (except for dropout, which each replica draws itself).
    `predict` runs on this process alone.

    Keras 3.15 does not do that. Under MultiWorkerMirroredStrategy, its `_maybe_symbolic_build`
    reduces a batch to its mean over the replicas ("Attempt to convert a value (PerReplica ...)"),
    and logs are reduced over an axis that scalars lack. Under every strategy its optimizers clip
    the gradients of each replica before they are summed, and replicas with different numbers of
    rows count alike. On TensorFlow, even on one device, it clips by the norm of an embedding's
    gradient token by token, before those of the same token are summed.
    """

    # Trains in the place of Keras' own step; for tasks whose `compile` takes one.
    training_step: TrainingStep | None = None

    @property
    def _strategy(self) -> tf.distribute.Strategy | None:
        # Only TensorFlow's trainer has it.
        return getattr(self, "_distribute_strategy", None)

    @property
    def num_replicas(self) -> int:
        """Number of devices that share a batch."""
        return 1 if self._strategy is None else self._strategy.num_replicas_in_sync

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compiles as Keras does.

        Raises:
            ValueError: If the weights are float16, or the loss of float16 computations would not be
                scaled; or if the optimizer, the loss or an argument fails under a strategy.
        """
        super().compile(*args, **kwargs)
        self._check_float16()
        optimizer = self.optimizer
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        if inner is not None and hasattr(inner, "_all_reduce_sum_gradients"):
            # train_step sums the gradients, so that those of the global batch are clipped. Also on
            # one device, where Keras' sum would keep the model (see _sum_of_replicas).
            inner._all_reduce_sum_gradients = list
        if self._strategy is None:
            return
        self._check_strategy()
        if optimizer.gradient_accumulation_steps:
            optimizer._backend_apply_gradients = functools.partial(_accumulate, optimizer)

    def _check_strategy(self) -> None:
        """Refuses what fails under a strategy."""
        losses = keras.tree.flatten(self.loss)
        for is_wrong, message in (
            (
                self.steps_per_execution > 1,
                f"steps_per_execution={self.steps_per_execution} does not work under "
                "tf.distribute: Keras' loop over the steps cannot read a batch of several workers; "
                "omit it.",
            ),
            (
                self.optimizer.use_ema,
                "use_ema=True does not work under tf.distribute: Keras averages weights in a "
                "branch of the graph, where replicas cannot synchronize; omit it.",
            ),
            (
                isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer),
                "Loss scaling does not work under tf.distribute: Keras skips updates in a branch "
                'of the graph, where replicas cannot synchronize; use dtype="mixed_bfloat16".',
            ),
            (
                isinstance(self.loss, InBatchContrastiveLoss),
                "InBatchContrastiveLoss does not work under tf.distribute: each replica would "
                "compare the texts of its own rows only; train on one device.",
            ),
            (
                len(losses) > 1 and any(_is_by_weight(loss) for loss in losses),
                "None of several losses under tf.distribute can be a mean over weights or ignore a "
                "class: replicas would need another denominator for each; use "
                'reduction="sum_over_batch_size" without ignore_class.',
            ),
        ):
            if is_wrong:
                raise ValueError(message)

    def _check_float16(self) -> None:
        if any(weight.dtype == "float16" for weight in self.trainable_weights):
            raise ValueError(
                f"{self.name} has float16 weights, which do not learn: the steps of an optimizer "
                "are lost in rounding, or become infinite. Make the model with "
                'dtype="mixed_float16" or "mixed_bfloat16", whose weights are float32; float16 is '
                "for inference alone."
            )
        is_scaled = isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer)
        layers = () if self.optimizer is None or is_scaled else self._flatten_layers()
        if any(layer.compute_dtype == "float16" for layer in layers):
            raise ValueError(
                f"Layers of {self.name} compute in float16, in which small gradients become 0 "
                "unless the loss is scaled; Keras scales it if the model has that dtype, too: make "
                'the whole model, not only its encoder, with dtype="mixed_float16".'
            )

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles a loaded model; Keras refuses to for classes with a `compile` of their own."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def check_workers(self, batches: LengthBucketedBatches) -> None:
        """Checks that all workers train on the same batches; does nothing without a strategy.

        Raises:
            ValueError: If the workers differ, or B is not a multiple of the replicas.
            WorkerLostError: If a worker stopped.
        """
        if self._strategy is None:
            return
        check_batch_size(batches.batch_size, self._strategy)
        check_workers_agree(
            self._strategy,
            {"data": batches.fingerprint(), "seed": batches.seed, "batch size": batches.batch_size},
        )

    def fit(self, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """Trains as Keras does; under a strategy, on a dataset of global batches.

        Raises:
            TypeError: If the data is not a dataset, under a strategy.
            ValueError: If the weights of the workers differ.
            WorkerLostError: If a worker stopped.
        """
        given = _FIT.bind(self, *args, **kwargs).arguments
        del given["self"]
        if self._strategy is not None:
            if given.get("class_weight"):
                raise ValueError(
                    "class_weight does not work under tf.distribute, which takes a dataset: pass "
                    "one weight for each example as sample_weight."
                )
            given["x"] = self._shard(given.get("x"))
            if given.get("validation_data") is not None:
                given["validation_data"] = self._shard(given["validation_data"])
            check_workers_agree(
                self._strategy,
                {
                    "weights": state_hash(self),
                    "epochs": (given.get("initial_epoch", 0), given.get("epochs", 1)),
                    "validation": given.get("validation_data") is not None,
                },
            )
        with _named_loss(self._strategy):
            return super().fit(**given)

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluates as Keras does; under a strategy, on a dataset of global batches.

        Raises:
            TypeError: If the data is not a dataset, under a strategy.
            WorkerLostError: If a worker stopped.
        """
        if self._strategy is not None:
            x, *rest = args if args else (kwargs.pop("x", None),)
            args = (self._shard(x), *rest)
        with _named_loss(self._strategy):
            return super().evaluate(*args, **kwargs)

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """Predicts as Keras does, on this process alone."""
        with self._without_strategy():
            return super().predict(*args, **kwargs)

    def predict_on_batch(self, x: Any) -> Any:
        """Predicts as Keras does, on this process alone."""
        with self._without_strategy():
            return super().predict_on_batch(x)

    @contextlib.contextmanager
    def _without_strategy(self) -> Iterator[None]:
        strategy = self._strategy
        self._distribute_strategy = None
        try:
            yield
        finally:
            self._distribute_strategy = strategy

    def _shard(self, x: Any) -> tf.distribute.DistributedDataset:
        if isinstance(x, tf.distribute.DistributedDataset):
            return x
        if not isinstance(x, tf.data.Dataset):
            raise TypeError(
                f"Under tf.distribute, {self.name} takes texts or a tf.data.Dataset of global "
                f"batches, received {type(x).__name__}."
            )
        return shard(x, self._strategy)

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        if self._strategy is not None and iterator is not None:
            _, _, batches = next(iter(iterator))
            data_batch = keras.tree.map_structure(
                lambda leaf: self._strategy.experimental_local_results(leaf)[0], next(batches)
            )
            iterator = None
        super()._maybe_symbolic_build(iterator, data_batch)

    def make_train_function(self, force: bool = False) -> Any:
        """Makes the step as Keras does, after the optimizer's variables.

        Keras would make them within the step, which TensorFlow then traces twice: this takes half
        of the time until training begins.
        """
        if not self.optimizer.built:
            with (self._strategy or tf.distribute.get_strategy()).scope():
                self.optimizer.build(self.trainable_variables)
        return super().make_train_function(force)

    def train_step(self, *args: Any) -> Any:
        """Does `training_step`, or that of a global batch; on JAX and PyTorch, Keras' own."""
        if self.training_step is not None:
            return self.training_step(self, *args)
        if keras.backend.backend() != "tensorflow":
            *state, data = args
            return super().train_step(*state, _split(data))
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(*args)
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss, weight = self._tracked_loss(x, y, y_pred, sample_weight, training=True)
            if self._strategy is not None:
                loss *= tf.math.divide_no_nan(weight, self._sum_of_replicas(weight))
            loss = self.optimizer.scale_loss(loss)
        weights = self.trainable_weights
        gradients = tape.gradient(loss, weights)
        # Dense: the norm of a table's gradient is that of its sums, not of its occurrences.
        dense = [tf.convert_to_tensor(gradient) for gradient in gradients if gradient is not None]
        summed = iter(self._sum_of_replicas(dense))
        # Keras skips weights without a gradient, but expects a None for each.
        gradients = [None if gradient is None else next(summed) for gradient in gradients]
        self.optimizer.apply(gradients, weights)
        return self._logs(self.compute_metrics(x, y, y_pred, sample_weight))

    def test_step(self, *args: Any) -> Any:
        """Evaluates a batch; on JAX and PyTorch, as Keras does."""
        if keras.backend.backend() != "tensorflow":
            *state, data = args
            return super().test_step(*state, _split(data))
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(*args)
        y_pred = self(x, training=False)
        self._tracked_loss(x, y, y_pred, sample_weight, training=False)
        return self._logs(self.compute_metrics(x, y, y_pred, sample_weight))

    def loss_weight(self, x: Any, y: Any, sample_weight: Any) -> Any:
        """Returns the denominator of a batch's loss, up to a factor that all batches share.

        It weighs the losses of replicas in the step, and those of batches in the logs: both are
        then the mean over the whole, however it was divided. It is the number of rows; the number
        of labels other than `ignore_class` if the loss has one; the sum of the weights for the
        reduction "mean_with_sample_weight"; and 1 for "sum".

        Args:
            x: The inputs. *Shape:* (B, ...) each.
            y: The labels, or None.
            sample_weight: Weights, or None.

        Returns:
            float32, a scalar.
        """
        rows = tf.cast(tf.shape(keras.tree.flatten(x)[0])[0], tf.float32)
        losses = keras.tree.flatten(self.loss)
        # Keras weighs the sum of several losses by rows in the logs.
        loss = losses[0] if len(losses) == 1 else None
        if getattr(loss, "reduction", None) == "sum":
            return tf.ones(())
        if loss is None or not _is_by_weight(loss):
            return rows
        counted = None
        ignored = getattr(loss, "ignore_class", None)
        if ignored is not None:
            counted = tf.cast(tf.not_equal(y, tf.cast(ignored, y.dtype)), tf.float32)
        if loss.reduction == "mean_with_sample_weight" and sample_weight is not None:
            weights = tf.cast(sample_weight, tf.float32)
            counted = weights if counted is None else weights * counted
        return rows if counted is None else tf.reduce_sum(counted)

    def _tracked_loss(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any, training: bool
    ) -> tuple[Any, Any]:
        """Logs and returns the loss of a replica's rows, and its weight."""
        # Keras divides by the number of replicas, as for means over equal shares.
        replicas = tf.distribute.get_replica_context().num_replicas_in_sync
        loss = replicas * self.compute_loss(x, y, y_pred, sample_weight, training=training)
        weight = self.loss_weight(x, y, sample_weight)
        self._loss_tracker.update_state(loss, sample_weight=weight)
        return loss, weight

    def _sum_of_replicas(self, values: Any) -> Any:
        """Returns the sum of each tensor over the replicas."""
        if self._strategy is None:
            # TensorFlow's all_reduce would keep the traced step, and so the model, for good.
            return values
        replica = tf.distribute.get_replica_context()
        return replica.all_reduce(tf.distribute.ReduceOp.SUM, values)

    def predict_step(self, *args: Any) -> Any:
        """Does a step as Keras does."""
        *state, data = args
        return super().predict_step(*state, _split(data))

    def _logs(self, logs: Any) -> Any:
        if not is_multi_worker(self._strategy):
            return logs
        return {name: tf.expand_dims(value, 0) for name, value in logs.items()}
