"""Classifiers loaded from what was exported, without Keras; files need no TensorFlow either.

Axes: B batch, S sequence, C classes.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_bert_scratch.serving.packed import (
    INPUTS,
    LABELS,
    MEDIAPIPE_NAMES,
    NAMES,
    SETTINGS,
    VOCABULARY,
    from_lines,
)
from keras_bert_scratch.serving.readers.base import (
    IdsReader,
    LiteRTReader,
    LiteRTRunner,
    OnnxReader,
    Reader,
    SavedModelReader,
    load,
)
from keras_bert_scratch.text.columns import text_columns
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import Vocabulary


class Predictor(Reader):
    """Classifies strings.

    Attributes:
        labels: Names of the classes.
    """

    labels: list[str]
    _task = "a classifier"

    def probabilities(self, texts: Any, batch_size: int = 32) -> np.ndarray:
        """Computes the probability of every class.

        Args:
            texts: Strings, or a tuple of two columns of strings.
            batch_size: B; batches of files have similar lengths.

        Returns:
            float32. *Shape:* (number of texts, C).
        """
        columns = [column for column in text_columns(texts) if column is not None]
        rows = [found["probabilities"] for found in self._answers(columns, batch_size)]
        return np.concatenate([np.zeros((0, len(self.labels)), "float32"), *rows])


class SavedModelPredictor(SavedModelReader, Predictor):
    """Runs an exported SavedModel, see `SavedModelReader`.

    Example:
        >>> SavedModelPredictor("saved_models/films").probabilities(["a film to remember"]).shape
        (1, 2)
    """

    _output = "label"

    def _read(self, folder: Path) -> None:
        self.labels = [name.decode() for name in self._run(text=[""])["classes"][0]]

    def _answers(
        self, columns: Sequence[Sequence[str]], batch_size: int
    ) -> Iterator[dict[str, np.ndarray]]:
        if len(columns) > 1 and "pairs" not in self._model.signatures:
            raise ValueError(
                "This SavedModel takes single texts, not pairs, for it reads more of long ones "
                'than their head: export a model with truncation="head".'
            )
        return super()._answers(columns, batch_size)


class _IdsPredictor(IdsReader, Predictor):
    """Tokenizes in Python, and takes ready ids, too."""

    def probabilities_of_ids(self, inputs: dict[str, Any]) -> np.ndarray:
        """Computes the probability of every class from ready inputs.

        Args:
            inputs: `token_ids`, `segment_ids` and `padding_mask` (1 for tokens, 0 for padding),
                integers. *Shape:* (B, S) each, S at most the file's sequence length.

        Returns:
            float32. *Shape:* (B, C).

        Raises:
            ValueError: If the file takes no ids, an input is missing, or has another type or shape,
                or an id is not one of the vocabulary.

        Example:
            >>> ids = np.array([[101, 2143, 102]])
            >>> predictor.probabilities_of_ids(
            ...     {"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": 0 * ids + 1}
            ... ).shape
            (1, 2)
        """
        if self._takes != "ids":
            takes = self._takes.replace("_", " ")
            raise ValueError(f"This file takes {takes}, not ids: export with inputs='ids'.")
        arrays = self._checked(inputs)
        count, length = arrays["token_ids"].shape
        if not count:
            return np.zeros((0, len(self.labels)), "float32")
        batches = [arrays]
        if self._is_static:
            missing = ((0, 0), (0, self._sequence_length - length))
            padded = {name: np.pad(array, missing) for name, array in arrays.items()}
            batches = [{name: padded[name][i : i + 1] for name in padded} for i in range(count)]
        return np.concatenate([self._run(batch)["probabilities"] for batch in batches])

    def _checked(self, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
        if set(inputs) != set(INPUTS):
            raise ValueError(f"The inputs are {', '.join(INPUTS)}; received {', '.join(inputs)}.")
        arrays = {name: np.asarray(inputs[name]) for name in INPUTS}
        shape = arrays["token_ids"].shape
        for name, array in arrays.items():
            if array.dtype.kind not in "iu":
                raise ValueError(f"{name} must be integers, received {array.dtype}: use int32.")
            if array.ndim != 2 or not array.shape[1] or array.shape != shape:
                raise ValueError(
                    f"The inputs share one shape (B, S), B texts of S tokens; received {name} of "
                    f"shape {array.shape} and token_ids of shape {shape}."
                )
        if shape[1] > self._sequence_length:
            raise ValueError(
                f"S is at most {self._sequence_length} tokens, received {shape[1]}: truncate the "
                "text, and keep the last [SEP]."
            )
        token_ids, size = arrays["token_ids"], len(self._tokenizer.vocabulary)
        if token_ids.size and (token_ids.min() < 0 or token_ids.max() >= size):
            raise ValueError(
                f"token_ids must be from 0 to {size - 1}, the vocabulary's; received "
                f"{token_ids.min()} to {token_ids.max()}: was the text tokenized with another one?"
            )
        return {name: array.astype("int32") for name, array in arrays.items()}


class LiteRTPredictor(_IdsPredictor, LiteRTReader):
    """Runs an exported LiteRT file, see `LiteRTReader`.

    Files that take text need tensorflow-text, too. MediaPipe's text classifiers run as well if they
    have BERT's inputs and a signature; they are tokenized as MediaPipe does.

    Example:
        >>> LiteRTPredictor("saved_models/films.tflite").probabilities(["a film to remember"]).shape
        (1, 2)
    """

    _output = "probabilities"

    def _settings(self, files: dict[str, str]) -> dict[str, Any]:
        self.labels = from_lines(files[LABELS])
        self._names = NAMES
        if SETTINGS in files:
            return super()._settings(files)
        self._names = MEDIAPIPE_NAMES
        vocabulary = Vocabulary(from_lines(files[VOCABULARY]))
        tokenizer = WordPieceTokenizer(vocabulary, normalization="mediapipe")
        return {"tokenizer": tokenizer.get_config(), "sequence_length": None, "inputs": "ids"}

    def _read(self, settings: dict[str, Any]) -> None:
        super()._read(settings)
        self._truncation = settings.get("truncation", "head")
        self._window_stride = settings.get("window_stride")
        if self._takes == "ids":
            details = self._runner.get_input_details()[self._names["token_ids"]]
            width = int(details["shape_signature"][1])
            self._is_static = width != -1
            self._takes_batches = int(details["shape_signature"][0]) == -1
            if self._is_static:
                self._sequence_length = width

    def _answers(
        self, columns: Sequence[Sequence[str]], batch_size: int
    ) -> Iterator[dict[str, np.ndarray]]:
        if self._takes != "text":
            return super()._answers(columns, batch_size)
        if len(columns) > 1:
            raise ValueError("This file takes one text, not a pair: export with inputs='ids'.")
        # Lone surrogates are no text; the tokenizer drops them.
        texts = (np.array([text.encode(errors="ignore")]) for text in columns[0])
        return (self._runner(text=text) for text in texts)

    def _run_on(self, runner: LiteRTRunner, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return runner(**{self._names.get(name, name): array for name, array in inputs.items()})


class OnnxPredictor(_IdsPredictor, OnnxReader):
    """Runs an exported ONNX file of a classifier, see `OnnxReader`.

    Example:
        >>> predictor = OnnxPredictor("saved_models/sentiment.onnx")
        >>> predictor.probabilities(["a film to remember"]).shape
        (1, 2)
    """

    _output = "probabilities"

    def _settings(self, files: dict[str, str]) -> dict[str, Any]:
        self.labels = json.loads(files["labels"])
        return super()._settings(files)


def load_predictor(path: str | Path, num_threads: int = 1) -> Predictor:
    """Loads a SavedModel folder, a `.tflite` or an `.onnx` file of a classifier, see `load`."""
    return load(path, num_threads, SavedModelPredictor, LiteRTPredictor, OnnxPredictor)
