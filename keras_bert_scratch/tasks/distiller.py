"""Distillation: a small classifier learns from the answers of a large one, and how it finds them.

Axes: B batch, C classes.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_bert_scratch.data.batching import LengthBucketedBatches
from keras_bert_scratch.data.labels import class_ids
from keras_bert_scratch.tasks.classifier import BertClassifier
from keras_bert_scratch.tasks.text_model import TextExamples, TextModel
from keras_bert_scratch.training.losses import (
    DistillationLoss,
    attention_distance,
    hidden_distance,
)


class Distiller(TextModel):
    """Trains a student on labels and on a teacher's logits (Hinton et al. 2015).

    On request, also on what the teacher's layers compute (Jiao et al. 2020, "TinyBERT", section
    3.1): if the teacher has k times as many layers, the student's learn from every k-th of them.

    The teacher answers once, before the first epoch, so that an epoch costs what the student costs.
    With a weight on hidden states or attention, the teacher reads every batch, too. Compile and fit
    this model as you would the student; the student's weights change.

    Args:
        student: What is trained; see `models.adapting.keep_layers` for how to start.
        teacher: A fine-tuned classifier with the same labels.
        temperature: Divides the logits of both; see `training.losses.DistillationLoss`.
        teacher_weight: Share of the teacher in the loss, the rest is the labels'.
        hidden_weight: Weight of all layers' `training.losses.hidden_distance`, added to the loss.
        attention_weight: Weight of their `attention_distance`, added to the loss.

    Raises:
        ValueError: If the two have other labels or a text may have several, a number is refused, or
            their layers, widths, heads or tokens cannot be compared.

    Example:
        >>> teacher = BertClassifier.from_pretrained("saved_models/films")
        >>> student = BertClassifier.from_pretrained("tiny-en", teacher.labels)
        >>> distiller = Distiller(student, teacher)
        >>> distiller.compile(adamw(5e-4, total_steps=800))
        >>> distiller.fit(texts, labels, epochs=3)
        >>> student.save_pretrained("saved_models/small_films")
    """

    takes_truncation = True

    def __init__(
        self,
        student: BertClassifier,
        teacher: BertClassifier,
        temperature: float = 2.0,
        teacher_weight: float = 0.9,
        hidden_weight: float = 0.0,
        attention_weight: float = 0.0,
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
        if hidden_weight or attention_weight:
            large, small = (
                (config.num_layers, config.hidden_dim, config.num_heads)
                for config in (teacher.encoder.config, student.encoder.config)
            )
            if large[0] % small[0] or large[1:] != small[1:]:
                raise ValueError(
                    "hidden_weight and attention_weight compare layers: the teacher must have a "
                    "multiple of the student's, of the same hidden_dim and num_heads; received "
                    f"(num_layers, hidden_dim, num_heads) {large} and {small}. Leave the weights "
                    "at 0, or choose another student."
                )
            # The teacher answers texts, but its layers are given the student's token ids.
            tokenizers = [model.tokenizer for model in (student, teacher) if model.tokenizer]
            if any(t.get_config() != tokenizers[0].get_config() for t in tokenizers):
                raise ValueError(
                    "hidden_weight and attention_weight compare the states of the same tokens: "
                    "teacher and student must have the same tokenizer, received vocabularies of "
                    f"{' and '.join(str(len(t.vocabulary)) for t in tokenizers)} tokens, or other "
                    "settings. Leave the weights at 0, or make the student by keep_layers."
                )
        self.student = student
        self.layer_weights = hidden_weight, attention_weight
        # Not the teacher itself, whose weights would be taken for some of this model.
        self.teacher_logits, self.teacher_encoder = teacher.predict, teacher.encoder.__call__
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
        hidden_weight, attention_weight = self.layer_weights
        if not training or not (hidden_weight or attention_weight):
            return self.student(inputs, training=training)
        options = {
            "return_hidden_states": bool(hidden_weight),
            "return_attention": bool(attention_weight),
            "pooled_only": self.student.pooling == "pooler",
        }
        ours = self.student.encoder(inputs, training=True, **options)
        theirs = self.teacher_encoder(inputs, training=False, **options)
        mask = inputs["padding_mask"]
        if hidden_weight:
            # The first are the embeddings'.
            states, models = ours["hidden_states"][1:], theirs["hidden_states"][1:]
            pairs = zip(states, _every(models, len(states)), strict=True)
            self.add_loss(hidden_weight * sum(hidden_distance(*pair, mask) for pair in pairs))
        if attention_weight:
            maps = ours["attention"]
            pairs = zip(maps, _every(theirs["attention"], len(maps)), strict=True)
            self.add_loss(attention_weight * sum(attention_distance(*pair, mask) for pair in pairs))
        return self.student.head(self.student.pooled(ours, inputs), training=True)

    def compile(  # type: ignore[override]
        self, optimizer: Any, **kwargs: Any
    ) -> None:
        """Compiles with the loss of the class, and the student's accuracy on labels.

        Args:
            optimizer: A Keras optimizer.
            **kwargs: Other arguments of `keras.Model.compile` than loss and metrics.

        Raises:
            ValueError: Under `tf.distribute`, if layers are compared.
        """
        if any(self.layer_weights) and self._strategy is not None:
            raise ValueError(
                "hidden_weight and attention_weight do not work under tf.distribute: they are means"
                " over tokens, the labels' loss over texts, which replicas would have to share "
                "otherwise. Leave them at 0, or train on one device."
            )

        def accuracy(y_true: Any, y_pred: Any) -> Any:
            return keras.metrics.sparse_categorical_accuracy(y_true[:, 0], y_pred)

        super().compile(optimizer, self.loss_of_both, metrics=[accuracy], **kwargs)

    def write_files(self, folder: Path) -> None:
        """Writes the student, see `BertClassifier.save_pretrained`."""
        self.student.write_files(folder)

    def encode_labels(self, y: Any) -> np.ndarray:
        """Turns names or ids into ids. *Shape:* (n,)."""
        return class_ids(self.student.encode_labels(y))

    def encode_class_weight(self, class_weight: Any) -> np.ndarray:
        """Returns the weight of each class. *Shape:* (C,)."""
        return self.student.encode_class_weight(class_weight)

    def check_training_labels(self, examples: TextExamples) -> None:
        """Refuses labels that are all the same."""
        self.student.check_training_labels(examples)

    def batches_of(self, examples: TextExamples, **settings: Any) -> LengthBucketedBatches:
        """Adds the teacher's logits to the labels; see `TextModel.batches_of`."""
        if examples.targets is not None:
            columns = examples.columns
            x = columns[0] if examples.pairs is None else tuple(columns)
            logits = np.asarray(self.teacher_logits(x, verbose=0), "float32")
            targets = np.column_stack([examples.targets, logits])
            examples = replace(examples, targets=targets)
        return super().batches_of(examples, **settings)


def _every(layers: list[Any], number: int) -> list[Any]:
    """Returns a number of layers' outputs, evenly spaced, the last one included."""
    every = len(layers) // number
    return layers[every - 1 :: every]
