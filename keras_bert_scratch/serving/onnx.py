"""ONNX files: ids in, probabilities out.

Axes: B batch, S sequence, C classes.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import keras

from keras_bert_scratch.extras import installation
from keras_bert_scratch.serving.graphs.classifier import ClassifierSignature
from keras_bert_scratch.serving.graphs.signature import Check
from keras_bert_scratch.serving.packed import INPUTS, MODEL_HASH


def write_onnx(
    signature: ClassifierSignature, path: Path, *, opset_version: int | None = None
) -> Check:
    """Writes a classifier as an ONNX file, with its vocabulary and labels in the metadata.

    It takes `token_ids`, `segment_ids` and `padding_mask`, int32 (B, S), B and S free, and returns
    `probabilities`, float32 (B, C). `OnnxPredictor` gives it texts.

    Args:
        signature: The classifier.
        path: The file to write.
        opset_version: Version of ONNX's operations; by default tf2onnx's.

    Raises:
        ValueError: If the model reads more of long texts than their heads.
        ImportError: If tf2onnx, onnx or onnxruntime is not installed.
    """
    signature.check_reads_heads("onnx")
    try:
        import onnx
        import onnxruntime  # noqa: F401  The file is compared there.
        import tf2onnx  # noqa: F401  Keras' exporter needs it.
    except ImportError as error:
        raise ImportError(
            f"Exporting to ONNX needs packages that are not installed ({error}): "
            f"{installation('onnx')}."
        ) from error

    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in INPUTS}
    logits = keras.ops.cast(signature.network(inputs, training=False), "float32")
    model = keras.Model(inputs, {"probabilities": signature.activation(logits)})
    with _reshapes_kept():
        model.export(
            str(path),
            format="onnx",
            verbose=False,
            # Without a signature, the exporter wants a model that has been called.
            input_signature=[
                {name: keras.InputSpec("int32", (None, None), name=name) for name in INPUTS}
            ],
            opset_version=opset_version,
        )
    exported = onnx.load(path)
    for value in (*exported.graph.input, *exported.graph.output):
        axes = value.type.tensor_type.shape.dim
        axes[0].dim_param = "batch"
        if value.name in INPUTS:
            axes[1].dim_param = "sequence"
    settings = {
        "sequence_length": signature.sequence_length,
        "tokenizer": signature.tokenizer.get_config(),
    }
    onnx.helper.set_model_props(
        exported,
        {
            "labels": json.dumps(list(signature.labels), ensure_ascii=False),
            "tokenizer_config": json.dumps(settings, ensure_ascii=False),
        },
    )
    onnx.save(exported, path)
    # To append a message to another is to add its fields.
    digest = onnx.ModelProto()
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    onnx.helper.set_model_props(digest, {MODEL_HASH: sha256})
    with path.open("ab") as file:
        file.write(digest.SerializeToString())
    return Check(signature.expected)


@contextlib.contextmanager
def _reshapes_kept() -> Iterator[None]:
    """Keeps tf2onnx 1.17 from dropping a reshape whose sizes the next one copies."""
    from tf2onnx.optimizer import back_to_back_optimizer

    with mock.patch.dict(back_to_back_optimizer._func_map):
        del back_to_back_optimizer._func_map[("Reshape",)]
        yield
