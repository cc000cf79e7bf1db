"""The core engine: operations of core TensorFlow only, for servers without tensorflow-text.

Strings become code points, and the integer engine does the rest.

Axes: B batch.
"""

import copy
import functools

import tensorflow as tf

from keras_bert_scratch.text.graphs.integer_engine import IntegerEngine
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer


class CoreEngine(tf.Module):
    """Texts -> ids with core TensorFlow operations.

    Args:
        tokenizer: The tokenizer whose ids the engine computes.
    """

    def __init__(self, tokenizer: WordPieceTokenizer) -> None:
        super().__init__()
        # A copy, for graphs are kept as long as their tokenizers live.
        self._tokenizer = copy.copy(tokenizer)
        self._ids = self._function()

    def __call__(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Turns texts (*Shape:* (B,)) into int32 ids (*Shape:* (B, None))."""
        tokens = self._ids(_code_points(texts))
        return _ragged(tokens.token_ids, tokens.rows, texts)

    def with_offsets(self, texts: tf.Tensor) -> dict[str, tf.RaggedTensor]:
        """Turns texts into ids with their offsets.

        Args:
            texts: Strings. *Shape:* (B,)

        Returns:
            `token_ids`, int32; `starts` and `ends`, int64, in characters of the text without bytes
            that are not UTF-8; and `opens_word`, bool: whether a token is the first of its word.
            *Shape:* (B, None) each

        Raises:
            ValueError: If offsets depend on white space around added tokens.
        """
        tokens = self._offsets(_code_points(texts))
        columns = {
            "token_ids": tokens.token_ids,
            "starts": tf.cast(tokens.starts, tf.int64),
            "ends": tf.cast(tokens.ends, tf.int64),
            "opens_word": tokens.opens_word > 0,
        }
        return {name: _ragged(column, tokens.rows, texts) for name, column in columns.items()}

    @functools.cached_property
    def _offsets(self) -> tf.types.experimental.PolymorphicFunction:
        return self._function(with_offsets=True)

    def _function(self, **options: bool) -> tf.types.experimental.PolymorphicFunction:
        """Makes a function that a graph holds once, with its tables, however often it is called."""
        engine = IntegerEngine(self._tokenizer, in_tensorflow=True, **options)
        spec = tf.RaggedTensorSpec([None, None], tf.int32, ragged_rank=1)
        return tf.function(engine.of_ragged, input_signature=[spec], autograph=False)


def _code_points(texts: tf.Tensor) -> tf.RaggedTensor:
    # With a space behind each text, where the engine wants one more code point.
    texts = tf.strings.join([texts, tf.fill(tf.shape(texts), " ")])
    return tf.strings.unicode_decode(texts, "UTF-8", errors="ignore")


def _ragged(values: tf.Tensor, rows: tf.Tensor, texts: tf.Tensor) -> tf.RaggedTensor:
    """Groups values by their texts."""
    splits = tf.searchsorted(rows, tf.range(tf.size(texts) + 1), out_type=tf.int64)
    return tf.RaggedTensor.from_row_splits(values, splits, validate=False)
