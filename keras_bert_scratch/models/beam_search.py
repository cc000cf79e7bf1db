"""Beam search for the most probable continuation, and the masking of forbidden tokens.

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

    It is called like the samplers of keras-nlp. Unlike in their `BeamSampler`, an ended
    hypothesis leaves the beams, which continue the search, and hypotheses of different lengths are
    compared by their penalized scores (Wu et al. 2016, section 7, with the penalty length^a). The
    results are those of `generate(early_stopping="never")` of `transformers`.

    Args:
        num_beams: Number of beams, K.
        length_penalty: Power of the length, at least 0: 0 prefers short results, 1 compares mean
            log-probabilities. A single beam with 0 is greedy search, see `GREEDY`.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> model = BertSummarizer.from_pretrained("tiny-en", summary_length=8)
        >>> summaries = model.summarize(["A long text."], BeamSearch(num_beams=4))
        >>> len(summaries)
        1
    """

    num_beams: int = 4
    length_penalty: float = 1.0

    def __post_init__(self) -> None:
        if self.num_beams < 1:
            raise ValueError(f"num_beams must be at least 1, received {self.num_beams}.")
        if self.length_penalty < 0:
            raise ValueError(
                f"length_penalty must be at least 0, received {self.length_penalty}: shorter "
                "results are preferred with 0, longer ones with larger values."
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
            next: Maps tokens, int32 (B x K, T), a cache, and the index of the first unknown
                position to the log-probabilities of its tokens, float32 (B x K, V), with -inf for
                forbidden ones (see `forbid`), an unused value, and the new cache.
            prompt: Tokens, of which the first `index` are known, int32. *Shape:* (B, T).
            cache: Tensors, in any structure, with one row for each row of `prompt`.
            index: The first position to fill.
            mask: Ignored; keeps the signature of keras-nlp's samplers.
            stop_token_ids: Tokens that end a hypothesis; a full row ends it, too.

        Returns:
            The best hypothesis of each row, followed by the rest of `prompt`. *Shape:* (B, T).
        """
        num_beams, first, length = self.num_beams, index, prompt.shape[1]
        columns = ops.expand_dims(ops.arange(length, dtype="int32"), 0)  # (1, T)
        ranks = ops.expand_dims(ops.arange(2 * num_beams, dtype="int32"), 0)  # (1, 2K)
        stops = ops.reshape(ops.array(stop_token_ids, "int32"), (1, 1, -1))

        def penalty(number_of_tokens: Any) -> Any:
            return ops.power(ops.cast(number_of_tokens, "float32"), self.length_penalty)

        def can_improve(index: Any, tokens: Any, scores: Any, ended: Any, best: Any, _: Any) -> Any:
            # Log-probabilities only fall, and the longest result has the weakest penalty.
            reachable = scores[:, :1] / penalty(length - first)
            return ops.logical_and(index < length, ops.any(reachable > best[:, -1:]))

        def step(index: Any, tokens: Any, scores: Any, ended: Any, best: Any, cache: Any) -> Any:
            log_probabilities, _, cache = next(ops.reshape(tokens, (-1, length)), cache, index)
            # Each beam can end in one way: of 2K candidates, at least K go on.
            candidates, parents, token = _best_tokens(scores, log_probabilities, 2 * num_beams)
            is_here = ops.expand_dims(columns == index, 0)
            rows = ops.where(is_here, token, _rows(tokens, parents))  # (B, 2K, T)
            is_end = ops.logical_or(ops.any(token == stops, axis=2), index == length - 1)

            # A hypothesis worse than K others is not ended: it would not stay among the beams.
            is_new = ops.logical_and(is_end, ranks < num_beams)
            new = ops.where(is_new, candidates / penalty(index + 1 - first), _NONE)
            best, kept = ops.top_k(ops.concatenate([best, new], axis=1), num_beams)
            ended = _rows(ops.concatenate([ended, rows], axis=1), kept)

            scores, kept = ops.top_k(ops.where(is_end, _NONE, candidates), num_beams)
            parents = ops.take_along_axis(parents, kept, axis=1)
            return index + 1, _rows(rows, kept), scores, ended, best, _parents_of(cache, parents)

        batch = ops.shape(prompt)[0]
        tokens, cache = keras.tree.map_structure(
            lambda x: ops.repeat(x, num_beams, axis=0), (prompt, cache)
        )
        tokens = ops.reshape(tokens, (-1, num_beams, length))
        # All beams start with the same tokens: only the first may go on.
        others = ops.full((batch, num_beams - 1), _NONE, "float32")
        scores = ops.concatenate([ops.zeros((batch, 1), "float32"), others], axis=1)
        best = ops.full((batch, num_beams), _NONE, "float32")
        state = (ops.convert_to_tensor(first, "int32"), tokens, scores, tokens, best, cache)
        _, _, _, ended, _, _ = ops.while_loop(can_improve, step, state)
        return ended[:, 0]


GREEDY = BeamSearch(num_beams=1, length_penalty=0.0)


def _best_tokens(scores: Any, log_probabilities: Any, number: int) -> tuple[Any, Any, Any]:
    """Chooses the best continuations of K beams.

    Args:
        scores: *Shape:* (B, K).
        log_probabilities: *Shape:* (B x K, V).
        number: R.

    Returns:
        Scores, *shape:* (B, R), beams, *shape:* (B, R), and tokens, *shape:* (B, R, 1).
    """
    num_beams, vocab_size = scores.shape[1], log_probabilities.shape[-1]
    log_probabilities = ops.reshape(log_probabilities, (-1, num_beams, vocab_size))
    sums = ops.expand_dims(scores, 2) + log_probabilities
    candidates, flat = ops.top_k(ops.reshape(sums, (-1, num_beams * vocab_size)), number)
    return candidates, flat // vocab_size, ops.expand_dims(flat % vocab_size, 2)


def _rows(x: Any, indices: Any) -> Any:
    """Selects rows, (B, R) of them, of each element of a batch: (B, ..., T) -> (B, R, T)."""
    return ops.take_along_axis(x, ops.expand_dims(indices, 2), axis=1)


def _parents_of(cache: Any, parents: Any) -> Any:
    """Selects the beams, (B, K) of them, that are continued; a cache has B x K rows."""
    batch, num_beams = ops.shape(parents)
    starts = num_beams * ops.expand_dims(ops.arange(batch), 1)
    places = ops.reshape(parents + ops.cast(starts, parents.dtype), (-1,))
    return keras.tree.map_structure(lambda x: ops.take(x, places, axis=0), cache)


def forbid(log_probabilities: Any, is_forbidden: Any) -> Any:
    """Sets the log-probabilities of forbidden tokens to -inf, and leaves the others as they are.

    Apply it to normalized log-probabilities, not to logits: the other tokens would share the
    probability of the forbidden ones, and a beam would score better than its model says.

    Args:
        log_probabilities: *Shape:* (B, V).
        is_forbidden: Booleans. *Shape:* (B, V) or (1, V).

    Example:
        >>> np.exp(forbid(np.log([[0.75, 0.25]]), np.array([[True, False]])))
        array([[0.  , 0.25]])
    """
    return ops.where(is_forbidden, float("-inf"), log_probabilities)


def repeats_ngram(tokens: Any, index: Any, n: int, vocab_size: int) -> Any:
    """Finds the tokens that would repeat an n-gram (Paulus et al. 2017, section 2.5).

    Args:
        tokens: Tokens, of which the first `index` are known, int32. *Shape:* (B, T).
        index: A scalar.
        n: Length of an n-gram, at least 1.
        vocab_size: V.

    Returns:
        Booleans. *Shape:* (B, V).

    Example:
        After 5 6 7 5 6, a 7 would repeat "5 6 7":

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
        # Before the n-th token no n-gram is complete: the token taken then does not matter.
        recent = ops.take(tokens, ops.maximum(index - (n - 1) + j, 0), axis=1)
        window = tokens[:, j : j + num_windows]
        is_repeated = ops.logical_and(is_repeated, window == ops.expand_dims(recent, 1))
    last = ops.cast(tokens[:, n - 1 :], "int32")  # (B, num_windows)
    return _as_tokens(last, is_repeated, vocab_size)


def completes_words(
    tokens: Any, index: Any, words: Sequence[Sequence[int]], vocab_size: int
) -> Any:
    """Finds the tokens that would complete one of some words.

    Args:
        tokens: Tokens, of which the first `index` are known, int32. *Shape:* (B, T).
        index: A scalar.
        words: The ids of each word's tokens, at least one.
        vocab_size: V.

    Returns:
        Booleans. *Shape:* (B, V).

    Example:
        After 5, a 6 would complete the word 5 6; a 7 completes the word 7 anywhere:

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
    """Marks the tokens that are chosen among some ids: (B, n) each -> (B, V)."""
    batch = ops.shape(ids)[0]
    is_chosen = ops.broadcast_to(is_chosen, ops.shape(ids))
    rows = ops.expand_dims(ops.arange(batch, dtype="int32"), 1) * vocab_size
    counts = ops.segment_sum(
        ops.reshape(ops.cast(is_chosen, "int32"), (-1,)),
        ops.reshape(rows + ids, (-1,)),
        num_segments=batch * vocab_size,
    )
    return ops.reshape(counts, (batch, vocab_size)) > 0
