"""The tokenizer for one text, in operations that tensorflow-text also has for LiteRT.

LiteRT has no ragged tensors and few operations on strings. Words are therefore flat values with row
splits, and the per-word tests are computed from the words' ends.
"""

import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text

from keras_bert_scratch.text.graphs.code_points import UNCHANGED
from keras_bert_scratch.text.graphs.fast_engine import FastEngine, normalizer_model
from keras_bert_scratch.text.normalization import NUM_CODE_POINTS
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer

# LiteRT's names of the operations; tensorflow_text.tflite_registrar.SELECT_TFTEXT_OPS has them.
OPERATIONS = frozenset(
    [
        "FastBertNormalize",
        "FastWordpieceTokenizeWithOffsets",
        "TFText>WhitespaceTokenizeWithOffsetsV2",
    ]
)


class PhoneEngine(FastEngine):
    """One text -> its ids, those of `WordPieceTokenizer.encode` except for rare marks.

    The 96 combining marks that are newer than the reference's Unicode tables, and therefore survive
    `strip_accents`, keep their order in the text.

    Args:
        tokenizer: The tokenizer whose ids the engine computes.

    Raises:
        ValueError: If the tokenizer has settings that need operations which LiteRT lacks.
    """

    def __init__(self, tokenizer: WordPieceTokenizer) -> None:
        switches = {
            "normalization": (tokenizer.normalization, "bert"),
            "allow_special_tokens": (tokenizer.allow_special_tokens, False),
            "errors": (tokenizer.errors, "replace"),
            "preprocessing": (tokenizer.preprocessing, ()),
            "added_tokens": (tokenizer.added_tokens, ()),
        }
        for name, (found, needed) in switches.items():
            if found != needed:
                raise ValueError(
                    f"A LiteRT file that takes text needs a tokenizer with {name}={needed!r}, "
                    f"received {found!r}: export one that takes ids, with inputs='ids'."
                )
        super().__init__(tokenizer)
        self._unknown = tokenizer.vocabulary.unk_id
        self._whitespace = tf_text.WhitespaceTokenizer()
        # Turns every character but the space into one byte, so that bytes count characters.
        index = np.full(NUM_CODE_POINTS, 1, np.int32)
        index[ord(" ")] = UNCHANGED
        self._one_byte = tf_text.FastBertNormalizer(model_buffer=normalizer_model(index, ["", "x"]))

    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        """Turns a text (*Shape:* (1,)) into int32 ids (*Shape:* (number of pieces,))."""
        normalized = self._normalizer.normalize(texts)
        words = self._whitespace.tokenize(normalized).flat_values
        _, starts, ends = self._whitespace.tokenize_with_offsets(
            self._one_byte.normalize(normalized)
        )
        is_long = ends.flat_values - starts.flat_values > self._max_word_length

        pieces = self._wordpiece.tokenize(words)
        # 1 at the first piece of every word.
        is_first = tf.scatter_nd(
            pieces.row_starts()[:, tf.newaxis],
            tf.ones_like(pieces.row_starts(), tf.int32),
            tf.shape(pieces.flat_values, tf.int64),
        )
        in_long = tf.gather(is_long, tf.cumsum(is_first) - 1)
        ids = tf.where(in_long, self._unknown, pieces.flat_values)
        return tf.boolean_mask(ids, tf.logical_or(is_first > 0, tf.logical_not(in_long)))
