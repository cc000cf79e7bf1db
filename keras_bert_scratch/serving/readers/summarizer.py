"""Summarizers loaded from what was exported, without Keras; files need no TensorFlow either.

Axes: B batch, T target sequence.
"""

import abc
from pathlib import Path
from typing import Any

import numpy as np

from keras_bert_scratch.serving.readers.base import LiteRTReader, Reader, SavedModelReader, load
from keras_bert_scratch.text.columns import text_columns


class Summarizer(Reader):
    """Writes summaries of strings.

    Example:
        >>> load_summarizer("saved_models/headlines").summarize(["A long article."])
        ['its headline']
    """

    _task = "a summarizer"

    @abc.abstractmethod
    def _decode(self, found: dict[str, np.ndarray]) -> list[str]:
        """Returns the summaries of a batch."""

    def summarize(self, texts: Any, *, batch_size: int = 32) -> list[str]:
        """Writes a summary of each text.

        Args:
            texts: Strings.
            batch_size: B of a SavedModel; files run the texts one by one.
        """
        batches = self._answers([text_columns(texts)[0]], batch_size)
        return [summary for found in batches for summary in self._decode(found)]


class SavedModelSummarizer(SavedModelReader, Summarizer):
    """Runs an exported SavedModel of a summarizer, see `SavedModelReader`."""

    _output = "summary"

    def _decode(self, found: dict[str, np.ndarray]) -> list[str]:
        return [summary.decode() for summary in found["summary"]]


class LiteRTSummarizer(LiteRTReader, Summarizer):
    """Runs an exported LiteRT file of a summarizer, see `LiteRTReader`."""

    _output = "summary_ids"
    _takes_batches = False

    def _decode(self, found: dict[str, np.ndarray]) -> list[str]:
        return [self._tokenizer.decode(found["summary_ids"][0])]


def load_summarizer(path: str | Path, num_threads: int = 1) -> Summarizer:
    """Loads a SavedModel folder or a `.tflite` file of a summarizer, see `load`."""
    return load(path, num_threads, SavedModelSummarizer, LiteRTSummarizer)
