"""Classifiers of columns loaded from what was exported, without Keras.

Axes: n rows, B batch, K columns, C classes.
"""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keras_bert_scratch.data.media import content_of, subject
from keras_bert_scratch.data.pictures import read_picture
from keras_bert_scratch.data.table import (
    PRESENT,
    Column,
    make_columns,
    read_table,
)
from keras_bert_scratch.serving.graphs.table_rows import from_rows
from keras_bert_scratch.serving.packed import ASSETS, COLUMNS, LABELS, from_lines
from keras_bert_scratch.serving.readers.base import (
    LiteRTReader,
    Reader,
    SavedModelReader,
    load,
)

_LARGEST_FILE = 256_000_000


class ColumnPredictor(Reader):
    """Classifies rows of tables.

    Attributes:
        labels: Names of the classes.
        columns: The columns, by name.
    """

    labels: list[str]
    columns: dict[str, Column]
    _task = "a classifier of columns"
    _inputs: dict[str, str]

    def _describe(self, labels: str, description: str) -> None:
        """Takes over what the export says of labels and columns."""
        found = json.loads(description)
        self.labels = from_lines(labels)
        self.columns = make_columns(found["columns"])
        self._inputs = found["inputs"]

    def probabilities(self, table: Any, batch_size: int = 32) -> np.ndarray:
        """Computes the probability of every class.

        Args:
            table: A table of pandas, polars, pyarrow or `datasets`, or a dict of columns. Pictures
                for a SavedModel are files of PNG or JPEG, their paths or bytes, or arrays.
            batch_size: B, of a SavedModel.

        Returns:
            float32. *Shape:* (n, C).
        """
        raise NotImplementedError

    def of_rows(self, rows: Sequence[str]) -> np.ndarray:
        """Computes the probability of every class of rows as JSON, see `graphs.table_rows`."""
        table = from_rows(rows)
        missing = [None] * len(rows)
        return self.probabilities({name: table.get(name, missing) for name in self.columns})


class SavedModelColumnPredictor(SavedModelReader, ColumnPredictor):
    """Runs an exported SavedModel, see `SavedModelReader`.

    Example:
        >>> predictor = SavedModelColumnPredictor("saved_models/offers")
        >>> predictor.probabilities({"title": ["a bear"], "price": [9.5]}).shape
        (1, 2)
    """

    _output = "probabilities"

    def _read(self, folder: Path) -> None:
        extra = folder / ASSETS
        self._describe((extra / LABELS).read_text("utf-8"), (extra / COLUMNS).read_text("utf-8"))

    def probabilities(self, table: Any, batch_size: int = 32) -> np.ndarray:
        """See `ColumnPredictor`."""
        values = self._values(table)
        count = len(next(iter(values.values())))
        found = [np.zeros((0, len(self.labels)), "float32")]
        run = self._model.signatures["serving_default"]
        for start in range(0, count, batch_size):
            batch = {
                self._inputs[name]: _tensor(self.columns[name].kind, column[start:][:batch_size])
                for name, column in values.items()
            }
            found.append(run(**batch)["probabilities"].numpy())
        return np.concatenate(found)

    def _values(self, table: Any) -> dict[str, list[Any]]:
        """Returns the values of all columns; pictures as the bytes of their files."""
        files = {name for name, column in self.columns.items() if column.kind == "image"}
        # Pictures are decoded in the graph: here they are looked at as texts are.
        columns = {
            name: _FileColumn() if name in files else column
            for name, column in self.columns.items()
        }
        return read_table(table, columns)


class LiteRTColumnPredictor(LiteRTReader, ColumnPredictor):
    """Runs an exported LiteRT file, see `LiteRTReader`.

    Example:
        >>> predictor = LiteRTColumnPredictor("saved_models/offers.tflite")
        >>> predictor.probabilities({"title": ["a bear"], "price": [9.5]}).shape
        (1, 2)
    """

    _output = "probabilities"

    def _settings(self, files: dict[str, str]) -> dict[str, Any]:
        self._describe(files[LABELS], files[COLUMNS])
        return super()._settings(files)

    def _read(self, settings: dict[str, Any]) -> None:
        super()._read(settings)
        self._truncation = settings["truncation"]
        self._pairs = len(self._texts) == 2

    @property
    def _texts(self) -> list[str]:
        return [name for name, column in self.columns.items() if column.kind == "text"]

    def probabilities(self, table: Any, batch_size: int = 32) -> np.ndarray:
        """See `ColumnPredictor`; a file takes one row at a time."""
        values = read_table(table, self.columns)
        # All of them first, so that none is refused after others have run.
        inputs = {
            name: [self._encode_code_points(text or "") for text in values[column]]
            for name, column in zip(("code_points", "pair"), self._texts, strict=False)
        }
        for name, column in self.columns.items():
            if column.kind == "number":
                numbers = [0.0 if value is None else value for value in values[name]]
                inputs[self._inputs[name]] = [np.array([[value]], "float32") for value in numbers]
            elif column.kind != "text":
                inputs[self._inputs[name]] = [*column.ready(values[name])[:, np.newaxis]]
        inputs[PRESENT] = [
            np.array([[value is not None for value in row]], "int32")
            for row in zip(*values.values(), strict=True)
        ]
        rows = (dict(zip(inputs, row, strict=True)) for row in zip(*inputs.values(), strict=True))
        found = [outputs["probabilities"] for outputs in self._run_all(rows)]
        return np.concatenate([np.zeros((0, len(self.labels)), "float32"), *found])


class _FileColumn(Column):
    """Pictures as the bytes of their files."""

    kind = "image"

    def value(self, value: Any, place: str) -> bytes | None:
        """Reads a file, of a path or of its bytes."""
        if isinstance(value, bytes):
            return value or None
        if isinstance(value, str | Path):
            named = subject("picture", value, place)
            return content_of(value, named, _LARGEST_FILE) if str(value) else None
        if isinstance(value, np.ndarray):
            stream = io.BytesIO()
            Image.fromarray(read_picture(value, place=place)).save(stream, "PNG", compress_level=0)
            return stream.getvalue()
        raise TypeError(
            f"Pictures are files of PNG or JPEG, received {type(value).__name__} in {place}: give "
            "their paths, bytes or arrays."
        )


def _tensor(kind: str, values: Sequence[Any]) -> Any:
    """Returns the input of a SavedModel, in which something stands for missing values."""
    import tensorflow as tf

    if kind == "number":
        return tf.constant([np.nan if value is None else value for value in values], tf.float64)
    if kind == "audio":
        sounds = [np.zeros(0, "float32") if value is None else value for value in values]
        rows = np.full((len(sounds), max(map(len, sounds))), np.nan, "float32")
        for row, sound in zip(rows, sounds, strict=True):
            row[: len(sound)] = sound
        return tf.constant(rows)
    return tf.constant(["" if value is None else value for value in values], tf.string)


def load_column_predictor(path: str | Path, num_threads: int = 1) -> ColumnPredictor:
    """Loads a SavedModel folder or a `.tflite` file of a classifier of columns, see `load`."""
    return load(path, num_threads, SavedModelColumnPredictor, LiteRTColumnPredictor)
