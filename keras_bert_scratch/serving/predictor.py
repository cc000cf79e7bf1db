"""Classifiers loaded from what was exported: neither Keras nor, for LiteRT, TensorFlow is needed.

Axes: B batch, S sequence, C classes.
"""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from keras_bert_scratch.text.columns import text_columns
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer


class SavedModelPredictor:
    """Runs the strings signatures of an exported SavedModel.

    Args:
        folder: The SavedModel.

    Raises:
        ValueError: If the folder holds no SavedModel, or one of another origin.

    Example:
        >>> predictor = SavedModelPredictor("saved_models/sentiment")
        >>> predictor.probabilities(["a film to remember"]).shape
        (1, 2)
    """

    def __init__(self, folder: str | Path) -> None:
        import tensorflow as tf

        try:
            self._model = tf.saved_model.load(str(folder))
            outputs = self._model.signatures["serving_default"](text=tf.constant([""]))
            self.labels = [name.decode() for name in outputs["classes"].numpy()[0]]
        except (OSError, KeyError, TypeError) as error:
            raise ValueError(
                f"{folder} is not a SavedModel of a classifier ({error}): name a folder that "
                "`export` wrote."
            ) from error

    def probabilities(self, texts: Any, batch_size: int = 32) -> np.ndarray:
        """Computes the probability of every class.

        Args:
            texts: Strings, or a tuple of two columns of strings.
            batch_size: B.

        Returns:
            float32. *Shape:* (number of texts, C).
        """
        import tensorflow as tf

        texts, pairs = text_columns(texts)
        rows = []
        for start in range(0, len(texts), batch_size):
            batch = slice(start, start + batch_size)
            if pairs is None:
                outputs = self._model.signatures["serving_default"](text=tf.constant(texts[batch]))
            else:
                outputs = self._model.signatures["pairs"](
                    text=tf.constant(texts[batch]), pair=tf.constant(pairs[batch])
                )
            rows.append(outputs["probabilities"].numpy())
        return np.concatenate(rows)


class LiteRTPredictor:
    """Runs an exported LiteRT file, text by text, with the vocabulary and labels packed in it.

    Args:
        path: The `.tflite` file.
        num_threads: Of the interpreter.

    Raises:
        ValueError: If the file is not one that `export` wrote.
        ImportError: If ai-edge-litert is not installed.

    Example:
        >>> predictor = LiteRTPredictor("saved_models/sentiment.tflite")
        >>> predictor.probabilities(["a film to remember"]).shape
        (1, 2)
    """

    def __init__(self, path: str | Path, num_threads: int = 1) -> None:
        try:
            with zipfile.ZipFile(path) as packed:
                self.labels = packed.read("labels.txt").decode().splitlines()
                settings = json.loads(packed.read("tokenizer_config.json"))
            self._tokenizer = WordPieceTokenizer.from_config(settings["tokenizer"])
            self._interpreter = litert_interpreter(path, num_threads)
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"{path} is not a LiteRT file with vocabulary and labels ({error}): name one that "
                "`export` wrote."
            ) from error
        self._sequence_length = settings["sequence_length"]
        self._runner = self._interpreter.get_signature_runner("serving_default")
        shape = self._runner.get_input_details()["token_ids"]["shape_signature"]
        self._is_static = int(shape[1]) != -1

    def probabilities(self, texts: Any, batch_size: int = 1) -> np.ndarray:
        """Computes the probability of every class.

        Args:
            texts: Strings, or a tuple of two columns of strings.
            batch_size: Texts run one by one, each at its own length.

        Returns:
            float32. *Shape:* (number of texts, C).
        """
        texts, pairs = text_columns(texts)
        rows = [
            self._runner(**self._inputs(text, pair))["probabilities"][0]
            for text, pair in zip(texts, pairs or [None] * len(texts), strict=True)
        ]
        return np.stack(rows)

    def _inputs(self, text: str, pair: str | None) -> dict[str, np.ndarray]:
        """Tokenizes one text. *Shape:* (1, S) each."""
        encoding = self._tokenizer.encode(text, pair, sequence_length=self._sequence_length)
        length = len(encoding.token_ids)
        width = self._sequence_length if self._is_static else length
        inputs = {
            "token_ids": np.full((1, width), self._tokenizer.vocabulary.pad_id, "int32"),
            "segment_ids": np.zeros((1, width), "int32"),
            "padding_mask": np.zeros((1, width), "int32"),
        }
        inputs["token_ids"][0, :length] = encoding.token_ids
        inputs["segment_ids"][0, :length] = encoding.segment_ids
        inputs["padding_mask"][0, :length] = 1
        return inputs


def load_predictor(
    path: str | Path, num_threads: int = 1
) -> SavedModelPredictor | LiteRTPredictor:
    """Loads a SavedModel folder or a `.tflite` file.

    Args:
        path: The folder or file.
        num_threads: Of a LiteRT file's interpreter; TensorFlow uses all cores.

    Raises:
        FileNotFoundError: If there is neither.
        ValueError: If it is not what `export` writes.
    """
    path = Path(path)
    if path.is_dir():
        return SavedModelPredictor(path)
    if path.is_file():
        return LiteRTPredictor(path, num_threads)
    raise FileNotFoundError(f"{path} does not exist: name a SavedModel folder or a .tflite file.")


def litert_interpreter(path: str | Path, num_threads: int = 1) -> Any:
    """Loads a LiteRT file; an ImportError names the extra that brings the interpreter."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise ImportError(
            "LiteRT files run on ai-edge-litert, which is not installed: "
            'pip install "keras_bert_scratch[litert]".'
        ) from error
    return Interpreter(model_path=str(path), num_threads=num_threads)
