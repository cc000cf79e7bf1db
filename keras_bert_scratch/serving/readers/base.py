"""Bases of the readers of all tasks, which load exports without Keras.

A reader combines the answers of a task, such as `Tagger`, with `SavedModelReader`, `LiteRTReader`
or `OnnxReader`. Reading files does not need TensorFlow either.

Axes: B batch, S sequence.
"""

import abc
import collections
import concurrent.futures
import itertools
import json
import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_bert_scratch.extras import installation
from keras_bert_scratch.files import check_hashes
from keras_bert_scratch.serving.packed import (
    MODEL_HASH,
    ONNX_HASH_BYTES,
    RAW,
    READ_ERRORS,
    SETTINGS,
    check_model,
    encode_code_points,
    encode_inputs,
    id_inputs,
    unpack,
)
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.truncation import Truncation, check_truncation

# Most tokens of a batch, padding included: more gain nothing, and cost memory.
_BATCH_TOKENS = 4096
# Most interpreters of a file, each of which holds its weights.
_MOST_INTERPRETERS = 8
Inputs = dict[str, np.ndarray]


class Reader(abc.ABC):
    """An export of a task, in any format."""

    # Name of the task in errors, and the output that tells its exports from those of others.
    _task: str
    _output: str
    _width: int

    @abc.abstractmethod
    def _answers(
        self, columns: Sequence[Sequence[str]], batch_size: int
    ) -> Iterator[dict[str, np.ndarray]]:
        """Yields the outputs of every batch of texts, or of pairs."""


class SavedModelReader(Reader):
    """Loads an exported SavedModel, and runs its signatures.

    Args:
        folder: The SavedModel.

    Raises:
        ValueError: If the folder holds no SavedModel, one of another task, or a changed one.
    """

    def __init__(self, folder: str | Path) -> None:
        import tensorflow as tf

        check_hashes(folder)
        try:
            # Held, because a signature does not keep its model alive.
            self._model = tf.saved_model.load(str(folder))
            outputs = self._model.signatures["serving_default"].structured_outputs
            self._width = outputs[self._output].shape[-1]
            self._read(Path(folder))
        except READ_ERRORS as error:
            raise ValueError(
                f"{folder} is not a SavedModel of {self._task} ({error}): name a folder that "
                "`export` wrote."
            ) from error

    def _read(self, folder: Path) -> None:
        """Reads what else the task needs."""

    def _run(self, signature: str = "serving_default", **columns: Sequence[str]) -> dict[str, Any]:
        """Runs a signature on columns of strings, by name."""
        import tensorflow as tf

        inputs = {name: tf.constant(column, tf.string) for name, column in columns.items()}
        outputs = self._model.signatures[signature](**inputs)
        return {name: value.numpy() for name, value in outputs.items()}

    def _answers(
        self, columns: Sequence[Sequence[str]], batch_size: int
    ) -> Iterator[dict[str, np.ndarray]]:
        signature = "serving_default" if len(columns) == 1 else "pairs"
        for start in range(0, len(columns[0]), batch_size):
            batch = [column[start : start + batch_size] for column in columns]
            yield self._run(signature, **dict(zip(("text", "pair"), batch, strict=False)))


class IdsReader(Reader):
    """Tokenizes in Python and runs a network that takes ids."""

    _tokenizer: WordPieceTokenizer
    _sequence_length: int
    _truncation: Truncation = "head"
    _window_stride: int | None = None
    _is_static = False
    # Whether B is free, too.
    _takes_batches = True
    # "ids", "code_points", or "text", as files of version 0.1.0 may; how many code points, if not
    # any number, and whether there are two texts.
    _takes = "ids"
    _num_code_points: int | None = None
    _pairs = False

    @abc.abstractmethod
    def _run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Computes the outputs from int32 inputs. *Shape:* (B, S) each."""

    def _settings(self, files: dict[str, str]) -> dict[str, Any]:
        """Returns the settings among the texts that are packed in the file."""
        return json.loads(files[SETTINGS])

    def _read(self, settings: dict[str, Any]) -> None:
        """Takes over the settings."""
        self._sequence_length = settings["sequence_length"]
        self._takes = settings.get("inputs", "ids")
        self._num_code_points = settings.get("num_code_points")
        self._pairs = settings.get("pairs", False)

    def _encode(self, text: str, pair: str | None = None) -> dict[str, np.ndarray]:
        return encode_inputs(
            self._tokenizer,
            text,
            pair,
            sequence_length=self._sequence_length,
            truncation=self._truncation,
            window_stride=self._window_stride,
            pad=self._is_static,
        )

    def _answers(
        self, columns: Sequence[Sequence[str]], batch_size: int
    ) -> Iterator[dict[str, np.ndarray]]:
        if self._takes == "code_points":
            names = ("code_points", "pair") if self._pairs else ("code_points",)
            if len(columns) != len(names):
                raise ValueError(
                    "This file takes a pair, not one text: export without pairs=True."
                    if self._pairs
                    else "This file takes one text, not a pair: export with pairs=True."
                )
            # All of them first, so that none is refused after others have run.
            rows = [[*map(self._encode_code_points, texts)] for texts in zip(*columns, strict=True)]
            yield from self._run_all(dict(zip(names, row, strict=True)) for row in rows)
        elif self._is_static or not self._takes_batches or self._truncation == "windows":
            # A text is a batch: the row that the file takes, or its windows.
            yield from self._run_all(self._encode(*texts) for texts in zip(*columns, strict=True))
        elif columns[0]:
            yield self._in_order(columns, batch_size)

    def raw(
        self,
        columns: Sequence[Sequence[str]],
        batch_size: int,
        progress: Callable[[int], Any] | None = None,
    ) -> np.ndarray:
        """Returns what the network of an engine's file computes, see `serving.engines`.

        Args:
            columns: One list of texts, or two for pairs.
            batch_size: B.
            progress: Called with the number of texts of each batch that was answered.

        Returns:
            float32. *Shape:* (n, C) or (n, H).
        """
        found = self._in_order(columns, batch_size, progress)
        return found.get(RAW, found[self._output])

    def _in_order(
        self,
        columns: Sequence[Sequence[str]],
        batch_size: int,
        progress: Callable[[int], Any] | None = None,
    ) -> dict[str, np.ndarray]:
        """Runs batches of similar lengths, and returns the outputs in the order of the texts."""
        check_truncation(self._truncation, len(columns))
        encoded = (
            self._tokenizer.encode(
                *texts, sequence_length=self._sequence_length, truncation=self._truncation
            )
            for texts in zip(*columns, strict=True)
        )
        rows = [(row.token_ids, row.segment_ids) for row in encoded]
        batches = batches_of_similar_lengths([len(ids) for ids, _ in rows], batch_size)
        pad_id = self._tokenizer.vocabulary.pad_id
        inputs = (id_inputs([rows[i] for i in batch], pad_id) for batch in batches)
        found = []
        for outputs in self._run_all(inputs):
            found.append(outputs)
            if progress is not None:
                progress(len(batches[len(found) - 1]))
        # Row i of the outputs belongs to text order[i]; argsort of a permutation inverts it.
        original = np.argsort(np.concatenate(batches))
        return {
            name: np.concatenate([outputs[name] for outputs in found])[original]
            for name in found[0]
        }

    def _run_all(self, batches: Iterable[Inputs]) -> Iterator[dict[str, np.ndarray]]:
        """Computes the outputs of many inputs, in their order."""
        return map(self._run, batches)

    def _encode_code_points(self, text: str) -> np.ndarray:
        """Returns the code points of a text, *shape:* (1, N), of a long one those that are read.

        Raises:
            ValueError: If the file would have to read more than it can.
        """
        size = self._num_code_points
        if size is not None and len(text) > size:
            text = self._read_part(text)
            if len(text) > size:
                raise ValueError(
                    f"The file takes {size} code points, and of the text that begins with "
                    f"{text[:40]!r} it would have to read {len(text)}: shorten it, or export with "
                    "a larger num_code_points."
                )
        return encode_code_points(text, size)

    def _read_part(self, text: str) -> str:
        """Returns the start of a text that has all tokens which are read."""
        if self._truncation != "head" or self._pairs:
            return text
        encoded = self._tokenizer.encode(text, sequence_length=self._sequence_length)
        part = text[: encoded.offsets[-2][1]]
        again = self._tokenizer.encode(part, sequence_length=self._sequence_length)
        return part if again.token_ids == encoded.token_ids else text

    def _run_rows(
        self, token_ids: Sequence[Sequence[int]], segment_ids: Sequence[Sequence[int]]
    ) -> list[np.ndarray]:
        """Computes the output of every row, each alone. *Shape:* (S, ...) each."""
        rows = zip(token_ids, segment_ids, strict=True)
        return [self._run(id_inputs([row]))[self._output][0] for row in rows]


class LiteRTReader(IdsReader):
    """Loads an exported LiteRT file, with the vocabulary and the settings packed in it.

    It needs ai-edge-litert and numpy alone.

    Args:
        path: The `.tflite` file.
        num_threads: Number of threads: of the interpreter for a single batch, and side by side,
            with an interpreter each, for several.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not one that the task's `export` wrote, or has been changed.
        ImportError: If ai-edge-litert is not installed.
    """

    def __init__(self, path: str | Path, num_threads: int = 1) -> None:
        if not Path(path).exists():
            raise FileNotFoundError(f"{path} does not exist: name a .tflite file.")
        self._path, self._num_threads = path, num_threads
        self._runners: list[LiteRTRunner] = []
        self._lock = threading.Lock()
        try:
            settings = self._settings(unpack(path))
            self._tokenizer = WordPieceTokenizer.from_config(settings["tokenizer"])
            self._runner = LiteRTRunner(path, num_threads, settings.get("inputs") == "text")
            self._width = self._runner.get_output_details()[self._output]["shape"][-1]
            self._read(settings)
        except READ_ERRORS as error:
            raise ValueError(
                f"{path} is not a LiteRT file of {self._task} ({error}): name one that `export` "
                "wrote."
            ) from error

    def _run(self, inputs: Inputs) -> dict[str, np.ndarray]:
        return self._run_on(self._runner, inputs)

    def _run_on(self, runner: "LiteRTRunner", inputs: Inputs) -> dict[str, np.ndarray]:
        """Computes the outputs by an interpreter of the file."""
        return runner(**inputs)

    def _run_all(self, batches: Iterable[Inputs]) -> Iterator[dict[str, np.ndarray]]:
        """Computes the outputs of many inputs, in their order, with a batch for each thread."""
        batches = iter(batches)
        first = [*itertools.islice(batches, 2)]
        if self._num_threads == 1 or len(first) < 2 or self._takes == "text":
            yield from map(self._run, itertools.chain(first, batches))
            return
        runners = self._single_runners()

        def run(inputs: Inputs) -> dict[str, np.ndarray]:
            runner = runners.get()
            try:
                return self._run_on(runner, inputs)
            finally:
                runners.put(runner)

        size = runners.qsize()
        waiting: collections.deque[concurrent.futures.Future] = collections.deque()
        with concurrent.futures.ThreadPoolExecutor(size) as pool:
            for inputs in itertools.chain(first, batches):
                waiting.append(pool.submit(run, inputs))
                # A bounded number of inputs is held.
                if len(waiting) > 2 * size:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _single_runners(self) -> "queue.SimpleQueue[LiteRTRunner]":
        """Returns interpreters that run side by side: faster than one whose threads wait."""
        count = min(self._num_threads, _MOST_INTERPRETERS)
        with self._lock:
            while len(self._runners) < count:
                self._runners.append(LiteRTRunner(self._path, self._num_threads // count))
        runners: queue.SimpleQueue[LiteRTRunner] = queue.SimpleQueue()
        for runner in self._runners:
            runners.put(runner)
        return runners


class OnnxReader(IdsReader):
    """Runs an exported ONNX file in ONNX Runtime, with the vocabulary and settings in its metadata.

    Args:
        path: The `.onnx` file.
        num_threads: Number of threads of ONNX Runtime within an operation.
        allow_changed: Whether to also load a file that has been changed since it was exported, for
            example by `onnxruntime.quantization`. Its answers have not been compared with the
            model's: measure them.

    Raises:
        ValueError: If the file is not one that the task's `export` wrote, or has been changed.
        ImportError: If onnxruntime is not installed.
    """

    def __init__(
        self, path: str | Path, num_threads: int = 1, *, allow_changed: bool = False
    ) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise ImportError(
                f"ONNX files run on onnxruntime, which is not installed: {installation('onnx')}."
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
                check_model(path, size, metadata[MODEL_HASH], " or pass allow_changed=True")
            settings = self._settings({SETTINGS: metadata["tokenizer_config"], **metadata})
            self._tokenizer = WordPieceTokenizer.from_config(settings["tokenizer"])
            self._outputs = {output.name: output for output in self._session.get_outputs()}
            self._width = self._outputs[self._output].shape[-1]
            self._read(settings)
        # ONNX Runtime's exceptions share no base but Exception.
        except Exception as error:
            raise ValueError(
                f"{path} is not an ONNX file of {self._task} ({error}): name one that `export` "
                "wrote."
            ) from error

    def _run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(self._outputs, self._session.run([*self._outputs], inputs), strict=True))


class LiteRTRunner:
    """The signature of a LiteRT file, which any number of threads may call: one runs at a time.

    Args:
        path: The file.
        num_threads: Number of threads of the interpreter, for a call.
        takes_text: Whether the file has tensorflow-text's operations.

    Raises:
        ImportError: If the interpreter or tensorflow-text is not installed; the message names the
            extra that brings it.

    Example:
        >>> LiteRTRunner("saved_models/sentiment.tflite")(**inputs)["probabilities"].shape
        (1, 2)
    """

    def __init__(self, path: str | Path, num_threads: int = 1, takes_text: bool = False) -> None:
        # Held, because the signature does not keep its interpreter alive.
        self._interpreter = _litert_interpreter(path, num_threads, takes_text)
        # Files of others have one of any name; those that learn on the device have several.
        several = len(self._interpreter.get_signature_list()) > 1
        self._signature = self._interpreter.get_signature_runner(
            "serving_default" if several else None
        )
        self.get_input_details = self._signature.get_input_details
        self.get_output_details = self._signature.get_output_details
        # Inputs and outputs of a call lie in the interpreter, where another would overwrite them.
        self._lock = threading.Lock()

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Computes the outputs, by name."""
        with self._lock:
            return self._signature(**inputs)


def num_cores() -> int:
    """Returns the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def batches_of_similar_lengths(lengths: Sequence[int], batch_size: int) -> list[np.ndarray]:
    """Sorts texts by length, longest first, into batches.

    Args:
        lengths: Tokens of each text.
        batch_size: Most texts of a batch; of long texts there are fewer.

    Returns:
        The positions of the texts of each batch.

    Example:
        >>> batches_of_similar_lengths([3, 9, 3], 2)
        [array([1, 0]), array([2])]
    """
    order = np.argsort(-np.asarray(lengths), kind="stable")
    batches, start = [], 0
    while start < len(order):
        size = max(1, min(batch_size, _BATCH_TOKENS // lengths[order[start]]))
        batches.append(order[start : start + size])
        start += size
    return batches


def _litert_interpreter(path: str | Path, num_threads: int, takes_text: bool) -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter, InterpreterWithCustomOps
    except ImportError as error:
        raise ImportError(
            f"LiteRT files run on ai-edge-litert, which is not installed: {installation('litert')}."
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


def load(
    path: str | Path, num_threads: int, saved_model: type, litert: type, onnx: type | None = None
) -> Any:
    """Loads an export of a task by the reader of its format.

    Args:
        path: A SavedModel folder, or a file.
        num_threads: Number of threads of a file's interpreter; TensorFlow uses all cores.
        saved_model: Reader of folders.
        litert: Reader of LiteRT files.
        onnx: Reader of files whose name ends in `.onnx`.

    Raises:
        FileNotFoundError: If there is neither folder nor file.
        ValueError: If it is not what the task's `export` writes.
    """
    path = Path(path)
    if path.is_dir():
        return saved_model(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist: name a SavedModel folder or a file that `export` wrote."
        )
    reader = onnx if onnx and path.suffix == ".onnx" else litert
    return reader(path, num_threads)
