"""Tagging: an encoder, a head on every token, a tokenizer and the names of the tags.

Axes: B batch, S sequence, C classes, W words.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_bert_scratch.checkpoints.google import open_checkpoint
from keras_bert_scratch.checkpoints.name_map import CLASSIFIER
from keras_bert_scratch.data.batching import LengthBucketedBatches
from keras_bert_scratch.data.labels import encode_labels
from keras_bert_scratch.data.tags import (
    IGNORED,
    TaggedSpan,
    WordRows,
    check_bio,
    check_same_lengths,
    tagged_spans,
    tokenize_words,
)
from keras_bert_scratch.evaluation.tagging import TaggingReport, TokenAccuracy, evaluate_tags
from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.serving.tagging import export_tagger_litert, export_tagger_saved_model
from keras_bert_scratch.tasks.token_model import TokenModel, ragged
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer, check_sequence_length
from keras_bert_scratch.text.tokenizer_files import max_length
from keras_bert_scratch.text.truncation import check_window_stride


@keras.saving.register_keras_serializable("keras_bert_scratch")
class BertTokenClassifier(TokenModel):
    """Tags the words of texts (Devlin et al. 2018, section 5.3).

    A text is a list of words, or a string, whose words are then those of BERT: runs of letters and
    digits, and single signs of punctuation. The tag of a word is that of its first token; the
    others do not count. Texts of any length are read in windows that overlap, and each word is
    tagged in the window that shows most around it.

    Args:
        encoder: The encoder below the head.
        labels: Names of the tags, in the order of their ids; C of them, at least two. Words of
            which the tokenizer drops every character get the first.
        tokenizer: Turns texts into ids; None if only ready inputs are used.
        sequence_length: Tokens of a window; by default all that the encoder's positions cover.
        window_stride: Tokens from the start of a window to the start of the next; by default half
            of those that a window has.
        **kwargs: `name` and `dtype`, for `keras.Model`.

    Raises:
        ValueError: If there are fewer than two labels or one comes twice, or the tokenizer,
            `sequence_length` or `window_stride` does not fit.

    Example:
        >>> model = BertTokenClassifier.from_pretrained("path/or/hub-id", labels=labels)
        >>> model.compile(optimizer=adamw(5e-5, total_steps=800))
        >>> model.fit(words, tags, epochs=3)
        >>> model.find_spans(["Jane Austen lived in Bath."])
        [[TaggedSpan(text='Jane Austen', label='person', start=0, end=11, probability=0.98), ...]]
    """

    architecture = "BertForTokenClassification"
    head_weights = CLASSIFIER

    def __init__(
        self,
        encoder: BertEncoder,
        labels: Sequence[str],
        tokenizer: WordPieceTokenizer | None = None,
        *,
        sequence_length: int | None = None,
        window_stride: int | None = None,
        **kwargs: Any,
    ) -> None:
        labels = list(labels)
        if len(labels) < 2 or len(set(labels)) < len(labels):
            raise ValueError(f"labels must be at least two different names, received {labels!r}.")
        super().__init__(
            encoder,
            tokenizer,
            num_outputs=len(labels),
            dropout=encoder.config.dropout,
            sequence_length=sequence_length,
            **kwargs,
        )
        check_window_stride(window_stride, check_sequence_length(self.sequence_length, 1))
        self.labels = labels
        self.window_stride = window_stride

    def call(self, inputs: dict[str, Any], training: bool | None = None) -> Any:
        """Computes the logits of every token.

        Args:
            inputs: `token_ids`, `segment_ids` and `padding_mask`, int32. *Shape:* (B, S) each.
            training: Whether dropout acts.

        Returns:
            *Shape:* (B, S, C).
        """
        sequence_output = self.encoder(inputs, training=training)["sequence_output"]
        return self.head(sequence_output, training=training)

    # === Training ===
    def compile(
        self, optimizer: Any, loss: Any = "auto", *, metrics: Any = "auto", **kwargs: Any
    ) -> None:
        """Compiles as `keras.Model.compile` does, with defaults that fit the task.

        Args:
            optimizer: A Keras optimizer; see `keras_bert_scratch.adamw`.
            loss: By default the mean cross-entropy of the tokens that have a label.
            metrics: By default their accuracy.
            **kwargs: The other arguments of `keras.Model.compile`.
        """
        if loss == "auto":
            loss = keras.losses.SparseCategoricalCrossentropy(
                from_logits=True, ignore_class=IGNORED
            )
        if metrics == "auto":
            metrics = [TokenAccuracy("accuracy")]
        super().compile(optimizer=optimizer, loss=loss, metrics=metrics, **kwargs)

    def batches(
        self, x: Any, y: Any = None, *, batch_size: int = 32, seed: int | None = None
    ) -> LengthBucketedBatches:
        """Turns texts into batches of windows of similar lengths.

        Args:
            x: Texts, see the class.
            y: One list of tags, names or ids, a text: one for each of its words.
            batch_size: B.
            seed: Of the order; None sorts by length.

        Raises:
            ValueError: If there is not one tag a word, a tag is unknown, or tags break BIO.
        """
        return self._batches(self._rows(x), y, batch_size=batch_size, seed=seed)

    def _rows(self, x: Any) -> list[WordRows]:
        tokenizer = self.check_tokenizer()
        check_texts(x)
        return [
            WordRows(
                tokenizer,
                text,
                sequence_length=self.sequence_length,
                window_stride=self.window_stride,
            )
            for text in x
        ]

    def _batches(
        self, texts: list[WordRows], y: Any, *, batch_size: int, seed: int | None = None
    ) -> LengthBucketedBatches:
        labels = None
        if y is not None:
            check_same_lengths([text.words.offsets for text in texts], y)
            ids = self._label_ids(y)
            check_bio([[self.labels[i] for i in row] for row in ids])
            rows = [row for text, of in zip(texts, ids, strict=True) for row in text.labels(of)]
            labels = np.full((len(rows), max(map(len, rows))), IGNORED, "int32")
            for place, row in zip(labels, rows, strict=True):
                place[: len(row)] = row
        token_ids = ragged([row for text in texts for row in text.token_ids])
        return LengthBucketedBatches(
            token_ids,
            tf.zeros_like(token_ids),
            batch_size=batch_size,
            pad_id=self.check_tokenizer().vocabulary.pad_id,
            labels=labels,
            seed=seed,
        )

    def _label_ids(self, y: Sequence[Sequence[Any]]) -> list[np.ndarray]:
        """Turns names or ids of tags into ids."""
        ids = []
        for position, tags in enumerate(y):
            try:
                ids.append(encode_labels(tags, self.labels))
            except ValueError as error:
                raise ValueError(f"The tags of the text at position {position}: {error}") from None
        return ids

    def dataset(self, batches: LengthBucketedBatches) -> tf.data.Dataset:
        """Returns the batches, their labels as wide as their tokens."""

        def fit_labels(inputs: dict[str, tf.Tensor], labels: tf.Tensor) -> tuple:
            width = tf.shape(inputs["token_ids"])[1]
            labels = labels[:, :width]
            missing = width - tf.shape(labels)[1]
            return inputs, tf.pad(labels, [[0, 0], [0, missing]], constant_values=IGNORED)

        return batches.dataset().map(fit_labels)

    def evaluate(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, **kwargs: Any
    ) -> Any:
        """Evaluates as `keras.Model.evaluate` does; on texts, finds how good the spans are.

        Args:
            x: Texts, see the class, or whatever Keras takes.
            y: One list of tags a text.
            batch_size: B, by default 32.
            **kwargs: The other arguments of `keras.Model.evaluate`.

        Returns:
            For texts a dict of `accuracy`, of words, and `precision`, `recall` and `f1`, of spans;
            see `report` for each type's.
        """
        if not isinstance(x, list):
            return super().evaluate(x, y, batch_size, **kwargs)
        report = self.report(x, y, batch_size or 32)
        return {name: getattr(report, name) for name in ("accuracy", "precision", "recall", "f1")}

    def report(self, x: Any, y: Any, batch_size: int = 32) -> TaggingReport:
        """Compares the tags of texts with true ones, see `evaluate_tags`."""
        names = [[self.labels[i] for i in row] for row in self._label_ids(y)]
        return evaluate_tags(names, self.tag(x, batch_size))

    # === Answers ===
    def predict(self, x: Any, batch_size: int | None = None, **kwargs: Any) -> Any:
        """Predicts as `keras.Model.predict` does; for texts the logits of their words.

        Args:
            x: Texts, see the class, or whatever Keras takes.
            batch_size: B, by default 32.
            **kwargs: The other arguments of `keras.Model.predict`.

        Returns:
            For texts a list with the logits of each. *Shape:* (W, C).
        """
        if not isinstance(x, list):
            return super().predict(x, batch_size, **kwargs)
        texts = self._rows(x)
        rows = iter(self.predict_rows(self._batches(texts, None, batch_size=batch_size or 32)))
        return [text.of_words([next(rows) for _ in text.token_ids]) for text in texts]

    def probabilities(self, x: Any, batch_size: int = 32) -> list[np.ndarray]:
        """Computes the probability of every tag, for every word of each text. *Shape:* (W, C)."""
        return [
            keras.ops.convert_to_numpy(keras.ops.softmax(logits))
            for logits in self.predict(x, batch_size)
        ]

    def tag(self, x: Any, batch_size: int = 32) -> list[list[str]]:
        """Returns the most probable tag of every word of each text."""
        return [
            [self.labels[i] for i in logits.argmax(axis=-1)]
            for logits in self.predict(x, batch_size)
        ]

    def find_spans(self, texts: list[Any], batch_size: int = 32) -> list[list[TaggedSpan]]:
        """Returns the spans of each text: entities with BIO tags, otherwise each word with its tag.

        Args:
            texts: Strings or lists of words; offsets in a list are those in its words joined by
                spaces.
            batch_size: B.
        """
        words = [tokenize_words(self.check_tokenizer(), text) for text in texts]
        return [
            tagged_spans(of.text, of.offsets, probabilities, self.labels)
            for of, probabilities in zip(words, self.probabilities(texts, batch_size), strict=True)
        ]

    # === Weights in and out ===
    @classmethod
    def from_pretrained(
        cls,
        path_or_hub_id: str | Path,
        labels: Sequence[str] | None = None,
        *,
        sequence_length: int | None = None,
        window_stride: int | None = None,
        dtype: Any = None,
    ) -> "BertTokenClassifier":
        """Loads a checkpoint of Hugging Face `transformers`, or of google-research/bert.

        The head comes along from a `BertForTokenClassification` with as many tags, whose names
        `labels` changes or puts in another order; otherwise it is new, and said to be.

        Args:
            path_or_hub_id: A local folder (no network is used) or the id of a model on the hub.
            labels: Names of the tags; by default the checkpoint's, or LABEL_0, LABEL_1, ... if it
                has none.
            sequence_length: See the class; by default what the checkpoint says.
            window_stride: See the class; by default what the checkpoint says.
            dtype: Of the computation, such as `"mixed_bfloat16"`.

        Raises:
            FileNotFoundError: If the checkpoint or one of its files cannot be found.
            ValueError: If it is not BERT's, is damaged, does not fit its config or vocabulary, or
                has no tags and none are given.
        """
        checkpoint = open_checkpoint(path_or_hub_id)
        saved = checkpoint.settings(sequence_length=int, window_stride=int)
        if labels is None and not cls._has_head(checkpoint):
            raise ValueError(
                f"{checkpoint.folder} has no head for tags: pass labels=, the names of the tags."
            )
        return cls._from_checkpoint(
            checkpoint,
            labels=list(checkpoint.labels or () if labels is None else labels),
            sequence_length=sequence_length
            or saved.get("sequence_length")
            or max_length(checkpoint.folder, checkpoint.config.max_positions),
            window_stride=window_stride or saved.get("window_stride"),
            dtype=dtype,
        )

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes a folder that `from_pretrained` and Hugging Face `transformers` load.

        Args:
            folder: Where to write: must not exist, or be empty.

        Raises:
            FileExistsError: If the folder is not empty.
            ValueError: If the model has no tokenizer.
        """
        self._write(
            folder,
            id2label={str(class_id): label for class_id, label in enumerate(self.labels)},
            label2id={label: class_id for class_id, label in enumerate(self.labels)},
            window_stride=self.window_stride,
        )

    def export(self, filepath: str | Path, format: str = "tf_saved_model", **options: Any) -> None:
        """Exports for serving: strings in and tags out, or for phones.

        The export is loaded in a fresh process without Keras and compared before it appears.

        Args:
            filepath: The folder (SavedModel) or file (LiteRT) to write.
            format: `"tf_saved_model"` or `"litert"`, see `serving.tagging`; or another format of
                `keras.Model.export`, without tokenizer.
            **options: `precision` and `static_length` for LiteRT.

        Raises:
            ValueError: If the model has no tokenizer, or an option is refused.
            FileExistsError: If the folder is not empty.
            RuntimeError: If the export does not give the model's probabilities.
        """
        exporters: dict[str, Any] = {
            "tf_saved_model": export_tagger_saved_model,
            "litert": export_tagger_litert,
        }
        if format not in exporters:
            return super().export(filepath, format=format, **options)
        return exporters[format](
            self,
            self.check_tokenizer(),
            self.labels,
            filepath,
            sequence_length=self.sequence_length,
            window_stride=self.window_stride,
            expected=self.probabilities,
            **options,
        )

    # === Config ===
    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "labels": self.labels,
            "window_stride": self.window_stride,
        }


def check_texts(x: Sequence[Any]) -> None:
    """Refuses what is neither a string nor a list of words.

    Raises:
        ValueError: If there is no text, or a word is empty.
        TypeError: If a text or a word is not a string.
    """
    if not x:
        raise ValueError("There are no texts: give at least one.")
    for position, text in enumerate(x):
        if isinstance(text, str):
            continue
        if not isinstance(text, Sequence):
            raise TypeError(
                f"A text is a string or a list of words, received {text!r} "
                f"({type(text).__name__}) at position {position}: convert or remove it."
            )
        for word, value in enumerate(text):
            if not isinstance(value, str) or not value:
                raise TypeError(
                    f"A word is a string with a character in it, received {value!r} as word {word} "
                    f"of the text at position {position}: mend or remove it."
                )
