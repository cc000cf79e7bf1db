"""Export to ONNX, for those who serve there: ids in, probabilities out.

Axes: B batch, S sequence, C classes.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import keras

from keras_bert_scratch.files import new_file
from keras_bert_scratch.serving.parity import check_artifact
from keras_bert_scratch.serving.predictor import INPUTS, MODEL_HASH
from keras_bert_scratch.serving.saved_model import require_tensorflow
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer


def export_onnx(
    network: keras.Model,
    tokenizer: WordPieceTokenizer,
    labels: Sequence[str],
    path: str | Path,
    *,
    activation: Callable[[Any], Any],
    sequence_length: int,
    expected: Callable[[Any], Any],
    opset_version: int | None = None,
) -> None:
    """Writes a classifier as one ONNX file, with its vocabulary and labels in the metadata.

    It takes `token_ids`, `segment_ids` and `padding_mask`, int32 (B, S), B and S free, and returns
    `probabilities`, float32 (B, C). `OnnxPredictor` gives it texts.

    Before the file appears, ONNX Runtime loads it in a fresh process, and it is compared.

    Args:
        network: Maps a dict of ids to logits.
        tokenizer: Of the network.
        labels: Names of the classes.
        path: The file to write.
        activation: Turns logits into probabilities.
        sequence_length: Tokens to which texts are truncated.
        expected: Gives the probabilities that the file must give for some texts.
        opset_version: Version of ONNX's operations; by default tf2onnx's.

    Raises:
        ValueError: If the file's name does not end in .onnx.
        ImportError: If tf2onnx, onnx or onnxruntime is not installed.
        RuntimeError: If Keras runs on another backend, or the file's probabilities differ.
    """
    require_tensorflow()
    if Path(path).suffix != ".onnx":
        raise ValueError(f"An ONNX file is known by its name: {path} must end in .onnx.")
    try:
        import onnx
        import onnxruntime  # noqa: F401  The file is compared there.
        import tf2onnx  # noqa: F401  Keras' exporter needs it.
    except ImportError as error:
        raise ImportError(
            f"Exporting to ONNX needs packages that are not installed ({error}): "
            'pip install "keras_bert_scratch[onnx]".'
        ) from error

    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in INPUTS}
    logits = keras.ops.cast(network(inputs, training=False), "float32")
    model = keras.Model(inputs, {"probabilities": activation(logits)})
    # Without a signature, the exporter asks for a model that has been called.
    signature = {name: keras.InputSpec("int32", (None, None), name=name) for name in INPUTS}
    with new_file(path) as temporary:
        with _reshapes_kept():
            model.export(
                str(temporary),
                format="onnx",
                verbose=False,
                input_signature=[signature],
                opset_version=opset_version,
            )
        exported = onnx.load(temporary)
        for value in (*exported.graph.input, *exported.graph.output):
            axes = value.type.tensor_type.shape.dim
            axes[0].dim_param = "batch"
            if value.name in INPUTS:
                axes[1].dim_param = "sequence"
        settings = {"sequence_length": sequence_length, "tokenizer": tokenizer.get_config()}
        onnx.helper.set_model_props(
            exported,
            {
                "labels": json.dumps(list(labels), ensure_ascii=False),
                "tokenizer_config": json.dumps(settings, ensure_ascii=False),
            },
        )
        onnx.save(exported, temporary)
        # To append a message to another is to add its fields.
        digest = onnx.ModelProto()
        sha256 = hashlib.sha256(temporary.read_bytes()).hexdigest()
        onnx.helper.set_model_props(digest, {MODEL_HASH: sha256})
        with temporary.open("ab") as file:
            file.write(digest.SerializeToString())
        check_artifact(temporary, expected, largest_gap=1e-5)


@contextlib.contextmanager
def _reshapes_kept() -> Iterator[None]:
    """Keeps tf2onnx 1.17 from dropping a reshape whose sizes the next one copies."""
    from tf2onnx.optimizer import back_to_back_optimizer

    with mock.patch.dict(back_to_back_optimizer._func_map):
        del back_to_back_optimizer._func_map[("Reshape",)]
        yield
