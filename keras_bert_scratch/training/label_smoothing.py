"""Cross-entropy with label smoothing on ids, for vocabularies too large for one-hot vectors.

Axes: B batch, T target sequence, V vocabulary.
"""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_bert_scratch")
class SmoothedCrossentropy(keras.losses.Loss):
    """Cross-entropy with targets of 1 - e for the right token, plus e/V for every token.

    Source: Szegedy et al. 2016, "Rethinking the Inception Architecture", section 7. It equals
    Keras' CategoricalCrossentropy, which needs one-hot vectors of V numbers for each token. By
    default it is the mean over the tokens that have a weight, so that padding does not dilute it.

    Args:
        label_smoothing: e, at least 0 and below 1.
        reduction: See `keras.losses.Loss`.
        **kwargs: `name` and `dtype` of `keras.losses.Loss`.

    Raises:
        ValueError: If `label_smoothing` is out of its range.

    Example:
        >>> loss = SmoothedCrossentropy(0.2)
        >>> float(loss([[0]], np.log([[[0.8, 0.2]]])))  # -0.9 log 0.8 - 0.1 log 0.2
        0.3617...
    """

    def __init__(
        self,
        label_smoothing: float = 0.1,
        reduction: str = "mean_with_sample_weight",
        **kwargs: Any,
    ) -> None:
        super().__init__(reduction=reduction, **kwargs)
        if not 0 <= label_smoothing < 1:
            raise ValueError(
                f"label_smoothing must be from 0 to below 1, received {label_smoothing!r}."
            )
        self.label_smoothing = label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Computes the loss of every token, (B, T).

        Args:
            y_true: Token ids. *Shape:* (B, T).
            y_pred: Logits. *Shape:* (B, T, V).
        """
        log_probabilities = ops.log_softmax(y_pred)
        ids = ops.expand_dims(ops.cast(y_true, "int32"), -1)
        right = ops.squeeze(ops.take_along_axis(log_probabilities, ids, axis=-1), -1)
        smoothing = self.label_smoothing
        return -(1 - smoothing) * right - smoothing * ops.mean(log_probabilities, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "label_smoothing": self.label_smoothing}
