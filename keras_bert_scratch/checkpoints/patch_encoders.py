"""Folders of ViT, DeiT, DINOv2 and the Audio Spectrogram Transformer of `transformers`."""

import dataclasses
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from keras_bert_scratch.checkpoints.huggingface import (
    HuggingFaceCheckpoint,
    activation_name,
    label_fields,
    make_config,
    write_config,
    write_weights,
)
from keras_bert_scratch.checkpoints.name_map import (
    DISTILLED_CLASSIFIER,
    PATCH_CLASSIFIER,
    PATCH_PREFIXES,
    SPECTROGRAM_CLASSIFIER,
    patch_encoder_weights,
    patch_head_weights,
)
from keras_bert_scratch.config import PatchConfig
from keras_bert_scratch.files import new_folder, read_json, write_hashes
from keras_bert_scratch.models.patch_encoder import PatchEncoder

logger = logging.getLogger(__name__)

# Fields of our config, and of Hugging Face's config.json.
_CONFIG_FIELDS = {
    "patch_size": "patch_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "hidden_dim": "hidden_size",
    "activation": "hidden_act",
    "dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
    "layer_norm_epsilon": "layer_norm_eps",
    "initializer_range": "initializer_range",
}
# Further fields of each architecture.
_VIT_FIELDS = {"feed_forward_dim": "intermediate_size", "channels": "num_channels"}
_FIELDS = {
    "vit": _VIT_FIELDS,
    "deit": _VIT_FIELDS,
    "dinov2": {"channels": "num_channels", "layer_scale": "layerscale_value"},
    "audio-spectrogram-transformer": {
        "feed_forward_dim": "intermediate_size",
        "height": "num_mel_bins",
        "width": "max_length",
        "stride": "frequency_stride",
    },
}
# Values that fields have if the network is one of ours.
_KNOWN = {
    "qkv_bias": True,
    "use_swiglu_ffn": False,
    "drop_path_rate": 0.0,
    "pooler_act": "tanh",
}
# The classes of transformers: without a head, and with one.
_CLASSES = {
    "vit": ("ViTModel", "ViTForImageClassification"),
    "deit": ("DeiTModel", "DeiTForImageClassification"),
    "dinov2": ("Dinov2Model", "Dinov2ForImageClassification"),
    "audio-spectrogram-transformer": ("ASTModel", "ASTForAudioClassification"),
}
_PREPROCESSOR = "preprocessor_config.json"


class PatchCheckpoint(HuggingFaceCheckpoint):
    """A checkpoint folder of an encoder of patches.

    Args:
        path_or_hub_id: A local folder, or the id of a model on the hub.

    Raises:
        FileNotFoundError: If the checkpoint or one of its files cannot be found.
        ValueError: If it is not such an encoder's, or damaged.

    Example:
        >>> PatchCheckpoint("facebook/dinov2-small").config.patch_size
        14
    """

    config: PatchConfig  # type: ignore[assignment]
    # What hides patches in pretraining.
    ignored = frozenset(f"{prefix}embeddings.mask_token" for prefix in PATCH_PREFIXES.values())
    heads = (PATCH_CLASSIFIER, DISTILLED_CLASSIFIER, SPECTROGRAM_CLASSIFIER)

    def _read_config(self, path: Path) -> PatchConfig:  # type: ignore[override]
        return read_patch_config(self.fields, path)

    def _canonical(self, name: str) -> str:
        is_bare = name.startswith(("embeddings.", "encoder.", "layernorm.", "pooler."))
        return PATCH_PREFIXES[self.config.architecture] + name if is_bare else name

    def _check_sizes(self) -> None:
        prefix = PATCH_PREFIXES[self.config.architecture]
        self.config = dataclasses.replace(
            self.config,
            pooler=f"{prefix}pooler.dense.weight" in self.names,
            distillation_head=self.has(DISTILLED_CLASSIFIER),
        )
        self.check_num_layers(self.config, patch_encoder_weights)
        rows = patch_encoder_weights(self.config)
        self.check_shapes({row: row.shape(self.config) for row in rows})


def load_patch_encoder(
    path_or_hub_id: str | Path, *, head: bool = True, **kwargs: Any
) -> PatchEncoder:
    """Loads an encoder of patches; see `PatchEncoder.from_pretrained`."""
    checkpoint = PatchCheckpoint(path_or_hub_id)
    config = checkpoint.config
    labels = checkpoint.labels if head else None
    encoder = PatchEncoder(config, labels, **kwargs)
    rows = (*patch_encoder_weights(config), *(patch_head_weights(config) if labels else ()))
    checkpoint.load(SimpleNamespace(encoder=encoder), rows)
    return encoder


def save_patch_encoder(encoder: PatchEncoder, folder: str | Path) -> None:
    """Writes the folder of an encoder of patches; see `PatchEncoder.save_pretrained`."""
    config = encoder.config
    rows = patch_encoder_weights(config)
    if encoder.labels:
        rows = (*rows, *patch_head_weights(config))
    with new_folder(folder) as temporary:
        write_config(temporary, _config_fields(config, encoder.labels))
        if config.mean:
            write_config(temporary, _preprocessor_fields(config), _PREPROCESSOR)
        write_weights(temporary, SimpleNamespace(encoder=encoder), rows)
        write_hashes(temporary)


# The encoder stands below, and cannot import this.
PatchEncoder._load_checkpoint = load_patch_encoder
PatchEncoder._save_checkpoint = save_patch_encoder


def read_patch_config(fields: dict[str, Any], path: Path) -> PatchConfig:
    """Turns the fields of a config into a `PatchConfig`; errors name `path`.

    Means and deviations are read from the file beside it.
    """
    architecture = fields.get("model_type")
    if not isinstance(architecture, str) or architecture not in _CLASSES:
        raise ValueError(
            f"{path} has model_type {architecture!r}; encoders of patches that can be loaded are "
            f"{', '.join(_CLASSES)}."
        )
    is_sound = architecture == "audio-spectrogram-transformer"
    known = {**_KNOWN, "pooler_output_size": fields.get("hidden_size")}
    if is_sound:
        known["time_stride"] = fields.get("frequency_stride")
    for name, value in known.items():
        if fields.get(name) not in (None, value):
            raise ValueError(f"{path} has {name} {fields[name]!r}; only {value!r} can be loaded.")
    names = {**_CONFIG_FIELDS, **_FIELDS[architecture]}
    if missing := [name for name in names.values() if fields.get(name) is None]:
        raise ValueError(f"{path} lacks {', '.join(missing)}: fetch it again.")
    switches: dict[str, Any] = {"architecture": architecture}
    if is_sound:
        switches["channels"] = 1
    else:
        size: Any = fields.get("image_size")
        is_pair = isinstance(size, list) and len(size) == 2
        switches["height"], switches["width"] = size if is_pair else (size, size)
    if architecture == "dinov2":
        switches["feed_forward_dim"] = _feed_forward_dim(fields, path)
    mean, deviation = _read_preprocessor(path.parent / _PREPROCESSOR, is_sound)
    switches |= {"mean": mean, "deviation": deviation}
    return make_config(PatchConfig, fields, names, path, **switches)


def _feed_forward_dim(fields: dict[str, Any], path: Path) -> int:
    ratio: Any = fields.get("mlp_ratio")
    width = fields["hidden_size"]
    if type(ratio) not in (int, float) or type(width) is not int or not 0 < ratio < 1e6:
        raise ValueError(f"{path} has mlp_ratio {ratio!r} and hidden_size {width!r}: correct it.")
    return int(width * ratio)


def _read_preprocessor(path: Path, is_sound: bool) -> tuple[Any, Any]:
    """Returns the means and the deviations by which inputs are normalized."""
    if not path.exists():
        logger.warning("There is no %s: inputs are read as they are, not normalized.", path)
        return (), ()
    fields = read_json(path)
    # What is read here are values from 0 to 1, or sounds at 16 kHz.
    for name, known in (
        ("do_rescale", (None, True)),
        ("rescale_factor", (None, 1 / 255)),
        ("sampling_rate", (None, 16_000)),
    ):
        if fields.get(name) not in known:
            raise ValueError(
                f"{path} has {name} {fields[name]!r}; only {known[1]!r} can be loaded."
            )
    if not fields.get("do_normalize", True):
        return (), ()
    if is_sound:
        return [fields.get("mean")], [fields.get("std")]
    return fields.get("image_mean"), fields.get("image_std")


def _config_fields(config: PatchConfig, labels: list[str] | None) -> dict[str, Any]:
    """Returns the fields of a config.json; inverts `read_patch_config`."""
    kind = _CLASSES[config.architecture][labels is not None]
    if labels and config.distillation_head:
        kind += "WithTeacher"
    names = {**_CONFIG_FIELDS, **_FIELDS[config.architecture]}
    fields = {theirs: getattr(config, ours) for ours, theirs in names.items()}
    fields["hidden_act"] = activation_name(config.activation)
    if config.architecture == "audio-spectrogram-transformer":
        fields["frequency_stride"] = fields["time_stride"] = config.stride or config.patch_size
    else:
        fields["image_size"] = [config.height, config.width]
        if config.height == config.width:
            fields["image_size"] = config.height
    if config.architecture == "dinov2":
        fields["mlp_ratio"], rest = divmod(config.feed_forward_dim, config.hidden_dim)
        if rest:
            raise ValueError(
                f"transformers has no DINOv2 whose feed_forward_dim, {config.feed_forward_dim}, is "
                f"not a multiple of hidden_dim, {config.hidden_dim}: save it as a .keras file."
            )
        fields["use_mask_token"] = False
    if labels:
        fields |= label_fields(labels)
    return {"architectures": [kind], "model_type": config.architecture, **fields}


def _preprocessor_fields(config: PatchConfig) -> dict[str, Any]:
    if config.architecture == "audio-spectrogram-transformer":
        return {
            "feature_extractor_type": "ASTFeatureExtractor",
            "mean": config.mean[0],
            "std": config.deviation[0],
            "num_mel_bins": config.height,
            "max_length": config.width,
            "sampling_rate": 16_000,
        }
    return {
        "image_processor_type": "ViTImageProcessor",
        "image_mean": list(config.mean),
        "image_std": list(config.deviation),
        "size": {"height": config.height, "width": config.width},
    }
