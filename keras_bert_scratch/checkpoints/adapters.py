"""Files of low-rank adapters and a head without their encoder: kilobytes a task."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_bert_scratch.checkpoints.checkpoint import at
from keras_bert_scratch.checkpoints.huggingface import (
    HuggingFaceCheckpoint,
    read_fields,
    tensor_names,
    write_config,
    write_weights,
)
from keras_bert_scratch.checkpoints.name_map import Weight, encoder_weights
from keras_bert_scratch.files import check_folder
from keras_bert_scratch.models.adapting import enable_lora, remove_lora
from keras_bert_scratch.models.encoder import BertEncoder

_CONFIG = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"


class AdapterCheckpoint(HuggingFaceCheckpoint):
    """A folder of adapters with the names of the library `peft`.

    Args:
        folder: The folder.

    Raises:
        FileNotFoundError: If it holds no adapters.
        ValueError: If a file is damaged or outside the folder, see `files.check_folder`.

    Example:
        >>> AdapterCheckpoint("adapters/films").fields["r"]
        8
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser()
        if not (self.folder / _CONFIG).is_file():
            raise FileNotFoundError(
                f"{self.folder} has no {_CONFIG}: name a folder that save_adapter wrote."
            )
        check_folder(self.folder)
        self.fields = read_fields(self.folder / _CONFIG)
        file = self.folder / _WEIGHTS
        self.files = {name: (file, name) for name in tensor_names(file)}
        self.names = set(self.files)

    def load_adapter(self, root: Any, head: Sequence[Weight]) -> None:
        """Copies adapters and head into a task, and replaces the adapters that it has.

        Args:
            root: The task, with an `encoder`.
            head: Rows of the head.

        Raises:
            ValueError: If the adapters belong to another encoder, or do not fit.
        """
        theirs, ours = self.fields.get("encoder_sha256"), encoder_hash(root.encoder)
        if theirs != ours:
            raise ValueError(
                f"{self.folder} holds adapters of another encoder (sha256 {str(theirs)[:12]}..., "
                f"the model's is {ours[:12]}...): load the checkpoint that they were trained on."
            )
        rank = self.settings(r=int).get("r", 0)
        # Before matrices of any rank are made.
        shapes = {row: row.shape(root.encoder.config) for row in _rows(root.encoder, ())}
        self.check_shapes(
            {
                row: (inputs, rank) if row.ours.endswith("_a") else (rank, outputs)
                for row, (inputs, outputs) in shapes.items()
            }
        )
        remove_lora(root.encoder)
        enable_lora(root.encoder, rank)
        self.load(root, _rows(root.encoder, head))


def write_adapter(folder: Path, root: Any, head: Sequence[Weight], **fields: Any) -> None:
    """Writes the adapters of a task's encoder and its head into a folder.

    Args:
        folder: An existing folder.
        root: The task, with an `encoder`.
        head: Rows of the head.
        **fields: Further fields of adapter_config.json.

    Raises:
        ValueError: If the encoder has no adapters.
    """
    adapted = _adapted(root.encoder)
    query = at(root, adapted[0].ours.removesuffix(".kernel"))
    if not query.lora_enabled:
        raise ValueError(
            f"The encoder of {root.name} has no adapters: call enable_lora(model.encoder, rank) "
            "before training, or use save_pretrained."
        )
    modules = sorted({_module(row) for row in adapted})
    write_config(
        folder,
        {
            "peft_type": "LORA",
            "r": query.lora_rank,
            "lora_alpha": query.lora_alpha,
            "target_modules": modules,
            "modules_to_save": sorted({row.huggingface.split(".")[0] for row in head}),
            "encoder_sha256": encoder_hash(root.encoder),
            **fields,
        },
        _CONFIG,
    )
    write_weights(folder, root, _rows(root.encoder, head), _WEIGHTS)


def encoder_hash(encoder: BertEncoder) -> str:
    """Returns the sha256 of an encoder's weights without adapters.

    It includes the pooler, which is another one at each loading of a checkpoint without a pooler.
    """
    digest = hashlib.sha256()
    for weight in encoder.weights:
        if not weight.name.startswith("lora_"):
            digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(weight)).data)
    return digest.hexdigest()


def _adapted(encoder: BertEncoder) -> list[Weight]:
    """Returns the rows of the matrices that have adapters."""
    return [row for row in encoder_weights(encoder.config) if row.ours.endswith(".kernel")]


def _module(row: Weight) -> str:
    """Returns the name of a matrix within its block, as in `transformers`."""
    return row.huggingface.removesuffix(".weight").split(".", 4)[-1]


def _rows(encoder: BertEncoder, head: Sequence[Weight]) -> list[Weight]:
    """Returns the rows of adapters and head."""
    rows = [*head]
    for row in _adapted(encoder):
        for ours, theirs in (("lora_kernel_a", "lora_A"), ("lora_kernel_b", "lora_B")):
            rows.append(
                row._replace(
                    ours=f"{row.ours.removesuffix('kernel')}{ours}",
                    huggingface=f"{row.huggingface.removesuffix('weight')}{theirs}.weight",
                )
            )
    return [row._replace(huggingface=f"base_model.model.{row.huggingface}") for row in rows]
