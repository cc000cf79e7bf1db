"""Extractive question answering: an encoder, and a head that finds where an answer starts and ends.

Axes: B batch, S sequence.
"""

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import keras
import numpy as np
from keras import ops

from keras_bert_scratch.checkpoints.checkpoint import Checkpoint
from keras_bert_scratch.checkpoints.name_map import SPAN
from keras_bert_scratch.data.batching import LengthBucketedBatches, ragged
from keras_bert_scratch.data.spans import (
    Prediction,
    Question,
    QuestionRows,
    SpanAnswer,
    SpanSettings,
    check_asked,
    check_questions,
    question_rows,
)
from keras_bert_scratch.evaluation.question_answering import (
    best_no_answer_threshold,
    evaluate_answers,
)
from keras_bert_scratch.layers.attention import padding_bias
from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.serving.graphs.answerer import AnswererSignature
from keras_bert_scratch.tasks.token_model import TokenModel
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer

logger = logging.getLogger(__name__)


class QuestionExamples(NamedTuple):
    """Questions in windows, and for each window the places of the answer's first and last token."""

    rows: list[QuestionRows]
    labels: np.ndarray | None = None


@keras.saving.register_keras_serializable("keras_bert_scratch")
class BertQuestionAnswerer(TokenModel):
    """Answers questions by a span of their context (Devlin et al. 2018, sections 4.2 and 4.3).

    Where Keras takes `x`, this takes a list of `Question`s, such as `read_squad` returns. Contexts
    of any length are read in windows that overlap.

    Args:
        encoder: The encoder below the head.
        tokenizer: Turns texts into ids; None if only ready inputs are used.
        sequence_length: Tokens of a window, the question included; by default all that the
            encoder's positions cover.
        window_stride: Tokens from the start of a window to the start of the next; by default half
            of those of the context that a window has.
        max_question_length: Tokens of a question with its history, by default 64, and at most half
            of the window. A longer question keeps its first tokens; history before it its last.
        max_answer_length: Most tokens of an answer.
        history_turns: Previous turns of a conversation that are read.
        no_answer_threshold: There is no answer if its score exceeds that of the best span by more;
            None always answers. `tune_no_answer` finds it.
        **kwargs: `name` and `dtype`, for `keras.Model`.

    Raises:
        ValueError: If the tokenizer or one of the lengths does not fit.

    Example:
        >>> from keras_bert_scratch.data.spans import GoldAnswer
        >>> context = "Jane was born in London. She died in Bath."
        >>> gold = GoldAnswer("London", context.index("London"))
        >>> questions = [Question("Where was Jane born?", context, (gold,))]
        >>> model = BertQuestionAnswerer.from_pretrained("tiny-en")
        >>> model.compile(optimizer=adamw(1e-3, total_steps=1))
        >>> history = model.fit(questions * 8)
        >>> first = model.answer("Where was Jane born?", context)
        >>> context[first.start : first.end] == first.text
        True
        >>> turns = [("Where was Jane born?", first.text)]
        >>> second = model.answer("And where did she die?", context, history=turns)
    """

    architecture = "BertForQuestionAnswering"
    head_weights = SPAN

    def __init__(
        self,
        encoder: BertEncoder,
        tokenizer: WordPieceTokenizer | None = None,
        *,
        sequence_length: int | None = None,
        window_stride: int | None = None,
        max_question_length: int | None = None,
        max_answer_length: int = 30,
        history_turns: int = 2,
        no_answer_threshold: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            encoder,
            tokenizer,
            num_outputs=2,
            # None between the states and the logits (google-research/bert, run_squad.py).
            dropout=0.0,
            sequence_length=sequence_length,
            **kwargs,
        )
        self.window_stride = window_stride
        self.max_question_length = max_question_length or min(64, self.sequence_length // 2)
        self.max_answer_length = max_answer_length
        self.history_turns = history_turns
        self.no_answer_threshold = no_answer_threshold
        self.settings.check()

    @property
    def settings(self) -> SpanSettings:
        """How questions are read and answered."""
        return SpanSettings(*(getattr(self, name) for name in SpanSettings._fields))

    def call(self, inputs: dict[str, Any], training: bool | None = None) -> Any:
        """Computes the logits of the answer's first and last token; low ones for padding.

        Args:
            inputs: `token_ids`, `segment_ids` and `padding_mask`, int32. *Shape:* (B, S) each.
            training: Whether dropout acts.

        Returns:
            The logits of starts, and of ends. *Shape:* (B, 2, S).
        """
        sequence_output = self.encoder(inputs, training=training)["sequence_output"]
        logits = ops.transpose(self.head(sequence_output, training=training), (0, 2, 1))
        return logits + ops.squeeze(padding_bias(inputs["padding_mask"], logits.dtype), 1)

    # === Training ===
    def default_loss(self) -> keras.losses.Loss:
        """Returns the mean of the cross-entropies of start and end."""
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def default_metrics(self) -> list[keras.metrics.Metric]:
        """Returns the accuracy of the two."""
        return [keras.metrics.SparseCategoricalAccuracy("accuracy")]

    def examples(
        self, x: Any, y: Any = None, sample_weight: Any = None, *, labelled: bool = False
    ) -> QuestionExamples:
        """Checks questions to learn from, see `check_questions`, and finds their answers.

        A window that does not hold the answer has [CLS] for start and end.
        """
        if y is not None:
            raise ValueError(
                f"The answers stand in the questions, received y of type {type(y).__name__}: leave "
                "it out."
            )
        _refuse_weights(sample_weight=sample_weight)
        x = check_questions(x)
        rows = question_rows(self.check_tokenizer(), x, self.settings)
        labels = [question.labels() for question in rows]
        lost = [bool(q.answers) and not found.any() for q, found in zip(x, labels, strict=True)]
        if any(lost):
            logger.warning(
                "%d of %d answers fit into no window whole, the first of them that of question %d: "
                "these questions are learned as if they had no answer.",
                sum(lost),
                len(lost),
                lost.index(True),
            )
        return QuestionExamples(rows, np.concatenate(labels))

    def weigh_classes(self, examples: QuestionExamples, class_weight: Any) -> QuestionExamples:
        """Refuses weights: there are no classes."""
        _refuse_weights(class_weight=class_weight)
        return examples

    def batches_of(
        self,
        examples: QuestionExamples,
        *,
        batch_size: int,
        seed: int | None = None,
        training: bool = False,
    ) -> LengthBucketedBatches:
        """Batches the windows of some questions; see `ExampleModel.batches_of`."""
        return LengthBucketedBatches(
            ragged([row for question in examples.rows for row in question.token_ids]),
            ragged([row for question in examples.rows for row in question.segment_ids]),
            batch_size=batch_size,
            pad_id=self.check_tokenizer().vocabulary.pad_id,
            labels=examples.labels,
            seed=seed,
        )

    def score(self, x: Any, y: Any, batch_size: int) -> dict[str, float]:
        """Returns the figures of `evaluate_answers` for some questions, in percent."""
        if y is not None:
            raise ValueError("The answers stand in the questions, received y: leave it out.")
        return evaluate_answers([found.answer.text for found in self.answers(x, batch_size)], x)

    def tune_no_answer(self, questions: list[Question], batch_size: int = 32) -> float:
        """Sets the threshold for no answer with the best F1 on held-out questions.

        Args:
            questions: Some of them with, some without an answer.
            batch_size: B.

        Returns:
            The threshold.
        """
        found = self.answers(questions, batch_size)
        self.no_answer_threshold = best_no_answer_threshold(
            [prediction.no_answer_score for prediction in found],
            [prediction.n_best[0].text if prediction.n_best else "" for prediction in found],
            questions,
        )
        return self.no_answer_threshold

    # === Answers ===
    def answers(self, x: Any, batch_size: int = 32, *, n_best: int = 20) -> list[Prediction]:
        """Answers questions; `predict` does the same.

        Args:
            x: Questions.
            batch_size: B.
            n_best: Most spans of each answer.

        Raises:
            ValueError: If a question is empty, see `check_asked`.
        """
        check_asked(x)
        return self._answers(x, batch_size, n_best)

    def _answers(self, questions: Sequence[Question], batch_size: int, n_best: int) -> list[Any]:
        rows = question_rows(self.check_tokenizer(), questions, self.settings)
        if not rows:
            return []
        batches = self.batches_of(QuestionExamples(rows), batch_size=batch_size)
        logits = iter(self.predict_rows(batches))
        return [row.predict([next(logits) for _ in row.token_ids], n_best) for row in rows]

    def answer(
        self, question: str, context: str, history: Sequence[tuple[str, str]] = ()
    ) -> SpanAnswer:
        """Answers one question.

        Args:
            question: The question.
            context: The text that may hold the answer.
            history: Previous questions about it and their answers, oldest first.

        Returns:
            The best answer; an empty one if there is none: the context is empty, or see
            `no_answer_threshold`.

        Raises:
            ValueError: If the question is empty, or the history is no list of pairs.
        """
        return self.answers([Question(question, context, history=tuple(history))])[0].answer

    def probabilities(self, texts: tuple[list[str], list[str]]) -> np.ndarray:
        """Computes how probable the best answers are, and that there is none.

        Args:
            texts: Questions and contexts.

        Returns:
            *Shape:* (number of questions, 2).
        """
        found = self._answers([Question(*pair) for pair in zip(*texts, strict=True)], 32, n_best=1)
        return np.array(
            [(p.n_best[0].probability if p.n_best else 0.0, p.no_answer_probability) for p in found]
        ).reshape(-1, 2)

    # === Weights in and out ===
    @classmethod
    def _from_checkpoint(cls, checkpoint: Checkpoint, **settings: Any) -> Self:
        """Makes a model, by default with the settings of a checkpoint of this kind."""
        kinds = dict.fromkeys(SpanSettings._fields, int) | {"no_answer_threshold": float}
        saved = checkpoint.settings(**kinds) if cls._has_head(checkpoint) else {}
        return super()._from_checkpoint(checkpoint, **{**saved, **settings})

    def checkpoint_fields(self) -> dict[str, Any]:
        """Returns how questions are read and answered, as fields of config.json."""
        return {**super().checkpoint_fields(), **self.settings._asdict()}

    def _signature(self, options: dict[str, Any]) -> AnswererSignature:
        """Describes the question answerer for its exports."""
        return AnswererSignature(
            self, self.check_tokenizer(), self.probabilities, spans=self.settings
        )

    # === Config ===
    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), **self.settings._asdict()}


def _refuse_weights(**weights: Any) -> None:
    if given := [name for name, value in weights.items() if value is not None]:
        raise ValueError(
            f"BertQuestionAnswerer counts all examples alike, received {given[0]}: leave it out."
        )
