"""LiteRT files for MediaPipe: metadata tell phones and browsers how to use the file.

MediaPipe Tasks read the meaning of the inputs, the tokenizer and the labels from a flatbuffer
inside the file, and vocabulary and labels from a zip archive behind it. `TextClassifier` runs the
file unchanged in Python, Android, iOS and JavaScript.

Axes: B batch, S sequence, C classes.
"""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from keras_bert_scratch.serving.graphs.classifier import ClassifierSignature
from keras_bert_scratch.serving.graphs.signature import Check
from keras_bert_scratch.serving.litert import (
    check_operations,
    check_precision,
    convert,
    to_bytes,
)
from keras_bert_scratch.serving.packed import LABELS, MEDIAPIPE_NAMES, VOCABULARY, pack
from keras_bert_scratch.text.columns import text_columns
from keras_bert_scratch.text.statistics import phone_differences
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer

logger = logging.getLogger(__name__)

# Numbers from mediapipe/tasks/metadata/metadata_schema.fbs, which only MediaPipe's package has. The
# number of a field is its position in its table, where a union takes two.
_AXIS_LABELS, _VOCABULARY = 2, 5  # AssociatedFileType
_BERT_TOKENIZER = 4  # ProcessUnitOptions
_LEAST_PARSER = "1.1.0"  # The first that knows BertTokenizerOptions.


def write_mediapipe(
    signature: ClassifierSignature,
    path: Path,
    *,
    precision: str = "float32",
    static_length: int | None = None,
    texts: Any = None,
) -> Check:
    """Writes a classifier as a LiteRT file that MediaPipe's TextClassifier runs unchanged.

    It takes `ids`, `mask` and `segment_ids`, int32 (1, S), and returns `probabilities`, float32
    (1, C). MediaPipe has its own tokenizer: it lower-cases ASCII letters only and strips no
    accents. If the model was trained with another, a warning tells the share of `texts` that the
    phone tokenizes differently; a tokenizer with `normalization="mediapipe"` trains for the phone.

    File and model are compared on the tokens of the phone's tokenizer.

    Args:
        signature: The classifier.
        path: The file to write.
        precision: See `write_litert`.
        static_length: S, by default the model's sequence length; every text costs as much as S
            tokens.
        texts: Texts like those that the model will read, see `ClassifierSignature.lite`.

    Raises:
        ValueError: If an option is refused, or the texts are too few, pairs, or not in the
            vocabulary's language.
    """
    if signature.is_score:
        raise ValueError(
            "MediaPipe's text classifier gives classes, and this model a score: use 'litert'."
        )
    signature.check_reads_heads("mediapipe")
    check_precision(signature, precision)
    signature.check_static_length(static_length)
    if texts is not None and text_columns(texts)[1] is not None:
        raise ValueError("MediaPipe's TextClassifier takes one text, not a pair: pass one column.")
    tokenizer = signature.tokenizer
    calibration, held_out = signature.split_texts(texts, precision)
    _tell_differences(tokenizer, texts)
    length = static_length or signature.sequence_length
    phone = signature.reading(
        tokenizer=WordPieceTokenizer(tokenizer.vocabulary, normalization="mediapipe"),
        sequence_length=length,
    )
    graph = phone.lite_of_ids((1, length), MEDIAPIPE_NAMES)
    graph = graph._replace(calibration=phone.calibration(calibration, length, MEDIAPIPE_NAMES))
    model = convert(graph, precision)
    tensors = model.subgraphs[0].tensors
    inputs, outputs = (
        [tensors[index].name for index in indices]
        for indices in (model.subgraphs[0].inputs, model.subgraphs[0].outputs)
    )
    _add_metadata(model, text_classifier_metadata(inputs, outputs))
    vocabulary = "".join(f"{token}\n" for token in tokenizer.vocabulary.tokens)
    pack(path, to_bytes(model), {VOCABULARY: vocabulary, LABELS: graph.files[LABELS]})
    check_operations(path)
    return Check(phone.expected, precision, held_out)


def _tell_differences(tokenizer: WordPieceTokenizer, texts: Any) -> None:
    """Warns if the phone tokenizes texts differently from the model's tokenizer."""
    if tokenizer.normalization == "mediapipe" and not tokenizer.preprocessing:
        return
    if texts is None:
        logger.warning(
            "MediaPipe lower-cases ASCII letters only, keeps accents and does no preprocessing, so "
            "it may tokenize a text differently from this model's tokenizer: pass texts= to "
            "learn how often."
        )
        return
    differences = phone_differences(tokenizer, text_columns(texts)[0])
    if differences.num_different:
        logger.warning(
            "MediaPipe tokenizes %d of %d texts (%.1f %%) differently from this model's tokenizer, "
            'such as %r: train with a tokenizer of normalization="mediapipe" if that is too many.',
            differences.num_different,
            differences.num_texts,
            100 * differences.num_different / differences.num_texts,
            differences.examples[0],
        )


def text_classifier_metadata(inputs: Iterable[str], outputs: Iterable[str]) -> bytes:
    """Writes the metadata of a text classifier with BERT's tokenizer.

    Args:
        inputs: Names of the model's inputs, in order.
        outputs: Names of its outputs, in order.

    Returns:
        A flatbuffer of the table ModelMetadata in metadata_schema.fbs.
    """
    builder = flatbuffers.Builder()

    def table(fields: dict[int, tuple[str, Any]]) -> int:
        builder.StartObject(max(fields) + 1)
        for number, (kind, value) in fields.items():
            if kind == "offset":
                builder.PrependUOffsetTRelativeSlot(number, value, 0)
            else:
                builder.PrependInt8Slot(number, value, 0)
        return builder.EndObject()

    def text(value: str) -> tuple[str, int]:
        return "offset", builder.CreateString(value)

    def tables(offsets: Iterable[int]) -> tuple[str, int]:
        offsets = list(offsets)
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return "offset", builder.EndVector()

    def file(name: str, kind: int) -> int:
        # AssociatedFile: name, description, type
        return table({0: text(name), 2: ("byte", kind)})

    def tensor(name: str, files: Iterable[int]) -> int:
        # TensorMetadata: name, ..., associated_files
        return table({0: text(name), 6: tables(files)})

    options = table({0: tables([file("vocab.txt", _VOCABULARY)])})  # BertTokenizerOptions
    tokenizer = table({0: ("byte", _BERT_TOKENIZER), 1: ("offset", options)})  # ProcessUnit
    subgraph = table(
        {
            2: tables([tensor(name, []) for name in inputs]),  # input_tensor_metadata
            3: tables(
                [tensor(name, [file("labels.txt", _AXIS_LABELS)]) for name in outputs]
            ),  # output_tensor_metadata
            5: tables([tokenizer]),  # input_process_units
        }
    )
    # ModelMetadata: name, ..., subgraph_metadata, ..., min_parser_version
    builder.Finish(
        table({0: text("BERT text classifier"), 3: tables([subgraph]), 7: text(_LEAST_PARSER)}),
        b"M001",
    )
    return bytes(builder.Output())


def _add_metadata(model: schema.ModelT, content: bytes) -> None:
    """Puts the metadata into a model, under the name by which readers look for it."""
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(content, np.uint8)
    entry.name, entry.buffer = "TFLITE_METADATA", len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or ()), entry]
