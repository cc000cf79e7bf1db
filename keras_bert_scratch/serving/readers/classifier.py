"""Classifiers loaded from what was exported, without Keras; files need no TensorFlow either.

Axes: B batch, S sequence, C classes.
"""

import abc
import hashlib
import itertools
import json
import os
import threading
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from keras_bert_scratch.files import LARGEST_TEXT, check_hashes
from keras_bert_scratch.text.columns import text_columns
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.truncation import Truncation, check_truncation
from keras_bert_scratch.text.vocabulary import Vocabulary

# The inputs of a network that takes ids, in order.
INPUTS = ("token_ids", "segment_ids", "padding_mask")
# What MediaPipe calls them.
MEDIAPIPE_NAMES = {"token_ids": "ids", "segment_ids": "segment_ids", "padding_mask": "mask"}

# The name of the sha256 of a model within its file, and the bytes of this entry in an ONNX file.
MODEL_HASH = "model.sha256"
ONNX_HASH_BYTES = 82
# The record at the end of a zip archive, and the pointer to a longer one that may precede it.
_END_OF_ARCHIVE = 22 + 20
_LARGEST_LIST = 10_000
# What reading a damaged LiteRT file, and what is packed in it, raises.
PACKED_ERRORS = (
    OSError,
    EOFError,
    KeyError,
    TypeError,
    ValueError,
    RuntimeError,
    zipfile.BadZipFile,
)


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

        check_hashes(folder)
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
        rows = [np.zeros((0, len(self.labels)), "float32")]
        for start in range(0, len(texts), batch_size):
            batch = slice(start, start + batch_size)
            if pairs is not None and "pairs" not in self._model.signatures:
                raise ValueError(
                    "This SavedModel takes single texts, not pairs, for it reads more of long ones "
                    'than their head: export a model with truncation="head".'
                )
            if pairs is None:
                outputs = self._model.signatures["serving_default"](text=tf.constant(texts[batch]))
            else:
                outputs = self._model.signatures["pairs"](
                    text=tf.constant(texts[batch]), pair=tf.constant(pairs[batch])
                )
            rows.append(outputs["probabilities"].numpy())
        return np.concatenate(rows)


class _IdsPredictor(abc.ABC):
    """Tokenizes in Python and runs a network that takes ids.

    Attributes:
        labels: Names of the classes.
    """

    labels: list[str]
    _tokenizer: WordPieceTokenizer
    _sequence_length: int
    _truncation: Truncation = "head"
    _window_stride: int | None = None
    _is_static = False

    @abc.abstractmethod
    def _run(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Computes probabilities (*Shape:* (B, C)) from int32 inputs (*Shape:* (B, S) each)."""

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
            self._run(self._encode(text, pair))[:1]
            for text, pair in itertools.zip_longest(texts, pairs or ())
        ]
        return np.concatenate([np.zeros((0, len(self.labels)), "float32"), *rows])

    def probabilities_of_ids(self, inputs: dict[str, Any]) -> np.ndarray:
        """Computes the probability of every class from ready inputs.

        Args:
            inputs: `token_ids`, `segment_ids` and `padding_mask` (1 for tokens, 0 for padding),
                integers. *Shape:* (B, S) each, S at most the file's sequence length.

        Returns:
            float32. *Shape:* (B, C).

        Raises:
            ValueError: If an input is missing, or has another type or shape, or an id is not one of
                the vocabulary.

        Example:
            >>> ids = np.array([[101, 2143, 102]])
            >>> predictor.probabilities_of_ids(
            ...     {"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": 0 * ids + 1}
            ... ).shape
            (1, 2)
        """
        arrays = self._checked(inputs)
        if not len(arrays["token_ids"]):
            return np.zeros((0, len(self.labels)), "float32")
        if not self._is_static:
            return self._run(arrays)
        missing = self._sequence_length - arrays["token_ids"].shape[1]
        padded = {name: np.pad(array, ((0, 0), (0, missing))) for name, array in arrays.items()}
        count = len(padded["token_ids"])
        return np.concatenate(
            [self._run({name: padded[name][i : i + 1] for name in padded}) for i in range(count)]
        )

    def _encode(self, text: str, pair: str | None) -> dict[str, np.ndarray]:
        return encode_inputs(
            self._tokenizer,
            text,
            pair,
            sequence_length=self._sequence_length,
            truncation=self._truncation,
            window_stride=self._window_stride,
            pad=self._is_static,
        )

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


class LiteRTPredictor(_IdsPredictor):
    """Runs an exported LiteRT file, text by text, with the vocabulary and labels packed in it.

    It needs ai-edge-litert and numpy alone, and tensorflow-text for files that take text. Of
    MediaPipe's text classifiers it runs those that have BERT's inputs and a signature, tokenizing
    as MediaPipe does.

    Args:
        path: The `.tflite` file.
        num_threads: Of the interpreter.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not one that `export` wrote.
        ImportError: If ai-edge-litert is not installed.

    Example:
        >>> predictor = LiteRTPredictor("saved_models/sentiment.tflite")
        >>> predictor.probabilities(["a film to remember"]).shape
        (1, 2)
    """

    def __init__(self, path: str | Path, num_threads: int = 1) -> None:
        if not Path(path).exists():
            raise FileNotFoundError(f"{path} does not exist: name a .tflite file.")
        try:
            files = read_packed(path)
            self.labels = _lines(files["labels.txt"])
            if "tokenizer_config.json" in files:
                settings = json.loads(files["tokenizer_config.json"])
                self._tokenizer = WordPieceTokenizer.from_config(settings["tokenizer"])
                self._names = {name: name for name in INPUTS}
            else:
                settings = {"sequence_length": None, "inputs": "ids"}
                vocabulary = Vocabulary(_lines(files["vocab.txt"]))
                self._tokenizer = WordPieceTokenizer(vocabulary, normalization="mediapipe")
                self._names = MEDIAPIPE_NAMES
            self._takes_text = settings["inputs"] == "text"
            self._runner = LiteRTRunner(path, num_threads, self._takes_text)
            details = self._runner.get_input_details()
            if not self._takes_text:
                width = int(details[self._names["token_ids"]]["shape_signature"][1])
                self._is_static = width != -1
                settings["sequence_length"] = (
                    width if self._is_static else (settings["sequence_length"])
                )
        except PACKED_ERRORS as error:
            raise ValueError(
                f"{path} is not a LiteRT file with vocabulary and labels ({error}): name one that "
                "`export` wrote."
            ) from error
        self._sequence_length = settings["sequence_length"]
        self._truncation = settings.get("truncation", "head")
        self._window_stride = settings.get("window_stride")

    def probabilities(self, texts: Any, batch_size: int = 1) -> np.ndarray:
        """Computes the probability of every class, see the base."""
        if not self._takes_text:
            return super().probabilities(texts, batch_size)
        texts, pairs = text_columns(texts)
        if pairs is not None:
            raise ValueError("This file takes one text, not a pair: export with inputs='ids'.")
        # Lone surrogates are no text; the tokenizer drops them.
        rows = [
            self._runner(text=np.array([text.encode(errors="ignore")]))["probabilities"]
            for text in texts
        ]
        return np.concatenate([np.zeros((0, len(self.labels)), "float32"), *rows])

    def probabilities_of_ids(self, inputs: dict[str, Any]) -> np.ndarray:
        """Computes the probability of every class from ready inputs, see the base."""
        if self._takes_text:
            raise ValueError("This file takes text, not ids: export with inputs='ids'.")
        return super().probabilities_of_ids(inputs)

    def _run(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        outputs = self._runner(**{self._names[name]: array for name, array in inputs.items()})
        return outputs["probabilities"]


class OnnxPredictor(_IdsPredictor):
    """Runs an exported ONNX file in ONNX Runtime, with the vocabulary and labels in its metadata.

    Args:
        path: The `.onnx` file.
        num_threads: Of ONNX Runtime within an operation.
        allow_changed: Also loads a file that has been changed since it was exported, by
            `onnxruntime.quantization` for example. Its answers have been compared with nothing:
            measure them.

    Raises:
        ValueError: If the file is not one that `export` wrote, or has been changed.
        ImportError: If onnxruntime is not installed.

    Example:
        >>> predictor = OnnxPredictor("saved_models/sentiment.onnx")
        >>> predictor.probabilities(["a film to remember"]).shape
        (1, 2)
    """

    def __init__(
        self, path: str | Path, num_threads: int = 1, *, allow_changed: bool = False
    ) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise ImportError(
                "ONNX files run on onnxruntime, which is not installed: "
                'pip install "keras_bert_scratch[onnx]".'
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
            metadata = self._session.get_modelmeta().custom_metadata_map
            if MODEL_HASH in metadata and not allow_changed:
                size = os.path.getsize(path) - ONNX_HASH_BYTES
                _check_model(path, size, metadata[MODEL_HASH], " or pass allow_changed=True")
            self.labels = json.loads(metadata["labels"])
            settings = json.loads(metadata["tokenizer_config"])
        # ONNX Runtime's exceptions share no base but Exception.
        except Exception as error:
            raise ValueError(
                f"{path} is not an ONNX file with vocabulary and labels ({error}): name one that "
                "`export` wrote."
            ) from error
        self._tokenizer = WordPieceTokenizer.from_config(settings["tokenizer"])
        self._sequence_length = settings["sequence_length"]

    def _run(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        return self._session.run(["probabilities"], inputs)[0]


def encode_inputs(
    tokenizer: WordPieceTokenizer,
    text: str,
    pair: str | None = None,
    *,
    sequence_length: int,
    truncation: Truncation = "head",
    window_stride: int | None = None,
    pad: bool = False,
) -> dict[str, np.ndarray]:
    """Tokenizes one text, or a pair, without TensorFlow.

    Args:
        tokenizer: The tokenizer.
        text: The text.
        pair: The second text.
        sequence_length: Tokens to which the texts are truncated.
        truncation: What is read of a long text.
        window_stride: From the start of a window to the start of the next.
        pad: Whether S is `sequence_length`, or the number of tokens.

    Returns:
        `token_ids`, `segment_ids` and `padding_mask`, int32. *Shape:* (1, S) each, or (W, S) of the
        W windows.
    """
    check_truncation(truncation, 1 if pair is None else 2)
    if truncation == "windows":
        rows = tokenizer.encode_windows(
            text, sequence_length=sequence_length, window_stride=window_stride
        )
    else:
        rows = [
            tokenizer.encode(text, pair, sequence_length=sequence_length, truncation=truncation)
        ]
    longest = max(len(row.token_ids) for row in rows)
    shape = (len(rows), sequence_length if pad else longest)
    inputs = {
        "token_ids": np.full(shape, tokenizer.vocabulary.pad_id, "int32"),
        "segment_ids": np.zeros(shape, "int32"),
        "padding_mask": np.zeros(shape, "int32"),
    }
    for number, row in enumerate(rows):
        length = len(row.token_ids)
        inputs["token_ids"][number, :length] = row.token_ids
        inputs["segment_ids"][number, :length] = row.segment_ids
        inputs["padding_mask"][number, :length] = 1
    return inputs


def load_predictor(
    path: str | Path, num_threads: int = 1
) -> SavedModelPredictor | LiteRTPredictor | OnnxPredictor:
    """Loads a SavedModel folder, a `.tflite` or an `.onnx` file.

    Args:
        path: The folder or file.
        num_threads: Of a file's interpreter; TensorFlow uses all cores.

    Raises:
        FileNotFoundError: If there is neither.
        ValueError: If it is not what `export` writes.
    """
    path = Path(path)
    if path.is_dir():
        return SavedModelPredictor(path)
    if path.is_file():
        predictor = OnnxPredictor if path.suffix == ".onnx" else LiteRTPredictor
        return predictor(path, num_threads)
    raise FileNotFoundError(
        f"{path} does not exist: name a SavedModel folder, a .tflite or an .onnx file."
    )


def read_packed(path: str | Path) -> dict[str, str]:
    """Reads the texts that are packed behind a LiteRT model, as a zip archive.

    Args:
        path: The file.

    Returns:
        Their contents by name.

    Raises:
        ValueError: If there is no archive, it is compressed or too large, a text is not UTF-8, or
            the model is not the one that was written.
    """
    with open(path, "rb") as file:
        file.seek(-min(_END_OF_ARCHIVE, os.path.getsize(path)), os.SEEK_END)
        end = file.read()
    # Before zipfile makes an object of everything that the archive says it holds.
    listed = int.from_bytes(end[-10:-6], "little")
    if end[:4] == b"PK\x06\x07" or end[-22:-18] != b"PK\x05\x06" or listed > _LARGEST_LIST:
        raise ValueError(
            f"it does not end with a zip archive whose list of files has at most {_LARGEST_LIST} "
            f"bytes, received {listed}"
        )
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        # Stored, as MediaPipe wants them, they are no larger than what holds them.
        compressed = [entry.filename for entry in entries if entry.compress_type]
        size = sum(entry.file_size for entry in entries)
        if compressed or size > LARGEST_TEXT:
            raise ValueError(
                f"it packs {len(entries)} files of {size} bytes, {len(compressed)} of them "
                f"compressed; they must be stored as they are, in at most {LARGEST_TEXT} bytes"
            )
        files = {entry.filename: archive.read(entry).decode() for entry in entries}
    if MODEL_HASH in files:
        _check_model(path, min(entry.header_offset for entry in entries), files[MODEL_HASH])
    return files


def _check_model(path: str | Path, size: int, sha256: str, way_out: str = "") -> None:
    """Raises a ValueError if the first bytes of a file are not those that were written."""
    with open(path, "rb") as file:
        if hashlib.sha256(file.read(size)).hexdigest() != sha256:
            raise ValueError(f"its model has changed since it was written: restore it{way_out}")


class LiteRTRunner:
    """The signature of a LiteRT file, which any number of threads may call: one runs at a time.

    Args:
        path: The file.
        num_threads: Of the interpreter, for a call.
        takes_text: Whether the file has tensorflow-text's operations.

    Raises:
        ImportError: If the interpreter or tensorflow-text is not installed; the message names the
            extra that brings it.

    Example:
        >>> LiteRTRunner("saved_models/sentiment.tflite")(**inputs)["probabilities"].shape
        (1, 2)
    """

    def __init__(self, path: str | Path, num_threads: int = 1, takes_text: bool = False) -> None:
        # The signature does not keep its interpreter alive.
        self._interpreter = _litert_interpreter(path, num_threads, takes_text)
        self._signature = self._interpreter.get_signature_runner()
        self.get_input_details = self._signature.get_input_details
        self.get_output_details = self._signature.get_output_details
        # Inputs and outputs of a call lie in the interpreter, where another would overwrite them.
        self._lock = threading.Lock()

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Computes the outputs, by name."""
        with self._lock:
            return self._signature(**inputs)


def _litert_interpreter(path: str | Path, num_threads: int, takes_text: bool) -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter, InterpreterWithCustomOps
    except ImportError as error:
        raise ImportError(
            "LiteRT files run on ai-edge-litert, which is not installed: "
            'pip install "keras_bert_scratch[litert]".'
        ) from error
    if not takes_text:
        return Interpreter(model_path=str(path), num_threads=num_threads)
    try:
        from tensorflow_text import tflite_registrar
    except ImportError as error:
        raise ImportError(
            f"{path} takes text, for which LiteRT needs tensorflow-text's operations, which do not "
            f"import here ({error}): pip install tensorflow-text, or use a file that takes ids."
        ) from error
    return InterpreterWithCustomOps(
        custom_op_registerers=tflite_registrar.SELECT_TFTEXT_OPS,
        model_path=str(path),
        num_threads=num_threads,
    )


def _lines(text: str) -> list[str]:
    """Splits at line feeds alone: tokens and labels may hold other separators."""
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
