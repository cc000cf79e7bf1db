"""TensorFlow Serving's JSON: request bodies to rows of arrays, and results to response bodies.

The format is specified at https://www.tensorflow.org/tfx/serving/api_rest. A row is one example: a
dict from the name of an input to its value without the batch axis.

Axes: B batch.
"""

import base64
import dataclasses
import gzip
import io
import itertools
import json
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from keras_bert_scratch.serving.server.limits import Limits

Row = dict[str, Any]

# What stands for a missing value of a column, by its kind.
_MISSING: dict[str, Any] = {
    "text": "",
    "number": math.nan,
    "category": "",
    "image": "",
    "audio": [],
}


class RequestError(ValueError):
    """A request that is refused.

    Args:
        message: What was received, the rule, and the way out.
        status: Status code of the HTTP response.
        headers: Headers of the HTTP response.
    """

    def __init__(
        self, message: str, status: int = 400, headers: dict[str, str] | None = None
    ) -> None:
        # JSON may contain halves of surrogate pairs, which no answer can.
        super().__init__(message.encode(errors="backslashreplace").decode())
        self.status = status
        self.headers = headers


@dataclasses.dataclass(frozen=True)
class Input:
    """The type and shape of one input of a signature.

    Args:
        dtype: NumPy's dtype; object for strings.
        shape: The shape with the batch axis; None for an axis of any size.
        kind: The kind of column that it is of a table's row, see `data.table`; None of other
            inputs. Requests may leave a column out, or give null, for a missing value; a sound is
            a WAV file, {"b64": ...}, or its samples.
    """

    dtype: np.dtype
    shape: tuple[int | None, ...]
    kind: str | None = None


def unpacked(body: bytes, max_bytes: int) -> bytes:
    """Unpacks a body that was sent with "Content-Encoding: gzip".

    Args:
        body: The packed body.
        max_bytes: Largest size of the unpacked body; no more memory than this is used.

    Raises:
        RequestError: If the body is not gzip, or unpacks to more bytes.
    """
    try:
        content = gzip.GzipFile(fileobj=io.BytesIO(body)).read(max_bytes + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise RequestError(
            f"The body is not gzip, as its Content-Encoding says: {error}."
        ) from None
    if len(content) > max_bytes:
        raise RequestError(
            f"The body unpacks to more than {max_bytes} bytes, the limit: send fewer or shorter "
            "texts at a time.",
            status=413,
        )
    return content


def parse_body(body: bytes) -> dict[str, Any]:
    """Reads the JSON object of a request.

    Raises:
        RequestError: If the body is not a JSON object.
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"JSON parse error: {error}.") from None
    if not isinstance(content, dict):
        raise RequestError(f"The body must be a JSON object, received {_kind(content)}.")
    return content


def signature_name(content: dict[str, Any], default: str) -> str:
    """Returns the name of the signature that a request asks for.

    Raises:
        RequestError: If the name is not a string.
    """
    name = content.get("signature_name", default)
    if not isinstance(name, str):
        raise RequestError(f"signature_name must be a string, received {_kind(name)}.")
    # As in TensorFlow Serving, where protobuf stores an absent string as an empty one.
    return name or default


def predict_rows(content: dict[str, Any], inputs: Mapping[str, Input], limits: Limits) -> list[Row]:
    """Reads the rows of a predict request, in row format ("instances") or columns ("inputs").

    Args:
        content: The request.
        inputs: Inputs of the signature by name.
        limits: Limits on the number of rows and the length of a text.

    Raises:
        RequestError: If the request does not match the signature or exceeds a limit.
    """
    if ("instances" in content) == ("inputs" in content):
        raise RequestError(
            'The body must have either "instances" (row format) or "inputs" (column format), '
            f"received {_names(content)}."
        )
    if "instances" in content:
        columns = _columns_of_instances(content["instances"], inputs)
    else:
        columns = _named(content["inputs"], inputs, '"inputs"')
    for column in columns.values():
        _check_count(column, limits)
    if any(spec.kind for spec in inputs.values()):
        columns = _with_missing(columns, inputs)
    arrays = {
        name: _sounds(columns[name], name, limits)
        if spec.kind == "audio"
        else _array(columns[name], name, spec, limits)
        for name, spec in inputs.items()
    }
    for name, spec in inputs.items():
        if spec.kind == "image":
            _check_pictures(arrays[name], name)
    sizes = {name: len(array) for name, array in arrays.items()}
    if len(set(sizes.values())) > 1:
        raise RequestError(f"The inputs must have equally many rows, received {sizes}.")
    shapes = {name: array.shape for name, array in arrays.items()}
    if "padding_mask" in inputs and len(set(shapes.values())) > 1:
        raise RequestError(f"The inputs must have the same shape, received {shapes}.")
    return [dict(zip(arrays, values, strict=True)) for values in zip(*arrays.values(), strict=True)]


def examples_of(content: dict[str, Any], limits: Limits) -> list[dict[str, list[Any]]]:
    """Reads the examples of a classify request.

    Args:
        content: The request.
        limits: Limits on the number of examples, the length of a text, and the size of the
            context, which every example repeats.

    Returns:
        The features of each example: lists of bytes, ints or floats.

    Raises:
        RequestError: If the request has no examples, exceeds a limit, or has a malformed feature.
    """
    examples, context = content.get("examples"), content.get("context", {})
    if not isinstance(examples, list) or not examples:
        raise RequestError(
            f'The body must have a list "examples" with one or more, received {_names(content)}.'
        )
    _check_count(examples, limits)
    for features in (context, *examples):
        if not isinstance(features, dict):
            raise RequestError(
                f"An example must be an object of features, received {_kind(features)}."
            )
    shared = _features(context, limits)
    values = itertools.chain.from_iterable(shared.values())
    size = sum(len(value) if isinstance(value, bytes) else 8 for value in values)
    if size * len(examples) > limits.max_body_bytes:
        raise RequestError(
            f"The context has {size} bytes, which {len(examples)} examples repeat; the limit is "
            f"{limits.max_body_bytes} together: send fewer examples at a time.",
            status=413,
        )
    return [{**shared, **_features(features, limits)} for features in examples]


def predict_response(results: list[dict[str, Any]], in_columns: bool) -> dict[str, Any]:
    """Returns the body of the answer to a predict request.

    Args:
        results: Outputs of each row by name.
        in_columns: Whether the request was in columns, as the answer then is.
    """
    is_single = len(results[0]) == 1
    if not in_columns:
        return {"predictions": [next(iter(r.values())) for r in results] if is_single else results}
    columns = {name: [result[name] for result in results] for name in results[0]}
    return {"outputs": next(iter(columns.values())) if is_single else columns}


def classify_response(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the body of the answer to a classify request: pairs of class and score."""
    return {
        "results": [
            [list(pair) for pair in zip(result["classes"], result["scores"], strict=True)]
            for result in results
        ]
    }


def json_pieces(value: Any, depth: int = 4) -> Iterator[str]:
    """Writes JSON in pieces, so that other threads can run between two pieces.

    Floats may be NaN or infinite, as in TensorFlow Serving.

    Args:
        value: Nested dicts and lists of strings and numbers.
        depth: Depth down to which dicts and lists are split.
    """
    if not depth or not value or not isinstance(value, dict | list):
        yield json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    elif isinstance(value, dict):
        for number, (name, part) in enumerate(value.items()):
            yield f"{',' if number else '{'}{json.dumps(name, ensure_ascii=False)}:"
            yield from json_pieces(part, depth - 1)
        yield "}"
    else:
        for number, part in enumerate(value):
            yield "," if number else "["
            yield from json_pieces(part, depth - 1)
        yield "]"


def _check_count(rows: Any, limits: Limits) -> None:
    if isinstance(rows, list) and len(rows) > limits.max_queue:
        raise RequestError(
            f"The request has {len(rows)} rows, the queue holds {limits.max_queue}: send fewer at "
            "a time.",
            status=413,
        )


def _columns_of_instances(instances: Any, inputs: Mapping[str, Input]) -> dict[str, list[Any]]:
    if not isinstance(instances, list) or not instances:
        raise RequestError('"instances" must be a list of one or more.')
    if not any(_is_object(instance) for instance in instances):
        return _named(instances, inputs, '"instances"')
    rows = [_named(row, inputs, f"Instance {number}") for number, row in enumerate(instances)]
    return {name: [row.get(name) for row in rows] for name in inputs}


def _named(value: Any, inputs: Mapping[str, Input], place: str) -> dict[str, Any]:
    """Returns the inputs by name; the name of a single input may be omitted."""
    if not _is_object(value) and len(inputs) == 1:
        return {next(iter(inputs)): value}
    needed = {name for name, spec in inputs.items() if spec.kind is None}
    if not _is_object(value) or not needed <= set(value) <= set(inputs):
        raise RequestError(
            f"{place} must give the inputs {_names(inputs)}, received "
            f"{_names(value) if _is_object(value) else _kind(value)}."
        )
    return value


def _with_missing(columns: dict[str, Any], inputs: Mapping[str, Input]) -> dict[str, Any]:
    """Returns the columns of a table with what stands for missing values."""
    counts = [len(column) for column in columns.values() if isinstance(column, list)]
    filled = {}
    for name, spec in inputs.items():
        column = columns.get(name, [None] * max(counts, default=0))
        if isinstance(column, list) and spec.kind is not None:
            column = [_MISSING[spec.kind] if value is None else value for value in column]
        filled[name] = column
    for number, row in enumerate(zip(*filled.values(), strict=False)):
        # NaN, which differs from itself, is no value either.
        if all(value in ("", [], {"b64": ""}) or value != value for value in row):
            raise RequestError(
                f"Row {number} has no value: give one of the inputs {_names(inputs)}."
            )
    return filled


def _sounds(sounds: Any, name: str, limits: Limits) -> np.ndarray:
    """Reads sounds, files or samples, and fills them up with NaN. *Shape:* (B, L), float32."""
    if not isinstance(sounds, list):
        raise RequestError(f"{name} must be a list of sounds, received {_kind(sounds)}.")
    from keras_bert_scratch.data.sounds import read_sound  # for models that hear, alone

    rows: list[np.ndarray] = []
    for number, sound in enumerate(sounds):
        if isinstance(sound, list):
            samples = Input(np.dtype("float32"), (None,))
            rows.append(_array(sound, name, samples, limits) if sound else np.zeros(0))
            continue
        content = _bytes(sound, name, limits)
        try:
            rows.append(read_sound(content, place=f"row {number} of {name}"))
        except ValueError as error:
            raise RequestError(str(error)) from error
    filled = np.full((len(rows), max(map(len, rows), default=0)), np.nan, "float32")
    for row, found in zip(filled, rows, strict=True):
        row[: len(found)] = found
    return filled


def _check_pictures(contents: Iterable[bytes], name: str) -> None:
    for content in filter(None, contents):
        if not content.startswith((b"\x89PNG", b"\xff\xd8")):
            raise RequestError(
                f"{name} must be PNG or JPEG files, received bytes that begin with "
                f'{content[:8]!r}: convert it, and send it as {{"b64": ...}}.'
            )


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and set(value) != {"b64"}


def _array(value: Any, name: str, spec: Input, limits: Limits) -> np.ndarray:
    """Turns nested lists into an array that matches the signature.

    Types are checked value by value before NumPy sees them: beside one string NumPy would turn all
    numbers into strings, each as wide as the longest.
    """
    kind = "strings" if spec.dtype == object else f"numbers of type {spec.dtype}"
    values, shape = [value], []
    for _ in spec.shape:
        lists = [part for part in values if isinstance(part, list)]
        sizes = set(map(len, lists))
        if not lists:
            break
        if len(lists) < len(values) or len(sizes) > 1:
            raise RequestError(
                f"{name} must be {kind} in lists of equal lengths, received lists of different "
                "lengths, or other values beside them."
            )
        shape.append(sizes.pop())
        values = list(itertools.chain.from_iterable(lists))
    is_deeper = bool(values) and all(isinstance(part, list) for part in values)
    fits = len(shape) == len(spec.shape) and all(
        expected in (None, size) for size, expected in zip(shape, spec.shape, strict=True)
    )
    if not fits or is_deeper or not values:
        expected = ", ".join("any" if size is None else str(size) for size in spec.shape)
        received = ", ".join([*map(str, shape), *(["..."] if is_deeper else [])])
        raise RequestError(
            f"{name} must be {kind} of shape ({expected}), the batch first, one or more; received "
            f"{f'shape ({received})' if shape else _kind(value)}."
        )
    if spec.dtype == object:
        values = [_bytes(text, name, limits) for text in values]
        return np.fromiter(values, object, len(values)).reshape(shape)
    return _numbers(values, name, spec.dtype).reshape(shape)


def _numbers(values: list[Any], name: str, dtype: np.dtype) -> np.ndarray:
    # Integers are accepted as floats. Booleans are not accepted as integers, as they are in Python.
    types = {"f": (int, float), "b": (bool,)}.get(dtype.kind, (int,))
    largest = float(np.finfo(dtype).max) if dtype.kind == "f" else 1
    lowest, highest = (
        (np.iinfo(dtype).min, np.iinfo(dtype).max) if dtype.kind in "iu" else (-largest, largest)
    )
    for value in values:
        # NaN and infinity are valid floats, as in TensorFlow Serving.
        if type(value) not in types or not (
            lowest <= value <= highest or value in (-np.inf, np.inf) or value != value
        ):
            raise RequestError(f"{name} must be numbers of type {dtype}, received {_kind(value)}.")
    return np.array(values, dtype)


def _features(features: dict[str, Any], limits: Limits) -> dict[str, list[Any]]:
    return {name: _feature(value, name, limits) for name, value in features.items()}


def _feature(value: Any, name: str, limits: Limits) -> list[Any]:
    values = value if isinstance(value, list) else [value]
    if all(type(v) in (int, float) for v in values):
        return values
    return [_bytes(v, f"The feature {name[:50]!r}", limits) for v in values]


def _bytes(value: Any, name: str, limits: Limits) -> bytes:
    """Returns a text in UTF-8, or the bytes of {"b64": ...}."""
    if isinstance(value, str):
        try:
            data = value.encode()
        except UnicodeEncodeError:
            raise RequestError(
                f"{name} has half of a surrogate pair, which is no character: send whole ones."
            ) from None
    elif isinstance(value, dict) and set(value) == {"b64"}:
        try:
            data = base64.b64decode(value["b64"], validate=True)
        except (TypeError, ValueError) as error:
            raise RequestError(f"{name} has a b64 that is not base64: {error}.") from None
    else:
        raise RequestError(f"{name} must be strings, received {_kind(value)}.")
    if len(data) > limits.max_text_bytes:
        what, way_out = ("a text", "cut") if isinstance(value, str) else ("a file", "shrink")
        raise RequestError(
            f"{name} has {what} of {len(data)} bytes, the limit is {limits.max_text_bytes}: "
            f"{way_out} it.",
            status=413,
        )
    return data


def _names(names: Any) -> str:
    return ", ".join(sorted(map(repr, names))) or "none"


def _kind(value: Any) -> str:
    """Describes a JSON value for an error message, in few characters."""
    kinds = {dict: "an object", list: "a list", str: "a string", type(None): "null"}
    if type(value) in kinds:
        return kinds[type(value)]
    return f"the {'truth value' if isinstance(value, bool) else 'number'} {str(value)[:50]}"
