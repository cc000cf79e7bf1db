"""The tokenizer for one text, in operations that tensorflow-text has for LiteRT, too.

LiteRT has no ragged tensors and few operations on strings: here they stand as flat values and row
splits, and whatever else is asked of a word is asked of where it ends.
"""

import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text

from keras_bert_scratch.text.graphs.code_points import UNCHANGED, code_point_strings
from keras_bert_scratch.text.graphs.fast_engine import FastEngine, normalizer_model
from keras_bert_scratch.text.normalization import NUM_CODE_POINTS
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer

# The operations, as LiteRT calls them; tensorflow_text.tflite_registrar.SELECT_TFTEXT_OPS has them.
OPERATIONS = frozenset(
    [
        "FastBertNormalize",
        "FastWordpieceTokenizeWithOffsets",
        "TFText>WhitespaceTokenizeWithOffsetsV2",
    ]
)


class PhoneEngine(FastEngine):
    """One text -> its ids, as `WordPieceTokenizer.encode` gives them but for rare marks.

    The 96 combining marks that are younger than the reference's Unicode tables, and so survive
    `strip_accents`, stay in the order of the text.

    Args:
        tokenizer: Whose ids this computes.

    Raises:
        ValueError: If the tokenizer has switches that need operations which LiteRT lacks.
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
        super().__init__(tokenizer, code_point_strings(tokenizer.normalizer))
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
        # 1 where a word's first piece stands; every word has one.
        is_first = tf.scatter_nd(
            pieces.row_starts()[:, tf.newaxis],
            tf.ones_like(pieces.row_starts(), tf.int32),
            tf.shape(pieces.flat_values, tf.int64),
        )
        in_long = tf.gather(is_long, tf.cumsum(is_first) - 1)
        ids = tf.where(in_long, self._unknown, pieces.flat_values)
        return tf.boolean_mask(ids, tf.logical_or(is_first > 0, tf.logical_not(in_long)))
