"""Export of summarizers: strings in and strings out, or ids in and out for phones.

The whole loop over the tokens is in the export, with its cache, greedy or with beams.

Axes: B batch, S sequence, T target sequence.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_bert_scratch.files import new_folder, write_hashes
from keras_bert_scratch.serving.litert import convert_function, write_packed
from keras_bert_scratch.serving.parity import PROBE_TEXTS, ask
from keras_bert_scratch.serving.predictor import INPUTS
from keras_bert_scratch.serving.saved_model import (
    TOKENS,
    Signatures,
    checked_inputs,
    require_tensorflow,
    save_signatures,
)
from keras_bert_scratch.text.graphs.detokenizer import DetokenizerGraph
from keras_bert_scratch.text.graphs.tokenizer_graph import tokenizer_graph
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer


def export_summarizer_saved_model(
    network: keras.Model,
    tokenizer: WordPieceTokenizer,
    folder: str | Path,
    *,
    generate: Callable[[dict[str, tf.Tensor]], tf.Tensor],
    sequence_length: int,
    expected: Callable[[list[str]], list[str]],
) -> None:
    """Writes a summarizer as a SavedModel of core TensorFlow operations.

    Its signatures are

    - `serving_default`: `text`, string (B,) -> `summary`, string (B,);
    - `tokens`: `token_ids`, `segment_ids`, `padding_mask`, int32 (B, S) -> `summary_ids`, int32
      (B, T), [CLS] and [SEP] included.

    Before the folder appears, the export is loaded in a fresh process without Keras and compared.

    Args:
        network: Whose weights `generate` uses; has an `encoder`.
        tokenizer: Of the network.
        folder: Where to write; must not exist, or be empty.
        generate: Maps a dict of ids to the ids of summaries.
        sequence_length: Tokens to which texts are truncated.
        expected: Gives the summaries that the export must give for some texts.

    Raises:
        FileExistsError: If the folder is not empty.
        RuntimeError: If Keras runs on another backend, or a summary differs.
    """
    require_tensorflow()
    graph, detokenize = tokenizer_graph(tokenizer, "core"), DetokenizerGraph(tokenizer)

    # A function of its own, so that both signatures share it.
    @tf.function(autograph=False)
    def summary_ids_of(inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        return generate(inputs)

    def summarize(text: tf.Tensor) -> dict[str, tf.Tensor]:
        inputs = graph(text, sequence_length=sequence_length)
        return {"summary": detokenize(summary_ids_of(inputs))}

    def tokens(token_ids: Any, segment_ids: Any, padding_mask: Any) -> dict[str, tf.Tensor]:
        config = network.encoder.config
        inputs = checked_inputs(token_ids, segment_ids, padding_mask, config)
        return {"summary_ids": summary_ids_of(inputs)}

    text = tf.TensorSpec((None,), tf.string, name="text")
    signatures: Signatures = {"serving_default": (summarize, [text]), "tokens": (tokens, TOKENS)}
    with new_folder(folder) as temporary:
        save_signatures(temporary, signatures, [graph, detokenize])
        _check_summaries(temporary, expected)
        write_hashes(temporary)


def export_summarizer_litert(
    network: keras.Model,
    tokenizer: WordPieceTokenizer,
    path: str | Path,
    *,
    generate: Callable[[dict[str, tf.Tensor]], tf.Tensor],
    sequence_length: int,
    expected: Callable[[list[str]], list[str]],
) -> None:
    """Writes a summarizer as one LiteRT file of built-in operations, its vocabulary packed in.

    The signature `serving_default` takes `token_ids`, `segment_ids` and `padding_mask`, int32
    (1, S), and returns `summary_ids`, int32 (1, T), [CLS] and [SEP] included. Before the file
    appears, it is loaded in a fresh process and compared.

    Args:
        network: Whose weights `generate` uses.
        tokenizer: Of the network.
        path: The file to write.
        generate: Maps a dict of ids to the ids of summaries.
        sequence_length: Tokens to which texts are truncated.
        expected: Gives the summaries that the file must give for some texts.

    Raises:
        RuntimeError: If Keras runs on another backend, the file needs operations that LiteRT lacks,
            or a summary differs.
    """
    require_tensorflow()

    def tokens(*values: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"summary_ids": generate(dict(zip(INPUTS, values, strict=True)))}

    signature = [tf.TensorSpec((1, None), tf.int32, name=name) for name in INPUTS]
    model = convert_function(tokens, signature, [], "float32", None)
    settings = {"sequence_length": sequence_length, "tokenizer": tokenizer.get_config()}
    write_packed(
        path,
        model,
        {"tokenizer_config.json": json.dumps(settings, ensure_ascii=False)},
        lambda temporary: _check_summaries(temporary, expected),
    )


def _check_summaries(path: Path, expected: Callable[[list[str]], list[str]]) -> None:
    """Loads an export in a fresh process without Keras and compares its summaries."""
    found, _ = ask(path, PROBE_TEXTS, answer="summaries")
    for text, ours, wanted in zip(PROBE_TEXTS, found, expected(PROBE_TEXTS), strict=True):
        if ours != wanted:
            raise RuntimeError(
                f"For {text[:60]!r} the export writes {str(ours)!r} and the model {wanted!r}: "
                "nothing was written."
            )
