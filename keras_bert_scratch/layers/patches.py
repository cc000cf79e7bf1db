"""The input layer for pictures and spectrograms: patches, learned positions, special tokens.

Axes: B batch, S sequence, H hidden, C channels, T special tokens, P patch size.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_bert_scratch.config import check_patches, patch_grid
from keras_bert_scratch.layers.base import BaseLayer
from keras_bert_scratch.layers.dropout import Dropout

# The parameter of the cubic convolution (Keys 1981, equation 15); PyTorch's value.
_A = -0.75


def cubic_weights(new: Any, old: int) -> Any:
    """Returns the matrix that resamples a row of values by cubic convolution (Keys 1981).

    The ends of the row lie in the same place, and values beyond them repeat the last one, as in
    PyTorch's bicubic interpolation without aligned corners.

    Args:
        new: Number of values to compute: an int, or an int32 scalar.
        old: Number of values that there are.

    Returns:
        *Shape:* (new, old), float32.

    Example:
        >>> cubic_weights(2, 2)
        <tf.Tensor: shape=(2, 2), dtype=float32, numpy=
        array([[1., 0.],
               [0., 1.]], dtype=float32)>
    """
    scale = old / ops.cast(new, "float32")
    places = (ops.cast(ops.arange(new, dtype="int32"), "float32") + 0.5) * scale - 0.5
    # The kernel reaches two values further than the row.
    taps = np.arange(-2, old + 2)
    distance = ops.abs(ops.expand_dims(places, 1) - taps.astype("float32"))
    near = ((_A + 2) * distance - (_A + 3)) * distance**2 + 1
    far = ((_A * distance - 5 * _A) * distance + 8 * _A) * distance - 4 * _A
    weights = ops.where(distance <= 1, near, ops.where(distance < 2, far, 0.0))
    repeated = np.eye(old, dtype="float32")[np.clip(taps, 0, old - 1)]
    return ops.matmul(weights, repeated)


@keras.saving.register_keras_serializable("keras_bert_scratch")
class PatchEmbedding(BaseLayer):
    """Linear projections of patches, with learned positions (Dosovitskiy et al. 2021, equation 1).

    Pictures have three channels. A spectrogram is a picture of one channel, bands by frames, whose
    patches overlap in the Audio Spectrogram Transformer (Gong et al. 2021, section 2.1).

    For pictures of another size than `height` x `width` the positions are interpolated. Pixels
    at the right and the lower edge that fill no patch are not read.

    Args:
        hidden_dim: H, width of the embeddings.
        height: Height of the pictures for which the positions are learned, in pixels.
        width: Their width.
        patch_size: P, height and width of a patch.
        stride: Distance of neighbouring patches; by default `patch_size`.
        channels: C, values of a pixel.
        num_special_tokens: T, learned tokens before the patches, with positions of their own: 1 for
            [CLS], 2 for [CLS] and a distillation token (Touvron et al. 2021), or none.
        dropout: Rate on the result.
        initializer_range: Standard deviation of the truncated normal initializer.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Raises:
        ValueError: If `height` or `width` is below `patch_size`.

    Example:
        >>> embedding = PatchEmbedding(hidden_dim=8, height=32, width=32, num_special_tokens=1)
        >>> embedding(np.ones((1, 32, 32, 3), "float32")).shape
        TensorShape([1, 5, 8])
        >>> embedding(np.ones((1, 64, 48, 3), "float32")).shape
        TensorShape([1, 13, 8])
    """

    def __init__(
        self,
        hidden_dim: int,
        height: int = 224,
        width: int = 224,
        patch_size: int = 16,
        stride: int | None = None,
        channels: int = 3,
        num_special_tokens: int = 0,
        dropout: float = 0.0,
        initializer_range: float = 0.02,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_patches(height, width, patch_size)
        self.hidden_dim = hidden_dim
        self.height = height
        self.width = width
        self.patch_size = patch_size
        self.stride = stride
        self.channels = channels
        self.num_special_tokens = num_special_tokens
        self.dropout = dropout
        self.initializer_range = initializer_range

        # === Layers ===
        self.output_dropout = Dropout(dropout, dtype=self.dtype_policy)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches for which there are positions."""
        return patch_grid(self.height, self.width, self.patch_size, self.stride)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the weights; none depends on the input's shape, (B, height, width, C)."""
        initializer = keras.initializers.TruncatedNormal(stddev=self.initializer_range)
        rows, columns = self.grid
        tokens = self.num_special_tokens
        self.kernel = self.add_weight(
            (self.patch_size, self.patch_size, self.channels, self.hidden_dim),
            initializer=initializer,
            name="kernel",
        )
        self.bias = self.add_weight((self.hidden_dim,), initializer="zeros", name="bias")
        self.positions = self.add_weight(
            (1, tokens + rows * columns, self.hidden_dim), initializer=initializer, name="positions"
        )
        self.special_tokens = [
            self.add_weight(
                (1, 1, self.hidden_dim), initializer=initializer, name=f"special_token_{n}"
            )
            for n in range(tokens)
        ]

    def call(self, pixels: Any, training: bool | None = None) -> Any:
        """Embeds a batch of pictures.

        Args:
            pixels: *Shape:* (B, height, width, C), float.
            training: Whether dropout acts.

        Returns:
            The special tokens and the patches, row by row. *Shape:* (B, S, H).

        Raises:
            ValueError: If the pictures have other channels, or are smaller than a patch.
        """
        if pixels.shape[-1] != self.channels:
            raise ValueError(
                f"The pictures have {pixels.shape[-1]} channels, the layer reads {self.channels}: "
                "convert them, or change channels."
            )
        # A size that is not known yet, as in an exported graph, is not checked.
        height, width = (size or self.patch_size for size in pixels.shape[1:3])
        check_patches(height, width, self.patch_size)
        x = ops.conv(
            ops.cast(pixels, self.compute_dtype),
            self.kernel,
            strides=self.stride or self.patch_size,
            padding="valid",
            data_format="channels_last",
        )
        positions = self._positions_of(x)
        batch = ops.shape(x)[0]
        x = ops.reshape(x, (batch, -1, self.hidden_dim)) + self.bias  # (B, patches, H)
        shape = (batch, 1, self.hidden_dim)
        tokens = [ops.broadcast_to(token, shape) for token in self.special_tokens]
        x = ops.concatenate([*tokens, x], axis=1) if tokens else x
        return self.output_dropout(x + positions, training=training)

    def _positions_of(self, x: Any) -> Any:
        """Returns the positions for a grid of patches, (B, rows, columns, H): (1, S, H)."""
        positions = ops.convert_to_tensor(self.positions)
        if tuple(x.shape[1:3]) == self.grid:
            return positions
        tokens, (rows, columns) = self.num_special_tokens, self.grid
        new_rows, new_columns = ops.shape(x)[1:3]
        table = ops.reshape(positions[0, tokens:], (rows, columns * self.hidden_dim))
        table = ops.matmul(cubic_weights(new_rows, rows), table)
        table = ops.reshape(table, (new_rows, columns, self.hidden_dim))
        table = ops.matmul(cubic_weights(new_columns, columns), table)
        table = ops.reshape(ops.cast(table, self.compute_dtype), (1, -1, self.hidden_dim))
        return ops.concatenate([positions[:, :tokens], table], axis=1)
