"""Export to SavedModel: strings in, labels and probabilities out, loaded without Keras.

Axes: B batch, S sequence, C classes.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_bert_scratch.files import new_folder
from keras_bert_scratch.serving.parity import check_artifact
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer

TOKENS = [
    tf.TensorSpec((None, None), tf.int32, name=name)
    for name in ("token_ids", "segment_ids", "padding_mask")
]


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
) -> None:
    """Writes a classifier as a SavedModel of core TensorFlow operations.

    Its signatures are

    - `serving_default`: `text`, string (B,) -> `label`, string (B,); `probabilities`, float32
      (B, C); `classes`, string (B, C), the names that belong to the probabilities;
    - `pairs`: `text` and `pair`, string (B,) -> the same;
    - `tokens`: `token_ids`, `segment_ids`, `padding_mask`, int32 (B, S) -> `logits` (B, C).

    Before the folder appears, the export is loaded in a fresh process without Keras and compared.

    Args:
        network: Maps a dict of ids to logits.
        tokenizer: Of the network.
        labels: Names of the classes.
        folder: Where to write; must not exist, or be empty.
        activation: Turns logits into probabilities.
        sequence_length: Tokens to which texts are truncated.
        expected: Gives the probabilities that the export must give for some texts.

    Raises:
        FileExistsError: If the folder is not empty.
        RuntimeError: If Keras runs on another backend, or the export's probabilities differ.
    """
    require_tensorflow()
    graph = tokenizer.graph("core")
    names = tf.constant(list(labels))

    def classify(*texts: tf.Tensor) -> dict[str, tf.Tensor]:
        inputs = graph(*texts, sequence_length=sequence_length)
        probabilities = activation(tf.cast(network(inputs, training=False), tf.float32))
        return {
            "label": tf.gather(names, tf.argmax(probabilities, axis=-1)),
            "probabilities": probabilities,
            "classes": tf.repeat(names[tf.newaxis], tf.shape(probabilities)[0], axis=0),
        }

    def tokens(token_ids: Any, segment_ids: Any, padding_mask: Any) -> dict[str, tf.Tensor]:
        inputs = {
            "token_ids": token_ids,
            "segment_ids": segment_ids,
            "padding_mask": padding_mask,
        }
        return {"logits": tf.cast(network(inputs, training=False), tf.float32)}

    text = tf.TensorSpec((None,), tf.string, name="text")
    pair = tf.TensorSpec((None,), tf.string, name="pair")
    archive = keras.export.ExportArchive()
    archive.track(network)
    archive.track(graph)
    archive.add_endpoint("serving_default", classify, [text])
    archive.add_endpoint("pairs", classify, [text, pair])
    archive.add_endpoint("tokens", tokens, TOKENS)
    with new_folder(folder) as temporary:
        archive.write_out(str(temporary), verbose=False)
        check_artifact(temporary, expected, largest_gap=1e-5)
