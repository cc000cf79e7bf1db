"""The graph beyond its ids: inputs of a model, padding, pairs, refusals, `tf.data`."""

import gc
import importlib
import itertools
import sys
import types
import weakref

import pytest
import tensorflow as tf

from keras_bert_scratch.text import graphs
from keras_bert_scratch.text.graphs.tokenizer_graph import TokenizerGraph, tokenizer_graph
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import SPECIAL_TOKENS, Vocabulary

TOKENS = [*SPECIAL_TOKENS, "film", "a", "##s", "!", "é"]
ENGINES = ("fast", "core")


@pytest.fixture(scope="module")
def tokenizer():
    return WordPieceTokenizer(Vocabulary(TOKENS))


@pytest.fixture(params=ENGINES, scope="module")
def engine(request):
    return request.param


@pytest.fixture(scope="module")
def graph(tokenizer, engine):
    return tokenizer_graph(tokenizer, engine)


def test_inputs_of_a_model(graph):
    inputs = graph(tf.constant(["Films!", "film", ""]), sequence_length=8)
    assert {name: value.numpy().tolist() for name, value in inputs.items()} == {
        "token_ids": [[2, 5, 7, 8, 3], [2, 5, 3, 0, 0], [2, 3, 0, 0, 0]],
        "segment_ids": [[0] * 5] * 3,
        "padding_mask": [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 0, 0, 0]],
    }
    assert {value.dtype for value in inputs.values()} == {tf.int32}


def test_pairs(graph):
    inputs = graph(tf.constant(["a", "a"]), tf.constant(["film", ""]), sequence_length=8)
    assert inputs["token_ids"].numpy().tolist() == [[2, 6, 3, 5, 3], [2, 6, 3, 3, 0]]
    assert inputs["segment_ids"].numpy().tolist() == [[0, 0, 0, 1, 1], [0, 0, 0, 1, 0]]
    assert inputs["padding_mask"].numpy().tolist() == [[1] * 5, [1, 1, 1, 1, 0]]


@pytest.mark.parametrize("word", ["a", "as", "ass", "asx", "a" + 4_000 * "s", "a" + 9_999 * "s"])
def test_long_words(engine, word):
    """Words of many tokens, alone and among others; some are too long or unknown."""
    tokenizer = WordPieceTokenizer(Vocabulary(TOKENS), max_word_length=5_000)
    texts = [word, f"film {word} a{word[1:]}s {word}x films", ""]
    found = tokenizer_graph(tokenizer, engine).tokenize(tf.constant(texts)).to_list()
    assert found == [tokenizer.encode(text).token_ids[1:-1] for text in texts]


def test_no_texts(graph):
    inputs = graph(tf.constant([], tf.string), sequence_length=6)
    assert inputs["token_ids"].shape[0] == 0


@pytest.mark.parametrize("length", [3, 4, 5, 6, 7, 8, 13])
def test_truncation_is_that_of_python(tokenizer, graph, length):
    texts = ["a " * number for number in (0, 1, 2, 3, 4, 5, 9)]
    firsts, seconds = zip(*itertools.product(texts, repeat=2), strict=True)
    ids, segments = graph.ragged(tf.constant(firsts), tf.constant(seconds), sequence_length=length)
    expected = [
        tokenizer.encode(*pair, sequence_length=length)
        for pair in zip(firsts, seconds, strict=True)
    ]
    assert ids.to_list() == [encoding.token_ids for encoding in expected]
    assert segments.to_list() == [encoding.segment_ids for encoding in expected]
    ids, _ = graph.ragged(tf.constant(texts), sequence_length=length)
    assert ids.to_list() == [tokenizer.encode(t, sequence_length=length).token_ids for t in texts]


def test_a_text_does_not_depend_on_the_others(graph):
    texts = ["Films!", "a\u302e\U0001d165", "x" * 101, "", "[MASK] é", "\xad"]
    together = graph.tokenize(tf.constant(texts)).to_list()
    alone = [graph.tokenize(tf.constant([text])).to_list()[0] for text in texts]
    assert together == alone


def test_inside_tf_data(graph):
    texts = tf.data.Dataset.from_tensor_slices(["Films!", "film", "a"])
    dataset = texts.batch(2).map(lambda batch: graph(batch, sequence_length=4))
    assert [batch["token_ids"].numpy().tolist() for batch in dataset] == [
        [[2, 5, 7, 3], [2, 5, 3, 0]],
        [[2, 6, 3]],
    ]


def test_not_utf8(engine):
    text = tf.constant([b"fi\xfflm"])
    replacing = tokenizer_graph(WordPieceTokenizer(Vocabulary(TOKENS)), engine)
    assert replacing.tokenize(text).to_list() == [[5]]
    strict = tokenizer_graph(WordPieceTokenizer(Vocabulary(TOKENS), errors="strict"), engine)
    assert strict.tokenize(tf.constant(["film"])).to_list() == [[5]]
    with pytest.raises(tf.errors.InvalidArgumentError, match="(?i)invalid"):
        strict.tokenize(text)


def test_refusals(tokenizer, graph):
    texts = tf.constant(["a"])
    with pytest.raises(ValueError, match="engine must be 'fast' or 'core', received 'quick'"):
        tokenizer_graph(tokenizer, "quick")
    with pytest.raises(ValueError, match="sequence_length is 1, but"):
        graph(texts, sequence_length=1)
    with pytest.raises(ValueError, match="sequence_length is 2, but .* alone take 3 tokens"):
        graph(texts, texts, sequence_length=2)


def test_a_tokenizer_makes_each_graph_once(tokenizer, engine):
    assert tokenizer_graph(tokenizer, engine) is tokenizer_graph(tokenizer, engine)


def test_graphs_go_with_their_tokenizer(engine):
    tokenizer = WordPieceTokenizer(Vocabulary(TOKENS), allow_special_tokens=True)
    tokenizer_graph(tokenizer, engine).tokenize(tf.constant(["a"]))
    alive = weakref.ref(tokenizer)
    del tokenizer
    gc.collect()
    assert alive() is None


def test_no_engine_needs_tensorflow_text(tokenizer, engine, monkeypatch):
    for name, module in [*vars(graphs).items()]:
        if isinstance(module, types.ModuleType):
            monkeypatch.delitem(sys.modules, module.__name__)
            monkeypatch.delattr(graphs, name)
    monkeypatch.setitem(sys.modules, "tensorflow_text", None)
    fresh = importlib.import_module(f"{graphs.__name__}.tokenizer_graph")
    assert fresh.tokenizer_graph(tokenizer, engine).tokenize(["FILM"]).to_list() == [[5]]


def test_no_other_package_may_be_missing(tokenizer, monkeypatch):
    monkeypatch.setitem(sys.modules, f"{graphs.__name__}.fast_engine", None)
    with pytest.raises(ModuleNotFoundError, match="fast_engine"):
        TokenizerGraph(tokenizer, "fast")


def test_can_first_be_made_inside_a_function(engine):
    tokenizer = WordPieceTokenizer(Vocabulary(TOKENS))

    @tf.function
    def tokenize(texts):
        return tokenizer_graph(tokenizer, engine).tokenize(texts)

    texts, expected = tf.constant(["a films"]), [[6, 5, 7]]
    assert tokenize(texts).to_list() == expected
    assert tokenizer_graph(tokenizer, engine).tokenize(texts).to_list() == expected
