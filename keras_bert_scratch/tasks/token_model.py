"""What tagging and question answering share: logits of every token, texts read in windows.

Axes: B batch, S sequence, H hidden.
"""

import logging
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import tensorflow as tf

from keras_bert_scratch.checkpoints.checkpoint import Checkpoint
from keras_bert_scratch.checkpoints.name_map import Weight, pooler_weights
from keras_bert_scratch.data.batching import LengthBucketedBatches
from keras_bert_scratch.layers.heads import ClassificationHead
from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.tasks.example_model import ExampleModel, refuse_given
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer

logger = logging.getLogger(__name__)


class TokenModel(ExampleModel):
    """An encoder, and a head on the state of every token; subclasses say what its outputs mean.

    Where Keras takes `x`, this also takes examples: a list or another column held in memory.
    Anything else, such as a dict or a dataset of ready inputs, goes to Keras as it is. The
    encoder's pooler is not used, nor trained.

    Args:
        encoder: The encoder below the head.
        tokenizer: Turns texts into ids; None if only ready inputs are used.
        num_outputs: Logits of a token.
        dropout: Rate on the states.
        sequence_length: Tokens of a window; None for all that the encoder's positions cover.
        **kwargs: `name` and `dtype`, for `keras.Model`.

    Raises:
        ValueError: If the tokenizer's vocabulary is larger than the encoder's, or it changes texts
            beforehand, or `sequence_length` exceeds the positions.
    """

    export_formats = ("tf_saved_model", "litert", "onnx")
    # The head's rows of the name table.
    head_weights: tuple[Weight, ...]

    def __init__(
        self,
        encoder: BertEncoder,
        tokenizer: WordPieceTokenizer | None,
        *,
        num_outputs: int,
        dropout: float,
        sequence_length: int | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(encoder, tokenizer, sequence_length, **kwargs)
        if tokenizer is not None and tokenizer.preprocessing:
            raise ValueError(
                f"Answers are spans of the text, and {tokenizer.preprocessing[0]} changes it before"
                " they are found: use a tokenizer without preprocessing, and texts that are clean."
            )

        # === Layers ===
        self.encoder.pooler.trainable = False
        self.head = ClassificationHead(
            num_outputs,
            dropout=dropout,
            initializer_range=encoder.config.initializer_range,
            dtype=self.dtype_policy,
            name="head",
        )
        self.build()

    def build(self, input_shape: Any = None) -> None:
        """Creates the head's weights; the encoder has its own."""
        self.head.build((None, None, self.encoder.config.hidden_dim))
        self.built = True

    # === Training ===
    def is_examples(self, x: Any) -> bool:
        """Whether `x` is held in memory and must be examples.

        Raises:
            ValueError: If `x` is a dataset whose batches hold strings.
        """
        if isinstance(x, tf.data.Dataset) and any(
            getattr(spec, "dtype", None) == tf.string for spec in tf.nest.flatten(x.element_spec)
        ):
            raise ValueError(
                f"{type(self).__name__} takes examples held in memory, not a dataset of strings: "
                "give lists, or the dataset that model.dataset(model.batches(x, y)) makes of them."
            )
        return super().is_examples(x)

    def split(self, examples: Any, share: float) -> tuple[Any, Any]:
        """Refuses to split: examples of one document would be on both sides."""
        raise ValueError(
            "validation_split would part examples of one document: split the documents, and pass "
            "validation_data=."
        )

    def ready_class_weight(self, class_weight: Any) -> None:
        """Refuses weights: Keras would read the labels of tokens as probabilities of classes."""
        if class_weight is not None:
            raise ValueError(
                "class_weight is for examples; with ready inputs, whose labels stand at tokens, "
                "pass sample_weight, one weight a token."
            )

    def dataset(self, batches: LengthBucketedBatches) -> tf.data.Dataset:
        """Returns the batches as what Keras trains on."""
        return batches.dataset()

    # === Answers ===
    def evaluate_examples(
        self, x: Any, y: Any, sample_weight: Any, batch_size: int, **settings: Any
    ) -> dict[str, float]:
        """Scores the answers; for the loss, evaluate `model.dataset(model.batches(x, y))`."""
        steps, callbacks = settings["steps"], settings["callbacks"]
        refuse_given(sample_weight=sample_weight, steps=steps, callbacks=callbacks)
        return self.score(x, y, batch_size)

    def score(self, x: Any, y: Any, batch_size: int) -> dict[str, float]:
        """Compares the answers for some examples with the true ones."""
        raise NotImplementedError

    def predict_examples(self, x: Any, batch_size: int, **settings: Any) -> list[Any]:
        """Returns what `answers` does."""
        settings.pop("verbose")
        refuse_given(steps=settings.pop("steps"), callbacks=settings.pop("callbacks"))
        return self.answers(x, batch_size, **settings)

    def answers(self, x: Any, batch_size: int = 32) -> list[Any]:
        """Returns an answer for each example."""
        raise NotImplementedError

    def predict_rows(self, batches: LengthBucketedBatches) -> list[np.ndarray]:
        """Computes what `call` returns, for each row on its own: they differ in length."""
        rows: dict[int, np.ndarray] = {}
        for indices in batches.order(0):
            outputs = self.predict_on_batch(batches.inputs(indices))
            rows.update(zip(indices.tolist(), np.asarray(outputs, "float32"), strict=True))
        return [rows[row] for row in range(len(rows))]

    # === Weights in and out ===
    def other_weights(self) -> tuple[Weight, ...]:
        """Returns the head's rows of the name table: no pooler is used, nor written."""
        return self.head_weights

    def optional_weights(self, checkpoint: Checkpoint) -> Sequence[Weight]:
        """Returns the pooler's rows, if the checkpoint has them: those of these tasks do not."""
        pooler = pooler_weights(checkpoint.config)
        return pooler if checkpoint.has(pooler) else ()

    def checkpoint_fields(self) -> dict[str, Any]:
        """Returns the fields of config.json that these tasks have."""
        return {**super().checkpoint_fields(), "sequence_length": self.sequence_length}

    @classmethod
    def _from_checkpoint(cls, checkpoint: Checkpoint, **settings: Any) -> Self:
        """Makes a model of a checkpoint, with the head if it has one of this kind."""
        if checkpoint.config.architecture != "bert":
            raise ValueError(
                f"{checkpoint.folder} is of architecture {checkpoint.config.architecture!r}, for "
                f"which transformers builds a {cls.architecture} otherwise, so that this one could "
                f"not be written again: make a {cls.__name__} of load_encoder, and save it as a "
                ".keras file."
            )
        has_head, order = cls._has_head(checkpoint), None
        if has_head and "labels" in settings:
            order = checkpoint.match_labels(settings["labels"])
            has_head = order is not None
        head = cls.head_weights if has_head else ()
        model = super()._from_checkpoint(checkpoint, head=head, order=order, **settings)
        if not has_head:
            logger.warning("Newly initialized, to be trained: the head of %s.", model.name)
        return model

    @classmethod
    def _has_head(cls, checkpoint: Checkpoint) -> bool:
        """Whether the checkpoint has a head of this kind: others have weights of the same names."""
        known = checkpoint.settings(architectures=list).get("architectures", [cls.architecture])
        return checkpoint.has(cls.head_weights) and cls.architecture in known
