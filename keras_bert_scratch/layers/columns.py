"""Values of other columns than texts as tokens: an adapter and a segment embedding for each.

Axes: B batch, T tokens of all columns, H hidden, K columns, E hidden of a picture's encoder.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_bert_scratch.config import PatchConfig
from keras_bert_scratch.layers.base import BaseLayer
from keras_bert_scratch.layers.patches import PatchEmbedding

# Mel bands of a spectrogram.
_NUM_BANDS = 128


@keras.saving.register_keras_serializable("keras_bert_scratch")
class ColumnEmbeddings(BaseLayer):
    """Turns numbers, categories, pictures and sounds into tokens of width H, as text is.

    A number becomes a token by a dense layer, a category by a table whose row 0 stands for unknown
    ones, and each patch of a picture or a spectrogram by `PatchEmbedding`. States of a picture, of
    an encoder of its own, become tokens by a dense layer. To each, the embedding of its column is
    added, as segments are to texts (Li et al. 2019, "VisualBERT"; Kiela et al. 2019, "Supervised
    Multimodal Bitransformers").

    Args:
        columns: A dict a column: its `kind`, and of a `"category"` the `categories`; of an
            `"image"` `height`, `width` and `patch_size`, or the config of its `encoder`; of
            `"audio"` `num_frames` and `patch_size`. A `"number"` has nothing else.
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
        for column, adapter in zip(self.columns, self.adapters, strict=True):
            encoder = column.get("encoder")
            adapter.build((None, encoder["hidden_dim"] if encoder else 1))
            adapter.output_shape = self.output_shape
        if self.columns:
            self.segments = self.add_weight(
                shape=(len(self.columns), self.hidden_dim),
                initializer=keras.initializers.TruncatedNormal(stddev=self.initializer_range),
                name="segments",
            )

    def _adapter(self, column: Mapping[str, Any]) -> keras.layers.Layer:
        if column["kind"] == "number" or column.get("encoder"):
            return self._dense(self.hidden_dim, column["kind"])
        if column["kind"] == "category":
            return self._table(len(column["categories"]) + 1, self.hidden_dim, "category")
        height, width, patch_size, channels = _sizes(column)
        return PatchEmbedding(
            self.hidden_dim,
            height,
            width,
            patch_size,
            channels=channels,
            initializer_range=self.initializer_range,
            dtype=self.dtype_policy,
            name=column["kind"],
        )

    @property
    def num_tokens(self) -> list[int]:
        """Number of tokens of each column."""
        numbers = []
        for column in self.columns:
            if column.get("encoder"):
                numbers.append(PatchConfig.from_dict(column["encoder"]).num_special_tokens + 1)
            else:
                height, width, patch_size, _ = _sizes(column)
                numbers.append((height // patch_size) * (width // patch_size))
        return numbers

    def call(self, *values: Any, training: bool | None = None) -> Any:
        """Embeds a batch.

        Args:
            *values: A value a row, of each column. *Shape:* (B, 1) of numbers, float32, and
                categories, int32; (B, height, width, 3) of pictures, from 0 to 255, or (B, tokens,
                E) of their states; (B, 128, F, 1) of sounds, log-mels of F frames.
            training: Whether some categories are taken for unknown ones.

        Returns:
            *Shape:* (B, T, H).
        """
        tokens = [self.embed(number, value, training) for number, value in enumerate(values)]
        return ops.concatenate(tokens, axis=1)

    def embed(self, number: int, value: Any, training: bool | None = None) -> Any:
        """Embeds the values of the column of this number, from 0 on; see `call`."""
        column, adapter = self.columns[number], self.adapters[number]
        if column["kind"] == "category" and training and self.dropout:
            drawn = keras.random.uniform(ops.shape(value), seed=self.seed_generator)
            value = ops.where(drawn < self.dropout, 0, value)
        if column["kind"] == "image" and not column.get("encoder"):
            value = ops.cast(value, self.compute_dtype) / 127.5 - 1
        x = adapter(value)
        x = ops.expand_dims(x, 1) if len(x.shape) == 2 else x
        return x + ops.cast(self.segments[number], x.dtype)


def _sizes(column: Mapping[str, Any]) -> tuple[int, int, int, int]:
    """Returns height, width, patch size and channels of what becomes patches, else ones."""
    if column["kind"] == "image":
        return column["height"], column["width"], column["patch_size"], 3
    if column["kind"] == "audio":
        return _NUM_BANDS, column["num_frames"], column["patch_size"], 1
    return 1, 1, 1, 1
