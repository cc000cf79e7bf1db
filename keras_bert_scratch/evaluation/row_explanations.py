"""Which words, patches and values of a row of a table an answer came from.

Axes: S tokens of the text, T tokens of a column, H hidden, P points of a path, W words.
"""

import base64
import dataclasses
import functools
import html
import io
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops
from PIL import Image

from keras_bert_scratch.data.table import PRESENT, Column, is_table, read_table
from keras_bert_scratch.evaluation.explanations import (
    Explanation,
    answer,
    by_word,
    colored,
    label_log_odds,
    page,
    score_color,
)
from keras_bert_scratch.tables import format_table, shortened

METHOD = "integrated gradients"
# Points whose gradients are computed at a time, which bounds the memory of pictures.
_CHUNK = 8
# Width of a picture on a page, in CSS pixels, and patches that are named in words.
_SHOWN_WIDTH, _MOST_NAMED = 320, 3


@dataclasses.dataclass(frozen=True)
class ColumnScores:
    """What a column of a row did for an answer.

    Attributes:
        kind: Kind of the column.
        value: Its value: a text, a number, a category, the pixels of a picture as they were
            resized, or the log-mels of a sound, of shape (128, F); None where it is missing.
        score: What it added to the log-odds of the label.
        words: Of a text, what each word added; or None.
        patches: Of a picture or a sound, what each patch added, row by row from the top of the
            picture, or from the lowest bands up; or None. They add up to the score.
    """

    kind: str
    value: Any
    score: float
    words: Explanation | None = None
    patches: np.ndarray | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns the scores as plain JSON types; of pictures and sounds without the value."""
        found: dict[str, Any] = {"kind": self.kind, "score": self.score}
        if self.patches is not None:
            return {**found, "patches": self.patches.tolist()}
        words = {} if self.words is None else {"words": self.words.to_dict()}
        return {**found, "value": self.value, **words}

    @property
    def shown(self) -> str:
        """The value in a few characters."""
        if self.value is None:
            return "missing"
        if self.patches is not None:
            return f"{' x '.join(map(str, self.patches.shape))} patches"
        return shortened(str(self.value), 40)

    def best_patches(self) -> str:
        """Returns the patches that count most, in words."""
        assert self.patches is not None
        largest = np.argsort(-np.abs(self.patches), axis=None, kind="stable")[:_MOST_NAMED]
        places = [np.unravel_index(place, self.patches.shape) for place in largest]
        return ", ".join(f"row {y + 1} column {x + 1} {self.patches[y, x]:+.4f}" for y, x in places)


@dataclasses.dataclass(frozen=True)
class RowExplanation:
    """What the columns of a row, their words and their patches did for an answer.

    Attributes:
        label: The explained label.
        probability: Its probability.
        columns: What each column did, by name.
        completeness_error: Relative error of the sum of the scores.
    """

    label: str
    probability: float
    columns: Mapping[str, ColumnScores]
    completeness_error: float

    def to_dict(self) -> dict[str, Any]:
        """Returns all attributes as plain JSON types."""
        columns = {name: column.to_dict() for name, column in self.columns.items()}
        return {
            "method": METHOD,
            "label": self.label,
            "probability": self.probability,
            "columns": columns,
            "completeness_error": self.completeness_error,
        }

    def to_text(self) -> str:
        """Returns a table of the columns, and the words and patches that count."""
        rows = [[name, c.shown, f"{c.score:+.4f}"] for name, c in self._known()]
        lines = [f"{self._title()} ({METHOD})", format_table(["column", "value", "score"], rows)]
        for name, column in self._known():
            if column.words is not None:
                scores = zip(column.words.words, column.words.scores, strict=True)
                words = [[word, f"{score:+.4f}"] for word, score in scores]
                lines += ["", format_table([f"word of {name}", "score"], words)]
            elif column.patches is not None and column.value is not None:
                lines += ["", f"{name}: {column.best_patches()}"]
        return "\n".join(lines) + "\n"

    def to_html(self) -> str:
        """Returns a page with texts and pictures on the colors of their scores.

        Blue speaks for the label, orange, dashed, against it.
        """
        return page(self._title(), self._body())

    def _repr_html_(self) -> str:
        """Returns the view of a notebook."""
        return f"<b>{html.escape(self._title())}</b>{self._body()}"

    def _title(self) -> str:
        return f"{self.label}, probability {self.probability:.1%}"

    def _known(self) -> list[tuple[str, ColumnScores]]:
        """Returns the columns, the one that counts most first."""
        return sorted(self.columns.items(), key=lambda item: -abs(item[1].score))

    def _body(self) -> str:
        # Its legend holds for words and columns alike.
        scale = Explanation(METHOD, "", self.label, [], np.zeros(0))
        rows = []
        for name, column in self._known():
            score = colored(f"&nbsp;{column.score:+.2f}&nbsp;", column.score, scale.full_color)
            rows.append(
                '<tr style="border-top: 1px solid"><th scope="row" style="text-align: left; '
                f'vertical-align: top; padding: .3em .8em .3em 0">{html.escape(name)}</th>'
                f"<td>{self._column_html(name, column)}</td>"
                f'<td style="vertical-align: top; text-align: right">{score}</td></tr>'
            )
        return (
            f'<table style="width: 100%; border-collapse: collapse">{"".join(rows)}</table>'
            f"{scale.legend_html().replace('the word', 'a word or a column')}"
        )

    def _column_html(self, name: str, column: ColumnScores) -> str:
        if column.words is not None:
            return column.words.words_html()
        if column.patches is not None and column.value is not None:
            return _patches_html(name, column, self.label)
        return f'<span dir="auto">{html.escape(column.shown)}</span>'


# === Integrated gradients ===
def explain_row(
    model: Any, row: Any, label: str | None = None, *, num_points: int = 64
) -> RowExplanation:
    """Distributes an answer over the words, patches and values of a row.

    The scores are integrated gradients (Sundararajan et al. 2017), as those of
    `explanations.integrated_gradients`: they explain the log-odds of the label, minus those of a
    row that says nothing. There each token of a text is [MASK], a number is the mean, a category is
    unknown, and pixels and log-mels are what the network reads as 0: grey, the mean color of an
    encoder, the mean of a spectrogram. What is missing counts for nothing. The path leads through
    the pixels where an encoder reads the picture, elsewhere through the tokens.

    Args:
        model: A `ColumnClassifier` with a tokenizer, on Keras' TensorFlow backend.
        row: A table of one row. Of a text that is too long for the model, the words that it reads
            have scores.
        label: One of the model's labels; by default the most probable.
        num_points: P, the points where the gradient is computed: more make the error smaller.

    Raises:
        RuntimeError: If Keras runs on another backend.
        ValueError: If there is not one row, the model lacks the label or learns a score, or a value
            is refused.

    Example:
        >>> found = explain_row(model, {"title": ["a bear"], "price": [9.5], "shop": ["north"]})
        >>> {name: round(column.score, 2) for name, column in found.columns.items()}
        {'title': 2.1, 'price': 0.3, 'shop': -0.1}
    """
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            f"Integrated gradients are TensorFlow's, and Keras runs on {keras.backend.backend()}: "
            "set KERAS_BACKEND=tensorflow, or use ColumnClassifier.explain."
        )
    if model.is_score:
        raise ValueError(f"{model.name} learns a score, and answers are explained by labels.")
    values = _one_row(row, model.columns)
    encoding, inputs = _inputs(model, values)
    class_id, probability = answer(model, inputs, label)
    # The text first, then the other columns, by name.
    before, after = _ends(model, encoding, inputs, values)
    by_leaf, change = _integrate(model, inputs, before, after, class_id, num_points)
    total = sum(float(scores.sum()) for scores in by_leaf.values())

    columns: dict[str, ColumnScores] = {}
    texts = iter(range(2))
    for name, column in model.columns.items():
        value = values[name]
        if column.kind == "text":
            columns[name] = _of_text(model, encoding, by_leaf[None], value, next(texts), class_id)
            continue
        scores, patches = by_leaf[name], None
        if column.kind == "image":
            patches = _by_patch(scores, column.height, column.width, column.patch_size)
        elif column.kind == "audio":
            value = None if value is None else inputs[name][0, :, :, 0]
            height, width = inputs[name].shape[1:3]
            patches = _by_patch(scores, height, width, column.patch_size)
        columns[name] = ColumnScores(column.kind, value, float(scores.sum()), patches=patches)
    return RowExplanation(
        model.labels[class_id],
        probability,
        columns,
        completeness_error=abs(total - change) / max(abs(change), 1e-12),
    )


def _one_row(row: Any, columns: Mapping[str, Column]) -> dict[str, Any]:
    """Returns the values of a table of one row."""
    values = read_table(row, columns) if is_table(row) else {}
    count = len(next(iter(values.values()), []))
    if count != 1:
        raise ValueError(
            f"One row is explained at a time, in a table or a dict of columns; received {count} "
            "rows: select one, such as table[:1]."
        )
    return {name: column[0] for name, column in values.items()}


def _inputs(model: Any, values: Mapping[str, Any]) -> tuple[Any, dict[str, np.ndarray]]:
    """Returns the encoding of a row's texts, and the inputs of the network."""
    texts = [values[name] or "" for name, c in model.columns.items() if c.kind == "text"]
    encoding = model.check_tokenizer().encode(
        *(texts or [""]), sequence_length=model.sequence_length, truncation=model.truncation
    )
    ids = np.array([encoding.token_ids], "int32")
    present = [value is not None for value in values.values()]
    return encoding, {
        "token_ids": ids,
        "segment_ids": np.array([encoding.segment_ids], "int32"),
        "padding_mask": np.ones_like(ids),
        PRESENT: np.array([present], "int32"),
        **{
            name: column.ready([values[name]])
            for name, column in model.columns.items()
            if column.kind != "text"
        },
    }


# What the path leads through, of the texts (None) and of each other column.
_Leaves = dict[str | None, Any]


def _ends(
    model: Any, encoding: Any, inputs: Mapping[str, np.ndarray], values: Mapping[str, Any]
) -> tuple[_Leaves, _Leaves]:
    """Returns where the path begins, which says nothing, and where it ends, the row."""
    is_text = np.array([sequence is not None for sequence in encoding.sequence])
    masked = np.where(is_text, model.tokenizer.vocabulary.mask_id, inputs["token_ids"])
    segment_ids = inputs["segment_ids"]
    before: _Leaves = {None: model.encoder.embeddings(masked, segment_ids)}
    after: _Leaves = {None: model.encoder.embeddings(inputs["token_ids"], segment_ids)}
    others = [name for name, column in model.columns.items() if column.kind != "text"]
    for number, name in enumerate(others):
        value = inputs[name]
        nothing = np.zeros_like(value)
        if model.columns[name].kind == "image":
            encoder = model.column_encoders.get(name)
            color = encoder.config.mean if encoder is not None and encoder.config.mean else 0.5
            value = value.astype("float32")
            nothing = np.full_like(value, 255 * np.array(color))
        if values[name] is None:
            nothing = value
        for leaves, found in ((before, nothing), (after, value)):
            if name in model.column_encoders:
                leaves[name] = ops.convert_to_tensor(found, "float32")
            else:
                leaves[name] = model.column_embeddings.embed(number, found)
    return before, after


def _integrate(
    model: Any,
    inputs: Mapping[str, np.ndarray],
    before: _Leaves,
    after: _Leaves,
    class_id: int,
    num_points: int,
) -> tuple[dict[str | None, np.ndarray], float]:
    """Returns the score of each token, or of each pixel, and how the log-odds changed."""
    import tensorflow as tf

    def log_odds(leaves: _Leaves) -> Any:
        embedded, *others = leaves.values()
        count = len(embedded)
        names = list(leaves)[1:]
        tokens = [
            model.column_embeddings.embed(number, model.states(name, leaf))
            if name in model.column_encoders
            else leaf
            for number, (name, leaf) in enumerate(zip(names, others, strict=True))
        ]
        masks = {
            name: np.repeat(inputs[name], count, axis=0)
            for name in ("segment_ids", "padding_mask", PRESENT)
        }
        joined = ops.concatenate(tokens, axis=1) if tokens else None
        features = model.joined_features(embedded, joined, masks)
        return label_log_odds(model, model.head(features), class_id)

    # Points and weights for the interval from -1 to 1, mapped to that from 0 to 1.
    points, weights = np.polynomial.legendre.leggauss(num_points)
    gradients: dict[str | None, Any] = dict.fromkeys(before, 0.0)
    for start in range(0, num_points, _CHUNK):
        shares, some = ((part[start : start + _CHUNK]) for part in ((points + 1) / 2, weights / 2))
        path = {
            name: before[name]
            + tf.reshape(tf.cast(shares, leaf.dtype), (-1, *[1] * (len(leaf.shape) - 1)))
            * (leaf - before[name])
            for name, leaf in after.items()
        }
        with tf.GradientTape() as tape:
            tape.watch(list(path.values()))
            found = log_odds(path)
        of_path = tape.gradient(found, list(path.values()))
        for name, gradient in zip(path, of_path, strict=True):
            gradients[name] += tf.tensordot(tf.cast(some, gradient.dtype), gradient, 1)
    scores = {
        name: ops.convert_to_numpy(tf.reduce_sum((leaf - before[name])[0] * gradients[name], -1))
        for name, leaf in after.items()
    }
    change = float(log_odds(after)[0]) - float(log_odds(before)[0])
    return scores, change


def _of_text(
    model: Any, encoding: Any, by_token: np.ndarray, value: Any, sequence: int, class_id: int
) -> ColumnScores:
    """Returns the scores of the first or the second text."""
    if value is None:
        return ColumnScores("text", None, 0.0)
    shown = functools.reduce(lambda text, step: step(text), model.tokenizer.preprocessing, value)
    spans, scores = by_word(encoding, by_token, sequence)
    words = Explanation(METHOD, shown, model.labels[class_id], spans, scores)
    return ColumnScores("text", value, float(scores.sum()), words=words)


def _by_patch(scores: np.ndarray, height: int, width: int, size: int) -> np.ndarray:
    """Adds up the scores of pixels, (height, width), or takes those of tokens, by patch."""
    rows, columns = height // size, width // size
    if scores.ndim == 1:
        return scores.reshape(rows, columns)
    # Pixels behind the last whole patch are not read.
    whole = scores[: rows * size, : columns * size]
    return whole.reshape(rows, size, columns, size).sum(axis=(1, 3))


# === Pictures ===
def _patches_html(name: str, column: ColumnScores, label: str) -> str:
    """Returns a picture, or a spectrogram with its low bands below, its patches colored."""
    assert column.patches is not None
    pixels, patches = column.value, column.patches
    what = f"The picture in {name}"
    if column.kind == "audio":
        low, high = pixels.min(), pixels.max()
        grey = 255 * (pixels - low) / max(high - low, 1e-9)
        pixels, patches = grey[::-1].astype("uint8"), patches[::-1]
        what = f"The spectrogram of {name}, low bands below"
    height, width = pixels.shape[:2]
    rows, columns = patches.shape
    size = (height // rows, width // columns)
    full = float(np.abs(patches).max())
    marks = []
    for y, x in np.ndindex(patches.shape):
        color, opacity = score_color(float(patches[y, x]), full)
        dashed = ' stroke-dasharray="2"' if patches[y, x] < 0 else ""
        marks.append(
            f'<rect x="{x * size[1]}" y="{y * size[0]}" width="{size[1]}" height="{size[0]}" '
            f'fill="rgb({color})" fill-opacity="{opacity:.2f}" stroke="rgb({color})" '
            f'stroke-opacity="{opacity:.2f}" vector-effect="non-scaling-stroke"{dashed}>'
            f"<title>{patches[y, x]:+.4f}</title></rect>"
        )
    words = f"{what}. The patches that count most for {label}: {column.best_patches()}."
    return (
        f'<svg role="img" aria-label="{html.escape(words)}" viewBox="0 0 {width} {height}" '
        f'style="width: {_SHOWN_WIDTH}px; max-width: 100%"><image width="{width}" '
        f'height="{height}" href="{_png(pixels)}"/>{"".join(marks)}</svg>'
        f'<p style="font-size: 0.85em; margin: 0">{html.escape(column.best_patches())}; colors are '
        f"full at {full:.2g}</p>"
    )


def _png(pixels: np.ndarray) -> str:
    """Returns a picture as an address that holds it."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
