"""Macro precision, recall and F1 for `compile`: integer labels, and logits or probabilities.

For examples with any number of labels Keras' own metrics suffice. A probability of 0.5 is a logit
of 0: use `Precision(thresholds=0.0)` and `Recall(thresholds=0.0)` (both over all labels together,
"micro"), `BinaryAccuracy(threshold=0.0)`, and `F1Score("macro", threshold=1e-7)`, which refuses 0.

Axes: B batch, C classes.
"""

from typing import Any

import keras
from keras import ops


class _ConfusionMatrixMetric(keras.metrics.Metric):
    """Accumulates a confusion matrix, rows true and columns predicted.

    Args:
        num_classes: C.
        name: Name of the metric.
        dtype: Type of the counts.

    Raises:
        ValueError: If `num_classes` is not an integer of at least 2.
    """

    def __init__(self, num_classes: int, name: str | None = None, dtype: Any = None) -> None:
        if type(num_classes) is not int or num_classes < 2:
            raise ValueError(
                f"num_classes must be an integer of at least 2, received {num_classes!r}."
            )
        super().__init__(name=name, dtype=dtype)
        self.num_classes = num_classes
        self.confusion_matrix = self.add_variable(
            (num_classes, num_classes), initializer="zeros", name="confusion_matrix"
        )
        # Keras' callbacks read here in which direction the metric improves.
        self._direction = "up"

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch.

        Args:
            y_true: Class ids, *shape:* (B,) or (B, 1); or probabilities, of which the largest
                counts, *shape:* (B, C).
            y_pred: Logits or probabilities; the largest is the prediction. *Shape:* (B, C).
            sample_weight: Weights of the examples, by default 1. *Shape:* (B,) or (B, 1).

        Raises:
            ValueError: If `y_pred` does not have C columns.
        """
        num_classes = self.num_classes
        y_pred = ops.convert_to_tensor(y_pred)
        if len(y_pred.shape) != 2 or y_pred.shape[-1] != num_classes:
            raise ValueError(
                f"y_pred must have shape (batch, num_classes) = (batch, {num_classes}), received "
                f"{tuple(y_pred.shape)}: give the metric the number of classes of the model."
            )
        y_true = ops.convert_to_tensor(y_true)
        if len(y_true.shape) == 2 and y_true.shape[-1] == num_classes:
            y_true = ops.argmax(y_true, axis=-1)
        true_ids = ops.reshape(ops.cast(y_true, "int32"), (-1,))
        true = ops.one_hot(true_ids, num_classes, dtype=self.dtype)
        predicted = ops.one_hot(ops.argmax(y_pred, axis=-1), num_classes, dtype=self.dtype)
        if sample_weight is not None:
            true = true * ops.reshape(ops.cast(sample_weight, self.dtype), (-1, 1))
        self.confusion_matrix.assign_add(ops.matmul(ops.transpose(true), predicted))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"num_classes": self.num_classes, **super().get_config()}

    def _counts(self) -> tuple[Any, Any, Any]:
        """Returns true positives, predictions and examples of every class. *Shape:* (C,) each."""
        matrix = ops.convert_to_tensor(self.confusion_matrix)
        return ops.diagonal(matrix), ops.sum(matrix, axis=0), ops.sum(matrix, axis=1)


@keras.saving.register_keras_serializable("keras_bert_scratch")
class MacroPrecision(_ConfusionMatrixMetric):
    """Precision, TP / (TP + FP), averaged over all C classes with equal weight.

    Equals scikit-learn's `precision_score(labels=range(C), average="macro", zero_division=0)`: a
    class that was never predicted counts as 0.

    Example:
        >>> metric = MacroPrecision(num_classes=2)
        >>> metric.update_state([0, 1, 1], [[2.0, 1.0], [3.0, 0.0], [0.0, 1.0]])
        >>> float(metric.result())  # (1/2 + 1/1) / 2
        0.75
    """

    def result(self) -> Any:
        """Returns the metric, a scalar in [0, 1]."""
        true_positives, predicted, _ = self._counts()
        return ops.mean(ops.divide_no_nan(true_positives, predicted))


@keras.saving.register_keras_serializable("keras_bert_scratch")
class MacroRecall(_ConfusionMatrixMetric):
    """Recall, TP / (TP + FN), averaged over all C classes with equal weight.

    Equals scikit-learn's `recall_score(labels=range(C), average="macro", zero_division=0)`: a class
    without examples counts as 0.

    Example:
        >>> metric = MacroRecall(num_classes=2)
        >>> metric.update_state([0, 1, 1], [[2.0, 1.0], [3.0, 0.0], [0.0, 1.0]])
        >>> float(metric.result())  # (1/1 + 1/2) / 2
        0.75
    """

    def result(self) -> Any:
        """Returns the metric, a scalar in [0, 1]."""
        true_positives, _, support = self._counts()
        return ops.mean(ops.divide_no_nan(true_positives, support))


@keras.saving.register_keras_serializable("keras_bert_scratch")
class MacroF1(_ConfusionMatrixMetric):
    """F1, 2 TP / (2 TP + FP + FN), averaged over all C classes with equal weight.

    Equals scikit-learn's `f1_score(labels=range(C), average="macro", zero_division=0)`: a class
    that neither occurs nor is predicted counts as 0.

    Example:
        >>> metric = MacroF1(num_classes=2)
        >>> metric.update_state([0, 1, 1], [[2.0, 1.0], [3.0, 0.0], [0.0, 1.0]])
        >>> round(float(metric.result()), 4)  # (2/3 + 2/3) / 2
        0.6667
    """

    def result(self) -> Any:
        """Returns the metric, a scalar in [0, 1]."""
        true_positives, predicted, support = self._counts()
        return ops.mean(ops.divide_no_nan(2 * true_positives, predicted + support))


@keras.saving.register_keras_serializable("keras_bert_scratch")
class Perplexity(keras.metrics.SparseCategoricalCrossentropy):
    """Exponential of the mean cross-entropy of the predicted positions; 1 is perfect.

    Args:
        name: Name of the metric.
        dtype: Type of the sums.

    Example:
        >>> perplexity = Perplexity()
        >>> perplexity.update_state(np.array([[1]]), np.zeros((1, 1, 8)))  # 8 equally likely
        >>> float(perplexity.result())
        8.0
    """

    def __init__(self, name: str = "perplexity", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype, from_logits=True)
        self._direction = "down"

    def result(self) -> Any:
        """Returns the perplexity of all positions so far."""
        return ops.exp(super().result())

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"name": self.name, "dtype": self.dtype}


@keras.saving.register_keras_serializable("keras_bert_scratch")
class PearsonCorrelation(keras.metrics.Metric):
    """Pearson's correlation of scores with their predictions, over all batches together.

    Keras' own averages the correlations of single rows. The sums are those of the distances from
    the means so far (Chan et al. 1979), so that large scores lose no digits.

    Args:
        name: Name of the metric.
        dtype: Type of the sums.

    Example:
        >>> metric = PearsonCorrelation()
        >>> metric.update_state([[1.0], [2.0], [3.0]], [[1.0], [3.0], [2.0]])
        >>> float(metric.result())
        0.5
    """

    def __init__(self, name: str = "pearson", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.count = self.add_variable((), initializer="zeros", name="count")
        self.means = self.add_variable((2,), initializer="zeros", name="means")
        self.products = self.add_variable((2, 2), initializer="zeros", name="products")
        self._direction = "up"

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch.

        Args:
            y_true: Scores. *Shape:* (B, 1) or (B,).
            y_pred: Predicted scores. *Shape:* (B, 1).
            sample_weight: Weights of the examples, by default 1. *Shape:* (B,) or (B, 1).
        """
        columns = [ops.reshape(ops.cast(y, self.dtype), (-1,)) for y in (y_true, y_pred)]
        values = ops.stack(columns, axis=1)  # (B, 2)
        weights = ops.ones_like(values[:, :1])
        if sample_weight is not None:
            weights = ops.reshape(ops.cast(sample_weight, self.dtype), (-1, 1))
        count = ops.sum(weights)
        means = ops.divide_no_nan(ops.sum(weights * values, axis=0), count)
        centred = values - means
        products = ops.matmul(ops.transpose(weights * centred), centred)
        total = self.count + count
        shift = means - self.means
        share = ops.divide_no_nan(count, total)
        self.products.assign_add(products + ops.outer(shift, shift) * self.count * share)
        self.means.assign_add(shift * share)
        self.count.assign(total)

    def result(self) -> Any:
        """Returns the correlation, a scalar in [-1, 1]; 0 if either is constant."""
        products = ops.convert_to_tensor(self.products)
        return ops.divide_no_nan(products[0, 1], ops.sqrt(products[0, 0] * products[1, 1]))
