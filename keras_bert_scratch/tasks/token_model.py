"""What tagging and question answering share: logits of every token, texts read in windows.

Axes: B batch, S sequence, H hidden.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from keras_bert_scratch.checkpoints.checkpoint import Checkpoint
from keras_bert_scratch.checkpoints.huggingface import write_checkpoint
from keras_bert_scratch.checkpoints.name_map import Weight, encoder_weights, pooler_weights
from keras_bert_scratch.data.batching import LengthBucketedBatches
from keras_bert_scratch.files import new_folder, write_hashes
from keras_bert_scratch.layers.heads import ClassificationHead
from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.tasks.encoder_model import EncoderModel
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer

logger = logging.getLogger(__name__)


class TokenModel(EncoderModel):
    """An encoder, and a head on the state of every token; subclasses say what its outputs mean.

    Where Keras takes `x`, this takes a list of examples, too; anything else, such as a dict or a
    dataset of ready inputs, goes to Keras as it is. The encoder's pooler is not used, nor trained.

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

    # The class of transformers that reads the checkpoint, and the head's rows of the name table.
    architecture: str
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
        super().__init__(encoder, tokenizer, **kwargs)
        self.sequence_length = self.check_length(sequence_length)
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
    def batches(
        self, x: Any, y: Any = None, *, batch_size: int = 32, seed: int | None = None
    ) -> LengthBucketedBatches:
        """Turns examples into batches of windows of similar lengths.

        Args:
            x: Examples.
            y: Their labels, where these do not stand in the examples.
            batch_size: B.
            seed: Of the order; None sorts by length.
        """
        raise NotImplementedError

    def dataset(self, batches: LengthBucketedBatches) -> tf.data.Dataset:
        """Returns the batches as what Keras trains on."""
        return batches.dataset()

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int = 32,
        *,
        validation_data: Any = None,
        shuffle: bool = True,
        callbacks: Any = None,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """Trains as `keras.Model.fit` does, on examples, too.

        With examples, batches hold windows of similar lengths, in an order that follows from
        `keras.utils.set_random_seed` and the epoch.

        Args:
            x: Examples, see the class, or whatever Keras takes.
            y: Their labels, where these do not stand in the examples.
            batch_size: B.
            validation_data: `(x, y)`, or `x` alone where it holds the labels, or a dataset.
            shuffle: Whether the order changes with every epoch.
            callbacks: Keras callbacks.
            **kwargs: The other arguments of `keras.Model.fit`.

        Raises:
            ValueError: If an example is refused, or `validation_split` is asked for with examples.
        """
        if isinstance(x, list):
            if kwargs.get("validation_split"):
                raise ValueError(
                    "validation_split would part examples of one document: split the documents, "
                    "and pass validation_data=."
                )
            # numpy's generator is one of those that keras.utils.set_random_seed seeds.
            seed = int(np.random.randint(2**31)) if shuffle else None
            batches = self.batches(x, y, batch_size=batch_size, seed=seed)
            self.check_workers(batches)
            x, y, shuffle = self.dataset(batches), None, False
            callbacks = [batches.follow_epochs(), *keras.tree.flatten(callbacks or [])]
        elif not isinstance(x, tf.data.Dataset):
            kwargs["batch_size"] = batch_size
        given = validation_data if isinstance(validation_data, tuple) else (validation_data,)
        if isinstance(given[0], list):
            size = kwargs.pop("validation_batch_size", None) or batch_size
            validation_data = self.dataset(self.batches(*given, batch_size=size))
        return super().fit(
            x,
            y,
            validation_data=validation_data,
            shuffle=shuffle and not isinstance(x, tf.data.Dataset),
            callbacks=callbacks,
            **kwargs,
        )

    def predict_rows(self, batches: LengthBucketedBatches) -> list[np.ndarray]:
        """Computes what `call` returns, for each row on its own: they differ in length."""
        rows: dict[int, np.ndarray] = {}
        for indices in batches.order(0):
            outputs = self.predict_on_batch(batches.inputs(indices))
            rows.update(zip(indices.tolist(), np.asarray(outputs, "float32"), strict=True))
        return [rows[row] for row in range(len(rows))]

    # === Weights in and out ===
    @classmethod
    def _from_checkpoint(cls, checkpoint: Checkpoint, *, dtype: Any, **settings: Any) -> Self:
        """Makes a model of a checkpoint, with the head if it has one of this kind."""
        if checkpoint.config.architecture != "bert":
            raise ValueError(
                f"{checkpoint.folder} is of architecture {checkpoint.config.architecture!r}, for "
                f"which transformers builds a {cls.architecture} otherwise, so that this one could "
                f"not be written again: make a {cls.__name__} of load_encoder, and save it as a "
                ".keras file."
            )
        model = cls(
            BertEncoder(checkpoint.config, dtype=dtype),
            tokenizer=WordPieceTokenizer.from_directory(checkpoint.folder),
            dtype=dtype,
            **settings,
        )
        has_head, order = cls._has_head(checkpoint), None
        if has_head and "labels" in settings:
            order = checkpoint.match_labels(settings["labels"])
            has_head = order is not None
        if not has_head:
            logger.warning("Newly initialized, to be trained: the head of %s.", model.name)
        # A checkpoint of these tasks has no pooler; others keep theirs.
        rows, pooler = encoder_weights(checkpoint.config), pooler_weights(checkpoint.config)
        optional = pooler if checkpoint.has(pooler) else ()
        checkpoint.load(model, (*rows, *(cls.head_weights if has_head else ())), optional=optional)
        if order is not None:
            model.head.set_weights([w[..., order] for w in model.head.get_weights()])
        return model

    @classmethod
    def _has_head(cls, checkpoint: Checkpoint) -> bool:
        """Whether the checkpoint has a head of this kind: others have weights of the same names."""
        known = checkpoint.settings(architectures=list).get("architectures", [cls.architecture])
        return checkpoint.has(cls.head_weights) and cls.architecture in known

    def _write(self, folder: str | Path, **fields: Any) -> None:
        """Writes a folder that `from_pretrained` and `transformers` load."""
        tokenizer = self.check_tokenizer()
        rows = encoder_weights(self.encoder.config)
        with new_folder(folder) as temporary:
            write_checkpoint(
                temporary,
                self,
                (*rows, *self.head_weights),
                architecture=self.architecture,
                pad_token_id=tokenizer.vocabulary.pad_id,
                **{"sequence_length": self.sequence_length, **fields},
            )
            tokenizer.save(temporary)
            write_hashes(temporary)

    # === Config ===
    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments that these tasks have."""
        return {**super().get_config(), "sequence_length": self.sequence_length}


def ragged(rows: Sequence[Sequence[int]]) -> tf.RaggedTensor:
    """Makes an int32 tensor of rows of several lengths."""
    return tf.RaggedTensor.from_row_lengths(
        np.concatenate([np.asarray(row, "int32") for row in rows]), [len(row) for row in rows]
    )
