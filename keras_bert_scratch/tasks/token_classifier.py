"""Tagging: an encoder, a head on every token, a tokenizer and the names of the tags.

Axes: B batch, S sequence, C classes, W words.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import keras
import numpy as np
import tensorflow as tf

from keras_bert_scratch.checkpoints.checkpoint import Checkpoint
from keras_bert_scratch.checkpoints.huggingface import label_fields
from keras_bert_scratch.checkpoints.name_map import CLASSIFIER
from keras_bert_scratch.data.batching import LengthBucketedBatches, TokenBatches, ragged
from keras_bert_scratch.data.labels import (
    class_names,
    encode_class_weight,
    encode_labels,
    encode_sample_weight,
)
from keras_bert_scratch.data.tags import (
    IGNORED,
    OUTSIDE,
    TaggedSpan,
    WordRows,
    check_bio,
    check_same_lengths,
    continuations,
    tagged_spans,
    tokenize_words,
)
from keras_bert_scratch.evaluation.tagging import TaggingReport, TokenAccuracy, evaluate_tags
from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.serving.graphs.tagger import TaggerSignature
from keras_bert_scratch.tasks.token_model import TokenModel
from keras_bert_scratch.text.columns import column_values
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.tokenizer_files import max_length
from keras_bert_scratch.text.truncation import check_sequence_length, check_window_stride

# Logits below float32's rounding after the softmax.
_SURELY_NOT = -60.0
_WEIGHTS_WITHOUT_TAGS = "Weights are for training: give tags, too, or leave them out."


class TaggedTexts(NamedTuple):
    """Texts in windows; for each of their words the id of its tag, and its weight."""

    texts: list[WordRows]
    tags: list[np.ndarray] | None = None
    weights: list[np.ndarray] | None = None


@keras.saving.register_keras_serializable("keras_bert_scratch")
class BertTokenClassifier(TokenModel):
    """Tags the words of texts (Devlin et al. 2018, section 5.3).

    A text is a list of words, or a string, whose words are then those of BERT: runs of letters and
    digits, single signs of punctuation, single ideographs. A given word, such as "U.S.", may
    consist of several of these. Training labels each of them, the first with the word's tag and the
    others with what continues it (`I-person` after `B-person`), so that strings are answered as
    in training: "U.S." is found whole. The tag of a given word is that of its first part. Empty
    words, and words of which the tokenizer drops every character, are `O`.

    Texts come in a list, a numpy array, or a column of pandas, polars, pyarrow or datasets, and may
    have any length: they are read in windows that overlap, and each word is tagged in the window
    that shows most around it.

    A checkpoint that was trained elsewhere on the first tokens of words alone does not know the
    others: give it lists of words.

    Args:
        encoder: The encoder below the head.
        labels: Names of the tags, in the order of their ids; C of them, at least two. Without
            `O`, words without tokens get the first.
        tokenizer: Turns texts into ids; None if only ready inputs are used.
        sequence_length: Tokens of a window; by default all that the encoder's positions cover.
        window_stride: Tokens from the start of a window to the start of the next; by default half
            of those that a window has.
        **kwargs: `name` and `dtype`, for `keras.Model`.

    Raises:
        ValueError: If there are fewer than two labels or one comes twice, or the tokenizer,
            `sequence_length` or `window_stride` does not fit.

    Example:
        >>> words = [["Jane", "Austen", "lived", "in", "Bath", "."]] * 8
        >>> tags = [["B-person", "I-person", "O", "O", "B-town", "O"]] * 8
        >>> labels = ["O", "B-person", "I-person", "B-town"]
        >>> model = BertTokenClassifier.from_pretrained("tiny-en", labels=labels)
        >>> model.compile(optimizer=adamw(1e-3, total_steps=10))
        >>> history = model.fit(words, tags, epochs=10)
        >>> model.find_spans(["Jane Austen lived in Bath."])
        [[TaggedSpan(text='Jane Austen', label='person', start=0, end=11, probability=0...), ...]]
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
        labels = class_names(labels)
        if len(labels) < 2:
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
    def default_loss(self) -> keras.losses.Loss:
        """Returns the cross-entropy over the words of BERT that have a label.

        It is summed, each times its weight, and divided by their number. PyTorch and `transformers`
        divide by the sum of the weights.
        """
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=IGNORED)

    def default_metrics(self) -> list[keras.metrics.Metric]:
        """Returns the accuracy of these words."""
        return [TokenAccuracy("accuracy")]

    def examples(
        self, x: Any, y: Any = None, sample_weight: Any = None, *, labelled: bool = False
    ) -> TaggedTexts:
        """Checks texts, tags and weights, and takes them by position.

        Args:
            x: Texts, see the class.
            y: One list of tags, names or ids, a text: one for each of its words; or None.
            sample_weight: One weight a text, or one list of weights, one for each of its words.
            labelled: Whether there must be tags.
        """
        if labelled and y is None:
            raise ValueError(
                f"{type(self).__name__} learns labels, received y=None: pass them as y, for "
                "validation as (x, y)."
            )
        texts = self._rows(x)
        if not texts:
            raise ValueError("There are no texts: give at least one.")
        if y is None:
            if sample_weight is not None:
                raise ValueError(_WEIGHTS_WITHOUT_TAGS)
            return TaggedTexts(texts)
        tags = self._label_ids(y)
        check_same_lengths([text.words.offsets for text in texts], list(map(list, tags)))
        check_bio([[self.labels[i] for i in row] for row in tags])
        if sample_weight is None:
            return TaggedTexts(texts, tags)
        return TaggedTexts(texts, tags, word_weights(sample_weight, tags))

    def weigh_classes(self, examples: TaggedTexts, class_weight: Any) -> TaggedTexts:
        """Multiplies the weights of words by those of their tags."""
        if class_weight is None:
            return examples
        if examples.tags is None:
            raise ValueError(_WEIGHTS_WITHOUT_TAGS)
        of_tags = encode_class_weight(class_weight, self.labels)
        before = examples.weights or word_weights(None, examples.tags)
        weights = [row * of_tags[ids] for row, ids in zip(before, examples.tags, strict=True)]
        return examples._replace(weights=weights)

    def batches_of(
        self,
        examples: TaggedTexts,
        *,
        batch_size: int,
        seed: int | None = None,
        training: bool = False,
    ) -> LengthBucketedBatches:
        """Batches the windows of some texts; see `ExampleModel.batches_of`."""
        texts, tags, weights = examples
        token_ids = ragged([row for text in texts for row in text.token_ids])
        settings: dict[str, Any] = {
            "batch_size": batch_size,
            "pad_id": self.check_tokenizer().vocabulary.pad_id,
            "seed": seed,
        }
        if tags is None:
            return LengthBucketedBatches(token_ids, tf.zeros_like(token_ids), **settings)
        inner = continuations(self.labels)
        labels = [
            row for text, ids in zip(texts, tags, strict=True) for row in text.labels(ids, inner)
        ]
        if weights is not None:
            settings["sample_weight"] = [
                row for text, of in zip(texts, weights, strict=True) for row in text.weights(of)
            ]
        return TokenBatches(
            token_ids, tf.zeros_like(token_ids), labels=labels, ignored=IGNORED, **settings
        )

    def _rows(self, x: Any) -> list[WordRows]:
        tokenizer = self.check_tokenizer()
        return [
            WordRows(
                tokenizer,
                text,
                sequence_length=self.sequence_length,
                window_stride=self.window_stride,
            )
            for text in word_columns(x)
        ]

    def _label_ids(self, y: Any) -> list[np.ndarray]:
        """Turns names or ids of tags into ids."""
        ids = []
        for position, tags in enumerate(tag_columns(y)):
            try:
                row = encode_labels(tags, self.labels)
            except (TypeError, ValueError) as error:
                raise ValueError(f"The tags of the text at position {position}: {error}") from None
            if row.ndim != 1:
                raise ValueError(
                    f"The tags of the text at position {position}: a word has one tag, received "
                    f"{tags[0]!r} for the first."
                )
            ids.append(row)
        return ids

    def score(self, x: Any, y: Any, batch_size: int) -> dict[str, float]:
        """Returns the `accuracy` of words, and `precision`, `recall` and `f1` of spans.

        See `report` for those of each type.
        """
        report = self.report(x, y, batch_size)
        return {name: getattr(report, name) for name in ("accuracy", "precision", "recall", "f1")}

    def report(self, x: Any, y: Any, batch_size: int = 32) -> TaggingReport:
        """Compares the tags of texts with true ones, see `evaluate_tags`."""
        names = [[self.labels[i] for i in row] for row in self._label_ids(y)]
        return evaluate_tags(names, self.tag(x, batch_size), self.labels)

    # === Answers ===
    def answers(self, x: Any, batch_size: int = 32) -> list[np.ndarray]:
        """Computes the logits of every word of each text; `predict` does the same.

        Args:
            x: Texts, see the class.
            batch_size: B.

        Returns:
            The logits of each text. *Shape:* (W, C).

        Raises:
            TypeError: If a text is neither a string nor a list of words.
        """
        texts = self._rows(x)
        if not texts:
            return []
        batches = self.batches_of(TaggedTexts(texts), batch_size=batch_size)
        rows = iter(self.predict_rows(batches))
        without_tokens = np.zeros(len(self.labels), "float32")
        if OUTSIDE in self.labels:
            without_tokens += _SURELY_NOT
            without_tokens[self.labels.index(OUTSIDE)] = 0.0
        return [
            text.of_words([next(rows) for _ in text.token_ids], without_tokens) for text in texts
        ]

    def probabilities(self, x: Any, batch_size: int = 32) -> list[np.ndarray]:
        """Computes the probability of every tag, for every word of each text. *Shape:* (W, C)."""
        return [
            keras.ops.convert_to_numpy(keras.ops.softmax(logits))
            for logits in self.answers(x, batch_size)
        ]

    def tag(self, x: Any, batch_size: int = 32) -> list[list[str]]:
        """Returns the most probable tag of every word of each text."""
        return [
            [self.labels[i] for i in logits.argmax(axis=-1)]
            for logits in self.answers(x, batch_size)
        ]

    def find_spans(self, texts: Any, batch_size: int = 32) -> list[list[TaggedSpan]]:
        """Returns the spans of each text: entities with BIO tags, otherwise each word with its tag.

        Args:
            texts: See the class; offsets in a list of words are those in its words joined by
                spaces.
            batch_size: B.
        """
        texts = word_columns(texts)
        words = [tokenize_words(self.check_tokenizer(), text) for text in texts]
        return [
            tagged_spans(of.text, of.offsets, probabilities, self.labels)
            for of, probabilities in zip(words, self.probabilities(texts, batch_size), strict=True)
        ]

    # === Weights in and out ===
    @classmethod
    def from_pretrained(
        cls, path_or_hub_id: str | Path, labels: Sequence[str] | None = None, **settings: Any
    ) -> Self:
        """Loads a checkpoint; see `EncoderModel.from_pretrained`.

        The head comes along from a `BertForTokenClassification` with as many tags.

        Args:
            path_or_hub_id: The checkpoint.
            labels: Names of the tags, which may rename the checkpoint's or put them in another
                order; by default those, or LABEL_0, LABEL_1, ... if it has none.
            **settings: `dtype`, and arguments of the class.

        Raises:
            ValueError: If the checkpoint has no tags and none are given, or it cannot be loaded.
        """
        return super().from_pretrained(path_or_hub_id, labels=labels, **settings)

    @classmethod
    def _from_checkpoint(
        cls,
        checkpoint: Checkpoint,
        *,
        labels: Sequence[str] | None = None,
        sequence_length: int | None = None,
        window_stride: int | None = None,
        **settings: Any,
    ) -> Self:
        saved = checkpoint.settings(sequence_length=int, window_stride=int)
        if labels is None and not cls._has_head(checkpoint):
            raise ValueError(
                f"{checkpoint.folder} has no head for tags: pass labels=, the names of the tags."
            )
        return super()._from_checkpoint(
            checkpoint,
            labels=list(checkpoint.labels or ()) if labels is None else class_names(labels),
            sequence_length=sequence_length
            or saved.get("sequence_length")
            or max_length(checkpoint.folder, checkpoint.config.max_positions),
            window_stride=window_stride or saved.get("window_stride"),
            **settings,
        )

    def checkpoint_fields(self) -> dict[str, Any]:
        """Returns the names of the tags and the stride, as fields of config.json."""
        return {
            **super().checkpoint_fields(),
            **label_fields(self.labels),
            "window_stride": self.window_stride,
        }

    def _signature(self, options: dict[str, Any]) -> TaggerSignature:
        """Describes the tagger for its exports."""
        return TaggerSignature(
            self,
            self.check_tokenizer(),
            self.probabilities,
            tags=list(self.labels),
            sequence_length=self.sequence_length,
            window_stride=self.window_stride,
        )

    # === Config ===
    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "labels": self.labels,
            "window_stride": self.window_stride,
        }


def word_columns(x: Any) -> list[str | list[str]]:
    """Returns texts as strings and lists of words.

    Args:
        x: Texts in whatever `text.columns.column_values` takes, each a string or a column of words.

    Raises:
        TypeError: If a text or a word is something else.
    """
    texts: list[str | list[str]] = []
    for position, text in enumerate(_rows_of(x)):
        text = _decoded(text)
        if isinstance(text, str):
            texts.append(text)
            continue
        try:
            words = [_decoded(word) for word in column_values(text)]
        except TypeError:
            raise TypeError(
                f"A text is a string or a list of words, received {text!r} "
                f"({type(text).__name__}) at position {position}: convert or remove it."
            ) from None
        for word, value in enumerate(words):
            if not isinstance(value, str):
                raise TypeError(
                    f"A word is a string, received {value!r} ({type(value).__name__}) as word "
                    f"{word} of the text at position {position}: convert or remove it."
                )
        texts.append(words)
    return texts


def tag_columns(y: Any) -> list[list[Any]]:
    """Returns the tags of texts as lists; ids of a datasets `ClassLabel` as its names.

    Args:
        y: One column of tags a text, in whatever `text.columns.column_values` takes.

    Raises:
        TypeError: If the tags of a text are no column.
    """
    feature = getattr(getattr(y, "features", None), "feature", None)
    names = getattr(feature, "names", None)
    rows = []
    for position, tags in enumerate(_rows_of(y)):
        try:
            row = column_values(tags)
        except TypeError:
            raise TypeError(
                f"The tags of a text are a list with one for each word, received {tags!r} "
                f"({type(tags).__name__}) at position {position}: wrap them in [...]."
            ) from None
        if names is not None:
            row = [
                names[tag] if isinstance(tag, int) and 0 <= tag < len(names) else tag for tag in row
            ]
        rows.append(row)
    return rows


def word_weights(sample_weight: Any, tags: list[np.ndarray]) -> list[np.ndarray]:
    """Returns a weight for every word of some texts.

    Args:
        sample_weight: One weight a text, one column of weights a text, or None for 1.
        tags: Ids of the tags of each text. *Shape:* (W,) each.

    Returns:
        float32. *Shape:* (W,) each.

    Raises:
        ValueError: If there is not one a text, or one a word, or one is negative or not finite.
    """
    if sample_weight is None:
        return [np.ones(len(row), "float32") for row in tags]
    rows = _rows_of(sample_weight)
    if all(np.ndim(row) == 0 and not hasattr(row, "to_list") for row in rows):
        of_texts = np.asarray(encode_sample_weight(rows, len(tags)))
        return [np.full(len(row), of_text) for row, of_text in zip(tags, of_texts, strict=True)]
    if len(rows) != len(tags):
        raise ValueError(
            f"There are {len(tags)} texts but {len(rows)} sample_weight: give one for each, or one "
            "list for each."
        )
    weights = []
    for position, (row, of_text) in enumerate(zip(rows, tags, strict=True)):
        try:
            weights.append(np.asarray(encode_sample_weight(column_values(row), len(of_text))))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"The sample_weight of the {len(of_text)} words of the text at position "
                f"{position}: {error}"
            ) from None
    return weights


def _rows_of(column: Any) -> list[Any]:
    """Returns the values of a column; of an array the rows, even where they have one value each."""
    values = column.numpy() if isinstance(column, tf.Tensor | tf.RaggedTensor) else column
    return (
        list(values)
        if isinstance(values, np.ndarray) and values.ndim == 2
        else column_values(values)
    )


def _decoded(value: Any) -> Any:
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else value
