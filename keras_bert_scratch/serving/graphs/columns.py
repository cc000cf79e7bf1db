"""The signature of classifiers of columns: rows of a table in, labels and probabilities out.

Axes: B batch, S tokens of the text, N code points, K columns, L samples, F frames, C classes.
"""

import dataclasses
import functools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_bert_scratch.data.sounds import (
    FRAME_LENGTH,
    FRAME_STEP,
    log_mel_spectrograms,
)
from keras_bert_scratch.data.table import (
    MOST_DEVIATIONS,
    NUM_BANDS,
    PRESENT,
    AudioColumn,
    CategoryColumn,
    Column,
    ImageColumn,
    NumberColumn,
)
from keras_bert_scratch.serving.fresh_process import PROBE_TEXTS
from keras_bert_scratch.serving.graphs.pictures import decode_picture
from keras_bert_scratch.serving.graphs.signature import (
    CODE_POINTS_OF_A_TOKEN,
    Functions,
    LiteGraph,
    Outputs,
    Signature,
)
from keras_bert_scratch.serving.graphs.table_rows import to_rows
from keras_bert_scratch.serving.packed import ASSETS, COLUMNS, LABELS, to_lines
from keras_bert_scratch.text.truncation import Truncation

# What stands for each kind in a SavedModel: its type, and its axes behind B.
_SPECS: dict[str, tuple[tf.DType, tuple[None, ...]]] = {
    "text": (tf.string, ()),
    "number": (tf.float64, ()),
    "category": (tf.string, ()),
    "image": (tf.string, ()),
    "audio": (tf.float32, (None,)),
}


@dataclasses.dataclass(frozen=True, eq=False)
class ColumnSignature(Signature):
    """A classifier of columns as its exports see it.

    The signature of a SavedModel is `serving_default`: an input for each column -> `label`, string
    (B,); `probabilities`, float32 (B, C), or the score of a model of one; `classes`, string (B, C).
    The inputs are called as the columns are, with "_" for what TensorFlow does not take in a name:

    - a text or a category, string (B,), "" where it is missing;
    - a number, float64 (B,), NaN where it is missing;
    - a picture, string (B,), the bytes of PNG or JPEG files, b"" where it is missing;
    - a sound, float32 (B, L), 16,000 samples a second, filled up with NaN behind the last.

    A LiteRT file takes one row: `code_points`, int32 (1, N), and `pair` of two texts, filled up
    with zeros; a number, float32 (1, 1); a category, int32 (1, 1), its number in the list that is
    packed in the file, from 1 on, and 0 for others; a picture, uint8 (1, height, width, 3); a
    sound, float32 (1, 128, F, 1), log-mels; and `present`, int32 (1, K), 1 for each column, in
    order, that has a value.

    Attributes:
        labels: Names of the classes.
        activation: Turns logits into probabilities.
        columns: The columns, by name.
        sequence_length: Tokens to which texts are truncated.
        truncation: Which tokens of a long text are read.
    """

    labels: Sequence[str]
    activation: Callable[[Any], Any]
    columns: Mapping[str, Column]
    sequence_length: int
    truncation: Truncation = "head"

    task, output = "column_classifier", "probabilities"
    inputs = ("code_points",)
    settings = ("sequence_length", "truncation")

    # === Columns ===
    @functools.cached_property
    def names(self) -> dict[str, str]:
        """The name of each column's input."""
        names: dict[str, str] = {}
        for column in self.columns:
            name = re.sub(r"[^A-Za-z0-9_]", "_", column)
            name = name if name[0].isalpha() else f"column_{name}"
            while name in names.values():
                name += "_"
            names[column] = name
        return names

    @functools.cached_property
    def text_columns(self) -> list[str]:
        """The names of the columns of texts."""
        return [name for name, column in self.columns.items() if column.kind == "text"]

    @functools.cached_property
    def probes(self) -> list[str]:  # type: ignore[override]
        """Rows on which an export is compared, as JSON: all kinds, missing and odd values."""
        return self.probes_of()

    def probes_of(self, num_code_points: int | None = None) -> list[str]:
        """Returns the probes, their texts cut to so many code points."""
        generator = np.random.default_rng(0)
        table = {
            name: _probes(column, generator, place)
            for place, (name, column) in enumerate(self.columns.items())
        }
        for name in self.text_columns:
            table[name] = [text and text[:num_code_points] for text in table[name]]
        return to_rows(table)

    def described(self) -> str:
        """Returns what a reader has to know of the columns, as JSON."""
        columns = {name: column.to_dict() for name, column in self.columns.items()}
        return json.dumps({"columns": columns, "inputs": self.names}, ensure_ascii=False)

    # === SavedModel ===
    def functions(self) -> Functions:
        """Returns the functions of a SavedModel."""
        names = tf.constant(list(self.labels))

        def answer(*values: tf.Tensor) -> Outputs:
            inputs = self.network_inputs(dict(zip(self.columns, values, strict=True)))
            probabilities = self.activation(self.compute(inputs))
            return {
                "label": tf.gather(names, tf.argmax(probabilities, axis=-1)),
                "probabilities": probabilities,
                "classes": tf.repeat(names[tf.newaxis], tf.shape(probabilities)[0], axis=0),
            }

        specs = []
        for name, column in self.columns.items():
            dtype, axes = _SPECS[column.kind]
            specs.append(tf.TensorSpec((None, *axes), dtype, name=self.names[name]))
        return {"serving_default": (answer, specs)}

    def write_assets(self, folder: Path) -> None:
        """Writes the labels and the columns."""
        extra = folder / ASSETS
        extra.mkdir()
        (extra / LABELS).write_text("\n".join(self.labels) + "\n", encoding="utf-8")
        (extra / COLUMNS).write_text(self.described(), encoding="utf-8")

    def network_inputs(self, values: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Makes what the network takes of the inputs of a SavedModel, by column."""
        count = tf.shape(next(iter(values.values())))[0]
        texts = [values[name] for name in self.text_columns] or [tf.fill([count], "")]
        inputs = self.graph(
            *texts, sequence_length=self.sequence_length, truncation=self.truncation
        )
        present = []
        for name, column in self.columns.items():
            is_known, value = self._ready(name, column, values[name])
            present.append(tf.cast(is_known, tf.int32))
            if value is not None:
                inputs[name] = value
        return {**inputs, PRESENT: tf.stack(present, axis=1)}

    def _ready(
        self, name: str, column: Column, value: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Returns whether values are known, (B,), and what the network takes of them."""
        if isinstance(column, NumberColumn):
            is_known = tf.logical_not(tf.math.is_nan(value))
            return is_known, _deviations(column, value, is_known)[:, tf.newaxis]
        if isinstance(column, AudioColumn):
            return _log_mels(column, value)
        is_known = tf.not_equal(value, "")
        if isinstance(column, CategoryColumn):
            return is_known, _number_in(column.categories or (), value)
        if isinstance(column, ImageColumn):
            size = column.height, column.width
            spec = tf.TensorSpec((*size, 3), tf.uint8)
            pixels = tf.map_fn(
                lambda contents: tf.cond(
                    tf.equal(contents, ""),
                    lambda: tf.zeros((*size, 3), tf.uint8),
                    lambda: decode_picture(contents, *size),
                ),
                value,
                fn_output_signature=spec,
            )
            return is_known, pixels
        return is_known, None

    # === LiteRT ===
    def lite(
        self,
        precision: str,
        *,
        inputs: str = "code_points",
        num_code_points: int | None = None,
    ) -> LiteGraph:
        """Describes a LiteRT file.

        Args:
            precision: See `write_litert`.
            inputs: `"code_points"`.
            num_code_points: See `Signature.lite`.

        Raises:
            ValueError: If an option is refused.
        """
        self.check_inputs(inputs, num_code_points)
        size = num_code_points or CODE_POINTS_OF_A_TOKEN * self.sequence_length
        specs = [
            tf.TensorSpec((1, size), tf.int32, name=name)
            for name, _ in zip(("code_points", "pair"), self.text_columns, strict=False)
        ]
        for name, column in self.columns.items():
            if column.kind != "text":
                dtype, shape = _lite_spec(column)
                specs.append(tf.TensorSpec((1, *shape), dtype, name=self.names[name]))
        specs.append(tf.TensorSpec((1, len(self.columns)), tf.int32, name=PRESENT))
        settings = self.packed(inputs="code_points", num_code_points=size)
        files = {**settings, LABELS: to_lines(self.labels), COLUMNS: self.described()}
        # The reader refuses longer texts, of which the file would read the start alone.
        probes = self.probes_of(size)
        return LiteGraph(self.of_row, specs, files, self.expected, probes=probes)

    def of_row(self, *values: tf.Tensor) -> Outputs:
        """Computes the outputs of a LiteRT file, of its inputs in order."""
        texts, others = values[: len(self.text_columns)], values[len(self.text_columns) : -1]
        engine = self.engine()
        made = engine.inputs(
            *(texts or (tf.zeros((1, 1), tf.int32),)),
            sequence_length=self.sequence_length,
            truncation=self.truncation,
        )
        names = (name for name in self.columns if name not in self.text_columns)
        for name, value in zip(names, others, strict=True):
            column = self.columns[name]
            if isinstance(column, NumberColumn):
                value = _deviations(column, value, tf.equal(value, value))
            made[name] = value
        return {self.output: self.activation(self.compute({**made, PRESENT: values[-1]}))}


def _deviations(column: NumberColumn, value: tf.Tensor, is_known: tf.Tensor) -> tf.Tensor:
    """Returns standard deviations from the mean, 0 where missing, as `NumberColumn.ready` does."""
    mean, scale = column.statistics
    deviations = (tf.where(is_known, value, tf.constant(mean, value.dtype)) - mean) / scale
    return tf.cast(
        tf.minimum(tf.maximum(deviations, -MOST_DEVIATIONS), MOST_DEVIATIONS), tf.float32
    )


def _log_mels(column: AudioColumn, samples: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns which sounds are known, (B,), and their log-mels, (B, 128, F, 1)."""
    length = FRAME_LENGTH + FRAME_STEP * (column.num_frames - 1)
    samples = samples[:, :length]
    is_sample = tf.logical_not(tf.math.is_nan(samples))
    counts = tf.reduce_sum(tf.cast(is_sample, tf.int32), axis=1)
    missing = ((0, 0), (0, length - tf.shape(samples)[1]))
    padded = tf.ensure_shape(tf.pad(tf.where(is_sample, samples, 0.0), missing), (None, length))
    bands = tf.transpose(log_mel_spectrograms(padded, counts), (0, 2, 1))[..., tf.newaxis]
    is_known = counts > 0
    return is_known, tf.where(is_known[:, tf.newaxis, tf.newaxis, tf.newaxis], bands, 0.0)


def _lite_spec(column: Column) -> tuple[tf.DType, tuple[int, ...]]:
    """Returns the type of a value in a LiteRT file, and its axes behind the first."""
    if isinstance(column, ImageColumn):
        return tf.uint8, (column.height, column.width, 3)
    if isinstance(column, AudioColumn):
        return tf.float32, (NUM_BANDS, column.num_frames, 1)
    return (tf.float32 if isinstance(column, NumberColumn) else tf.int32), (1,)


def _probes(column: Column, generator: np.random.Generator, place: int) -> list[Any]:
    """Returns odd values of a column, another of them missing by its place in the table."""
    count = len(PROBE_TEXTS)
    values: list[Any]
    if isinstance(column, NumberColumn):
        steps = np.linspace(-3, 3, count - 2)
        mean, scale = column.statistics
        values = [*(mean + steps * scale), -1e30, 1e30]
    elif isinstance(column, CategoryColumn):
        known = list(column.categories or ())
        values = [*known, "no such category", "na\u00efve \U0001f44e"] * count
    elif isinstance(column, ImageColumn):
        rows = generator.integers(0, 256, (count, 9, 7, 4), dtype=np.uint8)
        values = [
            tf.io.encode_jpeg(row[..., :3]).numpy() if i % 2 else tf.io.encode_png(row).numpy()
            for i, row in enumerate(rows)
        ]
    elif isinstance(column, AudioColumn):
        sounds = generator.normal(0, 0.1, (count, 4000)).astype("float32")
        values = [sound[: 400 * (i + 1)].tolist() for i, sound in enumerate(sounds)]
    else:
        values = list(PROBE_TEXTS)
    values = values[:count]
    values[(3 * place + 1) % count] = None
    return values


def _number_in(categories: Sequence[str], value: tf.Tensor) -> tf.Tensor:
    """Returns the numbers of categories, from 1 on, and 0 for others. *Shape:* (B, 1)."""
    names = tf.constant([*categories], tf.string)
    is_name = tf.cast(tf.equal(value[:, tf.newaxis], names), tf.int32)  # (B, categories)
    return tf.linalg.matvec(is_name, tf.range(1, len(categories) + 1))[:, tf.newaxis]
