"""The file format of exports: what is packed, under which names and with which hashes.

Writers and readers import it; it needs neither TensorFlow nor Keras.

- A SavedModel has files of its task in `assets.extra`, and `hashes.json` beside the model.
- A LiteRT file is a model and a zip archive behind it, as MediaPipe's are: labels, the tokenizer's
  config with the task's settings, and the sha256 of the model.
- An ONNX file has the same in its metadata.

Axes: B batch, S sequence, W windows.
"""

import hashlib
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from keras_bert_scratch.files import LARGEST_TEXT
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.truncation import Truncation, check_truncation

# The inputs of a network that takes ids, in order.
INPUTS = ("token_ids", "segment_ids", "padding_mask")
# Their names in a file, and in one for MediaPipe.
NAMES = {name: name for name in INPUTS}
MEDIAPIPE_NAMES = {"token_ids": "ids", "segment_ids": "segment_ids", "padding_mask": "mask"}

# The output of an engine's file that holds what the network computes: logits, or embeddings.
RAW = "raw"

# Files beside the model of a SavedModel, and behind that of a LiteRT file.
ASSETS = "assets.extra"
SPAN_SETTINGS = "span_settings.json"
LABELS = "labels.txt"
COLUMNS = "columns.json"
VOCABULARY = "vocab.txt"
SETTINGS = "tokenizer_config.json"
# The name of the sha256 of a model within its file, and the bytes of this entry in an ONNX file.
MODEL_HASH = "model.sha256"
ONNX_HASH_BYTES = 82

# The record at the end of a zip archive, and the pointer to a longer one that may precede it.
_END_OF_ARCHIVE = 22 + 20
_LARGEST_LIST = 10_000
# Errors that reading a damaged export may raise.
READ_ERRORS = (
    OSError,
    EOFError,
    LookupError,
    TypeError,
    ValueError,
    RuntimeError,
    zipfile.BadZipFile,
)


# === Texts ===
def to_lines(labels: Sequence[str]) -> str:
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


def from_lines(text: str) -> list[str]:
    """Splits at line feeds alone: tokens and labels may hold other separators."""
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]


def pack(path: Path, model: bytes, files: Mapping[str, str]) -> None:
    """Writes a LiteRT model, and texts behind it as a zip archive.

    Args:
        path: The file to write.
        model: The model.
        files: The texts by name.
    """
    path.write_bytes(model)
    # Stored, not compressed: MediaPipe reads the files where they lie.
    with zipfile.ZipFile(path, "a") as archive:
        for name, content in {**files, MODEL_HASH: hashlib.sha256(model).hexdigest()}.items():
            archive.writestr(name, content)


def unpack(path: str | Path) -> dict[str, str]:
    """Reads the texts that `pack` wrote.

    Args:
        path: The file.

    Returns:
        The texts by name.

    Raises:
        ValueError: If there is no archive, it is compressed or too large, a text is not UTF-8, or
            the model is not the one that was written.
    """
    with open(path, "rb") as file:
        file.seek(-min(_END_OF_ARCHIVE, os.path.getsize(path)), os.SEEK_END)
        end = file.read()
    # Checked before zipfile makes an object of every entry that the archive claims to hold.
    listed = int.from_bytes(end[-10:-6], "little")
    if end[:4] == b"PK\x06\x07" or end[-22:-18] != b"PK\x05\x06" or listed > _LARGEST_LIST:
        raise ValueError(
            f"it does not end with a zip archive whose list of files has at most {_LARGEST_LIST} "
            f"bytes, received {listed}"
        )
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        # Stored, as MediaPipe wants them, they are no larger than what holds them.
        compressed = [entry.filename for entry in entries if entry.compress_type]
        size = sum(entry.file_size for entry in entries)
        if compressed or size > LARGEST_TEXT:
            raise ValueError(
                f"it packs {len(entries)} files of {size} bytes, {len(compressed)} of them "
                f"compressed; they must be stored as they are, in at most {LARGEST_TEXT} bytes"
            )
        files = {entry.filename: archive.read(entry).decode() for entry in entries}
    if MODEL_HASH in files:
        check_model(path, min(entry.header_offset for entry in entries), files[MODEL_HASH])
    return files


def check_model(path: str | Path, size: int, sha256: str, way_out: str = "") -> None:
    """Refuses a file whose first `size` bytes are not those that were written.

    Raises:
        ValueError: If they are others.
    """
    with open(path, "rb") as file:
        if hashlib.sha256(file.read(size)).hexdigest() != sha256:
            raise ValueError(f"its model has changed since it was written: restore it{way_out}")


# === Inputs ===
def encode_code_points(text: str, size: int | None = None) -> np.ndarray:
    """Turns a text into its Unicode code points.

    Args:
        text: The text.
        size: N, filled up with zeros; by default the length of the text.

    Returns:
        int32. *Shape:* (1, N)

    Example:
        >>> encode_code_points("a\N{GRINNING FACE}", 4)
        array([[    97, 128512,      0,      0]], dtype=int32)
    """
    code_points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<i4")
    row = np.zeros((1, len(code_points) if size is None else size), np.int32)
    row[0, : len(code_points)] = code_points
    return row


def encode_inputs(
    tokenizer: WordPieceTokenizer,
    text: str,
    pair: str | None = None,
    *,
    sequence_length: int,
    truncation: Truncation = "head",
    window_stride: int | None = None,
    pad: bool = False,
) -> dict[str, np.ndarray]:
    """Tokenizes one text, or a pair, without TensorFlow.

    Args:
        tokenizer: The tokenizer.
        text: The text.
        pair: The second text.
        sequence_length: Tokens to which the texts are truncated.
        truncation: Which tokens of a long text are read.
        window_stride: Tokens from the start of a window to the start of the next.
        pad: Whether S is `sequence_length`; otherwise it is the number of tokens.

    Returns:
        `token_ids`, `segment_ids` and `padding_mask`, int32. *Shape:* (1, S) each, or (W, S) with
        windows.
    """
    check_truncation(truncation, 1 if pair is None else 2)
    if truncation == "windows":
        rows = tokenizer.encode_windows(
            text, sequence_length=sequence_length, window_stride=window_stride
        )
    else:
        rows = [
            tokenizer.encode(text, pair, sequence_length=sequence_length, truncation=truncation)
        ]
    return id_inputs(
        [(row.token_ids, row.segment_ids) for row in rows],
        tokenizer.vocabulary.pad_id,
        sequence_length if pad else None,
    )


def id_inputs(
    rows: Sequence[tuple[Sequence[int], Sequence[int]]], pad_id: int = 0, length: int | None = None
) -> dict[str, np.ndarray]:
    """Fills up rows of ids to one length.

    Args:
        rows: Token ids and segment ids of each row.
        pad_id: The id of [PAD].
        length: S, by default that of the longest row.

    Returns:
        `token_ids`, `segment_ids` and `padding_mask`, int32. *Shape:* (B, S) each.
    """
    shape = (len(rows), length or max(len(token_ids) for token_ids, _ in rows))
    values = np.full(shape, pad_id, "int32"), np.zeros(shape, "int32"), np.zeros(shape, "int32")
    for number, (token_ids, segment_ids) in enumerate(rows):
        for array, row in zip(values, (token_ids, segment_ids, 1), strict=True):
            array[number, : len(token_ids)] = row
    return dict(zip(INPUTS, values, strict=True))
