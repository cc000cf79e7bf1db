"""The encoder of pictures and spectrograms: pixels in, hidden states out.

Axes: B batch, S sequence, H hidden, N heads, C classes, T special tokens.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from keras_bert_scratch.config import PatchConfig
from keras_bert_scratch.layers.heads import ClassificationHead, Pooler
from keras_bert_scratch.layers.patches import PatchEmbedding
from keras_bert_scratch.layers.vit_block import ViTBlock
from keras_bert_scratch.models.state import ConfiguredModel


@keras.saving.register_keras_serializable("keras_bert_scratch")
class PatchEncoder(ConfiguredModel):
    """The encoder of ViT, DeiT, DINOv2 or the Audio Spectrogram Transformer, see `PatchConfig`.

    The constructor creates the weights.

    Args:
        config: Sizes and switches.
        labels: Names of the classes of a classification head; None for an encoder without one.
        **kwargs: `name` and `dtype`, for `keras.Model`.

    Raises:
        ValueError: If there are fewer than two labels.

    Example:
        >>> config = PatchConfig(num_layers=2, num_heads=2, hidden_dim=8, feed_forward_dim=16)
        >>> encoder = PatchEncoder(config, labels=["cat", "dog"])
        >>> outputs = encoder(np.ones((1, 224, 224, 3), "float32"))
        >>> outputs["sequence_output"].shape, outputs["logits"].shape
        (TensorShape([1, 197, 8]), TensorShape([1, 2]))
    """

    config_class = PatchConfig
    # Set by `checkpoints.patch_encoders`, which stands above and comes with the public name
    # `keras_bert_scratch.PatchEncoder`.
    _load_checkpoint: ClassVar[Callable[..., Any] | None] = None
    _save_checkpoint: ClassVar[Callable[..., None] | None] = None

    def __init__(
        self, config: PatchConfig, labels: Sequence[str] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if labels is not None and len(labels) < 2:
            raise ValueError(f"A head needs two labels or more, received {list(labels)}.")
        self.config = config
        self.labels = None if labels is None else list(labels)

        # === Layers ===
        dtype = self.dtype_policy
        self.embeddings = PatchEmbedding.for_config(
            config, num_special_tokens=config.num_special_tokens, dtype=dtype, name="embeddings"
        )
        self.blocks = [
            ViTBlock(config, dtype=dtype, name=f"block_{n}") for n in range(config.num_layers)
        ]
        epsilon = config.layer_norm_epsilon
        self.norm = keras.layers.LayerNormalization(epsilon=epsilon, dtype=dtype, name="norm")
        self.pooler = None
        if config.pooler:
            self.pooler = Pooler.for_config(config, dtype=dtype, name="pooler")
        self.head_norm: Any = None
        self.head: Any = None
        self.distillation_head: Any = None
        if labels is not None:
            arguments = {"num_classes": len(labels), "dropout": 0.0, "dtype": dtype}
            self.head = ClassificationHead.for_config(config, name="head", **arguments)
            if config.architecture == "audio-spectrogram-transformer":
                self.head_norm = keras.layers.LayerNormalization(
                    epsilon=epsilon, dtype=dtype, name="head_norm"
                )
            if config.distillation_head:
                self.distillation_head = ClassificationHead.for_config(
                    config, name="distillation_head", **arguments
                )
        self.build((None, None, None, config.channels))

    def build(self, input_shape: Any = None) -> None:
        """Creates the weights; none of them depends on the input's shape."""
        if self.built:  # type: ignore[has-type]
            return
        hidden_shape = (None, None, self.config.hidden_dim)
        # Read by `summary`, which cannot know it of layers that are called in a model's `call`.
        layers: list[Any] = [self, self.embeddings, *self.blocks]
        for layer in layers:
            layer.output_shape = hidden_shape
        self.embeddings.build((None, None, None, self.config.channels))
        for layer in (*self.blocks, self.norm, self.pooler):
            if layer is not None:
                layer.build(hidden_shape)
        width = self.config.hidden_dim * (2 if self.config.architecture == "dinov2" else 1)
        for layer in (self.head_norm, self.head, self.distillation_head):
            if layer is not None:
                layer.build((None, width))
        self.built = True

    def call(
        self,
        pixels: Any,
        training: bool | None = None,
        return_hidden_states: bool = False,
        return_attention: bool = False,
    ) -> dict[str, Any]:
        """Encodes a batch.

        Args:
            pixels: Pictures, *shape:* (B, height, width, 3), from 0 to 1 where the config has a
                mean and a deviation; of an Audio Spectrogram Transformer the spectrograms of
                `data.sounds.log_mel_spectrograms`, *shape:* (B, frames, bands).
            training: Whether dropout acts.
            return_hidden_states: Whether to return the states of every layer, too.
            return_attention: Whether to return the attention probabilities of every layer, too.

        Returns:
            A dict of `sequence_output`, the special tokens and the patches row by row, *shape:*
            (B, S, H); `pooled_output`, that of the pooler, or the state of [CLS], or in an Audio
            Spectrogram Transformer the mean of its special tokens, *shape:* (B, H); with a
            head `logits`, *shape:* (B, C); on request `hidden_states`, the embeddings' output and
            each block's, a list of num_layers + 1 tensors, *shape:* (B, S, H); and `attention`, a
            list of num_layers tensors, *shape:* (B, N, S, S).

        Raises:
            ValueError: If the pictures have other channels, or are smaller than a patch, or the
                spectrograms have other bands.
        """
        config = self.config
        if config.architecture == "audio-spectrogram-transformer":
            if pixels.shape[-1] not in (None, config.height):
                raise ValueError(
                    f"The spectrograms have {pixels.shape[-1]} bands, the encoder reads "
                    f"{config.height}: give them as (B, frames, bands)."
                )
            pixels = ops.expand_dims(ops.transpose(pixels, (0, 2, 1)), -1)
        elif config.mean:
            mean, deviation = (np.array(x, "float32") for x in (config.mean, config.deviation))
            pixels = (ops.cast(pixels, "float32") - mean) / deviation
        x = self.embeddings(pixels, training=training)
        hidden_states, attention = [x], []
        for block in self.blocks:
            x = block(x, training=training, return_attention=return_attention)
            if return_attention:
                x, probabilities = x
                attention.append(probabilities)
            hidden_states.append(x)
        x = self.norm(x)

        outputs = {"sequence_output": x, "pooled_output": self._pooled(x)}
        if self.head is not None:
            outputs["logits"] = self._logits(x, outputs["pooled_output"])
        if return_hidden_states:
            outputs["hidden_states"] = hidden_states
        if return_attention:
            outputs["attention"] = attention
        return outputs

    def summary_tokens(self, states: Any) -> Any:
        """Returns a few states that tell of a whole picture.

        Args:
            states: The `sequence_output`. *Shape:* (B, S, H).

        Returns:
            The states of the T special tokens, and the mean of the patches'. *Shape:*
            (B, T + 1, H).

        Example:
            >>> config = PatchConfig(num_layers=1, num_heads=2, hidden_dim=8, feed_forward_dim=16)
            >>> PatchEncoder(config).summary_tokens(np.ones((1, 197, 8), "float32")).shape
            TensorShape([1, 2, 8])
        """
        tokens = self.config.num_special_tokens
        patches = ops.mean(states[:, tokens:], axis=1, keepdims=True)
        return ops.concatenate([states[:, :tokens], patches], axis=1)

    def _pooled(self, x: Any) -> Any:
        if self.pooler is not None:
            return self.pooler(x)
        if self.config.architecture == "audio-spectrogram-transformer":
            return (x[:, 0] + x[:, 1]) / 2
        return x[:, 0]

    def _logits(self, x: Any, pooled_output: Any) -> Any:
        if self.head_norm is not None:
            return self.head(self.head_norm(pooled_output))
        if self.config.architecture == "dinov2":
            return self.head(ops.concatenate([x[:, 0], ops.mean(x[:, 1:], axis=1)], axis=-1))
        logits = self.head(x[:, 0])
        if self.distillation_head is not None:
            logits = (logits + self.distillation_head(x[:, 1])) / 2
        return logits

    # === Weights ===
    @classmethod
    def from_pretrained(
        cls, path_or_hub_id: str | Path, *, head: bool = True, **kwargs: Any
    ) -> "PatchEncoder":
        """Loads a checkpoint of Hugging Face `transformers`.

        Its pictures are pixels from 0 to 1: the means and deviations of preprocessor_config.json
        become part of the encoder. How a picture is resized and cropped does not: checkpoints
        differ, and `read_picture` does the former alone.

        Args:
            path_or_hub_id: A local folder, or the id of a model on the hub.
            head: Whether to load a classification head, too, if there is one.
            **kwargs: `name` and `dtype`.

        Raises:
            FileNotFoundError: If the checkpoint or one of its files cannot be found.
            ValueError: If it is not such an encoder's, is damaged, or does not fit its config.

        Example:
            >>> encoder = PatchEncoder.from_pretrained("facebook/dinov2-small")
            >>> pictures = read_pictures(["cat.png", "dog.jpg"], size=(224, 224))
            >>> encoder.predict(pictures / 255)["pooled_output"].shape
            (2, 384)
        """
        if cls._load_checkpoint is None:
            raise RuntimeError(
                f"The module {__name__} alone reads no checkpoints: import PatchEncoder from "
                "keras_bert_scratch."
            )
        encoder: PatchEncoder = cls._load_checkpoint(path_or_hub_id, head=head, **kwargs)
        return encoder

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes a folder that `from_pretrained` and `transformers` load.

        Args:
            folder: Where to write: must not exist, or be empty.

        Raises:
            FileExistsError: If the folder is not empty.
            ValueError: If the encoder is quantized.
        """
        if self._save_checkpoint is None:
            raise RuntimeError(
                f"The module {__name__} alone writes no checkpoints: import PatchEncoder from "
                "keras_bert_scratch."
            )
        self._save_checkpoint(folder)

    # === Config ===
    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments and the state, see `state_config`."""
        return {**super().get_config(), "labels": self.labels}
