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
from keras_bert_scratch.text.columns import is_text
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.training.memory import check_training_fits

logger = logging.getLogger(__name__)


class TokenModel(EncoderModel):
    """An encoder, and a head on the state of every token; subclasses say what its outputs mean.

    Where Keras takes `x`, this takes examples, too: a list or another column held in memory.
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

    # The class of transformers that reads the checkpoint, and the head's rows of the name table.
    architecture: str
    export_formats = ("tf_saved_model", "litert")
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

    # Whether `batches` takes labels, and weights of examples and classes with them.
    takes_labels = False

    def fit(  # type: ignore[override]
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Any = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int = 1,
    ) -> keras.callbacks.History:
        """Trains as `keras.Model.fit` does, on examples, too.

        With examples, batches hold windows of similar lengths, in an order that follows from
        `keras.utils.set_random_seed` and the epoch.

        Args:
            x: Examples, see the class, or whatever Keras takes.
            y: Their labels, where these do not stand in the examples.
            batch_size: B, by default 32.
            epochs: See Keras, as for all that is not explained here.
            verbose: See Keras.
            callbacks: Keras callbacks.
            validation_split: For ready inputs only.
            validation_data: `(x, y)`, `(x, y, sample_weight)`, `x` alone where it holds the labels,
                or a dataset.
            shuffle: Whether the order changes with every epoch.
            class_weight: Weights of classes, for tasks that have classes and with examples only.
            sample_weight: Weights of examples, for tasks that take them.
            initial_epoch: See Keras.
            steps_per_epoch: See Keras.
            validation_steps: See Keras.
            validation_batch_size: B of the validation, by default `batch_size`.
            validation_freq: See Keras.

        Raises:
            ValueError: If an example or a weight is refused, a batch needs more memory than there
                is, or `validation_split` is asked for with examples.
        """
        size = 32 if batch_size is None else batch_size
        validation_size = size if validation_batch_size is None else validation_batch_size
        options: dict[str, Any] = {}
        if self._is_examples(x):
            if validation_split:
                raise ValueError(
                    "validation_split would part examples of one document: split the documents, "
                    "and pass validation_data=."
                )
            # numpy's generator is one of those that keras.utils.set_random_seed seeds.
            seed = int(np.random.randint(2**31)) if shuffle else None
            batches = self._weighted_batches(
                x, y, sample_weight, class_weight, batch_size=size, seed=seed
            )
            self._check_memory(batches)
            self.check_workers(batches)
            x, y, sample_weight = self.dataset(batches), None, None
            callbacks = [batches.follow_epochs(), *keras.tree.flatten(callbacks or [])]
        else:
            self._refuse_class_weight(class_weight)
            if not isinstance(x, tf.data.Dataset):
                options.update(batch_size=size, validation_split=validation_split)
        given = validation_data if isinstance(validation_data, tuple) else (validation_data,)
        if self._is_examples(given[0]):
            validation_data = self.dataset(
                self._weighted_batches(*given, batch_size=validation_size)
            )
        elif validation_data is not None and not isinstance(validation_data, tf.data.Dataset):
            options["validation_batch_size"] = validation_size
        return super().fit(
            x,
            y,
            epochs=epochs,
            verbose=verbose,
            callbacks=callbacks,
            validation_data=validation_data,
            shuffle=shuffle and not isinstance(x, tf.data.Dataset),
            sample_weight=sample_weight,
            initial_epoch=initial_epoch,
            steps_per_epoch=steps_per_epoch,
            validation_steps=validation_steps,
            validation_freq=validation_freq,
            **options,
        )

    def _is_examples(self, x: Any) -> bool:
        """Whether `x` is held in memory and must be examples; refuses datasets of strings.

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
        return is_text(x)

    def _weighted_batches(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        **settings: Any,
    ) -> LengthBucketedBatches:
        """Returns `batches` to train or evaluate on, given only the weights that there are."""
        weights = {"sample_weight": sample_weight, "class_weight": class_weight}
        weights = {name: value for name, value in weights.items() if value is not None}
        if self.takes_labels and y is None:
            raise ValueError(
                f"{type(self).__name__} learns labels, received y=None: pass them as y, for "
                "validation as (x, y)."
            )
        if weights and not self.takes_labels:
            raise ValueError(
                f"{type(self).__name__} counts all examples alike, received "
                f"{' and '.join(weights)}: leave it out."
            )
        return self.batches(x, y, **weights, **settings)

    def _refuse_class_weight(self, class_weight: Any) -> None:
        if class_weight is not None:
            # Keras would read the labels of a row's tokens as the probabilities of its classes.
            raise ValueError(
                "class_weight is for examples; with ready inputs, whose labels stand at tokens, "
                "pass sample_weight, one weight a token."
            )

    def _check_memory(self, batches: LengthBucketedBatches) -> None:
        rows = min(batches.batch_size, len(batches.lengths))
        if self._strategy is not None:
            rows = -(-rows // self._strategy.num_replicas_in_sync)
        trainable = sum(int(np.prod(weight.shape)) for weight in self.trainable_weights)
        check_training_fits(self.encoder, trainable, rows, int(batches.lengths.max()))

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """Trains on one batch as `keras.Model.train_on_batch` does, on examples, too.

        Args:
            x: Examples, see the class, or whatever Keras takes.
            y: See `fit`.
            sample_weight: See `fit`.
            class_weight: See `fit`.
            return_dict: See Keras.
        """
        if self._is_examples(x):
            x, y, sample_weight = self._one_batch(x, y, sample_weight, class_weight)
        else:
            self._refuse_class_weight(class_weight)
        return super().train_on_batch(x, y, sample_weight, return_dict=return_dict)

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """Evaluates one batch as `keras.Model.test_on_batch` does, on examples, too.

        Args:
            x: Examples, see the class, or whatever Keras takes.
            y: See `fit`.
            sample_weight: See `fit`.
            return_dict: See Keras.
        """
        if self._is_examples(x):
            x, y, sample_weight = self._one_batch(x, y, sample_weight)
        return super().test_on_batch(x, y, sample_weight, return_dict=return_dict)

    def _one_batch(self, *columns: Any) -> Any:
        """Returns the rows of all examples as Keras' (x, y, sample_weight)."""
        batches = self._weighted_batches(*columns)
        return keras.utils.unpack_x_y_sample_weight(batches.batch(np.arange(len(batches.lengths))))

    def predict_on_batch(self, x: Any) -> Any:
        """Predicts one batch as Keras does, or examples as `predict` does."""
        return self.predict(x) if self._is_examples(x) else super().predict_on_batch(x)

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


def refuse_given(**arguments: Any) -> None:
    """Refuses arguments that are given although they have no use.

    Raises:
        ValueError: If one is not None.
    """
    given = [name for name, value in arguments.items() if value is not None]
    if given:
        raise ValueError(
            f"{' and '.join(given)} cannot act on examples: leave out, or give "
            "model.dataset(model.batches(x, y)) instead of them."
        )
