"""ModernBERT's input layer: token embeddings alone, since its attention encodes positions.

Axes: B batch, S sequence, H hidden, V vocabulary.
"""

from typing import Any

import keras

from keras_bert_scratch.layers.base import BaseLayer
from keras_bert_scratch.layers.dropout import Dropout


@keras.saving.register_keras_serializable("keras_bert_scratch")
class TokenEmbeddings(BaseLayer):
    """Normalized token embeddings, without positions and segments (Warner et al. 2024).

    Args:
        vocab_size: V, number of tokens.
        hidden_dim: H, width of the embeddings.
        max_positions: Longest sequence.
        dropout: Rate on the result.
        layer_norm_epsilon: Added to the variance in the layer norm.
        initializer_range: Standard deviation of the table's truncated normal initializer.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Example:
        >>> embeddings = TokenEmbeddings(vocab_size=100, hidden_dim=8, max_positions=16)
        >>> embeddings(np.array([[2, 7, 3]])).shape
        TensorShape([1, 3, 8])
    """

    def __init__(
        self,
        vocab_size: int,
        hidden_dim: int,
        max_positions: int = 512,
        dropout: float = 0.1,
        layer_norm_epsilon: float = 1e-12,
        initializer_range: float = 0.02,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.vocab_size = vocab_size
        self.hidden_dim = hidden_dim
        self.max_positions = max_positions
        self.dropout = dropout
        self.layer_norm_epsilon = layer_norm_epsilon
        self.initializer_range = initializer_range

        # === Layers ===
        self.token = self._table(vocab_size, hidden_dim, "token")
        self.norm = keras.layers.LayerNormalization(
            epsilon=layer_norm_epsilon, center=False, dtype=self.dtype_policy, name="norm"
        )
        self.output_dropout = Dropout(dropout, dtype=self.dtype_policy)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Builds the table; `input_shape` is that of the token ids, (B, S)."""
        self.token.build(input_shape)
        self.norm.build((*input_shape, self.hidden_dim))

    def call(self, token_ids: Any, segment_ids: Any = None, training: bool | None = None) -> Any:
        """Embeds a batch.

        Args:
            token_ids: int32. *Shape:* (B, S).
            segment_ids: Ignored; keeps the signature of `BertEmbeddings`.
            training: Whether dropout acts.

        Returns:
            *Shape:* (B, S, H).

        Raises:
            ValueError: If the sequence is longer than `max_positions`.
        """
        if (token_ids.shape[1] or 0) > self.max_positions:
            raise ValueError(
                f"The sequence has {token_ids.shape[1]} tokens, the encoder reads "
                f"{self.max_positions}: truncate the texts to sequence_length="
                f"{self.max_positions}, or raise max_positions."
            )
        return self.output_dropout(self.norm(self.token(token_ids)), training=training)
