"""Losses that Keras lacks: for pairs of embeddings, class ids and replaced tokens, and a teacher.

Axes: B batch, S sequence, H hidden, N heads, C classes.
"""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_bert_scratch")
class InBatchContrastiveLoss(keras.losses.Loss):
    """Cross-entropy for finding the second text of a pair among all second texts of the batch.

    The logits are cosine similarities over `temperature` (Gao et al. 2021, "SimCSE", equations 1
    and 4; Henderson et al. 2017, section 4.4). The loss is known as InfoNCE, and in
    sentence-transformers as MultipleNegativesRankingLoss with `scale` = 1 / `temperature`. Pairs
    that share a text are not negatives of each other. Larger batches teach more.

    Args:
        temperature: Divisor of the similarities.
        **kwargs: `name`, `reduction` and `dtype` of `keras.losses.Loss`.

    Raises:
        ValueError: If the temperature is not above 0.

    Example:
        >>> loss = InBatchContrastiveLoss(temperature=1.0)
        >>> embeddings = np.array([[[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]])
        >>> float(loss(np.array([[0, 1], [2, 3]]), embeddings))  # log(1 + 1 / e)
        0.3132...
    """

    def __init__(self, temperature: float = 0.05, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, received {temperature!r}.")
        self.temperature = temperature

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Computes the loss of each pair, (B,).

        Args:
            y_true: Ids of the two texts, equal for equal texts. *Shape:* (B, 2).
            y_pred: Embeddings of the two texts. *Shape:* (B, 2, H).
        """
        if y_true.shape[-1] != 2:
            raise ValueError(
                f"InBatchContrastiveLoss learns from pairs that belong together, without y; "
                f"received one of shape {tuple(y_true.shape)}: leave y out, or use "
                "CosineSimilarityLoss."
            )
        first, second = _unit_vectors(y_pred)
        logits = ops.matmul(first, ops.transpose(second)) / self.temperature  # (B, B)
        batch = ops.shape(logits)[0]
        # Axes: texts i and j of pairs a and b, (a, b, i, j).
        ids = ops.expand_dims(y_true, 2)
        shares_text = ops.any(
            ops.equal(ops.expand_dims(ids, 1), ops.expand_dims(ops.transpose(ids, (0, 2, 1)), 0)),
            axis=(2, 3),
        )
        is_itself = ops.eye(batch, dtype="bool")
        is_no_negative = ops.logical_and(shares_text, ops.logical_not(is_itself))
        logits = ops.where(is_no_negative, -1e9, logits)
        return ops.sparse_categorical_crossentropy(
            ops.arange(batch, dtype="int32"), logits, from_logits=True
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "temperature": self.temperature}


@keras.saving.register_keras_serializable("keras_bert_scratch")
class CosineSimilarityLoss(keras.losses.Loss):
    """Squared difference between two embeddings' cosine and a given similarity.

    Source: Reimers and Gurevych 2019, "Sentence-BERT", section 3, "Regression objective function".

    Args:
        **kwargs: `name`, `reduction` and `dtype` of `keras.losses.Loss`.

    Example:
        >>> loss = CosineSimilarityLoss()
        >>> float(loss(np.array([[0.5]]), np.array([[[1.0, 0.0], [0.0, 2.0]]])))  # (0 - 0.5)²
        0.25
    """

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Computes the loss of each pair, (B,).

        Args:
            y_true: Similarities from -1 to 1. *Shape:* (B, 1).
            y_pred: Embeddings of the two texts. *Shape:* (B, 2, H).
        """
        if y_true.shape[-1] != 1:
            raise ValueError(
                f"CosineSimilarityLoss needs a similarity for each pair, received y of shape "
                f"{tuple(y_true.shape)}: give fit a number from -1 to 1 for each pair, or "
                "use InBatchContrastiveLoss."
            )
        first, second = _unit_vectors(y_pred)
        return ops.square(ops.sum(first * second, axis=-1) - y_true[:, 0])


@keras.saving.register_keras_serializable("keras_bert_scratch")
class SparseCategoricalFocalCrossentropy(keras.losses.Loss):
    """-alpha (1 - p)^gamma log p, for the probability p of the right class.

    Correct examples count less, so that frequent classes do not drown rare ones (Lin et al. 2017,
    "Focal Loss for Dense Object Detection", section 3.2). It takes class ids and logits. Keras'
    CategoricalFocalCrossentropy clips p at 1e-7, below which an example has no gradient.

    Args:
        gamma: Focusing exponent, at least 0; 0 is plain cross-entropy.
        alpha: Weight of all classes, or C weights, one for each class.
        **kwargs: `name`, `reduction` and `dtype` of `keras.losses.Loss`.

    Raises:
        ValueError: If `gamma` is below 0.

    Example:
        >>> loss = SparseCategoricalFocalCrossentropy(gamma=2.0)
        >>> float(loss([0], np.array([[0.0, 0.0]])))  # (1 - 0.5)² · log(2)
        0.1732...
    """

    def __init__(self, gamma: float = 2.0, alpha: float | list[float] = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not gamma >= 0:
            raise ValueError(
                f"gamma must be at least 0, received {gamma!r}: 0 is plain cross-entropy, 2 the "
                "paper's choice."
            )
        self.gamma = gamma
        self.alpha = alpha

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Computes the loss of each example, (B,).

        Args:
            y_true: Class ids. *Shape:* (B,) or (B, 1).
            y_pred: Logits. *Shape:* (B, C).
        """
        num_classes = y_pred.shape[-1]
        weights = ops.convert_to_tensor(self.alpha, dtype=y_pred.dtype)
        if weights.shape not in ((), (num_classes,)):
            raise ValueError(
                f"alpha must be one weight, or one for each of {num_classes} classes; received "
                f"{self.alpha!r}."
            )
        class_ids = ops.reshape(ops.cast(y_true, "int32"), (-1,))
        is_right = ops.one_hot(class_ids, num_classes, dtype="bool")
        log_probabilities = ops.log_softmax(y_pred)
        right = ops.sum(ops.where(is_right, log_probabilities, 0.0), axis=-1)
        # log(1 - p), from the sum of the others: value and gradient are exact where p is near 1.
        wrong = ops.logsumexp(ops.where(is_right, -1e9, log_probabilities), axis=-1)
        weight = ops.sum(ops.where(is_right, weights, 0.0), axis=-1)
        return -weight * ops.exp(self.gamma * wrong) * right

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "gamma": self.gamma, "alpha": self.alpha}


@keras.saving.register_keras_serializable("keras_bert_scratch")
class DistillationLoss(keras.losses.Loss):
    """Cross-entropy with the right class, and with a teacher's softened probabilities.

    (1 - w) CE(y, softmax(s)) + w T² CE(softmax(t / T), softmax(s / T)) for the logits s of the
    student and t of the teacher; T² keeps the size of the gradients (Hinton et al. 2015, section
    2).

    Args:
        temperature: T. Higher values tell more about how the teacher ranks the wrong classes.
        teacher_weight: w, from 0 to 1.
        **kwargs: `name`, `reduction` and `dtype` of `keras.losses.Loss`.

    Raises:
        ValueError: If the temperature is not above 0, or the weight not from 0 to 1.

    Example:
        >>> loss = DistillationLoss(temperature=1.0, teacher_weight=1.0)
        >>> float(loss(np.array([[0, 0.0, 0.0]]), np.array([[0.0, 0.0]])))  # log 2
        0.693...
    """

    def __init__(
        self, temperature: float = 2.0, teacher_weight: float = 0.5, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if not temperature > 0 or not 0 <= teacher_weight <= 1:
            raise ValueError(
                "temperature must be above 0 and teacher_weight from 0 to 1, received "
                f"{temperature!r} and {teacher_weight!r}."
            )
        self.temperature = temperature
        self.teacher_weight = teacher_weight

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Computes the loss of each example, (B,).

        Args:
            y_true: The class id, then the teacher's logits. *Shape:* (B, 1 + C).
            y_pred: Logits. *Shape:* (B, C).
        """
        labels = keras.losses.sparse_categorical_crossentropy(
            y_true[:, 0], y_pred, from_logits=True
        )
        teacher = ops.softmax(y_true[:, 1:] / self.temperature)
        soft = keras.losses.categorical_crossentropy(
            teacher, y_pred / self.temperature, from_logits=True
        )
        weight = self.teacher_weight
        return (1 - weight) * labels + weight * self.temperature**2 * soft

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "temperature": self.temperature,
            "teacher_weight": self.teacher_weight,
        }


@keras.saving.register_keras_serializable("keras_bert_scratch")
class ReplacedTokensLoss(keras.losses.Loss):
    """Binary cross-entropy of "this token was replaced" (Clark et al. 2020, "ELECTRA", section 2).

    A guess of the generator that is the true token counts as not replaced.

    Args:
        **kwargs: `name`, `reduction` and `dtype` of `keras.losses.Loss`.

    Example:
        >>> read = np.array([[[0.0, 7.0], [100.0, 8.0]]])  # logits, and the tokens that were read
        >>> float(ReplacedTokensLoss()(np.array([[7, 9]]), read))  # log(2) / 2
        0.3465...
    """

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Computes the loss of each token, (B, S).

        Args:
            y_true: Ids of the true tokens. *Shape:* (B, S).
            y_pred: The logits of "replaced", and the ids of the tokens that were read. *Shape:*
                (B, S, 2).
        """
        is_replaced = ops.cast(_is_replaced(y_true, y_pred), y_pred.dtype)
        return ops.binary_crossentropy(is_replaced, y_pred[..., 0], from_logits=True)


def replaced_tokens_accuracy(y_true: Any, y_pred: Any) -> Any:
    """Returns whether a token was told to be replaced or not, as it is, 0 or 1.

    Args:
        y_true: See `ReplacedTokensLoss.call`.
        y_pred: See there.

    Returns:
        *Shape:* (B, S).

    Example:
        >>> read = np.array([[[-1.0, 7.0], [-1.0, 8.0]]])
        >>> np.array(replaced_tokens_accuracy(np.array([[7, 9]]), read))
        array([[1., 0.]], dtype=float32)
    """
    is_right = ops.equal(y_pred[..., 0] > 0, _is_replaced(y_true, y_pred))
    return ops.cast(is_right, "float32")


def _is_replaced(y_true: Any, y_pred: Any) -> Any:
    return ops.not_equal(ops.cast(y_true, y_pred.dtype), y_pred[..., 1])


def hidden_distance(student: Any, teacher: Any, padding_mask: Any) -> Any:
    """Returns the mean squared difference of two layers' states of the same tokens.

    Source: Jiao et al. 2020, "TinyBERT", equation 8, without its projection.

    Args:
        student: States. *Shape:* (B, S, H).
        teacher: States. *Shape:* (B, S, H).
        padding_mask: 1 for tokens, 0 for padding; may be longer than S, and is cut there.

    Example:
        >>> float(hidden_distance(np.ones((1, 2, 4)), np.zeros((1, 2, 4)), np.array([[1, 0]])))
        1.0
    """
    difference = ops.cast(student, "float32") - ops.cast(teacher, "float32")
    return _mean_over_tokens(ops.mean(ops.square(difference), axis=-1), padding_mask)


def attention_distance(student: Any, teacher: Any, padding_mask: Any) -> Any:
    """Returns the mean divergence of the student's attention from the teacher's.

    It is the Kullback-Leibler divergence over the keys, averaged over queries and heads (Wang et
    al. 2020, "MiniLM", section 3.1).

    Args:
        student: Probabilities. *Shape:* (B, N, S, S).
        teacher: Probabilities. *Shape:* (B, N, S, S).
        padding_mask: 1 for tokens, 0 for padding; may be longer than the queries, and is cut there.

    Example:
        >>> float(attention_distance([[[[0.5, 0.5]]]], [[[[1.0, 0.0]]]], np.ones((1, 1))))  # log 2
        0.693...
    """
    # A larger lower bound of the logarithms would hide how wrong a student is.
    log_student, log_teacher = (
        ops.log(ops.maximum(ops.cast(x, "float32"), 1e-30)) for x in (student, teacher)
    )
    divergence = ops.cast(teacher, "float32") * (log_teacher - log_student)
    return _mean_over_tokens(ops.mean(ops.sum(divergence, axis=-1), axis=1), padding_mask)


def _mean_over_tokens(x: Any, padding_mask: Any) -> Any:
    """Returns the mean of x, (B, S), over the tokens that are no padding."""
    mask = ops.cast(padding_mask[:, : ops.shape(x)[1]], "float32")
    return ops.sum(x * mask) / ops.sum(mask)


def _unit_vectors(embeddings: Any) -> tuple[Any, Any]:
    """Returns the embeddings of the first and the second texts, of length 1. *Shape:* (B, H)."""
    unit = ops.normalize(embeddings, axis=-1, epsilon=1e-12)
    return unit[:, 0], unit[:, 1]
