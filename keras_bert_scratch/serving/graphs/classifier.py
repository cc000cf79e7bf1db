"""The signature of classifiers: texts in, labels and probabilities out.

Axes: B batch, S sequence, H hidden, C classes.
"""

import dataclasses
import itertools
import types
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import tensorflow as tf

from keras_bert_scratch.serving.graphs.learning import check_trainable, learning
from keras_bert_scratch.serving.graphs.signature import (
    Functions,
    LiteGraph,
    Outputs,
    Signature,
    shared,
    strings,
)
from keras_bert_scratch.serving.packed import (
    ASSETS,
    LABELS,
    NAMES,
    encode_inputs,
    to_lines,
)
from keras_bert_scratch.text.columns import text_columns
from keras_bert_scratch.text.graphs.tokenizer_graph import tokenizer_graph
from keras_bert_scratch.text.statistics import vocabulary_statistics
from keras_bert_scratch.text.truncation import Truncation

# Least accepted share of held-out texts to which a LiteRT file gives the model's label.
_LEAST_AGREEMENT = {"float32": 0.99, "float16": 0.99, "int8": 0.99, "full_int8": 0.97}
# Few texts suffice to calibrate: more hardly change the activations' ranges, and take time.
_LEAST_TEXTS, _MOST_CALIBRATED, _MOST_HELD_OUT = 100, 200, 1000
_MOST_UNKNOWN = 0.1
_BATCH_SIZE = 32


@dataclasses.dataclass(frozen=True, eq=False)
class ClassifierSignature(Signature):
    """A classifier as its exports see it.

    The signatures of a SavedModel are

    - `serving_default`: `text`, string (B,) -> `label`, string (B,); `probabilities`, float32
      (B, C), or the score of a model of one; `classes`, string (B, C), the names that belong to
      them;
    - `pairs`: `text` and `pair`, string (B,) -> the same; only for `truncation="head"`;
    - `tokens`: `token_ids`, `segment_ids`, `padding_mask`, int32 (B, S) -> `logits` (B, C);
    - `embeddings`: `text`, string (B,) -> `pooled_output`, float32 (B, H), and `mean_output`,
      float32 (B, H), the mean of the sequence output over the text's tokens; of long texts, what
      `truncation` leaves, or with windows the head;
    - `classify`: `inputs`, string (B,), serialized `tf.train.Example`s with a feature `text` ->
      `classes`, string (B, C), and `scores`, float32 (B, C), as TensorFlow Serving's Classify API
      wants them.

    Beside the model, `assets.extra` holds `labels.txt`, and the requests with which TensorFlow
    Serving warms the model up.

    Attributes:
        labels: Names of the classes.
        activation: Turns logits into probabilities.
        aggregation: Turns the logits of one text's windows, (W, C), into its probabilities, (1, C).
        sequence_length: Tokens to which texts are truncated.
        truncation: Which tokens of a long text are read. With "windows", all windows of the B texts
            run at once, and the network aggregates them by the `num_windows` in its inputs.
        window_stride: Tokens from the start of a window to the start of the next.
        is_score: Whether the model gives one score instead of classes.
    """

    labels: Sequence[str]
    activation: Callable[[Any], Any]
    aggregation: Callable[[Any], Any]
    sequence_length: int
    truncation: Truncation = "head"
    window_stride: int | None = None
    is_score: bool = False

    task, output = "classifier", "probabilities"
    settings = ("sequence_length", "truncation", "window_stride")
    # Quantized activations were not calibrated on the probes' scripts: there the labels decide.
    largest_gaps = types.MappingProxyType({**Signature.largest_gaps, "full_int8": 1.0})

    # === SavedModel ===
    def functions(self) -> Functions:
        """Returns the functions of a SavedModel."""
        tokenize, logits_of = shared(self._tokenize), shared(self.compute)
        names = tf.constant(list(self.labels))

        def answer(*texts: tf.Tensor) -> Outputs:
            probabilities = self.activation(logits_of(tokenize(*texts)))
            return {
                "label": tf.gather(names, tf.argmax(probabilities, axis=-1)),
                "probabilities": probabilities,
                "classes": tf.repeat(names[tf.newaxis], tf.shape(probabilities)[0], axis=0),
            }

        def embeddings(text: tf.Tensor) -> Outputs:
            is_windows = self.truncation == "windows"
            return self._embed(
                self.graph(text, sequence_length=self.sequence_length)
                if is_windows
                else tokenize(text)
            )

        def classify(inputs: tf.Tensor) -> Outputs:
            features = {"text": tf.io.FixedLenFeature((), tf.string)}
            answers = answer(tf.io.parse_example(inputs, features)["text"])
            return {"classes": answers["classes"], "scores": answers["probabilities"]}

        functions: Functions = {
            "serving_default": (answer, strings("text")),
            "tokens": self.tokens(logits_of),
            "embeddings": (embeddings, strings("text")),
            "classify": (classify, strings("inputs")),
        }
        if self.truncation == "head":
            functions["pairs"] = (answer, strings("text", "pair"))
        return functions

    def _tokenize(self, *texts: tf.Tensor) -> dict[str, tf.Tensor]:
        return self.graph(
            *texts,
            sequence_length=self.sequence_length,
            truncation=self.truncation,
            window_stride=self.window_stride,
        )

    def _embed(self, inputs: dict[str, tf.Tensor]) -> Outputs:
        outputs = self.network.encoder(inputs, training=False)
        is_token = tf.cast(inputs["padding_mask"], tf.float32)[:, :, tf.newaxis]
        states = tf.cast(outputs["sequence_output"], tf.float32)
        return {
            "pooled_output": tf.cast(outputs["pooled_output"], tf.float32),
            "mean_output": tf.reduce_sum(states * is_token, 1) / tf.reduce_sum(is_token, 1),
        }

    def write_assets(self, folder: Path) -> None:
        """Writes the labels, and the requests with which TensorFlow Serving warms the model up."""
        extra = folder / ASSETS
        extra.mkdir()
        (extra / LABELS).write_text("\n".join(self.labels) + "\n", encoding="utf-8")
        with_pairs = self.truncation == "head"
        write_warmup_requests(extra / "tf_serving_warmup_requests", with_pairs=with_pairs)

    # === Files ===
    def check_reads_heads(self, format: str) -> None:
        """Refuses a format that reads the heads of texts only, if the model reads more."""
        if self.truncation != "head":
            raise ValueError(
                f"The format {format!r} reads the heads of long texts only, and this model has "
                f"truncation={self.truncation!r}: use 'tf_saved_model' or 'litert'."
            )

    def _check_one_row(self) -> None:
        """Refuses files that take code points if the model reads windows."""
        if self.truncation == "windows":
            raise ValueError(
                "inputs='code_points' makes one row of a text, and this model has "
                "truncation='windows': use inputs='ids', whose predictor does the rest in Python."
            )

    def of_code_points(  # type: ignore[override]
        self, code_points: tf.Tensor, pair: tf.Tensor | None = None, *, unrolled: bool = False
    ) -> Outputs:
        """See `Signature`; in a file of pairs, `pair` is the second text."""
        inputs = self.engine(unrolled=unrolled).inputs(
            code_points,
            pair,
            sequence_length=self.sequence_length,
            truncation=self.truncation,
        )
        return {self.output: self.of_ids(inputs)}

    def features_of(self, code_points: tf.Tensor) -> tf.Tensor:
        """Computes what the head reads of one text. *Shape:* (1, H)."""
        inputs = self.engine().inputs(
            code_points, sequence_length=self.sequence_length, truncation=self.truncation
        )
        return tf.cast(self.network.features(inputs, training=False), tf.float32)

    def check_pairs(self, inputs: str, pairs: bool) -> None:
        """Refuses files of pairs that take ids, which take both, or cannot be truncated so."""
        if pairs and (inputs != "code_points" or self.truncation != "head"):
            raise ValueError(
                "pairs=True is for inputs='code_points' and a model with truncation='head', "
                f"received inputs={inputs!r} and truncation={self.truncation!r}: a file that takes "
                "ids takes pairs, too."
            )

    @property
    def row_length(self) -> int:
        """Most tokens of a row of the network."""
        return self.sequence_length

    def of_ids(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """Computes the probabilities; the rows of a model of windows are those of one text."""
        is_windows = self.truncation == "windows"
        return (self.aggregation if is_windows else self.activation)(self.compute(inputs))

    def packed(self, **settings: Any) -> dict[str, str]:
        """Returns the texts that are packed in a file, by name."""
        return {LABELS: to_lines(self.labels), **super().packed(**settings)}

    def reading(self, **changes: Any) -> Self:
        """Returns a copy with another tokenizer or length, compared with the network there."""
        changed = dataclasses.replace(self, **changes)
        return dataclasses.replace(changed, expected=changed.answers)

    def answers(self, texts: Any) -> np.ndarray:
        """Computes the network's probabilities with this signature's tokenizer and length."""
        graph = tokenizer_graph(self.tokenizer, "fast")
        columns = [column for column in text_columns(texts) if column is not None]
        rows = []
        for start in range(0, len(columns[0]), _BATCH_SIZE):
            batch = [tf.constant(column[start : start + _BATCH_SIZE]) for column in columns]
            inputs = graph(*batch, sequence_length=self.sequence_length, truncation=self.truncation)
            rows.append(self.activation(self.compute(inputs)))
        return np.concatenate(rows)

    # === LiteRT ===
    def lite(
        self,
        precision: str,
        *,
        static_length: int | None = None,
        inputs: str = "ids",
        num_code_points: int | None = None,
        pairs: bool = False,
        trainable: str | None = None,
        texts: Any = None,
    ) -> LiteGraph:
        """Describes a LiteRT file.

        Args:
            precision: See `write_litert`; `"full_int8"` has the activations' ranges calibrated
                beforehand, for processors without floating point.
            static_length: S, for runtimes that want fixed shapes, with B = 1; by default B and S
                are free, and short texts cost less.
            inputs: See `Signature.lite`.
            num_code_points: See `Signature.lite`.
            pairs: Whether a file that takes code points takes two texts, `code_points` and `pair`,
                N of each.
            trainable: `"head"` for a file that learns from code points on the device, see
                `serving/graphs/learning.py`.
            texts: Texts like those that the model will read, or a tuple of two columns of them.
                Half of them calibrate `"full_int8"`; for the other half, the file must give the
                model's labels.

        Raises:
            ValueError: If an option is refused, or the texts are too few or not in the vocabulary's
                language.
        """
        self.check_inputs(inputs, num_code_points)
        self.check_pairs(inputs, pairs)
        self._check_options(precision, static_length, inputs)
        calibration, held_out = self.split_texts(texts, precision)
        read = self
        if static_length and static_length < self.sequence_length:
            # Not with the model's own answers: it reads more of a long text than this file.
            read = self.reading(sequence_length=static_length)
        if trainable is not None:
            check_trainable(self, trainable, inputs, pairs)
            graph = read.lite_of_code_points(num_code_points)
            return graph._replace(held_out=held_out, others=learning(read, graph.inputs))
        if inputs == "code_points":
            return read._lite_of_texts(num_code_points, pairs)._replace(held_out=held_out)
        shape = (None, None) if static_length is None else (1, static_length)
        return read.lite_of_ids(shape, inputs="ids")._replace(
            calibration=read.calibration(calibration, static_length), held_out=held_out
        )

    def _lite_of_texts(self, num_code_points: int | None, pairs: bool) -> LiteGraph:
        graph = self.lite_of_code_points(num_code_points)
        if not pairs:
            return graph
        (text,) = graph.inputs
        return graph._replace(
            inputs=[text, tf.TensorSpec(text.shape, text.dtype, name="pair")],
            files=self.packed(inputs="code_points", num_code_points=text.shape[1], pairs=True),
            probes=(graph.probes, graph.probes[::-1]),
        )

    def _check_options(self, precision: str, static_length: int | None, inputs: str) -> None:
        self.check_static_length(static_length)
        if inputs != "ids" and (static_length is not None or precision == "full_int8"):
            raise ValueError(
                f"inputs={inputs!r} has a dynamic length and no 'full_int8'; received "
                f"static_length={static_length} and precision={precision!r}: use inputs='ids'."
            )
        if inputs == "code_points":
            self._check_one_row()
        if self.truncation == "windows" and static_length is not None:
            raise ValueError(
                f"static_length={static_length} makes a file for one row, thus one window of a "
                "text, and this model has truncation='windows': omit static_length."
            )

    def check_static_length(self, static_length: int | None) -> None:
        """Refuses a static length that the model does not have."""
        if static_length is not None and not 3 <= static_length <= self.sequence_length:
            raise ValueError(
                "static_length must be between 3 and the sequence_length "
                f"{self.sequence_length}, received {static_length}."
            )

    def calibration(
        self, texts: Any, static_length: int | None, names: Mapping[str, str] = NAMES
    ) -> list[dict[str, np.ndarray]] | None:
        """Returns inputs that calibrate activations.

        Args:
            texts: Strings, a tuple of two columns of them, or None.
            static_length: S of the file, or None.
            names: Names of the inputs in the file.
        """
        if texts is None:
            return None
        columns = [column for column in text_columns(texts) if column is not None]
        rows = [*zip(*columns, strict=True)]
        # All have one length, since the converter keeps the first's.
        length = static_length or max(
            len(self.tokenizer.encode(*row, sequence_length=self.sequence_length).token_ids)
            for row in rows
        )
        inputs = (
            encode_inputs(self.tokenizer, *row, sequence_length=length, pad=True) for row in rows
        )
        return [{names[name]: row[name] for name in names} for row in inputs]

    # === A user's texts ===
    def split_texts(self, texts: Any, precision: str) -> tuple[Any, Any]:
        """Splits a user's texts into those that calibrate and those that are held out.

        Args:
            texts: Texts, a tuple of two columns, or None.
            precision: `"full_int8"` needs them.

        Returns:
            `(calibration, held_out)`; None where there are none.

        Raises:
            ValueError: If there are none but must be, or too few, or too many words are unknown.
        """
        if texts is None and precision != "full_int8":
            return None, None
        columns = [] if texts is None else [c for c in text_columns(texts) if c is not None]
        num_texts = len(columns[0]) if columns else 0
        if num_texts < _LEAST_TEXTS:
            raise ValueError(
                f"{precision!r} is {'calibrated and ' * (precision == 'full_int8')}checked on "
                f"texts such as the model will read: pass texts=, at least {_LEAST_TEXTS}; "
                f"received {num_texts}."
            )
        share = vocabulary_statistics(self.tokenizer, itertools.chain(*columns)).unknown_share
        if share > _MOST_UNKNOWN:
            raise ValueError(
                f"{share:.0%} of the pieces of texts are [UNK], more than "
                f"{_MOST_UNKNOWN:.0%}: they seem to be in another language than the model; pass "
                "texts such as it will read."
            )

        def take(start: int, most: int) -> Any:
            taken = [column[start::2][:most] for column in columns]
            return taken[0] if len(taken) == 1 else tuple(taken)

        calibration = take(0, _MOST_CALIBRATED) if precision == "full_int8" else None
        return calibration, take(1, _MOST_HELD_OUT)

    def check_labels(self, found: np.ndarray, wanted: np.ndarray, precision: str) -> None:
        """Refuses a file that gives too many held-out texts another label than the model.

        Args:
            found: The file's probabilities. *Shape:* (n, C).
            wanted: The model's probabilities. *Shape:* (n, C).
            precision: Decides how many are too many.
        """
        pairs = list(zip(wanted.argmax(axis=-1), found.argmax(axis=-1), strict=True))
        agreement = float(np.mean([was == now for was, now in pairs]))
        if agreement < _LEAST_AGREEMENT[precision]:
            flips = Counter(
                (self.labels[was], self.labels[now]) for was, now in pairs if was != now
            )
            lost = "; ".join(
                f"{n} from {was!r} to {now!r}" for (was, now), n in flips.most_common(5)
            )
            raise RuntimeError(
                f"With precision={precision!r} the file gives the model's label to only "
                f"{agreement:.1%} of {len(pairs)} held-out texts, fewer than "
                f"{_LEAST_AGREEMENT[precision]:.0%}: it changed {lost}, and probabilities by up to "
                f"{np.abs(found - wanted).max():.2g}. Nothing was written: use precision='int8', a "
                "quarter of the size, too, or 'float16'."
            )


def write_warmup_requests(path: Path, *, with_pairs: bool = True) -> None:
    """Writes requests of one short and one long text to every signature that takes texts.

    TensorFlow Serving reads `assets.extra/tf_serving_warmup_requests`, a TFRecord file of
    `PredictionLog` messages, and sends these requests to a model before any other
    (https://www.tensorflow.org/tfx/serving/saved_model_warmup).

    Args:
        path: The file.
        with_pairs: Whether there is a signature for pairs.
    """
    from tensorflow_serving.apis import prediction_log_pb2

    texts = ["a film to remember", "one word after another " * 200]
    with tf.io.TFRecordWriter(str(path)) as records:
        for signature, inputs in (
            ("serving_default", ("text",)),
            *([("pairs", ("text", "pair"))] if with_pairs else []),
            ("embeddings", ("text",)),
        ):
            log = prediction_log_pb2.PredictionLog()
            request = log.predict_log.request
            request.model_spec.signature_name = signature
            for name in inputs:
                request.inputs[name].CopyFrom(tf.make_tensor_proto(texts))
            records.write(log.SerializeToString())
        log = prediction_log_pb2.PredictionLog()
        request = log.classify_log.request
        request.model_spec.signature_name = "classify"
        for text in texts:
            example = request.input.example_list.examples.add()
            example.features.feature["text"].bytes_list.value.append(text.encode())
        records.write(log.SerializeToString())
