"""Beam search: the best continuation among those that several beams find; forbidden tokens.

Axes: B batch, K beams, T target sequence, V vocabulary.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

# The score of a hypothesis that does not exist, below that of any that does.
_NONE = -1e9


@dataclasses.dataclass(frozen=True)
class BeamSearch:
    """Searches the continuation with the highest log-probability divided by length^penalty.

    It is called as the samplers of keras-nlp are, and does what their `BeamSampler` lacks: an ended
    hypothesis leaves the beams, which go on to look for better ones, and hypotheses of different
    lengths are compared by their penalized scores (Wu et al. 2016, section 7, with the penalty
    length^a, as `transformers` has it, whose `generate(early_stopping="never")` gives the same).

    Args:
        num_beams: K.
        length_penalty: The power of the length, at least 0: 0 prefers short results, 1 compares
            mean log-probabilities. A single beam with 0 is greedy search, see `GREEDY`.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> model.summarize(texts, BeamSearch(num_beams=4, length_penalty=1.0))
    """

    num_beams: int = 4
    length_penalty: float = 1.0

    def __post_init__(self) -> None:
        if self.num_beams < 1:
            raise ValueError(f"num_beams must be at least 1, received {self.num_beams}.")
        if self.length_penalty < 0:
            raise ValueError(
                f"length_penalty must be at least 0, received {self.length_penalty}: shorter "
                "results are preferred by 0, longer ones by more."
            )

    def __call__(
        self,
        next: Callable[[Any, Any, Any], tuple[Any, Any, Any]],
        prompt: Any,
        cache: Any,
        index: int,
        mask: Any,
        stop_token_ids: Sequence[int],
    ) -> Any:
        """Continues each row of a batch.

        Args:
            next: Maps tokens, int32 (B x K, T), a cache, and the index of the position that follows
                the known ones to the log-probabilities of its tokens, float32 (B x K, V), with -inf
                for forbidden ones (see `forbid`), anything, and the new cache.
            prompt: The first `index` positions are known. *Shape:* (B, T), int32.
            cache: Tensors, in any structure, of which each has a row for each of `prompt`.
            index: The first position to fill.
            mask: Not used; samplers of keras-nlp are told by it what is known.
            stop_token_ids: Tokens that end a hypothesis; a full row ends it, too.

        Returns:
            The best hypothesis of each row, filled up with what `prompt` has. *Shape:* (B, T).
        """
        num_beams, first = self.num_beams, index
        batch, length = ops.shape(prompt)[0], prompt.shape[1]
        columns = ops.expand_dims(ops.arange(length, dtype="int32"), 0)  # (1, T)
        ranks = ops.expand_dims(ops.arange(2 * num_beams, dtype="int32"), 0)  # (1, 2K)

        stops = ops.reshape(ops.array(stop_token_ids, "int32"), (1, 1, -1))

        def beams_of(x: Any) -> Any:
            return ops.repeat(x, num_beams, axis=0)

        def penalty(number_of_tokens: Any) -> Any:
            return ops.power(ops.cast(number_of_tokens, "float32"), self.length_penalty)

        def can_improve(index: Any, tokens: Any, scores: Any, ended: Any, best: Any, _: Any) -> Any:
            # Log-probabilities only fall, and no length forgives more than the longest.
            reachable = scores[:, :1] / penalty(length - first)
            return ops.logical_and(index < length, ops.any(reachable > best[:, -1:]))

        def step(index: Any, tokens: Any, scores: Any, ended: Any, best: Any, cache: Any) -> Any:
            log_probabilities, _, cache = next(ops.reshape(tokens, (-1, length)), cache, index)
            vocab_size = log_probabilities.shape[-1]
            log_probabilities = ops.reshape(log_probabilities, (-1, num_beams, vocab_size))
            # Each beam can end in one way: of 2K candidates, at least K go on.
            candidates, flat = ops.top_k(
                ops.reshape(
                    ops.expand_dims(scores, 2) + log_probabilities, (-1, num_beams * vocab_size)
                ),
                2 * num_beams,
            )  # (B, 2K)
            parents, token = flat // vocab_size, flat % vocab_size
            is_here = ops.expand_dims(columns == index, 0)
            rows = ops.where(is_here, ops.expand_dims(token, 2), _rows(tokens, parents))

            is_stop = ops.any(ops.expand_dims(token, 2) == stops, axis=2)
            is_end = ops.logical_or(is_stop, index == length - 1)

            # What is worse than K others does not end: it could not stay among the beams.
            is_new = ops.logical_and(is_end, ranks < num_beams)
            new = ops.where(is_new, candidates / penalty(index + 1 - first), _NONE)
            best, kept = ops.top_k(ops.concatenate([best, new], axis=1), num_beams)
            ended = _rows(ops.concatenate([ended, rows], axis=1), kept)

            scores, kept = ops.top_k(ops.where(is_end, _NONE, candidates), num_beams)
            tokens, parents = _rows(rows, kept), ops.take_along_axis(parents, kept, axis=1)
            starts = num_beams * ops.expand_dims(ops.arange(ops.shape(parents)[0]), 1)
            parents = ops.reshape(parents + ops.cast(starts, parents.dtype), (-1,))
            cache = keras.tree.map_structure(lambda x: ops.take(x, parents, axis=0), cache)
            return index + 1, tokens, scores, ended, best, cache

        # All beams start with the same tokens: only the first may go on.
        scores = ops.concatenate(
            [
                ops.zeros((batch, 1), "float32"),
                ops.full((batch, num_beams - 1), _NONE, "float32"),
            ],
            axis=1,
        )
        tokens = ops.reshape(beams_of(prompt), (-1, num_beams, length))
        best = ops.full((batch, num_beams), _NONE, "float32")
        state = (
            ops.convert_to_tensor(first, "int32"),
            tokens,
            scores,
            tokens,
            best,
            keras.tree.map_structure(beams_of, cache),
        )
        _, _, _, ended, _, _ = ops.while_loop(can_improve, step, state)
        return ended[:, 0]


GREEDY = BeamSearch(num_beams=1, length_penalty=0.0)


def _rows(x: Any, indices: Any) -> Any:
    """Selects rows, (B, R) of them, of each element of a batch: (B, ..., T) -> (B, R, T)."""
    return ops.take_along_axis(x, ops.expand_dims(indices, 2), axis=1)


def forbid(log_probabilities: Any, is_forbidden: Any) -> Any:
    """Sets the log-probabilities of forbidden tokens to -inf, and leaves the others as they are.

    Logits are normalized first: if the others shared the probability of what is forbidden, a beam
    with a forbidden token would score better than the model says.

    Args:
        log_probabilities: *Shape:* (B, V).
        is_forbidden: Booleans. *Shape:* (B, V) or (1, V).

    Example:
        >>> forbid(np.log([[0.75, 0.25]]), np.array([[True, False]]))  # [[-inf, log 0.25]]
    """
    return ops.where(is_forbidden, float("-inf"), log_probabilities)


def repeats_ngram(tokens: Any, index: Any, n: int, vocab_size: int) -> Any:
    """Tells which tokens would repeat an n-gram (Paulus et al. 2017, section 2.5).

    Args:
        tokens: Of which the first `index` are known, int32. *Shape:* (B, T).
        index: A scalar.
        n: Tokens of an n-gram, at least 1.
        vocab_size: V.

    Returns:
        Booleans. *Shape:* (B, V).

    Example:
        After 5 6 7 5 6 no 7 follows again: "5 6 7" has come.

        >>> tokens = np.array([[5, 6, 7, 5, 6, 0]])
        >>> int(np.argmax(repeats_ngram(tokens, 5, n=3, vocab_size=9)))
        7
    """
    batch, length = ops.shape(tokens)[0], tokens.shape[1]
    num_windows = length - n + 1
    if num_windows < 1:
        return ops.zeros((batch, vocab_size), "bool")
    starts = ops.expand_dims(ops.arange(num_windows, dtype="int32"), 0)
    is_repeated = starts + (n - 1) < index  # only n-grams that are complete
    for j in range(n - 1):
        # Before the n-th token no n-gram is complete, whatever stands at position 0.
        recent = ops.take(tokens, ops.maximum(index - (n - 1) + j, 0), axis=1)
        window = tokens[:, j : j + num_windows]
        is_repeated = ops.logical_and(is_repeated, window == ops.expand_dims(recent, 1))
    last = ops.cast(tokens[:, n - 1 :], "int32")  # (B, num_windows)
    return _as_tokens(last, is_repeated, vocab_size)


def completes_words(
    tokens: Any, index: Any, words: Sequence[Sequence[int]], vocab_size: int
) -> Any:
    """Tells which tokens would complete one of some words.

    Args:
        tokens: Of which the first `index` are known, int32. *Shape:* (B, T).
        index: A scalar.
        words: The ids of each word's tokens, at least one.
        vocab_size: V.

    Returns:
        Booleans. *Shape:* (B, V).

    Example:
        After 5 the word 5 6 would be complete with 6; the word 7 with 7, anywhere.

        >>> found = completes_words(np.array([[1, 5, 0]]), 2, [[5, 6], [7]], vocab_size=9)
        >>> np.flatnonzero(found)
        array([6, 7])
    """
    batch = ops.shape(tokens)[0]
    is_complete = []
    for word in words:
        # Position 0 is the start, and a part of no word.
        matches = ops.broadcast_to(index >= len(word), (batch,))
        for back, token in enumerate(reversed(word[:-1]), start=1):
            before = ops.take(tokens, ops.maximum(index - back, 0), axis=1)
            matches = ops.logical_and(matches, before == token)
        is_complete.append(matches)
    last = ops.array([[word[-1] for word in words]], "int32")  # (1, number of words)
    return _as_tokens(
        ops.broadcast_to(last, (batch, len(words))), ops.stack(is_complete, axis=1), vocab_size
    )


def _as_tokens(ids: Any, is_chosen: Any, vocab_size: int) -> Any:
    """Tells which tokens are among the chosen of some ids, (B, n) each: (B, V)."""
    batch = ops.shape(ids)[0]
    is_chosen = ops.broadcast_to(is_chosen, ops.shape(ids))
    rows = ops.expand_dims(ops.arange(batch, dtype="int32"), 1) * vocab_size
    counts = ops.segment_sum(
        ops.reshape(ops.cast(is_chosen, "int32"), (-1,)),
        ops.reshape(rows + ids, (-1,)),
        num_segments=batch * vocab_size,
    )
    return ops.reshape(counts, (batch, vocab_size)) > 0
