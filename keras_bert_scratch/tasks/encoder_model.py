"""What every task shares: an encoder, its tokenizer, `compile`, weights in and out, `export`."""

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import keras
from huggingface_hub.utils import validate_repo_id

from keras_bert_scratch.checkpoints.checkpoint import Checkpoint
from keras_bert_scratch.checkpoints.google import open_checkpoint
from keras_bert_scratch.checkpoints.hub import upload
from keras_bert_scratch.checkpoints.huggingface import write_checkpoint
from keras_bert_scratch.checkpoints.name_map import Weight, encoder_weights, pooler_weights
from keras_bert_scratch.evaluation.model_card import model_card
from keras_bert_scratch.files import new_folder, write_hashes
from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.models.state import set_state, state_config
from keras_bert_scratch.serving.graphs.signature import Signature
from keras_bert_scratch.serving.recipe import export
from keras_bert_scratch.tables import shortened
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.training.distribution import DistributableModel

logger = logging.getLogger(__name__)

# Embeddings that are padded to a multiple of 128, for the hardware, have fewer additional rows.
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
    # The class of transformers that reads what `save_pretrained` writes.
    architecture: str

    def __init__(
        self, encoder: BertEncoder, tokenizer: WordPieceTokenizer | None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        # Embeddings may have more rows, as padding to a multiple of 8 or 64, which no text reads.
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
            raise ValueError(
                f"{self.name} has no tokenizer: pass tokenizer= when making it. Without one it "
                "takes dicts of token_ids, segment_ids and padding_mask."
            )
        return self.tokenizer

    # === Training ===
    def compile(
        self,
        optimizer: Any,
        loss: Any = "auto",
        *,
        metrics: Any = "auto",
        weighted_metrics: Any = "auto",
        **kwargs: Any,
    ) -> None:
        """Compiles as `keras.Model.compile` does, with defaults that fit the task.

        Args:
            optimizer: A Keras optimizer; see `keras_bert_scratch.adamw`.
            loss: By default what `default_loss` returns.
            metrics: By default what `default_metrics` returns.
            weighted_metrics: By default what `default_weighted_metrics` returns.
            **kwargs: The other arguments of `keras.Model.compile`.
        """
        given = {"loss": loss, "metrics": metrics, "weighted_metrics": weighted_metrics}
        for name, value in given.items():
            if isinstance(value, str) and value == "auto":
                given[name] = getattr(self, f"default_{name}")()
        super().compile(optimizer=optimizer, **given, **kwargs)

    def default_loss(self) -> Any:
        """Returns the loss that `compile` uses by default: none, it has to be chosen."""

    def default_metrics(self) -> Any:
        """Returns the metrics that `compile` uses by default: none."""

    def default_weighted_metrics(self) -> Any:
        """Returns the weighted metrics that `compile` uses by default: none."""

    # === Weights in and out ===
    @classmethod
    def from_pretrained(
        cls, path_or_hub_id: str | Path, *, dtype: Any = None, **settings: Any
    ) -> Self:
        """Loads a checkpoint of Hugging Face `transformers`, or of google-research/bert.

        Heads that the checkpoint lacks are new, and a warning says so.

        Args:
            path_or_hub_id: A local folder; a name, such as `"minilm"`, see
                `checkpoints.huggingface.find_checkpoint`; or the id of a model on the hub.
            dtype: Dtype of the computation, such as `"mixed_bfloat16"`.
            **settings: Arguments of the class; by default what the checkpoint says.

        Raises:
            FileNotFoundError: If the checkpoint or one of its files cannot be found.
            ValueError: If it is not BERT's, is damaged, or does not fit its config or vocabulary.
        """
        checkpoint = open_checkpoint(path_or_hub_id)
        return cls._from_checkpoint(checkpoint, dtype=dtype, **settings)

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes a folder that `from_pretrained` and the library of `architecture` load.

        That is Hugging Face `transformers`, for sentence encoders also sentence-transformers.

        Args:
            folder: Where to write: must not exist, or be empty.

        Raises:
            FileExistsError: If the folder is not empty.
            ValueError: If the model has no tokenizer, is quantized, or `transformers` has no such
                class.
        """
        self.check_tokenizer()
        with new_folder(folder) as temporary:
            self.write_files(temporary)
            write_hashes(temporary)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        card: str | None = None,
        private: bool | None = None,
        token: str | None = None,
        commit_message: str = "Upload of keras_bert_scratch",
    ) -> str:
        """Uploads what `save_pretrained` writes, and a model card, to the Hugging Face hub.

        Args:
            repo_id: Where to: `"name"` or `"owner/name"`; made if there is no such model.
            card: README.md, such as `evaluation.model_card.model_card` returns with figures; by
                default a card without any.
            private: Whether only its owner may read it; None leaves that to the hub's settings.
            token: A token that may write; by default the one of `hf auth login`.
            commit_message: What the commit says.

        Returns:
            The address of the commit.

        Raises:
            PermissionError: If the hub refuses the token.
            ValueError: If `save_pretrained` refuses, or the model is on the hub already and not as
                private as asked.

        Example:
            >>> card = model_card(model, report=report, license="mit", language="en")
            >>> model.push_to_hub("me/films", card=card)
        """
        validate_repo_id(repo_id)
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            (Path(folder) / "README.md").write_text(card or model_card(self), encoding="utf-8")
            return upload(
                Path(folder), repo_id, private=private, token=token, commit_message=commit_message
            )

    def write_files(self, folder: Path) -> None:
        """Writes the files of `save_pretrained` into an existing folder."""
        write_checkpoint(
            folder,
            self,
            (*encoder_weights(self.encoder.config), *self.other_weights()),
            architecture=self.architecture,
            **self.checkpoint_fields(),
        )
        self.saved_tokenizer().save(folder)

    def saved_tokenizer(self) -> WordPieceTokenizer:
        """Returns the tokenizer that `save_pretrained` writes."""
        return self.check_tokenizer()

    def other_weights(self) -> tuple[Weight, ...]:
        """Returns the rows of the name table that `save_pretrained` writes beside the encoder's."""
        return pooler_weights(self.encoder.config)

    def checkpoint_fields(self) -> dict[str, Any]:
        """Returns the fields of config.json that `save_pretrained` adds to the encoder's."""
        return {"pad_token_id": self.check_tokenizer().vocabulary.pad_id}

    def optional_weights(self, checkpoint: Checkpoint) -> Sequence[Weight]:
        """Returns the rows of the name table that a checkpoint may lack."""
        return pooler_weights(checkpoint.config)

    @classmethod
    def _from_checkpoint(
        cls,
        checkpoint: Checkpoint,
        *,
        tokenizer: WordPieceTokenizer | None = None,
        head: Sequence[Weight] = (),
        order: Sequence[int] | None = None,
        dtype: Any = None,
        **settings: Any,
    ) -> Self:
        """Makes a model with a checkpoint's weights.

        Args:
            checkpoint: The checkpoint.
            tokenizer: By default the checkpoint's.
            head: Rows of the name table that are loaded beside the encoder's.
            order: For each output of the head, its number in the checkpoint's, if they differ.
            dtype: See `from_pretrained`.
            **settings: The other arguments of the class.
        """
        model = cls(
            encoder=BertEncoder(checkpoint.config, dtype=dtype),
            tokenizer=tokenizer or WordPieceTokenizer.from_directory(checkpoint.folder),
            dtype=dtype,
            **settings,
        )
        checkpoint.load(
            model,
            (*encoder_weights(checkpoint.config), *head),
            optional=model.optional_weights(checkpoint),
        )
        if order is not None:
            model.head.set_weights([w[..., order] for w in model.head.get_weights()])
        return model

    # === In a notebook ===
    def __repr__(self) -> str:
        lines = [f"<{type(self).__name__} name={self.name}", f"  encoder    {self.encoder!r}"]
        lines += [f"  {name:9}  {value}" for name, value in self._details().items()]
        return "\n".join(lines) + ">"

    def summary(
        self,
        line_length: int | None = None,
        positions: Any = None,
        print_fn: Any = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: Any = None,
    ) -> None:
        """Prints what `keras.Model.summary` does, with the same arguments, and what is no layer."""
        super().summary(
            line_length, positions, print_fn, expand_nested, show_trainable, layer_range
        )
        for name, value in self._details().items():
            (print_fn or print)(f" {name.capitalize()}: {value}")

    def _details(self) -> dict[str, str]:
        """Returns what answers depend on beside the layers, in words."""
        details = {"tokenizer": repr(self.tokenizer)}
        if labels := getattr(self, "labels", None):
            details["labels"] = f"{shortened(', '.join(labels), 80)} ({len(labels)})"
        return details

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
            filepath: The folder (SavedModel, web) or file (all else) to write.
            format: `"tf_saved_model"`, `"litert"`, or `"onnx"` (not for summarizers); for
                classifiers also `"mediapipe"` or `"web"`; or another format of Keras.
            verbose: Whether to say where the export was written.
            input_signature: For Keras' other formats.
            **kwargs: Options of the format, see `serving.recipe.export` and the writers in
                `serving.litert`, `serving.mediapipe`, `serving.onnx` and `serving.web.folder`; and
                of the task: `BertSummarizer` has those of `summarize`.

        Raises:
            ValueError: If the model has no tokenizer, or an option is refused.
            FileExistsError: If the folder is not empty.
            RuntimeError: If the export does not answer as the model.
        """
        if format == "web" and format not in self.export_formats:
            raise ValueError(
                f"The page of format='web' classifies texts, and this is a {type(self).__name__}: "
                f"use {' or '.join(map(repr, self.export_formats))}."
            )
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
