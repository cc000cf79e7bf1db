"""The signature of question answerers: questions and contexts in, answers out.

Axes: B batch, S sequence, W windows of all contexts of a batch, L tokens of the longest answer.
"""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_bert_scratch.data.spans import SpanSettings
from keras_bert_scratch.serving.fresh_process import PROBE_TEXTS
from keras_bert_scratch.serving.graphs.signature import (
    Functions,
    Outputs,
    Signature,
    shared,
    strings,
)
from keras_bert_scratch.serving.graphs.windows import (
    WindowsOfTexts,
    inputs_of,
    slide,
    slide_over_one,
)
from keras_bert_scratch.serving.packed import ASSETS, SPAN_SETTINGS
from keras_bert_scratch.text.graphs.ragged import row_ids

# The score of what is no span.
_NONE = -1e9


class _Best(NamedTuple):
    """The best spans of questions. *Shape:* (B,) each.

    Attributes:
        score: The score, `_NONE` where there is no span.
        window: The window, of all.
        place: The span's place among those of the window.
        total: The sum of all spans' exp(score - best score).
    """

    score: tf.Tensor
    window: tf.Tensor
    place: tf.Tensor
    total: tf.Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class AnswererSignature(Signature):
    """A question answerer as its exports see it.

    The signatures of a SavedModel are

    - `serving_default`: `question` and `context`, string (B,) -> `answer`, string (B,), exactly as
      it stands in the context, empty for none; `start` and `end`, int32 (B,), in characters;
      `score`; `probability`, of the best span among all; and `no_answer_probability`, float32 (B,);
    - `conversation`: the same with `history`, string (B,), the previous turns, see
      `data.spans.joined_history`;
    - `tokens`: `token_ids`, `segment_ids`, `padding_mask`, int32 (B, S) -> `logits` (B, 2, S).

    A LiteRT file takes ids and returns `logits` of starts and ends, float32 (B, 2, S); or it takes
    code points of `history`, `question` and `context`, int32 (1, N) each, where the history may be
    zeros, and returns the outputs above but `answer`, in code points of the context.

    Attributes:
        spans: How questions are read and answered.
    """

    spans: SpanSettings

    task, output = "answerer", "logits"
    settings = ()
    texts = ("history", "question", "context")
    # Every probe serves as a question and as a context.
    probes = (PROBE_TEXTS, PROBE_TEXTS[3:] + PROBE_TEXTS[:3])

    def functions(self) -> Functions:
        """Returns the functions of a SavedModel."""
        logits_of = shared(self.compute)

        @shared
        def conversation(history: tf.Tensor, question: tf.Tensor, context: tf.Tensor) -> Outputs:
            return self._answer(logits_of, history, question, context)

        def answer(question: tf.Tensor, context: tf.Tensor) -> Outputs:
            return conversation(tf.fill(tf.shape(question), ""), question, context)

        return {
            "serving_default": (answer, strings("question", "context")),
            "conversation": (conversation, strings("history", "question", "context")),
            "tokens": self.tokens(logits_of),
        }

    def _answer(
        self,
        logits_of: Callable[..., tf.Tensor],
        history: tf.Tensor,
        question: tf.Tensor,
        context: tf.Tensor,
    ) -> Outputs:
        """Answers questions by the rules of `QuestionRows.predict`, which explains them."""
        asked, is_asked = self._asked(history, question)
        found = self.graph.with_offsets(context)
        room = self.spans.sequence_length - 3 - asked.row_lengths()
        stride = tf.fill(tf.shape(room), np.int64(self.spans.window_stride or 0))
        if self.spans.window_stride is None:
            stride = tf.maximum(room // 2, 1)
        windows = slide(found["token_ids"], room, stride)
        text = row_ids(windows.starts)  # The question of every window. *Shape:* (W,)
        asked_again = tf.gather(asked, text)
        first = asked_again.row_lengths() + 2  # The column of a window's first token of the context
        logits = logits_of(inputs_of(self.tokenizer.vocabulary, asked_again, windows.tokens))
        scores = self._scores(logits, windows, first)
        best = _best(scores, text, tf.shape(question, tf.int64)[0])
        none = tf.math.unsorted_segment_min(
            logits[:, 0, 0] + logits[:, 1, 0], text, tf.size(question)
        )
        has_spans = is_asked & (best.score > _NONE / 2)
        is_answered = has_spans
        if self.spans.no_answer_threshold is not None:
            is_answered &= none - best.score <= self.spans.no_answer_threshold

        token = (
            best.place // self.spans.max_answer_length
            - tf.gather(first, best.window)
            + tf.gather(windows.starts.flat_values, best.window)
            + found["token_ids"].row_starts()
        )
        more = best.place % self.spans.max_answer_length
        # Without an answer, any token will do; the appended zero serves a batch without tokens.
        token, last = (tf.where(is_answered, place, 0) for place in (token, token + more))
        start, end = (
            tf.where(is_answered, tf.gather(tf.concat([found[name].flat_values, [0]], 0), place), 0)
            for name, place in (("starts", token), ("ends", last))
        )
        return {
            "answer": tf.strings.substr(found["texts"], start, end - start, unit="UTF8_CHAR"),
            "start": tf.cast(start, tf.int32),
            "end": tf.cast(end, tf.int32),
            "score": tf.where(is_answered, best.score, none),
            "probability": tf.where(has_spans, 1 / best.total, 0.0),
            # exp(none) / (exp(none) + the sum over all spans)
            "no_answer_probability": tf.where(
                has_spans, tf.sigmoid(none - best.score - tf.math.log(best.total)), 1.0
            ),
        }

    def _asked(self, history: tf.Tensor, question: tf.Tensor) -> tuple[tf.RaggedTensor, tf.Tensor]:
        """Returns the tokens of questions with their history, and whether anything is asked."""
        longest = self.spans.max_question_length
        asked = self.graph.tokenize(question)[:, :longest]
        before = self.graph.tokenize(history)
        left = longest - asked.row_lengths()
        firsts = tf.maximum(before.row_limits() - left, before.row_starts())
        kept = tf.gather(before.flat_values, tf.ragged.range(firsts, before.row_limits()))
        return tf.concat([kept, asked], 1), asked.row_lengths() > 0

    def _scores(self, logits: tf.Tensor, windows: WindowsOfTexts, first: tf.Tensor) -> tf.Tensor:
        """Computes the scores of all spans of every window. *Shape:* (W, S * L)."""
        longest = self.spans.max_answer_length
        shape = tf.shape(logits, tf.int64)
        rows, width = shape[0], shape[2]
        owner = windows.owner.flat_values
        columns = windows.columns.flat_values + tf.gather(first, owner)
        is_mine = tf.scatter_nd(
            tf.stack([owner, columns], 1), tf.ones_like(owner, tf.bool), [rows, width]
        )
        last = first + windows.tokens.row_lengths()
        is_context = tf.sequence_mask(last, width) & ~tf.sequence_mask(first, width)
        starts = tf.where(is_mine, logits[:, 0], _NONE)
        ends = tf.pad(
            tf.where(is_context, logits[:, 1], _NONE), [[0, 0], [0, longest]], constant_values=_NONE
        )
        reach = tf.range(width)[:, tf.newaxis] + tf.range(longest, dtype=tf.int64)
        scores = starts[:, :, tf.newaxis] + tf.gather(ends, reach, axis=1)  # (W, S, L)
        scores = tf.reshape(scores, tf.stack([rows, width * longest]))
        return tf.where(scores < _NONE / 2, _NONE, scores)

    @property
    def row_length(self) -> int:
        """Most tokens of a row of the network."""
        return self.spans.sequence_length

    def of_code_points(  # type: ignore[override]
        self,
        history: tf.Tensor,
        question: tf.Tensor,
        context: tf.Tensor,
        *,
        unrolled: bool = False,
    ) -> Outputs:
        """Answers one question as `_answer` does, with built-in operations."""
        engine = self.engine(with_offsets=True, unrolled=unrolled)
        before, asked, found = engine.separately(history, question, context)
        before, asked = before.token_ids, asked.token_ids[: self.spans.max_question_length]
        left = self.spans.max_question_length - tf.size(asked)
        asked_again = tf.concat([before[tf.maximum(tf.size(before) - left, 0) :], asked], 0)
        room = self.spans.sequence_length - 3 - tf.size(asked_again)
        stride = self.spans.window_stride or tf.maximum(room // 2, 1)
        windows = slide_over_one(
            self.tokenizer.vocabulary, found.token_ids, room, stride, asked_again
        )
        logits = self.compute(windows.inputs)
        none = tf.reduce_min(logits[:, 0, 0] + logits[:, 1, 0])

        # The scores of the spans that start at each token, (T + 1, L): there is none at the last.
        longest = self.spans.max_answer_length
        width = tf.shape(logits)[2]
        starts, ends = (tf.reshape(logits[:, column], [-1]) for column in (0, 1))
        places = windows.columns[:, tf.newaxis] + tf.range(longest)
        is_span = places <= windows.lasts[:, tf.newaxis]
        offset = windows.owner[:, tf.newaxis] * width
        at = tf.where(is_span, offset + places, 0)
        scores = tf.gather(starts, offset + windows.columns[:, tf.newaxis]) + tf.gather(ends, at)
        scores = tf.where(is_span, scores, _NONE)
        scores = tf.reshape(tf.concat([scores, tf.fill([1, longest], _NONE)], 0), [-1])
        place = tf.argmax(scores, output_type=tf.int32)
        best = tf.reduce_max(scores)
        total = tf.reduce_sum(tf.exp(scores - best))

        has_spans = (tf.size(asked) > 0) & (best > _NONE / 2)
        is_answered = has_spans
        if self.spans.no_answer_threshold is not None:
            is_answered &= none - best <= self.spans.no_answer_threshold
        # Without an answer, any token will do; the appended zero serves a text without tokens.
        token, more = (
            tf.where(is_answered, number, 0) for number in (place // longest, place % longest)
        )
        start, end = (
            tf.where(is_answered, tf.gather(tf.concat([column, [0]], 0), at), 0)
            for column, at in ((found.starts, token), (found.ends, token + more))
        )
        outputs = {
            "start": start,
            "end": end,
            "score": tf.where(is_answered, best, none),
            "probability": tf.where(has_spans, 1 / total, 0.0),
            "no_answer_probability": tf.where(
                has_spans, tf.sigmoid(none - best - tf.math.log(total)), 1.0
            ),
        }
        return {name: tf.reshape(value, [1]) for name, value in outputs.items()}

    def packed(self, **settings: Any) -> dict[str, str]:
        """Returns the texts that are packed in a file, by name."""
        return super().packed(span_settings=self.spans._asdict(), **settings)

    def write_assets(self, folder: Path) -> None:
        """Writes the settings beside the model, for the reader."""
        (folder / ASSETS).mkdir()
        (folder / ASSETS / SPAN_SETTINGS).write_text(json.dumps(self.spans._asdict()), "utf-8")


def _best(scores: tf.Tensor, text: tf.Tensor, size: tf.Tensor) -> _Best:
    """Finds the best span of every question.

    Args:
        scores: Scores of the spans of every window. *Shape:* (W, S * L).
        text: The question of every window. *Shape:* (W,).
        size: B.
    """
    best_of_windows = tf.reduce_max(scores, 1)
    best = tf.math.unsorted_segment_max(best_of_windows, text, size)
    is_best = best_of_windows == tf.gather(best, text)
    count = tf.size(text, tf.int64)
    # The first of several.
    window = tf.math.unsorted_segment_min(tf.where(is_best, tf.range(count), count), text, size)
    total = tf.math.unsorted_segment_sum(
        tf.reduce_sum(tf.exp(scores - tf.gather(best, text)[:, tf.newaxis]), 1), text, size
    )
    return _Best(best, window, tf.argmax(tf.gather(scores, window), 1), total)
