"""What checkpoints of every format have in common: weights by name, copied into a model."""

import contextlib
import dataclasses
import logging
import sys
from collections.abc import Callable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_bert_scratch.checkpoints.name_map import (
    CLASSIFIER,
    Weight,
    encoder_weights,
    pooler_weights,
)
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

    def settings(self, **kinds: type) -> dict[str, Any]:
        """Returns those of some fields of the config that it has, and that are not null.

        Args:
            **kinds: Names of fields, and what they must be.

        Raises:
            ValueError: If one is of another kind, or a number that is not finite.
        """
        found = {name: self.fields[name] for name in kinds if self.fields.get(name) is not None}
        for name, value in found.items():
            kind = kinds[name]
            is_right = type(value) in (kind, int) if kind is float else type(value) is kind
            if not is_right or (kind is float and not abs(value) <= sys.float_info.max):
                raise ValueError(
                    f"The config of {self.folder} has {name} {value!r}, which must be of the type "
                    f"{kind.__name__}: mend it, or fetch it again."
                )
        return found

    @property
    def labels(self) -> list[str] | None:
        """The class names of the checkpoint's classification head, or None if it has no head.

        Where the config has no names they are LABEL_0, LABEL_1, ..., as in `transformers`.

        Raises:
            ValueError: If the config names other classes than the head has, or contradicts itself.
        """
        kernel = self.theirs(CLASSIFIER[0])[0]
        if kernel not in self.names:
            return None
        with self.tensors([kernel]) as tensors:
            shape = tensors[kernel].shape
        num_classes = shape[0] if shape else 0
        found = {
            field: names
            for field, names in (
                ("id2label", _names_by_id(self.fields.get("id2label"))),
                ("label2id", _names_by_id(_inverted(self.fields.get("label2id")))),
            )
            # transformers writes LABEL_0, LABEL_1 for want of names, in whatever number.
            if names is not None and names != _generic_names(len(names))
        }
        for field, names in found.items():
            if len(names) != num_classes or not all(isinstance(name, str) for name in names):
                raise ValueError(
                    f"The config of {self.folder} does not name the classes of its head, of shape "
                    f"{shape}, from 0 on in {field}: mend it, or fetch it again."
                )
        if len(found) == 2 and found["id2label"] != found["label2id"]:
            raise ValueError(
                f"The config of {self.folder} names the classes {found['id2label']} in id2label "
                f"and {found['label2id']} in label2id: mend it, or fetch it again."
            )
        return next(iter(found.values()), _generic_names(num_classes))

    def match_labels(self, labels: Sequence[str]) -> list[int] | None:
        """Says which class of the checkpoint's head each of some names stands for.

        The names of a head may be put in another order, and they may be changed, all or some. What
        is changed is logged: as a note if the classes had no names, otherwise as a warning.

        Args:
            labels: Names of the classes of a model.

        Returns:
            For each name the number of its class in the head; or None if there is no head with so
            many classes, so that the model's is new.

        Raises:
            ValueError: If some of the head's names are given to other classes of it.
        """
        theirs = self.labels
        if theirs is None or len(theirs) != len(labels):
            return None
        # Case is no difference that tells classes apart, unless a head itself has such names.
        fold = str if len(set(map(str.casefold, theirs))) < len(theirs) else str.casefold
        places = {fold(name): class_id for class_id, name in enumerate(theirs)}
        if places.keys() == {fold(str(label)) for label in labels}:
            return [places[fold(str(label))] for label in labels]
        renamed = []
        for class_id, label in enumerate(labels):
            if places.get(fold(str(label)), class_id) != class_id:
                raise ValueError(
                    f"{self.folder} has a trained head for the classes {theirs}, and labels="
                    f"{list(labels)} gives the name of one of them to another: load it without "
                    "labels=, and set the model's `labels` then."
                )
            if label != theirs[class_id]:
                renamed.append(f"{theirs[class_id]} is called {label}")
        level = logging.INFO if theirs == _generic_names(len(theirs)) else logging.WARNING
        logger.log(level, "The trained head is kept, its classes renamed: %s.", ", ".join(renamed))
        return list(range(len(labels)))

    def theirs(self, row: Weight) -> tuple[str, bool]:
        """Returns the row's name in this format, and whether the weight is transposed there."""
        raise NotImplementedError

    def tensors(self, names: Sequence[str]) -> contextlib.AbstractContextManager[dict[str, Tensor]]:
        """Opens some weights for reading."""
        raise NotImplementedError

    def has(self, rows: Sequence[Weight]) -> bool:
        """Whether all rows are in the checkpoint."""
        return all(self.theirs(row)[0] in self.names for row in rows)

    def with_all_rows(self, config: BertConfig) -> BertConfig:
        """Returns the config with as many tokens as the file's token embeddings have rows.

        Some are padded, for the speed of the hardware, to more rows than their config says. Rows
        beyond the vocabulary are kept, so that a model is saved as it was; no text reads them.
        """
        # Of one layer: a config may ask for any number of them.
        rows = encoder_weights(dataclasses.replace(config, num_layers=1))
        row = next(row for row in rows if row.sizes[:1] == ("vocab_size",))
        name = self.theirs(row)[0]
        if name not in self.names:
            return config
        with self.tensors([name]) as tensors:
            shape = tensors[name].shape
        if len(shape) != 2 or shape[1] != config.hidden_dim or shape[0] <= config.vocab_size:
            return config
        logger.info(
            "%s has vocab_size %d, and embeddings of %d tokens: all are kept.",
            self.folder, config.vocab_size, shape[0],
        )  # fmt: skip
        return dataclasses.replace(config, vocab_size=shape[0])

    def check_sizes(
        self,
        config: BertConfig,
        rows_of: Callable[[BertConfig], Sequence[Weight]] = encoder_weights,
    ) -> None:
        """Refuses a config whose sizes are not those of the weights, before anything is built.

        Without this, a config of a hundred bytes could ask for any amount of memory. The files'
        headers cannot: what reads them has compared them with the files' sizes.

        Args:
            config: The sizes.
            rows_of: Gives the rows of the table for a config.

        Raises:
            ValueError: If a weight is missing, or any has another shape or is no floats.
        """
        one, two = (rows_of(dataclasses.replace(config, num_layers=n)) for n in (1, 2))
        in_layer = len(two) - len(one)
        if config.num_layers * in_layer > len(self.names):
            raise ValueError(
                f"The config of {self.folder} asks for {config.num_layers} layers of {in_layer} "
                f"weights each, its files hold {len(self.names)} weights in all: use the "
                "config.json that belongs to them."
            )
        pooler = (row for row in pooler_weights(config) if self.has([row]))
        rows = [*rows_of(config), *pooler]
        self.check_shapes({row: tuple(getattr(config, size) for size in row.sizes) for row in rows})

    def check_shapes(self, shapes: Mapping[Weight, tuple[int, ...]]) -> None:
        """Refuses weights that are missing, have another shape than is wanted, or are no floats.

        Args:
            shapes: What is wanted, as the weights are here.

        Raises:
            ValueError: If there are any; all are named at once.
        """
        names = {row: self.theirs(row)[0] for row in shapes}
        problems = [f"missing: {name}" for name in names.values() if name not in self.names]
        with self.tensors([name for name in names.values() if name in self.names]) as tensors:
            for row, name in names.items():
                if name not in tensors:
                    continue
                tensor, transpose = tensors[name], self.theirs(row)[1]
                expected = shapes[row][:: -1 if transpose else 1]
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
        new = [row.ours for row in optional if not self.has([row])]
        rows = [*required, *(row for row in optional if self.has([row]))]
        variables = {row: at(root, row.ours) for row in rows}
        self.check_shapes({row: tuple(variable.shape) for row, variable in variables.items()})
        names = {row: self.theirs(row)[0] for row in variables}
        with self.tensors(list(names.values())) as tensors:
            for row, variable in variables.items():
                values = tensors[names[row]].read().astype("float32")
                variable.assign(values.T if self.theirs(row)[1] else values)

        unused = sorted(self.names - set(names.values()) - self.ignored)
        if new:
            logger.warning("Newly initialized, to be trained: %s.", ", ".join(new))
        if unused:
            logger.warning("In the checkpoint but not used: %s.", ", ".join(unused))


def _generic_names(num_classes: int) -> list[str]:
    """Returns the names that transformers gives to classes without names."""
    return [f"LABEL_{class_id}" for class_id in range(num_classes)]


def _names_by_id(names: Any) -> list[Any] | None:
    """Turns an id2label, {"0": name, ...} or [name, ...], into a list; numbers become strings.

    What is missing or no name is None in the list.
    """
    if names is None:
        return None
    if isinstance(names, dict):
        names = [names.get(str(class_id)) for class_id in range(len(names))]
    if not isinstance(names, list):
        return [None]
    return [str(name) if type(name) is int else name for name in names]


def _inverted(label2id: Any) -> Any:
    """Turns {name: id, ...} into {"id": name, ...}."""
    if not isinstance(label2id, dict):
        return None if label2id is None else [None]
    return {str(class_id): name for name, class_id in label2id.items()}


def at(root: Any, path: str) -> Any:
    """Follows an attribute path; a number is an index."""
    for part in path.split("."):
        root = root[int(part)] if part.isdigit() else getattr(root, part)
    return root
