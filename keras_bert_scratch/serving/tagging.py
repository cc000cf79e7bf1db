"""Export of taggers: strings in and tags out, or ids in for phones.

Axes: B batch, S sequence, C classes, W words.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_bert_scratch.files import new_folder, write_hashes
from keras_bert_scratch.serving.litert import convert, write_packed
from keras_bert_scratch.serving.parity import PROBE_TEXTS, ask, check_gap
from keras_bert_scratch.serving.predictor import INPUTS
from keras_bert_scratch.serving.saved_model import (
    TOKENS,
    Signatures,
    checked_inputs,
    require_tensorflow,
    save_signatures,
)
from keras_bert_scratch.serving.tagger import padded
from keras_bert_scratch.serving.token_windows import slide
from keras_bert_scratch.text.graphs.ragged import boolean_mask, row_ids
from keras_bert_scratch.text.graphs.ragged import padded as padded_rows
from keras_bert_scratch.text.graphs.tokenizer_graph import tokenizer_graph
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.truncation import check_sequence_length, check_window_stride

# Largest accepted difference of a probability.
_LARGEST_GAP = {"float32": 1e-5, "float16": 1e-2, "int8": 0.25}


def export_tagger_saved_model(
    network: keras.Model,
    tokenizer: WordPieceTokenizer,
    labels: Sequence[str],
    folder: str | Path,
    *,
    sequence_length: int,
    window_stride: int | None,
    expected: Callable[[list[str]], list[np.ndarray]],
) -> None:
    """Writes a tagger as a SavedModel of core TensorFlow operations.

    Its signatures are

    - `serving_default`: `text`, string (B,) -> of every word, padded to the most words of a text:
      `words` and `tags`, string (B, W); `starts` and `ends`, int32 (B, W), in characters of the
      text; `probabilities`, float32 (B, W, C); and `num_words`, int32 (B,), and `classes`, string
      (B, C), the names that belong to the probabilities;
    - `tokens`: `token_ids`, `segment_ids`, `padding_mask`, int32 (B, S) -> `logits` (B, S, C).

    Texts of any length are read in windows. Before the folder appears, the export is loaded in a
    fresh process without Keras and compared.

    Args:
        network: Maps a dict of ids to logits of every token.
        tokenizer: Of the network.
        labels: Names of the tags.
        folder: Where to write; must not exist, or be empty.
        sequence_length: Tokens of a window.
        window_stride: From the start of a window to the start of the next.
        expected: Gives the probabilities of every word, for some texts.

    Raises:
        ValueError: If the tokenizer changes texts in ways that offsets cannot follow.
        FileExistsError: If the folder is not empty.
        RuntimeError: If Keras runs on another backend, or the export's probabilities differ.
    """
    require_tensorflow()
    graph = tokenizer_graph(tokenizer, "core")
    names = tf.constant(list(labels))
    room = check_sequence_length(sequence_length, 1)
    stride = check_window_stride(window_stride, room)
    vocabulary = tokenizer.vocabulary

    @tf.function(autograph=False)
    def logits_of(inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        return tf.cast(network(inputs, training=False), tf.float32)

    def answer(text: tf.Tensor) -> dict[str, tf.Tensor]:
        found = graph.with_offsets(text)
        size = tf.shape(text)
        windows = slide(
            found["token_ids"], tf.fill(size, np.int64(room)), tf.fill(size, np.int64(stride))
        )
        cls, sep = (
            tf.RaggedTensor.from_uniform_row_length(tf.fill([windows.tokens.nrows()], token), 1)
            for token in (vocabulary.cls_id, vocabulary.sep_id)
        )
        rows = tf.concat([cls, windows.tokens, sep], 1)
        token_ids = padded_rows(rows, vocabulary.pad_id)
        inputs = {
            "token_ids": token_ids,
            "segment_ids": tf.zeros_like(token_ids),
            "padding_mask": tf.sequence_mask(
                rows.row_lengths(), tf.shape(token_ids, tf.int64)[1], tf.int32
            ),
        }
        probabilities = tf.nn.softmax(logits_of(inputs))
        opens = found["opens_word"].flat_values
        # A word ends where its last token does: the one before the next word, or the text's last.
        closes = tf.concat([opens[1:], tf.ones_like(opens[:1])], 0)
        places = tf.stack([windows.owner.flat_values, windows.columns.flat_values + 1], axis=-1)
        starts = boolean_mask(found["starts"], opens)
        ends = starts.with_values(tf.boolean_mask(found["ends"].flat_values, closes))
        of_words = starts.with_values(tf.gather_nd(probabilities, tf.boolean_mask(places, opens)))
        tags = starts.with_values(tf.gather(names, tf.argmax(of_words.flat_values, axis=-1)))
        words = starts.with_values(
            tf.strings.substr(
                tf.gather(found["texts"], row_ids(starts)),
                starts.flat_values,
                (ends - starts).flat_values,
                unit="UTF8_CHAR",
            )
        )
        return {
            "words": words.to_tensor(""),
            "tags": tags.to_tensor(""),
            "starts": tf.cast(starts.to_tensor(0), tf.int32),
            "ends": tf.cast(ends.to_tensor(0), tf.int32),
            "probabilities": of_words.to_tensor(0.0, shape=(None, None, len(labels))),
            "num_words": tf.cast(starts.row_lengths(), tf.int32),
            "classes": tf.repeat(names[tf.newaxis], size[0], axis=0),
        }

    def tokens(token_ids: Any, segment_ids: Any, padding_mask: Any) -> dict[str, tf.Tensor]:
        config = network.encoder.config
        return {"logits": logits_of(checked_inputs(token_ids, segment_ids, padding_mask, config))}

    text = tf.TensorSpec((None,), tf.string, name="text")
    signatures: Signatures = {"serving_default": (answer, [text]), "tokens": (tokens, TOKENS)}
    with new_folder(folder) as temporary:
        save_signatures(temporary, signatures, [graph])
        check_tags(temporary, expected, _LARGEST_GAP["float32"])
        write_hashes(temporary)


def export_tagger_litert(
    network: keras.Model,
    tokenizer: WordPieceTokenizer,
    labels: Sequence[str],
    path: str | Path,
    *,
    sequence_length: int,
    window_stride: int | None,
    expected: Callable[[list[str]], list[np.ndarray]],
    precision: str = "float32",
) -> None:
    """Writes a tagger as one LiteRT file, with its vocabulary and tags packed in.

    The signature `serving_default` takes `token_ids`, `segment_ids` and `padding_mask`, int32
    (B, S), B and S free, and returns `probabilities` of every token, float32 (B, S, C). Behind the
    model the file is a zip archive of `tokenizer_config.json`. Before the file appears, it is
    loaded in a fresh process and compared.

    Args:
        network: Maps a dict of ids to logits of every token.
        tokenizer: Of the network.
        labels: Names of the tags.
        path: The file to write.
        sequence_length: Tokens of a window.
        window_stride: From the start of a window to the start of the next.
        expected: Gives the probabilities of every word, for some texts.
        precision: `"float32"`; `"float16"` weights; or `"int8"` weights with activations quantized
            on the fly (dynamic range), a quarter of the size.

    Raises:
        ValueError: If the precision is refused.
        RuntimeError: If Keras runs on another backend, the file needs operations that LiteRT lacks,
            or its probabilities differ from the model's.
    """
    require_tensorflow()
    if precision not in _LARGEST_GAP:
        raise ValueError(
            f"precision must be one of {', '.join(_LARGEST_GAP)}; received {precision!r}."
        )
    model = convert(
        network,
        tf.nn.softmax,
        names={name: name for name in INPUTS},
        static_length=None,
        precision=precision,
        calibration=None,
    )
    settings = {
        "sequence_length": sequence_length,
        "window_stride": window_stride,
        "tags": list(labels),
        "tokenizer": tokenizer.get_config(),
    }
    write_packed(
        path,
        model,
        {"tokenizer_config.json": json.dumps(settings, ensure_ascii=False)},
        lambda temporary: check_tags(temporary, expected, _LARGEST_GAP[precision]),
    )


def check_tags(
    path: Path, expected: Callable[[list[str]], list[np.ndarray]], largest_gap: float
) -> None:
    """Loads an export in a fresh process without Keras and compares its probabilities.

    Args:
        path: A SavedModel folder or a LiteRT file.
        expected: Gives the probabilities of every word, for some texts. *Shape:* (W, C) each.
        largest_gap: Largest accepted difference of a probability.

    Raises:
        RuntimeError: If the export does not load, finds other words, or a difference is larger or
            not a number.
    """
    found, _ = ask(path, PROBE_TEXTS, answer="tags")
    wanted = padded(expected(PROBE_TEXTS), found.shape[-1])
    if found.shape != wanted.shape:
        raise RuntimeError(
            f"The export finds {found.shape[1]} words where the model finds {wanted.shape[1]}: "
            "nothing was written."
        )
    check_gap(found, wanted, largest_gap)
