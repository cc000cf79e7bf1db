"""Which tokens are hidden, and by what: laws of the result, and statistics on a million tokens."""

import numpy as np
import pytest
import tensorflow as tf

from keras_bert_scratch.data.masking import TokenMasker
from keras_bert_scratch.text.vocabulary import SPECIAL_TOKENS, Vocabulary

PAD, UNK, CLS, SEP, MASK = range(5)
WORDS = [f"w{i}" for i in range(700)]
PIECES = [f"##p{i}" for i in range(300)]
VOCABULARY = Vocabulary([*SPECIAL_TOKENS, *WORDS, *PIECES])
FIRST_PIECE = 5 + len(WORDS)


def rows(count: int, length: int, seed: int = 0) -> np.ndarray:
    """Draws pairs with words of one to four pieces, [UNK]s, and padding."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(5, len(VOCABULARY), (count, length), dtype="int32")
    ids[rng.random(ids.shape) < 0.02] = UNK
    ids[:, 0] = CLS
    ids[:, length // 3] = SEP
    ends = rng.integers(length // 2, length, count)
    ids[np.arange(count), ends] = SEP
    ids[np.arange(length) > ends[:, None]] = PAD
    return ids


def masked(ids: np.ndarray, seed: tuple[int, int] = (0, 0), **options) -> dict[str, np.ndarray]:
    masker = TokenMasker(VOCABULARY, ids.shape[1], **options)
    return {name: tensor.numpy() for name, tensor in masker(ids, seed).items()}


@pytest.mark.parametrize("whole_words", [True, False])
def test_statistics_of_a_million_tokens(whole_words: bool) -> None:
    ids = rows(14_000, 128)
    ordinary = ids >= 5
    n = ordinary.sum()
    assert n > 1e6
    result = masked(ids, whole_words=whole_words)
    count = result["masked_weights"].sum()
    assert abs(count / n - 0.15) < 3 * np.sqrt(0.15 * 0.85 / n)

    row, slot = np.nonzero(result["masked_weights"])
    position = result["masked_positions"][row, slot]
    before, after = ids[row, position], result["token_ids"][row, position]
    # A random token is the old one in one of 1,000 cases.
    shares = {
        "mask": (np.mean(after == MASK), 0.8),
        "random": (np.mean((after != MASK) & (after != before)), 0.1 * 0.999),
        "same": (np.mean(after == before), 0.1 + 0.1 * 0.001),
    }
    for name, (share, expected) in shares.items():
        assert abs(share - expected) < 3 * np.sqrt(expected * (1 - expected) / count), name
    # Every ordinary token is put in about as often as any other.
    random = after[(after != MASK) & (after != before)]
    frequency = np.bincount(random, minlength=len(VOCABULARY))
    assert frequency[:5].sum() == 0
    expected = len(random) / 1000
    assert np.square(frequency[5:] - expected).sum() / expected < 1000 + 5 * np.sqrt(2 * 1000)
    # And every position of a row is as likely as any other (of those before the first [SEP]).
    by_position = np.bincount(position, minlength=128)[1:40] / ordinary.sum(0)[1:40].clip(1)
    assert np.abs(by_position - 0.15).max() < 5 * np.sqrt(0.15 * 0.85 / 14_000)


@pytest.mark.parametrize("whole_words", [True, False])
def test_laws(whole_words: bool) -> None:
    ids = rows(300, 60, seed=1)
    result = masked(ids, rate=0.3, whole_words=whole_words)
    used = result["masked_weights"].astype(bool)
    restored = result["token_ids"].copy()
    for row in range(len(ids)):
        positions = result["masked_positions"][row, used[row]]
        # In order, without repetition, and the used slots come first.
        assert (np.diff(positions) > 0).all()
        assert not used[row, len(positions) :].any()
        np.testing.assert_array_equal(ids[row, positions], result["masked_ids"][row, used[row]])
        restored[row, positions] = result["masked_ids"][row, used[row]]
        # Never special tokens or padding.
        assert (ids[row, positions] >= 5).all()
        # As many as the rate asks for; a word more at most.
        wanted = 0.3 * (ids[row] >= 5).sum()
        assert wanted - 25 < len(positions)
        assert len(positions) <= result["masked_ids"].shape[1]
        if not whole_words:
            assert abs(len(positions) - wanted) < 1
    # Nothing else is touched.
    np.testing.assert_array_equal(restored, ids)
    assert not result["masked_ids"][~used].any()
    assert not result["masked_positions"][~used].any()


def test_whole_words_are_hidden_together() -> None:
    ids = rows(500, 60, seed=2)
    result = masked(ids, rate=0.2)
    chosen = np.zeros_like(ids, bool)
    row, slot = np.nonzero(result["masked_weights"])
    chosen[row, result["masked_positions"][row, slot]] = True
    # A piece and the ordinary token before it are one word.
    together = (ids[:, 1:] >= FIRST_PIECE) & (ids[:, :-1] >= 5)
    assert together.sum() > 1000
    assert (chosen[:, 1:] == chosen[:, :-1])[together].all()
    apart = masked(ids, rate=0.2, whole_words=False)
    assert not np.array_equal(apart["masked_positions"], result["masked_positions"])


@pytest.mark.parametrize(("length", "stated"), [(1, 0.15), (5, 0.13), (10, 0.09)])
def test_long_words_are_hidden_as_often_as_is_said(length: int, stated: float) -> None:
    # Among 100 tokens, as many stand before the word as not, from 0 to all others. It is hidden if
    # it fits into 15 tokens with the rest of them over its length, and into the 18 slots.
    before = np.arange(100 - length + 1)
    expected = np.clip((15 - before) / length, 0, 1) * (before + length <= 18)
    assert expected.mean() == pytest.approx(stated, abs=0.006)
    row = [CLS, 5, *[FIRST_PIECE] * (length - 1), *[5] * (100 - length), SEP]
    result = masked(np.array([row] * 20_000, "int32"))
    is_hidden = (result["masked_positions"] == 1) & (result["masked_weights"] > 0)
    share = is_hidden.any(axis=1).mean()
    assert abs(share - expected.mean()) < 4 * np.sqrt(0.15 * 0.85 / 20_000)


def test_a_pure_function_of_batch_and_seed() -> None:
    ids = rows(20, 40)
    first = masked(ids, (3, 4))
    tf.random.set_seed(77)
    again = masked(ids, (3, 4))
    other = masked(ids, (3, 5))
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
    assert not np.array_equal(first["token_ids"], other["token_ids"])


def test_a_row_without_ordinary_tokens() -> None:
    ids = np.array([[CLS, SEP, PAD, PAD], [CLS, 9, 10, SEP]], "int32")
    result = masked(ids, rate=0.99, whole_words=False)
    np.testing.assert_array_equal(result["token_ids"][0], ids[0])
    assert result["masked_weights"][0].sum() == 0


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match=r"between 0 and 1, received 1.5"):
        TokenMasker(VOCABULARY, 8, rate=1.5)
    with pytest.raises(ValueError, match=r"lacks \[MASK\]"):
        TokenMasker(Vocabulary(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a"]), 8)
