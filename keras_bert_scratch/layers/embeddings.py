"""The input layer: token + position (learned or sinusoidal) + segment embeddings.

Axes: B batch, S sequence, H hidden, V vocabulary.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_bert_scratch.layers.base import BaseLayer
from keras_bert_scratch.layers.dropout import Dropout


def sinusoidal_positions(num_positions: int, hidden_dim: int) -> np.ndarray:
    """Computes the sinusoidal position table (Vaswani et al. 2017, section 3.5).

    PE(p, 2i) = sin(p / 10000^(2i/H)), PE(p, 2i+1) = cos(p / 10000^(2i/H)).

    Args:
        num_positions: Number of rows.
        hidden_dim: H, number of columns.

    Returns:
        The table, float32. *Shape:* (num_positions, H).

    Example:
        >>> sinusoidal_positions(1, 4)
        array([[0., 1., 0., 1.]], dtype=float32)
    """
    position = np.arange(num_positions)[:, None]
    even_columns = np.arange(0, hidden_dim, 2)
    angle = position / np.power(10000.0, even_columns / hidden_dim)
    table = np.zeros((num_positions, hidden_dim), "float32")
    table[:, 0::2] = np.sin(angle)
    table[:, 1::2] = np.cos(angle)[:, : hidden_dim // 2]
    return table


@keras.saving.register_keras_serializable("keras_bert_scratch")
class BertEmbeddings(BaseLayer):
    """Sum of token, position and segment embeddings, normalized (Devlin et al. 2018, figure 2).

    Args:
        vocab_size: V, number of tokens.
        hidden_dim: H, width of the embeddings.
        max_positions: Longest sequence.
        num_segments: Number of segment ids.
        position_embedding: `"learned"` or `"sinusoidal"`.
        dropout: Rate on the result.
        layer_norm_epsilon: Added to the variance in the layer norm.
        initializer_range: Standard deviation of the tables' truncated normal initializer.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Raises:
        ValueError: If `position_embedding` is unknown.

    Example:
        >>> embeddings = BertEmbeddings(vocab_size=100, hidden_dim=8, max_positions=16)
        >>> embeddings(np.array([[2, 7, 3]]), np.array([[0, 0, 0]])).shape
        TensorShape([1, 3, 8])
    """

    def __init__(
        self,
        vocab_size: int,
        hidden_dim: int,
        max_positions: int = 512,
        num_segments: int = 2,
        position_embedding: str = "learned",
        dropout: float = 0.1,
        layer_norm_epsilon: float = 1e-12,
        initializer_range: float = 0.02,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if position_embedding not in ("learned", "sinusoidal"):
            raise ValueError(
                f"position_embedding must be one of learned, sinusoidal; received "
                f"{position_embedding!r}."
            )
        self.vocab_size = vocab_size
        self.hidden_dim = hidden_dim
        self.max_positions = max_positions
        self.num_segments = num_segments
        self.position_embedding = position_embedding
        self.dropout = dropout
        self.layer_norm_epsilon = layer_norm_epsilon
        self.initializer_range = initializer_range

        # === Layers ===
        self.token = self._table(vocab_size, hidden_dim, "token")
        self.segment = self._table(num_segments, hidden_dim, "segment")
        self.position = None
        if position_embedding == "learned":
            self.position = self._table(max_positions, hidden_dim, "position")
        self.norm = keras.layers.LayerNormalization(
            epsilon=layer_norm_epsilon, dtype=self.dtype_policy, name="norm"
        )
        self.output_dropout = Dropout(dropout, dtype=self.dtype_policy)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Builds the tables; `input_shape` is that of the token ids, (B, S)."""
        for table in (self.token, self.segment, self.position):
            if table is not None:
                table.build(input_shape)
        self.norm.build((*input_shape, self.hidden_dim))

    def call(
        self,
        token_ids: Any,
        segment_ids: Any,
        training: bool | None = None,
        first_position: Any = 0,
    ) -> Any:
        """Embeds a batch.

        Args:
            token_ids: int32. *Shape:* (B, S).
            segment_ids: int32. *Shape:* (B, S).
            training: Whether dropout acts.
            first_position: Position of the first token, int32, a scalar.

        Returns:
            *Shape:* (B, S, H).

        Raises:
            ValueError: If the sequence is longer than `max_positions`.
        """
        if (token_ids.shape[1] or 0) > self.max_positions:
            raise ValueError(
                f"The sequence has {token_ids.shape[1]} tokens, the position embedding covers "
                f"{self.max_positions}: truncate the texts to sequence_length="
                f"{self.max_positions}, or raise max_positions."
            )
        places = first_position + ops.arange(ops.shape(token_ids)[1], dtype="int32")
        if self.position is None:
            table = sinusoidal_positions(self.max_positions, self.hidden_dim)
            positions = ops.take(ops.cast(table, self.compute_dtype), places, axis=0)
        else:
            positions = self.position(places)  # (S, H)
        x = self.token(token_ids) + self.segment(segment_ids) + positions
        return self.output_dropout(self.norm(x), training=training)
