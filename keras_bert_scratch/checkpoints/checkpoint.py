"""What checkpoints of every format have in common: weights by name, copied into a model."""

import contextlib
import logging
from collections.abc import Callable, Sequence, Set
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_bert_scratch.checkpoints.name_map import Weight
from keras_bert_scratch.config import BertConfig

logger = logging.getLogger(__name__)

# Dtypes whose values are the weights; integers would be quantized ones, without their scales.
_FLOATS = ("F64", "F32", "F16", "BF16")


class Tensor(NamedTuple):
    """A weight that is not read yet: its name in the file, shape, dtype, and how to read it."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], np.ndarray]


class Checkpoint:
    """A checkpoint folder. Subclasses say how a format names and reads its weights.

    Attributes:
        folder: Where it is.
        fields: What its config says.
        config: The same, as this package's.
        names: Of its weights.
        ignored: Names that hold nothing of their own.
    """

    folder: Path
    fields: dict[str, Any]
    config: BertConfig
    names: Set[str]
    ignored: Set[str] = frozenset()

    @property
    def labels(self) -> list[str] | None:
        """The class names of the checkpoint's classification head, or None if it has none."""
        return None

    def theirs(self, row: Weight) -> tuple[str, bool]:
        """Returns the row's name in this format, and whether the weight is transposed there."""
        raise NotImplementedError

    def tensors(self, names: Sequence[str]) -> contextlib.AbstractContextManager[dict[str, Tensor]]:
        """Opens some weights for reading."""
        raise NotImplementedError

    def has(self, rows: Sequence[Weight]) -> bool:
        """Whether all rows are in the checkpoint."""
        return all(self.theirs(row)[0] in self.names for row in rows)

    def load(self, root: Any, required: Sequence[Weight], optional: Sequence[Weight] = ()) -> None:
        """Copies weights into a model, and reports what is new and what was left over.

        Args:
            root: What the table's paths start from: a task, or anything with an `encoder`.
            required: Rows that the checkpoint must have.
            optional: Rows that keep their initial values where the checkpoint lacks them.

        Raises:
            ValueError: If required weights are missing or any has another shape; all such weights
                are named at once, and the model is unchanged.
        """
        names = [self.theirs(row)[0] for row in (*required, *optional)]
        problems = [f"missing: {name}" for name in names[: len(required)] if name not in self.names]
        found = [row for row in (*required, *optional) if self.theirs(row)[0] in self.names]
        variables = [at(root, row.ours) for row in found]
        with self.tensors([self.theirs(row)[0] for row in found]) as tensors:
            for row, variable in zip(found, variables, strict=True):
                name, transpose = self.theirs(row)
                tensor = tensors[name]
                expected = tuple(variable.shape)[:: -1 if transpose else 1]
                if tensor.shape != expected:
                    problems.append(
                        f"{tensor.name} has shape {tensor.shape}, the config asks for {expected}"
                    )
                if tensor.dtype not in _FLOATS:
                    problems.append(
                        f"{tensor.name} has dtype {tensor.dtype}, known are {', '.join(_FLOATS)}"
                    )
            if problems:
                raise ValueError(
                    f"The weights in {self.folder} do not fit the model: {'; '.join(problems)}. "
                    "Use the config.json that belongs to them."
                )
            for row, variable in zip(found, variables, strict=True):
                name, transpose = self.theirs(row)
                values = tensors[name].read().astype("float32")
                variable.assign(values.T if transpose else values)

        new = [row.ours for row in optional if self.theirs(row)[0] not in self.names]
        unused = sorted(self.names - set(names) - self.ignored)
        if new:
            logger.warning("Newly initialized, to be trained: %s.", ", ".join(new))
        if unused:
            logger.warning("In the checkpoint but not used: %s.", ", ".join(unused))


def at(root: Any, path: str) -> Any:
    """Follows an attribute path; a number is an index."""
    for part in path.split("."):
        root = root[int(part)] if part.isdigit() else getattr(root, part)
    return root
