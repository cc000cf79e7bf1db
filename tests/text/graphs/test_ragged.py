"""Rows of different lengths: the same results as with lists, and their memory."""

from pathlib import Path

import pytest
import tensorflow as tf

from keras_bert_scratch.text.graphs.ragged import boolean_mask, row_ids
from keras_bert_scratch.text.graphs.tokenizer_graph import tokenizer_graph
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import SPECIAL_TOKENS, Vocabulary

ROWS = [[[7, 8], [], [9]], [[], [1], []], [[], []], []]


def ragged(rows):
    return tf.ragged.constant(rows, tf.int32, ragged_rank=1)


@pytest.mark.parametrize("rows", ROWS)
def test_row_ids(rows):
    ids = row_ids(ragged(rows))
    assert ids.dtype == tf.int64
    assert ids.numpy().tolist() == [number for number, row in enumerate(rows) for _ in row]


@pytest.mark.parametrize("rows", ROWS)
def test_boolean_mask(rows):
    kept = boolean_mask(ragged(rows), ragged(rows).flat_values > 7)
    assert kept.to_list() == [[value for value in row if value > 7] for row in rows]


def megabytes_taken(act):
    """Returns by how many megabytes the peak of this process rises."""

    def peak():
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) >> 10 for line in lines if line.startswith("VmHWM:"))

    Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    act()
    return peak() - before


# Matrices of 200 rows as long as the longest would take 3200 MB here, and 1600 MB below.
def test_a_long_row_among_short_ones():
    lengths = tf.constant([2_000_000] + [1] * 199, tf.int64)
    rows = tf.RaggedTensor.from_row_lengths(tf.zeros(2_000_199), lengths)
    assert megabytes_taken(lambda: boolean_mask(rows, row_ids(rows) > 100)) < 300


def test_a_long_text_among_short_ones():
    graph = tokenizer_graph(WordPieceTokenizer(Vocabulary([*SPECIAL_TOKENS, "a"])), "fast")
    texts = tf.constant(["a " * 1_000_000] + ["a"] * 199)
    assert megabytes_taken(lambda: graph(texts, sequence_length=8)) < 500
