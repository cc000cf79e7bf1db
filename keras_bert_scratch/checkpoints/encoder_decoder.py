"""Reading and writing of `transformers`' EncoderDecoderModel folders of two BERTs."""

import functools
from pathlib import Path
from typing import Any

from keras_bert_scratch.checkpoints.huggingface import (
    HuggingFaceCheckpoint,
    config_fields,
    read_config,
    write_config,
    write_weights,
)
from keras_bert_scratch.checkpoints.name_map import Weight, encoder_decoder_weights
from keras_bert_scratch.config import BertConfig

MODEL_TYPE = "encoder-decoder"


class EncoderDecoderCheckpoint(HuggingFaceCheckpoint):
    """A folder of an EncoderDecoderModel.

    Args:
        path_or_hub_id: A local folder or the id of a model on the hub.

    Raises:
        FileNotFoundError: If the folder or one of its files is missing.
        ValueError: If encoder or decoder is not BERT's, or a file is damaged.

    Example:
        >>> EncoderDecoderCheckpoint("path/to/model").decoder_config.num_layers
        6
    """

    # Other names of the decoder's token embeddings and of its head's bias.
    ignored = frozenset(
        ("decoder.cls.predictions.decoder.weight", "decoder.cls.predictions.decoder.bias")
    )

    def _read_config(self, path: Path) -> BertConfig:
        encoder, decoder = (self.fields.get(name) for name in ("encoder", "decoder"))
        if (
            self.fields.get("model_type") != MODEL_TYPE
            or not isinstance(encoder, dict)
            or not isinstance(decoder, dict)
        ):
            raise ValueError(
                f"{path} has model_type {self.fields.get('model_type')!r}, not {MODEL_TYPE!r} with "
                "an encoder and a decoder: choose a checkpoint of transformers' "
                "EncoderDecoderModel."
            )
        if not decoder.get("add_cross_attention"):
            raise ValueError(
                f"{path} has a decoder without add_cross_attention, which cannot read the text: "
                "choose another checkpoint."
            )
        self.decoder_config = read_config({**decoder, "is_decoder": False}, path)
        return read_config(encoder, path)

    def _check_sizes(self) -> None:
        for part, config in (("encoder", self.config), ("decoder", self.decoder_config)):
            self.check_sizes(config, functools.partial(_rows_of_part, part))

    def _canonical(self, name: str) -> str:
        return name

    def load_all(self, root: Any) -> None:
        """Copies all weights into a task with an `encoder` and a `decoder`.

        Raises:
            ValueError: If any is missing or has another shape.
        """
        rows = encoder_decoder_weights(self.config, self.decoder_config)
        self.load(root, rows)


def _rows_of_part(part: str, config: BertConfig) -> list[Weight]:
    rows = encoder_decoder_weights(config, config)
    return [row for row in rows if row.ours.startswith(f"{part}.")]


def write_encoder_decoder(folder: Path, root: Any, **fields: Any) -> None:
    """Writes config.json and model.safetensors into a folder.

    Args:
        folder: An existing folder.
        root: A task with an `encoder` and a `decoder`.
        **fields: Further fields of config.json.

    Raises:
        ValueError: If the encoder is not BERT's.
    """
    encoder, decoder = (part.config for part in (root.encoder, root.decoder))
    if encoder.architecture != "bert":
        raise ValueError(
            f"An EncoderDecoderModel of two BERTs cannot have an encoder of architecture "
            f"{encoder.architecture!r}: save the model as a .keras file."
        )
    write_config(
        folder,
        {
            "architectures": ["EncoderDecoderModel"],
            "model_type": MODEL_TYPE,
            "is_encoder_decoder": True,
            "encoder": {"model_type": "bert", **config_fields(encoder)},
            "decoder": {
                "model_type": "bert",
                "is_decoder": True,
                "add_cross_attention": True,
                **config_fields(decoder),
            },
            **fields,
        },
    )
    write_weights(folder, root, encoder_decoder_weights(encoder, decoder))
