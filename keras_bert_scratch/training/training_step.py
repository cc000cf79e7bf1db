"""How a batch trains, and what that asks of `fit`."""

from typing import Any

import keras

from keras_bert_scratch.data.batching import LengthBucketedBatches


class TrainingStep:
    """What `compile` takes as `training_step`; by itself it asks nothing of `fit`."""

    def __call__(self, model: keras.Model, data: Any) -> dict[str, Any]:
        """Trains on a batch, in the place of Keras' `train_step`.

        Args:
            model: Compiled.
            data: A batch of what `make_batches` makes.

        Returns:
            The loss and the metrics.
        """
        raise NotImplementedError

    def check_fit(
        self, model: keras.Model, *, draws: bool, callbacks: Any = None, class_weight: Any = None
    ) -> None:
        """Refuses arguments of `fit` that do not suit the step, before any work.

        Args:
            model: Compiled.
            draws: Whether `fit` draws the batches itself, from examples in memory.
            callbacks: Those of `fit`.
            class_weight: That of `fit`.
        """

    def check_single_batch(self) -> None:
        """Refuses `train_on_batch` where the step does not suit it."""

    def make_batches(self, *args: Any, **kwargs: Any) -> LengthBucketedBatches:
        """Makes the batches that `fit` trains on, from the arguments of `LengthBucketedBatches`."""
        return LengthBucketedBatches(*args, **kwargs)

    def rows_at_once(self, batches: LengthBucketedBatches) -> int:
        """Returns how many rows of a batch are held in memory at a time."""
        return min(batches.batch_size, len(batches.lengths))

    def start(
        self, batches: LengthBucketedBatches, epochs: int = 1, initial_epoch: int = 0
    ) -> keras.callbacks.Callback:
        """Begins a `fit`; returns the callback that the step needs.

        Args:
            batches: The training data.
            epochs: Number of the last epoch, as in `fit`.
            initial_epoch: Epochs done before.
        """
        return keras.callbacks.Callback()
