"""Taggers loaded from what was exported, without Keras; files need no TensorFlow either.

Axes: C classes, W words.
"""

import abc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_bert_scratch.data.tags import TaggedSpan, WordRows, tagged_spans
from keras_bert_scratch.serving.readers.base import (
    IdsReader,
    LiteRTReader,
    OnnxReader,
    SavedModelReader,
    load,
)
from keras_bert_scratch.text.truncation import Truncation


class Tagger(abc.ABC):
    """Tags the words of strings.

    Attributes:
        labels: Names of the tags.

    Example:
        >>> load_tagger("saved_models/entities").find_spans(["Jane Austen lived in Bath."])
        [[TaggedSpan(text='Jane Austen', label='person', start=0, end=11, probability=0.98), ...]]
    """

    labels: list[str]
    _task = "a tagger"

    @abc.abstractmethod
    def _words(self, text: str) -> tuple[str, Any, np.ndarray]:
        """Returns the text, its words' offsets, and their probabilities. *Shape:* (W, C)."""

    def probabilities(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Computes the probability of every tag, for every word of each text. *Shape:* (W, C)."""
        return [self._words(text)[2] for text in texts]

    def word_probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Returns the same as one array. *Shape:* (words of all texts, C)."""
        return np.concatenate(
            [np.zeros((0, len(self.labels)), "float32"), *self.probabilities(texts)]
        )

    def find_spans(self, texts: Sequence[str]) -> list[list[TaggedSpan]]:
        """Returns the spans of each text, see `BertTokenClassifier.find_spans`."""
        return [tagged_spans(*self._words(text), self.labels) for text in texts]


class SavedModelTagger(Tagger, SavedModelReader):
    """Runs an exported SavedModel of a tagger, see `SavedModelReader`."""

    _output = "num_words"

    def _read(self, folder: Path) -> None:
        self.labels = [name.decode() for name in self._run(text=[""])["classes"][0]]

    def _words(self, text: str) -> tuple[str, Any, np.ndarray]:
        # Alone: texts of a batch are padded to the longest.
        found = {name: values[0] for name, values in self._run(text=[text]).items()}
        number = found["num_words"]
        offsets = np.stack([found["starts"], found["ends"]], axis=-1)
        return text, offsets[:number], found["probabilities"][:number]


class _IdsTagger(Tagger, IdsReader):
    _output = "probabilities"
    # A file that takes code points reads all of a text.
    _truncation: Truncation = "windows"

    def _read(self, settings: dict[str, Any]) -> None:
        super()._read(settings)
        self.labels = settings["tags"]
        self._windows = {name: settings[name] for name in ("sequence_length", "window_stride")}

    def _words(self, text: str) -> tuple[str, Any, np.ndarray]:
        if self._takes == "code_points":
            return self._words_of_code_points(text)
        rows = WordRows(self._tokenizer, text, **self._windows)
        found = self._run_rows(rows.token_ids, [[0] * len(row) for row in rows.token_ids])
        return rows.words.text, rows.words.offsets, rows.of_words(found)

    def _words_of_code_points(self, text: str) -> tuple[str, Any, np.ndarray]:
        found = self._run({"code_points": self._encode_code_points(text)})
        starts, ends, opens, probabilities = (
            found[name][0] for name in ("starts", "ends", "opens_word", "probabilities")
        )
        first = np.flatnonzero(opens)
        # A word ends where its last token does: the one before the next word, or the text's last.
        last = np.append(first[1:], np.count_nonzero(ends))[: len(first)] - 1
        return text, np.stack([starts[first], ends[last]], axis=-1), probabilities[first]


class LiteRTTagger(_IdsTagger, LiteRTReader):
    """Runs an exported LiteRT file of a tagger, see `LiteRTReader`."""


class OnnxTagger(_IdsTagger, OnnxReader):
    """Runs an exported ONNX file of a tagger, see `OnnxReader`."""


def load_tagger(path: str | Path, num_threads: int = 1) -> Tagger:
    """Loads a SavedModel folder, a `.tflite` or an `.onnx` file of a tagger, see `load`."""
    return load(path, num_threads, SavedModelTagger, LiteRTTagger, OnnxTagger)
