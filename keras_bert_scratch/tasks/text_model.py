"""What tasks about whole texts share: `fit`, `evaluate` and `predict` that take raw strings.

Axes: B batch, S sequence.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_bert_scratch.data.batching import LengthBucketedBatches, PoissonBatches, WindowBatches
from keras_bert_scratch.data.readers import stratified_split
from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.tasks.encoder_model import EncoderModel
from keras_bert_scratch.text.columns import check_not_empty, text_columns
from keras_bert_scratch.text.graph import TokenizerGraph
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer, check_sequence_length
from keras_bert_scratch.text.truncation import (
    Truncation,
    check_truncation,
    check_window_stride,
)
from keras_bert_scratch.training.memory import check_training_fits
from keras_bert_scratch.training.privacy import DifferentialPrivacy, EpsilonInLogs

# Texts tokenized at a time: bounds the memory of one call of the graph.
_CHUNK = 4096


class TextModel(EncoderModel):
    """A model that takes texts; subclasses add a head and labels.

    Where Keras takes `x`, this takes texts, too: a list, a numpy array or a pandas Series of
    strings; a tuple of two of them for pairs; a `tf.data` dataset of batches of strings. Anything
    else, such as a dict or a dataset of ready inputs, goes to Keras as it is.

    Args:
        encoder: The encoder.
        tokenizer: Turns texts into ids; None if only ready inputs are used.
        sequence_length: Tokens, [CLS] and [SEP] included, to which texts are truncated; by default
            all that the encoder's positions cover.
        truncation: Which tokens of a longer text are read, see `text.truncation`. With "windows",
            each window is an example of its own in `fit`; elsewhere `call` finds `num_windows`, the
            windows of each text, in its inputs.
        window_stride: Tokens from the start of a window to the start of the next; by default half
            of those that a window has.
        **kwargs: `name` and `dtype`, for `keras.Model`.

    Raises:
        ValueError: If the tokenizer or the length does not fit the encoder, the truncation is
            unknown, or the stride does not fit.
    """

    # Whether `truncation` may be other than "head": answers of windows have to be joined.
    takes_truncation = False
    # Trains in the place of Keras' own step; for tasks whose `compile` takes one.
    training_step: Callable[[keras.Model, Any], dict[str, Any]] | None = None

    def __init__(
        self,
        encoder: BertEncoder,
        tokenizer: WordPieceTokenizer | None,
        sequence_length: int | None,
        *,
        truncation: Truncation = "head",
        window_stride: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(encoder, tokenizer, **kwargs)
        self.sequence_length = self.check_length(sequence_length)
        check_truncation(truncation)
        if truncation != "head" and not self.takes_truncation:
            raise ValueError(
                f"{type(self).__name__} reads the heads of long texts, received truncation="
                f"{truncation!r}, which BertClassifier takes: leave it out, and cut texts yourself."
            )
        if truncation == "windows":
            check_window_stride(window_stride, check_sequence_length(self.sequence_length, 1))
        elif window_stride is not None:
            raise ValueError(
                f"window_stride={window_stride} is for windows, received truncation="
                f'{truncation!r}: use truncation="windows", or leave the stride out.'
            )
        self.truncation = truncation
        self.window_stride = window_stride

    def encode_labels(self, y: Any) -> np.ndarray:
        """Turns what a user gives as labels into numbers; one row an example."""
        raise NotImplementedError

    def check_training_labels(self, y: np.ndarray) -> None:
        """Raises a ValueError if nothing can be learned from the encoded labels."""

    def batches(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        batch_size: int = 32,
        seed: int | None = None,
        training: bool = False,
    ) -> LengthBucketedBatches:
        """Tokenizes texts held in memory, once, into batches of similar lengths.

        Args:
            x: Texts or a tuple of two, see the class.
            y: One label a text, or None.
            sample_weight: One weight a text, or None.
            batch_size: B.
            seed: Of the order; None sorts by length.
            training: Makes each window of a text an example with its label and weight; otherwise
                the windows of a text come together. Only for `truncation="windows"`.

        Raises:
            ValueError: If the model has no tokenizer, or the columns differ in length.
            TypeError: If a text is not a string.
        """
        if self.tokenizer is None:
            raise ValueError(
                f"{self.name} has no tokenizer, so it cannot take texts: pass tokenizer=, or a "
                "dict of token_ids, segment_ids and padding_mask."
            )
        texts, pairs = text_columns(x)
        labels = None if y is None else self.encode_labels(y)
        weights = None if sample_weight is None else np.asarray(sample_weight, "float32")
        for name, column in (("pairs", pairs), ("labels", labels), ("sample_weight", weights)):
            if column is not None and len(column) != len(texts):
                raise ValueError(
                    f"There are {len(texts)} texts but {len(column)} {name}: give one for each."
                )
        check_truncation(self.truncation, 1 if pairs is None else 2)
        graph = self.tokenizer.graph("fast")
        is_windows = self.truncation == "windows"
        if is_windows:
            tokenize = functools.partial(graph.windows, window_stride=self.window_stride)
        else:
            tokenize = functools.partial(graph.ragged, truncation=self.truncation)
        columns = [texts] if pairs is None else [texts, pairs]
        token_ids, second = tokenize_in_chunks(
            functools.partial(tokenize, sequence_length=self.sequence_length), columns
        )
        segment_ids = tf.zeros_like(token_ids) if is_windows else second
        pad_id = self.tokenizer.vocabulary.pad_id
        settings: dict[str, Any] = {"batch_size": batch_size, "pad_id": pad_id}
        if is_windows:
            num_windows = second.numpy()
            if not training:
                return WindowBatches(
                    token_ids,
                    segment_ids,
                    num_windows=num_windows,
                    labels=labels,
                    sample_weight=weights,
                    **settings,
                )
            labels, weights = (
                None if column is None else np.repeat(column, num_windows, axis=0)
                for column in (labels, weights)
            )
        settings.update(labels=labels, sample_weight=weights, seed=seed)
        if training and isinstance(self.training_step, DifferentialPrivacy):
            settings["microbatch_size"] = self.training_step.microbatch_size
            return PoissonBatches(token_ids, segment_ids, **settings)
        return LengthBucketedBatches(token_ids, segment_ids, **settings)

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int = 32,
        *,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        sample_weight: Any = None,
        callbacks: Any = None,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """Trains as `keras.Model.fit` does, on texts, too.

        With texts, batches hold texts of similar lengths, in an order that follows from
        `keras.utils.set_random_seed` and the epoch; `validation_split` is stratified by label.

        Args:
            x: Texts, see the class, or whatever Keras takes.
            y: One label a text.
            batch_size: B.
            validation_split: Share of the texts held out for validation.
            validation_data: `(x, y)` or `(x, y, sample_weight)`, or a dataset.
            shuffle: Whether the order changes with every epoch.
            sample_weight: One weight a text.
            callbacks: Keras callbacks.
            **kwargs: The other arguments of `keras.Model.fit`.

        Raises:
            ValueError: If a text is empty, labels are unknown or all of one class, or a batch needs
                more memory than there is; with `DifferentialPrivacy`, if it cannot hold; under
                `tf.distribute`, if the workers' texts or seeds differ, or the replicas cannot share
                a batch evenly.
        """
        validation_batch_size = kwargs.pop("validation_batch_size", None) or batch_size
        privacy = self.training_step
        if isinstance(privacy, DifferentialPrivacy):
            privacy.check_fit(
                draws=_is_text(x) and shuffle and kwargs.get("steps_per_epoch") is None,
                is_windows=self.truncation == "windows",
            )
        if _is_text(x):
            y = self.encode_labels(y)
            if validation_split:
                train, held_out = stratified_split(
                    y, validation_split, seed=int(np.random.randint(2**31))
                )
                validation_data = (
                    _take(x, held_out),
                    y[held_out],
                    _take(sample_weight, held_out),
                )
                x, y, sample_weight = _take(x, train), y[train], _take(sample_weight, train)
            check_not_empty(x)
            self.check_training_labels(y)
            # numpy's generator is one of those that keras.utils.set_random_seed seeds.
            seed = int(np.random.randint(2**31)) if shuffle else None
            batches = self.batches(
                x, y, sample_weight, batch_size=batch_size, seed=seed, training=True
            )
            # Rows that are held at a time: private batches are worked off in parts, and those of a
            # strategy on several replicas.
            rows = min(batch_size, len(batches.lengths))
            if isinstance(privacy, DifferentialPrivacy):
                rows = privacy.microbatch_size
            elif self._strategy is not None:
                rows = -(-rows // self._strategy.num_replicas_in_sync)
            check_training_fits(
                self.encoder,
                sum(int(np.prod(weight.shape)) for weight in self.trainable_weights),
                rows,
                int(batches.lengths.max()),
            )
            self.check_workers(batches)
            callbacks = [batches.follow_epochs(), *keras.tree.flatten(callbacks or [])]
            if isinstance(privacy, DifferentialPrivacy):
                privacy.start(batches, kwargs.get("epochs", 1), kwargs.get("initial_epoch", 0))
                callbacks.insert(0, EpsilonInLogs(privacy))
            x, y, sample_weight = batches.dataset(), None, None
        else:
            x = self._tokenize_dataset(x, training=True)
            if not isinstance(x, tf.data.Dataset):
                kwargs.update(batch_size=batch_size, validation_split=validation_split)
        if isinstance(validation_data, tuple | list) and _is_text(validation_data[0]):
            check_not_empty(validation_data[0])
            validation_data = self.batches(
                *validation_data, batch_size=validation_batch_size
            ).dataset()
        else:
            validation_data = self._tokenize_dataset(validation_data)
            if validation_data is not None and not isinstance(validation_data, tf.data.Dataset):
                kwargs["validation_batch_size"] = validation_batch_size
        return super().fit(
            x,
            y,
            validation_data=validation_data,
            sample_weight=sample_weight,
            callbacks=callbacks,
            # A dataset brings its own order, and Keras warns if told to shuffle it.
            shuffle=shuffle and not isinstance(x, tf.data.Dataset),
            **kwargs,
        )

    def train_step(self, *args: Any) -> Any:
        """Trains on a batch as Keras does, or as `training_step` does."""
        if self.training_step is None:
            return super().train_step(*args)
        return self.training_step(self, *args)

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        *,
        sample_weight: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Evaluates as `keras.Model.evaluate` does, on texts, too.

        Args:
            x: Texts, see the class, or whatever Keras takes.
            y: One label a text.
            batch_size: B, by default 32.
            sample_weight: One weight a text.
            **kwargs: The other arguments of `keras.Model.evaluate`.

        Raises:
            ValueError: If a text is empty or a label unknown.
        """
        if _is_text(x):
            check_not_empty(x)
            batches = self.batches(x, y, sample_weight, batch_size=batch_size or 32)
            return super().evaluate(batches.dataset(), **kwargs)
        x = self._tokenize_dataset(x)
        return super().evaluate(x, y, batch_size, sample_weight=sample_weight, **kwargs)

    def predict(self, x: Any, batch_size: int | None = None, **kwargs: Any) -> Any:
        """Predicts as `keras.Model.predict` does, on texts, too, in the order of the texts.

        Args:
            x: Texts, see the class, or whatever Keras takes.
            batch_size: B, by default 32.
            **kwargs: The other arguments of `keras.Model.predict`.

        Returns:
            What `call` returns, for all texts, as numpy arrays. *Shape:* (number of texts, ...).
        """
        if not _is_text(x):
            return super().predict(self._tokenize_dataset(x), batch_size, **kwargs)
        batches = self.batches(x, batch_size=batch_size or 32)
        by_length = super().predict(batches.dataset(), **kwargs)
        # Row i of the prediction belongs to text order[i]; argsort of a permutation inverts it.
        original = np.argsort(np.concatenate(batches.order(0)))
        return keras.tree.map_structure(lambda rows: rows[original], by_length)

    def _tokenize_dataset(self, x: Any, training: bool = False) -> Any:
        """Maps the tokenizer over a dataset of batches of strings; leaves anything else alone."""
        if not isinstance(x, tf.data.Dataset):
            return x
        spec = x.element_spec
        texts = keras.tree.flatten(spec[0] if isinstance(spec, tuple) else spec)
        if isinstance(texts, dict) or any(leaf.dtype != tf.string for leaf in texts):
            return x
        if self.tokenizer is None or any(leaf.shape.rank != 1 for leaf in texts):
            raise ValueError(
                "A dataset of strings must be batched (strings of shape (B,)), and the model needs "
                f"a tokenizer; received {spec}: call .batch(32) on it."
            )
        graph = self.tokenizer.graph("fast")

        def tokenize(texts: Any, *rest: Any) -> Any:
            columns = texts if isinstance(texts, tuple) else (texts,)
            inputs = self._tokenize_batch(graph, columns)
            if training and "num_windows" in inputs:
                num_windows = inputs.pop("num_windows")
                rest = tuple(tf.repeat(column, num_windows, axis=0) for column in rest)
            return (inputs, *rest)

        return x.map(tokenize, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)

    def _tokenize_batch(self, graph: TokenizerGraph, columns: tuple[tf.Tensor, ...]) -> Any:
        """Turns one column of strings, or two, into what `call` takes, within a dataset."""
        return graph(
            *columns,
            sequence_length=self.sequence_length,
            truncation=self.truncation,
            window_stride=self.window_stride,
        )

    # === Config ===
    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments that these tasks have."""
        return {**super().get_config(), "sequence_length": self.sequence_length}


def tokenize_in_chunks(
    tokenize: Callable[..., tuple[Any, Any]], columns: Sequence[list[str]]
) -> tuple[Any, Any]:
    """Tokenizes columns of texts, a bounded number of texts at a time.

    Args:
        tokenize: Turns string tensors, one a column, into two tensors of one row a text, or more.
        columns: One list of texts a column.

    Returns:
        The two tensors of all texts.
    """
    chunks = [
        tokenize(*(tf.constant(column[start : start + _CHUNK], tf.string) for column in columns))
        for start in range(0, len(columns[0]), _CHUNK)
    ]
    first, second = (tf.concat(parts, 0) for parts in zip(*chunks, strict=True))
    return first, second


def _is_text(x: Any) -> bool:
    """Whether `x` is held in memory and must be texts, because Keras could not use it as it is."""
    if isinstance(x, np.ndarray | tf.Tensor):
        return x.dtype == tf.string if isinstance(x, tf.Tensor) else x.dtype.kind in "OUST"
    return isinstance(x, Sequence) or hasattr(x, "tolist")


def _take(column: Any, indices: np.ndarray) -> Any:
    """Selects examples from texts, pairs of them, weights, or None."""
    if column is None:
        return None
    if isinstance(column, tuple) and len(column) == 2 and not isinstance(column[0], str):
        return tuple(_take(part, indices) for part in column)
    return np.asarray(column, dtype=object if isinstance(column[0], str) else None)[indices]
