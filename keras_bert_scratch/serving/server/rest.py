"""TensorFlow Serving's JSON: bodies of requests to rows of arrays, and results to bodies.

The format is that of https://www.tensorflow.org/tfx/serving/api_rest. A row is one example: a dict
from the name of an input to its value without the batch axis.

Axes: B batch.
"""

import base64
import dataclasses
import gzip
import io
import itertools
import json
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

Row = dict[str, Any]

# Of one request, where the caller sets no other limits.
_MAX_ROWS = 1024
_MAX_BYTES = 1_000_000


class RequestError(ValueError):
    """A request that is refused.

    Args:
        message: What was received, the rule, and the way out.
        status: Of the HTTP response.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        # JSON may bring halves of surrogate pairs, which no answer can hold.
        super().__init__(message.encode(errors="backslashreplace").decode())
        self.status = status


@dataclasses.dataclass(frozen=True)
class Input:
    """What a signature says of one input.

    Args:
        dtype: Of numpy; object for strings.
        shape: With the batch axis; None where any size will do.
    """

    dtype: np.dtype
    shape: tuple[int | None, ...]


def unpacked(body: bytes, max_bytes: int) -> bytes:
    """Unpacks a body that was sent with "Content-Encoding: gzip".

    Args:
        body: As it came.
        max_bytes: Of what it may unpack to; no more memory is taken.

    Raises:
        RequestError: If it is not gzip, or unpacks to more.
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
    """Returns the signature that a request names.

    Raises:
        RequestError: If the name is not a string.
    """
    name = content.get("signature_name", default)
    if not isinstance(name, str):
        raise RequestError(f"signature_name must be a string, received {_kind(name)}.")
    # As in TensorFlow Serving, where the empty string is protobuf's for an absent one.
    return name or default


def predict_rows(
    content: dict[str, Any],
    inputs: Mapping[str, Input],
    max_text_bytes: int,
    max_rows: int = _MAX_ROWS,
) -> list[Row]:
    """Reads the rows of a predict request, in row format ("instances") or columns ("inputs").

    Args:
        content: The request.
        inputs: The signature's, by name.
        max_text_bytes: Longest text, in UTF-8.
        max_rows: Most rows.

    Raises:
        RequestError: If the request does not fit the signature, a text is longer, or there are more
            rows.
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
        _check_count(column, max_rows)
    arrays = {
        name: _array(columns[name], name, spec, max_text_bytes) for name, spec in inputs.items()
    }
    sizes = {name: len(array) for name, array in arrays.items()}
    if len(set(sizes.values())) > 1:
        raise RequestError(f"The inputs must have equally many rows, received {sizes}.")
    shapes = {name: array.shape for name, array in arrays.items()}
    if "padding_mask" in inputs and len(set(shapes.values())) > 1:
        raise RequestError(f"The inputs must have the same shape, received {shapes}.")
    return [dict(zip(arrays, values, strict=True)) for values in zip(*arrays.values(), strict=True)]


def examples_of(
    content: dict[str, Any],
    max_text_bytes: int,
    max_rows: int = _MAX_ROWS,
    max_bytes: int = _MAX_BYTES,
) -> list[dict[str, list[Any]]]:
    """Reads the examples of a classify request.

    Args:
        content: The request.
        max_text_bytes: Longest text, in UTF-8.
        max_rows: Most examples.
        max_bytes: Of the context, which every example repeats, in all of them.

    Returns:
        For each example its features: lists of bytes, of ints or of floats.

    Raises:
        RequestError: If the request has no examples or too many, or a feature is none of these.
    """
    examples, context = content.get("examples"), content.get("context", {})
    if not isinstance(examples, list) or not examples:
        raise RequestError(
            f'The body must have a list "examples" with one or more, received {_names(content)}.'
        )
    _check_count(examples, max_rows)
    for features in (context, *examples):
        if not isinstance(features, dict):
            raise RequestError(
                f"An example must be an object of features, received {_kind(features)}."
            )
    shared = _features(context, max_text_bytes)
    values = itertools.chain.from_iterable(shared.values())
    size = sum(len(value) if isinstance(value, bytes) else 8 for value in values)
    if size * len(examples) > max_bytes:
        raise RequestError(
            f"The context has {size} bytes, which {len(examples)} examples repeat; the limit is "
            f"{max_bytes} together: send fewer examples at a time.",
            status=413,
        )
    return [{**shared, **_features(features, max_text_bytes)} for features in examples]


def predict_response(results: list[dict[str, Any]], in_columns: bool) -> dict[str, Any]:
    """Returns the body that answers a predict request.

    Args:
        results: For each row its outputs by name.
        in_columns: Whether the request was in columns; its answer is, too.
    """
    is_single = len(results[0]) == 1
    if not in_columns:
        return {"predictions": [next(iter(r.values())) for r in results] if is_single else results}
    columns = {name: [result[name] for result in results] for name in results[0]}
    return {"outputs": next(iter(columns.values())) if is_single else columns}


def classify_response(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the body that answers a classify request: pairs of class and score."""
    return {
        "results": [
            [list(pair) for pair in zip(result["classes"], result["scores"], strict=True)]
            for result in results
        ]
    }


def json_pieces(value: Any, depth: int = 4) -> Iterator[str]:
    """Writes JSON in pieces, so that other threads run between two of them.

    Floats may be NaN or infinite, as TensorFlow Serving's may.

    Args:
        value: Of dicts, lists, strings and numbers.
        depth: Down to which dicts and lists are taken apart.
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


def _check_count(rows: Any, max_rows: int) -> None:
    if isinstance(rows, list) and len(rows) > max_rows:
        raise RequestError(
            f"The request has {len(rows)} rows, the queue holds {max_rows}: send fewer at a time.",
            status=413,
        )


def _columns_of_instances(instances: Any, inputs: Mapping[str, Input]) -> dict[str, list[Any]]:
    if not isinstance(instances, list) or not instances:
        raise RequestError('"instances" must be a list of one or more.')
    if not any(_is_object(instance) for instance in instances):
        return _named(instances, inputs, '"instances"')
    rows = [_named(row, inputs, f"Instance {number}") for number, row in enumerate(instances)]
    return {name: [row[name] for row in rows] for name in inputs}


def _named(value: Any, inputs: Mapping[str, Input], place: str) -> dict[str, Any]:
    """Returns the inputs by name; where there is only one, its name may be left away."""
    if not _is_object(value) and len(inputs) == 1:
        return {next(iter(inputs)): value}
    if not _is_object(value) or set(value) != set(inputs):
        raise RequestError(
            f"{place} must give the inputs {_names(inputs)}, received "
            f"{_names(value) if _is_object(value) else _kind(value)}."
        )
    return value


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and set(value) != {"b64"}


def _array(value: Any, name: str, spec: Input, max_text_bytes: int) -> np.ndarray:
    """Turns nested lists into an array that fits the signature.

    Types are checked value by value before NumPy sees them: it would make strings of all numbers
    beside one string, each as wide as the longest.
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
        values = [_bytes(text, name, max_text_bytes) for text in values]
        return np.fromiter(values, object, len(values)).reshape(shape)
    return _numbers(values, name, spec.dtype).reshape(shape)


def _numbers(values: list[Any], name: str, dtype: np.dtype) -> np.ndarray:
    # Where a float is wanted, a whole number will do. A truth value is an int in Python alone.
    types = {"f": (int, float), "b": (bool,)}.get(dtype.kind, (int,))
    largest = float(np.finfo(dtype).max) if dtype.kind == "f" else 1
    lowest, highest = (
        (np.iinfo(dtype).min, np.iinfo(dtype).max) if dtype.kind in "iu" else (-largest, largest)
    )
    for value in values:
        # NaN and infinity, as Python writes and TensorFlow Serving reads them, are floats.
        if type(value) not in types or not (
            lowest <= value <= highest or value in (-np.inf, np.inf) or value != value
        ):
            raise RequestError(f"{name} must be numbers of type {dtype}, received {_kind(value)}.")
    return np.array(values, dtype)


def _features(features: dict[str, Any], max_text_bytes: int) -> dict[str, list[Any]]:
    return {name: _feature(value, name, max_text_bytes) for name, value in features.items()}


def _feature(value: Any, name: str, max_text_bytes: int) -> list[Any]:
    values = value if isinstance(value, list) else [value]
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        return values
    return [_bytes(v, f"The feature {name[:50]!r}", max_text_bytes) for v in values]


def _bytes(value: Any, name: str, max_text_bytes: int) -> bytes:
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
    if len(data) > max_text_bytes:
        raise RequestError(
            f"{name} has a text of {len(data)} bytes, the limit is {max_text_bytes}: cut it.",
            status=413,
        )
    return data


def _names(names: Any) -> str:
    return ", ".join(sorted(map(repr, names))) or "none"


def _kind(value: Any) -> str:
    """Names a JSON value in an error, without repeating megabytes of it."""
    kinds = {dict: "an object", list: "a list", str: "a string", type(None): "null"}
    if type(value) in kinds:
        return kinds[type(value)]
    return f"the {'truth value' if isinstance(value, bool) else 'number'} {str(value)[:50]}"
