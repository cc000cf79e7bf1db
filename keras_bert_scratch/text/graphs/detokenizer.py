"""Token ids -> texts: `WordPieceTokenizer.decode` in a TensorFlow graph.

Axes: B batch, T tokens, V vocabulary.
"""

import tensorflow as tf

from keras_bert_scratch.text.tokenizer import WordPieceTokenizer


class DetokenizerGraph(tf.Module):
    """Joins tokens to texts by core TensorFlow operations; special tokens are skipped.

    Args:
        tokenizer: The tokenizer whose `decode` the graph computes.

    Example:
        >>> vocabulary = Vocabulary(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "film", "##s", "!"])
        >>> graph = DetokenizerGraph(WordPieceTokenizer(vocabulary))
        >>> graph(tf.constant([[2, 4, 5, 6, 3, 0]]))
        <tf.Tensor: shape=(1,), dtype=string, numpy=array([b'films!'], dtype=object)>
    """

    def __init__(self, tokenizer: WordPieceTokenizer) -> None:
        super().__init__(name="detokenizer")
        tokens = tokenizer.vocabulary.tokens
        special = set(tokenizer.special_tokens)
        # A token is written differently at the start of a text and behind any other token.
        some_word = next(token_id for token_id, token in enumerate(tokens) if token not in special)
        start = tokenizer.decode([some_word])
        self._first = tf.constant([tokenizer.decode([token_id]) for token_id in range(len(tokens))])
        self._later = tf.constant(
            [
                tokenizer.decode([some_word, token_id]).removeprefix(start)
                for token_id in range(len(tokens))
            ]
        )
        self._is_special = tf.constant([token in special for token in tokens])

    def __call__(self, token_ids: tf.Tensor) -> tf.Tensor:
        """Turns int32 ids (*Shape:* (B, T)) into strings (*Shape:* (B,))."""
        is_kept = ~tf.gather(self._is_special, token_ids)
        is_first = is_kept & (tf.cumsum(tf.cast(is_kept, tf.int32), axis=1) == 1)
        pieces = tf.where(
            is_first, tf.gather(self._first, token_ids), tf.gather(self._later, token_ids)
        )
        return tf.strings.reduce_join(tf.where(is_kept, pieces, ""), axis=1)
