"""The layers on top of the encoder: poolers, and heads for classes and for tokens.

Axes: B batch, S sequence, H hidden, C classes, P predictions, V vocabulary.
"""

from typing import Any

import keras
from keras import ops

from keras_bert_scratch.layers.base import BaseLayer
from keras_bert_scratch.layers.dropout import Dropout
from keras_bert_scratch.layers.feed_forward import ACTIVATIONS, check_activation


@keras.saving.register_keras_serializable("keras_bert_scratch")
class Pooler(BaseLayer):
    """A dense tanh layer on the state of the first token, [CLS] (google-research/bert).

    Args:
        hidden_dim: H, the width of input and output.
        initializer_range: Standard deviation of the kernel's truncated normal initializer.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Example:
        >>> Pooler(hidden_dim=8)(np.ones((2, 5, 8), "float32")).shape
        TensorShape([2, 8])
    """

    def __init__(self, hidden_dim: int, initializer_range: float = 0.02, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hidden_dim = hidden_dim
        self.initializer_range = initializer_range

        # === Layers ===
        self.dense = self._dense(hidden_dim, "dense", activation="tanh")

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


@keras.saving.register_keras_serializable("keras_bert_scratch")
class NormalizedPooler(BaseLayer):
    """ModernBERT's pooler: a dense layer on the state of [CLS], an activation and a layer norm.

    Args:
        hidden_dim: H, the width of input and output.
        activation: Activation of the dense layer, one of `feed_forward.ACTIVATIONS`.
        layer_norm_epsilon: Added to the variance in the layer norm.
        initializer_range: Standard deviation of the kernel's truncated normal initializer.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Raises:
        ValueError: If the activation is unknown.

    Example:
        >>> NormalizedPooler(hidden_dim=8)(np.ones((2, 5, 8), "float32")).shape
        TensorShape([2, 8])
    """

    def __init__(
        self,
        hidden_dim: int,
        activation: str = "gelu",
        layer_norm_epsilon: float = 1e-12,
        initializer_range: float = 0.02,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_activation(activation)
        self.hidden_dim = hidden_dim
        self.activation = activation
        self.layer_norm_epsilon = layer_norm_epsilon
        self.initializer_range = initializer_range

        # === Layers ===
        self.dense = self._dense(hidden_dim, "dense", use_bias=False)
        self.norm = keras.layers.LayerNormalization(
            epsilon=layer_norm_epsilon, center=False, dtype=self.dtype_policy, name="norm"
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Builds both layers for inputs of shape (B, S, H)."""
        self.dense.build((input_shape[0], input_shape[-1]))
        self.norm.build((input_shape[0], self.hidden_dim))

    def call(self, sequence_output: Any) -> Any:
        """Pools a sequence into one vector.

        Args:
            sequence_output: *Shape:* (B, S, H).

        Returns:
            *Shape:* (B, H).
        """
        return self.norm(ACTIVATIONS[self.activation](self.dense(sequence_output[:, 0])))


@keras.saving.register_keras_serializable("keras_bert_scratch")
class ClassificationHead(BaseLayer):
    """Dropout and a dense layer: one logit a class (Devlin et al. 2018, section 4.1).

    Given a sequence of states, it computes the logits of every token (sections 4.2 and 5.3).

    Args:
        num_classes: C.
        dropout: Rate on the pooled output.
        initializer_range: Standard deviation of the kernel's truncated normal initializer.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Example:
        >>> ClassificationHead(num_classes=3)(np.ones((2, 8), "float32")).shape
        TensorShape([2, 3])
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
        self.input_dropout = Dropout(dropout, dtype=self.dtype_policy)
        self.logits = self._dense(num_classes, "logits")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Builds the dense layer for inputs of shape (B, H) or (B, S, H)."""
        self.output_shape = (*input_shape[:-1], self.num_classes)  # for `summary`
        self.logits.build(input_shape)

    def call(self, pooled_output: Any, training: bool | None = None) -> Any:
        """Computes the logits.

        Args:
            pooled_output: *Shape:* (B, H), or (B, S, H).
            training: Whether dropout acts.

        Returns:
            *Shape:* (B, C), or (B, S, C).
        """
        return self.logits(self.input_dropout(pooled_output, training=training))


@keras.saving.register_keras_serializable("keras_bert_scratch")
class MaskedLanguageModelHead(BaseLayer):
    """Logits over the vocabulary for the masked positions only (Devlin et al. 2018, section 3.1).

    A dense layer, an activation and a layer norm turn each state into a vector, which is compared
    with every token's embedding; only the bias is the head's own (google-research/bert,
    `get_masked_lm_output`).

    Args:
        hidden_dim: H.
        vocab_size: V.
        activation: Activation of the dense layer, one of `feed_forward.ACTIVATIONS`.
        layer_norm_epsilon: Added to the variance in the layer norm.
        initializer_range: Standard deviation of the kernel's truncated normal initializer.
        use_bias: Whether the dense layer and the layer norm have biases; ModernBERT's have none.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Raises:
        ValueError: If the activation is unknown.

    Example:
        >>> head = MaskedLanguageModelHead(hidden_dim=8, vocab_size=100)
        >>> states, embeddings = np.ones((2, 5, 8), "float32"), np.ones((100, 8), "float32")
        >>> head(states, np.array([[1], [4]]), embeddings).shape
        TensorShape([2, 1, 100])
    """

    def __init__(
        self,
        hidden_dim: int,
        vocab_size: int,
        activation: str = "gelu",
        layer_norm_epsilon: float = 1e-12,
        initializer_range: float = 0.02,
        use_bias: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_activation(activation)
        self.hidden_dim = hidden_dim
        self.vocab_size = vocab_size
        self.activation = activation
        self.layer_norm_epsilon = layer_norm_epsilon
        self.initializer_range = initializer_range
        self.use_bias = use_bias

        # === Layers ===
        self.dense = self._dense(hidden_dim, "dense", use_bias=use_bias)
        self.norm = keras.layers.LayerNormalization(
            epsilon=layer_norm_epsilon, center=use_bias, dtype=self.dtype_policy, name="norm"
        )

    def build(self, *input_shapes: tuple[int | None, ...], **shapes_by_name: Any) -> None:
        """Creates the weights; none of them depends on the inputs' shapes."""
        self.output_shape = (None, None, self.vocab_size)  # for `summary`
        self.dense.build((None, None, self.hidden_dim))
        self.norm.build((None, None, self.hidden_dim))
        self.bias = self.add_weight(shape=(self.vocab_size,), initializer="zeros", name="bias")

    def call(self, sequence_output: Any, masked_positions: Any, token_embeddings: Any) -> Any:
        """Computes the logits of some positions.

        Args:
            sequence_output: *Shape:* (B, S, H).
            masked_positions: int32, *shape:* (B, P); None for all positions, P = S.
            token_embeddings: The encoder's table. *Shape:* (V, H).

        Returns:
            *Shape:* (B, P, V).
        """
        x = sequence_output
        if masked_positions is not None:
            batch, length = ops.shape(x)[:2]
            row_starts = ops.expand_dims(ops.arange(batch, dtype="int32") * length, 1)
            places = ops.cast(masked_positions, "int32") + row_starts
            x = ops.take(ops.reshape(x, (-1, self.hidden_dim)), places, axis=0)  # (B, P, H)
        x = self.norm(ACTIVATIONS[self.activation](self.dense(x)))
        embeddings = ops.cast(token_embeddings, self.compute_dtype)
        return ops.matmul(x, ops.transpose(embeddings)) + self.bias


@keras.saving.register_keras_serializable("keras_bert_scratch")
class ReplacedTokensHead(BaseLayer):
    """The logit that a token was replaced, for every position (Clark et al. 2020, section 2).

    A dense layer with an activation, and one with one output, as in google-research/electra.

    Args:
        hidden_dim: H.
        activation: Activation of the first dense layer, one of `feed_forward.ACTIVATIONS`.
        initializer_range: Standard deviation of the kernels' truncated normal initializer.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Raises:
        ValueError: If the activation is unknown.

    Example:
        >>> ReplacedTokensHead(hidden_dim=8)(np.ones((2, 5, 8), "float32")).shape
        TensorShape([2, 5, 1])
    """

    def __init__(
        self,
        hidden_dim: int,
        activation: str = "gelu",
        initializer_range: float = 0.02,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_activation(activation)
        self.hidden_dim = hidden_dim
        self.activation = activation
        self.initializer_range = initializer_range

        # === Layers ===
        self.dense = self._dense(hidden_dim, "dense")
        self.logit = self._dense(1, "logit")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Builds both layers for inputs of shape (B, S, H)."""
        self.output_shape = (*input_shape[:-1], 1)  # for `summary`
        self.dense.build(input_shape)
        self.logit.build((*input_shape[:-1], self.hidden_dim))

    def call(self, sequence_output: Any) -> Any:
        """Computes the logits.

        Args:
            sequence_output: *Shape:* (B, S, H).

        Returns:
            *Shape:* (B, S, 1).
        """
        return self.logit(ACTIVATIONS[self.activation](self.dense(sequence_output)))
