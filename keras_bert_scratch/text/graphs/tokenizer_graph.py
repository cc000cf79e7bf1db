"""The tokenizer as TensorFlow operations: the same ids inside `tf.data` and SavedModels.

Both engines look up what each code point becomes, which also tells the words apart, and then split
words into the longest tokens. The engine "core" is the one that reads code points on phones and in
browsers, see `integer_engine.py`.

Axes: B batch, S sequence, W windows of all texts of a batch.
"""

import weakref
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from keras_bert_scratch.text.graphs.core_engine import CoreEngine
from keras_bert_scratch.text.graphs.ragged import padded
from keras_bert_scratch.text.graphs.windows import cut_windows
from keras_bert_scratch.text.preprocessing import RegexStep, Step
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.truncation import (
    Truncation,
    check_sequence_length,
    check_truncation,
    check_window_stride,
    head_and_tail,
)

Engine = Literal["fast", "core"]


class TokenizerGraph(tf.Module):
    """A `WordPieceTokenizer` for tensors of strings; `tokenizer_graph` makes it.

    Any bytes are accepted; those that are not UTF-8 are dropped, as the reference drops the U+FFFD
    that stands for them, or refused with an `InvalidArgumentError` if the tokenizer's `errors` is
    "strict".

    Args:
        tokenizer: The tokenizer whose ids the graph computes.
        engine: See `tokenizer_graph`.

    Raises:
        ValueError: See `tokenizer_graph`.
    """

    def __init__(self, tokenizer: WordPieceTokenizer, engine: Engine = "fast") -> None:
        super().__init__(name=f"tokenizer_{engine}")
        self._vocabulary = tokenizer.vocabulary
        self._errors = tokenizer.errors
        self._is_mediapipe = tokenizer.normalization == "mediapipe"
        self._preprocessing = tokenizer.preprocessing
        python_steps = [step for step in self._preprocessing if not isinstance(step, RegexStep)]
        if engine == "core" and python_steps:
            raise ValueError(
                f"{python_steps[0]} runs in Python only, so no SavedModel can hold it: omit it, "
                "and apply it to the texts before they reach the model; or export to LiteRT, whose "
                "predictor is Python."
            )
        if engine not in ("fast", "core"):
            raise ValueError(f"engine must be 'fast' or 'core', received {engine!r}.")
        self._engine = CoreEngine(tokenizer) if engine == "core" else _fast_engine(tokenizer)

    def tokenize(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Turns texts into ids, without [CLS] and [SEP].

        Args:
            texts: Strings. *Shape:* (B,)

        Returns:
            int32 ids. *Shape:* (B, None)
        """
        return self._engine(self._prepare(texts))

    def with_offsets(self, texts: tf.Tensor) -> dict[str, tf.RaggedTensor]:
        """Turns texts into ids with their offsets; for the engine "core" only.

        Args:
            texts: Strings. *Shape:* (B,)

        Returns:
            The results of `CoreEngine.with_offsets`, and `texts`, to which the offsets refer: the
            texts without bytes that are not UTF-8.

        Raises:
            ValueError: If the engine is "fast", the tokenizer changes texts before it reads them,
                or offsets depend on white space around added tokens.
        """
        if not hasattr(self._engine, "with_offsets"):
            raise ValueError(
                'Only the engine "core" finds offsets: use `tokenizer_graph(tokenizer, "core")`.'
            )
        if self._preprocessing or self._is_mediapipe:
            raise ValueError(
                "Offsets are found only where texts reach the tokenizer unchanged: use a tokenizer "
                "without preprocessing and normalization='mediapipe'; or export to LiteRT, whose "
                "predictor is Python."
            )
        texts = self._prepare(texts)
        texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", "ignore")
        return {"texts": texts, **self._engine.with_offsets(texts)}

    def _prepare(self, texts: tf.Tensor) -> tf.Tensor:
        """Applies `errors` and `preprocessing`, which come before added tokens are found."""
        texts = tf.convert_to_tensor(texts, tf.string)
        if self._errors == "strict":
            texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="strict")
        if self._preprocessing:
            # Regular expressions match U+FFFD, as in Python, but not bytes that are not UTF-8.
            texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")
            for step in self._preprocessing:
                apply: Any = replace_expressions if isinstance(step, RegexStep) else _in_python
                texts = apply(step, texts)
        if self._is_mediapipe:
            # U+FFFD is not deleted there, and U+0000 ends a text.
            texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")
            texts = tf.strings.regex_replace(texts, r"\x00(?s:.*)", "")
        return texts

    def ragged(
        self,
        texts: tf.Tensor,
        pairs: tf.Tensor | None = None,
        *,
        sequence_length: int,
        truncation: Truncation = "head",
    ) -> tuple[tf.RaggedTensor, tf.RaggedTensor]:
        """Turns texts, or pairs, into [CLS] text [SEP] (pair [SEP]), truncated longest first.

        Args:
            texts: Strings. *Shape:* (B,)
            pairs: The second texts. *Shape:* (B,)
            sequence_length: Most tokens of a row, [CLS] and [SEP] included.
            truncation: Which tokens of a long text stay, see `head_and_tail`; "head" for pairs.

        Returns:
            `(token_ids, segment_ids)`, int32. *Shape:* (B, None) each

        Raises:
            ValueError: If `sequence_length` has no room for [CLS] and [SEP], or the texts cannot be
                truncated so.
        """
        num_texts = 1 if pairs is None else 2
        check_truncation(truncation, num_texts)
        room = check_sequence_length(sequence_length, num_texts)
        head, tail = head_and_tail(truncation, room)
        first = self.tokenize(texts)
        cls, sep = self._special(first.nrows())
        if pairs is None:
            token_ids = tf.concat([cls, _truncate(first, head, tail), sep], 1)
            return token_ids, tf.zeros_like(token_ids)
        second = self.tokenize(pairs)
        lengths = _truncated_lengths(first.row_lengths(), second.row_lengths(), room)
        first = tf.concat([cls, _truncate(first, lengths[0]), sep], 1)
        second = tf.concat([_truncate(second, lengths[1]), sep], 1)
        segment_ids = tf.concat([tf.zeros_like(first), tf.ones_like(second)], 1)
        return tf.concat([first, second], 1), segment_ids

    def windows(
        self, texts: tf.Tensor, *, sequence_length: int, window_stride: int | None = None
    ) -> tuple[tf.RaggedTensor, tf.Tensor]:
        """Turns texts into windows that slide over all of their tokens, each [CLS] tokens [SEP].

        Args:
            texts: Strings. *Shape:* (B,)
            sequence_length: Tokens of a window, [CLS] and [SEP] included; the last of a text may
                have fewer.
            window_stride: Tokens from the start of a window to the start of the next, see
                `check_window_stride`.

        Returns:
            The ids of the windows, those of a text one after the other, int32, *shape:* (W, None);
            and the number of windows of each text, int32, *shape:* (B,).

        Raises:
            ValueError: If the windows are too short, or the stride does not fit them.
        """
        room = check_sequence_length(sequence_length, 1)
        stride = check_window_stride(window_stride, room)
        ids = self.tokenize(texts)
        ones = tf.ones_like(ids.row_lengths())
        tokens, starts = cut_windows(ids, room * ones, stride * ones)
        cls, sep = self._special(tokens.nrows())
        return tf.concat([cls, tokens, sep], 1), tf.cast(starts.row_lengths(), tf.int32)

    def _special(self, rows: tf.Tensor) -> list[tf.RaggedTensor]:
        """Returns a column of [CLS] and one of [SEP]."""
        return [
            tf.RaggedTensor.from_uniform_row_length(tf.fill([rows], token_id), 1, validate=False)
            for token_id in (self._vocabulary.cls_id, self._vocabulary.sep_id)
        ]

    def __call__(
        self,
        texts: tf.Tensor,
        pairs: tf.Tensor | None = None,
        *,
        sequence_length: int,
        truncation: Truncation = "head",
        window_stride: int | None = None,
    ) -> dict[str, tf.Tensor]:
        """Turns texts, or pairs, into a model's inputs.

        Args:
            texts: Strings. *Shape:* (B,)
            pairs: The second texts. *Shape:* (B,)
            sequence_length: Most tokens of a row, [CLS] and [SEP] included.
            truncation: Which tokens of a long text are read, see `truncation.py`.
            window_stride: See `windows`.

        Returns:
            `token_ids`, `segment_ids` and `padding_mask` (1 where there is a token), int32,
            *shape:* (B, S) each, where S is the length of the longest row. With windows, every
            window is a row, and `num_windows` has the number of windows of each text, int32,
            *shape:* (B,).

        Raises:
            ValueError: If `sequence_length` has no room for [CLS] and [SEP], or the texts cannot
                be truncated so.
        """
        check_truncation(truncation, 1 if pairs is None else 2)
        extra = {}
        if truncation == "windows":
            token_ids, extra["num_windows"] = self.windows(
                texts, sequence_length=sequence_length, window_stride=window_stride
            )
            segment_ids = tf.zeros_like(token_ids)
        else:
            token_ids, segment_ids = self.ragged(
                texts, pairs, sequence_length=sequence_length, truncation=truncation
            )
        dense = padded(token_ids, self._vocabulary.pad_id)
        return {
            "token_ids": dense,
            "segment_ids": padded(segment_ids, 0),
            "padding_mask": tf.sequence_mask(
                token_ids.row_lengths(), tf.shape(dense, tf.int64)[1], tf.int32
            ),
            **extra,
        }


# The graphs made so far, as long as their tokenizers live: tables take long to build.
_GRAPHS: weakref.WeakKeyDictionary[WordPieceTokenizer, dict[str, TokenizerGraph]] = (
    weakref.WeakKeyDictionary()
)


def _fast_engine(tokenizer: WordPieceTokenizer) -> Any:
    try:
        from keras_bert_scratch.text.graphs.fast_engine import FastEngine
    except ModuleNotFoundError as error:
        if error.name != "tensorflow_text":  # which has no wheels for Windows
            raise
        return CoreEngine(tokenizer)
    return FastEngine(tokenizer)


def tokenizer_graph(tokenizer: WordPieceTokenizer, engine: Engine = "fast") -> TokenizerGraph:
    """Returns a tokenizer for `tf.data`, `tf.function` and SavedModels.

    Args:
        tokenizer: The tokenizer whose ids the graph computes.
        engine: "fast" uses tensorflow-text, or core TensorFlow operations where it is not
            installed; "core" uses those only, for SavedModels that a stock server loads.

    Returns:
        The graph; the same one whenever the same tokenizer is given.

    Raises:
        ValueError: If the engine is unknown, or "core" and a step of the tokenizer's
            `preprocessing` runs in Python only.

    Example:
        >>> vocabulary = Vocabulary(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "film", "##s", "!"])
        >>> graph = tokenizer_graph(WordPieceTokenizer(vocabulary))
        >>> graph(tf.constant(["Films!", "film"]), sequence_length=8)["token_ids"].numpy()
        array([[2, 4, 5, 6, 3],
               [2, 4, 3, 0, 0]], dtype=int32)
    """
    graphs = _GRAPHS.setdefault(tokenizer, {})
    if engine not in graphs:
        # Its tables must outlive a function that may be traced just now.
        with tf.init_scope():
            graphs[engine] = TokenizerGraph(tokenizer, engine)
    return graphs[engine]


def replace_expressions(step: RegexStep, texts: tf.Tensor) -> tf.Tensor:
    """Applies a step to texts of valid UTF-8, *shape:* (B,), by core TensorFlow operations."""
    for pattern, replacement in step.replacements:
        texts = tf.strings.regex_replace(texts, pattern, replacement)
    return texts


def _in_python(step: Step, texts: tf.Tensor) -> tf.Tensor:
    """Applies a step to every text, *shape:* (B,). A graph with this call cannot be saved."""

    def change(column: np.ndarray) -> np.ndarray:
        return np.array([step(text.decode()).encode() for text in column], dtype=object)

    changed = tf.numpy_function(change, [texts], tf.string, stateful=False)
    return tf.ensure_shape(changed, texts.shape)


def _truncate(ids: tf.RaggedTensor, head: tf.Tensor | int, tail: int = 0) -> tf.RaggedTensor:
    """Keeps the first `head` (one number, or one a row) and the last `tail` ids of every row."""
    head_ends = tf.minimum(ids.row_starts() + head, ids.row_limits())
    kept = tf.ragged.range(ids.row_starts(), head_ends)
    if tail:
        tail_starts = tf.maximum(head_ends, ids.row_limits() - tail)
        kept = tf.concat([kept, tf.ragged.range(tail_starts, ids.row_limits())], 1)
    return tf.gather(ids.flat_values, kept)


def _truncated_lengths(
    first: tf.Tensor, second: tf.Tensor, room: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes `truncation.truncated_lengths` for every row. *Shape:* (B,) each."""
    share = tf.where(first > second, tf.constant(room - room // 2, tf.int64), room // 2)
    return (
        tf.minimum(first, tf.maximum(room - second, share)),
        tf.minimum(second, tf.maximum(room - first, room - share)),
    )
