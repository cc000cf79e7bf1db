"""Extractive question answering: an encoder, and a head that finds where an answer starts and ends.

Axes: B batch, S sequence.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_bert_scratch.checkpoints.google import open_checkpoint
from keras_bert_scratch.checkpoints.name_map import SPAN
from keras_bert_scratch.data.batching import LengthBucketedBatches
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
from keras_bert_scratch.tasks.token_model import TokenModel, ragged, refuse_given
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer

logger = logging.getLogger(__name__)


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
            of the window. Of a longer question the first stay, and then of its history the last.
        max_answer_length: Most tokens of an answer.
        history_turns: Previous turns of a conversation that are read.
        no_answer_threshold: There is no answer if its score exceeds that of the best span by more;
            None always answers. `tune_no_answer` finds it.
        **kwargs: `name` and `dtype`, for `keras.Model`.

    Raises:
        ValueError: If the tokenizer or one of the lengths does not fit.

    Example:
        >>> model = BertQuestionAnswerer.from_pretrained("path/or/hub-id")
        >>> model.compile(optimizer=adamw(3e-5, total_steps=800))
        >>> model.fit(read_squad("train-v1.1.json"), epochs=2)
        >>> context = "Jane Austen was born in Steventon. She died in Winchester."
        >>> first = model.answer("Where was Jane Austen born?", context)
        >>> first.text
        'Steventon'
        >>> history = [("Where was Jane Austen born?", first.text)]
        >>> model.answer("And where did she die?", context, history=history).text
        'Winchester'
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
            Of starts, and of ends. *Shape:* (B, 2, S).
        """
        sequence_output = self.encoder(inputs, training=training)["sequence_output"]
        logits = ops.transpose(self.head(sequence_output, training=training), (0, 2, 1))
        return logits + ops.squeeze(padding_bias(inputs["padding_mask"], logits.dtype), 1)

    # === Training ===
    def compile(
        self, optimizer: Any, loss: Any = "auto", *, metrics: Any = "auto", **kwargs: Any
    ) -> None:
        """Compiles as `keras.Model.compile` does, with defaults that fit the task.

        Args:
            optimizer: A Keras optimizer; see `keras_bert_scratch.adamw`.
            loss: By default the mean of the cross-entropies of start and end.
            metrics: By default the accuracy of the two.
            **kwargs: The other arguments of `keras.Model.compile`.
        """
        if loss == "auto":
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        if metrics == "auto":
            metrics = [keras.metrics.SparseCategoricalAccuracy("accuracy")]
        super().compile(optimizer=optimizer, loss=loss, metrics=metrics, **kwargs)

    def batches(
        self, x: Any, y: Any = None, *, batch_size: int = 32, seed: int | None = None
    ) -> LengthBucketedBatches:
        """Turns questions into batches of windows of similar lengths, with their answers.

        A window that does not hold the answer has [CLS] for start and end.

        Args:
            x: Questions.
            y: Must be None: the answers stand in the questions.
            batch_size: B.
            seed: Of the order; None sorts by length.

        Raises:
            ValueError: If a question is refused, see `check_questions`.
        """
        if y is not None:
            raise ValueError(
                f"The answers stand in the questions, received y of type {type(y).__name__}: leave "
                "it out."
            )
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
        return self._batches(rows, np.concatenate(labels), batch_size, seed)

    def _batches(
        self,
        rows: Sequence[QuestionRows],
        labels: np.ndarray | None,
        batch_size: int,
        seed: int | None = None,
    ) -> LengthBucketedBatches:
        return LengthBucketedBatches(
            ragged([row for question in rows for row in question.token_ids]),
            ragged([row for question in rows for row in question.segment_ids]),
            batch_size=batch_size,
            pad_id=self.check_tokenizer().vocabulary.pad_id,
            labels=labels,
            seed=seed,
        )

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Evaluates as `keras.Model.evaluate` does; on questions, scores the answers.

        Args:
            x: Questions, or whatever Keras takes.
            y: For questions None: they hold their answers.
            batch_size: B, by default 32.
            verbose: For ready inputs only.
            sample_weight: For ready inputs only: questions count alike.
            steps: For ready inputs only.
            callbacks: For ready inputs only.
            return_dict: See Keras; for questions it is always a dict.
            **kwargs: What Keras' `fit` passes on.

        Returns:
            For questions the figures of `evaluate_answers`, in percent.

        Raises:
            ValueError: If an argument for ready inputs is given with questions.
        """
        if not isinstance(x, list):
            return super().evaluate(
                x,
                y,
                batch_size,
                verbose=verbose,
                sample_weight=sample_weight,
                steps=steps,
                callbacks=callbacks,
                return_dict=return_dict,
                **kwargs,
            )
        refuse_given(y=y, sample_weight=sample_weight, steps=steps, callbacks=callbacks)
        return evaluate_answers([found.answer.text for found in self.predict(x, batch_size)], x)

    def tune_no_answer(self, questions: list[Question], batch_size: int = 32) -> float:
        """Sets the threshold for no answer with the best F1 on held-out questions.

        Args:
            questions: Some of them with, some without an answer.
            batch_size: B.

        Returns:
            The threshold.
        """
        found = self.predict(questions, batch_size)
        self.no_answer_threshold = best_no_answer_threshold(
            [prediction.no_answer_score for prediction in found],
            [prediction.n_best[0].text if prediction.n_best else "" for prediction in found],
            questions,
        )
        return self.no_answer_threshold

    # === Answers ===
    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        steps: int | None = None,
        callbacks: Any = None,
        *,
        n_best: int = 20,
    ) -> Any:
        """Predicts as `keras.Model.predict` does; for questions, answers them.

        Args:
            x: Questions, or whatever Keras takes.
            batch_size: B, by default 32.
            verbose: For ready inputs only.
            steps: For ready inputs only.
            callbacks: For ready inputs only.
            n_best: Most spans of each answer.

        Returns:
            For questions one `Prediction` each.

        Raises:
            ValueError: If a question is empty, see `check_asked`.
        """
        if not isinstance(x, list):
            return super().predict(x, batch_size, verbose=verbose, steps=steps, callbacks=callbacks)
        refuse_given(steps=steps, callbacks=callbacks)
        check_asked(x)
        return self._answer(x, batch_size or 32, n_best)

    def _answer(
        self, questions: Sequence[Question], batch_size: int = 32, n_best: int = 20
    ) -> list[Prediction]:
        rows = question_rows(self.check_tokenizer(), questions, self.settings)
        if not rows:
            return []
        logits = iter(self.predict_rows(self._batches(rows, None, batch_size)))
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
        return self.predict([Question(question, context, history=tuple(history))])[0].answer

    def probabilities(self, texts: tuple[list[str], list[str]]) -> np.ndarray:
        """Computes how probable the best answers are, and that there is none.

        Args:
            texts: Questions and contexts.

        Returns:
            *Shape:* (number of questions, 2).
        """
        found = self._answer([Question(*texts) for texts in zip(*texts, strict=True)], n_best=1)
        return np.array(
            [(p.n_best[0].probability if p.n_best else 0.0, p.no_answer_probability) for p in found]
        ).reshape(-1, 2)

    # === Weights in and out ===
    @classmethod
    def from_pretrained(
        cls, path_or_hub_id: str | Path, *, dtype: Any = None, **settings: Any
    ) -> "BertQuestionAnswerer":
        """Loads a checkpoint of Hugging Face `transformers`, or of google-research/bert.

        The head comes along from a `BertForQuestionAnswering`; otherwise it is new, and said to be.

        Args:
            path_or_hub_id: A local folder (no network is used) or the id of a model on the hub.
            dtype: Of the computation, such as `"mixed_bfloat16"`.
            **settings: See the class; by default what the checkpoint says.

        Raises:
            FileNotFoundError: If the checkpoint or one of its files cannot be found.
            ValueError: If it is not BERT's, is damaged, or does not fit its config or vocabulary.
        """
        checkpoint = open_checkpoint(path_or_hub_id)
        kinds = dict.fromkeys(SpanSettings._fields, int) | {"no_answer_threshold": float}
        saved = checkpoint.settings(**kinds) if cls._has_head(checkpoint) else {}
        return cls._from_checkpoint(checkpoint, dtype=dtype, **{**saved, **settings})

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes a folder that `from_pretrained` and Hugging Face `transformers` load.

        Args:
            folder: Where to write: must not exist, or be empty.

        Raises:
            FileExistsError: If the folder is not empty.
            ValueError: If the model has no tokenizer.
        """
        self._write(folder, **self.settings._asdict())

    def _signature(self, options: dict[str, Any]) -> AnswererSignature:
        """Describes the question answerer for its exports."""
        return AnswererSignature(
            self, self.check_tokenizer(), self.probabilities, spans=self.settings
        )

    # === Config ===
    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), **self.settings._asdict()}
