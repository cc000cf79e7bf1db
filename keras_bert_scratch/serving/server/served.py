"""What a server asks of a model, whatever runs it.

Axes: B batch.
"""

import abc
import dataclasses
import json
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_bert_scratch.serving.server.rest import Input, RequestError, Row

# Numbers of bits of the smallest and the largest length that batches distinguish.
_SHORT, _LONG = 5, 12


def described_columns(description: str) -> list[dict[str, Any]]:
    """Returns the columns of a served model, see `Served`.

    Args:
        description: What an export says of its columns, JSON.
    """
    from keras_bert_scratch.data.table import make_columns  # for models of tables, alone

    found = json.loads(description)
    return [
        {
            "name": name,
            "input": found["inputs"][name],
            "kind": column.kind,
            **{key: value for key, value in column.to_dict().items() if key == "categories"},
        }
        for name, column in make_columns(found["columns"]).items()
    ]


@dataclasses.dataclass(frozen=True)
class VersionStatus:
    """The status of a version, as in TensorFlow Serving's API.

    Args:
        state: "LOADING", "AVAILABLE" or "END".
        error: Why the version does not load; empty if it does.
    """

    state: str
    error: str = ""

    def to_json(self, version: int) -> dict[str, Any]:
        """Returns the JSON of the API."""
        code = "UNKNOWN" if self.error else "OK"
        status = {"error_code": code, "error_message": self.error}
        return {"version": str(version), "state": self.state, "status": status}


class Served(abc.ABC):
    """A model in a server.

    Attributes:
        folder: Where it is.
        version: Its number.
        signatures: Inputs of each signature, by name.
        metadata: The signatures, in the format of TensorFlow Serving's metadata API.
        columns: Of a model that reads rows of tables, what its page asks of each column: `name`,
            `input`, `kind`, and of a category its `categories`.
    """

    folder: Path
    version: int
    signatures: dict[str, dict[str, Input]]
    metadata: dict[str, Any]
    columns: Sequence[dict[str, Any]] = ()

    def inputs(self, signature: str) -> dict[str, Input]:
        """Returns the inputs of a signature.

        Raises:
            RequestError: If the model has no such signature.
        """
        if signature not in self.signatures:
            raise RequestError(
                f'Serving signature name "{signature[:100]}" not found: the model has '
                f"{', '.join(sorted(self.signatures))}."
            )
        return self.signatures[signature]

    def batch_key(self, signature: str, row: Row) -> Hashable:
        """Returns a key that is equal for rows that may share a batch.

        Those are rows of one signature whose lengths differ by a factor of less than two: a batch
        is as long as its longest row, and so little of it is padding.
        """
        if "padding_mask" in row:
            return signature, len(row["padding_mask"]).bit_length()
        shapes = tuple(np.shape(value) for value in row.values())
        strings = [value for value in row.values() if isinstance(value, bytes)]
        bits = sum(map(len, strings)).bit_length()
        return signature, shapes, min(max(bits, _SHORT), _LONG)

    @abc.abstractmethod
    def is_for_classify(self, signature: str) -> bool:
        """Whether a signature takes examples and returns classes and scores.

        Raises:
            RequestError: If the model has no such signature.
        """

    @abc.abstractmethod
    def example(self, features: dict[str, list[Any]]) -> Row:
        """Makes the row of an example's features, which are lists of bytes, ints or floats.

        Raises:
            RequestError: If the model cannot read them.
        """

    @abc.abstractmethod
    def run(self, signature: str, rows: list[Row]) -> list[dict[str, Any]]:
        """Runs a batch.

        Args:
            signature: Name of a signature of the model.
            rows: Inputs of each row by name. With a `padding_mask`, rows may differ in length.

        Returns:
            Outputs of each row by name, as lists, numbers and strings.

        Raises:
            RequestError: If the model refuses the values.
        """
