"""Reading of Google's checkpoints of TensorFlow 1 (google-research/bert, bert_model.ckpt)."""

import contextlib
import functools
import glob
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_bert_scratch.checkpoints.checkpoint import Checkpoint, Tensor
from keras_bert_scratch.checkpoints.huggingface import (
    GOOGLE_CONFIG,
    HuggingFaceCheckpoint,
    find_checkpoint,
    read_config,
    read_fields,
)
from keras_bert_scratch.checkpoints.name_map import Weight
from keras_bert_scratch.files import check_folder

_DTYPES = {tf.float64: "F64", tf.float32: "F32", tf.float16: "F16", tf.bfloat16: "BF16"}
# Suffixes of the optimizer's variables.
_OPTIMIZER = ("/adam_m", "/adam_v", "global_step")


class GoogleCheckpoint(Checkpoint):
    """A folder with bert_config.json, vocab.txt and bert_model.ckpt.

    `hidden_act` "gelu" means the exact GELU, as in `transformers`.

    Args:
        folder: The folder.

    Raises:
        FileNotFoundError: If a file is missing, or there is more than one checkpoint.
        ValueError: If the config or the checkpoint is damaged, or they do not fit each other.

    Example:
        >>> GoogleCheckpoint("uncased_L-2_H-128_A-2").config.hidden_dim
        128
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        check_folder(self.folder)
        config = self.folder / GOOGLE_CONFIG
        self.fields = read_fields(config)
        self.config = read_config(self.fields, config)
        indices = sorted(self.folder.glob("*.ckpt*.index"))
        if len(indices) != 1:
            raise FileNotFoundError(
                f"{self.folder} has {len(indices)} files *.ckpt*.index, expected one: a folder of "
                f"Google's holds {GOOGLE_CONFIG}, vocab.txt and one bert_model.ckpt in its parts."
            )
        self._prefix = indices[0].with_suffix("")
        with self._named_errors():
            self._reader = tf.train.load_checkpoint(str(self._prefix))
        self._shapes = self._reader.get_variable_to_shape_map()
        self._check_data()
        self.names = {name for name in self._shapes if not name.endswith(_OPTIMIZER)}
        self.config = self.with_all_rows(self.config)
        self.check_sizes(self.config)

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        # The last two if a data file ends too early, or the index points far beyond its end.
        except (tf.errors.OpError, IndexError, MemoryError) as error:
            raise ValueError(f"{self._prefix} cannot be read ({error}): fetch it again.") from error

    def _check_data(self) -> None:
        """Refuses an index whose weights are larger than its data files."""
        dtypes = self._reader.get_variable_to_dtype_map()
        claimed = sum(math.prod(shape) * dtypes[name].size for name, shape in self._shapes.items())
        files = self.folder.glob(f"{glob.escape(self._prefix.name)}.data-*")
        held = sum(path.stat().st_size for path in files)
        if claimed > held:
            raise ValueError(
                f"{self._prefix}.index names weights of {claimed} bytes, its data files have "
                f"{held}: fetch them again."
            )

    def theirs(self, row: Weight) -> tuple[str, bool]:
        """Returns a row's name in this format, and whether the weight is transposed there."""
        return row.google, row.google_transpose

    @contextlib.contextmanager
    def tensors(self, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
        """Opens some weights for reading."""
        dtypes = self._reader.get_variable_to_dtype_map()
        yield {
            name: Tensor(
                name,
                tuple(self._shapes[name]),
                _DTYPES.get(dtypes[name], dtypes[name].name),
                functools.partial(self._read, name),
            )
            for name in names
        }

    def _read(self, name: str) -> np.ndarray:
        with self._named_errors():
            return self._reader.get_tensor(name)


def open_checkpoint(path_or_hub_id: str | Path) -> Checkpoint:
    """Opens a checkpoint in Hugging Face's or in Google's format.

    Args:
        path_or_hub_id: A local folder, the id of a model on the hub, or the name of weights in this
            package.

    Raises:
        FileNotFoundError: If there is no checkpoint, or one of its files is missing.
        ValueError: If it is not a BERT encoder's, or damaged.
    """
    folder = find_checkpoint(path_or_hub_id)
    # The config alone does not decide, since some folders have it beside weights of PyTorch.
    is_google = (folder / GOOGLE_CONFIG).exists() and not any(folder.glob("*.safetensors"))
    if is_google and (any(folder.glob("*.ckpt*.index")) or not any(folder.glob("*.bin"))):
        return GoogleCheckpoint(folder)
    return HuggingFaceCheckpoint(folder)
