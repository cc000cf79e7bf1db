"""VisualBERT: a text and the regions of a picture in one sequence.

Axes: B batch, S tokens, R regions, H hidden, E features of a region.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import keras
from keras import ops

from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.layers.visual_embedding import VisualEmbedding
from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.models.joined import encode_joined
from keras_bert_scratch.models.state import ConfiguredModel


@keras.saving.register_keras_serializable("keras_bert_scratch")
class VisualBertEncoder(ConfiguredModel):
    """BERT's encoder over the tokens of a text and regions of a picture (Li et al. 2019).

    The constructor creates the weights.

    Args:
        config: Sizes and switches of the encoder.
        visual_dim: E, number of features of a region, which another network computes.
        **kwargs: `name` and `dtype`, for `keras.Model`.

    Example:
        >>> encoder = VisualBertEncoder(BertConfig.preset("tiny"), visual_dim=5)
        >>> ids, mask = np.array([[101, 2023, 102]]), np.ones((1, 3), "int32")
        >>> outputs = encoder(
        ...     {
        ...         "token_ids": ids,
        ...         "segment_ids": 0 * ids,
        ...         "padding_mask": mask,
        ...         "visual_features": np.ones((1, 2, 5), "float32"),
        ...         "visual_mask": mask[:, :2],
        ...     }
        ... )
        >>> outputs["sequence_output"].shape
        TensorShape([1, 5, 128])
    """

    # Set by `checkpoints.visual_bert`, which stands above.
    _load_checkpoint: ClassVar[Callable[..., Any] | None] = None

    def __init__(self, config: BertConfig, visual_dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config
        self.visual_dim = visual_dim

        # === Layers ===
        dtype = self.dtype_policy
        self.encoder = BertEncoder(config, dtype=dtype, name="encoder")
        self.visual = VisualEmbedding.for_config(
            config, visual_dim=visual_dim, dtype=dtype, name="visual"
        )
        self.visual.build()
        self.built = True

    def call(self, inputs: dict[str, Any], training: bool | None = None) -> dict[str, Any]:
        """Encodes a batch.

        Args:
            inputs: `token_ids`, `segment_ids` and `padding_mask` (1 for tokens, 0 for padding),
                int32, *shape:* (B, S) each; `visual_features`, *shape:* (B, R, E); `visual_mask`
                (1 for regions, 0 for padding), int32, *shape:* (B, R); and, if they are not all 1,
                `visual_segment_ids`, int32, *shape:* (B, R).
            training: Whether dropout acts.

        Returns:
            A dict of `sequence_output`, the tokens and then the regions, *shape:* (B, S + R, H),
            and `pooled_output`, *shape:* (B, H).

        Raises:
            ValueError: If the text is longer than `config.max_positions`.
        """
        segments = inputs.get("visual_segment_ids")
        if segments is None:
            segments = ops.ones_like(inputs["visual_mask"])
        regions = self.visual(inputs["visual_features"], segments)
        mask = ops.concatenate([inputs["padding_mask"], inputs["visual_mask"]], axis=1)
        embedded = self.encoder.embeddings(
            inputs["token_ids"], inputs["segment_ids"], training=training
        )
        return encode_joined(self.encoder, embedded, regions, mask, training=training)

    # === Weights ===
    @classmethod
    def from_pretrained(cls, path_or_hub_id: str | Path, **kwargs: Any) -> "VisualBertEncoder":
        """Loads the `VisualBertModel` of a checkpoint of Hugging Face `transformers`.

        Args:
            path_or_hub_id: A local folder, or the id of a model on the hub.
            **kwargs: `name` and `dtype`.

        Raises:
            FileNotFoundError: If the checkpoint or one of its files cannot be found.
            ValueError: If it is not such an encoder's, is damaged, or does not fit its config.

        Example:
            >>> encoder = VisualBertEncoder.from_pretrained("uclanlp/visualbert-vqa-coco-pre")
        """
        if cls._load_checkpoint is None:
            raise RuntimeError(
                f"The module {__name__} alone reads no checkpoints: import VisualBertEncoder from "
                "keras_bert_scratch."
            )
        encoder: VisualBertEncoder = cls._load_checkpoint(path_or_hub_id, **kwargs)
        return encoder

    # === Config ===
    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments and the state, see `state_config`."""
        return {**super().get_config(), "visual_dim": self.visual_dim}
