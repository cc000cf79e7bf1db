"""Export for MediaPipe: a LiteRT file whose metadata tells phones and browsers how to use it.

MediaPipe Tasks read the inputs' meaning, the tokenizer and the labels from a flatbuffer inside the
file, and vocabulary and labels from a zip archive behind it, so that `TextClassifier` runs the file
as it is in Python, Android, iOS and JavaScript.

Axes: B batch, S sequence, C classes.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import keras
import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from keras_bert_scratch.serving.litert import (
    Precision,
    answers,
    calibration_inputs,
    check_options,
    convert,
    lines_of_labels,
    split_texts,
    write_litert,
)
from keras_bert_scratch.serving.predictor import MEDIAPIPE_NAMES
from keras_bert_scratch.serving.saved_model import require_tensorflow
from keras_bert_scratch.text.columns import text_columns
from keras_bert_scratch.text.statistics import phone_differences
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer

logger = logging.getLogger(__name__)

# From mediapipe/tasks/metadata/metadata_schema.fbs, which no package brings without MediaPipe: the
# numbers of what is used here. A field's number is its place in its table, a union taking two.
_AXIS_LABELS, _VOCABULARY = 2, 5  # AssociatedFileType
_BERT_TOKENIZER = 4  # ProcessUnitOptions
_LEAST_PARSER = "1.1.0"  # The first that knows BertTokenizerOptions.


def export_mediapipe(
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
    texts: Any = None,
) -> None:
    """Writes a classifier as one LiteRT file that MediaPipe's TextClassifier runs as it is.

    It takes `ids`, `mask` and `segment_ids`, int32 (1, S), and returns `probabilities`, float32
    (1, C). MediaPipe tokenizes by rules of its own: it lower-cases ASCII letters only and strips no
    accents. Where the model was trained with others, a warning tells the share of `texts` that the
    phone will read otherwise; a tokenizer with `normalization="mediapipe"` trains for the phone.

    Before the file appears, it is loaded in a fresh process, and given what the phone's tokenizer
    makes of texts.

    Args:
        network: Maps a dict of ids to logits.
        tokenizer: Of the network.
        labels: Names of the classes.
        path: The file to write.
        activation: Turns logits into probabilities.
        sequence_length: Tokens to which texts are truncated.
        expected: Gives the probabilities that the model gives for some texts.
        precision: See `export_litert`.
        static_length: S, by default `sequence_length`; every text costs as much as S tokens.
        texts: Texts such as the model will read, see `export_litert`.

    Raises:
        ValueError: If an option is refused, or the texts are too few, pairs, or not in the
            vocabulary's language.
        RuntimeError: If Keras runs on another backend, or the file's probabilities or labels differ
            from the model's.
    """
    require_tensorflow()
    check_options(precision, static_length, sequence_length)
    if texts is not None and text_columns(texts)[1] is not None:
        raise ValueError("MediaPipe's TextClassifier takes one text, not a pair: pass one column.")
    length = static_length or sequence_length
    phone = WordPieceTokenizer(tokenizer.vocabulary, normalization="mediapipe")
    calibration, held_out = split_texts(texts, tokenizer, precision)
    _tell_differences(tokenizer, texts)

    model = convert(
        network,
        activation,
        names=MEDIAPIPE_NAMES,
        static_length=length,
        precision=precision,
        calibration=calibration_inputs(phone, calibration, length, length),
    )
    graph = model.subgraphs[0]
    inputs, outputs = (
        [graph.tensors[index].name for index in indices]
        for indices in (graph.inputs, graph.outputs)
    )
    _add_metadata(model, text_classifier_metadata(inputs, outputs))
    write_litert(
        path,
        model,
        {
            "vocab.txt": "".join(f"{token}\n" for token in tokenizer.vocabulary.tokens),
            "labels.txt": lines_of_labels(labels),
        },
        expected=answers(network, activation, phone, length),
        precision=precision,
        held_out=held_out,
    )


def _tell_differences(tokenizer: WordPieceTokenizer, texts: Any) -> None:
    """Warns if the phone reads texts otherwise than the model was trained to."""
    if tokenizer.normalization == "mediapipe" and not tokenizer.preprocessing:
        return
    if texts is None:
        logger.warning(
            "MediaPipe lower-cases ASCII letters only, keeps accents and does no preprocessing, so "
            "it may tokenize a text otherwise than this model's tokenizer: pass texts= to learn "
            "how many."
        )
        return
    differences = phone_differences(tokenizer, text_columns(texts)[0])
    if differences.num_different:
        logger.warning(
            "MediaPipe tokenizes %d of %d texts (%.1f %%) otherwise than this model's tokenizer, "
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
