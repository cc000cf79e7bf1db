"""What stands on top of the encoder: the pooler and the classification head.

Axes: B batch, S sequence, H hidden, C classes.
"""

from typing import Any

import keras


@keras.saving.register_keras_serializable("keras_bert_scratch")
class Pooler(keras.layers.Layer):
    """A dense tanh layer on the state of the first token, [CLS] (google-research/bert).

    Args:
        hidden_dim: H, the width of input and output.
        initializer_range: Standard deviation of the kernel's truncated normal initializer.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Example:
        >>> Pooler(hidden_dim=8)(np.ones((2, 5, 8), "float32")).shape  # (2, 8)
    """

    def __init__(self, hidden_dim: int, initializer_range: float = 0.02, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hidden_dim = hidden_dim
        self.initializer_range = initializer_range

        # === Layers ===
        self.dense = keras.layers.Dense(
            hidden_dim,
            activation="tanh",
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=initializer_range),
            dtype=self.dtype_policy,
            name="dense",
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Builds the dense layer for inputs of shape (B, S, H)."""
        self.dense.build((input_shape[0], input_shape[-1]))

    def call(self, sequence_output: Any) -> Any:
        """Pools a sequence into one vector.

        Args:
            sequence_output: *Shape:* (B, S, H).

        Returns:
            *Shape:* (B, H).
        """
        return self.dense(sequence_output[:, 0])

    # === Config ===
    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "hidden_dim": self.hidden_dim,
            "initializer_range": self.initializer_range,
        }


@keras.saving.register_keras_serializable("keras_bert_scratch")
class ClassificationHead(keras.layers.Layer):
    """Dropout and a dense layer: one logit a class (Devlin et al. 2018, section 4.1).

    Args:
        num_classes: C.
        dropout: Rate on the pooled output.
        initializer_range: Standard deviation of the kernel's truncated normal initializer.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Example:
        >>> ClassificationHead(num_classes=3)(np.ones((2, 8), "float32")).shape  # (2, 3)
    """

    def __init__(
        self,
        num_classes: int,
        dropout: float = 0.1,
        initializer_range: float = 0.02,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.dropout = dropout
        self.initializer_range = initializer_range

        # === Layers ===
        self.input_dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy)
        self.logits = keras.layers.Dense(
            num_classes,
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=initializer_range),
            dtype=self.dtype_policy,
            name="logits",
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Builds the dense layer for inputs of shape (B, H)."""
        self.logits.build(input_shape)

    def call(self, pooled_output: Any, training: bool | None = None) -> Any:
        """Computes the logits.

        Args:
            pooled_output: *Shape:* (B, H).
            training: Whether dropout acts.

        Returns:
            *Shape:* (B, C).
        """
        return self.logits(self.input_dropout(pooled_output, training=training))

    # === Config ===
    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "dropout": self.dropout,
            "initializer_range": self.initializer_range,
        }
