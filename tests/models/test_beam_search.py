"""Beam search against exhaustive and plain-Python searches over a random Markov chain."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_bert_scratch.models.beam_search import (
    GREEDY,
    BeamSearch,
    completes_words,
    forbid,
    repeats_ngram,
)

START, END, PAD, V, T = 1, 0, 9, 4, 5


class Chain:
    """A toy model: the probabilities depend on the batch's row, the position and the last token.

    The cache holds each hypothesis' own history, so that a search that mixes up the rows of its
    cache gives other tokens than those it was scored by.
    """

    def __init__(self, seed: int, batch: int = 3) -> None:
        self.batch = batch
        self.logits = np.random.default_rng(seed).normal(0, 2, (batch, T, V, V)).astype("float32")

    def next(self, tokens, cache, index):
        rows, history = cache["row"], cache["history"]
        last = tokens[:, index - 1]
        history = 10 * history + ops.cast(last, "float32")
        logits = tf.gather_nd(
            self.logits, tf.stack([rows, tf.fill(tf.shape(rows), index), last], axis=1)
        )
        # The history tells whether the cache is the one of these tokens.
        digits = tf.reduce_sum(
            tf.where(
                tf.range(T) < index,
                tf.cast(tokens, tf.float32) * 10.0 ** tf.cast(index - 1 - tf.range(T), tf.float32),
                0.0,
            ),
            axis=1,
        )
        tf.debugging.assert_equal(digits, history)
        return tf.nn.log_softmax(logits), None, {"row": rows, "history": history}

    def search(self, search):
        prompt = np.full((self.batch, T), PAD, "int32")
        prompt[:, 0] = START
        cache = {"row": tf.range(self.batch), "history": tf.zeros(self.batch)}
        found = search(self.next, prompt, cache, 1, mask=None, stop_token_ids=[END])
        return np.array(found)

    def log_probabilities(self, row, index, last):
        logits = self.logits[row, index, last].astype("float64")
        return logits - np.log(np.exp(logits).sum())


def exhaustive(chain: Chain, row: int, length_penalty: float) -> list[int]:
    """Scores every sequence that ends with END or is full."""
    best, best_score = [], -np.inf
    for length in range(1, T):
        for tail in itertools.product(range(V), repeat=length):
            if END in tail[:-1] or (length < T - 1 and tail[-1] != END):
                continue
            last, score = START, 0.0
            for index, token in enumerate(tail, start=1):
                score += chain.log_probabilities(row, index, last)[token]
                last = token
            if score / length**length_penalty > best_score:
                best, best_score = [START, *tail], score / length**length_penalty
    return best + [PAD] * (T - len(best))


def by_hand(chain: Chain, row: int, num_beams: int, length_penalty: float) -> list[int]:
    """Beam search over lists, without a stopping rule but the length."""
    beams, ended = [([START], 0.0)], []
    for index in range(1, T):
        grown = [
            ([*tokens, token], score + chain.log_probabilities(row, index, tokens[-1])[token])
            for tokens, score in beams
            for token in range(V)
        ]
        grown.sort(key=lambda beam: -beam[1])
        for tokens, score in grown[:num_beams]:
            if tokens[-1] == END or index == T - 1:
                ended.append((tokens, score / index**length_penalty))
        beams = [beam for beam in grown if beam[0][-1] != END][:num_beams]
    best = max(ended, key=lambda beam: beam[1])[0]
    return best + [PAD] * (T - len(best))


@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 1.0, 2.0])
def test_a_wide_beam_search_is_exhaustive(length_penalty: float) -> None:
    chain = Chain(0, batch=9)
    found = chain.search(BeamSearch(num_beams=V ** (T - 2), length_penalty=length_penalty))
    expected = [exhaustive(chain, row, length_penalty) for row in range(chain.batch)]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("num_beams", [1, 2, 3])
@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_narrow_beams_keep_the_best_and_stop_no_earlier_than_they_may(
    num_beams: int, length_penalty: float
) -> None:
    chain = Chain(100, batch=12)
    found = chain.search(BeamSearch(num_beams, length_penalty))
    expected = [by_hand(chain, row, num_beams, length_penalty) for row in range(chain.batch)]
    np.testing.assert_array_equal(found, expected)


def test_narrow_and_wide_beams_differ_on_some_chain() -> None:
    chain = Chain(0, batch=18)
    assert (chain.search(GREEDY) != chain.search(BeamSearch(16, 0.0))).any()


def test_a_length_penalty_prefers_longer_results() -> None:
    # END has a probability of 0.6 everywhere, the most probable other token 0.4.
    def next_logits(tokens, cache, index):
        return ops.log(ops.repeat([[0.6, 1e-9, 0.4, 1e-9]], ops.shape(tokens)[0], axis=0)), None, ()

    prompt = np.array([[START] + [PAD] * (T - 1)], "int32")
    found = {
        power: np.array(BeamSearch(4, power)(next_logits, prompt, (), 1, None, [END]))[0].tolist()
        for power in (0.0, 4.0)
    }
    # log 0.6 = -0.51 for END at once; 4 tokens of log 0.4 = -0.92 make -3.67, but / 4^4 = -0.014.
    assert found == {0.0: [START, END, PAD, PAD, PAD], 4.0: [START, 2, 2, 2, END]}


def test_greedy_is_keras_nlps_greedy() -> None:
    from keras_hub.samplers import GreedySampler

    chain = Chain(0, batch=12)
    theirs = chain.search(GreedySampler())
    is_after = np.cumsum(theirs == END, axis=1) - (theirs == END) > 0
    np.testing.assert_array_equal(chain.search(GREEDY), np.where(is_after, PAD, theirs))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_beams": 0}, "num_beams must be at least 1, received 0"),
        ({"length_penalty": -1.0}, "length_penalty must be at least 0, received -1.0"),
    ],
)
def test_refused_settings(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BeamSearch(**arguments)


class TestNgrams:
    @pytest.mark.parametrize(
        ("tokens", "index", "n", "forbidden"),
        [
            ([5, 6, 7, 5, 6, 9], 5, 3, {7}),  # 5 6 7 ... 5 6 _
            ([5, 6, 7, 5, 6, 9], 5, 2, {7}),  # 6 7 ... 6 _
            ([5, 6, 7, 5, 6, 9], 4, 2, {6}),  # 5 6 ... 5 _
            ([5, 6, 5, 7, 5, 9], 5, 2, {6, 7}),
            ([5, 6, 7, 5, 6, 9], 5, 1, {5, 6, 7}),  # no token twice; what follows index is unknown
            ([5, 5, 5, 0, 0, 0], 3, 2, {5}),
            ([5, 5, 0, 0, 0, 0], 2, 3, set()),  # 5 5 _ is the first of its kind
            ([5, 0, 0, 0, 0, 0], 1, 2, set()),
            ([5, 0, 0, 0, 0, 0], 1, 6, set()),
            ([5, 0, 0, 0, 0, 0], 1, 7, set()),  # longer than any sequence
        ],
    )
    def test_by_hand(self, tokens: list[int], index: int, n: int, forbidden: set[int]) -> None:
        rows = np.array([tokens, [1, 2, 3, 4, 8, 9]], "int32")  # the other row repeats nothing
        found = np.array(repeats_ngram(rows, index, n, vocab_size=10))
        assert found.shape == (2, 10)
        assert set(np.flatnonzero(found[0])) == forbidden
        assert set(np.flatnonzero(found[1])) == (set(rows[1, :index]) if n == 1 else set())


class TestWords:
    @pytest.mark.parametrize(
        ("tokens", "index", "forbidden"),
        [
            ([1, 0, 0, 0], 1, {4}),  # at once; the start is a part of no word
            ([1, 5, 0, 0], 2, {4, 6}),
            ([1, 5, 6, 0], 3, {4, 7}),
            ([1, 6, 7, 0], 3, {4}),
            ([1, 1, 0, 0], 2, {4, 8}),
            ([1, 6, 5, 0], 2, {4}),  # what follows index is unknown
        ],
    )
    def test_by_hand(self, tokens: list[int], index: int, forbidden: set[int]) -> None:
        words = [[4], [5, 6], [5, 6, 7], [1, 8]]
        rows = np.array([tokens, [1, 2, 3, 2]], "int32")
        found = np.array(completes_words(rows, index, words, vocab_size=9))
        assert found.shape == (2, 9)
        assert set(np.flatnonzero(found[0])) == forbidden
        assert set(np.flatnonzero(found[1])) == {4}


def test_a_beam_does_not_gain_by_what_is_forbidden() -> None:
    """The path with a forbidden token keeps the probability of its permitted one."""

    def next(tokens, cache, index):
        # First 2 (0.6) or 3 (0.4). After 2: 2 again (0.9, forbidden) or END (0.1). After 3: END.
        last = tokens[:, index - 1 : index]
        after_2, after_3 = [0.1, 1e-9, 0.9, 1e-9], [0.99, 1e-9, 1e-9, 0.01]
        start = [1e-9, 1e-9, 0.6, 0.4]
        probabilities = tf.where(last == 2, after_2, tf.where(last == 3, after_3, start))
        is_repeated = repeats_ngram(tokens, index, 1, V)
        return forbid(ops.log(probabilities), is_repeated), None, ()

    prompt = np.array([[START] + [END] * (T - 1)], "int32")
    found = np.array(BeamSearch(2, 0.0)(next, prompt, (), 1, None, [END]))[0].tolist()
    # 0.6 x 0.1 = 0.06 against 0.4 x 0.99 = 0.396. Normalized again, the first would have 0.6.
    assert found == [START, 3, END, END, END]
