"""Question answerers loaded from what was exported, without Keras; files need no TensorFlow either.

Axes: B batch, S sequence.
"""

import abc
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_bert_scratch.data.spans import (
    Question,
    QuestionRows,
    SpanAnswer,
    SpanSettings,
    check_asked,
    joined_history,
)
from keras_bert_scratch.files import check_hashes
from keras_bert_scratch.serving.predictor import (
    INPUTS,
    PACKED_ERRORS,
    LiteRTRunner,
    read_packed,
)
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer


class Answerer(abc.ABC):
    """Answers questions by spans of a context.

    Attributes:
        settings: How questions are read and answered.
    """

    settings: SpanSettings

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


class SavedModelAnswerer(Answerer):
    """Runs an exported SavedModel of a question answerer.

    Args:
        folder: The SavedModel.

    Raises:
        ValueError: If the folder holds no SavedModel, or one of another origin.

    Example:
        >>> answerer = SavedModelAnswerer("saved_models/answers")
        >>> answerer.answer("Where was she born?", "Jane Austen was born in Steventon.").text
        'Steventon'
    """

    def __init__(self, folder: str | Path) -> None:
        import tensorflow as tf

        check_hashes(folder)
        try:
            settings = (Path(folder) / "assets.extra" / "span_settings.json").read_text("utf-8")
            self.settings = SpanSettings(**json.loads(settings))
            # The signature does not keep its model alive.
            self._model = tf.saved_model.load(str(folder))
            signatures = self._model.signatures
            # Exports of 0.1.0 have the history in the question.
            self._has_history = "conversation" in signatures
            self._signature = signatures["conversation" if self._has_history else "serving_default"]
        except (OSError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise ValueError(
                f"{folder} is not a SavedModel of a question answerer ({error}): name a folder that"
                " `BertQuestionAnswerer.export` wrote."
            ) from error

    def _answer(self, question: Question) -> tuple[SpanAnswer, float, float]:
        import tensorflow as tf

        history = joined_history(question.history, self.settings.history_turns)
        asked = {"history": history, "question": question.question}
        if not self._has_history:
            asked = {"question": f"{history} {question.question}".lstrip()}
        found = self._signature(
            **{name: tf.constant([text]) for name, text in asked.items()},
            context=tf.constant([question.context]),
        )
        values = {name: value.numpy()[0] for name, value in found.items()}
        answer = SpanAnswer(
            values["answer"].decode(),
            int(values["start"]),
            int(values["end"]),
            float(values["score"]),
            # No answer is none of the spans.
            float(values["probability"]) if values["answer"] else 0.0,
        )
        return answer, float(values["probability"]), float(values["no_answer_probability"])


class LiteRTAnswerer(Answerer):
    """Runs an exported LiteRT file of a question answerer, with the vocabulary packed in it.

    Args:
        path: The `.tflite` file.
        num_threads: Of the interpreter.

    Raises:
        ValueError: If the file is not one that `export` wrote.
        ImportError: If ai-edge-litert is not installed.

    Example:
        >>> answerer = LiteRTAnswerer("saved_models/answers.tflite")
        >>> answerer.answer("Where was she born?", "Jane Austen was born in Steventon.").text
        'Steventon'
    """

    def __init__(self, path: str | Path, num_threads: int = 1) -> None:
        try:
            packed_settings = json.loads(read_packed(path)["tokenizer_config.json"])
            self.settings = SpanSettings(**packed_settings["span_settings"])
            self._tokenizer = WordPieceTokenizer.from_config(packed_settings["tokenizer"])
            self._runner = LiteRTRunner(path, num_threads)
        except PACKED_ERRORS as error:
            raise ValueError(
                f"{path} is not a LiteRT file of a question answerer ({error}): name one that "
                "`BertQuestionAnswerer.export` wrote."
            ) from error

    def _answer(self, question: Question) -> tuple[SpanAnswer, float, float]:
        rows = QuestionRows(self._tokenizer, question, self.settings)
        logits = [
            self._run(token_ids, segment_ids)
            for token_ids, segment_ids in zip(rows.token_ids, rows.segment_ids, strict=True)
        ]
        found = rows.predict(logits, n_best=1)
        best = found.n_best[0].probability if found.n_best else 0.0
        return found.answer, best, found.no_answer_probability

    def _run(self, token_ids: list[int], segment_ids: list[int]) -> np.ndarray:
        """Computes the logits of one row. *Shape:* (2, S)."""
        rows = (token_ids, segment_ids, [1] * len(token_ids))
        inputs = {name: np.array([row], "int32") for name, row in zip(INPUTS, rows, strict=True)}
        return self._runner(**inputs)["logits"][0]


def load_answerer(path: str | Path, num_threads: int = 1) -> Answerer:
    """Loads a SavedModel folder or a `.tflite` file of a question answerer.

    Args:
        path: The folder or file.
        num_threads: Of a file's interpreter; TensorFlow uses all cores.

    Raises:
        FileNotFoundError: If there is neither.
        ValueError: If it is not what `BertQuestionAnswerer.export` writes.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: name a SavedModel or a .tflite file.")
    return SavedModelAnswerer(path) if path.is_dir() else LiteRTAnswerer(path, num_threads)
