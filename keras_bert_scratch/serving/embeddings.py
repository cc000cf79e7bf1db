"""Export of sentence encoders: strings in and embeddings out, or ids in for phones.

Axes: B batch, S sequence, H hidden.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_bert_scratch.files import new_folder, write_hashes
from keras_bert_scratch.serving.litert import convert, write_packed
from keras_bert_scratch.serving.parity import PROBE_TEXTS, ask
from keras_bert_scratch.serving.predictor import INPUTS
from keras_bert_scratch.serving.saved_model import require_tensorflow, save_signatures
from keras_bert_scratch.text.graphs.tokenizer_graph import tokenizer_graph
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer

# Largest accepted distance of an embedding from the model's, as a share of its length; 0.3 is a
# cosine of 0.955.
_LARGEST_DISTANCE = {"float32": 1e-5, "float16": 1e-2, "int8": 0.3}


def export_embeddings_saved_model(
    network: keras.Model,
    tokenizer: WordPieceTokenizer,
    folder: str | Path,
    *,
    sequence_length: int,
    expected: Callable[[list[str]], Any],
) -> None:
    """Writes a sentence encoder as a SavedModel of core TensorFlow operations.

    Its signature `serving_default` takes `text`, string (B,), and returns `embeddings`, float32
    (B, H). Before the folder appears, it is loaded in a fresh process without Keras and compared.

    Args:
        network: Maps a dict of ids to embeddings.
        tokenizer: Of the network.
        folder: Where to write; must not exist, or be empty.
        sequence_length: Tokens to which texts are truncated.
        expected: Gives the embeddings that the export must give for some texts.

    Raises:
        FileExistsError: If the folder is not empty.
        RuntimeError: If Keras runs on another backend, or the export's embeddings differ.
    """
    require_tensorflow()
    graph = tokenizer_graph(tokenizer, "core")

    def embeddings(text: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"embeddings": network(graph(text, sequence_length=sequence_length), training=False)}

    text = tf.TensorSpec((None,), tf.string, name="text")
    with new_folder(folder) as temporary:
        save_signatures(temporary, {"serving_default": (embeddings, [text])}, [graph])
        check_embeddings(temporary, expected, _LARGEST_DISTANCE["float32"])
        write_hashes(temporary)


def export_embeddings_litert(
    network: keras.Model,
    tokenizer: WordPieceTokenizer,
    path: str | Path,
    *,
    sequence_length: int,
    expected: Callable[[list[str]], Any],
    precision: str = "float32",
) -> None:
    """Writes a sentence encoder as one LiteRT file, with its vocabulary packed in.

    The signature `serving_default` takes `token_ids`, `segment_ids` and `padding_mask`, int32
    (B, S), B and S free, and returns `embeddings`, float32 (B, H). Behind the model the file is a
    zip archive of `tokenizer_config.json`. Before the file appears, it is loaded in a fresh process
    and compared.

    Args:
        network: Maps a dict of ids to embeddings.
        tokenizer: Of the network.
        path: The file to write.
        sequence_length: Tokens to which texts are truncated.
        expected: Gives the embeddings that the file must give for some texts.
        precision: `"float32"`; `"float16"` weights; or `"int8"` weights with activations quantized
            on the fly (dynamic range), a quarter of the size.

    Raises:
        ValueError: If the precision is refused.
        RuntimeError: If Keras runs on another backend, the file needs operations that LiteRT lacks,
            or its embeddings differ from the model's.
    """
    require_tensorflow()
    if precision not in _LARGEST_DISTANCE:
        raise ValueError(
            f"precision must be one of {', '.join(_LARGEST_DISTANCE)}; received {precision!r}."
        )
    model = convert(
        network,
        tf.identity,
        names={name: name for name in INPUTS},
        output="embeddings",
        static_length=None,
        precision=precision,
        calibration=None,
    )
    settings = {"sequence_length": sequence_length, "tokenizer": tokenizer.get_config()}
    write_packed(
        path,
        model,
        {"tokenizer_config.json": json.dumps(settings, ensure_ascii=False)},
        lambda temporary: check_embeddings(temporary, expected, _LARGEST_DISTANCE[precision]),
    )


def check_embeddings(
    path: Path, expected: Callable[[list[str]], Any], largest_distance: float
) -> None:
    """Loads an export in a fresh process without Keras and compares its embeddings.

    Args:
        path: A SavedModel folder or a LiteRT file.
        expected: Gives the embeddings that the export must give for some texts.
        largest_distance: Largest accepted distance of two embeddings, as a share of their length.

    Raises:
        RuntimeError: If the export does not load, or a distance is larger or not a number.
    """
    found, _ = ask(path, PROBE_TEXTS, answer="embeddings")
    wanted = np.asarray(expected(PROBE_TEXTS))
    distances = np.linalg.norm(found - wanted, axis=1) / np.linalg.norm(wanted, axis=1)
    # Written so that a distance that is not a number fails, too.
    if not (distances <= largest_distance).all():
        raise RuntimeError(
            f"The export's embeddings are {np.max(distances):.2g} of their length away from the "
            f"model's, more than {largest_distance:.2g}: nothing was written."
        )
