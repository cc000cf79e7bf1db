"""ONNX files: ids or code points in, a task's output out.

Axes: B batch, S sequence, N code points.
"""

import contextlib
import functools
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import tensorflow as tf

from keras_bert_scratch.extras import installation
from keras_bert_scratch.serving.graphs.classifier import ClassifierSignature
from keras_bert_scratch.serving.graphs.signature import Check, Signature
from keras_bert_scratch.serving.packed import MODEL_HASH, SETTINGS


def write_onnx(
    signature: Signature,
    path: Path,
    *,
    inputs: str = "ids",
    pairs: bool = False,
    opset_version: int | None = None,
) -> Check:
    """Writes an ONNX file, with the vocabulary and the task's settings in its metadata.

    It takes `token_ids`, `segment_ids` and `padding_mask`, int32 (B, S), B and S free, and returns
    the output of the task's LiteRT file, which its class describes. With `inputs="code_points"` it
    takes `code_points`, int32 (1, N), N free, the Unicode code points of one text, and tokenizes it
    with ONNX's own operations, without loops; for pairs of a classifier there is a second input,
    `pair`, and a question answerer takes three texts.

    Args:
        signature: The task.
        path: The file to write.
        inputs: `"ids"` or `"code_points"`.
        pairs: Whether a classifier's file that takes code points takes two texts.
        opset_version: Version of ONNX's operations; by default tf2onnx's.

    Raises:
        ValueError: If a classifier reads more of long texts than their heads, or an option is
            refused.
        ImportError: If tf2onnx, onnx or onnxruntime is not installed.
    """
    signature.check_inputs(inputs, None)
    labels = {}
    if isinstance(signature, ClassifierSignature):
        signature.check_reads_heads("onnx")
        signature.check_pairs(inputs, pairs)
        labels["labels"] = json.dumps(list(signature.labels), ensure_ascii=False)
    elif pairs:
        raise ValueError(f"pairs=True is for classifiers, received a {signature.task}.")
    try:
        import onnx
        import onnxruntime  # noqa: F401  The file is compared there.
        import tf2onnx
    except ImportError as error:
        raise ImportError(
            f"Exporting to ONNX needs packages that are not installed ({error}): "
            f"{installation('onnx')}."
        ) from error

    if inputs == "ids":
        graph = signature.lite_of_ids()
        function, specs = graph.function, graph.inputs
    else:
        function = functools.partial(signature.of_code_points, unrolled=True)
        names = ("code_points", "pair") if pairs else signature.texts
        specs = [tf.TensorSpec((1, None), tf.int32, name=name) for name in names]
    with _reshapes_kept():
        exported, _ = tf2onnx.convert.from_function(
            tf.function(function, autograph=False), input_signature=specs, opset=opset_version
        )
    for value in exported.graph.input:
        batch, length = value.type.tensor_type.shape.dim
        if inputs == "ids":
            batch.dim_param, length.dim_param = "batch", "sequence"
        else:
            length.dim_param = value.name
    if inputs == "ids":
        exported.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    settings = signature.packed(inputs=inputs, pairs=pairs)[SETTINGS]
    onnx.helper.set_model_props(exported, {**labels, "tokenizer_config": settings})
    onnx.save(exported, path)
    # To append a message to another is to add its fields.
    digest = onnx.ModelProto()
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    onnx.helper.set_model_props(digest, {MODEL_HASH: sha256})
    with path.open("ab") as file:
        file.write(digest.SerializeToString())
    probes = (signature.probes, signature.probes[::-1]) if pairs else None
    return Check(signature.expected, probes=probes)


@contextlib.contextmanager
def _reshapes_kept() -> Iterator[None]:
    """Keeps tf2onnx 1.17 from dropping a reshape whose sizes the next one copies."""
    from tf2onnx.optimizer import back_to_back_optimizer

    with mock.patch.dict(back_to_back_optimizer._func_map):
        del back_to_back_optimizer._func_map[("Reshape",)]
        yield
