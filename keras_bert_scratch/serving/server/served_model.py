"""A SavedModel in a server: its version, its signatures, and batches run on them.

Axes: B batch, S sequence.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_bert_scratch.files import check_hashes
from keras_bert_scratch.serving.packed import ASSETS, COLUMNS
from keras_bert_scratch.serving.server.rest import Input, RequestError, Row
from keras_bert_scratch.serving.server.served import Served, described_columns


class ServedModel(Served):
    """Loads a SavedModel, or the highest version of a versioned folder.

    Args:
        folder: Folder with a `saved_model.pb`, or with folders named by numbers that have one.

    Attributes:
        folder: Folder of the SavedModel.
        version: The number that the folder is named by, or 1 if its name is not a number.
        signatures: Inputs of each signature, by name.
        metadata: The signatures, in the format of TensorFlow Serving's metadata API.

    Raises:
        ValueError: If there is no SavedModel, or it has no signatures.

    Example:
        >>> model = ServedModel("saved_models/sentiment")
        >>> model.run("serving_default", [{"text": b"a film to remember"}])[0]["label"]
        'positive'
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder, self.version = newest_version(Path(folder))
        check_hashes(self.folder)
        try:
            # Kept, because its variables live as long as the model.
            self._model = tf.saved_model.load(str(self.folder))
        except (OSError, tf.errors.OpError, ValueError) as error:
            raise ValueError(f"{self.folder} does not load as a SavedModel: {error}") from error
        self._functions = dict(self._model.signatures)
        if not self._functions:
            raise ValueError(
                f"{self.folder} has no signatures to serve: name a folder that `export` wrote."
            )
        description = self.folder / ASSETS / COLUMNS
        if description.is_file():
            self.columns = described_columns(description.read_text("utf-8"))
        kinds = {column["input"]: column["kind"] for column in self.columns}
        self.signatures = {
            name: {
                argument: Input(
                    np.dtype(spec.dtype.as_numpy_dtype), tuple(spec.shape), kinds.get(argument)
                )
                for argument, spec in sorted(function.structured_input_signature[1].items())
            }
            for name, function in self._functions.items()
        }
        # Read now, since the folder of a version may be removed while it is served.
        self.metadata = self._metadata()

    def is_for_classify(self, signature: str) -> bool:
        """See `Served`."""
        if set(self.inputs(signature)) != {"inputs"}:
            return False
        return set(self._functions[signature].structured_outputs) == {"classes", "scores"}

    def example(self, features: dict[str, list[Any]]) -> Row:
        """Serializes the features; see `Served`."""
        return {"inputs": serialized_example(features)}

    def run(self, signature: str, rows: list[Row]) -> list[dict[str, Any]]:
        """Runs a batch; see `Served`."""
        inputs = {
            name: tf.constant(_stack([row[name] for row in rows], "padding_mask" in rows[0]))
            for name in rows[0]
        }
        try:
            outputs = self._functions[signature](**inputs)
        except tf.errors.InvalidArgumentError as error:
            raise RequestError(_reason(error.message)) from error
        lists = {name: _to_json(output.numpy()) for name, output in outputs.items()}
        return [{name: column[n] for name, column in lists.items()} for n in range(len(rows))]

    def warm_up(self) -> None:
        """Runs the requests of `assets.extra/tf_serving_warmup_requests`, if there are any."""
        from tensorflow_serving.apis import prediction_log_pb2

        path = self.folder / "assets.extra/tf_serving_warmup_requests"
        if not path.exists():
            return
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            log = prediction_log_pb2.PredictionLog.FromString(record)
            if log.HasField("predict_log"):
                request = log.predict_log.request
                columns = {name: tf.make_ndarray(proto) for name, proto in request.inputs.items()}
            elif log.HasField("classify_log"):
                request = log.classify_log.request
                examples = request.input.example_list.examples
                columns = {"inputs": [example.SerializeToString() for example in examples]}
            else:
                continue
            rows = [
                dict(zip(columns, values, strict=True))
                for values in zip(*columns.values(), strict=True)
            ]
            self.run(request.model_spec.signature_name or "serving_default", rows)

    def _metadata(self) -> dict[str, Any]:
        from google.protobuf.json_format import MessageToDict
        from tensorflow.core.protobuf import saved_model_pb2

        content = (self.folder / "saved_model.pb").read_bytes()
        saved = saved_model_pb2.SavedModel.FromString(content)
        definitions = saved.meta_graphs[0].signature_def
        return {
            name: MessageToDict(
                definitions[name],
                preserving_proto_field_name=True,
                always_print_fields_with_no_presence=True,
            )
            for name in sorted(self.signatures)
        }


def newest_version(folder: Path) -> tuple[Path, int]:
    """Returns the SavedModel of a folder and its version: the highest, or 1 without versions.

    Raises:
        ValueError: If there is none.
    """
    versions = versions_of(folder)
    return versions[max(versions)], max(versions)


def versions_of(folder: Path) -> dict[int, Path]:
    """Returns the SavedModels of a folder by version: the folder itself, or folders in it.

    Raises:
        ValueError: If there is none.
    """
    if (folder / "saved_model.pb").is_file():
        return {int(folder.name) if folder.name.isdecimal() else 1: folder}
    versions = [path.parent for path in folder.glob("*/saved_model.pb")]
    numbers = {int(path.name): path for path in versions if path.name.isdecimal()}
    if not numbers:
        raise ValueError(
            f"{folder} holds neither a saved_model.pb nor versions of one: name a folder that "
            "`export` wrote."
        )
    return numbers


def serialized_example(features: dict[str, list[Any]]) -> bytes:
    """Serializes a `tf.train.Example`.

    Args:
        features: Lists of bytes, ints or floats, by name.

    Raises:
        RequestError: If a number has more than 64 bits, or a name is not valid text.
    """
    message = tf.train.Example()
    try:
        for name, values in features.items():
            feature = message.features.feature[name]
            if any(isinstance(value, bytes) for value in values):
                feature.bytes_list.value.extend(values)
            elif any(isinstance(value, float) for value in values):
                feature.float_list.value.extend(values)
            else:
                feature.int64_list.value.extend(values)
    except (ValueError, OverflowError, TypeError) as error:
        raise RequestError(f"The features are no tf.train.Example: {error}.") from None
    return message.SerializeToString()


def _stack(values: list[Any], pad: bool) -> np.ndarray:
    """Stacks the values of the rows; `pad` appends zeros to shorter ones."""
    if isinstance(values[0], bytes):
        # NumPy's own string types would drop zero bytes at the end.
        return np.array(values, dtype=object)
    if pad:
        length = max(map(len, values))
        values = [np.pad(value, (0, length - len(value))) for value in values]
    return np.stack(values)


def _to_json(array: np.ndarray) -> list[Any]:
    if array.dtype == object:
        decoded = [value.decode("utf-8", errors="replace") for value in array.ravel()]
        array = np.array(decoded, dtype=object).reshape(array.shape)
    return array.tolist()


def _reason(message: str) -> str:
    """Returns the reason in an error of TensorFlow, without the graph around it."""
    reason = re.sub(r"\n\t \[\[.*", "", message, flags=re.DOTALL).splitlines()[-1]
    assertion = re.match(r"assertion failed: \[(.*?)\]", reason)
    return (assertion[1] if assertion else reason)[:1000]
