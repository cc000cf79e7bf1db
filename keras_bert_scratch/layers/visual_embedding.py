"""VisualBERT's input layer for pictures: features of regions as tokens.

Axes: B batch, R regions, H hidden, E features of a region.
"""

from typing import Any

import keras
from keras import ops

from keras_bert_scratch.layers.base import BaseLayer


@keras.saving.register_keras_serializable("keras_bert_scratch")
class VisualEmbedding(BaseLayer):
    """Projected features of regions, with a segment and a position (Li et al. 2019, section 3.2).

    All regions have the first position: their order says nothing. The layer norm behind it is that
    of the text's embeddings.

    Args:
        visual_dim: E, number of features of a region.
        hidden_dim: H, width of the embeddings.
        max_positions: Number of rows of the table of positions, which files have; the first is
            used.
        num_segments: Number of segment ids.
        initializer_range: Standard deviation of the truncated normal initializer.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Example:
        >>> embedding = VisualEmbedding(visual_dim=5, hidden_dim=8)
        >>> embedding(np.ones((1, 3, 5), "float32"), np.ones((1, 3), "int32")).shape
        TensorShape([1, 3, 8])
    """

    def __init__(
        self,
        visual_dim: int,
        hidden_dim: int,
        max_positions: int = 512,
        num_segments: int = 2,
        initializer_range: float = 0.02,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.visual_dim = visual_dim
        self.hidden_dim = hidden_dim
        self.max_positions = max_positions
        self.num_segments = num_segments
        self.initializer_range = initializer_range

        # === Layers ===
        self.projection = self._dense(hidden_dim, "projection")
        self.segment = self._table(num_segments, hidden_dim, "segment")
        self.position = self._table(max_positions, hidden_dim, "position")

    def build(self, *input_shapes: Any) -> None:
        """Builds the projection and the tables."""
        self.projection.build((None, None, self.visual_dim))
        self.segment.build((None, None))
        self.position.build((None, None))

    def call(self, features: Any, segment_ids: Any) -> Any:
        """Embeds the regions of a batch.

        Args:
            features: *Shape:* (B, R, E).
            segment_ids: int32; VisualBERT's are 1. *Shape:* (B, R).

        Returns:
            *Shape:* (B, R, H), not normalized yet.
        """
        segments = self.segment(segment_ids)
        return self.projection(features) + segments + self.position(ops.zeros_like(segment_ids))
