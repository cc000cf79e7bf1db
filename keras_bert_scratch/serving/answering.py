"""Export of question answerers: strings in and an answer out, or ids in for phones.

Axes: B batch, S sequence, W windows of all contexts of a batch, L tokens of the longest answer.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_bert_scratch.data.spans import SpanSettings
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
from keras_bert_scratch.serving.token_windows import slide
from keras_bert_scratch.text.graphs.ragged import padded, row_ids
from keras_bert_scratch.text.graphs.tokenizer_graph import tokenizer_graph
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer

# Largest accepted difference of a probability.
_LARGEST_GAP = {"float32": 1e-5, "float16": 1e-2, "int8": 0.25}
# Every probe is a question, and every probe a context.
_PROBES = (PROBE_TEXTS, PROBE_TEXTS[3:] + PROBE_TEXTS[:3])
# The score of what is no span.
_NONE = -1e9


def export_answerer_saved_model(
    network: keras.Model,
    tokenizer: WordPieceTokenizer,
    folder: str | Path,
    *,
    settings: SpanSettings,
    expected: Callable[[Any], np.ndarray],
) -> None:
    """Writes a question answerer as a SavedModel of core TensorFlow operations.

    Its signatures are

    - `serving_default`: `question` and `context`, string (B,) -> `answer`, string (B,), exactly as
      it stands in the context, empty for none; `start` and `end`, int32 (B,), in characters;
      `score`; `probability`, of the best span among all; and `no_answer_probability`, float32 (B,);
    - `conversation`: the same with `history`, string (B,), the previous turns, see
      `data.spans.joined_history`;
    - `tokens`: `token_ids`, `segment_ids`, `padding_mask`, int32 (B, S) -> `logits` (B, 2, S).

    Before the folder appears, the export is loaded in a fresh process without Keras and compared.

    Args:
        network: Maps a dict of ids to logits of starts and ends.
        tokenizer: Of the network.
        folder: Where to write; must not exist, or be empty.
        settings: How questions are read and answered.
        expected: Gives the probabilities of the best answer and of none, for some questions and
            contexts.

    Raises:
        ValueError: If the tokenizer changes texts in ways that offsets cannot follow.
        FileExistsError: If the folder is not empty.
        RuntimeError: If Keras runs on another backend, or the export's probabilities differ.
    """
    require_tensorflow()
    graph = tokenizer_graph(tokenizer, "core")

    @tf.function(autograph=False)
    def logits_of(inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        return tf.cast(network(inputs, training=False), tf.float32)

    # A function of its own, so that both signatures share it.
    @tf.function(autograph=False)
    def conversation(
        history: tf.Tensor, question: tf.Tensor, context: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        return _answers(graph, tokenizer, logits_of, settings, history, question, context)

    def answer(question: tf.Tensor, context: tf.Tensor) -> dict[str, tf.Tensor]:
        return conversation(tf.fill(tf.shape(question), ""), question, context)

    def tokens(token_ids: Any, segment_ids: Any, padding_mask: Any) -> dict[str, tf.Tensor]:
        config = network.encoder.config
        return {"logits": logits_of(checked_inputs(token_ids, segment_ids, padding_mask, config))}

    names = ("history", "question", "context")
    texts = [tf.TensorSpec((None,), tf.string, name=name) for name in names]
    signatures: Signatures = {
        "serving_default": (answer, texts[1:]),
        "conversation": (conversation, texts),
        "tokens": (tokens, TOKENS),
    }
    with new_folder(folder) as temporary:
        save_signatures(temporary, signatures, [graph])
        extra = temporary / "assets.extra"
        extra.mkdir()
        (extra / "span_settings.json").write_text(json.dumps(settings._asdict()), "utf-8")
        check_answers(temporary, expected, _LARGEST_GAP["float32"])
        write_hashes(temporary)


def _answers(
    graph: Any,
    tokenizer: WordPieceTokenizer,
    logits_of: Callable[[dict[str, tf.Tensor]], tf.Tensor],
    settings: SpanSettings,
    history: tf.Tensor,
    question: tf.Tensor,
    context: tf.Tensor,
) -> dict[str, tf.Tensor]:
    """Answers questions as `QuestionRows.predict` does; its comments say why."""
    vocabulary = tokenizer.vocabulary
    longest = settings.max_answer_length
    size = tf.shape(question, tf.int64)[0]
    asked = graph.tokenize(question)[:, : settings.max_question_length]
    is_asked = asked.row_lengths() > 0
    before = graph.tokenize(history)
    left = settings.max_question_length - asked.row_lengths()
    firsts = tf.maximum(before.row_limits() - left, before.row_starts())
    kept = tf.ragged.range(firsts, before.row_limits())
    asked = tf.concat([tf.gather(before.flat_values, kept), asked], 1)
    found = graph.with_offsets(context)

    # === Windows ===
    room = settings.sequence_length - 3 - asked.row_lengths()
    stride = (
        tf.maximum(room // 2, 1)
        if settings.window_stride is None
        else tf.fill([size], np.int64(settings.window_stride))
    )
    windows = slide(found["token_ids"], room, stride)
    text = row_ids(windows.starts)  # The question of every window. *Shape:* (W,)
    asked_again = tf.gather(asked, text)
    cls, sep = (
        tf.RaggedTensor.from_uniform_row_length(tf.fill([windows.tokens.nrows()], token), 1)
        for token in (vocabulary.cls_id, vocabulary.sep_id)
    )
    rows = tf.concat([cls, asked_again, sep, windows.tokens, sep], 1)
    token_ids = padded(rows, vocabulary.pad_id)
    width = tf.shape(token_ids, tf.int64)[1]
    first = asked_again.row_lengths() + 2  # The column of a window's first token of the context.
    last = first + windows.tokens.row_lengths()
    padding_mask = tf.sequence_mask(rows.row_lengths(), width, tf.int32)
    inputs = {
        "token_ids": token_ids,
        "segment_ids": padding_mask - tf.sequence_mask(first, width, tf.int32),
        "padding_mask": padding_mask,
    }
    logits = logits_of(inputs)

    # === Spans ===
    owner = windows.owner.flat_values
    columns = windows.columns.flat_values + tf.gather(first, owner)
    is_mine = tf.scatter_nd(
        tf.stack([owner, columns], 1),
        tf.ones_like(owner, tf.bool),
        tf.shape(token_ids, tf.int64),
    )
    is_context = tf.sequence_mask(last, width) & ~tf.sequence_mask(first, width)
    starts = tf.where(is_mine, logits[:, 0], _NONE)
    ends = tf.pad(
        tf.where(is_context, logits[:, 1], _NONE), [[0, 0], [0, longest]], constant_values=_NONE
    )
    reach = tf.range(width)[:, tf.newaxis] + tf.range(longest, dtype=tf.int64)
    scores = starts[:, :, tf.newaxis] + tf.gather(ends, reach, axis=1)  # (W, S, L)
    scores = tf.reshape(scores, tf.stack([tf.size(text, tf.int64), width * longest]))
    scores = tf.where(scores < _NONE / 2, _NONE, scores)

    # === The best of each question ===
    def of_questions(reduce: Callable, values: tf.Tensor) -> tf.Tensor:
        return reduce(values, text, size)

    best_of_windows = tf.reduce_max(scores, 1)
    best = of_questions(tf.math.unsorted_segment_max, best_of_windows)
    is_best = best_of_windows == tf.gather(best, text)
    numbers = tf.range(tf.size(text, tf.int64))
    window = of_questions(
        tf.math.unsorted_segment_min, tf.where(is_best, numbers, tf.size(text, tf.int64))
    )
    total = of_questions(
        tf.math.unsorted_segment_sum,
        tf.reduce_sum(tf.exp(scores - tf.gather(best, text)[:, tf.newaxis]), 1),
    )
    none = of_questions(tf.math.unsorted_segment_min, logits[:, 0, 0] + logits[:, 1, 0])
    has_spans = is_asked & (best > _NONE / 2)
    is_answered = has_spans
    if settings.no_answer_threshold is not None:
        is_answered &= none - best <= settings.no_answer_threshold
    place = tf.argmax(tf.gather(scores, window), 1)
    token = (
        place // longest
        - tf.gather(first, window)
        + tf.gather(windows.starts.flat_values, window)
        + found["token_ids"].row_starts()
    )
    # Where there is no answer, any token will do; a text without tokens lends another's, or none.
    flat_starts = tf.concat([found["starts"].flat_values, [0]], 0)
    flat_ends = tf.concat([found["ends"].flat_values, [0]], 0)
    token = tf.where(is_answered, token, 0)
    more = tf.where(is_answered, place % longest, 0)
    start = tf.where(is_answered, tf.gather(flat_starts, token), 0)
    end = tf.where(is_answered, tf.gather(flat_ends, token + more), 0)
    return {
        "answer": tf.strings.substr(found["texts"], start, end - start, unit="UTF8_CHAR"),
        "start": tf.cast(start, tf.int32),
        "end": tf.cast(end, tf.int32),
        "score": tf.where(is_answered, best, none),
        "probability": tf.where(has_spans, 1 / total, 0.0),
        # exp(none) / (exp(none) + the sum over all spans)
        "no_answer_probability": tf.where(
            has_spans, tf.sigmoid(none - best - tf.math.log(total)), 1.0
        ),
    }


def export_answerer_litert(
    network: keras.Model,
    tokenizer: WordPieceTokenizer,
    path: str | Path,
    *,
    settings: SpanSettings,
    expected: Callable[[Any], np.ndarray],
    precision: str = "float32",
) -> None:
    """Writes a question answerer as one LiteRT file, with its vocabulary and settings packed in.

    The signature `serving_default` takes `token_ids`, `segment_ids` and `padding_mask`, int32
    (B, S), B and S free, and returns `logits` of starts and ends, float32 (B, 2, S). Behind the
    model the file is a zip archive of `tokenizer_config.json`. Before the file appears, it is
    loaded in a fresh process and compared.

    Args:
        network: Maps a dict of ids to logits of starts and ends.
        tokenizer: Of the network.
        path: The file to write.
        settings: How questions are read and answered.
        expected: Gives the probabilities of the best answer and of none, for some questions and
            contexts.
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
        tf.identity,
        names={name: name for name in INPUTS},
        output="logits",
        static_length=None,
        precision=precision,
        calibration=None,
    )
    packed = {"span_settings": settings._asdict(), "tokenizer": tokenizer.get_config()}
    write_packed(
        path,
        model,
        {"tokenizer_config.json": json.dumps(packed, ensure_ascii=False)},
        lambda temporary: check_answers(temporary, expected, _LARGEST_GAP[precision]),
    )


def check_answers(path: Path, expected: Callable[[Any], np.ndarray], largest_gap: float) -> None:
    """Loads an export in a fresh process without Keras and compares how sure it is of its answers.

    Args:
        path: A SavedModel folder or a LiteRT file.
        expected: Gives the probabilities of the best answer and of none. *Shape:* (n, 2).
        largest_gap: Largest accepted difference of a probability.

    Raises:
        RuntimeError: If the export does not load, or a difference is larger or not a number.
    """
    found, _ = ask(path, _PROBES, answer="answers")
    check_gap(found, expected(_PROBES), largest_gap)
