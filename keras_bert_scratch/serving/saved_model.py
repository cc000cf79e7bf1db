"""Export to SavedModel: strings in, labels and probabilities out, loaded without Keras.

Axes: B batch, S sequence, H hidden, C classes.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_bert_scratch.config import BertConfig
from keras_bert_scratch.files import new_folder, write_hashes
from keras_bert_scratch.serving.parity import check_artifact
from keras_bert_scratch.serving.predictor import INPUTS
from keras_bert_scratch.text.graphs.tokenizer_graph import tokenizer_graph
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.truncation import Truncation

# Functions by the name of the signature, each with its inputs.
Signatures = dict[str, tuple[Callable[..., dict[str, tf.Tensor]], list[tf.TensorSpec]]]
TOKENS = [tf.TensorSpec((None, None), tf.int32, name=name) for name in INPUTS]


def require_tensorflow() -> None:
    """Raises a RuntimeError if Keras does not run on TensorFlow, whose graphs are exported."""
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            f"Export needs Keras' TensorFlow backend, and this process runs on "
            f"{keras.backend.backend()!r}: save_pretrained the model, and load and export it in a "
            "process with KERAS_BACKEND=tensorflow."
        )


def export_saved_model(
    network: keras.Model,
    tokenizer: WordPieceTokenizer,
    labels: Sequence[str],
    folder: str | Path,
    *,
    activation: Callable[[Any], Any],
    sequence_length: int,
    expected: Callable[[list[str]], Any],
    version: int | None = None,
    truncation: Truncation = "head",
    window_stride: int | None = None,
) -> None:
    """Writes a classifier as a SavedModel of core TensorFlow operations.

    Its signatures are

    - `serving_default`: `text`, string (B,) -> `label`, string (B,); `probabilities`, float32
      (B, C), or the score of a model of one; `classes`, string (B, C), the names that belong to
      them;
    - `pairs`: `text` and `pair`, string (B,) -> the same; only for `truncation="head"`;
    - `tokens`: `token_ids`, `segment_ids`, `padding_mask`, int32 (B, S) -> `logits` (B, C);
    - `embeddings`: `text`, string (B,) -> `pooled_output`, float32 (B, H), and `mean_output`,
      float32 (B, H), the mean of the sequence output over the text's tokens; of long texts, what
      `truncation` leaves, or with windows the head;
    - `classify`: `inputs`, string (B,), serialized `tf.train.Example`s with a feature `text` ->
      `classes`, string (B, C), and `scores`, float32 (B, C), as TensorFlow Serving's Classify API
      wants them.

    Beside the model, `assets.extra` holds `labels.txt`, and the requests with which TensorFlow
    Serving warms the model up.

    Before the folder appears, the export is loaded in a fresh process without Keras and compared.

    Args:
        network: Maps a dict of ids to logits; its `encoder` computes the embeddings.
        tokenizer: Of the network.
        labels: Names of the classes.
        folder: Where to write; must not exist, or be empty.
        activation: Turns logits into probabilities.
        sequence_length: Tokens to which texts are truncated.
        expected: Gives the probabilities that the export must give for some texts.
        version: Writes `folder/version`, the layout that TensorFlow Serving watches for new
            versions; other versions in the folder stay.
        truncation: What is read of long texts. With "windows", all windows of the B texts run at
            once, and the network aggregates them by the `num_windows` in its inputs.
        window_stride: From the start of a window to the start of the next.

    Raises:
        FileExistsError: If the folder is not empty, or has this version already.
        ValueError: If the version is not a positive whole number.
        RuntimeError: If Keras runs on another backend, or the export's probabilities differ.
    """
    require_tensorflow()
    if version is not None:
        folder = version_folder(folder, version)
    graph = tokenizer_graph(tokenizer, "core")
    names = tf.constant(list(labels))

    # Functions of their own, so that the signatures share them: half the time to export.
    @tf.function(autograph=False)
    def tokenize(*texts: tf.Tensor) -> dict[str, tf.Tensor]:
        return graph(
            *texts,
            sequence_length=sequence_length,
            truncation=truncation,
            window_stride=window_stride,
        )

    @tf.function(autograph=False)
    def logits_of(inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        return tf.cast(network(inputs, training=False), tf.float32)

    def answer(*texts: tf.Tensor) -> dict[str, tf.Tensor]:
        probabilities = activation(logits_of(tokenize(*texts)))
        return {
            "label": tf.gather(names, tf.argmax(probabilities, axis=-1)),
            "probabilities": probabilities,
            "classes": tf.repeat(names[tf.newaxis], tf.shape(probabilities)[0], axis=0),
        }

    def tokens(token_ids: Any, segment_ids: Any, padding_mask: Any) -> dict[str, tf.Tensor]:
        config = network.encoder.config
        return {"logits": logits_of(checked_inputs(token_ids, segment_ids, padding_mask, config))}

    def embeddings(text: tf.Tensor) -> dict[str, tf.Tensor]:
        is_windows = truncation == "windows"
        inputs = graph(text, sequence_length=sequence_length) if is_windows else tokenize(text)
        outputs = network.encoder(inputs, training=False)
        is_token = tf.cast(inputs["padding_mask"], tf.float32)[:, :, tf.newaxis]
        states = tf.cast(outputs["sequence_output"], tf.float32)
        return {
            "pooled_output": tf.cast(outputs["pooled_output"], tf.float32),
            "mean_output": tf.reduce_sum(states * is_token, 1) / tf.reduce_sum(is_token, 1),
        }

    def classify(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        features = {"text": tf.io.FixedLenFeature((), tf.string)}
        answers = answer(tf.io.parse_example(inputs, features)["text"])
        return {"classes": answers["classes"], "scores": answers["probabilities"]}

    text = tf.TensorSpec((None,), tf.string, name="text")
    pair = tf.TensorSpec((None,), tf.string, name="pair")
    examples = tf.TensorSpec((None,), tf.string, name="inputs")
    signatures: Signatures = {
        "serving_default": (answer, [text]),
        "tokens": (tokens, TOKENS),
        "embeddings": (embeddings, [text]),
        "classify": (classify, [examples]),
    }
    if truncation == "head":
        signatures["pairs"] = (answer, [text, pair])
    with new_folder(folder) as temporary:
        save_signatures(temporary, signatures, [graph])
        # TensorFlow 2 calls every signature "predict"; TensorFlow Serving may insist on this name.
        updater = tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater(str(temporary))
        updater.replace_method_name("classify", "tensorflow/serving/classify", tags="serve")
        updater.save()
        extra = temporary / "assets.extra"
        extra.mkdir()
        (extra / "labels.txt").write_text("\n".join(labels) + "\n", encoding="utf-8")
        write_warmup_requests(extra / "tf_serving_warmup_requests", with_pairs=truncation == "head")
        check_artifact(temporary, expected, largest_gap=1e-5)
        write_hashes(temporary)


def save_signatures(
    folder: str | Path, signatures: Signatures, resources: Sequence[tf.Module]
) -> None:
    """Writes functions as a SavedModel's signatures.

    Not by `keras.export.ExportArchive`, which traces each function twice: a third of the time to
    export.

    Args:
        folder: Where to write.
        signatures: The functions.
        resources: What holds the tables that they use.

    Example:
        >>> save_signatures(folder, {"tokens": (tokens, TOKENS)}, [graph])
    """
    functions = {
        name: tf.function(function, autograph=False).get_concrete_function(*inputs)
        for name, (function, inputs) in signatures.items()
    }
    module = tf.Module()
    module.resources = list(resources)
    variables = [variable for function in functions.values() for variable in function.variables]
    module.used_variables = list({id(variable): variable for variable in variables}.values())
    tf.saved_model.save(module, str(folder), signatures=functions)


def version_folder(folder: str | Path, version: int) -> Path:
    """Returns where a version stands below its model's folder.

    Raises:
        ValueError: If the version is not a positive whole number.
        FileExistsError: If the folder has this version, or is a SavedModel without versions.
    """
    folder = Path(folder)
    if not isinstance(version, int) or version < 1:
        raise ValueError(f"version must be a positive whole number, received {version!r}.")
    if (folder / "saved_model.pb").exists():
        raise FileExistsError(
            f"{folder} is a SavedModel without versions: name another folder for version {version}."
        )
    if (folder / str(version)).exists():
        newest = max(int(path.name) for path in folder.iterdir() if path.name.isdecimal())
        raise FileExistsError(
            f"{folder} has a version {version} already: choose another, such as {newest + 1}."
        )
    return folder / str(version)


def write_warmup_requests(path: Path, *, with_pairs: bool = True) -> None:
    """Writes requests of one short and one long text to every signature that takes texts.

    TensorFlow Serving reads `assets.extra/tf_serving_warmup_requests`, a TFRecord file of
    `PredictionLog` messages, and sends these requests to a model before any other
    (https://www.tensorflow.org/tfx/serving/saved_model_warmup).

    Args:
        path: The file.
        with_pairs: Whether there is a signature for pairs.
    """
    from tensorflow_serving.apis import prediction_log_pb2

    texts = ["a film to remember", "one word after another " * 200]
    with tf.io.TFRecordWriter(str(path)) as records:
        for signature, inputs in (
            ("serving_default", ("text",)),
            *([("pairs", ("text", "pair"))] if with_pairs else []),
            ("embeddings", ("text",)),
        ):
            log = prediction_log_pb2.PredictionLog()
            request = log.predict_log.request
            request.model_spec.signature_name = signature
            for name in inputs:
                request.inputs[name].CopyFrom(tf.make_tensor_proto(texts))
            records.write(log.SerializeToString())
        log = prediction_log_pb2.PredictionLog()
        request = log.classify_log.request
        request.model_spec.signature_name = "classify"
        for text in texts:
            example = request.input.example_list.examples.add()
            example.features.feature["text"].bytes_list.value.append(text.encode())
        records.write(log.SerializeToString())


def checked_inputs(
    token_ids: Any, segment_ids: Any, padding_mask: Any, config: BertConfig
) -> dict[str, tf.Tensor]:
    """Returns ids as a network takes them, which fail when they cannot be looked up.

    A GPU would give zeros instead of an error.
    """
    inputs = dict(zip(INPUTS, (token_ids, segment_ids, padding_mask), strict=True))
    checks = [
        tf.debugging.assert_less_equal(
            tf.shape(inputs["token_ids"])[1],
            config.max_positions,
            f"token_ids must have at most {config.max_positions} tokens, the positions of the "
            "model: truncate them",
        )
    ]
    for name, size in (("token_ids", config.vocab_size), ("segment_ids", config.num_segments)):
        message = f"{name} must be from 0 to {size - 1}"
        checks += [
            tf.debugging.assert_non_negative(inputs[name], message),
            tf.debugging.assert_less(inputs[name], size, message),
        ]
    with tf.control_dependencies(checks):
        return {name: tf.identity(value) for name, value in inputs.items()}
