"""Text classification: an encoder, a head, a tokenizer and the names of the classes.

Axes: B batch, S sequence, C classes, W windows of all texts of a batch.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from keras_bert_scratch.checkpoints.adapters import AdapterCheckpoint, write_adapter
from keras_bert_scratch.checkpoints.google import open_checkpoint
from keras_bert_scratch.checkpoints.huggingface import label_fields
from keras_bert_scratch.checkpoints.name_map import CLASSIFIER, POOLED_CLASSIFIER, Weight
from keras_bert_scratch.checkpoints.sentence_transformers import read_pooling
from keras_bert_scratch.data.batching import LengthBucketedBatches
from keras_bert_scratch.data.labels import (
    class_ids,
    class_names,
    encode_class_weight,
    encode_label_sets,
    encode_labels,
    encode_scores,
)
from keras_bert_scratch.evaluation.calibration import Calibration, calibrate
from keras_bert_scratch.evaluation.metrics import (
    MacroF1,
    MacroPrecision,
    MacroRecall,
    PearsonCorrelation,
)
from keras_bert_scratch.files import new_folder, write_hashes
from keras_bert_scratch.layers.heads import ClassificationHead
from keras_bert_scratch.layers.pooling import Pooling, check_pooling, pool_tokens
from keras_bert_scratch.layers.windows import (
    Aggregation,
    aggregate_windows,
    check_aggregation,
)
from keras_bert_scratch.models.adapting import keep_heads, keep_layers
from keras_bert_scratch.models.encoder import BertEncoder
from keras_bert_scratch.models.state import copy_state
from keras_bert_scratch.serving.engines import Engine
from keras_bert_scratch.serving.graphs.classifier import ClassifierSignature
from keras_bert_scratch.tasks.text_model import TextExamples, TextModel
from keras_bert_scratch.text.preprocessing import Step
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.tokenizer_files import max_length
from keras_bert_scratch.text.truncation import Truncation
from keras_bert_scratch.training.data_checks import warn_of_guessing, warn_of_labels
from keras_bert_scratch.training.label_smoothing import SmoothedCrossentropy
from keras_bert_scratch.training.linear_probe import Link, fit_head
from keras_bert_scratch.training.losses import SparseCategoricalFocalCrossentropy
from keras_bert_scratch.training.privacy import DifferentialPrivacy, Spent, check_spent

logger = logging.getLogger(__name__)

# Most examples that tell how a new head starts; the norm of what it then knows of each class's
# name, where features have norm 1; and how much a logit changes from similarity 0 to 1.
_MOST_PROBED = 2000
_PRIOR_LENGTH = 2.0
_SIMILARITY_SCALE = 20.0

# Losses whose targets are the probabilities of all classes, and losses whose targets are ids.
_OF_PROBABILITIES = (
    keras.losses.CategoricalCrossentropy,
    keras.losses.CategoricalFocalCrossentropy,
    keras.losses.KLDivergence,
)
_OF_IDS = (
    keras.losses.SparseCategoricalCrossentropy,
    SmoothedCrossentropy,
    SparseCategoricalFocalCrossentropy,
)
# Keras' functions of the same losses, to which Keras resolves their names; True for probabilities.
_FUNCTIONS = {
    keras.losses.categorical_crossentropy: True,
    keras.losses.categorical_focal_crossentropy: True,
    keras.losses.kl_divergence: True,
    keras.losses.sparse_categorical_crossentropy: False,
}


@keras.saving.register_keras_serializable("keras_bert_scratch")
class BertClassifier(TextModel):
    """Classifies texts or pairs of texts (Devlin et al. 2018, section 4.1).

    The model computes logits; `probabilities` and `classify` turn them into answers.

    Args:
        encoder: The encoder below the head.
        labels: Names of the C classes, in the order of their ids; whole numbers and booleans become
            strings. A single label names a score: a number, such as a rating, that the model
            learns by its squared error.
        tokenizer: Turns texts into ids; None if only ready inputs are used.
        sequence_length: Tokens to which texts are truncated; by default all that the encoder's
            positions cover. Short texts cost only their own length.
        truncation: What is read of a longer text: `"head"`, its first tokens; `"tail"`, its last;
            `"head_tail"`, a quarter from its start and the rest from its end; or `"windows"`, all
            of it, in windows that slide. In `fit` a window is an example like any other, with its
            text's label; answers, metrics and exports are for whole texts. Pairs take
            `"head"` only.
        window_stride: Tokens from the start of a window to the start of the next; by default half
            of the tokens of a window, so that all but the ends is read twice.
        aggregation: Makes a text's logits from those of its windows: `"mean"` or `"max"`.
        multi_label: Whether a text may have any number of the labels (sigmoid) instead of
            exactly one (softmax); a single label is then a yes or no.
        pooling: What the head reads: `"pooler"`, BERT's pooled output of [CLS]; or, of encoders
            that were trained so, as sentence encoders are, the states themselves, see
            `layers.pooling`, such as their `"mean"`. `transformers` has no such head.
        temperature: Divides the logits in all answers and exports; `calibrate` finds it.
        privacy_spent: What private trainings of the weights have spent, as
            `DifferentialPrivacy.spent` returns it; later trainings add to it.
        **kwargs: `name` and `dtype`, for `keras.Model`.

    Raises:
        ValueError: If there are no labels or one comes twice, the tokenizer's vocabulary is larger
            than the encoder's, `sequence_length` exceeds the positions, `temperature` is not above
            0, or `truncation`, `window_stride` and `aggregation` are unknown or do not fit
            together.

    Example:
        >>> model = BertClassifier.from_pretrained("tiny-en", labels=["bad", "good"])
        >>> model.compile()  # fit chooses the optimizer
        >>> texts, labels = ["a good film", "a bad film"] * 16, ["good", "bad"] * 16
        >>> history = model.fit(texts, labels, verbose=0)
        >>> model.classify(["a good film"])
        [{'good': 0.9..., 'bad': ...}]
    """

    architecture = "BertForSequenceClassification"
    export_formats = ("tf_saved_model", "litert", "mediapipe", "onnx", "web")
    takes_truncation = True
    has_engines = True

    def __init__(
        self,
        encoder: BertEncoder,
        labels: Sequence[str],
        tokenizer: WordPieceTokenizer | None = None,
        *,
        sequence_length: int | None = None,
        truncation: Truncation = "head",
        window_stride: int | None = None,
        aggregation: Aggregation = "mean",
        multi_label: bool = False,
        pooling: Pooling | Literal["pooler"] = "pooler",
        temperature: float = 1.0,
        privacy_spent: Spent = (),
        **kwargs: Any,
    ) -> None:
        labels = class_names(labels)
        if not labels:
            raise ValueError(
                "labels must be at least two different names, or one for a score, received none."
            )
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, received {temperature!r}.")
        check_aggregation(aggregation)
        if pooling != "pooler":
            check_pooling(pooling)
        super().__init__(
            encoder,
            tokenizer,
            sequence_length,
            truncation=truncation,
            window_stride=window_stride,
            **kwargs,
        )
        self.labels = labels
        self.is_score = len(labels) == 1 and not multi_label
        self.aggregation = aggregation
        self.multi_label = multi_label
        self.pooling = pooling
        self.temperature = temperature
        self._takes_probabilities: bool | None = None
        self._privacy_spent = check_spent(privacy_spent)

        # === Layers ===
        self.head = ClassificationHead(
            len(labels),
            dropout=encoder.config.dropout,
            initializer_range=encoder.config.initializer_range,
            dtype=self.dtype_policy,
            name="head",
        )
        if pooling != "pooler":
            self.architecture = "BertModel"  # transformers has no such head
            # The loss does not depend on it: an optimizer would miss its gradients.
            encoder.pooler.trainable = False
        self.build()

    def build(self, input_shape: Any = None) -> None:
        """Creates the head's weights; the encoder has its own."""
        self.head.build((None, self.encoder.config.hidden_dim))
        self.built = True

    def call(self, inputs: dict[str, Any], training: bool | None = None) -> Any:
        """Computes the logits.

        Args:
            inputs: `token_ids`, `segment_ids` and `padding_mask`, int32. *Shape:* (B, S) each. With
                `num_windows`, int32, (B,), the number of windows of each text, their rows are
                windows, (W, S).
            training: Whether dropout acts.

        Returns:
            *Shape:* (B, C).
        """
        logits = self.head(self.features(inputs, training=training), training=training)
        if "num_windows" in inputs:
            logits = aggregate_windows(logits, inputs["num_windows"], self.aggregation)
        return logits

    def features(self, inputs: dict[str, Any], training: bool | None = None) -> Any:
        """Computes what the head reads.

        Args:
            inputs: See `call`.
            training: Whether dropout acts.

        Returns:
            *Shape:* (B, H).
        """
        pools = self.pooling != "pooler"
        return self.pooled(self.encoder(inputs, training=training, pooled_only=not pools), inputs)

    def pooled(self, outputs: dict[str, Any], inputs: dict[str, Any]) -> Any:
        """Returns what the head reads of the encoder's outputs. *Shape:* (B, H)."""
        if self.pooling == "pooler":
            return outputs["pooled_output"]
        return pool_tokens(outputs["sequence_output"], inputs["padding_mask"], self.pooling)

    # === Training ===
    def compile(  # type: ignore[override]
        self,
        optimizer: Any = "auto",
        loss: Any = "auto",
        *,
        training_step: Any = None,
        **kwargs: Any,
    ) -> None:
        """Compiles as `keras.Model.compile` does, with defaults that fit the task.

        Args:
            optimizer: A Keras optimizer, see `keras_bert_scratch.adamw`; by default each `fit`
                chooses the training, see `training.fine_tuning`, and starts a new head from the one
                that suits the encoder as it is, see `start_head`.
            loss: By default cross-entropy on the logits: sparse, or binary with `multi_label`; for
                a score the squared error. Losses on one-hot vectors get those.
            training_step: How `fit` trains on a batch, by default as Keras does: a
                `DifferentialPrivacy` or an `AdversarialTraining`.
            **kwargs: The other arguments of `keras.Model.compile`. `metrics` are by default
                accuracy and macro precision, recall and F1; with `multi_label` binary accuracy,
                micro precision and recall, and macro F1; for a score the mean absolute error and
                Pearson's correlation.
        """
        if isinstance(loss, str) and loss == "auto":
            loss = self.default_loss()
        self._takes_probabilities = _takes_probabilities(loss)
        if training_step is not None and self._strategy is not None:
            raise ValueError(
                f"{type(training_step).__name__} does not work under tf.distribute, which has a "
                "step of its own: make and compile the model outside of a strategy's scope."
            )
        if optimizer == "auto" and isinstance(training_step, DifferentialPrivacy):
            raise ValueError(
                "A private training cannot be chosen by what it trains on, which would tell of the "
                "examples: compile with an optimizer, such as keras.optimizers.Adam(1e-3)."
            )
        spent, self.training_step = self.privacy_spent, training_step
        self._continue_after(spent)
        super().compile(optimizer, loss, **kwargs)

    def _continue_after(self, spent: Spent) -> None:
        """Counts what earlier private trainings of the weights have spent."""
        self._privacy_spent = check_spent(spent)
        if isinstance(self.training_step, DifferentialPrivacy):
            self.training_step.continue_after(self._privacy_spent)

    def default_loss(self) -> keras.losses.Loss:
        """Returns the loss that `compile` uses by default."""
        if self.is_score:
            return keras.losses.MeanSquaredError()
        if self.multi_label:
            return keras.losses.BinaryCrossentropy(from_logits=True)
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def default_metrics(self) -> list[keras.metrics.Metric]:
        """Returns the metrics that `compile` uses by default."""
        if self.is_score:
            return [keras.metrics.MeanAbsoluteError("mae"), PearsonCorrelation(name="pearson")]
        if self.multi_label:
            return [
                # A probability of 0.5 is a logit of 0; F1Score refuses a threshold of 0 itself.
                keras.metrics.BinaryAccuracy("accuracy", threshold=0.0),
                keras.metrics.Precision(thresholds=0.0, name="precision"),
                keras.metrics.Recall(thresholds=0.0, name="recall"),
                keras.metrics.F1Score("macro", threshold=1e-7, name="f1"),
            ]
        num_classes = len(self.labels)
        return [
            keras.metrics.CategoricalAccuracy("accuracy")
            if self._takes_probabilities
            else keras.metrics.SparseCategoricalAccuracy("accuracy"),
            MacroPrecision(num_classes, name="precision"),
            MacroRecall(num_classes, name="recall"),
            MacroF1(num_classes, name="f1"),
        ]

    def get_compile_config(self) -> dict[str, Any] | None:
        """Returns the arguments of `compile`, so that a loaded model goes on as privately."""
        config = super().get_compile_config()
        step = keras.saving.serialize_keras_object(self.training_step)
        return config and {**config, "training_step": step}

    @property
    def privacy_spent(self) -> list[dict[str, Any]]:
        """What private trainings of the weights have spent, see `DifferentialPrivacy.spent`."""
        if isinstance(self.training_step, DifferentialPrivacy):
            return self.training_step.spent
        return [dict(training) for training in self._privacy_spent]

    def encode_labels(self, y: Any) -> np.ndarray:
        """Turns names or ids into numbers, by the rule of `data.labels`.

        Give `fit` and `evaluate` the labels themselves: what this returns is read as ids only where
        no class is named by a number.

        Args:
            y: One name or id a text, or the probability of every class, *shape:* (n, C); with
                `multi_label` a list of names a text, or zeros and ones of shape (n, C); for a score
                one number a text.

        Returns:
            int32 ids, *shape:* (n,), or float32 probabilities, *shape:* (n, C); with `multi_label`
            float32 zeros and ones, *shape:* (n, C); float32 scores, *shape:* (n, 1).

        Raises:
            ValueError: If a label is none of the model's, or there are none.
        """
        if y is None:
            raise ValueError(f"{self.name} learns from labels: pass one for each text as y.")
        if self.is_score:
            return encode_scores(y)
        encode = encode_label_sets if self.multi_label else encode_labels
        return encode(y, self.labels)

    def encode_targets(self, y: Any) -> np.ndarray:
        """Turns labels into what the loss compares with: ids, or probabilities of all classes.

        Raises:
            ValueError: If a label is unknown, or the loss takes ids and a text has several classes.
        """
        targets = self.encode_labels(y)
        if self.is_score or self.multi_label or self._takes_probabilities is None:
            return targets
        if self._takes_probabilities:
            return targets if targets.ndim == 2 else np.eye(len(self.labels), dtype="f4")[targets]
        try:
            return class_ids(targets)
        except ValueError as error:
            raise ValueError(
                f"{error} Or learn from probabilities: compile with "
                "loss=keras.losses.CategoricalCrossentropy(from_logits=True)."
            ) from None

    def encode_ready_labels(self, y: Any) -> Any:
        """Turns labels that come with ready inputs or in a dataset into targets.

        Args:
            y: Labels in memory, or a symbolic tensor of them, which may be ragged.
        """
        if tf.executing_eagerly():
            return self.encode_targets(y)
        if isinstance(y, tf.RaggedTensor):
            y = y.to_tensor("")  # the name of no class
        has_rows = y.shape.rank == 2 and y.shape[1] != 1
        has_targets_of_all = self._takes_probabilities or (
            self._takes_probabilities is None and has_rows
        )
        width = 1 if self.is_score else len(self.labels)
        is_row = self.is_score or self.multi_label or has_targets_of_all
        dtype = tf.float32 if is_row else tf.int32

        def encode(y: np.ndarray) -> np.ndarray:
            rows: Any = y
            if self.multi_label and y.dtype.kind == "O" and y.ndim == 2:
                rows = [[name for name in row if name] for row in y.tolist()]
            return self.encode_targets(rows).astype(dtype.as_numpy_dtype)

        targets = tf.numpy_function(encode, [y], dtype)
        targets.set_shape((None, width) if is_row else (None,))
        return targets

    def encode_class_weight(self, class_weight: Any) -> np.ndarray:
        """Returns the weight of each class. *Shape:* (C,).

        Args:
            class_weight: A dict from names or ids to weights; other classes weigh 1.

        Raises:
            ValueError: If a class or weight is refused, or a text has no single class.
        """
        if self.is_score or self.multi_label:
            raise ValueError(
                "class_weight weighs a text by its one class, and this model learns "
                f"{'a score' if self.is_score else 'several labels a text'}: pass one weight a "
                "text as sample_weight, or a loss that weighs labels."
            )
        return encode_class_weight(class_weight, self.labels)

    def check_training_labels(self, examples: TextExamples) -> None:
        """Refuses labels that are all the same."""
        if self.multi_label:
            return
        y = examples.targets
        rows = y.argmax(axis=1) if y.ndim == 2 and not self.is_score else y.ravel()
        if len(np.unique(rows)) < 2 and not (y.ndim == 2 and y.max() < 1):
            what = f"score {rows[0]:g}" if self.is_score else f"label {self.labels[rows[0]]!r}"
            raise ValueError(
                f"All {len(y)} training examples have the {what}: a classifier needs examples of "
                "at least two."
            )

    def warn_before_fit(
        self, examples: TextExamples, batches: LengthBucketedBatches, num_batches: int
    ) -> None:
        """Says in the log what is likely to be wrong, such as classes with hardly an example."""
        super().warn_before_fit(examples, batches, num_batches)
        if not self.is_score:
            warn_of_labels(self._class_counts(examples), self.labels, len(examples))

    def warn_after_fit(self, held_out: TextExamples | None, history: Any) -> None:
        """Says in the log if the answers on held-out texts are no better than guesses."""
        accuracies = history.history.get("val_accuracy")
        if held_out is not None and accuracies and not self.is_score and not self.multi_label:
            warn_of_guessing(max(accuracies), self._class_counts(held_out), self.labels)

    def _class_counts(self, examples: TextExamples) -> np.ndarray:
        """Returns how many examples have each class, or how much of them if they have shares."""
        targets = examples.targets
        return (
            np.bincount(targets, minlength=len(self.labels))
            if targets.ndim == 1
            else targets.sum(0)
        )

    @property
    def knows_sentences(self) -> bool:  # type: ignore[override]
        """Whether the head reads the states of a sentence encoder, as they are."""
        return self.pooling != "pooler"

    def start_from_names(self, descriptions: Mapping[str, str] | None = None) -> None:
        """Makes a new head whose logits are the similarities of a text to the classes' names.

        Args:
            descriptions: Texts that say what classes mean, by their names.

        Raises:
            ValueError: If a description is for no class.
        """
        given = dict(descriptions or {})
        if unknown := sorted(given.keys() - set(self.labels)):
            raise ValueError(
                f"descriptions has {unknown[0]!r}, which is none of the labels {self.labels}: "
                "correct it."
            )
        texts = [given.get(label, f"This text is about {label}.") for label in self.labels]
        features = self._features_of(self.examples(texts))  # (C, H)
        lengths = np.linalg.norm(features, axis=1, keepdims=True)
        directions = features / lengths
        # What all have in common says nothing.
        kernel = (directions - directions.mean(axis=0)) * _SIMILARITY_SCALE / lengths.mean()
        self.head.set_weights([kernel.T, np.zeros(len(texts))])

    def start_head(self, examples: TextExamples) -> None:
        """Starts a head that was never trained from the one that suits the encoder as it is.

        A head is trained if it has biases. What a new one knows of the classes' names is kept, as
        far as the examples do not speak against it, see `training.linear_probe.fit_head`.

        Args:
            examples: Those to train on; of many, some are read.
        """
        kernel, bias = self.head.logits.kernel, self.head.logits.bias
        if not self.head.trainable or np.any(bias):
            return
        # They may be sorted by class.
        drawn = np.random.default_rng(0).permutation(len(examples))[:_MOST_PROBED]
        some = examples.take(drawn)
        targets = some.targets
        if targets.ndim == 1:
            targets = np.eye(len(self.labels))[targets]
        link: Link = "identity" if self.is_score else "sigmoid" if self.multi_label else "softmax"
        features, known = self._features_of(some), np.array(kernel)
        if self.knows_sentences and len(self.labels) > 1:
            length = np.linalg.norm(features, axis=1).mean()
            known *= _PRIOR_LENGTH / length / np.linalg.norm(known, axis=0).clip(1e-9)
        else:
            known[:] = 0
        weights = fit_head(
            features, targets, known, np.array(bias), link=link, sample_weight=some.sample_weight
        )
        self.head.set_weights(weights)

    def _features_of(self, examples: TextExamples) -> np.ndarray:
        """Computes what the head reads of each text, of windows their mean. *Shape:* (n, H)."""
        examples = replace(examples, targets=None, sample_weight=None)
        batches = self.batches_of(examples, batch_size=32)

        @tf.function(input_signature=batches.signature())
        def features(inputs: dict[str, Any]) -> Any:
            rows = self.features(inputs, training=False)
            if "num_windows" in inputs:
                rows = aggregate_windows(rows, inputs["num_windows"], "mean")
            return tf.cast(rows, tf.float32)

        rows = np.concatenate([features(inputs) for (inputs,) in batches.dataset()])
        return rows[np.argsort(np.concatenate(batches.order(0)))]

    # === Answers ===
    def _activation(self, logits: Any) -> Any:
        """Turns logits into probabilities; a score stays as it is."""
        if self.is_score:
            return logits
        activation = keras.ops.sigmoid if self.multi_label else keras.ops.softmax
        return activation(logits / self.temperature)

    def _activation_of_windows(self, logits: Any) -> Any:
        """Turns the logits of one text's windows, (W, C), into its probabilities, (1, C)."""
        aggregate = keras.ops.max if self.aggregation == "max" else keras.ops.mean
        return self._activation(aggregate(logits, axis=0, keepdims=True))

    def calibrate(self, texts: Any, labels: Any, batch_size: int = 32) -> Calibration:
        """Sets the temperature under which the labels of held-out texts are most likely.

        Answers, saved checkpoints and exports use it from then on. Training changes what fits: call
        this after the last `fit`.

        Args:
            texts: Held-out strings, or a tuple of two columns of strings.
            labels: One label a text.
            batch_size: B.

        Returns:
            The temperature, and the expected calibration error before and after.
        """
        if self.is_score:
            raise ValueError("A score has no probabilities to calibrate.")
        true_ids = self.encode_labels(labels)
        if not self.multi_label:
            true_ids = class_ids(true_ids)
        logits = self.predict(texts, batch_size, verbose=0)
        calibration = calibrate(logits, true_ids, multi_label=self.multi_label)
        self.temperature = calibration.temperature
        return calibration

    def probabilities(
        self, texts: Any, batch_size: int = 32, *, engine: str | Engine = "keras"
    ) -> np.ndarray:
        """Computes the probability of every class; of a model of one score, the score.

        Args:
            texts: Strings, or a tuple of two columns of strings.
            batch_size: B.
            engine: What computes them, see `predict`.

        Returns:
            float32. *Shape:* (number of texts, C).
        """
        logits = self.predict(texts, batch_size, verbose=0, engine=engine)
        return keras.ops.convert_to_numpy(self._activation(keras.ops.cast(logits, "float32")))

    def classify(
        self, texts: Any, batch_size: int = 32, *, engine: str | Engine = "keras"
    ) -> list[dict[str, float]]:
        """Returns the probability of every label by name, most probable first, for each text.

        Args:
            texts: Strings, or a tuple of two columns of strings.
            batch_size: B.
            engine: What computes them, see `predict`.
        """
        return [
            {self.labels[c]: float(row[c]) for c in np.argsort(-row, kind="stable")}
            for row in self.probabilities(texts, batch_size, engine=engine)
        ]

    def same_answers(self, wanted: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, float]:
        """Compares the labels of an engine with those of Keras; scores by a 20th of the largest."""
        theirs, ours = (np.asarray(self._activation(logits)) for logits in (wanted, found))
        gaps = np.abs(ours - theirs)
        if self.is_score:
            same = gaps[:, 0] <= 0.05 * max(1.0, np.abs(theirs).max())
        elif self.multi_label:
            same = ((ours > 0.5) == (theirs > 0.5)).all(axis=1)
        else:
            same = ours.argmax(axis=1) == theirs.argmax(axis=1)
        return same, float(gaps.max())

    def with_layers(self, layers: Sequence[int]) -> "BertClassifier":
        """Makes a smaller classifier of some of the encoder's blocks; see `keep_layers`.

        Args:
            layers: Numbers of the blocks to copy, counted from 0.

        Raises:
            ValueError: If `layers` is empty, or names a block that does not exist.
        """
        return self._with_encoder(keep_layers(self.encoder, layers))

    def with_heads(self, heads: Sequence[Sequence[int]] | np.ndarray) -> "BertClassifier":
        """Makes a smaller classifier of some of the encoder's attention heads; see `keep_heads`.

        Args:
            heads: For each block, the numbers of the heads to keep, counted from 0.

        Raises:
            ValueError: If there are no such heads, or another number of them in some block.

        Example:
            >>> importance = head_importance(model, texts, labels)
            >>> best = model.with_heads(np.argsort(-importance)[:, :1])  # of every block
        """
        return self._with_encoder(keep_heads(self.encoder, heads))

    def _with_encoder(self, encoder: BertEncoder) -> "BertClassifier":
        """Returns a classifier of the same class with another encoder, and all else as it is."""
        config = self.get_config()
        # It numbers the layers of this one.
        config.pop("state", None)
        other = type(self).from_config(
            {**config, "encoder": keras.saving.serialize_keras_object(encoder)}
        )
        other.tokenizer = self.tokenizer
        other.encoder.set_weights(encoder.get_weights())
        copy_state(self.head, other.head)
        other.head.set_weights(self.head.get_weights())
        return other

    # === Weights in and out ===
    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        path_or_hub_id: str | Path,
        labels: Sequence[str] | None = None,
        *,
        sequence_length: int | None = None,
        truncation: Truncation | None = None,
        window_stride: int | None = None,
        aggregation: Aggregation | None = None,
        multi_label: bool | None = None,
        pooling: Pooling | Literal["pooler"] | None = None,
        preprocessing: Iterable[Step] | None = None,
        dtype: Any = None,
    ) -> "BertClassifier":
        """Loads a checkpoint of Hugging Face `transformers`, or of google-research/bert.

        A trained head is loaded if the checkpoint has one with as many classes: `labels` puts its
        classes in another order or changes their names. With another number of labels the head is
        new, and a warning says so.

        Args:
            path_or_hub_id: A local folder or the name of weights that come with this package, for
                which no network is used, or the id of a model on the hub.
            labels: Names of the classes; by default the checkpoint's, or LABEL_0, LABEL_1, ... if
                it has none.
            sequence_length: See the class; by default what the checkpoint says.
            truncation: See the class; by default what the checkpoint says, with its
                `window_stride` and `aggregation`.
            window_stride: See the class.
            aggregation: See the class.
            multi_label: See the class; by default what the checkpoint says.
            pooling: What a new head reads, see the class; by default what the checkpoint was
                trained for: of sentence encoders their pooling, of others `"pooler"`.
            preprocessing: Steps that change texts before the tokenizer, see
                `text.preprocessing`; by default the checkpoint's.
            dtype: Dtype of the computation, such as `"mixed_bfloat16"`.

        Raises:
            FileNotFoundError: If the checkpoint or one of its files cannot be found.
            ValueError: If it is not BERT's, is damaged, does not fit its config or vocabulary, or
                has no head and no labels are given, or these give the name of one of its classes
                to another.
        """
        checkpoint = open_checkpoint(path_or_hub_id)
        # Heads for the tags of words have weights of the same names.
        kinds = checkpoint.settings(architectures=list).get("architectures", ())
        theirs = None if any("TokenClass" in str(kind) for kind in kinds) else checkpoint.labels
        if labels is None and theirs is None:
            raise ValueError(
                f"{checkpoint.folder} has no classification head: pass labels=, the class names."
            )
        labels = list(theirs or ()) if labels is None else class_names(labels)
        saved = checkpoint.settings(
            problem_type=str, sequence_length=int, truncation=str, window_stride=int,
            aggregation=str, pooling=str, temperature=float, privacy_spent=list,
        )  # fmt: skip
        problem = saved.get("problem_type")
        if problem == "regression" and theirs and len(theirs) > 1 and len(labels) == len(theirs):
            raise ValueError(
                f"{checkpoint.folder} has a head for {len(theirs)} scores at once, and "
                "BertClassifier learns one: give other labels for a new head."
            )
        if multi_label is None:
            multi_label = problem == "multi_label_classification"
        if truncation is None:  # the other two belong to it
            truncation = saved.get("truncation")
            window_stride = window_stride or saved.get("window_stride")
            aggregation = aggregation or saved.get("aggregation")
        changes = {} if preprocessing is None else {"preprocessing": preprocessing}
        order = checkpoint.match_labels(labels) if theirs else None
        if order is None:
            pooling = pooling or saved.get("pooling") or read_pooling(checkpoint.folder) or "pooler"
        elif pooling not in (None, saved.get("pooling", "pooler")):
            raise ValueError(
                f"{checkpoint.folder} has a head that was trained with pooling="
                f"{saved.get('pooling', 'pooler')!r}, received {pooling!r}: omit it."
            )
        else:
            pooling = saved.get("pooling", "pooler")
        model = cls._from_checkpoint(
            checkpoint,
            tokenizer=WordPieceTokenizer.from_directory(checkpoint.folder, **changes),
            head=() if order is None else _head_weights(pooling),
            order=order,
            labels=labels,
            pooling=pooling,
            sequence_length=sequence_length
            or saved.get("sequence_length")
            or max_length(checkpoint.folder, checkpoint.config.max_positions),
            truncation=truncation or "head",
            window_stride=window_stride,
            aggregation=aggregation or "mean",
            multi_label=multi_label,
            temperature=1.0 if order is None else saved.get("temperature", 1.0),
            privacy_spent=saved.get("privacy_spent", ()),
            dtype=dtype,
        )
        if order is None:
            new = "Newly initialized, to be trained: the head for %s."
            if model.knows_sentences and len(labels) > 1:
                model.start_from_names()
                new += " Until then, it compares texts with these names."
            logger.warning(new, ", ".join(labels))
        return model

    @classmethod
    def from_label_names(
        cls,
        labels: Sequence[str],
        path_or_hub_id: str | Path = "minilm",
        *,
        descriptions: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> "BertClassifier":
        """Makes a classifier that needs no examples: it compares texts with the names of classes.

        Names should say what a text is about, as "refund request" does, or have a description;
        where there are examples, `fit` goes on from there. Source: Yin et al. 2019, "Benchmarking
        Zero-shot Text Classification", with a sentence encoder's similarities.

        Args:
            labels: Names of the C classes, two or more.
            path_or_hub_id: Checkpoint of a sentence encoder, see `from_pretrained`.
            descriptions: For some or all labels, a text that says more than the name, such as one
                that could be of the class.
            **settings: Other arguments of `from_pretrained`.

        Raises:
            ValueError: If there are fewer than two labels, the checkpoint is no sentence encoder's,
                or a description is for no class.

        Example:
            >>> model = BertClassifier.from_label_names(["sports", "politics"])
            >>> model.classify(["The striker scored twice."])
            [{'sports': 0.9..., 'politics': 0.0...}]
        """
        model = cls.from_pretrained(path_or_hub_id, labels, **settings)
        if not model.knows_sentences or len(model.labels) < 2:
            raise ValueError(
                f"Label names need two labels or more and a sentence encoder, received "
                f"{model.labels} and {str(path_or_hub_id)!r} with pooling={model.pooling!r}: name "
                'another, such as "minilm".'
            )
        model.start_from_names(descriptions)
        return model

    def write_files(self, folder: Path) -> None:
        """Writes the files of `save_pretrained`, and says what `transformers` makes of them."""
        if self.knows_sentences:
            logger.warning(
                "transformers has no head that reads the %s of the states: of this checkpoint it "
                "loads the encoder, and a classifier of its own gets a new head.",
                self.pooling,
            )
        super().write_files(folder)

    def other_weights(self) -> tuple[Weight, ...]:
        """Returns the rows of the pooler and of the head."""
        return (*super().other_weights(), *_head_weights(self.pooling))

    def checkpoint_fields(self) -> dict[str, Any]:
        """Returns the classes, how texts are read and what was spent, as fields of config.json."""
        kind = "multi_label" if self.multi_label else "single_label"
        return {
            **super().checkpoint_fields(),
            **label_fields(self.labels),
            "problem_type": "regression" if self.is_score else f"{kind}_classification",
            "sequence_length": self.sequence_length,
            "truncation": self.truncation,
            "window_stride": self.window_stride,
            "aggregation": self.aggregation,
            "pooling": self.pooling,
            "temperature": self.temperature,
            "privacy_spent": self.privacy_spent,
        }

    def save_adapter(self, folder: str | Path) -> None:
        """Writes what was trained after `enable_lora`, the low-rank updates and the head.

        The library `peft` loads the folder, too, on top of `transformers`' model.

        Args:
            folder: Where to write: must not exist, or be empty.

        Raises:
            FileExistsError: If the folder is not empty.
            ValueError: If the encoder has no low-rank updates.
        """
        with new_folder(folder) as temporary:
            write_adapter(
                temporary,
                self,
                _head_weights(self.pooling),
                task_type="SEQ_CLS",
                labels=self.labels,
                temperature=self.temperature,
                privacy_spent=self.privacy_spent,
            )
            write_hashes(temporary)

    def load_adapter(self, folder: str | Path) -> None:
        """Loads what `save_adapter` has written for the same encoder, in place of any before it.

        Args:
            folder: The folder.

        Raises:
            FileNotFoundError: If the folder holds no adapters.
            ValueError: If they are of another encoder, of other labels, or damaged.
        """
        adapter = AdapterCheckpoint(folder)
        if adapter.fields.get("labels") != self.labels:
            raise ValueError(
                f"{folder} holds adapters for the labels {adapter.fields.get('labels')!r}, the "
                f"model has {self.labels!r}: make the model with those."
            )
        saved = adapter.settings(temperature=float, privacy_spent=list)
        spent = [*self.privacy_spent, *check_spent(saved.get("privacy_spent", ()))]
        adapter.load_adapter(self, _head_weights(self.pooling))
        self.temperature = saved.get("temperature", 1.0)
        self._continue_after(spent)
        # Functions that Keras has traced do not know of the new weights.
        self.train_function = self.test_function = self.predict_function = None

    def _signature(self, options: dict[str, Any]) -> ClassifierSignature:
        """Describes the classifier for its exports."""
        return ClassifierSignature(
            self,
            self.check_tokenizer(),
            self.probabilities,
            labels=self.labels,
            activation=self._activation,
            aggregation=self._activation_of_windows,
            sequence_length=self.sequence_length,
            truncation=self.truncation,
            window_stride=self.window_stride,
            is_score=self.is_score,
        )

    # === Config ===
    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "labels": self.labels,
            "truncation": self.truncation,
            "window_stride": self.window_stride,
            "aggregation": self.aggregation,
            "multi_label": self.multi_label,
            "pooling": self.pooling,
            "temperature": self.temperature,
            "privacy_spent": self.privacy_spent,
        }


def _head_weights(pooling: str) -> tuple[Weight, ...]:
    """Returns the rows of the head in the name table."""
    return CLASSIFIER if pooling == "pooler" else POOLED_CLASSIFIER


def _takes_probabilities(loss: Any) -> bool | None:
    """Returns whether a loss compares with the probabilities of all classes, or with ids.

    None for a loss that is not known: it gets what the user gives.
    """
    if not isinstance(loss, str | keras.losses.Loss) and not callable(loss):
        return None
    found = keras.losses.get(loss)
    if isinstance(found, keras.losses.Loss):
        is_known = isinstance(found, (*_OF_PROBABILITIES, *_OF_IDS))
        return isinstance(found, _OF_PROBABILITIES) if is_known else None
    return _FUNCTIONS.get(found)
