"""Distillation: a small classifier learns from the answers of a large one.

Axes: B batch, C classes.
"""

from typing import Any

import keras
import numpy as np

from keras_bert_scratch.data.batching import LengthBucketedBatches
from keras_bert_scratch.tasks.classifier import BertClassifier
from keras_bert_scratch.tasks.text_model import TextModel
from keras_bert_scratch.training.losses import DistillationLoss


class Distiller(TextModel):
    """Trains a student on labels and on a teacher's logits (Hinton et al. 2015).

    The teacher answers once, before the first epoch, so that an epoch costs what the student costs.
    Compile and fit this as you would the student; the student's weights change.

    Args:
        student: What is trained; see `models.adapting.keep_layers` for how to start.
        teacher: A fine-tuned classifier with the same labels.
        temperature: Divides the logits of both; see `training.losses.DistillationLoss`.
        teacher_weight: Share of the teacher in the loss.

    Raises:
        ValueError: If the two have other labels or a text may have several, or a number is refused.

    Example:
        >>> teacher = BertClassifier.from_pretrained("saved_models/films")
        >>> student = BertClassifier.from_pretrained("tiny-en", teacher.labels)
        >>> distiller = Distiller(student, teacher)
        >>> distiller.compile(adamw(5e-4, total_steps=800))
        >>> distiller.fit(texts, labels, epochs=3)
        >>> student.save_pretrained("saved_models/small_films")
    """

    def __init__(
        self,
        student: BertClassifier,
        teacher: BertClassifier,
        temperature: float = 2.0,
        teacher_weight: float = 0.5,
    ) -> None:
        if student.labels != teacher.labels or student.multi_label or teacher.multi_label:
            raise ValueError(
                "Teacher and student must have the same labels, one a text; received "
                f"{teacher.labels!r} and {student.labels!r}."
            )
        super().__init__(
            student.encoder,
            student.tokenizer,
            student.sequence_length,
            truncation=student.truncation,
            window_stride=student.window_stride,
        )
        self.student = student
        # Not the teacher itself, whose weights would be taken for some of this model.
        self.teacher_logits = teacher.predict
        self.loss_of_both = DistillationLoss(temperature, teacher_weight)
        self.built = True

    def call(self, inputs: dict[str, Any], training: bool | None = None) -> Any:
        """Computes the student's logits.

        Args:
            inputs: See `BertClassifier.call`.
            training: Whether dropout acts.

        Returns:
            *Shape:* (B, C).
        """
        return self.student(inputs, training=training)

    def compile(self, optimizer: Any, **kwargs: Any) -> None:
        """Compiles with the loss of the class, and the student's accuracy on labels.

        Args:
            optimizer: A Keras optimizer.
            **kwargs: Other arguments of `keras.Model.compile` than loss and metrics.
        """

        def accuracy(y_true: Any, y_pred: Any) -> Any:
            return keras.metrics.sparse_categorical_accuracy(y_true[:, 0], y_pred)

        super().compile(optimizer, self.loss_of_both, metrics=[accuracy], **kwargs)

    def encode_labels(self, y: Any) -> np.ndarray:
        """Turns names or ids into ids, *shape:* (n,); rows with logits pass."""
        return y if np.ndim(y) == 2 else self.student.encode_labels(y)

    def check_training_labels(self, y: np.ndarray) -> None:
        """Refuses labels that are all the same."""
        self.student.check_training_labels(y)

    def batches(self, x: Any, y: Any = None, *args: Any, **kwargs: Any) -> LengthBucketedBatches:
        """Adds the teacher's logits to the labels; see `TextModel.batches`."""
        if y is not None:
            logits = np.asarray(self.teacher_logits(x, verbose=0), "float32")
            y = np.column_stack([self.encode_labels(y), logits])
        return super().batches(x, y, *args, **kwargs)
