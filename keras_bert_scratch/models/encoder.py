"""The BERT encoder: token ids in, hidden states out.

Axes: B batch, S sequence, H hidden, N heads.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import keras

from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.layers.attention import padding_bias
from keras_bert_scratch.layers.embeddings import BertEmbeddings
from keras_bert_scratch.layers.encoder_block import EncoderBlock
from keras_bert_scratch.layers.heads import Pooler
from keras_bert_scratch.layers.rematerialization import rematerialize
from keras_bert_scratch.models.modern_layers import modern_layers
from keras_bert_scratch.models.state import ConfiguredModel


@keras.saving.register_keras_serializable("keras_bert_scratch")
class BertEncoder(ConfiguredModel):
    """The bidirectional Transformer encoder (Devlin et al. 2018, section 3), or ModernBERT's.

    The constructor creates the weights.

    Args:
        config: Sizes and switches.
        rematerialize: Whether training keeps the states between the blocks only, and computes the
            values within a block again: see `layers.rematerialization`.
        **kwargs: `name` and `dtype`, for `keras.Model`.

    Example:
        >>> encoder = BertEncoder(BertConfig.preset("tiny"))
        >>> ids = np.array([[101, 2023, 102, 0]])
        >>> outputs = encoder(
        ...     {"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": np.sign(ids)}
        ... )
        >>> outputs["sequence_output"].shape, outputs["pooled_output"].shape
        (TensorShape([1, 4, 128]), TensorShape([1, 128]))
    """

    # Set by `checkpoints.huggingface`, which stands above and comes with the public name
    # `keras_bert_scratch.BertEncoder`, and with any task.
    _load_checkpoint: ClassVar[Callable[..., Any] | None] = None

    def __init__(self, config: BertConfig, *, rematerialize: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config
        self.rematerialize = rematerialize

        # === Layers ===
        dtype = self.dtype_policy
        if config.architecture == "modernbert":
            self.embeddings, self.blocks, self.pooler = modern_layers(config, dtype)
        else:
            self.embeddings = BertEmbeddings.for_config(config, dtype=dtype, name="embeddings")
            self.blocks = [
                EncoderBlock(config, dtype=dtype, name=f"block_{n}")
                for n in range(config.num_layers)
            ]
            self.pooler = Pooler.for_config(config, dtype=dtype, name="pooler")
        self.build((None, None))

    def build(self, input_shape: Any = None) -> None:
        """Creates the weights; none of them depends on the input's shape."""
        if self.built:  # type: ignore[has-type]
            return
        hidden_shape = (None, None, self.config.hidden_dim)
        # Read by `summary`, which cannot know it of layers that are called in a model's `call`.
        layers: list[Any] = [self, self.embeddings, *self.blocks]
        for layer in layers:
            layer.output_shape = hidden_shape
        self.pooler.output_shape = (None, self.config.hidden_dim)
        self.embeddings.build((None, None))
        for block in self.blocks:
            block.build(hidden_shape)
        self.pooler.build(hidden_shape)
        self.built = True

    def call(
        self,
        inputs: dict[str, Any],
        training: bool | None = None,
        return_hidden_states: bool = False,
        return_attention: bool = False,
        pooled_only: bool = False,
    ) -> dict[str, Any]:
        """Encodes a batch.

        Args:
            inputs: `token_ids`, `segment_ids` and `padding_mask` (1 for tokens, 0 for padding),
                int32. *Shape:* (B, S) each.
            training: Whether dropout acts.
            return_hidden_states: Whether to return the states of every layer, too.
            return_attention: Whether to return the attention probabilities of every layer, too.
            pooled_only: Whether the last block computes [CLS] only, which suffices for
                `pooled_output`; S is 1 in its outputs.

        Returns:
            A dict of `sequence_output`, *shape:* (B, S, H), and `pooled_output`, *shape:* (B, H);
            on request `hidden_states`, the embeddings' output and each block's, a list of
            num_layers + 1 tensors, *shape:* (B, S, H); and `attention`, a list of num_layers
            tensors, *shape:* (B, N, S, S).

        Raises:
            ValueError: If the sequence is longer than `config.max_positions`.
        """
        x = self.embeddings(inputs["token_ids"], inputs["segment_ids"], training=training)
        attention_bias = padding_bias(inputs["padding_mask"], self.compute_dtype)
        hidden_states, attention = [x], []
        for block in self.blocks:
            arguments = {
                "attention_bias": attention_bias,
                "training": training,
                "return_attention": return_attention,
                "first_only": pooled_only and block is self.blocks[-1],
            }
            if self.rematerialize and training:
                x = rematerialize(block, x, **arguments)
            else:
                x = block(x, **arguments)
            if return_attention:
                x, probabilities = x
                attention.append(probabilities)
            hidden_states.append(x)

        outputs = {"sequence_output": x, "pooled_output": self.pooler(x)}
        if return_hidden_states:
            outputs["hidden_states"] = hidden_states
        if return_attention:
            outputs["attention"] = attention
        return outputs

    def __repr__(self) -> str:
        sizes = f"{len(self.blocks)} layers of {self.config.hidden_dim}"
        return (
            f"<{type(self).__name__} name={self.name}: {self.config.architecture}, {sizes}, "
            f"{self.count_params():,} parameters>"
        )

    # === Weights ===
    @classmethod
    def from_pretrained(cls, path_or_hub_id: str | Path, **kwargs: Any) -> "BertEncoder":
        """Loads the encoder of a checkpoint of Hugging Face `transformers`, without a task.

        Args:
            path_or_hub_id: A local folder; a name, such as `"minilm"`, see
                `checkpoints.huggingface.find_checkpoint`; or the id of a model on the hub.
            **kwargs: `rematerialize`, `name` and `dtype`.

        Raises:
            FileNotFoundError: If the checkpoint or one of its files cannot be found.
            ValueError: If it is not such an encoder's, is damaged, or does not fit its config.

        Example:
            >>> encoder = BertEncoder.from_pretrained("minilm")
        """
        if cls._load_checkpoint is None:
            raise RuntimeError(
                f"The module {__name__} alone reads no checkpoints: import BertEncoder from "
                "keras_bert_scratch."
            )
        encoder: BertEncoder = cls._load_checkpoint(path_or_hub_id, **kwargs)
        return encoder

    # === Config ===
    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments and the state, see `state_config`."""
        return {**super().get_config(), "rematerialize": self.rematerialize}
