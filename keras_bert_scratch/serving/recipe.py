"""The one recipe of all exports: write beside, pack, ask a fresh process, compare, rename."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_bert_scratch.files import new_file, new_folder, write_hashes
from keras_bert_scratch.serving.fresh_process import ask
from keras_bert_scratch.serving.graphs.signature import Check, Signature
from keras_bert_scratch.serving.litert import write_litert
from keras_bert_scratch.serving.mediapipe import write_mediapipe
from keras_bert_scratch.serving.onnx import write_onnx
from keras_bert_scratch.serving.saved_model import version_folder, write_saved_model
from keras_bert_scratch.serving.web.folder import MODEL, write_web

_WRITERS: dict[str, Callable[..., Check]] = {
    "tf_saved_model": write_saved_model,
    "litert": write_litert,
    "mediapipe": write_mediapipe,
    "onnx": write_onnx,
    "web": write_web,
}
_FOLDERS = ("tf_saved_model", "web")


def export(signature: Any, path: str | Path, format: str, **options: Any) -> None:
    """Writes an export, and compares it with its model before it appears.

    Args:
        signature: The task's `Signature`; `"mediapipe"`, `"onnx"` and `"web"` have a classifier's.
        path: The folder (SavedModel, web) or file (all else) to write.
        format: `"tf_saved_model"`, `"litert"`, `"mediapipe"`, `"onnx"` or `"web"`.
        **options: Options of the format, see its writer. A SavedModel has `version`, a whole
            number: it writes `path/version`, the layout that TensorFlow Serving watches for new
            versions; other versions in the folder stay.

    Raises:
        ValueError: If an option is refused.
        FileExistsError: If the folder is not empty, or has this version already.
        RuntimeError: If Keras runs on another backend, or the export does not answer as the model.
    """
    _require_tensorflow()
    if format == "onnx" and Path(path).suffix != ".onnx":
        raise ValueError(f"An ONNX file is known by its name: {path} must end in .onnx.")
    write = _WRITERS[format]
    if format not in _FOLDERS:
        with new_file(path) as file:
            compare(file, signature, write(signature, file, **options))
        return
    if format == "tf_saved_model":
        path = version_folder(path, options.pop("version", None))
    with new_folder(path) as folder:
        check = write(signature, folder, **options)
        compare(folder / MODEL if format == "web" else folder, signature, check)
        write_hashes(folder)


def compare(path: Path, signature: Signature, check: Check) -> None:
    """Asks an export in a fresh process without Keras, and compares its answers with the model's.

    Args:
        path: The SavedModel folder or file.
        signature: The task.
        check: What the export must answer.

    Raises:
        RuntimeError: If the export does not load, or its answers differ or are not numbers.
    """
    probes = signature.probes if check.probes is None else check.probes
    found, _ = ask(path, probes, task=signature.task)
    gap = signature.gap(found, check.expected(probes))
    largest_gap = signature.largest_gaps[check.precision]
    # Written so that a gap that is not a number fails, too.
    if not gap <= largest_gap:
        raise RuntimeError(
            f"The export's {signature.answers_are} differ from the model's by {gap:.2g}, more than "
            f"{largest_gap:.2g}: nothing was written."
        )
    if check.held_out is not None:
        found, _ = ask(path, check.held_out, task=signature.task)
        wanted = np.asarray(check.expected(check.held_out))
        signature.check_labels(found, wanted, check.precision)


def _require_tensorflow() -> None:
    """Refuses another backend of Keras: TensorFlow's graphs are exported."""
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            f"Export needs Keras' TensorFlow backend, and this process runs on "
            f"{keras.backend.backend()!r}: save_pretrained the model, and load and export it in a "
            "process with KERAS_BACKEND=tensorflow."
        )
