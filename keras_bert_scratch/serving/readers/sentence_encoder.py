"""Sentence encoders loaded from what was exported, without Keras; files need no TensorFlow either.

Axes: B batch, H hidden.
"""

from pathlib import Path
from typing import Any

import numpy as np

from keras_bert_scratch.serving.readers.base import (
    LiteRTReader,
    OnnxReader,
    Reader,
    SavedModelReader,
    load,
)
from keras_bert_scratch.text.columns import text_columns


class Embedder(Reader):
    """Computes embeddings of strings.

    Example:
        >>> load_embedder("saved_models/encoder").encode(["a film to remember"]).shape
        (1, 384)
    """

    _task, _output = "a sentence encoder", "embeddings"

    def encode(self, texts: Any, batch_size: int = 32) -> np.ndarray:
        """Computes the embeddings of texts.

        Args:
            texts: n strings.
            batch_size: B; batches of files have similar lengths.

        Returns:
            float32. *Shape:* (n, H).
        """
        rows = [f["embeddings"] for f in self._answers([text_columns(texts)[0]], batch_size)]
        return np.concatenate([np.zeros((0, self._width), "float32"), *rows])


class SavedModelEmbedder(SavedModelReader, Embedder):
    """Runs an exported SavedModel of a sentence encoder, see `SavedModelReader`."""


class LiteRTEmbedder(LiteRTReader, Embedder):
    """Runs an exported LiteRT file of a sentence encoder, see `LiteRTReader`."""


class OnnxEmbedder(OnnxReader, Embedder):
    """Runs an exported ONNX file of a sentence encoder, see `OnnxReader`."""


def load_embedder(path: str | Path, num_threads: int = 1) -> Embedder:
    """Loads a SavedModel, a `.tflite` or an `.onnx` file of a sentence encoder, see `load`."""
    return load(path, num_threads, SavedModelEmbedder, LiteRTEmbedder, OnnxEmbedder)
