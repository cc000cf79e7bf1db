"""The door for tables: columns of texts, numbers, categories, pictures and sounds, by name.

A column knows how its values are read, what is learned of them before training, and what a network
gets of them. Readers of exports use it, too, without Keras and TensorFlow. A missing value is None,
NaN, or pandas' NA; of anything but numbers also "".

Axes: n examples, B batch, K columns, F frames of a sound.
"""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from scipy.sparse import csr_array

from keras_bert_scratch.config import PatchConfig
from keras_bert_scratch.data.pictures import read_picture
from keras_bert_scratch.text.columns import column_values, table_columns

logger = logging.getLogger(__name__)

# Of a network's inputs, so that no column has the name of another input.
PRESENT = "present"
_RESERVED = ("token_ids", "segment_ids", "padding_mask", "num_windows", PRESENT)
# A number farther from the mean counts as so many standard deviations: no value overflows.
MOST_DEVIATIONS = 100.0
# Where more categories than this share of the rows were found, they say nothing of other rows.
_MANY_CATEGORIES = 0.5
# Of a picture or a sound, so that a file cannot ask for any amount of memory.
_MOST_PATCHES = 4096
# Mel bands of a spectrogram.
NUM_BANDS = 128
# Added before resized pixels are rounded down: a half goes up, however exactly it was computed. No
# weights of common sizes give values next to the bound.
ROUNDED_UP = 0.501047
# Sounds whose spectrograms are computed at a time.
_CHUNK = 64


@dataclasses.dataclass(frozen=True)
class Column:
    """What is known of a column; each kind has a class."""

    kind: ClassVar[str]

    def values(self, column: Any, name: str) -> list[Any]:
        """Reads the n values of a column; None where one is missing.

        Args:
            column: Any container of `text.columns.column_values`.
            name: The column's name, for errors.

        Raises:
            TypeError: If a value is of another kind.
            ValueError: If a value is refused.
        """
        # Pictures and sounds may come in one array, a row each.
        is_array = isinstance(column, np.ndarray) and column.ndim > 2
        return [
            None if is_missing(value) else self.value(value, f"row {row} of {name}")
            for row, value in enumerate(column if is_array else column_values(column))
        ]

    def value(self, value: Any, place: str) -> Any:
        """Reads one value that is not missing, which may turn out to stand for none, as "" does."""
        raise NotImplementedError

    @property
    def is_learned(self) -> bool:
        """Whether all is known that has to be learned of training data."""
        return True

    def learn(self, values: Sequence[Any], name: str) -> Self:
        """Returns the column with what the values of training data tell of it."""
        return self

    def ready(self, values: Sequence[Any]) -> np.ndarray:
        """Returns what a network gets of some values; missing ones are masked there."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """Returns the kind and all that is known, of JSON types; see `make_columns`."""
        return {"kind": self.kind, **dataclasses.asdict(self)}


@dataclasses.dataclass(frozen=True)
class TextColumn(Column):
    """Texts, which the tokenizer reads."""

    kind = "text"

    def value(self, value: Any, place: str) -> str | None:
        """Reads a string."""
        value = value.decode("utf-8", errors="replace") if isinstance(value, bytes) else value
        if not isinstance(value, str):
            raise TypeError(
                f"Texts are strings, received {_shown(value)} ({type(value).__name__}) in {place}: "
                "convert it, or give None for a missing one."
            )
        return value or None


@dataclasses.dataclass(frozen=True)
class NumberColumn(Column):
    """Numbers, of which a network gets standard deviations from the mean.

    Attributes:
        mean: Of the training data; None before it is known.
        scale: Their standard deviation, or 1 if they are all the same.
    """

    mean: float | None = None
    scale: float | None = None
    kind = "number"

    def __post_init__(self) -> None:
        known = [value for value in (self.mean, self.scale) if value is not None]
        if len(known) == 1 or not all(_is_finite(value) for value in known) or self.scale == 0:
            raise ValueError(
                "A number column has a mean and a scale above 0, or neither, received "
                f"mean={self.mean!r} and scale={self.scale!r}."
            )

    def value(self, value: Any, place: str) -> float:
        """Reads a finite number; a boolean counts as 0 or 1."""
        if isinstance(value, str | bytes):
            raise TypeError(
                f"Numbers are needed, received the text {_shown(value)} in {place}: convert the "
                'column, such as by pandas.to_numeric, or make it a "category" or "text".'
            )
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            raise TypeError(
                f"Numbers are needed, received {_shown(value)} ({type(value).__name__}) in {place}:"
                " convert it, or give None for a missing one."
            ) from None
        if not np.isfinite(number):
            raise ValueError(
                f"Numbers must be finite, received {value!r} in {place}: correct it, or give None "
                "for a missing one."
            )
        return number

    @property
    def is_learned(self) -> bool:
        """Whether mean and scale are known."""
        return self.mean is not None

    def learn(self, values: Sequence[Any], name: str) -> Self:
        """Finds mean and standard deviation."""
        known = _known(values, name)
        with np.errstate(over="ignore"):
            mean, scale = float(np.mean(known)), float(np.std(known))
        if not np.isfinite(scale):
            raise ValueError(
                f"The numbers of column {name!r} are too large for their standard deviation, up to "
                f"{max(known, key=abs)!r}: give them in another unit, or their logarithms."
            )
        return dataclasses.replace(self, mean=mean, scale=scale or 1.0)

    @property
    def statistics(self) -> tuple[float, float]:
        """Mean and standard deviation, once they are known."""
        assert self.mean is not None
        assert self.scale is not None
        return self.mean, self.scale

    def ready(self, values: Sequence[Any]) -> np.ndarray:
        """Returns standard deviations from the mean, 0 where missing. float32, *shape:* (n, 1)."""
        mean, scale = self.statistics
        numbers = np.array([mean if value is None else value for value in values], "float64")
        deviations = np.clip((numbers - mean) / scale, -MOST_DEVIATIONS, MOST_DEVIATIONS)
        return deviations.astype("float32")[:, None]


@dataclasses.dataclass(frozen=True)
class CategoryColumn(Column):
    """Values of a list; numbers and booleans count by their names.

    Attributes:
        categories: Those of the training data, in order; None before they are known. Others are
            unknown, number 0.
    """

    categories: Sequence[str] | None = None
    kind = "category"

    def __post_init__(self) -> None:
        if self.categories is None:
            return
        names = list(self.categories)
        if (
            not names
            or len({*map(str, names)}) < len(names)
            or not all(isinstance(name, str) and name for name in names)
        ):
            raise ValueError(
                f"categories must be different strings that are not empty, received {names!r}."
            )
        object.__setattr__(self, "categories", names)

    def value(self, value: Any, place: str) -> str | None:
        """Reads a name; 3, 3.0 and "3" are one, since pandas makes 3.0 of 3 beside a NaN."""
        value = value.decode("utf-8", errors="replace") if isinstance(value, bytes) else value
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, str | int | float | np.generic):
            raise TypeError(
                f"Categories are strings or numbers, received {_shown(value)} "
                f"({type(value).__name__}) in {place}: convert it, or give None for a missing one."
            )
        return str(value) or None

    @property
    def is_learned(self) -> bool:
        """Whether the categories are known."""
        return self.categories is not None

    def learn(self, values: Sequence[Any], name: str) -> Self:
        """Finds the categories."""
        known = _known(values, name)
        categories = sorted(set(known))
        if len(categories) > max(1, _MANY_CATEGORIES * len(known)):
            logger.warning(
                "Column %r has %d categories in %d rows: what is learned of them says little of "
                "other rows. Is it a text, a number or an id?", name, len(categories), len(known),
            )  # fmt: skip
        return dataclasses.replace(self, categories=categories)

    def ready(self, values: Sequence[Any]) -> np.ndarray:
        """Returns the numbers of the categories, from 1 on. int32, *shape:* (n, 1)."""
        numbers = {name: number for number, name in enumerate(self.categories or (), start=1)}
        return np.array([numbers.get(value, 0) for value in values], "int32")[:, None]


@dataclasses.dataclass(frozen=True)
class ImageColumn(Column):
    """Pictures, in all forms of `data.pictures.read_picture`.

    Attributes:
        height: Height to which they are resized, in pixels.
        width: Their width, without regard to their proportions.
        patch_size: Height and width of a patch, by default the encoder's, or 16. Without an encoder
            a patch becomes a token.
        encoder: None, or the fields of a `PatchConfig`: an encoder of pictures reads them, and its
            special tokens and the mean of its patches become tokens. `ColumnClassifier` also takes
            a `PatchEncoder`, or the checkpoint of one.
    """

    height: int = 224
    width: int = 224
    patch_size: int | None = None
    encoder: Mapping[str, Any] | None = None
    kind = "image"

    def __post_init__(self) -> None:
        size = 16
        if self.encoder is not None:
            config = _encoder_config(self.encoder)
            object.__setattr__(self, "encoder", config.to_dict())
            size = config.patch_size
            if self.patch_size not in (None, size):
                raise ValueError(
                    f"The encoder reads patches of {size} x {size}, received patch_size="
                    f"{self.patch_size!r}: leave it out."
                )
        if self.patch_size is None:
            object.__setattr__(self, "patch_size", size)
        _check_patches(self.height, self.width, self.patch_size)

    def value(self, value: Any, place: str) -> np.ndarray | None:
        """Reads and resizes a picture. *Shape:* (height, width, 3), uint8."""
        if isinstance(value, str | bytes) and not value:
            return None
        return resize_picture(read_picture(value, place=place), self.height, self.width)

    def ready(self, values: Sequence[Any]) -> np.ndarray:
        """Returns the pixels, uint8, *shape:* (n, height, width, 3); zeros where one is missing.

        Of pictures that a frozen encoder has read, these are its states.
        """
        black = np.zeros((self.height, self.width, 3), "uint8")
        known = next((value for value in values if value is not None), black)
        ready = np.zeros((len(values), *known.shape), known.dtype)
        for row, value in zip(ready, values, strict=True):
            if value is not None:
                row[:] = value
        return ready


@dataclasses.dataclass(frozen=True)
class AudioColumn(Column):
    """Sounds, in all forms of `data.sounds.read_sound`; arrays have 16,000 samples a second.

    Attributes:
        num_frames: F, hundredths of a second that are read from the start.
        patch_size: Bands and frames of a patch, which becomes a token.
    """

    num_frames: int = 256
    patch_size: int = 16
    kind = "audio"

    def __post_init__(self) -> None:
        _check_patches(NUM_BANDS, self.num_frames, self.patch_size)

    def value(self, value: Any, place: str) -> np.ndarray | None:
        """Reads the samples of a sound. *Shape:* (L,), float32."""
        if isinstance(value, str | bytes) and not value:
            return None
        from keras_bert_scratch.data.sounds import read_sound

        return read_sound(value, place=place)

    def ready(self, values: Sequence[Any]) -> np.ndarray:
        """Returns log-mels, 0 where missing. float32, *shape:* (n, 128, F, 1)."""
        from keras_bert_scratch.data.sounds import log_mel_spectrograms, pad_sounds

        bands = np.zeros((len(values), NUM_BANDS, self.num_frames, 1), "float32")
        rows = [row for row, value in enumerate(values) if value is not None]
        for start in range(0, len(rows), _CHUNK):
            some = rows[start : start + _CHUNK]
            padded = pad_sounds([values[row] for row in some], self.num_frames)
            spectrograms = np.array(log_mel_spectrograms(*padded))  # (chunk, F, 128)
            bands[some] = spectrograms.swapaxes(1, 2)[..., None]
        return bands


_KINDS: dict[str, type[Column]] = {
    kind.kind: kind for kind in (TextColumn, NumberColumn, CategoryColumn, ImageColumn, AudioColumn)
}


def resize_picture(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resizes a picture, each pixel a weighted mean of those that it covers.

    This is `tf.image.resize` with antialias, by which exports resize, without TensorFlow.

    Args:
        pixels: *Shape:* (any height, any width, 3), uint8.
        height: The new height.
        width: The new width.

    Returns:
        *Shape:* (height, width, 3), uint8.

    Example:
        >>> checks = np.array([[0, 4], [4, 8]], "uint8")[:, :, None].repeat(3, axis=2)
        >>> resize_picture(checks, 1, 1)
        array([[[4, 4, 4]]], dtype=uint8)
    """
    old_height, old_width = pixels.shape[:2]
    if (old_height, old_width) == (height, width):
        return pixels
    rows = _means(old_height, height) @ pixels.reshape(old_height, -1)
    columns = rows.reshape(height, old_width, 3).swapaxes(0, 1).reshape(old_width, -1)
    resized = (_means(old_width, width) @ columns).reshape(width, height, 3).swapaxes(0, 1)
    return np.floor(resized + ROUNDED_UP).clip(0, 255).astype("uint8")


def _means(old: int, new: int) -> csr_array:
    """Returns the weights of old values in new ones, triangles around them: (new, old)."""
    scale = old / new
    reach = max(scale, 1.0)
    centers = (np.arange(new) + 0.5) * scale
    first = np.floor(centers - reach).astype(int)
    places = first[:, None] + np.arange(int(2 * reach) + 3)
    weights = 1 - np.abs(places + 0.5 - centers[:, None]) / reach
    weights = np.where((places >= 0) & (places < old), weights.clip(0), 0)
    weights /= weights.sum(axis=1, keepdims=True)
    numbers = np.repeat(np.arange(new), places.shape[1])
    entries = (weights.ravel(), (numbers, places.ravel().clip(0, old - 1)))
    return csr_array(entries, shape=(new, old))


def make_columns(columns: Mapping[str, str | Mapping[str, Any]]) -> dict[str, Column]:
    """Makes the columns of a table.

    Args:
        columns: For each name the kind, `"text"`, `"number"`, `"category"`, `"image"` or `"audio"`;
            or a dict of `kind` and the attributes of its class, as `Column.to_dict` returns.

    Raises:
        ValueError: If a name or a kind is refused.

    Example:
        >>> make_columns({"title": "text", "price": {"kind": "number", "mean": 2.0, "scale": 1.0}})
        {'title': TextColumn(), 'price': NumberColumn(mean=2.0, scale=1.0)}
    """
    if not isinstance(columns, Mapping) or not columns:
        raise ValueError(
            'columns must be a dict from names to kinds, such as {"title": "text", "price": '
            f'"number"}}, received {columns!r}.'
        )
    made = {}
    for name, given in columns.items():
        if not isinstance(name, str) or not name or name in _RESERVED:
            raise ValueError(
                f"The name of a column must be a string and none of {', '.join(_RESERVED)}, "
                f"received {name!r}: rename it."
            )
        fields = {"kind": given} if isinstance(given, str) else dict(given)
        kind = fields.pop("kind", None)
        if kind not in _KINDS:
            raise ValueError(
                f"The kind of column {name!r} must be one of {', '.join(_KINDS)}; received "
                f"{kind!r}."
            )
        allowed = {field.name for field in dataclasses.fields(_KINDS[kind])}
        if unknown := sorted(fields.keys() - allowed):
            raise ValueError(
                f"Column {name!r} is a {kind}, which has no {unknown[0]!r}: it has "
                f"{', '.join(sorted(allowed)) or 'no settings'}."
            )
        made[name] = _KINDS[kind](**fields)
    texts = [name for name, column in made.items() if column.kind == "text"]
    if len(texts) > 2:
        raise ValueError(
            f"The encoder reads one text or a pair, received {len(texts)} text columns, "
            f"{', '.join(map(repr, texts))}: join some of them."
        )
    return made


def is_table(x: Any) -> bool:
    """Whether `x` is a table of pandas, polars, pyarrow or `datasets`, or a dict of raw columns."""
    if isinstance(x, Mapping):
        return "token_ids" not in x
    return table_columns(x) is not None


def read_table(x: Any, columns: Mapping[str, Column]) -> dict[str, list[Any]]:
    """Reads the values of a table's columns; columns of other names are ignored.

    Args:
        x: A table of pandas, polars, pyarrow or `datasets`, or a dict of columns.
        columns: The columns to read.

    Returns:
        The n values of each; None where one is missing.

    Raises:
        TypeError: If `x` is no table, or a value is of another kind.
        ValueError: If a column is missing, they differ in length, or a value is refused.

    Example:
        >>> read_table({"price": [3, None], "id": [7, 8]}, make_columns({"price": "number"}))
        {'price': [3.0, None]}
    """
    table = x if isinstance(x, Mapping) else table_columns(x)
    if table is None:
        raise TypeError(
            f"Examples are the columns {', '.join(map(repr, columns))}, in a table of pandas, "
            f"polars, pyarrow or datasets, or in a dict; received {type(x).__name__}."
        )
    if missing := [name for name in columns if name not in table]:
        raise ValueError(
            f"The column {missing[0]!r} is missing, received {', '.join(map(repr, table))}: give "
            "it, with None for each value that is not known."
        )
    values = {name: column.values(table[name], name) for name, column in columns.items()}
    lengths = {name: len(column) for name, column in values.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"Columns must have the same length, received {lengths}.")
    return values


def is_missing(value: Any) -> bool:
    """Whether a value stands for none: None, NaN, or pandas' NA and NaT."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and bool(np.isnan(value))


def _check_patches(height: Any, width: Any, patch_size: Any) -> None:
    sizes = (height, width, patch_size)
    are_whole = all(type(size) is int and size > 0 for size in sizes)
    if not are_whole or not patch_size <= min(height, width) <= max(height, width) <= 4096:
        raise ValueError(
            "Sizes are whole numbers from patch_size to 4096, received "
            f"{height!r} x {width!r} and patch_size={patch_size!r}: choose others."
        )
    if (number := (height // patch_size) * (width // patch_size)) > _MOST_PATCHES:
        raise ValueError(
            f"{height} x {width} are {number} patches of {patch_size} x {patch_size}, at most "
            f"{_MOST_PATCHES} are read: choose a smaller size, or larger patches."
        )


def _encoder_config(fields: Any) -> PatchConfig:
    """Returns the config of an encoder of pictures, without heads."""
    if not isinstance(fields, Mapping):
        raise ValueError(
            "The encoder of an image column is a PatchEncoder, its checkpoint or the fields of its "
            f"config, received {_shown(fields)}."
        )
    config = PatchConfig.from_dict({**fields})
    if config.channels != 3:
        raise ValueError(
            "Pictures have 3 channels, received an encoder of architecture "
            f"{config.architecture!r} that reads {config.channels}: use one of pictures."
        )
    return dataclasses.replace(config, pooler=False, distillation_head=False)


def _known(values: Sequence[Any], name: str) -> list[Any]:
    known = [value for value in values if value is not None]
    if not known:
        raise ValueError(
            f"Column {name!r} has no value in {len(values)} training examples: leave it out."
        )
    return known


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and bool(np.isfinite(value))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
