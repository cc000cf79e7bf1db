"""Weights from and to the folders that Hugging Face `transformers` reads and writes."""

import contextlib
import json
import logging
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from keras_bert_scratch.checkpoints.name_map import POOLER, Weight, encoder_weights
from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.layers.embeddings import sinusoidal_positions
from keras_bert_scratch.models.encoder import BertEncoder

logger = logging.getLogger(__name__)

# Our config field: the field of a Hugging Face config.json, both ways.
_CONFIG_FIELDS = {
    "vocab_size": "vocab_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "hidden_dim": "hidden_size",
    "feed_forward_dim": "intermediate_size",
    "max_positions": "max_position_embeddings",
    "num_segments": "type_vocab_size",
    "activation": "hidden_act",
    "dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
    "layer_norm_epsilon": "layer_norm_eps",
    "initializer_range": "initializer_range",
}
_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
# Dtypes whose values are the weights; integers would be quantized ones, without their scales.
_FLOATS = ("F64", "F32", "F16", "BF16")
# A buffer of old checkpoints that holds 0, 1, 2, ...
_IGNORED = "bert.embeddings.position_ids"


def find_checkpoint(path_or_hub_id: str | Path) -> Path:
    """Returns the folder of a checkpoint, fetched from the Hugging Face hub if need be.

    Args:
        path_or_hub_id: A local folder (no network is used) or the id of a model on the hub.

    Raises:
        FileNotFoundError: If it is neither a folder nor the id of a model that can be fetched.
    """
    folder = Path(path_or_hub_id).expanduser()
    if folder.is_dir():
        return folder
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", str(path_or_hub_id)) or folder.exists():
        raise FileNotFoundError(
            f"{str(path_or_hub_id)!r} is not a folder: name the folder of a checkpoint "
            "(config.json, model.safetensors, vocab.txt), or the id of a model on the hub."
        )
    import huggingface_hub

    try:
        return Path(
            huggingface_hub.snapshot_download(
                str(path_or_hub_id), allow_patterns=["*.json", "*.safetensors", "vocab.txt"]
            )
        )
    # The hub's client raises its own, its HTTP library's and OSErrors; all mean the same here.
    except Exception as error:
        raise FileNotFoundError(
            f"{str(path_or_hub_id)!r} is not a folder here, and could not be fetched from the hub "
            f"({type(error).__name__}): check the spelling, the network, or your access."
        ) from error


class HuggingFaceCheckpoint:
    """A checkpoint folder: its config, its labels, and its weights by name.

    Opening one reads and checks the config and the weight files' headers, not the weights.

    Args:
        path_or_hub_id: A local folder or the id of a model on the hub.

    Raises:
        FileNotFoundError: If the folder or one of its files is missing.
        ValueError: If the config is not a BERT encoder's, or a file is damaged.

    Example:
        >>> checkpoint = HuggingFaceCheckpoint("path/to/model")
        >>> checkpoint.config.hidden_dim
        384
    """

    def __init__(self, path_or_hub_id: str | Path) -> None:
        self.folder = find_checkpoint(path_or_hub_id)
        self.fields = _read_json(self.folder / "config.json")
        self.config = _read_config(self.fields, self.folder / "config.json")
        self.files = {
            _canonical(name): (file, name)
            for file in _weight_files(self.folder)
            for name in _names(file)
        }

    @property
    def labels(self) -> list[str] | None:
        """The class names of the checkpoint's classification head, or None if it has none."""
        if "classifier.weight" not in self.files or "id2label" not in self.fields:
            return None
        id2label = self.fields["id2label"]
        return [id2label[str(class_id)] for class_id in range(len(id2label))]

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
        rows = (*required, *optional)
        missing = [row.huggingface for row in required if row.huggingface not in self.files]
        found = [row for row in rows if row.huggingface in self.files]
        variables = [_at(root, row.ours) for row in found]
        problems = [f"missing: {name}" for name in missing]
        with contextlib.ExitStack() as stack:
            opened = {
                file: stack.enter_context(_open(file))
                for file in {self.files[row.huggingface][0] for row in found}
            }
            tensors = []
            for row, variable in zip(found, variables, strict=True):
                file, name = self.files[row.huggingface]
                header = opened[file].get_slice(name)
                shape, dtype = tuple(header.get_shape()), header.get_dtype()
                expected = tuple(variable.shape)[:: -1 if row.transpose else 1]
                if shape != expected:
                    problems.append(f"{name} has shape {shape}, the config asks for {expected}")
                if dtype not in _FLOATS:
                    problems.append(f"{name} has dtype {dtype}, known are {', '.join(_FLOATS)}")
                tensors.append((opened[file], name))
            if problems:
                raise ValueError(
                    f"The weights in {self.folder} do not fit the model: {'; '.join(problems)}. "
                    "Use the config.json that belongs to them."
                )
            for row, variable, (file, name) in zip(found, variables, tensors, strict=True):
                tensor = file.get_tensor(name).astype("float32")
                variable.assign(tensor.T if row.transpose else tensor)

        new = [row.ours for row in optional if row.huggingface not in self.files]
        unused = sorted(set(self.files) - {row.huggingface for row in rows} - {_IGNORED})
        if new:
            logger.warning("Newly initialized, to be trained: %s.", ", ".join(new))
        if unused:
            logger.warning("In the checkpoint but not used: %s.", ", ".join(unused))


def load_encoder(path_or_hub_id: str | Path, **kwargs: Any) -> BertEncoder:
    """Loads an encoder without a task.

    Args:
        path_or_hub_id: A local folder or the id of a model on the hub.
        **kwargs: `name` and `dtype`, for `BertEncoder`.

    Raises:
        FileNotFoundError: If the checkpoint cannot be found.
        ValueError: If it is not a BERT encoder's, is damaged, or does not fit its config.

    Example:
        >>> encoder = load_encoder("path/to/model")
    """
    checkpoint = HuggingFaceCheckpoint(path_or_hub_id)
    encoder = BertEncoder(checkpoint.config, **kwargs)
    rows = encoder_weights(checkpoint.config.num_layers)
    checkpoint.load(SimpleNamespace(encoder=encoder), rows, optional=POOLER)
    return encoder


def write_checkpoint(
    folder: Path, root: Any, rows: Sequence[Weight], *, architecture: str, **fields: Any
) -> None:
    """Writes config.json and model.safetensors into a folder.

    Args:
        folder: An existing folder.
        root: What the table's paths start from: a task, with an `encoder`.
        rows: The weights to write.
        architecture: The class of `transformers` that is to read them.
        **fields: Further fields of config.json.
    """
    config: BertConfig = root.encoder.config
    hidden_act = {ours: theirs for theirs, ours in reversed(_ACTIVATIONS.items())}
    sizes = {theirs: getattr(config, ours) for ours, theirs in _CONFIG_FIELDS.items()}
    sizes["hidden_act"] = hidden_act[config.activation]
    document = {"architectures": [architecture], "model_type": "bert", **sizes, **fields}
    (folder / "config.json").write_text(
        json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    tensors = {}
    for row in rows:
        if row.ours == "encoder.embeddings.position.embeddings" and (
            config.position_embedding == "sinusoidal"
        ):
            # transformers has no such switch; a table with the same values is the same model.
            tensor = sinusoidal_positions(config.max_positions, config.hidden_dim)
        else:
            tensor = keras.ops.convert_to_numpy(_at(root, row.ours))
        tensors[row.huggingface] = np.ascontiguousarray(tensor.T if row.transpose else tensor)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    # safetensors makes files for their owner alone.
    shutil.copymode(folder / "config.json", folder / "model.safetensors")


def _at(root: Any, path: str) -> Any:
    """Follows an attribute path; a number is an index."""
    for part in path.split("."):
        root = root[int(part)] if part.isdigit() else getattr(root, part)
    return root


def _canonical(name: str) -> str:
    """Brings the names of bare encoders (no `bert.`) and of old norms to those of the table."""
    name = name.replace("LayerNorm.gamma", "LayerNorm.weight")
    name = name.replace("LayerNorm.beta", "LayerNorm.bias")
    is_bare = name.startswith(("embeddings.", "encoder.", "pooler."))
    return f"bert.{name}" if is_bare else name


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path.parent} has no {path.name}: a checkpoint folder holds config.json, "
            "model.safetensors and vocab.txt or tokenizer.json."
        ) from None
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or nested without end
        raise ValueError(f"{path} is not JSON ({error}): fetch it again.") from error
    if not isinstance(document, dict):
        raise ValueError(f"{path} holds {type(document).__name__}, not an object: fetch it again.")
    return document


def _read_config(fields: dict[str, Any], path: Path) -> BertConfig:
    if fields.get("model_type") != "bert":
        raise ValueError(
            f"{path} has model_type {fields.get('model_type')!r}, and only 'bert' can be loaded: "
            "choose a checkpoint of a BERT encoder."
        )
    positions = fields.get("position_embedding_type", "absolute")
    if positions != "absolute" or fields.get("is_decoder"):
        raise ValueError(
            f"{path} has position_embedding_type {positions!r} and is_decoder "
            f"{fields.get('is_decoder', False)!r}; only encoders with 'absolute' positions can be "
            "loaded."
        )
    sizes = {ours: fields[theirs] for ours, theirs in _CONFIG_FIELDS.items() if theirs in fields}
    activation = sizes.get("activation", "gelu")
    if not isinstance(activation, str) or activation not in _ACTIVATIONS:
        raise ValueError(
            f"{path} has hidden_act {activation!r}; known are {', '.join(_ACTIVATIONS)}."
        )
    try:
        return BertConfig.from_dict({**sizes, "activation": _ACTIVATIONS[activation]})
    except ValueError as error:
        raise ValueError(f"{path} is refused: {error}") from error


def _weight_files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        return [folder / "model.safetensors"]
    weight_map = _read_json(index).get("weight_map")
    shards: list[Any] = list(weight_map.values()) if isinstance(weight_map, dict) else [None]
    # A shard is a file of this folder: a name with a path in it is an attempt to leave it.
    if not all(isinstance(shard, str) and Path(shard).name == shard for shard in shards):
        raise ValueError(f"{index} does not name files of its folder in weight_map: do not use it.")
    return [folder / shard for shard in sorted(set(shards))]


def _names(file: Path) -> list[str]:
    with _open(file) as opened:
        return list(opened.keys())


@contextlib.contextmanager
def _open(file: Path) -> Iterator[Any]:
    if not file.is_file():
        raise FileNotFoundError(
            f"{file} is missing: weights are read from safetensors files only; convert others "
            "with transformers' save_pretrained(safe_serialization=True)."
        )
    try:
        with safe_open(file, framework="numpy") as opened:
            yield opened
    except SafetensorError as error:
        raise ValueError(
            f"{file} is truncated or not a safetensors file ({error}): fetch it again."
        ) from error
