"""Question answerers loaded from what was exported, without Keras; files need no TensorFlow either.

Axes: S sequence.
"""

import abc
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_bert_scratch.data.spans import (
    Question,
    QuestionRows,
    SpanAnswer,
    SpanSettings,
    check_asked,
    joined_history,
)
from keras_bert_scratch.serving.packed import ASSETS, SPAN_SETTINGS
from keras_bert_scratch.serving.readers.base import (
    IdsReader,
    LiteRTReader,
    OnnxReader,
    SavedModelReader,
    load,
)
from keras_bert_scratch.text.truncation import Truncation


class Answerer(abc.ABC):
    """Answers questions by spans of a context.

    Attributes:
        settings: How questions are read and answered.

    Example:
        >>> answerer = load_answerer("saved_models/answers")
        >>> answerer.answer("Where was she born?", "Jane Austen was born in Steventon.").text
        'Steventon'
    """

    settings: SpanSettings
    _task = "a question answerer"

    @abc.abstractmethod
    def _answer(self, question: Question) -> tuple[SpanAnswer, float, float]:
        """Returns the answer, the probability of the best span, and that there is no answer."""

    def answer(
        self, question: str, context: str, history: Sequence[tuple[str, str]] = ()
    ) -> SpanAnswer:
        """Answers one question, see `BertQuestionAnswerer.answer`."""
        asked = Question(question, context, history=tuple(history))
        check_asked([asked])
        return self._answer(asked)[0]

    def probabilities(self, texts: tuple[list[str], list[str]]) -> np.ndarray:
        """Computes how probable the best answers are, and that there is none.

        Args:
            texts: Questions and contexts.

        Returns:
            *Shape:* (number of questions, 2).
        """
        questions = [Question(*pair) for pair in zip(*texts, strict=True)]
        answers = [self._answer(question)[1:] for question in questions]
        return np.array(answers).reshape(-1, 2)


class SavedModelAnswerer(Answerer, SavedModelReader):
    """Runs an exported SavedModel of a question answerer, see `SavedModelReader`."""

    _output = "answer"

    def _read(self, folder: Path) -> None:
        settings = (folder / ASSETS / SPAN_SETTINGS).read_text("utf-8")
        self.settings = SpanSettings(**json.loads(settings))
        # Exports of 0.1.0 have the history in the question.
        self._has_history = "conversation" in self._model.signatures

    def _answer(self, question: Question) -> tuple[SpanAnswer, float, float]:
        history = joined_history(question.history, self.settings.history_turns)
        asked, context = question.question, [question.context]
        if self._has_history:
            found = self._run("conversation", history=[history], question=[asked], context=context)
        else:
            found = self._run(question=[f"{history} {asked}".lstrip()], context=context)
        values = {name: value[0] for name, value in found.items()}
        answer = SpanAnswer(
            values["answer"].decode(),
            int(values["start"]),
            int(values["end"]),
            float(values["score"]),
            # Without an answer, the best span is not the answer.
            float(values["probability"]) if values["answer"] else 0.0,
        )
        return answer, float(values["probability"]), float(values["no_answer_probability"])


class _IdsAnswerer(Answerer, IdsReader):
    _output = "logits"
    # A file that takes code points reads all of a context.
    _truncation: Truncation = "windows"

    def _settings(self, files: dict[str, str]) -> dict[str, Any]:
        settings = super()._settings(files)
        self.settings = SpanSettings(**settings["span_settings"])
        if settings.get("inputs") == "code_points":
            self._output = "no_answer_probability"
        return {**settings, "sequence_length": self.settings.sequence_length}

    def _answer(self, question: Question) -> tuple[SpanAnswer, float, float]:
        if self._takes == "code_points":
            return self._answer_code_points(question)
        rows = QuestionRows(self._tokenizer, question, self.settings)
        found = rows.predict(self._run_rows(rows.token_ids, rows.segment_ids), n_best=1)
        best = found.n_best[0].probability if found.n_best else 0.0
        return found.answer, best, found.no_answer_probability

    def _answer_code_points(self, question: Question) -> tuple[SpanAnswer, float, float]:
        texts = {
            "history": joined_history(question.history, self.settings.history_turns),
            "question": question.question,
            "context": question.context,
        }
        found = self._run({name: self._encode_code_points(text) for name, text in texts.items()})
        values = {name: value[0] for name, value in found.items()}
        start, end = int(values["start"]), int(values["end"])
        probability = float(values["probability"])
        answer = SpanAnswer(
            question.context[start:end],
            start,
            end,
            float(values["score"]),
            # Without an answer, the best span is not the answer.
            probability if end else 0.0,
        )
        return answer, probability, float(values["no_answer_probability"])


class LiteRTAnswerer(_IdsAnswerer, LiteRTReader):
    """Runs an exported LiteRT file of a question answerer, see `LiteRTReader`."""


class OnnxAnswerer(_IdsAnswerer, OnnxReader):
    """Runs an exported ONNX file of a question answerer, see `OnnxReader`."""


def load_answerer(path: str | Path, num_threads: int = 1) -> Answerer:
    """Loads a SavedModel, a `.tflite` or an `.onnx` file of a question answerer, see `load`."""
    return load(path, num_threads, SavedModelAnswerer, LiteRTAnswerer, OnnxAnswerer)
