"""Export to LiteRT (TFLite) for phones: ids in, probabilities out, built-in operations only.

Axes: B batch, S sequence, C classes.
"""

import json
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import keras
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

from keras_bert_scratch.files import new_file
from keras_bert_scratch.serving.parity import check_artifact
from keras_bert_scratch.serving.saved_model import require_tensorflow
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer

Precision = Literal["float32", "float16", "int8"]

# Largest accepted difference of a probability between the file and the model.
_LARGEST_GAP = {"float32": 1e-5, "float16": 1e-2, "int8": 0.25}


def export_litert(
    network: keras.Model,
    tokenizer: WordPieceTokenizer,
    labels: Sequence[str],
    path: str | Path,
    *,
    activation: Callable[[Any], Any],
    sequence_length: int,
    expected: Callable[[list[str]], Any],
    precision: Precision = "float32",
    static_length: int | None = None,
) -> None:
    """Writes a classifier as one LiteRT file, with its vocabulary and labels packed in.

    The signature `serving_default` takes `token_ids`, `segment_ids` and `padding_mask`, int32
    (B, S), and returns `probabilities`, float32 (B, C). Behind the model the file is a zip archive
    (as MediaPipe's are) of `labels.txt` and `tokenizer_config.json`, so it is complete by itself.

    Before the file appears, it is loaded in a fresh process and compared.

    Args:
        network: Maps a dict of ids to logits.
        tokenizer: Of the network.
        labels: Names of the classes.
        path: The file to write.
        activation: Turns logits into probabilities.
        sequence_length: Tokens to which texts are truncated.
        expected: Gives the probabilities that the file must give for some texts.
        precision: `"float32"`; `"float16"` weights; or `"int8"` weights with activations quantized
            on the fly (dynamic range), a quarter of the size.
        static_length: S, for runtimes that want fixed shapes, with B = 1; by default B and S are
            free, and short texts cost less.

    Raises:
        ValueError: If the precision is unknown, or `static_length` is not within
            `sequence_length`.
        RuntimeError: If Keras runs on another backend, the file needs operations that LiteRT's
            built-in ones are not, or its probabilities differ from the model's.
    """
    require_tensorflow()
    if precision not in _LARGEST_GAP:
        raise ValueError(
            f"precision must be one of {', '.join(_LARGEST_GAP)}; received {precision!r}."
        )
    if static_length is not None and not 3 <= static_length <= sequence_length:
        raise ValueError(
            f"static_length must be between 3 and the sequence_length {sequence_length}, received "
            f"{static_length}."
        )

    def probabilities(token_ids: Any, segment_ids: Any, padding_mask: Any) -> dict[str, tf.Tensor]:
        inputs = {
            "token_ids": token_ids,
            "segment_ids": segment_ids,
            "padding_mask": padding_mask,
        }
        return {"probabilities": activation(tf.cast(network(inputs, training=False), tf.float32))}

    shape = (None, None) if static_length is None else (1, static_length)
    signature = [
        tf.TensorSpec(shape, tf.int32, name=name)
        for name in ("token_ids", "segment_ids", "padding_mask")
    ]
    archive = keras.export.ExportArchive()
    archive.track(network)
    archive.add_endpoint("serving_default", probabilities, signature)
    with tempfile.TemporaryDirectory() as saved_model:
        # By way of a SavedModel: a converter given the live model writes variable handles.
        archive.write_out(saved_model, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            saved_model, signature_keys=["serving_default"]
        )
        if precision != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "float16":
            converter.target_spec.supported_types = [tf.float16]
        model = converter.convert()

    packed = {
        "sequence_length": static_length or sequence_length,
        "tokenizer": tokenizer.get_config(),
    }
    with new_file(path) as temporary:
        temporary.write_bytes(model)
        with zipfile.ZipFile(temporary, "a", zipfile.ZIP_DEFLATED) as archive_file:
            archive_file.writestr("labels.txt", "\n".join(labels) + "\n")
            archive_file.writestr("tokenizer_config.json", json.dumps(packed, ensure_ascii=False))
        check_operations(temporary)
        check_artifact(temporary, expected, largest_gap=_LARGEST_GAP[precision])


def check_operations(path: str | Path) -> None:
    """Refuses a LiteRT file that a plain interpreter could not run, or would run wrongly.

    Args:
        path: The file.

    Raises:
        RuntimeError: If it holds TensorFlow ("Flex") or custom operations, or variable handles,
            which are read before anything is written to them.
    """
    # The schema comes with TensorFlow; an interpreter would stop at the first foreign operation.
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
