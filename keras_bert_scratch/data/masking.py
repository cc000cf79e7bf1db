"""Masked language modelling: which tokens are hidden, and by what (Devlin et al. 2018, 3.1, A.1).

Axes: B batch, S sequence, P predictions, V vocabulary.
"""

import math

import numpy as np
import tensorflow as tf

from keras_bert_scratch.text.vocabulary import CONTINUATION, Vocabulary

# 80 % of the chosen tokens become [MASK], 10 % a random token, and 10 % stay.
_MASK_SHARE, _RANDOM_SHARE = 0.8, 0.1
# With whole words, this many more tokens may be hidden than the rate's share of a full sequence.
_SLOTS_FOR_WORDS = 2


class TokenMasker:
    """Hides a share of the tokens of a batch; a pure function of the batch and a seed.

    Words are chosen in a random order until `rate` of the ordinary tokens is reached. The word that
    would exceed it is chosen with the probability that makes the expected share exactly `rate`,
    except for words that do not fit into the rest of `max_predictions`. Special tokens and padding
    are neither chosen nor inserted.

    Long words fit less often: among 100 tokens at a rate of 0.15, a word of one token is hidden
    with a probability of 0.15, one of five with 0.13, and one of ten with 0.09; a word of more than
    `max_predictions` tokens never is. google-research/bert also skips long words.

    Args:
        vocabulary: Vocabulary of the batches; must have [MASK].
        sequence_length: Largest S.
        rate: Share of the ordinary tokens to predict.
        whole_words: Whether the tokens of a word are hidden together ("whole word masking",
            google-research/bert, 2019) or independently.

    Raises:
        ValueError: If the rate is not in (0, 1), or the vocabulary has no [MASK].

    Example:
        >>> masker = TokenMasker(vocabulary, sequence_length=8, rate=0.5)
        >>> masker(np.array([[2, 17, 9, 30, 11, 3, 0, 0]]), seed=(0, 1))["masked_ids"].shape
        TensorShape([1, 6])
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        sequence_length: int,
        rate: float = 0.15,
        whole_words: bool = True,
    ) -> None:
        if not 0 < rate < 1:
            raise ValueError(f"The masking rate must be between 0 and 1, received {rate!r}.")
        self.rate = rate
        self.mask_id = vocabulary.mask_id
        special = [vocabulary.token_to_id(token) for token in vocabulary.special_tokens]
        is_ordinary = np.ones(len(vocabulary), bool)
        is_ordinary[special] = False
        self._is_ordinary = is_ordinary
        self._ordinary_ids = np.flatnonzero(is_ordinary).astype("int32")
        self._continues = np.array(
            [whole_words and token.startswith(CONTINUATION) for token in vocabulary.tokens]
        )
        slots = math.ceil(rate * sequence_length) + _SLOTS_FOR_WORDS * whole_words
        self.max_predictions = min(slots, sequence_length)

    def __call__(
        self, token_ids: tf.Tensor, seed: tuple[int, int] | tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Hides tokens.

        Args:
            token_ids: int32. *Shape:* (B, S).
            seed: Two integers, which determine the result.

        Returns:
            `token_ids`, with tokens hidden, *shape:* (B, S); `masked_positions`, the positions to
            predict, in order, and `masked_ids`, their true tokens, int32; `masked_weights`, 1 for
            the first of the P slots, which are used, and 0 for the rest, float32. *Shape:* (B, P)
            each.
        """
        token_ids = tf.cast(token_ids, tf.int32)
        word_seed, cut_seed, kind_seed, id_seed = tf.unstack(tf.random.split(seed, 4))
        chosen = self._choose(token_ids, word_seed, cut_seed)  # (B, S)

        # A stable sort of "not chosen" brings the chosen positions to the front, in order.
        slots = min(self.max_predictions, token_ids.shape[1] or self.max_predictions)
        positions = tf.argsort(tf.cast(~chosen, tf.int32), stable=True)[:, :slots]  # (B, P)
        is_used = tf.gather(chosen, positions, batch_dims=1)
        masked_positions = tf.where(is_used, positions, 0)
        masked_ids = tf.where(is_used, tf.gather(token_ids, positions, batch_dims=1), 0)

        kind = _uniform(tf.shape(token_ids), kind_seed)
        number = tf.random.stateless_uniform(
            tf.shape(token_ids), id_seed, 0, len(self._ordinary_ids), tf.int32, alg="philox"
        )
        hidden = tf.where(
            kind < _MASK_SHARE,
            self.mask_id,
            tf.where(
                kind < _MASK_SHARE + _RANDOM_SHARE,
                tf.gather(self._ordinary_ids, number),
                token_ids,
            ),
        )
        return {
            "token_ids": tf.where(chosen, hidden, token_ids),
            "masked_positions": masked_positions,
            "masked_ids": masked_ids,
            "masked_weights": tf.cast(is_used, tf.float32),
        }

    def _choose(self, token_ids: tf.Tensor, word_seed: tf.Tensor, cut_seed: tf.Tensor) -> tf.Tensor:
        """Returns which tokens are to be predicted. *Shape:* (B, S)."""
        batch, length = tf.unstack(tf.shape(token_ids))
        is_ordinary = tf.gather(self._is_ordinary, token_ids)
        # A continuation after a special token starts a word: its beginning was truncated.
        follows = tf.pad(is_ordinary[:, :-1], [[0, 0], [1, 0]])
        is_start = is_ordinary & ~(tf.gather(self._continues, token_ids) & follows)
        position = tf.range(length)[None, :]
        word = tf.maximum(tf.cumsum(tf.cast(is_start, tf.int32), axis=1) - 1, 0)  # number in row
        in_row = tf.range(batch)[:, None] * length
        word_length = tf.math.unsorted_segment_sum(
            tf.cast(is_ordinary, tf.int32), word + in_row, batch * length
        )
        word_length = tf.gather(word_length, word + in_row)
        word_start = tf.math.unsorted_segment_min(
            tf.where(is_ordinary, position, length), word + in_row, batch * length
        )
        offset = position - tf.gather(word_start, word + in_row)

        # Words in a random order: all tokens of a word draw the same number, and a stable sort
        # keeps them together. The rank of a token minus its offset is the number of tokens of the
        # words before its own.
        shape = tf.shape(token_ids)
        draw = tf.gather(_uniform(shape, word_seed), word, batch_dims=1)
        order = tf.argsort(tf.where(is_ordinary, draw, 2.0), axis=1, stable=True)
        rank = tf.argsort(order, axis=1, stable=True)
        before = rank - offset

        wanted = self.rate * tf.reduce_sum(tf.cast(is_ordinary, tf.float32), axis=1, keepdims=True)
        cut = tf.gather(_uniform(shape, cut_seed), word, batch_dims=1)
        is_wanted = tf.cast(before, tf.float32) + cut * tf.cast(word_length, tf.float32) < wanted
        return is_ordinary & is_wanted & (before + word_length <= self.max_predictions)


def _uniform(shape: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    # The algorithm is explicit, since the default depends on the device.
    return tf.random.stateless_uniform(shape, seed, alg="philox")
