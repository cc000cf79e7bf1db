"""The base of all checkpoint formats: weights by name, copied into a model."""

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
    POOLED_CLASSIFIER,
    Weight,
    encoder_weights,
    pooler_weights,
)
from keras_bert_scratch.config import BertConfig

logger = logging.getLogger(__name__)

# Integers would be quantized weights without their scales.
_FLOATS = ("F64", "F32", "F16", "BF16")


class Tensor(NamedTuple):
    """A weight that is not read yet: its name in the file, shape, dtype, and a reader."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], np.ndarray]


class Checkpoint:
    """A checkpoint folder. Subclasses define how a format names and reads its weights.

    Attributes:
        folder: The folder.
        fields: Fields of its config.
        config: The config of this package.
        names: Names of its weights.
        ignored: Names of weights that need not be used.
        heads: Rows of the classification heads that the format knows, the kernel first.
    """

    folder: Path
    fields: dict[str, Any]
    config: BertConfig
    names: Set[str]
    ignored: Set[str] = frozenset()
    heads: Sequence[Sequence[Weight]] = (CLASSIFIER, POOLED_CLASSIFIER)

    def settings(self, **kinds: type) -> dict[str, Any]:
        """Returns fields of the config, without those that are missing or null.

        Args:
            **kinds: Names of fields, and their types.

        Raises:
            ValueError: If a field is of another type, or a number that is not finite.
        """
        found = {name: self.fields[name] for name in kinds if self.fields.get(name) is not None}
        for name, value in found.items():
            kind = kinds[name]
            is_right = type(value) in (kind, int) if kind is float else type(value) is kind
            if not is_right or (kind is float and not abs(value) <= sys.float_info.max):
                raise ValueError(
                    f"The config of {self.folder} has {name} {value!r}, which must be of the type "
                    f"{kind.__name__}: correct it, or fetch it again."
                )
        return found

    @property
    def labels(self) -> list[str] | None:
        """The class names of the checkpoint's classification head, or None if it has no head.

        Without names in the config they are LABEL_0, LABEL_1, ..., as in `transformers`.

        Raises:
            ValueError: If the config's names do not fit the head, or contradict each other.
        """
        kernels = [self.theirs(head[0])[0] for head in self.heads]
        kernel = next((name for name in kernels if name in self.names), None)
        if kernel is None:
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
            # transformers writes LABEL_0, LABEL_1 by default, whatever the number of classes.
            if names is not None and names != _generic_names(len(names))
        }
        for field, names in found.items():
            if len(names) != num_classes or not all(isinstance(name, str) for name in names):
                raise ValueError(
                    f"The config of {self.folder} does not name the classes of its head, of shape "
                    f"{shape}, from 0 on in {field}: correct it, or fetch it again."
                )
        if len(found) == 2 and found["id2label"] != found["label2id"]:
            raise ValueError(
                f"The config of {self.folder} names the classes {found['id2label']} in id2label "
                f"and {found['label2id']} in label2id: correct it, or fetch it again."
            )
        return next(iter(found.values()), _generic_names(num_classes))

    def match_labels(self, labels: Sequence[str]) -> list[int] | None:
        """Finds the class of the checkpoint's head for each label of a model.

        The labels may be the head's names in another order, and may rename classes. New names are
        logged, as information if the classes had no names, as a warning otherwise.

        Args:
            labels: Names of the classes of a model.

        Returns:
            The number of each label's class in the head; or None if the checkpoint has no head with
            as many classes, so the model's head is new.

        Raises:
            ValueError: If a label is the name of another class of the head.
        """
        theirs = self.labels
        if theirs is None or len(theirs) != len(labels):
            return None
        # Case is ignored, unless names of the head differ by nothing else.
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
        """Returns a row's name in this format, and whether the weight is transposed there."""
        raise NotImplementedError

    def tensors(self, names: Sequence[str]) -> contextlib.AbstractContextManager[dict[str, Tensor]]:
        """Opens some weights for reading."""
        raise NotImplementedError

    def has(self, rows: Sequence[Weight]) -> bool:
        """Whether all rows are in the checkpoint."""
        return all(self.theirs(row)[0] in self.names for row in rows)

    def with_all_rows(self, config: BertConfig) -> BertConfig:
        """Returns the config with as many tokens as the file's token embeddings have rows.

        Some tables are padded for the hardware's sake and have more rows than their config says.
        The additional rows are kept, so that a model is saved as it was; no text uses them.
        """
        # One layer, since the config may ask for any number of them.
        token_embeddings = encoder_weights(dataclasses.replace(config, num_layers=1))[0]
        name = self.theirs(token_embeddings)[0]
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

        Otherwise a config of a hundred bytes could ask for any amount of memory. The headers of the
        files cannot, because they are compared with the files' sizes.

        Args:
            config: The sizes.
            rows_of: Returns the rows of the table for a config.

        Raises:
            ValueError: If a weight is missing, has another shape, or is not of floats.
        """
        self.check_num_layers(config, rows_of)
        pooler = (row for row in pooler_weights(config) if self.has([row]))
        rows = [*rows_of(config), *pooler]
        self.check_shapes({row: row.shape(config) for row in rows})

    def check_num_layers(self, config: Any, rows_of: Callable[[Any], Sequence[Weight]]) -> None:
        """Refuses a config that asks for more layers than there are weights for.

        Args:
            config: The sizes.
            rows_of: Returns the rows of the table for a config.

        Raises:
            ValueError: If it does.
        """
        one, two = (rows_of(dataclasses.replace(config, num_layers=n)) for n in (1, 2))
        in_layer = len(two) - len(one)
        if config.num_layers * in_layer > len(self.names):
            raise ValueError(
                f"The config of {self.folder} asks for {config.num_layers} layers of {in_layer} "
                f"weights each, its files hold {len(self.names)} weights in all: use the "
                "config.json that belongs to them."
            )

    def check_shapes(self, shapes: Mapping[Weight, tuple[int, ...]]) -> None:
        """Refuses weights that are missing, have another shape, or are not of floats.

        Args:
            shapes: Shapes of the weights in this package.

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
        """Copies weights into a model, and logs new and unused weights.

        Args:
            root: Start of the table's paths: a task, or another object with an `encoder`.
            required: Rows that the checkpoint must have.
            optional: Rows that keep their initial values if the checkpoint lacks them.

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
                variable.assign(from_pytorch(values) if self.theirs(row)[1] else values)

        unused = sorted(self.names - set(names.values()) - self.ignored)
        if new:
            logger.warning("Newly initialized, to be trained: %s.", ", ".join(new))
        if unused:
            logger.warning("In the checkpoint but not used: %s.", ", ".join(unused))


def from_pytorch(kernel: np.ndarray) -> np.ndarray:
    """Turns a kernel of PyTorch into ours: (H, P) -> (P, H), (H, C, P, P) -> (P, P, C, H)."""
    return kernel.transpose(2, 3, 1, 0) if kernel.ndim == 4 else kernel.T


def to_pytorch(kernel: np.ndarray) -> np.ndarray:
    """Inverts `from_pytorch`."""
    return kernel.transpose(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T


def _generic_names(num_classes: int) -> list[str]:
    """Returns the names of transformers for classes without names."""
    return [f"LABEL_{class_id}" for class_id in range(num_classes)]


def _names_by_id(names: Any) -> list[Any] | None:
    """Turns an id2label, {"0": name, ...} or [name, ...], into a list; numbers become strings.

    A missing name is None in the list.
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
