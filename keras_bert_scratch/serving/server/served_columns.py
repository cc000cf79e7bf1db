"""A `.tflite` file that reads rows of tables, in a server, run without TensorFlow.

Axes: B batch, L samples.
"""

from pathlib import Path
from typing import Any

import numpy as np

from keras_bert_scratch.serving.packed import COLUMNS, unpack
from keras_bert_scratch.serving.readers.base import num_cores
from keras_bert_scratch.serving.readers.column_classifier import load_column_predictor
from keras_bert_scratch.serving.server.rest import Input, RequestError, Row
from keras_bert_scratch.serving.server.served import Served, described_columns
from keras_bert_scratch.serving.server.served_file import signature_metadata, utf8_text

# Of a column, by its kind, as in a SavedModel.
_COLUMN_INPUTS = {
    **{kind: Input(np.dtype(object), (None,), kind) for kind in ("text", "category", "image")},
    "number": Input(np.dtype("float64"), (None,), "number"),
    "audio": Input(np.dtype("float32"), (None, None), "audio"),
}
_COLUMN_TYPES = {"number": "DT_DOUBLE", "audio": "DT_FLOAT"}


class ServedColumnFile(Served):
    """Loads a `.tflite` file of a classifier of columns; it has the inputs of a SavedModel's.

    Args:
        path: The file.

    Raises:
        ValueError: If it is a file of another task.
        ImportError: If what runs it is not installed.
    """

    version = 1

    def __init__(self, path: str | Path) -> None:
        self.folder = Path(path)
        self._reader = load_column_predictor(path, num_cores())
        self.columns = described_columns(unpack(path)[COLUMNS])
        inputs = {column["input"]: _COLUMN_INPUTS[column["kind"]] for column in self.columns}
        self.signatures = {"serving_default": dict(sorted(inputs.items()))}
        outputs = ["label", "probabilities", "classes"]
        types = {
            name: _COLUMN_TYPES[spec.kind]
            for name, spec in inputs.items()
            if spec.kind in _COLUMN_TYPES
        }
        self.metadata = {"serving_default": signature_metadata(inputs, outputs, **types)}

    def is_for_classify(self, signature: str) -> bool:
        """See `Served`."""
        self.inputs(signature)
        return False

    def example(self, features: dict[str, list[Any]]) -> Row:
        """Refuses: no signature takes examples."""
        raise RequestError("This model takes no examples: use :predict.")

    def run(self, signature: str, rows: list[Row]) -> list[dict[str, Any]]:
        """Runs a batch; see `Served`."""
        table = {
            column["name"]: [_value(column["kind"], row[column["input"]]) for row in rows]
            for column in self.columns
        }
        try:
            probabilities = self._reader.probabilities(table)
        # A text may be too long for the file, and a picture broken.
        except ValueError as error:
            raise RequestError(str(error)) from error
        labels = self._reader.labels
        return [
            {"label": labels[int(np.argmax(row))], "probabilities": row, "classes": labels}
            for row in probabilities.tolist()
        ]


def _value(kind: str, value: Any) -> Any:
    """Returns the value of a row's column; None where it is missing."""
    if kind in ("text", "category"):
        return utf8_text(value) or None
    if kind == "image":
        return value or None
    if kind == "number":
        return float(value)  # NaN is missing
    samples = value[~np.isnan(value)]
    return samples if len(samples) else None
