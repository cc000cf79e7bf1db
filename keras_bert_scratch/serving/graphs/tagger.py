"""The signature of taggers: texts in, words and their tags out.

Axes: B batch, S sequence, C classes, W words.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from keras_bert_scratch.serving.graphs.signature import (
    Functions,
    Outputs,
    Signature,
    shared,
    strings,
)
from keras_bert_scratch.serving.graphs.windows import inputs_of, slide, slide_over_one
from keras_bert_scratch.text.graphs.ragged import boolean_mask, row_ids
from keras_bert_scratch.text.truncation import check_sequence_length, check_window_stride


@dataclasses.dataclass(frozen=True, eq=False)
class TaggerSignature(Signature):
    """A tagger as its exports see it.

    The signatures of a SavedModel, which reads texts of any length in windows, are

    - `serving_default`: `text`, string (B,) -> for every word, padded to the most words of a text:
      `words` and `tags`, string (B, W); `starts` and `ends`, int32 (B, W), in characters of the
      text; `probabilities`, float32 (B, W, C); and `num_words`, int32 (B,), and `classes`, string
      (B, C), the names that belong to the probabilities;
    - `tokens`: `token_ids`, `segment_ids`, `padding_mask`, int32 (B, S) -> `logits` (B, S, C).

    A LiteRT file takes ids and returns `probabilities` of every token, float32 (B, S, C); or it
    takes the code points of one text, which it reads in windows, and returns for every token
    `starts` and `ends`, int32 (1, T), in code points; `opens_word`, int32 (1, T), 1 for the first
    token of a word, whose probabilities are those of the word; and `probabilities`, float32
    (1, T, C). T is the most tokens that N code points can have; behind the last token ends are 0.

    Attributes:
        tags: Names of the tags.
        sequence_length: Tokens of a window.
        window_stride: Tokens from the start of a window to the start of the next.
    """

    tags: list[str]
    sequence_length: int
    window_stride: int | None

    task, output = "tagger", "probabilities"
    settings = ("sequence_length", "window_stride", "tags")

    def functions(self) -> Functions:
        """Returns the functions of a SavedModel."""
        logits_of = shared(self.compute)

        def answer(text: tf.Tensor) -> Outputs:
            return self._words(logits_of, text)

        return {"serving_default": (answer, strings("text")), "tokens": self.tokens(logits_of)}

    def _words(self, logits_of: Callable[..., tf.Tensor], text: tf.Tensor) -> Outputs:
        names = tf.constant(self.tags)
        found = self.graph.with_offsets(text)
        room = check_sequence_length(self.sequence_length, 1)
        stride = check_window_stride(self.window_stride, room)
        size = tf.shape(text)
        room_and_stride = (tf.fill(size, np.int64(value)) for value in (room, stride))
        windows = slide(found["token_ids"], *room_and_stride)
        logits = logits_of(inputs_of(self.tokenizer.vocabulary, windows.tokens))

        opens = found["opens_word"].flat_values
        # A word ends where its last token does: the one before the next word, or the text's last.
        closes = tf.concat([opens[1:], tf.ones_like(opens[:1])], 0)
        starts = boolean_mask(found["starts"], opens)
        ends = starts.with_values(tf.boolean_mask(found["ends"].flat_values, closes))
        words = tf.strings.substr(
            tf.gather(found["texts"], row_ids(starts)),
            starts.flat_values,
            (ends - starts).flat_values,
            unit="UTF8_CHAR",
        )
        places = tf.stack([windows.owner.flat_values, windows.columns.flat_values + 1], axis=-1)
        probabilities = tf.gather_nd(tf.nn.softmax(logits), tf.boolean_mask(places, opens))
        tags = tf.gather(names, tf.argmax(probabilities, axis=-1))
        shape = (None, None, len(self.tags))
        return {
            "words": starts.with_values(words).to_tensor(""),
            "tags": starts.with_values(tags).to_tensor(""),
            "starts": tf.cast(starts.to_tensor(0), tf.int32),
            "ends": tf.cast(ends.to_tensor(0), tf.int32),
            "probabilities": starts.with_values(probabilities).to_tensor(0.0, shape=shape),
            "num_words": tf.cast(starts.row_lengths(), tf.int32),
            "classes": tf.repeat(names[tf.newaxis], size[0], axis=0),
        }

    def of_ids(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """Computes the probabilities of every token."""
        return tf.nn.softmax(self.compute(inputs))

    def of_code_points(  # type: ignore[override]
        self, code_points: tf.Tensor, *, unrolled: bool = False
    ) -> Outputs:
        """See `Signature`."""
        engine = self.engine(with_offsets=True, unrolled=unrolled)
        found = engine(code_points)
        room = check_sequence_length(self.sequence_length, 1)
        stride = check_window_stride(self.window_stride, room)
        windows = slide_over_one(self.tokenizer.vocabulary, found.token_ids, room, stride)
        probabilities = self.of_ids(windows.inputs)
        width = tf.shape(probabilities)[1]
        rows = tf.reshape(probabilities, [-1, len(self.tags)])
        # One at least: a size of 0 means another one in ONNX's reshape.
        number = code_points.shape[1] or tf.maximum(tf.shape(code_points)[1], 1)
        size = engine.most_tokens(number)
        missing = size - tf.size(found.token_ids)
        columns = {name: getattr(found, name) for name in ("starts", "ends", "opens_word")}
        of_tokens = tf.gather(rows, windows.owner * width + windows.columns)
        none = tf.zeros([missing, len(self.tags)])
        nowhere = tf.zeros([missing], tf.int32)
        return {
            self.output: tf.reshape(tf.concat([of_tokens, none], 0), [1, size, len(self.tags)]),
            **{
                name: tf.reshape(tf.concat([column, nowhere], 0), [1, size])
                for name, column in columns.items()
            },
        }

    @property
    def row_length(self) -> int:
        """Most tokens of a row of the network."""
        return self.sequence_length

    def gap(self, found: np.ndarray, wanted: Any) -> float:
        """Returns the largest difference of a word's probability.

        Args:
            found: Probabilities of the words of all texts. *Shape:* (words of all texts, C).
            wanted: Those of each text. *Shape:* (W, C) each.

        Raises:
            RuntimeError: If there are other words.
        """
        wanted = np.concatenate(wanted)
        if found.shape != wanted.shape:
            raise RuntimeError(
                f"The export finds {len(found)} words where the model finds {len(wanted)}: "
                "nothing was written."
            )
        return super().gap(found, wanted)
