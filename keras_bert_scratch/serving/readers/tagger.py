"""Taggers loaded from what was exported, without Keras; files need no TensorFlow either.

Axes: B batch, S sequence, C classes, W words.
"""

import abc
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_bert_scratch.data.tags import TaggedSpan, WordRows, tagged_spans
from keras_bert_scratch.files import check_hashes
from keras_bert_scratch.serving.predictor import (
    INPUTS,
    PACKED_ERRORS,
    LiteRTRunner,
    read_packed,
)
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer


class Tagger(abc.ABC):
    """Tags the words of strings.

    Attributes:
        labels: Names of the tags.
    """

    labels: list[str]

    @abc.abstractmethod
    def _words(self, texts: list[str]) -> list[tuple[str, Any, np.ndarray]]:
        """Returns each text, its words' offsets, and their probabilities. *Shape:* (W, C)."""

    def probabilities(self, texts: list[str]) -> list[np.ndarray]:
        """Computes the probability of every tag, for every word of each text. *Shape:* (W, C)."""
        return [probabilities for _, _, probabilities in self._words(texts)]

    def padded_probabilities(self, texts: list[str]) -> np.ndarray:
        """Returns the same as one array. *Shape:* (number of texts, W, C)."""
        return padded(self.probabilities(texts), len(self.labels))

    def find_spans(self, texts: list[str]) -> list[list[TaggedSpan]]:
        """Returns the spans of each text, see `BertTokenClassifier.find_spans`."""
        return [tagged_spans(*words, self.labels) for words in self._words(texts)]


class SavedModelTagger(Tagger):
    """Runs an exported SavedModel of a tagger.

    Args:
        folder: The SavedModel.

    Raises:
        ValueError: If the folder holds no SavedModel, or one of another origin.

    Example:
        >>> SavedModelTagger("saved_models/entities").find_spans(["Jane Austen lived in Bath."])
        [[TaggedSpan(text='Jane Austen', label='person', start=0, end=11, probability=0.98), ...]]
    """

    def __init__(self, folder: str | Path) -> None:
        import tensorflow as tf

        check_hashes(folder)
        try:
            # The signature does not keep its model alive.
            self._model = tf.saved_model.load(str(folder))
            self._signature = self._model.signatures["serving_default"]
            outputs = self._signature(text=tf.constant([""]))
            self.labels = [name.decode() for name in outputs["classes"].numpy()[0]]
            outputs["num_words"]
        except (OSError, KeyError, TypeError) as error:
            raise ValueError(
                f"{folder} is not a SavedModel of a tagger ({error}): name a folder that "
                "`BertTokenClassifier.export` wrote."
            ) from error

    def _words(self, texts: list[str]) -> list[tuple[str, Any, np.ndarray]]:
        import tensorflow as tf

        # One by one: texts of a batch are padded to the longest.
        words = []
        for text in texts:
            outputs = self._signature(text=tf.constant([text]))
            number = int(outputs["num_words"][0])
            offsets = np.stack([outputs["starts"][0], outputs["ends"][0]], axis=-1)
            words.append((text, offsets[:number], outputs["probabilities"].numpy()[0, :number]))
        return words


class LiteRTTagger(Tagger):
    """Runs an exported LiteRT file of a tagger, with the vocabulary and tags packed in it.

    Args:
        path: The `.tflite` file.
        num_threads: Of the interpreter.

    Raises:
        ValueError: If the file is not one that `export` wrote.
        ImportError: If ai-edge-litert is not installed.

    Example:
        >>> LiteRTTagger("saved_models/entities.tflite").find_spans(["Jane Austen lived in Bath."])
        [[TaggedSpan(text='Jane Austen', label='person', start=0, end=11, probability=0.98), ...]]
    """

    def __init__(self, path: str | Path, num_threads: int = 1) -> None:
        try:
            settings = json.loads(read_packed(path)["tokenizer_config.json"])
            self.labels = settings["tags"]
            self._tokenizer = WordPieceTokenizer.from_config(settings["tokenizer"])
            self._windows = {name: settings[name] for name in ("sequence_length", "window_stride")}
            self._runner = LiteRTRunner(path, num_threads)
        except PACKED_ERRORS as error:
            raise ValueError(
                f"{path} is not a LiteRT file of a tagger ({error}): name one that "
                "`BertTokenClassifier.export` wrote."
            ) from error

    def _words(self, texts: list[str]) -> list[tuple[str, Any, np.ndarray]]:
        words = []
        for text in texts:
            rows = WordRows(self._tokenizer, text, **self._windows)
            found = [self._run(row) for row in rows.token_ids]
            words.append((rows.words.text, rows.words.offsets, rows.of_words(found)))
        return words

    def _run(self, token_ids: Sequence[int]) -> np.ndarray:
        """Computes the probabilities of every token. *Shape:* (S, C)."""
        ids = np.array([token_ids], "int32")
        inputs = dict(zip(INPUTS, (ids, np.zeros_like(ids), np.ones_like(ids)), strict=True))
        return self._runner(**inputs)["probabilities"][0]


def padded(probabilities: Sequence[np.ndarray], num_classes: int) -> np.ndarray:
    """Fills up the words of each text with zeros. *Shape:* (number of texts, W, C)."""
    most = max(map(len, probabilities), default=0)
    filled = [np.pad(rows, ((0, most - len(rows)), (0, 0))) for rows in probabilities]
    return np.stack(filled) if filled else np.zeros((0, 0, num_classes), "float32")


def load_tagger(path: str | Path, num_threads: int = 1) -> Tagger:
    """Loads a SavedModel folder or a `.tflite` file of a tagger.

    Args:
        path: The folder or file.
        num_threads: Of a file's interpreter; TensorFlow uses all cores.

    Raises:
        FileNotFoundError: If there is neither.
        ValueError: If it is not what `BertTokenClassifier.export` writes.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: name a SavedModel or a .tflite file.")
    return SavedModelTagger(path) if path.is_dir() else LiteRTTagger(path, num_threads)
