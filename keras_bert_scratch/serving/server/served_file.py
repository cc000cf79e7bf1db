"""A `.tflite` or `.onnx` file in a server, run without TensorFlow.

Axes: B batch.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from keras_bert_scratch.serving.readers.base import num_cores
from keras_bert_scratch.serving.readers.classifier import Predictor, load_predictor
from keras_bert_scratch.serving.readers.sentence_encoder import load_embedder
from keras_bert_scratch.serving.server.rest import Input, RequestError, Row
from keras_bert_scratch.serving.server.served import Served

_STRINGS = Input(np.dtype(object), (None,))
_TYPES = {"label": "DT_STRING", "classes": "DT_STRING"}


class ServedFile(Served):
    """Loads a file of a classifier or a sentence encoder.

    Its signatures are those of an exported SavedModel that take texts: `serving_default`, `pairs`
    and, of classifiers, `classify`.

    Args:
        path: The file.

    Raises:
        ValueError: If it is a file of another task.
        ImportError: If what runs it is not installed.

    Example:
        >>> model = ServedFile("saved_models/sentiment.tflite")
        >>> model.run("serving_default", [{"text": b"a film to remember"}])[0]["label"]
        'positive'
    """

    version = 1

    def __init__(self, path: str | Path) -> None:
        self.folder = Path(path)
        self._num_threads = num_cores()
        try:
            self._reader: Any = load_predictor(path, self._num_threads)
        except ValueError as error:
            if self.folder.suffix == ".onnx":
                raise
            try:
                self._reader = load_embedder(path, self._num_threads)
            except ValueError:
                # Files of other tasks are neither: the first error tells what is missing.
                raise error from None
        self.signatures = {"serving_default": {"text": _STRINGS}}
        outputs = ["embeddings"]
        if isinstance(self._reader, Predictor):
            outputs = ["label", "probabilities", "classes"]
            self.signatures["pairs"] = {"pair": _STRINGS, "text": _STRINGS}
            self.signatures["classify"] = {"text": _STRINGS}
        self.metadata = {
            name: signature_metadata(
                inputs, ["classes", "scores"] if name == "classify" else outputs
            )
            for name, inputs in sorted(self.signatures.items())
        }

    def is_for_classify(self, signature: str) -> bool:
        """See `Served`."""
        self.inputs(signature)
        return signature == "classify"

    def example(self, features: dict[str, list[Any]]) -> Row:
        """Takes the feature `text`; see `Served`."""
        texts = features.get("text", [])
        if len(texts) != 1 or not isinstance(texts[0], bytes):
            raise RequestError('An example has one string, "text", and this one has not: add it.')
        return {"text": texts[0]}

    def run(self, signature: str, rows: list[Row]) -> list[dict[str, Any]]:
        """Runs a batch, in as many parts as there are cores; see `Served`."""
        names = ("text", "pair") if signature == "pairs" else ("text",)
        columns = tuple([utf8_text(row[name]) for row in rows] for name in names)
        texts = columns if len(columns) > 1 else columns[0]
        batch_size = -(-len(rows) // self._num_threads)
        if not isinstance(self._reader, Predictor):
            return [{"embeddings": row} for row in self._reader.encode(texts, batch_size).tolist()]
        try:
            probabilities = self._reader.probabilities(texts, batch_size)
        # For a file that takes code points, a text may be too long, and a pair too much.
        except ValueError as error:
            raise RequestError(str(error)) from error
        labels = list(self._reader.labels)
        if signature == "classify":
            return [{"classes": labels, "scores": row} for row in probabilities.tolist()]
        best = probabilities.argmax(axis=1)
        return [
            {"label": labels[best[n]], "probabilities": row, "classes": labels}
            for n, row in enumerate(probabilities.tolist())
        ]

    def warm_up(self) -> None:
        """Runs a short and a long text."""
        self.run("serving_default", [{"text": b"a film"}, {"text": b"one word " * 100}])


def utf8_text(value: bytes) -> str:
    """Reads a text as TensorFlow's tokenizer does: what is no UTF-8 becomes U+FFFD."""
    return value.decode("utf-8", errors="replace")


def signature_metadata(inputs: Iterable[str], outputs: list[str], **types: str) -> dict[str, Any]:
    """Returns a signature as TensorFlow Serving's metadata describes it.

    Args:
        inputs: Their names.
        outputs: Their names.
        **types: Types of inputs, by name, that are no strings.
    """

    def tensor(name: str, dtype: str) -> dict[str, Any]:
        size = {"size": "-1", "name": ""}
        shape = {"dim": [size], "unknown_rank": False}
        return {"dtype": dtype, "tensor_shape": shape, "name": name}

    return {
        "inputs": {name: tensor(name, types.get(name, "DT_STRING")) for name in inputs},
        "outputs": {name: tensor(name, _TYPES.get(name, "DT_FLOAT")) for name in outputs},
        "method_name": "tensorflow/serving/predict",
        "defaults": {},
    }
