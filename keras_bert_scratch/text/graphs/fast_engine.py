"""The fast engine: tensorflow-text's operations with our table of normalized characters.

`FastBertNormalizer` looks every character up in a trie over UTF-8 bytes that it takes as data; ours
holds the reference's normalization, with spaces around words. `FastWordpieceTokenizer` then splits
the words into the longest tokens in linear time (Song et al. 2021, "Fast WordPiece Tokenization").
"""

import flatbuffers
import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text

from keras_bert_scratch.text.graphs.added_tokens import AddedTokensGraph
from keras_bert_scratch.text.graphs.code_points import (
    DELETED,
    UNCHANGED,
    code_point_strings,
    unique_blocks,
)
from keras_bert_scratch.text.graphs.mark_order import MarkOrder
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import CONTINUATION, UNK

# A word that is in no vocabulary: no normalized text holds this character.
_UNKNOWN_WORD = "\0"
# Flags of a unit of the trie, and the places of the root's children and of the blocks.
_HAS_VALUE, _IS_VALUE = 1 << 8, np.uint32(1 << 31)
_ROOT_CHILDREN, _BLOCK_AREA = 256, 512


class FastEngine(tf.Module):
    """Texts -> ids with tensorflow-text.

    Args:
        tokenizer: The tokenizer whose ids the engine computes.
    """

    def __init__(self, tokenizer: WordPieceTokenizer) -> None:
        super().__init__()
        model = normalizer_model(*code_point_strings(tokenizer.normalizer))
        self._normalizer = tf_text.FastBertNormalizer(model_buffer=model)
        # Tokens that match no word, some of which the builder refuses, get a name with a space.
        tokens = [
            token
            if token in tokenizer.pieces
            and token not in ("", CONTINUATION)
            and not {" ", "\0"} & set(token)
            else f" {token_id}"
            for token_id, token in enumerate(tokenizer.vocabulary.tokens)
        ]
        self._max_word_length = tokenizer.max_word_length
        self._length_unit = tokenizer.normalizer.length_unit
        self._wordpiece = tf_text.FastWordpieceTokenizer(
            tokens,
            # Longer words are replaced before; a character has at most 4 bytes.
            max_bytes_per_word=4 * tokenizer.max_word_length,
            token_out_type=tf.int32,
            unknown_token=UNK,
            no_pretokenization=True,
        )
        self._marks = MarkOrder(tokenizer.normalizer)
        self._added_tokens = (
            AddedTokensGraph(tokenizer, self._marks, self._tokenize) if tokenizer.finders else None
        )

    def __call__(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Turns texts (*Shape:* (B,)) into int32 ids (*Shape:* (B, None))."""
        if self._added_tokens:
            return self._added_tokens(texts)
        return self._tokenize(self._marks(texts))

    def _tokenize(self, texts: tf.Tensor) -> tf.RaggedTensor:
        words = tf.strings.split(self._normalizer.normalize(texts))
        ids = self._wordpiece.tokenize(self._without_long_words(words.flat_values))
        row_splits = tf.gather(ids.row_splits, words.row_splits)
        return tf.RaggedTensor.from_row_splits(ids.flat_values, row_splits, validate=False)

    def _without_long_words(self, words: tf.Tensor) -> tf.Tensor:
        def replace() -> tf.Tensor:
            too_long = tf.strings.length(words, self._length_unit) > self._max_word_length
            return tf.where(too_long, _UNKNOWN_WORD, words)

        # Counting bytes is faster, and few words have so many.
        is_any_long = tf.reduce_any(tf.strings.length(words) > self._max_word_length)
        return tf.cond(is_any_long, replace, lambda: words)


def normalizer_model(index: np.ndarray, strings: list[str]) -> tf.Tensor:
    """Builds the flatbuffer that tensorflow-text's FastBertNormalize operation takes as its model.

    Args:
        index: Code point c becomes `strings[index[c]]`. *Shape:* (NUM_CODE_POINTS,)
        strings: What characters become, 63 bytes at most each.

    Returns:
        uint8. The table has four fields: a flag that nothing reads, the trie as 32-bit units, the
        value of U+0000 and the pool of strings. A value is 1 << 30, the string's place in the pool
        << 6 and its length in bytes.
    """
    encoded = [text.encode() for text in strings]
    lengths = np.array([len(text) for text in encoded])
    places = np.cumsum(lengths) - lengths
    values = (1 << 30 | places << 6 | lengths).astype(np.uint32)
    values[UNCHANGED] = 0
    builder = flatbuffers.Builder()
    pool = builder.CreateNumpyVector(np.frombuffer(b"".join(encoded), np.uint8))
    trie = builder.CreateNumpyVector(_trie(index, values))
    builder.StartObject(4)
    builder.PrependUOffsetTRelativeSlot(3, pool, 0)
    builder.PrependInt32Slot(2, int(values[index[0]]), 0)
    builder.PrependUOffsetTRelativeSlot(1, trie, 0)
    builder.Finish(builder.EndObject())
    return tf.constant(np.frombuffer(builder.Output(), np.uint8))


def _trie(index: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Builds a double-array trie from UTF-8 bytes to values.

    Units are those of Darts-clone: bits 0-7 label, 8 "has a value", 9 "offset is in units of 256",
    10-30 offset, 31 "is a value". From node n, byte b leads to node n ^ offset ^ b if that has the
    label b; n's value stands at n ^ offset. Only the label is checked, so nodes may share their
    children: like a page table, this stores equal blocks of 64 continuation bytes once.

    Incomplete sequences and bytes that cannot start one get the empty string, too: that deletes
    what is not UTF-8.

    Args:
        index: Code point c has the value `values[index[c]]`. *Shape:* (NUM_CODE_POINTS,)
        values: What to store.

    Returns:
        The units, uint32.
    """
    # Continuation bytes carry 6 bits each: a leaf block covers 64 code points, the next 4096, the
    # last 262,144, where sequences beyond U+10FFFF repeat the last block: they never match.
    leaves, leaf_of = unique_blocks(index, 64)
    middles, middle_of = unique_blocks(leaf_of, 64)
    tops, top_of = unique_blocks(np.pad(middle_of, (0, -middle_of.size % 64), mode="edge"), 64)

    # Layout: the root node in units 0 to 255, its children, the blocks, the values.
    num_blocks = len(leaves) + len(middles) + len(tops)
    bases = _BLOCK_AREA + np.arange(num_blocks) // 2 * 256 + np.arange(num_blocks) % 2 * 64
    leaf_bases, middle_bases, top_bases = np.split(bases, [len(leaves), len(leaves) + len(middles)])
    value_area = int(bases[-1] // 256 + 1) * 256
    units = np.zeros(value_area + len(values), np.uint32)
    units[value_area:] = values | _IS_VALUE
    # The value of an incomplete sequence stands where its children would have the byte 0.
    units[bases] = values[DELETED] | _IS_VALUE

    continuation = np.arange(0x80, 0xC0)
    _link(units, leaf_bases, continuation, value_area + leaves)
    _link(units, middle_bases, continuation, leaf_bases[middles])
    _link(units, top_bases, continuation, middle_bases[tops])

    children = np.full(256, value_area + DELETED)
    children[:0x80] = value_area + index[:0x80]
    children[0xC2:0xE0] = leaf_bases[leaf_of[0x02:0x20]]
    children[0xE0:0xF0] = middle_bases[middle_of[:0x10]]
    children[0xF0:0xF5] = top_bases[top_of]
    units[0] = _ROOT_CHILDREN << 10
    _link(units, np.array([_ROOT_CHILDREN]), np.arange(1, 256), children[None, 1:])
    return units


def _link(units: np.ndarray, bases: np.ndarray, labels: np.ndarray, targets: np.ndarray) -> None:
    """Writes blocks of child nodes: the child `labels[j]` of block i leads to `targets[i, j]`."""
    nodes = bases[:, None] ^ labels
    units[nodes] = (nodes ^ targets) << 10 | _HAS_VALUE | labels
