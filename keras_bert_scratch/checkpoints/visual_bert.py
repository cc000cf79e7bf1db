"""Folders of `transformers`' VisualBertModel."""

from pathlib import Path
from typing import Any

from keras_bert_scratch.checkpoints.huggingface import HuggingFaceCheckpoint
from keras_bert_scratch.checkpoints.name_map import (
    VISUAL_EMBEDDING,
    encoder_weights,
    pooler_weights,
)
from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.models.visual_bert import VisualBertEncoder


class VisualBertCheckpoint(HuggingFaceCheckpoint):
    """A checkpoint folder of VisualBERT; its names are BERT's, and those of its visual embedding.

    Args:
        path_or_hub_id: A local folder, or the id of a model on the hub.

    Raises:
        FileNotFoundError: If the checkpoint or one of its files cannot be found.
        ValueError: If it is not VisualBERT's, or damaged.

    Example:
        >>> VisualBertCheckpoint("uclanlp/visualbert-vqa-coco-pre").visual_dim
        2048
    """

    def _read_config(self, path: Path) -> BertConfig:
        model_type = self.fields.get("model_type")
        if model_type != "visual_bert" or self.fields.get("bypass_transformer"):
            raise ValueError(
                f"{path} has model_type {model_type!r} and bypass_transformer "
                f"{self.fields.get('bypass_transformer', False)!r}; only 'visual_bert' without it "
                "can be loaded."
            )
        self.visual_dim = self.settings(visual_embedding_dim=int).get("visual_embedding_dim", 512)
        # The rest is BERT's.
        self.fields = {**self.fields, "model_type": "bert"}
        return super()._read_config(path)

    def _canonical(self, name: str) -> str:
        return super()._canonical(name.removeprefix("visual_bert."))

    def _check_sizes(self) -> None:
        super()._check_sizes()
        sizes = {**self.config.axes, "E": self.visual_dim}
        self.check_shapes(
            {row: tuple(sizes[axis] for axis in row.axes.split("x")) for row in VISUAL_EMBEDDING}
        )


def load_visual_bert(path_or_hub_id: str | Path, **kwargs: Any) -> VisualBertEncoder:
    """Loads VisualBERT's encoder; see `VisualBertEncoder.from_pretrained`."""
    checkpoint = VisualBertCheckpoint(path_or_hub_id)
    encoder = VisualBertEncoder(checkpoint.config, checkpoint.visual_dim, **kwargs)
    rows = (*encoder_weights(checkpoint.config), *VISUAL_EMBEDDING)
    checkpoint.load(encoder, rows, optional=pooler_weights(checkpoint.config))
    return encoder


# The encoder stands below, and cannot import this.
VisualBertEncoder._load_checkpoint = load_visual_bert
