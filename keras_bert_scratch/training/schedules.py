"""Learning rates over the steps of a training."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_bert_scratch")
class WarmupLinearDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly from 0 to the peak, then falls linearly to 0 (Devlin et al. 2018, A.2).

    Args:
        peak_learning_rate: Learning rate after `warmup_steps`.
        total_steps: Step at which the rate is 0 again.
        warmup_steps: Number of steps in which the rate rises; with 0 the first step has the peak.
        batches_per_step: Number of batches whose gradients are accumulated for one step: Keras'
            optimizers count batches.

    Raises:
        ValueError: If not 0 <= warmup_steps < total_steps.

    Example:
        >>> schedule = WarmupLinearDecay(1.0, total_steps=10, warmup_steps=2)
        >>> [float(schedule(step)) for step in (0, 1, 2, 6, 10)]
        [0.0, 0.5, 1.0, 0.5, 0.0]
    """

    def __init__(
        self,
        peak_learning_rate: float,
        total_steps: int,
        warmup_steps: int,
        batches_per_step: int = 1,
    ) -> None:
        if not 0 <= warmup_steps < total_steps:
            raise ValueError(
                f"warmup_steps must be at least 0 and below total_steps, received warmup_steps="
                f"{warmup_steps} and total_steps={total_steps}."
            )
        self.peak_learning_rate = peak_learning_rate
        self.total_steps = total_steps
        self.warmup_steps = warmup_steps
        self.batches_per_step = batches_per_step

    def __call__(self, step: Any) -> Any:
        """Returns the rate of a batch, counted from 0; a float32 scalar."""
        step = ops.cast(ops.floor_divide(step, self.batches_per_step), "float32")
        rise = step / self.warmup_steps if self.warmup_steps else 1.0
        fall = (self.total_steps - step) / (self.total_steps - self.warmup_steps)
        return self.peak_learning_rate * ops.maximum(0.0, ops.minimum(rise, fall))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            "peak_learning_rate": self.peak_learning_rate,
            "total_steps": self.total_steps,
            "warmup_steps": self.warmup_steps,
            "batches_per_step": self.batches_per_step,
        }
