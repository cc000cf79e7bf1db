"""Export to LiteRT (TFLite) for phones: ids or a text in, probabilities out.

Axes: B batch, S sequence, C classes.
"""

import contextlib
import hashlib
import itertools
import json
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import flatbuffers
import keras
import numpy as np
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

from keras_bert_scratch.files import new_file
from keras_bert_scratch.serving.parity import check_artifact
from keras_bert_scratch.serving.predictor import (
    INPUTS,
    MODEL_HASH,
    encode_inputs,
    load_predictor,
)
from keras_bert_scratch.serving.saved_model import require_tensorflow, save_signatures
from keras_bert_scratch.text.columns import text_columns
from keras_bert_scratch.text.graphs.tokenizer_graph import tokenizer_graph
from keras_bert_scratch.text.statistics import vocabulary_statistics
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.truncation import Truncation

Precision = Literal["float32", "float16", "int8", "full_int8"]

# Largest accepted difference of a probability between the file and the model. Texts of all scripts
# are asked about, which quantized activations were not calibrated on: there the labels decide.
_LARGEST_GAP = {"float32": 1e-5, "float16": 1e-2, "int8": 0.25, "full_int8": 1.0}
# Least accepted share of held-out texts to which the file gives the model's label.
_LEAST_AGREEMENT = {"float32": 0.99, "float16": 0.99, "int8": 0.99, "full_int8": 0.97}

# A tenth of the activations' extremes is known from so few texts; more add little but time.
_LEAST_TEXTS, _MOST_CALIBRATED, _MOST_HELD_OUT = 100, 200, 1000
_MOST_UNKNOWN = 0.1
_BATCH_SIZE = 32


def export_litert(
    network: keras.Model,
    tokenizer: WordPieceTokenizer,
    labels: Sequence[str],
    path: str | Path,
    *,
    activation: Callable[[Any], Any],
    sequence_length: int,
    expected: Callable[[Any], Any],
    precision: Precision = "float32",
    static_length: int | None = None,
    inputs: Literal["ids", "text"] = "ids",
    texts: Any = None,
    truncation: Truncation = "head",
    window_stride: int | None = None,
) -> None:
    """Writes a classifier as one LiteRT file, with its vocabulary and labels packed in.

    The signature `serving_default` takes `token_ids`, `segment_ids` and `padding_mask`, int32
    (B, S), or `text`, string (1,), and returns `probabilities`, float32 (B, C). Behind the model
    the file is a zip archive (as MediaPipe's are) of `labels.txt` and `tokenizer_config.json`, so
    it is complete by itself.

    Before the file appears, it is loaded in a fresh process and compared.

    Args:
        network: Maps a dict of ids to logits.
        tokenizer: Of the network.
        labels: Names of the classes.
        path: The file to write.
        activation: Turns logits into probabilities.
        sequence_length: Tokens to which texts are truncated.
        expected: Gives the probabilities that the file must give for some texts.
        precision: `"float32"`; `"float16"` weights; `"int8"` weights with activations quantized on
            the fly (dynamic range), a quarter of the size; or `"full_int8"`, the activations'
            ranges calibrated beforehand, for processors without floating point.
        static_length: S, for runtimes that want fixed shapes, with B = 1; by default B and S are
            free, and short texts cost less.
        inputs: `"ids"` of built-in operations only, for any interpreter; or `"text"`, which
            tokenizes in the file and needs an interpreter with tensorflow-text's operations.
        texts: Texts such as the model will read, or a tuple of two columns of them: half of them
            calibrate `"full_int8"`, and the file must give the model's labels to the other half.
        truncation: What is read of long texts. With "windows", the rows of the file's inputs are
            the windows of one text, and `activation` makes one row of their logits.
        window_stride: From the start of a window to the start of the next.

    Raises:
        ValueError: If an option is refused, or the texts are too few or not in the vocabulary's
            language.
        RuntimeError: If Keras runs on another backend, the file needs operations that it should
            not, or its probabilities or labels differ from the model's.
    """
    require_tensorflow()
    check_options(precision, static_length, sequence_length)
    if inputs not in ("ids", "text"):
        raise ValueError(f"inputs must be 'ids' or 'text', received {inputs!r}.")
    if inputs == "text" and (static_length is not None or precision == "full_int8"):
        raise ValueError(
            f"inputs='text' has a dynamic length and no 'full_int8'; received static_length="
            f"{static_length} and precision={precision!r}: use inputs='ids'."
        )
    if inputs == "text" and truncation != "head":
        raise ValueError(
            f"inputs='text' reads the head of a text, and this model has truncation="
            f"{truncation!r}: use inputs='ids', whose predictor does the rest in Python."
        )
    if truncation == "windows" and static_length is not None:
        raise ValueError(
            f"static_length={static_length} makes a file for one row, thus one window of a text, "
            "and this model has truncation='windows': leave static_length out."
        )
    calibration, held_out = split_texts(texts, tokenizer, precision)
    width = static_length or sequence_length
    if width < sequence_length:
        # The model reads more of a long text than this file.
        expected = answers(network, activation, tokenizer, width, truncation)
    if inputs == "ids":
        model = convert(
            network,
            activation,
            names={name: name for name in INPUTS},
            static_length=static_length,
            precision=precision,
            calibration=calibration_inputs(tokenizer, calibration, width, static_length),
        )
        custom_operations: Collection[str] = ()
    else:
        from keras_bert_scratch.text.graphs.phone_engine import OPERATIONS, PhoneEngine

        engine = PhoneEngine(tokenizer)
        model = _convert_text(network, activation, engine, tokenizer, width, precision)
        custom_operations = OPERATIONS
    settings = {
        "sequence_length": width,
        "truncation": truncation,
        "window_stride": window_stride,
        "tokenizer": tokenizer.get_config(),
        "inputs": inputs,
    }
    write_litert(
        path,
        model,
        {
            "labels.txt": lines_of_labels(labels),
            "tokenizer_config.json": json.dumps(settings, ensure_ascii=False),
        },
        expected=expected,
        precision=precision,
        held_out=held_out,
        custom_operations=custom_operations,
    )


# === Options ===
def check_options(precision: str, static_length: int | None, sequence_length: int) -> None:
    """Refuses an unknown precision, and a static length that the model does not have."""
    if precision not in _LARGEST_GAP:
        raise ValueError(
            f"precision must be one of {', '.join(_LARGEST_GAP)}; received {precision!r}."
        )
    if static_length is not None and not 3 <= static_length <= sequence_length:
        raise ValueError(
            f"static_length must be between 3 and the sequence_length {sequence_length}, received "
            f"{static_length}."
        )


def lines_of_labels(labels: Sequence[str]) -> str:
    """Writes one label a line.

    Raises:
        ValueError: If a label is not a line.
    """
    for label in labels:
        if label.splitlines() != [label]:
            raise ValueError(
                f"A LiteRT file holds one label a line, and {label!r} is not one line: rename it."
            )
    return "".join(f"{label}\n" for label in labels)


def split_texts(texts: Any, tokenizer: WordPieceTokenizer, precision: str) -> tuple[Any, Any]:
    """Splits a user's texts into those that calibrate and those that are held out.

    Args:
        texts: Texts, a tuple of two columns, or None.
        tokenizer: Tells whether they are of its vocabulary's language.
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
            f"{precision!r} is {'calibrated and ' * (precision == 'full_int8')}checked on texts "
            f"such as the model will read: pass texts=, at least {_LEAST_TEXTS}; received "
            f"{num_texts}."
        )
    share = vocabulary_statistics(tokenizer, itertools.chain(*columns)).unknown_share
    if share > _MOST_UNKNOWN:
        raise ValueError(
            f"{share:.0%} of the pieces of texts are [UNK], more than "
            f"{_MOST_UNKNOWN:.0%}: they seem to be in another language than the model; pass texts "
            "such as it will read."
        )

    def take(start: int, most: int) -> Any:
        taken = [column[start::2][:most] for column in columns]
        return taken[0] if len(taken) == 1 else tuple(taken)

    calibration = take(0, _MOST_CALIBRATED) if precision == "full_int8" else None
    return calibration, take(1, _MOST_HELD_OUT)


def calibration_inputs(
    tokenizer: WordPieceTokenizer, texts: Any, sequence_length: int, static_length: int | None
) -> list[dict[str, np.ndarray]] | None:
    """Tokenizes the texts that calibrate, all to one length: the converter keeps the first's."""
    if texts is None:
        return None
    first, second = text_columns(texts)
    columns = (first,) if second is None else (first, second)
    longest = static_length or max(
        len(tokenizer.encode(*text, sequence_length=sequence_length).token_ids)
        for text in zip(*columns, strict=True)
    )
    return [
        encode_inputs(tokenizer, *text, sequence_length=longest, pad=True)
        for text in zip(*columns, strict=True)
    ]


def answers(
    network: keras.Model,
    activation: Callable[[Any], Any],
    tokenizer: WordPieceTokenizer,
    sequence_length: int,
    truncation: Truncation = "head",
) -> Callable[[Any], np.ndarray]:
    """Returns a function that gives a network's probabilities for texts of another length.

    Args:
        network: Maps a dict of ids to logits.
        activation: Turns logits into probabilities.
        tokenizer: Makes the ids.
        sequence_length: Tokens to which texts are truncated.
        truncation: Which tokens of a long text stay.
    """
    graph = tokenizer_graph(tokenizer, "fast")

    def probabilities(texts: Any) -> np.ndarray:
        columns = [column for column in text_columns(texts) if column is not None]
        rows = []
        for start in range(0, len(columns[0]), _BATCH_SIZE):
            batch = [tf.constant(column[start : start + _BATCH_SIZE]) for column in columns]
            inputs = graph(*batch, sequence_length=sequence_length, truncation=truncation)
            rows.append(activation(tf.cast(network(inputs, training=False), tf.float32)))
        return np.concatenate(rows)

    return probabilities


# === Conversion ===
def convert(
    network: keras.Model,
    activation: Callable[[Any], Any],
    *,
    names: Mapping[str, str],
    output: str = "probabilities",
    static_length: int | None,
    precision: str,
    calibration: Sequence[Mapping[str, np.ndarray]] | None,
) -> schema.ModelT:
    """Converts a network that takes ids.

    Args:
        network: Maps a dict of ids to logits.
        activation: Turns logits into probabilities.
        names: What the inputs `token_ids`, `segment_ids` and `padding_mask` are called, in order.
        output: What the result is called.
        static_length: S with B = 1, or None for any B and S.
        precision: See `export_litert`.
        calibration: Inputs by their names here, for `"full_int8"`.
    """
    shape = (None, None) if static_length is None else (1, static_length)

    def answer(*values: tf.Tensor) -> dict[str, tf.Tensor]:
        inputs = dict(zip(names, values, strict=True))
        return {output: activation(tf.cast(network(inputs, training=False), tf.float32))}

    signature = [tf.TensorSpec(shape, tf.int32, name=name) for name in names.values()]
    return convert_function(
        answer,
        signature,
        [],
        precision,
        calibration and [{names[name]: row[name] for name in names} for row in calibration],
    )


def _convert_text(
    network: keras.Model,
    activation: Callable[[Any], Any],
    engine: Any,
    tokenizer: WordPieceTokenizer,
    sequence_length: int,
    precision: str,
) -> schema.ModelT:
    """Converts a network together with its tokenizer."""
    cls, sep = (
        [token_id] for token_id in (tokenizer.vocabulary.cls_id, tokenizer.vocabulary.sep_id)
    )

    def probabilities(text: tf.Tensor) -> dict[str, tf.Tensor]:
        token_ids = tf.concat([cls, engine(text)[: sequence_length - 2], sep], 0)[tf.newaxis]
        inputs = {
            "token_ids": token_ids,
            "segment_ids": tf.zeros_like(token_ids),
            "padding_mask": tf.ones_like(token_ids),
        }
        return {"probabilities": activation(tf.cast(network(inputs, training=False), tf.float32))}

    signature = [tf.TensorSpec((1,), tf.string, name="text")]
    return convert_function(probabilities, signature, [engine], precision, None)


def convert_function(
    function: Callable[..., dict[str, tf.Tensor]],
    signature: list[tf.TensorSpec],
    resources: list[tf.Module],
    precision: str,
    calibration: Sequence[Mapping[str, np.ndarray]] | None,
) -> schema.ModelT:
    """Converts a function to the object form of LiteRT's schema, its tensors named.

    Args:
        function: Returns its outputs by name.
        signature: Its inputs, with their names.
        resources: What holds the tables that the function uses.
        precision: See `export_litert`.
        calibration: Inputs by name, for `"full_int8"`.
    """
    with tempfile.TemporaryDirectory() as saved_model:
        # By way of a SavedModel: a converter given the live model writes variable handles.
        with _forms_for_litert(precision):
            save_signatures(saved_model, {"serving_default": (function, signature)}, resources)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            saved_model, signature_keys=["serving_default"]
        )
        # Whatever is not built in is refused later, by name.
        converter.allow_custom_ops = True
        if precision != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if precision == "full_int8":
            converter.representative_dataset = lambda: iter(calibration or ())
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        model = schema.ModelT.InitFromPackedBuf(converter.convert())
    # The converter calls its tensors serving_default_token_ids:0 and StatefulPartitionedCall:0.
    for entry in model.signatureDefs:
        for named in (*entry.inputs, *entry.outputs):
            tensor = model.subgraphs[entry.subgraphIndex].tensors[named.tensorIndex]
            tensor.name = named.name
    return model


@contextlib.contextmanager
def _forms_for_litert(precision: str) -> Iterator[None]:
    """Lets layers compute the same in forms that LiteRT computes faster and more exactly."""

    def dense(layer: keras.layers.Dense, x: Any, training: bool | None = None) -> Any:
        # Keras' matmul is a tensordot: where B and S are free, its reshapes to two axes and back
        # are a hundred small operations, and cut the graph into pieces.
        x = tf.matmul(x, layer.kernel)
        return layer.activation(x if layer.bias is None else x + layer.bias)

    def norm(layer: keras.layers.LayerNormalization, x: Any) -> Any:
        # Keras' form, the scale first and then both products, has one pass over x more.
        x = tf.cast(x, tf.float32)
        centred = x - tf.reduce_mean(x, axis=-1, keepdims=True)
        variance = tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)
        x = centred * tf.math.rsqrt(variance + layer.epsilon) * layer.gamma
        return tf.cast(x if layer.beta is None else x + layer.beta, layer.compute_dtype)

    def embedding(layer: keras.layers.Embedding, ids: Any) -> Any:
        # A table has one scale in LiteRT, by its largest value, in which most rows would lose all
        # but a few steps. Rows of largest value 1 lose nothing; nor do their own scales, as
        # multiples of a 127th of the largest.
        with tf.init_scope():
            table = keras.ops.convert_to_numpy(layer.embeddings)
        largest = np.abs(table).max(axis=1, keepdims=True)
        step = max(largest.max(), np.finfo("float32").tiny) / 127
        scales = (step * np.maximum(np.ceil(largest / step), 1)).astype("float32")  # (V, 1)
        rows = tf.gather(tf.constant(table / scales), ids) * tf.gather(tf.constant(scales), ids)
        return tf.cast(rows, layer.compute_dtype)

    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(keras.layers.Dense, "call", dense))
        stack.enter_context(mock.patch.object(keras.layers.LayerNormalization, "call", norm))
        if precision in ("int8", "full_int8"):
            stack.enter_context(mock.patch.object(keras.layers.Embedding, "call", embedding))
        yield


# === Writing ===
class _AlignedBuffer(schema.BufferT):
    """A buffer that starts at a multiple of 16 bytes, as the schema demands of writers."""

    def Pack(self, builder: flatbuffers.Builder) -> int:  # noqa: N802
        if self.data is not None:
            builder.Prep(16, len(self.data))
        return super().Pack(builder)


def _pack(model: schema.ModelT) -> bytes:
    """Writes the object form of a LiteRT file as bytes."""
    for buffer in model.buffers:
        buffer.__class__ = _AlignedBuffer
    size = sum(len(buffer.data) for buffer in model.buffers if buffer.data is not None)
    builder = flatbuffers.Builder(size + (1 << 20))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def write_litert(
    path: str | Path,
    model: schema.ModelT,
    packed: Mapping[str, str],
    *,
    expected: Callable[[Any], Any],
    precision: str,
    held_out: Any,
    custom_operations: Collection[str] = (),
) -> None:
    """Writes a model and the files packed behind it, and compares it before it appears.

    Args:
        path: The file to write.
        model: The model.
        packed: Names and contents of the files.
        expected: Gives the probabilities that the file must give for some texts.
        precision: See `export_litert`.
        held_out: Texts to which the file must give the model's labels, or None.
        custom_operations: Those that the file may need.

    Raises:
        RuntimeError: If the file needs other operations, or answers otherwise.
    """

    def check(temporary: Path) -> None:
        check_artifact(temporary, expected, largest_gap=_LARGEST_GAP[precision])
        if held_out is not None:
            _check_labels(
                load_predictor(temporary).probabilities(held_out),
                np.asarray(expected(held_out)),
                packed["labels.txt"].splitlines(),
                precision,
            )

    write_packed(path, model, packed, check, custom_operations)


def write_packed(
    path: str | Path,
    model: schema.ModelT,
    packed: Mapping[str, str],
    check: Callable[[Path], Any],
    custom_operations: Collection[str] = (),
) -> None:
    """Writes a model and the files packed behind it; the file appears once it passed the checks.

    Args:
        path: The file to write.
        model: The model.
        packed: Names and contents of the files.
        check: Raises an error if the file, under its temporary name, answers wrongly.
        custom_operations: Those that the file may need.

    Raises:
        RuntimeError: If the file needs other operations.
    """
    with new_file(path) as temporary:
        flatbuffer = _pack(model)
        temporary.write_bytes(flatbuffer)
        packed = {**packed, MODEL_HASH: hashlib.sha256(flatbuffer).hexdigest()}
        # Stored, not compressed: MediaPipe reads the files where they lie.
        with zipfile.ZipFile(temporary, "a") as archive:
            for name, content in packed.items():
                archive.writestr(name, content)
        check_operations(temporary, custom_operations)
        check(temporary)


def _check_labels(
    found: np.ndarray, wanted: np.ndarray, labels: Sequence[str], precision: str
) -> None:
    """Refuses a file that gives too many texts another most probable label than the model."""
    pairs = list(zip(wanted.argmax(axis=-1), found.argmax(axis=-1), strict=True))
    agreement = float(np.mean([was == now for was, now in pairs]))
    if agreement < _LEAST_AGREEMENT[precision]:
        flips = Counter((labels[was], labels[now]) for was, now in pairs if was != now)
        lost = "; ".join(f"{n} from {was!r} to {now!r}" for (was, now), n in flips.most_common(5))
        raise RuntimeError(
            f"With precision={precision!r} the file gives the model's label to only "
            f"{agreement:.1%} of {len(pairs)} held-out texts, fewer than "
            f"{_LEAST_AGREEMENT[precision]:.0%}: it changed {lost}, and probabilities by up to "
            f"{np.abs(found - wanted).max():.2g}. Nothing was written: use precision='int8', a "
            "quarter of the size, too, or 'float16'."
        )


def check_operations(path: str | Path, custom_operations: Collection[str] = ()) -> None:
    """Refuses a LiteRT file that a plain interpreter could not run, or would run wrongly.

    Args:
        path: The file.
        custom_operations: Those that the interpreter is given.

    Raises:
        RuntimeError: If it holds TensorFlow ("Flex") or other custom operations, or variable
            handles, which are read before anything is written to them.
    """
    # The schema comes with TensorFlow; an interpreter would stop at the first foreign operation.
    model = schema.ModelT.InitFromPackedBuf(Path(path).read_bytes())
    foreign = set()
    for operator in model.operatorCodes:
        if operator.builtinCode == schema.BuiltinOperator.CUSTOM:
            foreign.add(operator.customCode.decode())
        elif operator.builtinCode == schema.BuiltinOperator.VAR_HANDLE:
            foreign.add("VAR_HANDLE")
    foreign -= set(custom_operations)
    if foreign:
        raise RuntimeError(
            f"{path} needs operations that LiteRT lacks: {', '.join(sorted(foreign))}."
        )
