"""What every task shares: an encoder, and the tokenizer that it was trained with."""

from typing import Any, Self

import keras

from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.training.distribution import DistributableModel


class EncoderModel(DistributableModel):
    """A Keras model on top of an encoder, with its tokenizer attached.

    Args:
        encoder: The encoder.
        tokenizer: Turns texts into ids; None if only ready inputs are used.
        **kwargs: `name` and `dtype`, for `keras.Model`.

    Raises:
        ValueError: If the tokenizer's vocabulary is larger than the encoder's.
    """

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

    # === Config ===
    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments that all tasks have."""
        return {
            **super().get_config(),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "tokenizer": self.tokenizer and self.tokenizer.get_config(),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """Inverts `get_config`."""
        encoder = keras.saving.deserialize_keras_object(config["encoder"], custom_objects)
        tokenizer = config["tokenizer"] and WordPieceTokenizer.from_config(config["tokenizer"])
        return cls(**{**config, "encoder": encoder, "tokenizer": tokenizer})
