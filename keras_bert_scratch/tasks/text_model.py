"""What tasks about whole texts share: `fit`, `evaluate` and `predict` that take raw strings.

Axes: B batch, S sequence.
"""

import functools
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from keras_bert_scratch.data.batching import LengthBucketedBatches, WindowBatches
from keras_bert_scratch.data.labels import class_ids, encode_sample_weight
from keras_bert_scratch.data.readers import stratified_split
from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.tasks.encoder_model import EncoderModel
from keras_bert_scratch.text.columns import check_not_empty, is_text, text_columns
from keras_bert_scratch.text.graphs.tokenizer_graph import TokenizerGraph, tokenizer_graph
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.truncation import (
    Truncation,
    check_sequence_length,
    check_truncation,
    check_window_stride,
)
from keras_bert_scratch.training.memory import check_training_fits
from keras_bert_scratch.training.privacy import DifferentialPrivacy

# Texts tokenized at a time: bounds the memory of one call of the graph.
_CHUNK = 4096


@dataclass(frozen=True)
class TextExamples:
    """What a user gives to a task, checked, by position.

    Attributes:
        texts: n texts.
        pairs: n second texts, or None.
        targets: What the loss compares with, a numpy array, or None. *Shape:* (n, ...).
        sample_weight: Weights in the loss, or None. *Shape:* (n,).
    """

    texts: list[str]
    pairs: list[str] | None = None
    targets: Any = None
    sample_weight: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def columns(self) -> list[list[str]]:
        """The texts, and the second texts if there are any."""
        return [self.texts] if self.pairs is None else [self.texts, self.pairs]

    def take(self, indices: np.ndarray) -> Self:
        """Returns the examples at some positions, in that order."""
        return replace(
            self,
            texts=[self.texts[i] for i in indices],
            pairs=None if self.pairs is None else [self.pairs[i] for i in indices],
            targets=None if self.targets is None else self.targets[indices],
            sample_weight=None if self.sample_weight is None else self.sample_weight[indices],
        )

    def weighted(self, weights: np.ndarray) -> Self:
        """Multiplies the weights by others. *Shape:* (n,)."""
        before = 1.0 if self.sample_weight is None else self.sample_weight
        return replace(self, sample_weight=(before * weights).astype("float32"))


class TextModel(EncoderModel):
    """A model that takes texts; subclasses add a head and labels.

    Where Keras takes `x`, this takes texts, too: a column of strings in a list, numpy, pandas,
    polars, pyarrow or `datasets`; a tuple of two of them, or a table of two columns, for pairs; a
    `tf.data` dataset, a `PyDataset` or a generator of batches of them. Anything else, such as a
    dict of ready inputs, goes to Keras as it is.

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

    # === What subclasses say of their labels ===
    def encode_labels(self, y: Any) -> np.ndarray:
        """Turns what a user gives as labels into numbers; one row an example."""
        raise NotImplementedError

    def encode_targets(self, y: Any) -> np.ndarray:
        """Turns labels into what the loss compares with; one row an example."""
        return self.encode_labels(y)

    def encode_ready_labels(self, y: Any) -> Any:
        """Turns labels that come with ready inputs or in a dataset into targets.

        Args:
            y: Labels in memory, or a symbolic tensor of them.

        Raises:
            ValueError: If they are strings, which the task cannot turn into targets there.
        """
        if getattr(y, "dtype", None) == tf.string:
            raise ValueError(
                f"{self.name} takes strings as y beside texts held in memory, not in a dataset: "
                "give fit the columns themselves."
            )
        return y

    def encode_class_weight(self, class_weight: Any) -> np.ndarray:
        """Returns the weight of each class. *Shape:* (C,).

        Raises:
            ValueError: If the task has no classes, or one is unknown.
        """
        raise ValueError(
            f"class_weight is for classes, and {self.name} learns none: pass one weight an "
            "example as sample_weight."
        )

    def check_training_labels(self, y: np.ndarray) -> None:
        """Raises a ValueError if nothing can be learned from the targets."""

    # === The door ===
    def examples(
        self, x: Any, y: Any = None, sample_weight: Any = None, *, labelled: bool = False
    ) -> TextExamples:
        """Checks texts, labels and weights, and takes them by position.

        Args:
            x: Texts, see the class.
            y: One label a text, or None.
            sample_weight: One weight a text, or None.
            labelled: Whether there must be labels.

        Raises:
            ValueError: If the columns differ in length, or a label or weight is refused.
            TypeError: If a text is not a string, or a column is not understood.
        """
        texts, pairs = text_columns(x)
        targets = self.encode_targets(y) if labelled or y is not None else None
        if targets is not None and len(targets) != len(texts):
            raise ValueError(
                f"There are {len(texts)} texts but {len(targets)} labels: give one for each."
            )
        return TextExamples(texts, pairs, targets, encode_sample_weight(sample_weight, len(texts)))

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
            seed: Seed of the batch order; None sorts by length.
            training: Makes each window of a text an example with its label and weight; otherwise
                the windows of a text come together. Only for `truncation="windows"`.

        Raises:
            ValueError: If the model has no tokenizer, or the columns differ in length.
            TypeError: If a text is not a string.
        """
        examples = self.examples(x, y, sample_weight)
        return self.batches_of(examples, batch_size=batch_size, seed=seed, training=training)

    def batches_of(
        self,
        examples: TextExamples,
        *,
        batch_size: int,
        seed: int | None = None,
        training: bool = False,
    ) -> LengthBucketedBatches:
        """Tokenizes checked examples; see `batches`."""
        tokenizer = self.check_takes_texts()
        check_truncation(self.truncation, len(examples.columns))
        graph = tokenizer_graph(tokenizer, "fast")
        is_windows = self.truncation == "windows"
        if is_windows:
            tokenize = functools.partial(graph.windows, window_stride=self.window_stride)
        else:
            tokenize = functools.partial(graph.ragged, truncation=self.truncation)
        token_ids, second = tokenize_in_chunks(
            functools.partial(tokenize, sequence_length=self.sequence_length), examples.columns
        )
        segment_ids = tf.zeros_like(token_ids) if is_windows else second
        labels, weights = examples.targets, examples.sample_weight
        settings: dict[str, Any] = {
            "batch_size": batch_size,
            "pad_id": tokenizer.vocabulary.pad_id,
        }
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
            return self.training_step.draw_batches(token_ids, segment_ids, **settings)
        return LengthBucketedBatches(token_ids, segment_ids, **settings)

    def check_takes_texts(self) -> WordPieceTokenizer:
        """Returns the tokenizer.

        Raises:
            ValueError: If there is none.
        """
        if self.tokenizer is None:
            raise ValueError(
                f"{self.name} has no tokenizer, so it cannot take texts: pass tokenizer=, or a "
                "dict of token_ids, segment_ids and padding_mask."
            )
        return self.tokenizer

    # === Keras' methods, on texts, too ===
    def fit(
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
        validation_freq: Any = 1,
    ) -> keras.callbacks.History:
        """Trains as `keras.Model.fit` does, on texts, too.

        With texts, batches hold texts of similar lengths, in an order that follows from
        `keras.utils.set_random_seed` and the epoch; `validation_split` is stratified by label.

        Args:
            x: Texts, see the class, or whatever Keras takes.
            y: One label a text.
            batch_size: B, by default 32.
            epochs: As in Keras.
            verbose: As in Keras.
            callbacks: Keras callbacks.
            validation_split: Share of the texts held out for validation.
            validation_data: `(x, y)` or `(x, y, sample_weight)`, or a dataset.
            shuffle: Whether the order changes with every epoch.
            class_weight: A dict of class, by name or id, to weight.
            sample_weight: One weight a text.
            initial_epoch: As in Keras.
            steps_per_epoch: As in Keras.
            validation_steps: As in Keras.
            validation_batch_size: B of the validation, by default `batch_size`.
            validation_freq: As in Keras.

        Raises:
            ValueError: If a text is empty, labels are unknown or all of one class, or a batch needs
                more memory than there is; with `DifferentialPrivacy`, if it cannot hold; under
                `tf.distribute`, if the workers' texts or seeds differ, or the replicas cannot share
                a batch evenly.
        """
        privacy = self.training_step
        if isinstance(privacy, DifferentialPrivacy):
            privacy.check_fit(
                self,
                draws=is_text(x) and shuffle and steps_per_epoch is None,
                callbacks=callbacks,
                class_weight=class_weight,
            )
        if is_text(x):
            examples = self.examples(x, y, sample_weight, labelled=True)
            check_not_empty(examples.texts, examples.pairs)
            if validation_split:
                train, held_out = stratified_split(
                    examples.targets, validation_split, seed=int(np.random.randint(2**31))
                )
                validation_data, examples = examples.take(held_out), examples.take(train)
            self.check_training_labels(examples.targets)
            if class_weight:
                weights = self.encode_class_weight(class_weight)[class_ids(examples.targets)]
                examples, class_weight = examples.weighted(weights), None
            # numpy's generator is one of those that keras.utils.set_random_seed seeds.
            seed = int(np.random.randint(2**31)) if shuffle else None
            batches = self.batches_of(
                examples, batch_size=batch_size or 32, seed=seed, training=True
            )
            # Rows that are held at a time: private batches are worked off in parts, and those of a
            # strategy on several replicas.
            rows = min(batches.batch_size, len(batches.lengths))
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
                callbacks.insert(0, privacy.start(batches, epochs, initial_epoch))
            # A dataset brings its own order, and Keras warns if told to shuffle it.
            x, y, sample_weight, shuffle = batches.dataset(), None, None, False
            batch_size, validation_split = None, 0.0
        else:
            x, y = self._ready(x, y, training=True)
            shuffle = shuffle and not isinstance(x, tf.data.Dataset)
            if class_weight:
                class_weight = dict(enumerate(self.encode_class_weight(class_weight).tolist()))
        return super().fit(
            x,
            y,
            batch_size=batch_size,
            epochs=epochs,
            verbose=verbose,
            callbacks=callbacks,
            validation_split=validation_split,
            validation_data=self._validation(validation_data, validation_batch_size or batch_size),
            shuffle=shuffle,
            class_weight=class_weight,
            sample_weight=sample_weight,
            initial_epoch=initial_epoch,
            steps_per_epoch=steps_per_epoch,
            validation_steps=validation_steps,
            validation_batch_size=validation_batch_size,
            validation_freq=validation_freq,
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
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Evaluates as `keras.Model.evaluate` does, on texts, too.

        Args:
            x: Texts, see the class, or whatever Keras takes.
            y: One label a text.
            batch_size: B, by default 32.
            verbose: As in Keras.
            sample_weight: One weight a text.
            steps: As in Keras; not for texts held in memory.
            callbacks: Keras callbacks.
            return_dict: As in Keras.
            **kwargs: As in Keras.

        Raises:
            ValueError: If a text is empty or a label unknown.
        """
        if is_text(x):
            _refuse_steps(steps)
            examples = self.examples(x, y, sample_weight, labelled=True)
            check_not_empty(examples.texts, examples.pairs)
            x = self.batches_of(examples, batch_size=batch_size or 32).dataset()
            y, sample_weight, batch_size = None, None, None
        else:
            x, y = self._ready(x, y)
        return super().evaluate(
            x,
            y,
            batch_size,
            verbose=verbose,
            sample_weight=sample_weight,
            steps=steps,
            callbacks=callbacks,
            return_dict=return_dict,
            **kwargs,
        )

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        """Predicts as `keras.Model.predict` does, on texts, too, in the order of the texts.

        Args:
            x: Texts, see the class, or whatever Keras takes.
            batch_size: B, by default 32.
            verbose: As in Keras.
            steps: As in Keras; not for texts held in memory.
            callbacks: Keras callbacks.

        Returns:
            What `call` returns, for all texts, as numpy arrays. *Shape:* (number of texts, ...).
        """
        settings = {"verbose": verbose, "steps": steps, "callbacks": callbacks}
        if not is_text(x):
            return super().predict(self._ready(x, labelled=False)[0], batch_size, **settings)
        _refuse_steps(steps)
        examples = self.examples(x)
        if not examples.texts:
            # One text tells the shape of the answers.
            columns = [[""] for _ in examples.columns]
            rows = self.predict(tuple(columns) if len(columns) > 1 else columns[0], verbose=0)
            return keras.tree.map_structure(lambda row: row[:0], rows)
        batches = self.batches_of(examples, batch_size=batch_size or 32)
        by_length = super().predict(batches.dataset(), **settings)
        # Row i of the prediction belongs to text order[i]; argsort of a permutation inverts it.
        original = np.argsort(np.concatenate(batches.order(0)))
        return keras.tree.map_structure(lambda rows: rows[original], by_length)

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """Trains on one batch as `keras.Model.train_on_batch` does, on texts, too.

        Raises:
            ValueError: If the training is private, whose batches are drawn by `fit`.
        """
        if isinstance(self.training_step, DifferentialPrivacy):
            raise ValueError(
                "train_on_batch takes a batch that was chosen, and differential privacy holds for "
                "batches drawn at random: train by fit, or compile without the training_step."
            )
        if class_weight:
            class_weight = dict(enumerate(self.encode_class_weight(class_weight).tolist()))
        batch = self._ready_batch((x, y, sample_weight), training=True)
        return super().train_on_batch(*batch, class_weight=class_weight, return_dict=return_dict)

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """Evaluates one batch as `keras.Model.test_on_batch` does, on texts, too."""
        return super().test_on_batch(
            *self._ready_batch((x, y, sample_weight)), return_dict=return_dict
        )

    def predict_on_batch(self, x: Any) -> Any:
        """Predicts one batch as `keras.Model.predict_on_batch` does, on texts, too."""
        return super().predict_on_batch(self._ready_batch((x,))[0])

    # === Ready inputs and batches of others ===
    def _validation(self, data: Any, batch_size: int | None) -> Any:
        """Makes what Keras takes of `validation_data`."""
        if isinstance(data, tuple | list) and data and is_text(data[0]):
            data = self.examples(*data, labelled=True)
            check_not_empty(data.texts, data.pairs)
        if isinstance(data, TextExamples):
            return self.batches_of(data, batch_size=batch_size or 32).dataset()
        if isinstance(data, tuple | list) and len(data) > 1:
            return (*self._ready(data[0], data[1]), *data[2:])
        return self._ready(data)[0]

    def _ready(
        self, x: Any, y: Any = None, *, training: bool = False, labelled: bool = True
    ) -> tuple[Any, Any]:
        """Makes what Keras takes of what is no texts in memory: inputs and targets.

        Args:
            x: Ready inputs; or a dataset, a `PyDataset` or a generator, of texts or ready inputs.
            y: The labels of ready inputs.
            training: Makes each window of a text an example with its label and weight.
            labelled: Whether the labels that come with x are of use.
        """
        if isinstance(x, tf.data.Dataset):
            return self._ready_dataset(x, training=training, labelled=labelled), y
        prepare = functools.partial(self._ready_batch, training=training, labelled=labelled)
        if isinstance(x, keras.utils.PyDataset):
            return _PreparedBatches(x, prepare), y
        if isinstance(x, types.GeneratorType):
            return (prepare(batch) for batch in x), y
        return x, None if y is None else self.encode_ready_labels(y)

    def _ready_batch(
        self, batch: Any, *, training: bool = False, labelled: bool = True
    ) -> tuple[Any, ...]:
        """Turns a batch in memory, of texts or ready inputs, into inputs, targets and weights."""
        # Keras would take the first texts of a bare list for inputs and labels.
        is_bare = not isinstance(batch, tuple)
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight((batch,) if is_bare else batch)
        if not labelled:
            y = sample_weight = None
        if is_text(x):
            examples = self.examples(x, y, sample_weight)
            batches = self.batches_of(examples, batch_size=max(1, len(examples)), training=training)
            # All rows, in the order in which they came.
            return batches.batch(np.sort(np.concatenate(batches.order(0))))
        return _batch(x, None if y is None else self.encode_ready_labels(y), sample_weight)

    def _ready_dataset(
        self, dataset: tf.data.Dataset, *, training: bool, labelled: bool
    ) -> tf.data.Dataset:
        """Maps the tokenizer over the texts of a dataset, and the door for labels over its labels.

        Raises:
            ValueError: If its strings are not batched, or not one or two columns of texts, or the
                model has no tokenizer.
        """
        spec = dataset.element_spec
        columns_of = self._text_columns_of(spec[0] if isinstance(spec, tuple) else spec)
        graph = tokenizer_graph(self.check_takes_texts(), "fast") if columns_of else None

        def prepare(*batch: Any) -> Any:
            x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
            if not labelled:
                y = sample_weight = None
            if y is not None:
                y = self.encode_ready_labels(y)
            if columns_of and graph:
                x = self._tokenize_batch(graph, tuple(map(_one_axis, columns_of(x))))
                if training and "num_windows" in x:
                    num_windows = x.pop("num_windows")
                    y, sample_weight = (
                        None if column is None else tf.repeat(column, num_windows, axis=0)
                        for column in (y, sample_weight)
                    )
            return _batch(x, y, sample_weight)

        return dataset.map(prepare, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)

    def _text_columns_of(self, spec: Any) -> Callable[[Any], tuple[Any, ...]] | None:
        """Returns what takes the one or two columns of texts out of a dataset's inputs, if any."""
        leaves = keras.tree.flatten(spec)
        is_string = [leaf.dtype == tf.string for leaf in leaves]
        if not any(is_string):
            return None
        keys: Any = spec.keys() if isinstance(spec, dict) else range(len(leaves))
        if keys == {"text", "pair"}:
            keys = ("text", "pair")
        elif not all(is_string) or len(keys) > (1 if isinstance(spec, dict) else 2):
            raise ValueError(
                "A dataset's texts are strings, a tuple of two for pairs, or a dict of one column "
                f"or of 'text' and 'pair'; received {spec}: map it to those, such as "
                '.map(lambda x, y: (x["title"], y)).'
            )
        for leaf in leaves:
            rank = leaf.shape.rank
            if rank == 0 or (rank is not None and rank > 1 and leaf.shape[1:] != (1,) * (rank - 1)):
                raise ValueError(
                    "A dataset of strings must be batched (strings of shape (B,)), received "
                    f"{spec}: call .batch(32) on it."
                )
        if isinstance(spec, dict):
            return lambda x: tuple(x[key] for key in keys)
        return lambda x: x if isinstance(x, tuple) else (x,)

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


class _PreparedBatches(keras.utils.PyDataset):
    """A user's `PyDataset` whose batches are prepared as they come."""

    def __init__(self, batches: keras.utils.PyDataset, prepare: Callable[[Any], Any]) -> None:
        # Threads, not processes, which could not share the tokenizer's graph.
        super().__init__(workers=batches.workers, max_queue_size=batches.max_queue_size)
        self.batches = batches
        self.prepare = prepare

    @property
    def num_batches(self) -> int | None:
        """Number of batches an epoch."""
        return self.batches.num_batches

    def __getitem__(self, index: int) -> Any:
        return self.prepare(self.batches[index])

    def on_epoch_begin(self) -> None:
        """Tells the user's dataset."""
        self.batches.on_epoch_begin()

    def on_epoch_end(self) -> None:
        """Tells the user's dataset."""
        self.batches.on_epoch_end()


def _batch(x: Any, y: Any, sample_weight: Any) -> tuple[Any, ...]:
    """Packs what there is; unlike Keras' own function, inputs alone as a tuple, too."""
    return tuple(part for part in (x, y, sample_weight) if part is not None)


def _one_axis(column: tf.Tensor) -> tf.Tensor:
    """Makes (B,) of strings of shape (B,), (B, 1), or one that is known only when they come."""
    if column.shape.rank == 1:
        return column
    check = tf.debugging.assert_equal(
        tf.size(column),
        tf.shape(column)[0],
        "A dataset of strings must be batched: strings of shape (B,) or (B, 1)",
    )
    with tf.control_dependencies([check]):
        return tf.reshape(column, [-1])


def _refuse_steps(steps: int | None) -> None:
    if steps is not None:
        raise ValueError(
            f"steps={steps} is for datasets without an end: leave it out with texts held in "
            "memory, which are read once."
        )


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
