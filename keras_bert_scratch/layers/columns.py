"""Values of other columns than texts as tokens: an adapter and a segment embedding for each.

Axes: B batch, T tokens of all columns, H hidden, K columns.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_bert_scratch.layers.base import BaseLayer


@keras.saving.register_keras_serializable("keras_bert_scratch")
class ColumnEmbeddings(BaseLayer):
    """Turns numbers and categories into tokens of width H, as text is.

    A number becomes a token by a dense layer, a category by a table whose row 0 stands for unknown
    ones. To each, the embedding of its column is added, as segments are to texts (Li et al. 2019,
    "VisualBERT"; Kiela et al. 2019, "Supervised Multimodal Bitransformers").

    Args:
        columns: A dict a column: `kind`, `"number"` or `"category"`, and of these the `categories`.
        hidden_dim: H, width of the tokens.
        dropout: Share of the categories that training takes for unknown ones, so that their row
            is learned.
        initializer_range: Standard deviation of the truncated normal initializers.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Example:
        >>> columns = [{"kind": "number"}, {"kind": "category", "categories": ["a", "b"]}]
        >>> embeddings = ColumnEmbeddings(columns, hidden_dim=8)
        >>> embeddings(np.ones((3, 1), "float32"), np.array([[0], [1], [2]])).shape
        TensorShape([3, 2, 8])
    """

    def __init__(
        self,
        columns: Sequence[Mapping[str, Any]],
        hidden_dim: int,
        dropout: float = 0.1,
        initializer_range: float = 0.02,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.columns = columns
        self.hidden_dim = hidden_dim
        self.dropout = dropout
        self.initializer_range = initializer_range
        self.seed_generator = keras.random.SeedGenerator()

    def build(self, *input_shapes: Any) -> None:
        """Creates the adapters, whose sizes are those of the columns."""
        self.output_shape = (None, None, self.hidden_dim)  # for `summary`
        self.adapters = [self._adapter(column) for column in self.columns]
        for adapter in self.adapters:
            adapter.build((None, 1))
            adapter.output_shape = self.output_shape
        self.segments = self.add_weight(
            shape=(len(self.columns), self.hidden_dim),
            initializer=keras.initializers.TruncatedNormal(stddev=self.initializer_range),
            name="segments",
        )

    def _adapter(self, column: Mapping[str, Any]) -> keras.layers.Layer:
        if column["kind"] == "number":
            return self._dense(self.hidden_dim, "number")
        return keras.layers.Embedding(
            len(column["categories"]) + 1,
            self.hidden_dim,
            embeddings_initializer=keras.initializers.TruncatedNormal(
                stddev=self.initializer_range
            ),
            dtype=self.dtype_policy,
            name="category",
        )

    @property
    def num_tokens(self) -> list[int]:
        """Number of tokens of each column."""
        return [1 for _ in self.columns]

    def call(self, *values: Any, training: bool | None = None) -> Any:
        """Embeds a batch.

        Args:
            *values: A value a row, of each column: of numbers float32, of categories int32.
                *Shape:* (B, 1) each.
            training: Whether some categories are taken for unknown ones.

        Returns:
            *Shape:* (B, T, H).
        """
        tokens = []
        for number, (column, adapter) in enumerate(zip(self.columns, self.adapters, strict=True)):
            value = values[number]
            if column["kind"] == "category" and training and self.dropout:
                drawn = keras.random.uniform(ops.shape(value), seed=self.seed_generator)
                value = ops.where(drawn < self.dropout, 0, value)
            x = adapter(value)
            x = ops.expand_dims(x, 1) if len(x.shape) == 2 else x
            tokens.append(x + ops.cast(self.segments[number], x.dtype))
        return ops.concatenate(tokens, axis=1)
