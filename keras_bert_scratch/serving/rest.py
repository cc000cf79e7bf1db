"""TensorFlow Serving's JSON: bodies of requests to rows of arrays, and results to bodies.

The format is that of https://www.tensorflow.org/tfx/serving/api_rest. A row is one example: a dict
from the name of an input to its value without the batch axis.

Axes: B batch.
"""

import base64
import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

Row = dict[str, Any]


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
    content: dict[str, Any], inputs: Mapping[str, Input], max_text_bytes: int
) -> list[Row]:
    """Reads the rows of a predict request, in row format ("instances") or columns ("inputs").

    Args:
        content: The request.
        inputs: The signature's, by name.
        max_text_bytes: Longest text, in UTF-8.

    Raises:
        RequestError: If the request does not fit the signature, or a text is longer.
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


def examples_of(content: dict[str, Any], max_text_bytes: int) -> list[dict[str, list[Any]]]:
    """Reads the examples of a classify request.

    Args:
        content: The request.
        max_text_bytes: Longest text, in UTF-8.

    Returns:
        For each example its features: lists of bytes, of ints or of floats.

    Raises:
        RequestError: If the request has no examples, or a feature is none of these.
    """
    examples, context = content.get("examples"), content.get("context", {})
    if not isinstance(examples, list) or not examples:
        raise RequestError(
            f'The body must have a list "examples" with one or more, received {_names(content)}.'
        )
    for features in (context, *examples):
        if not isinstance(features, dict):
            raise RequestError(
                f"An example must be an object of features, received {_kind(features)}."
            )
    return [
        {
            name: _feature(value, name, max_text_bytes)
            for name, value in {**context, **features}.items()
        }
        for features in examples
    ]


def predict_response(content: dict[str, Any], results: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the body that answers a predict request, in the request's own format.

    Args:
        content: The request.
        results: For each row its outputs by name.
    """
    is_single = len(results[0]) == 1
    if "instances" in content:
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
    """Turns nested lists into an array that fits the signature."""
    if spec.dtype == object:
        # numpy would make strings of the numbers beside strings, if it were let.
        array = np.array(value, dtype=object)
        flat = [_bytes(text, name, max_text_bytes) for text in array.ravel()]
        array = np.fromiter(flat, object, len(flat)).reshape(array.shape)
    else:
        array = _numbers(value, name, spec.dtype)
    fits = len(array.shape) == len(spec.shape) and all(
        expected in (None, size) for size, expected in zip(array.shape, spec.shape, strict=True)
    )
    if not fits or not array.size:
        shape = ", ".join("any" if size is None else str(size) for size in spec.shape)
        raise RequestError(
            f"{name} must have the shape ({shape}), the batch first, and hold one value or more, "
            f"received shape {array.shape}."
        )
    return array


def _numbers(value: Any, name: str, dtype: np.dtype) -> np.ndarray:
    rule = f"{name} must be numbers of type {dtype} in lists of equal lengths"
    try:
        array = np.array(value)
    except ValueError:
        raise RequestError(f"{rule}, received lists of different lengths.") from None
    # Where a float is wanted, a whole number will do.
    kinds = "if" if dtype.kind == "f" else dtype.kind
    is_right = not array.size or array.dtype.kind in kinds
    if is_right and array.size and dtype.kind == "i":
        limits = np.iinfo(dtype)
        is_right = limits.min <= array.min() and array.max() <= limits.max
    if not is_right:
        raise RequestError(f"{rule}, received {str(value)[:80]}.")
    return array.astype(dtype)


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
