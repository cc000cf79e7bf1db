"""Tokenized examples -> batches of similar lengths, in a reproducible order.

Axes: B batch, S sequence, W windows of all texts of a batch.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

# Examples are sorted by length within runs of this many batches: long enough for little padding,
# short enough for the batches of two epochs to differ.
_BATCHES_SORTED_TOGETHER = 50
# TensorFlow's graph accepts any length, and padding to a multiple of 8 costs 7 % of the time on
# short texts; other backends compile for every new length, so there should be few lengths.
LENGTH_MULTIPLE = 1 if keras.backend.backend() == "tensorflow" else 8


class LengthBucketedBatches:
    """Examples held in memory as token ids, served as padded batches of similar lengths.

    The order is a pure function of (seed, epoch); every example occurs once an epoch. Set `epoch`
    before iterating, or use the callback `follow_epochs`.

    Args:
        token_ids: One int32 vector an example, with [CLS] and [SEP].
        segment_ids: The segment ids of these tokens.
        batch_size: B; the last batch may be smaller.
        pad_id: Token id of the padding.
        labels: One label an example, or None. *Shape:* (n,) or (n, C).
        sample_weight: One weight an example, or None. *Shape:* (n,).
        seed: Seed of the batch order; None sorts all examples by length, shortest first.

    Raises:
        ValueError: If there are weights but no labels.

    Example:
        >>> batches = LengthBucketedBatches(
        ...     tf.ragged.constant([[2, 7, 3], [2, 3]]), tf.ragged.constant([[0, 0, 0], [0, 0]]),
        ...     batch_size=2, pad_id=0,
        ... )
        >>> next(iter(batches.dataset()))[0]["token_ids"].shape
        TensorShape([2, 3])
    """

    # Whether labels and weights are padded like the inputs.
    columns_are_of_tokens = False

    def __init__(
        self,
        token_ids: tf.RaggedTensor,
        segment_ids: tf.RaggedTensor,
        *,
        batch_size: int,
        pad_id: int,
        labels: np.ndarray | None = None,
        sample_weight: np.ndarray | None = None,
        seed: int | None = None,
    ) -> None:
        if sample_weight is not None and labels is None:
            raise ValueError(
                "sample_weight needs labels: Keras would take the weights for labels. Pass labels, "
                "or omit the weights."
            )
        self.token_ids = token_ids.flat_values.numpy()
        self.segment_ids = segment_ids.flat_values.numpy()
        self.starts = token_ids.row_splits.numpy()[:-1]
        self.lengths = token_ids.row_lengths().numpy()
        self.sort_keys = self.lengths
        self.batch_size = batch_size
        self.pad_id = pad_id
        self.labels = labels
        self.sample_weight = sample_weight
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        """Number of batches an epoch."""
        return -(-len(self.lengths) // self.batch_size)

    def fingerprint(self) -> str:
        """Returns a hash of all examples, in their order."""
        digest = hashlib.sha256()
        columns = (self.token_ids, self.segment_ids, self.starts, self.labels, self.sample_weight)
        for column in columns:
            if column is not None:
                digest.update(np.ascontiguousarray(column).tobytes())
        return digest.hexdigest()

    def order(self, epoch: int) -> list[np.ndarray]:
        """Returns the indices of the examples of every batch of an epoch."""
        size = self.batch_size
        if self.seed is None:
            indices = np.argsort(self.sort_keys, kind="stable")
            return [indices[start : start + size] for start in range(0, len(indices), size)]
        generator = np.random.default_rng((self.seed, epoch))
        shuffled = generator.permutation(len(self.lengths))
        batches = []
        run_size = size * _BATCHES_SORTED_TOGETHER
        for run_start in range(0, len(shuffled), run_size):
            run = shuffled[run_start : run_start + run_size]
            run = run[np.argsort(self.sort_keys[run], kind="stable")]
            batches += [run[start : start + size] for start in range(0, len(run), size)]
        return [batches[i] for i in generator.permutation(len(batches))]

    def batch(self, indices: np.ndarray) -> tuple[Any, ...]:
        """Pads some examples to the longest of them.

        Args:
            indices: Indices of the examples. *Shape:* (B,).

        Returns:
            `(inputs,)`, `(inputs, labels)` or `(inputs, labels, sample_weight)`, where `inputs` is
            a dict of `token_ids`, `segment_ids` and `padding_mask`, int32. *Shape:* (B, S) each.
        """
        columns = [self.labels, self.sample_weight]
        return (self.inputs(indices), *(c[indices] for c in columns if c is not None))

    def inputs(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the inputs of `batch`."""
        return self._padded(self.starts[indices], self.lengths[indices])

    def _padded(self, starts: np.ndarray, lengths: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the inputs of texts, given the starts and numbers of their tokens."""
        width = _rounded_up(int(lengths.max()))
        is_token = np.arange(width) < lengths[:, None]
        places = np.where(is_token, starts[:, None] + np.arange(width), 0)
        return {
            "token_ids": np.where(is_token, self.token_ids[places], self.pad_id).astype("int32"),
            "segment_ids": np.where(is_token, self.segment_ids[places], 0).astype("int32"),
            "padding_mask": is_token.astype("int32"),
        }

    def signature(self) -> tuple[Any, ...]:
        """Returns the types of what `batch` returns."""
        inputs, *columns = self.batch(np.array([0]))
        of_inputs = tf.nest.map_structure(
            lambda array: tf.TensorSpec([None] * array.ndim, array.dtype), inputs
        )
        first_fixed = 2 if self.columns_are_of_tokens else 1
        shapes = [[None] * first_fixed + list(column.shape[first_fixed:]) for column in columns]
        return (of_inputs, *map(tf.TensorSpec, shapes, [column.dtype for column in columns]))

    def dataset(self) -> tf.data.Dataset:
        """Returns the batches as a `tf.data` dataset; each iteration serves `self.epoch`."""

        def generate() -> Iterator[tuple[Any, ...]]:
            for indices in self.order(self.epoch):
                yield self.batch(indices)

        dataset = tf.data.Dataset.from_generator(generate, output_signature=self.signature())
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(self)))
        return dataset.prefetch(tf.data.AUTOTUNE)

    def follow_epochs(self) -> keras.callbacks.Callback:
        """Returns a callback that sets `epoch` at the start of every epoch of `fit`."""
        return keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: setattr(self, "epoch", epoch)
        )


class WindowBatches(LengthBucketedBatches):
    """Long texts as windows, with all windows of a text in one batch, for one answer a text.

    A batch holds at most `batch_size` windows, or the windows of a single text. Texts are sorted by
    their number of windows.

    Args:
        token_ids: One int32 vector a window; the windows of a text follow each other.
        segment_ids: The segment ids of these tokens.
        num_windows: Number of windows of each text, int32. *Shape:* (n,).
        **kwargs: `batch_size`, `pad_id`, `labels` and `sample_weight` of `LengthBucketedBatches`,
            the latter two for texts.

    Example:
        >>> ids = tf.ragged.constant([[2, 7, 3], [2, 8, 3], [2, 3]])
        >>> batches = WindowBatches(
        ...     ids, tf.zeros_like(ids), num_windows=np.array([2, 1]), batch_size=3, pad_id=0
        ... )
        >>> next(iter(batches.dataset()))[0]["num_windows"].numpy().tolist()
        [1, 2]
    """

    def __init__(
        self,
        token_ids: tf.RaggedTensor,
        segment_ids: tf.RaggedTensor,
        *,
        num_windows: np.ndarray,
        **kwargs: Any,
    ) -> None:
        super().__init__(token_ids, segment_ids, **kwargs)
        self.num_windows = np.asarray(num_windows, "int32")
        self.first_windows = np.cumsum(num_windows) - num_windows

    def __len__(self) -> int:
        """Number of batches an epoch."""
        return len(self.order(0))

    def order(self, epoch: int) -> list[np.ndarray]:
        """Returns the indices of the texts of every batch, in every epoch the same."""
        # A text has several windows only if the first is full, so this also sorts by length.
        indices = np.lexsort((self.lengths[self.first_windows], self.num_windows))
        batches: list[list[int]] = []
        room = 0
        for index in indices.tolist():
            if self.num_windows[index] > room:
                batches.append([])
                room = self.batch_size
            batches[-1].append(index)
            room -= self.num_windows[index]
        return [np.array(batch) for batch in batches]

    def inputs(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the inputs of `batch`: (W, S) each, and `num_windows`, int32, (B,)."""
        num_windows = self.num_windows[indices]
        windows = [
            np.arange(first, first + number)
            for first, number in zip(self.first_windows[indices], num_windows, strict=True)
        ]
        return {**super().inputs(np.concatenate(windows)), "num_windows": num_windows}


class ColumnBatches(LengthBucketedBatches):
    """Batches of texts with the other columns of their rows.

    Args:
        *args: `token_ids` and `segment_ids` of `LengthBucketedBatches`.
        columns: What the network gets of each row beside the text, by name. *Shape:* (n, ...).
        **kwargs: The other arguments of `LengthBucketedBatches`.

    Example:
        >>> ids = tf.ragged.constant([[2, 7, 3], [2, 3]])
        >>> batches = ColumnBatches(
        ...     ids, tf.zeros_like(ids), columns={"price": np.ones((2, 1), "float32")},
        ...     batch_size=2, pad_id=0,
        ... )
        >>> next(iter(batches.dataset()))[0]["price"].shape
        TensorShape([2, 1])
    """

    def __init__(self, *args: Any, columns: Mapping[str, np.ndarray], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.columns = columns

    def inputs(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the inputs of `batch`."""
        rows = {name: values[indices] for name, values in self.columns.items()}
        return {**super().inputs(indices), **rows}

    def signature(self) -> tuple[Any, ...]:
        """Returns the types of what `batch` returns; the sizes of a row's values are fixed."""
        inputs, *labels = super().signature()
        fixed = {
            name: tf.TensorSpec((None, *values.shape[1:]), values.dtype)
            for name, values in self.columns.items()
        }
        return ({**inputs, **fixed}, *labels)

    def fingerprint(self) -> str:
        """Returns a hash of all examples, in their order."""
        digest = hashlib.sha256(super().fingerprint().encode())
        for values in self.columns.values():
            digest.update(np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()


class PoissonBatches(LengthBucketedBatches):
    """Batches that hold every example with the same probability, independently of all others.

    The probability is batch_size / n for n examples (Abadi et al. 2016, "Deep Learning with
    Differential Privacy", section 3.1, where batches are called lots). A batch may have any size:
    rows of weight 0 fill it up to a multiple of `microbatch_size`, at least to one.

    Args:
        *args: `token_ids` and `segment_ids` of `LengthBucketedBatches`.
        microbatch_size: The number of rows of a batch is a multiple of this.
        seed: Seed of the draws.
        **kwargs: `batch_size`, here the expected size of a batch, `pad_id`, `labels` and
            `sample_weight` of `LengthBucketedBatches`.

    Example:
        >>> ids = tf.ragged.constant([[2, 7, 3]] * 8)
        >>> batches = PoissonBatches(
        ...     ids, tf.zeros_like(ids), labels=np.arange(8), batch_size=2, microbatch_size=4,
        ...     pad_id=0, seed=0,
        ... )
        >>> [batch.tolist() for batch in batches.order(0)]
        [[1, 6], [7], [], []]
    """

    def __init__(self, *args: Any, microbatch_size: int, seed: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.microbatch_size = microbatch_size
        self.seed: int = seed

    def order(self, epoch: int) -> list[np.ndarray]:
        """Returns the indices of the examples of every batch of an epoch."""
        generator = np.random.default_rng((self.seed, epoch))
        n = len(self.lengths)
        # The number of successes of n independent draws is binomial; which succeed is uniform.
        sizes = generator.binomial(n, self.batch_size / n, size=len(self))
        return [np.sort(generator.choice(n, size, replace=False)) for size in sizes]

    def batch(self, indices: np.ndarray) -> tuple[Any, ...]:
        """Pads some examples, and fills the batch up; returns `(inputs, labels, sample_weight)`."""
        microbatches = max(1, -(-len(indices) // self.microbatch_size))
        # resize repeats the indices; an empty batch has copies of the first example.
        rows = np.resize(indices if len(indices) else 0, microbatches * self.microbatch_size)
        inputs, labels, *weights = super().batch(rows)
        is_drawn = (np.arange(len(rows)) < len(indices)).astype("float32")
        return inputs, labels, is_drawn * weights[0] if weights else is_drawn


class PairBatches(LengthBucketedBatches):
    """Pairs of texts as two separate sequences, for encoders of sentences.

    Args:
        token_ids: Token ids of the first texts, one int32 vector each.
        pair_token_ids: Token ids of the second texts.
        **kwargs: `batch_size`, `pad_id`, `labels`, `sample_weight` and `seed` of
            `LengthBucketedBatches`.

    Example:
        >>> batches = PairBatches(
        ...     tf.ragged.constant([[2, 7, 3], [2, 3]]), tf.ragged.constant([[2, 3], [2, 8, 3]]),
        ...     batch_size=2, pad_id=0,
        ... )
        >>> first, second = next(iter(batches.dataset()))[0]
        >>> second["token_ids"].shape
        TensorShape([2, 3])
    """

    def __init__(
        self, token_ids: tf.RaggedTensor, pair_token_ids: tf.RaggedTensor, **kwargs: Any
    ) -> None:
        # Both texts of a pair are joined, since batches are sorted by their total length.
        both = tf.concat([token_ids, pair_token_ids], axis=1)
        super().__init__(both, tf.zeros_like(both), **kwargs)
        self.first_lengths = token_ids.row_lengths().numpy()

    def inputs(self, indices: np.ndarray) -> Any:
        """Returns the inputs of `batch` for the first texts and for the second texts."""
        starts, first_lengths = self.starts[indices], self.first_lengths[indices]
        second_lengths = self.lengths[indices] - first_lengths
        return (
            self._padded(starts, first_lengths),
            self._padded(starts + first_lengths, second_lengths),
        )


class TokenBatches(LengthBucketedBatches):
    """Examples with a label, and perhaps a weight, for each of their tokens.

    Args:
        *args: `token_ids` and `segment_ids` of `LengthBucketedBatches`.
        labels: One label for each token. *Shape:* n rows (S,).
        sample_weight: One weight for each token, or None. *Shape:* n rows (S,).
        ignored: The label of padding, which has weight 0.
        **kwargs: `batch_size`, `pad_id` and `seed` of `LengthBucketedBatches`.

    Example:
        >>> ids = tf.ragged.constant([[2, 7, 3], [2, 3]])
        >>> batches = TokenBatches(
        ...     ids, tf.zeros_like(ids), labels=[[-1, 4, -1], [-1, -1]], ignored=-1, batch_size=2,
        ...     pad_id=0,
        ... )
        >>> next(iter(batches.dataset()))[1].numpy().tolist()
        [[-1, -1, -1], [-1, 4, -1]]
    """

    columns_are_of_tokens = True

    def __init__(
        self,
        *args: Any,
        labels: Sequence[Any],
        ignored: int,
        sample_weight: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.labels = self._filled(labels, ignored, "int32")
        if sample_weight is not None:
            self.sample_weight = self._filled(sample_weight, 0.0, "float32")

    def _filled(self, rows: Sequence[Any], filling: float, dtype: str) -> np.ndarray:
        array = np.full((len(rows), _rounded_up(int(self.lengths.max()))), filling, dtype)
        for place, row in zip(array, rows, strict=True):
            place[: len(row)] = row
        return array

    def batch(self, indices: np.ndarray) -> tuple[Any, ...]:
        """Pads some examples, their labels and their weights. *Shape:* (B, S) each."""
        inputs, *columns = super().batch(indices)
        width = inputs["token_ids"].shape[1]
        return (inputs, *(column[:, :width] for column in columns))


def _rounded_up(length: int) -> int:
    return -(-length // LENGTH_MULTIPLE) * LENGTH_MULTIPLE


def ragged(rows: Sequence[Sequence[int]]) -> tf.RaggedTensor:
    """Makes an int32 tensor of n rows of several lengths.

    Args:
        rows: Values of each row, one row or more.

    Returns:
        *Shape:* (n, None)

    Example:
        >>> ragged([[2, 7, 3], [2, 3]])
        <tf.RaggedTensor [[2, 7, 3], [2, 3]]>
    """
    return tf.RaggedTensor.from_row_lengths(
        np.concatenate([np.asarray(row, "int32") for row in rows]), [len(row) for row in rows]
    )
