"""Reading of pytorch_model.bin, the only file of weights in most checkpoints before 2023."""

import pickle
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from keras_bert_scratch.extras import installation


class PyTorchFile:
    """A file of `torch.save` with the methods of an open safetensors file.

    Only tensors and plain containers are unpickled (`weights_only`), so no code in the file runs.

    Args:
        file: The file.

    Raises:
        ImportError: If PyTorch is not installed.
        ValueError: If the file is damaged, or does not hold a dict of tensors.

    Example:
        >>> PyTorchFile(Path("pytorch_model.bin")).get_tensor("bert.pooler.dense.bias").shape
        (768,)
    """

    def __init__(self, file: Path) -> None:
        try:
            import torch
        except ImportError as error:
            raise ImportError(
                f"{file} holds weights of PyTorch, which is not installed: "
                f"{installation('pytorch')}; or convert the folder to safetensors with "
                "transformers' save_pretrained."
            ) from error
        try:
            # Files from before PyTorch 1.6 are not zip archives, and cannot be mapped.
            content = torch.load(
                file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file)
            )
        # A damaged file may raise any of them.
        except (pickle.UnpicklingError, OSError, EOFError, RuntimeError, ValueError, KeyError,
                AttributeError, TypeError, IndexError) as error:  # fmt: skip
            first_line = str(error).partition("\n")[0]
            raise ValueError(
                f"{file} is damaged, or holds more than tensors (torch.load with weights_only: "
                f"{type(error).__name__}: {first_line}): fetch it again, or do not use it."
            ) from error
        if not isinstance(content, dict):
            raise ValueError(
                f"{file} holds {type(content).__name__}, not a dict of tensors by name: save the "
                "model's state_dict()."
            )
        # Other entries, such as a step or a config, are not weights.
        self._tensors = {
            name: tensor
            for name, tensor in content.items()
            if isinstance(name, str) and isinstance(tensor, torch.Tensor)
        }
        self._dtypes = {
            torch.float64: "F64",
            torch.float32: "F32",
            torch.float16: "F16",
            torch.bfloat16: "BF16",
        }

    def keys(self) -> list[str]:
        """Returns the names of the tensors."""
        return list(self._tensors)

    def get_slice(self, name: str) -> Any:
        """Returns an object that knows the shape and the dtype of a tensor."""
        tensor = self._tensors[name]
        return SimpleNamespace(
            get_shape=lambda: list(tensor.shape),
            get_dtype=lambda: self._dtypes.get(tensor.dtype, str(tensor.dtype)),
        )

    def get_tensor(self, name: str) -> np.ndarray:
        """Reads a tensor as float32, since NumPy has no bfloat16."""
        return self._tensors[name].detach().float().numpy()
