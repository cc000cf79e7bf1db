"""Sentence encoders loaded from what was exported, without Keras; files need no TensorFlow either.

Axes: B batch, S sequence, H hidden.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from keras_bert_scratch.files import check_hashes
from keras_bert_scratch.serving.predictor import (
    PACKED_ERRORS,
    LiteRTRunner,
    encode_inputs,
    read_packed,
)
from keras_bert_scratch.text.columns import text_columns
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer


class SavedModelEmbedder:
    """Runs an exported SavedModel of a sentence encoder.

    Args:
        folder: The SavedModel.

    Raises:
        ValueError: If the folder holds no SavedModel, or one of another origin.

    Example:
        >>> SavedModelEmbedder("saved_models/encoder").encode(["a film to remember"]).shape
        (1, 384)
    """

    def __init__(self, folder: str | Path) -> None:
        import tensorflow as tf

        check_hashes(folder)
        try:
            # The signature does not keep its model alive.
            self._model = tf.saved_model.load(str(folder))
            self._signature = self._model.signatures["serving_default"]
            self._hidden_dim = self._signature.structured_outputs["embeddings"].shape[-1]
        except (OSError, KeyError) as error:
            raise ValueError(
                f"{folder} is not a SavedModel of a sentence encoder ({error}): name a folder that "
                "`BertSentenceEncoder.export` wrote."
            ) from error

    def encode(self, texts: Any, batch_size: int = 32) -> np.ndarray:
        """Computes the embeddings of texts.

        Args:
            texts: n strings.
            batch_size: B.

        Returns:
            float32. *Shape:* (n, H).
        """
        import tensorflow as tf

        texts, _ = text_columns(texts)
        rows = [np.zeros((0, self._hidden_dim), "float32")]
        for start in range(0, len(texts), batch_size):
            batch = tf.constant(texts[start : start + batch_size])
            rows.append(self._signature(text=batch)["embeddings"].numpy())
        return np.concatenate(rows)


class LiteRTEmbedder:
    """Runs an exported LiteRT file of a sentence encoder, with the vocabulary packed in it.

    It needs ai-edge-litert and numpy alone.

    Args:
        path: The `.tflite` file.
        num_threads: Of the interpreter.

    Raises:
        ValueError: If the file is not one that `export` wrote.
        ImportError: If ai-edge-litert is not installed.

    Example:
        >>> LiteRTEmbedder("saved_models/encoder.tflite").encode(["a film to remember"]).shape
        (1, 384)
    """

    def __init__(self, path: str | Path, num_threads: int = 1) -> None:
        try:
            settings = json.loads(read_packed(path)["tokenizer_config.json"])
            self._runner = LiteRTRunner(path, num_threads)
            self._hidden_dim = self._runner.get_output_details()["embeddings"]["shape"][-1]
        except PACKED_ERRORS as error:
            raise ValueError(
                f"{path} is not a LiteRT file of a sentence encoder ({error}): name one that "
                "`BertSentenceEncoder.export` wrote."
            ) from error
        self._tokenizer = WordPieceTokenizer.from_config(settings["tokenizer"])
        self._sequence_length = settings["sequence_length"]

    def encode(self, texts: Any, batch_size: int = 1) -> np.ndarray:
        """Computes the embeddings of texts.

        Args:
            texts: n strings.
            batch_size: Texts run one by one, each at its own length.

        Returns:
            float32. *Shape:* (n, H).
        """
        rows = [np.zeros((0, self._hidden_dim), "float32")]
        for text in text_columns(texts)[0]:
            inputs = encode_inputs(self._tokenizer, text, sequence_length=self._sequence_length)
            rows.append(self._runner(**inputs)["embeddings"])
        return np.concatenate(rows)


def load_embedder(path: str | Path, num_threads: int = 1) -> SavedModelEmbedder | LiteRTEmbedder:
    """Loads a SavedModel folder or a `.tflite` file of a sentence encoder.

    Args:
        path: The folder or file.
        num_threads: Of the LiteRT interpreter; TensorFlow uses all cores.

    Raises:
        FileNotFoundError: If there is neither.
        ValueError: If it is not what `BertSentenceEncoder.export` writes.
    """
    path = Path(path)
    if path.is_dir():
        return SavedModelEmbedder(path)
    if path.is_file():
        return LiteRTEmbedder(path, num_threads)
    raise FileNotFoundError(f"{path} does not exist: name a SavedModel folder or a .tflite file.")
