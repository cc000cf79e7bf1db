"""Rows of tables as JSON, as a fresh process is asked and a client may ask.

It needs neither TensorFlow nor Keras.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def to_rows(table: Mapping[str, Sequence[Any]]) -> list[str]:
    """Writes each row of a table as JSON.

    Args:
        table: The columns by name: strings, numbers, lists of samples, or the bytes of files, which
            become {"b64": ...} as TensorFlow Serving has them; None for a missing value.

    Example:
        >>> to_rows({"title": ["a bear"], "picture": [b"PNG"]})
        ['{"title": "a bear", "picture": {"b64": "UE5H"}}']
    """
    return [
        json.dumps({name: _encoded(value) for name, value in zip(table, row, strict=True)})
        for row in zip(*table.values(), strict=True)
    ]


def from_rows(rows: Sequence[str]) -> dict[str, list[Any]]:
    """Inverts `to_rows`; a column that a row lacks is missing there, and samples are arrays.

    Args:
        rows: Rows as JSON.

    Example:
        >>> from_rows(['{"price": 2.5, "picture": {"b64": "UE5H"}}', '{"price": 1}'])
        {'price': [2.5, 1], 'picture': [b'PNG', None]}
    """
    read = [json.loads(row) for row in rows]
    names = dict.fromkeys(name for row in read for name in row)
    return {name: [_decoded(row.get(name)) for row in read] for name in names}


def _encoded(value: Any) -> Any:
    return {"b64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        return base64.b64decode(value["b64"])
    return np.array(value, "float32") if isinstance(value, list) else value
