"""Summarizers loaded from what was exported, without Keras; files need no TensorFlow either.

Axes: B batch, S sequence, T target sequence.
"""

import json
from pathlib import Path

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


class SavedModelSummarizer:
    """Runs an exported SavedModel of a summarizer.

    Args:
        folder: The SavedModel.

    Raises:
        ValueError: If the folder holds no SavedModel, or one of another origin.

    Example:
        >>> SavedModelSummarizer("saved_models/headlines").summarize(["A long article."])
        ['its headline']
    """

    def __init__(self, folder: str | Path) -> None:
        import tensorflow as tf

        check_hashes(folder)
        try:
            # The signature does not keep its model alive.
            self._model = tf.saved_model.load(str(folder))
            self._signature = self._model.signatures["serving_default"]
            self._signature.structured_outputs["summary"]
        except (OSError, KeyError, TypeError) as error:
            raise ValueError(
                f"{folder} is not a SavedModel of a summarizer ({error}): name a folder that "
                "`BertSummarizer.export` wrote."
            ) from error

    def summarize(self, texts: list[str], *, batch_size: int = 32) -> list[str]:
        """Writes a summary of each text.

        Args:
            texts: Strings.
            batch_size: B.
        """
        import tensorflow as tf

        texts, _ = text_columns(texts)
        summaries: list[str] = []
        for start in range(0, len(texts), batch_size):
            batch = tf.constant(texts[start : start + batch_size])
            found = self._signature(text=batch)["summary"].numpy()
            summaries += [summary.decode() for summary in found]
        return summaries


class LiteRTSummarizer:
    """Runs an exported LiteRT file of a summarizer, with the vocabulary packed in it.

    Args:
        path: The `.tflite` file.
        num_threads: Of the interpreter.

    Raises:
        ValueError: If the file is not one that `export` wrote.
        ImportError: If ai-edge-litert is not installed.

    Example:
        >>> LiteRTSummarizer("saved_models/headlines.tflite").summarize(["A long article."])
        ['its headline']
    """

    def __init__(self, path: str | Path, num_threads: int = 1) -> None:
        try:
            settings = json.loads(read_packed(path)["tokenizer_config.json"])
            self._sequence_length = settings["sequence_length"]
            self._tokenizer = WordPieceTokenizer.from_config(settings["tokenizer"])
            self._runner = LiteRTRunner(path, num_threads)
            self._runner.get_output_details()["summary_ids"]
        except PACKED_ERRORS as error:
            raise ValueError(
                f"{path} is not a LiteRT file of a summarizer ({error}): name one that "
                "`BertSummarizer.export` wrote."
            ) from error

    def summarize(self, texts: list[str]) -> list[str]:
        """Writes a summary of each text, one by one."""
        texts, _ = text_columns(texts)
        return [self._tokenizer.decode(self._summary_ids(text)) for text in texts]

    def _summary_ids(self, text: str) -> np.ndarray:
        """Computes the ids of a summary, [CLS] and [SEP] included. *Shape:* (T,)."""
        inputs = encode_inputs(self._tokenizer, text, sequence_length=self._sequence_length)
        return self._runner(**inputs)["summary_ids"][0]


def load_summarizer(
    path: str | Path, num_threads: int = 1
) -> SavedModelSummarizer | LiteRTSummarizer:
    """Loads a SavedModel folder or a `.tflite` file of a summarizer.

    Args:
        path: The folder or file.
        num_threads: Of a file's interpreter; TensorFlow uses all cores.

    Raises:
        FileNotFoundError: If there is neither.
        ValueError: If it is not what `BertSummarizer.export` writes.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: name a SavedModel or a .tflite file.")
    return SavedModelSummarizer(path) if path.is_dir() else LiteRTSummarizer(path, num_threads)
