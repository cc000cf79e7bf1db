"""What tasks about whole texts share: what they make of strings, wherever Keras takes `x`.

Axes: B batch, S sequence.
"""

import functools
import hashlib
import itertools
import json
import re
import types
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from keras_bert_scratch.data.batching import (
    LengthBucketedBatches,
    PairBatches,
    WindowBatches,
    ragged,
)
from keras_bert_scratch.data.labels import class_ids, encode_sample_weight
from keras_bert_scratch.data.readers import stratified_split
from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.serving.engines import Engine, choose
from keras_bert_scratch.serving.graphs.signature import Signature
from keras_bert_scratch.tasks.example_model import ExampleModel, new_seed, refuse_given
from keras_bert_scratch.text.columns import check_not_empty, is_text, text_columns
from keras_bert_scratch.text.graphs.tokenizer_graph import TokenizerGraph, tokenizer_graph
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.truncation import (
    Truncation,
    check_sequence_length,
    check_truncation,
    check_window_stride,
)
from keras_bert_scratch.training.data_checks import warn_of_cut_texts

# Texts tokenized at a time: bounds the memory of one call of the graph.
_CHUNK = 4096
# Texts that Python tokenizes before the tables of a graph would be built.
_FEW_TEXTS = 256
_SURROGATE = re.compile("[\ud800-\udfff]")


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


class TextModel(ExampleModel):
    """A model that takes texts; subclasses add a head and labels.

    Where Keras takes `x`, this also takes texts: a column of strings in a list, numpy, pandas,
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
    can_split = True
    # Whether `engine_signature` and `same_answers` are there for `predict(..., engine=)`.
    has_engines = False

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
        super().__init__(encoder, tokenizer, sequence_length, **kwargs)
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

    # === From texts to batches ===
    def examples(
        self, x: Any, y: Any = None, sample_weight: Any = None, *, labelled: bool = False
    ) -> TextExamples:
        """Checks texts, labels and weights, and takes them by position."""
        texts, pairs = text_columns(x)
        if pairs is not None:
            check_truncation(self.truncation, num_texts=2)
        targets = self._targets(texts, pairs, y, labelled)
        if targets is not None and len(targets) != len(texts):
            raise ValueError(
                f"There are {len(texts)} texts but {len(targets)} labels: give one for each."
            )
        return TextExamples(texts, pairs, targets, encode_sample_weight(sample_weight, len(texts)))

    def _targets(self, texts: list[str], pairs: list[str] | None, y: Any, labelled: bool) -> Any:
        """Returns the targets of some texts, if they have or must have labels."""
        return self.encode_targets(y) if labelled or y is not None else None

    def check_examples(self, examples: TextExamples) -> None:
        """Refuses empty texts."""
        check_not_empty(examples.texts, examples.pairs)

    def split(self, examples: TextExamples, share: float) -> tuple[TextExamples, TextExamples]:
        """Splits examples so that both parts have the same shares of each label."""
        train, held_out = stratified_split(examples.targets, share, seed=new_seed())
        return examples.take(train), examples.take(held_out)

    def warn_before_fit(
        self, examples: TextExamples, batches: LengthBucketedBatches, num_batches: int
    ) -> None:
        """Says in the log what is likely to be wrong, such as texts that are cut."""
        super().warn_before_fit(examples, batches, num_batches)
        # The lengths of other batches are those of windows, or of both texts of a pair together.
        if self.truncation != "windows" and not isinstance(batches, PairBatches):
            warn_of_cut_texts(
                batches.lengths,
                examples.columns,
                self.check_tokenizer(),
                sequence_length=self.sequence_length,
                max_positions=self.encoder.config.max_positions,
            )

    def texts_of(self, examples: TextExamples) -> list[str]:
        """Returns the texts."""
        return examples.texts

    def weigh_classes(self, examples: TextExamples, class_weight: Any) -> TextExamples:
        """Multiplies the weights of texts by those of their classes."""
        if not class_weight:
            return examples
        before = 1.0 if examples.sample_weight is None else examples.sample_weight
        weights = before * self.encode_class_weight(class_weight)[class_ids(examples.targets)]
        return replace(examples, sample_weight=weights.astype("float32"))

    def batches_of(
        self,
        examples: TextExamples,
        *,
        batch_size: int,
        seed: int | None = None,
        training: bool = False,
    ) -> LengthBucketedBatches:
        """Tokenizes checked examples; see `batches`."""
        token_ids, segment_ids = self.tokenize(*examples.columns)
        make: Callable[..., Any] = self._step.make_batches if training else LengthBucketedBatches
        if self.truncation == "windows":
            num_windows, segment_ids = segment_ids.numpy(), tf.zeros_like(token_ids)
            if training:
                examples = examples.take(np.repeat(np.arange(len(num_windows)), num_windows))
            else:
                make = functools.partial(WindowBatches, num_windows=num_windows)
        return make(
            token_ids,
            segment_ids,
            batch_size=batch_size,
            pad_id=self.check_tokenizer().vocabulary.pad_id,
            labels=examples.targets,
            sample_weight=examples.sample_weight,
            seed=seed,
        )

    def tokenize(
        self, *columns: list[str], sequence_length: int | None = None
    ) -> tuple[tf.RaggedTensor, Any]:
        """Tokenizes texts or pairs, a bounded number of them at a time.

        Args:
            *columns: One list of texts, or two for pairs.
            sequence_length: Tokens to which they are truncated; by default the model's.

        Returns:
            The token ids, and the segment ids, of each text or pair; with `truncation="windows"`
            the token ids of each window, and the number of windows of each text.
        """
        tokenizer, windows = self.check_tokenizer(), self.truncation == "windows"
        settings: dict[str, Any] = {"sequence_length": sequence_length or self.sequence_length}
        if windows:
            settings["window_stride"] = self.window_stride
        else:
            settings["truncation"] = self.truncation
        # TensorFlow's strings hold no lone surrogates.
        if len(columns[0]) <= _FEW_TEXTS or any(map(_SURROGATE.search, itertools.chain(*columns))):
            texts = zip(*columns, strict=True)
            if windows:
                cut = [tokenizer.encode_windows(*text, **settings) for text in texts]
                ids = [window.token_ids for row in cut for window in row]
                return ragged(ids), tf.constant([len(row) for row in cut], tf.int32)
            rows = [tokenizer.encode(*text, **settings) for text in texts]
            segment_ids = ragged([row.segment_ids for row in rows])
            return ragged([row.token_ids for row in rows]), segment_ids
        graph = tokenizer_graph(tokenizer, "fast")
        tokenize: Callable[..., Any] = graph.windows if windows else graph.ragged
        chunks = [
            tokenize(
                *(tf.constant(column[start : start + _CHUNK], tf.string) for column in columns),
                **settings,
            )
            for start in range(0, len(columns[0]), _CHUNK)
        ]
        first, second = (tf.concat(parts, 0) for parts in zip(*chunks, strict=True))
        return first, second

    def predict_examples(self, x: Any, batch_size: int, **settings: Any) -> Any:
        """Predicts texts, in their order; see `predict`."""
        refuse_given(steps=settings["steps"])
        examples = self.examples(x)
        if not examples.texts:
            # One text tells the shape of the answers.
            columns = [[""] for _ in examples.columns]
            rows = self.predict(tuple(columns) if len(columns) > 1 else columns[0], verbose=0)
            return keras.tree.map_structure(lambda row: row[:0], rows)
        batches = self.batches_of(examples, batch_size=batch_size)
        # Not `ExampleModel.predict`: the batches are ready.
        by_length = super(ExampleModel, self).predict(batches.dataset(), **settings)
        # Row i of the prediction belongs to text order[i]; argsort of a permutation inverts it.
        original = np.argsort(np.concatenate(batches.order(0)))
        return keras.tree.map_structure(lambda rows: rows[original], by_length)

    # === Engines, see `serving.engines` ===
    def answer_by_engine(
        self, engine: Engine, x: Any, batch_size: int, verbose: Any
    ) -> np.ndarray | None:
        """Predicts texts by an engine, see `ExampleModel`."""
        if not self.has_engines:
            return super().answer_by_engine(engine, x, batch_size, verbose)
        if not self.is_examples(x):
            raise ValueError(
                f"engine={engine.name!r} answers for texts held in memory, received "
                f"{type(x).__name__}: give a column of strings, or use engine='keras'."
            )
        columns = self.examples(x).columns
        reader = choose(engine, self, columns) if columns[0] else None
        if reader is None:
            return None
        verbose = 1 if verbose == "auto" else verbose
        bar = keras.utils.Progbar(len(columns[0]), verbose=verbose, unit_name="text")
        return reader.raw(columns, batch_size, bar.add)

    def engine_signature(self) -> Signature:
        """Returns the signature of which an engine is made.

        Raises:
            ValueError: If an engine cannot hold the model.
        """
        if self.truncation == "windows":
            raise ValueError(
                f"{self.name} has truncation='windows', several rows a text, an engine has one: "
                "use engine='keras', or a model with another truncation."
            )
        if self.compute_dtype == self.encoder.compute_dtype == "float32":
            return self._signature({})
        # LiteRT computes in float32.
        config = self.get_config()
        config["dtype"] = config["encoder"]["config"]["dtype"] = "float32"
        model = type(self).from_config(config)
        model.set_weights(self.get_weights())
        return model._signature({})

    def engine_key(self) -> str:
        """Returns a hash of everything that answers depend on: weights and config."""
        config = self.get_config()
        # Names, which count the models of a process, change nothing.
        named = (config, config["encoder"]["config"])
        config["name"] = named[1]["name"] = ""
        self.check_tokenizer()
        digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode())
        for weight in self.weights:
            digest.update(np.ascontiguousarray(weight).tobytes())
        return digest.hexdigest()

    def same_answers(self, wanted: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, float]:
        """Compares an engine's outputs with those of Keras.

        Args:
            wanted: What `call` returns. *Shape:* (n, ...)
            found: The same by the engine.

        Returns:
            Whether each text gets the same answer, *shape:* (n,), and the largest difference.
        """
        raise NotImplementedError

    # === Ready inputs and batches of others ===
    # Keras takes lists of inputs and labels, too.
    def _held_out(self, data: Any) -> Any:
        return super()._held_out(tuple(data) if isinstance(data, list) else data)

    def _validation(self, data: Any, held_out: Any, batch_size: int | None) -> Any:
        data = tuple(data) if isinstance(data, list) else data
        return super()._validation(data, held_out, batch_size)

    def ready_class_weight(self, class_weight: Any) -> Any:
        """Returns the weights of all classes by their ids."""
        if not class_weight:
            return None
        return dict(enumerate(self.encode_class_weight(class_weight).tolist()))

    def ready(
        self, x: Any, y: Any = None, *, training: bool = False, labelled: bool = True
    ) -> tuple[Any, Any]:
        """Returns inputs and targets as Keras takes them, of anything but texts in memory.

        Args:
            x: Ready inputs; or a dataset, a `PyDataset` or a generator, of texts or ready inputs.
            y: The labels of ready inputs.
            training: Whether each window of a text is an example with its label and weight.
            labelled: Whether labels that come with x are used.
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
        # Keras would take the first texts of a bare list as inputs and labels.
        is_bare = not isinstance(batch, tuple)
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight((batch,) if is_bare else batch)
        if not labelled:
            y = sample_weight = None
        if is_text(x):
            return self._whole_batch(self.examples(x, y, sample_weight), training=training)
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
        has_texts = bool(_text_columns(spec[0] if isinstance(spec, tuple) else spec))
        graph = tokenizer_graph(self.check_tokenizer(), "fast") if has_texts else None

        def prepare(*batch: Any) -> Any:
            x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
            if not labelled:
                y = sample_weight = None
            if y is not None:
                y = self.encode_ready_labels(y)
            if graph is not None:
                x = self._tokenize_batch(graph, tuple(map(_one_axis, _text_columns(x))))
                if training and "num_windows" in x:
                    num_windows = x.pop("num_windows")
                    y, sample_weight = (
                        None if column is None else tf.repeat(column, num_windows, axis=0)
                        for column in (y, sample_weight)
                    )
            return _batch(x, y, sample_weight)

        return dataset.map(prepare, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)

    def _tokenize_batch(self, graph: TokenizerGraph, columns: tuple[tf.Tensor, ...]) -> Any:
        """Turns one column of strings, or two, into what `call` takes, within a dataset."""
        return graph(
            *columns,
            sequence_length=self.sequence_length,
            truncation=self.truncation,
            window_stride=self.window_stride,
        )


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


def _text_columns(x: Any) -> tuple[Any, ...]:
    """Returns the one or two columns of texts of a dataset's inputs, or of their specs, if any.

    Raises:
        ValueError: If they are something else, or not batched.
    """
    columns = tuple(keras.tree.flatten(x))
    is_string = [column.dtype == tf.string for column in columns]
    if not any(is_string):
        return ()
    if isinstance(x, dict) and x.keys() == {"text", "pair"}:
        columns = x["text"], x["pair"]
    elif not all(is_string) or len(columns) > (1 if isinstance(x, dict) else 2):
        raise ValueError(
            "A dataset's texts are strings, a tuple of two for pairs, or a dict of one column or "
            f"of 'text' and 'pair'; received {x}: map it to those, such as "
            '.map(lambda x, y: (x["title"], y)).'
        )
    for column in columns:
        rank = column.shape.rank
        if rank == 0 or (rank is not None and rank > 1 and column.shape[1:] != (1,) * (rank - 1)):
            raise ValueError(
                "A dataset of strings must be batched (strings of shape (B,)), received "
                f"{x}: call .batch(32) on it."
            )
    return columns


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
