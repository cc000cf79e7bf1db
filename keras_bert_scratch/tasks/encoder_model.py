"""What every task shares: an encoder, and the tokenizer that it was trained with."""

import logging
from typing import Any, Self

import keras

from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.models.state import set_state, state_config
from keras_bert_scratch.serving.graphs.signature import Signature
from keras_bert_scratch.serving.recipe import export
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.training.distribution import DistributableModel

logger = logging.getLogger(__name__)

# Rows that fill an embedding up to a multiple of 128, as hardware likes it, are fewer.
_LARGEST_PADDING = 128


class EncoderModel(DistributableModel):
    """A Keras model on top of an encoder, with its tokenizer attached.

    Args:
        encoder: The encoder.
        tokenizer: Turns texts into ids; None if only ready inputs are used.
        **kwargs: `name` and `dtype`, for `keras.Model`.

    Raises:
        ValueError: If the tokenizer's vocabulary is larger than the encoder's.
    """

    # Formats that the task exports itself, with its tokenizer.
    export_formats: tuple[str, ...] = ()

    def __init__(
        self, encoder: BertEncoder, tokenizer: WordPieceTokenizer | None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        # Embeddings may have more rows, to fill up a multiple of 8 or 64: no text reads them.
        if tokenizer is not None and len(tokenizer.vocabulary) > encoder.config.vocab_size:
            raise ValueError(
                f"The vocabulary has {len(tokenizer.vocabulary)} tokens, the encoder's embedding "
                f"{encoder.config.vocab_size}: use the vocabulary that the checkpoint was trained "
                "with."
            )
        rows = encoder.config.vocab_size
        if tokenizer is not None and rows - len(tokenizer.vocabulary) >= _LARGEST_PADDING:
            logger.warning(
                "The vocabulary has %d tokens, the encoder's embedding %d: if they are not of one "
                "checkpoint, every id means another token.",
                len(tokenizer.vocabulary), rows,
            )  # fmt: skip
        self.encoder = encoder
        self.tokenizer = tokenizer

    def check_tokenizer(self) -> WordPieceTokenizer:
        """Returns the tokenizer.

        Raises:
            ValueError: If there is none.
        """
        if self.tokenizer is None:
            raise ValueError(f"{self.name} has no tokenizer: pass tokenizer= when making it.")
        return self.tokenizer

    def check_length(self, sequence_length: int | None) -> int:
        """Returns a sequence length, by default all that the encoder's positions cover.

        Raises:
            ValueError: If it exceeds the positions.
        """
        positions = self.encoder.config.max_positions
        if sequence_length is not None and sequence_length > positions:
            raise ValueError(
                f"sequence_length must be at most the encoder's max_positions, received "
                f"{sequence_length} and {positions}: choose a smaller one."
            )
        return sequence_length or positions

    # === Export ===
    def export(
        self,
        filepath: Any,
        format: str = "tf_saved_model",
        verbose: Any = None,
        input_signature: Any = None,
        **kwargs: Any,
    ) -> None:
        """Exports for serving: strings in and answers out, or for phones.

        In the task's own `export_formats` the export is loaded in a fresh process without Keras
        and compared before it appears; its inputs are those of the task. Other formats are those of
        `keras.Model.export`, without the tokenizer.

        Args:
            filepath: The folder (SavedModel) or file (all else) to write.
            format: `"tf_saved_model"` or `"litert"`; for classifiers also `"mediapipe"` or
                `"onnx"`; or another format of Keras.
            verbose: Whether to say where the export was written.
            input_signature: For Keras' other formats.
            **kwargs: Options of the format, see `serving.recipe.export` and the writers in
                `serving.litert`, `serving.mediapipe` and `serving.onnx`; and of the task:
                `BertSummarizer` has those of `summarize`.

        Raises:
            ValueError: If the model has no tokenizer, or an option is refused.
            FileExistsError: If the folder is not empty.
            RuntimeError: If the export does not answer as the model.
        """
        if format not in self.export_formats:
            super().export(filepath, format, verbose, input_signature, **kwargs)
        elif input_signature is not None:
            raise ValueError(
                f"input_signature={input_signature!r} does not fit the format {format!r}, whose "
                "inputs are those of the task: omit it."
            )
        else:
            signature = self._signature(kwargs)
            export(signature, filepath, format, **kwargs)
            if verbose:
                print(f"Saved artifact at '{filepath}'.")

    def _signature(self, options: dict[str, Any]) -> Signature:
        """Describes the task for its exports, and takes options of its own out of `options`."""
        raise NotImplementedError

    # === Config ===
    def save(
        self, filepath: Any, overwrite: bool = True, zipped: bool | None = None, **kwargs: Any
    ) -> None:
        """Saves as `keras.Model.save` does.

        Raises:
            ValueError: If the model is quantized; before a file of that name is touched.
        """
        state_config(self)
        super().save(filepath, overwrite=overwrite, zipped=zipped, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments that all tasks have, and what is frozen or adapted.

        Raises:
            ValueError: If the model is quantized.
        """
        return {
            **super().get_config(),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "tokenizer": self.tokenizer and self.tokenizer.get_config(),
            **state_config(self),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """Inverts `get_config`."""
        state = config.get("state")
        arguments = {name: value for name, value in config.items() if name != "state"}
        encoder = keras.saving.deserialize_keras_object(config["encoder"], custom_objects)
        tokenizer = config["tokenizer"] and WordPieceTokenizer.from_config(config["tokenizer"])
        model = cls(**{**arguments, "encoder": encoder, "tokenizer": tokenizer})
        set_state(model, state)
        return model
