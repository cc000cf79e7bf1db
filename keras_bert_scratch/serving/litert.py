"""LiteRT (TFLite) files for phones: ids or code points in, a task's output out.

Axes: B batch, S sequence, V vocabulary.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import flatbuffers
import keras
import numpy as np
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

from keras_bert_scratch.serving.graphs.signature import Check, LiteGraph, Signature
from keras_bert_scratch.serving.packed import pack
from keras_bert_scratch.serving.saved_model import save_functions


def write_litert(
    signature: Signature, path: Path, *, precision: str = "float32", **options: Any
) -> Check:
    """Writes a LiteRT file, with the vocabulary and the task's settings packed in.

    Its signature `serving_default` takes `token_ids`, `segment_ids` and `padding_mask`, int32
    (B, S); or, for an app that has no tokenizer, `code_points`, int32 (1, N), the Unicode code
    points of one text filled up with zeros. Behind the model the file is a zip archive (as
    MediaPipe's are), so that it is complete by itself.

    Args:
        signature: The task, whose class describes the output.
        path: The file to write.
        precision: `"float32"`; `"float16"` weights; or `"int8"` weights with activations quantized
            on the fly (dynamic range), a quarter of the size; `"full_int8"` for classifiers; and
            for summarizers `"float32"` only.
        **options: Options of the task, see `Signature.lite` and `ClassifierSignature.lite`.

    Raises:
        ValueError: If an option is refused.
        RuntimeError: If the file needs operations that LiteRT lacks.
    """
    check_precision(signature, precision)
    if options.get("trainable") is not None and signature.task != "classifier":
        raise ValueError(
            f"trainable={options['trainable']!r} is for classifiers, received a "
            f"{signature.task.replace('_', ' ')}: fine-tune it in Keras, and export it without."
        )
    graph = signature.lite(precision, **options)
    pack(path, to_bytes(convert(graph, precision)), graph.files)
    check_operations(path)
    return Check(graph.expected, precision, graph.held_out, graph.probes)


def check_precision(signature: Signature, precision: str) -> None:
    """Refuses a precision that files of the task do not have."""
    if precision not in signature.largest_gaps:
        raise ValueError(
            f"precision must be one of {', '.join(signature.largest_gaps)}; received {precision!r}."
        )


# === Conversion ===
def convert(graph: LiteGraph, precision: str) -> schema.ModelT:
    """Converts a function to the object form of LiteRT's schema, its tensors named.

    Args:
        graph: The function and its inputs.
        precision: See `write_litert`.
    """
    with tempfile.TemporaryDirectory() as saved_model:
        # By way of a SavedModel: a converter given the live model writes variable handles.
        with _forms_for_litert(precision):
            functions = {"serving_default": (graph.function, graph.inputs), **graph.others}
            save_functions(saved_model, functions)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            saved_model, signature_keys=[*functions]
        )
        # Operations that are not built in are refused later, by name.
        converter.allow_custom_ops = True
        if precision != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if precision == "full_int8":
            converter.representative_dataset = lambda: iter(graph.calibration or ())
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        model = schema.ModelT.InitFromPackedBuf(converter.convert())
    _share_buffers(model)
    # The converter calls its tensors serving_default_token_ids:0 and StatefulPartitionedCall:0.
    for entry in model.signatureDefs:
        for named in (*entry.inputs, *entry.outputs):
            tensor = model.subgraphs[entry.subgraphIndex].tensors[named.tensorIndex]
            tensor.name = named.name
    return model


def _share_buffers(model: schema.ModelT) -> None:
    """Stores once what several signatures hold, such as the weights."""
    first: dict[bytes, int] = {}
    shared: dict[int, int] = {}
    for number, buffer in enumerate(model.buffers):
        if buffer.data is not None and len(buffer.data):
            shared[number] = first.setdefault(bytes(buffer.data), number)
    for subgraph in model.subgraphs:
        for tensor in subgraph.tensors:
            tensor.buffer = shared.get(tensor.buffer, tensor.buffer)
    kept = {tensor.buffer for subgraph in model.subgraphs for tensor in subgraph.tensors}
    for number, other in shared.items():
        if number != other and number not in kept:
            model.buffers[number].data = None


@contextlib.contextmanager
def _forms_for_litert(precision: str) -> Iterator[None]:
    """Gives layers equivalent forms that LiteRT computes faster and more exactly."""

    def dense(layer: keras.layers.Dense, x: Any, training: bool | None = None) -> Any:
        # Keras' matmul is a tensordot: where B and S are free, its reshapes to two axes and back
        # are a hundred small operations, and cut the graph into pieces.
        x = tf.matmul(x, layer.kernel)
        return layer.activation(x if layer.bias is None else x + layer.bias)

    def norm(layer: keras.layers.LayerNormalization, x: Any) -> Any:
        # Keras' form, the scale first and then both products, has one pass over x more. Gamma and
        # beta of one axis would be folded by the converter into the dense layers behind, whose int8
        # weights would then share scales that suit few of them.
        x = tf.cast(x, tf.float32)
        centred = x - tf.reduce_mean(x, axis=-1, keepdims=True)
        variance = tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)
        x = centred * tf.math.rsqrt(variance + layer.epsilon) * layer.gamma[None]
        return tf.cast(x if layer.beta is None else x + layer.beta[None], layer.compute_dtype)

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


def to_bytes(model: schema.ModelT) -> bytes:
    """Writes the object form of a LiteRT file as bytes."""
    for buffer in model.buffers:
        buffer.__class__ = _AlignedBuffer
    size = sum(len(buffer.data) for buffer in model.buffers if buffer.data is not None)
    builder = flatbuffers.Builder(size + (1 << 20))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def check_operations(path: str | Path) -> None:
    """Refuses a LiteRT file that a plain interpreter could not run, or would run wrongly.

    Args:
        path: The file.

    Raises:
        RuntimeError: If the file has TensorFlow operations ("Flex"), other custom operations, or
            variable handles, which are read before anything is written to them.
    """
    # An interpreter would stop at the first unknown operation; the schema lists all of them.
    model = schema.ModelT.InitFromPackedBuf(Path(path).read_bytes())
    foreign = set()
    for operator in model.operatorCodes:
        if operator.builtinCode == schema.BuiltinOperator.CUSTOM:
            foreign.add(operator.customCode.decode())
        elif operator.builtinCode == schema.BuiltinOperator.VAR_HANDLE:
            foreign.add("VAR_HANDLE")
    if foreign:
        raise RuntimeError(
            f"{path} needs operations that LiteRT lacks: {', '.join(sorted(foreign))}."
        )
