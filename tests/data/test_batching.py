"""Batches: every example once, in an order that can be repeated, padded no more than needed."""

from typing import Any

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from keras_bert_scratch.data.batching import (
    LENGTH_MULTIPLE,
    LengthBucketedBatches,
    PairBatches,
    PoissonBatches,
    TokenBatches,
)

N = 230


def make_batches(n: int = N, batch_size: int = 4, **kwargs: Any) -> LengthBucketedBatches:
    """Example i holds the id i + 1, as often as its length: 1 to 20 times; its label is 10 i."""
    lengths = np.random.default_rng(5).integers(1, 21, n)
    token_ids = tf.RaggedTensor.from_row_lengths(np.repeat(np.arange(1, n + 1), lengths), lengths)
    segment_ids = tf.RaggedTensor.from_row_lengths(
        np.concatenate([np.arange(length) % 2 for length in lengths]), lengths
    )
    kwargs = {"labels": 10 * np.arange(n), "pad_id": 0, "seed": 3, **kwargs}
    return LengthBucketedBatches(
        tf.cast(token_ids, tf.int32),
        tf.cast(segment_ids, tf.int32),
        batch_size=batch_size,
        **kwargs,
    )


@pytest.mark.parametrize("seed", [None, 0, 3])
@pytest.mark.parametrize("batch_size", [1, 4, 7, 500])
def test_every_example_once_an_epoch(seed: int | None, batch_size: int) -> None:
    batches = make_batches(batch_size=batch_size, seed=seed)
    for epoch in (0, 1):
        order = batches.order(epoch)
        assert sorted(np.concatenate(order)) == list(range(N))
        assert len(order) == len(batches) == -(-N // batch_size)
        assert all(0 < len(indices) <= batch_size for indices in order)


def flat(batches: LengthBucketedBatches, epoch: int) -> list[int]:
    return np.concatenate(batches.order(epoch)).tolist()


def test_order_follows_from_seed_and_epoch() -> None:
    assert flat(make_batches(), 2) == flat(make_batches(), 2)
    batches = make_batches()
    batches.order(0)  # having served another epoch changes nothing
    assert flat(batches, 2) == flat(make_batches(), 2)
    assert flat(batches, 2) != flat(batches, 1)
    assert flat(batches, 2) != flat(make_batches(seed=4), 2)


def test_without_a_seed_it_is_sorted_by_length_and_stable() -> None:
    batches = make_batches(seed=None)
    order = flat(batches, 0)
    assert order == sorted(range(N), key=lambda i: (batches.lengths[i], i))
    assert order == flat(batches, 1)


def test_little_padding() -> None:
    batches = make_batches(n=2000)
    tokens = sum(batches.lengths)
    padded = sum(batches.batch(indices)[0]["token_ids"].size for indices in batches.order(0))
    shuffled = np.random.default_rng(0).permutation(2000).reshape(-1, 4)
    unsorted = sum(batches.batch(indices)[0]["token_ids"].size for indices in shuffled)
    assert padded < 1.1 * tokens
    assert unsorted > 1.5 * tokens


def test_a_batch_by_hand() -> None:
    token_ids = tf.ragged.constant([[2, 7, 3], [2, 3], [2, 8, 3, 9, 3, 4, 4, 4, 4]], dtype=tf.int32)
    segment_ids = tf.ragged.constant(
        [[0, 0, 0], [0, 0], [0, 0, 0, 1, 1, 1, 1, 1, 1]], dtype=tf.int32
    )
    batches = LengthBucketedBatches(
        token_ids, segment_ids, batch_size=2, pad_id=99, labels=np.array([5, 6, 7])
    )
    inputs, labels = batches.batch(np.array([0, 1]))
    assert inputs["token_ids"].tolist() == [[2, 7, 3], [2, 3, 99]]
    assert inputs["segment_ids"].tolist() == [[0] * 3, [0] * 3]
    assert inputs["padding_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert labels.tolist() == [5, 6]
    inputs, labels = batches.batch(np.array([2]))
    assert inputs["token_ids"].tolist() == [[2, 8, 3, 9, 3, 4, 4, 4, 4]]
    assert inputs["segment_ids"].tolist() == [[0, 0, 0] + [1] * 6]
    assert {array.dtype.name for array in inputs.values()} == {"int32"}


def test_labels_and_weights_follow_their_examples() -> None:
    weights = (np.arange(N) / 2).astype("float32")
    batches = make_batches(sample_weight=weights)
    count = 0
    for inputs, labels, sample_weight in batches.dataset():
        example = inputs["token_ids"].numpy()[:, 0] - 1
        assert inputs["token_ids"].shape[1] == batches.lengths[example].max()
        np.testing.assert_array_equal(labels, 10 * example)
        np.testing.assert_array_equal(sample_weight, example / 2)
        np.testing.assert_array_equal(np.sum(inputs["padding_mask"], 1), batches.lengths[example])
        count += len(example)
    assert count == N


def test_weights_without_labels_are_not_taken_for_labels() -> None:
    with pytest.raises(ValueError, match="sample_weight needs labels"):
        make_batches(labels=None, sample_weight=np.ones(N, "float32"))


def test_multi_label_rows() -> None:
    labels = np.eye(N, 3, dtype="float32")
    batches = make_batches(labels=labels)
    _, rows = next(iter(batches.dataset()))
    assert rows.shape == (4, 3)
    assert batches.dataset().element_spec[1] == tf.TensorSpec((None, 3), tf.float32)


def test_dataset_serves_the_epoch_that_is_set() -> None:
    batches = make_batches()
    dataset = batches.dataset()
    for epoch in (0, 1, 0):
        batches.epoch = epoch
        served = [label // 10 for _, labels in dataset for label in labels.numpy()]
        assert served == flat(batches, epoch)
    assert dataset.cardinality().numpy() == len(batches)


class Recorder(keras.Model):
    """A model that writes down the labels that it is trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[list[int]] = []
        self.weight = self.add_weight(shape=())

    def call(self, inputs: Any) -> Any:
        return self.weight * keras.ops.cast(inputs["token_ids"][:, 0], "float32")

    def train_step(self, data: Any) -> dict[str, Any]:
        _, labels = data
        self.seen.append((labels.numpy() // 10).tolist())
        return super().train_step(data)


@pytest.mark.parametrize("initial_epoch", [0, 2])
def test_fit_sees_the_order_of_every_epoch(initial_epoch: int) -> None:
    batches = make_batches(n=40)
    model = Recorder()
    model.compile("sgd", "mse", run_eagerly=True)
    model.fit(
        batches.dataset(),
        epochs=initial_epoch + 3,
        initial_epoch=initial_epoch,
        callbacks=[batches.follow_epochs()],
        verbose=0,
    )
    epochs = [model.seen[start : start + 10] for start in (0, 10, 20)]
    for epoch, seen in enumerate(epochs, initial_epoch):
        assert seen == [indices.tolist() for indices in batches.order(epoch)]
    assert len(model.seen) == 30
    assert epochs[0] != epochs[1]


class TestPairs:
    def make(self, **kwargs: Any) -> PairBatches:
        first = tf.ragged.constant([[1], [2, 2, 2], [3, 3]])
        second = tf.ragged.constant([[4, 4], [5], [6] * 9])
        return PairBatches(first, second, pad_id=0, **kwargs)

    def test_each_text_is_padded_in_its_own_column(self) -> None:
        batches = self.make(batch_size=2, labels=np.array([[0, 1], [2, 3], [4, 5]]))
        # Sorted by both lengths together, 3, 4 and 11.
        (first, second), labels = batches.batch(np.array([0, 2]))
        np.testing.assert_array_equal(first["token_ids"], [[1, 0], [3, 3]])
        np.testing.assert_array_equal(second["token_ids"], [[4, 4] + [0] * 7, [6] * 9])
        np.testing.assert_array_equal(second["padding_mask"], second["token_ids"] > 0)
        np.testing.assert_array_equal(first["segment_ids"], np.zeros((2, 2)))
        np.testing.assert_array_equal(labels, [[0, 1], [4, 5]])
        assert [order.tolist() for order in batches.order(0)] == [[0, 1], [2]]

    def test_as_a_dataset(self) -> None:
        shapes = [
            [(column["token_ids"].shape) for column in pair]
            for (pair,) in self.make(batch_size=2).dataset()
        ]
        assert shapes == [[(2, 3), (2, 2)], [(1, 2), (1, 9)]]


# === Poisson sampling ===
def make_poisson_batches(n: int, batch_size: int, **kwargs: Any) -> PoissonBatches:
    """Example i holds the id i + 1, and its label is i."""
    token_ids = tf.RaggedTensor.from_row_lengths(
        np.arange(1, n + 1, dtype="int32"), np.ones(n, int)
    )
    return PoissonBatches(
        token_ids,
        tf.zeros_like(token_ids),
        labels=np.arange(n),
        batch_size=batch_size,
        microbatch_size=4,
        pad_id=0,
        seed=3,
        **kwargs,
    )


def test_poisson_draws_each_example_alone_with_the_same_probability() -> None:
    n, batch_size, epochs = 20, 6, 1000
    batches = make_poisson_batches(n, batch_size)
    assert len(batches) == 4
    drawn = np.zeros((4 * epochs, n))
    for epoch in range(epochs):
        for step, indices in enumerate(batches.order(epoch)):
            assert len(set(indices)) == len(indices)
            drawn[4 * epoch + step, indices] = 1
    # Sizes are binomial: a sample of fixed size, or rounds of all examples, would fail.
    q = batch_size / n
    sizes = np.bincount(drawn.sum(1).astype(int), minlength=n + 1)
    expected = len(drawn) * scipy.stats.binom.pmf(np.arange(n + 1), n, q)
    common = expected > 5
    merged = [[*column[common], column[~common].sum()] for column in (sizes, expected)]
    assert scipy.stats.chisquare(*merged).pvalue > 0.01
    # Each of the examples comes as often as the others, ...
    deviation = np.sqrt(q * (1 - q) / len(drawn))
    assert np.all(abs(drawn.mean(0) - q) < 4 * deviation)
    # ... independently of the others, and of the batch before.
    bound = 4 / np.sqrt(len(drawn))
    correlation = np.corrcoef(drawn.T)
    assert np.all(abs(correlation[np.triu_indices(n, 1)]) < bound)
    following = [np.corrcoef(drawn[:-1, i], drawn[1:, i])[0, 1] for i in range(n)]
    assert np.all(np.abs(following) < bound)


def test_poisson_order_follows_from_seed_and_epoch() -> None:
    batches, again = make_poisson_batches(50, 8), make_poisson_batches(50, 8)
    for left, right in zip(batches.order(2), again.order(2), strict=True):
        np.testing.assert_array_equal(left, right)
    assert [len(b) for b in batches.order(0)] != [len(b) for b in batches.order(1)]


@pytest.mark.parametrize(
    ("indices", "ids", "weights"),
    [
        ([], [1, 1, 1, 1], [0, 0, 0, 0]),
        ([2], [3, 3, 3, 3], [1, 0, 0, 0]),
        ([0, 1, 2, 5], [1, 2, 3, 6], [1, 1, 1, 1]),
        ([0, 1, 2, 5, 7], [1, 2, 3, 6, 8, 1, 2, 3], [1, 1, 1, 1, 1, 0, 0, 0]),
    ],
)
def test_poisson_batch_is_filled_up_with_weight_0(
    indices: list[int], ids: list[int], weights: list[int]
) -> None:
    inputs, labels, sample_weight = make_poisson_batches(9, 3).batch(np.array(indices, int))
    assert inputs["token_ids"][:, 0].tolist() == ids
    assert labels.tolist() == [i - 1 for i in ids]
    assert sample_weight.tolist() == weights
    given = make_poisson_batches(9, 3, sample_weight=np.arange(9, dtype="float32"))
    expected = [(i - 1) * weight for i, weight in zip(ids, weights, strict=True)]
    assert given.batch(np.array(indices, int))[2].tolist() == expected


def test_poisson_dataset() -> None:
    batches = make_poisson_batches(50, 8)
    drawn = [y[w > 0].tolist() for _, y, w in batches.dataset().as_numpy_iterator()]
    assert drawn == [indices.tolist() for indices in batches.order(0)]


@pytest.mark.parametrize("weights", [None, [[0, 1, 2, 0], [0, 0], [0, 3, 0]]])
def test_labels_and_weights_of_tokens_are_as_wide_as_the_ids(weights: Any) -> None:
    ids = tf.ragged.constant([[2, 7, 8, 3], [2, 3], [2, 7, 3]], tf.int32)
    batches = TokenBatches(
        ids,
        tf.zeros_like(ids),
        labels=[[-1, 5, 6, -1], [-1, -1], [-1, 4, -1]],
        sample_weight=weights,
        ignored=-1,
        batch_size=2,
        pad_id=0,
    )
    short, long = batches.dataset().as_numpy_iterator()
    for inputs, *columns in (short, long):
        for column in columns:
            assert column.shape == inputs["token_ids"].shape
    if LENGTH_MULTIPLE == 1:
        assert short[1].tolist() == [[-1, -1, -1], [-1, 4, -1]]
    assert long[1][0, :4].tolist() == [-1, 5, 6, -1]
    assert len(long) == 2 if weights is None else long[2][0, :4].tolist() == [0, 1, 2, 0]
