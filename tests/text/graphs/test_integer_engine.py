"""The engine without strings beyond the reference's answers: bad input, refusals, sizes."""

import random

import pytest
import tensorflow as tf

from keras_bert_scratch.text.added_tokens import AddedToken
from keras_bert_scratch.text.graphs.double_array import DEAD, double_array
from keras_bert_scratch.text.graphs.integer_engine import IntegerEngine
from keras_bert_scratch.text.graphs.symbols import trie_of
from keras_bert_scratch.text.tokenizer import WordPieceTokenizer
from keras_bert_scratch.text.vocabulary import SPECIAL_TOKENS, Vocabulary

TOKENS = [*SPECIAL_TOKENS, "a", "film", "##s", "!"]


def tokenizer(**switches):
    return WordPieceTokenizer(Vocabulary(TOKENS), **switches)


def found(engine, *rows):
    return [column.numpy().tolist() for column in engine(tf.constant(rows, tf.int32))]


@pytest.mark.parametrize("unrolled", [False, True])
def test_columns(unrolled):
    rows = [[*map(ord, text.ljust(8, "\0"))] for text in ("Films! a", "", "a\0 ?ss")]
    assert found(IntegerEngine(tokenizer(), unrolled=unrolled), *rows) == [
        [6, 7, 8, 5, 5, 1, 1],
        [0, 4, 5, 7, 0, 3, 4],
        [4, 5, 6, 8, 1, 4, 6],
        [1, 0, 1, 1, 1, 1, 1],
        [0, 0, 0, 0, 2, 2, 2],
    ]


def test_no_code_points_and_no_texts():
    engine = IntegerEngine(tokenizer())
    for shape in ((1, 0), (0, 3), (0, 0)):
        assert engine(tf.zeros(shape, tf.int32)).token_ids.shape == (0,)


@pytest.mark.parametrize("normalization", ["bert", "mediapipe"])
def test_what_is_no_code_point_counts_as_the_replacement_character(normalization):
    engine = IntegerEngine(tokenizer(normalization=normalization))
    a = ord("a")
    wanted = found(engine, [a, 0xFFFD, a])
    for bad in (-1, -(2**31), 0x110000, 0x110001, 2**31 - 1, 0xD800, 0xDFFF):
        assert found(engine, [a, bad, a]) == wanted
    assert wanted[0] == [1]


def test_a_text_of_mediapipe_ends_at_the_first_zero():
    row = [*map(ord, "a\0 film")]
    assert found(IntegerEngine(tokenizer(normalization="mediapipe")), row)[0] == [5]
    assert found(IntegerEngine(tokenizer()), row)[0] == [5, 6]


def test_a_text_does_not_depend_on_the_others():
    # A token that is found must not run over the end of a text, nor marks be sorted over it.
    vocabulary = Vocabulary([*TOKENS, "a b", "\u302e", "##\u302e"])
    both = WordPieceTokenizer(vocabulary, added_tokens=[AddedToken("a b")])
    engine = IntegerEngine(both, with_offsets=True)
    texts = ["x a", "b a b", "\u302e\u0323", "\U0001d165a b", "a"]
    rows = [[*map(ord, text.ljust(6, "\0"))] for text in texts]
    ids, starts, ends, _, row_of = found(engine, *rows)
    alone = [both.encode(text) for text in texts]
    assert ids == [i for encoding in alone for i in encoding.token_ids[1:-1]]
    offsets = [o for encoding in alone for o in encoding.offsets[1:-1]]
    assert [*zip(starts, ends, strict=True)] == offsets
    assert row_of == [i for i, encoding in enumerate(alone) for _ in encoding.token_ids[1:-1]]


@pytest.mark.parametrize("normalized", [False, True])
def test_many_added_tokens(normalized):
    # More than a page of the tables has, with marks that are sorted and spaces that are kept.
    names = [f"<{number}>" for number in range(300)]
    added = [AddedToken(name, normalized=normalized) for name in names]
    both = WordPieceTokenizer(Vocabulary([*TOKENS, "中", *names]), added_tokens=added)
    for text in ("a<299>films<0>", "中<257>\u302e\u0323!<25><a>", "<<1>><12<3>4>"):
        wanted = both.encode(text)
        ids, starts, ends, *_ = found(IntegerEngine(both, with_offsets=True), [*map(ord, text)])
        assert ids == wanted.token_ids[1:-1]
        assert [*zip(starts, ends, strict=True)] == wanted.offsets[1:-1]


def test_spaces_that_are_parts_of_words():
    # For MediaPipe, white space is ASCII's.
    both = WordPieceTokenizer(Vocabulary([*TOKENS, "\u3000", "##\xa0"]), normalization="mediapipe")
    for text in ("\u3000\xa0 a\xa0\u3000", "a \u3000s"):
        wanted = both.encode(text)
        assert found(IntegerEngine(both), [*map(ord, text)])[0] == wanted.token_ids[1:-1]


@pytest.mark.parametrize("length", [4_999, 5_000, 5_001])
def test_long_words(length):
    text = "a" + (length - 1) * "s"
    long = tokenizer(max_word_length=5_000)
    ids = found(IntegerEngine(long), [*map(ord, f"a {text} films")])[0]
    assert ids == long.encode(f"a {text} films").token_ids[1:-1]


def test_tokens_that_are_too_long_for_a_word():
    both = WordPieceTokenizer(Vocabulary([*TOKENS, 100 * "f", 101 * "f", "##" + 5_000 * "s"]))
    for text in (100 * "f", 101 * "f", "a" + 5_000 * "s"):
        assert found(IntegerEngine(both), [*map(ord, text)])[0] == both.encode(text).token_ids[1:-1]
    with pytest.raises(ValueError, match="no tokens of 3 characters among 1000000001 tokens: rem"):
        trie_of([(1, [2, 2, 2], 10**9)], 1, 3)


@pytest.mark.parametrize(
    ("switches", "message"),
    [
        ({"added_tokens": [AddedToken("a", rstrip=True)]}, "without lstrip and rstrip, .* 'a'"),
    ],
)
def test_refusals(switches, message):
    with pytest.raises(ValueError, match=message):
        IntegerEngine(tokenizer(**switches), with_offsets=True)


def test_tables_are_small():
    rng = random.Random(0)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = {
        rng.choice(["", "##"]) + "".join(rng.choices(letters, k=rng.randrange(2, 9)))
        for _ in range(33_000)
    }
    vocabulary = Vocabulary([*TOKENS, *sorted(words)][:30_522])
    engine = IntegerEngine(WordPieceTokenizer(vocabulary), with_offsets=True)
    function = tf.function(engine).get_concrete_function(tf.TensorSpec((1, None), tf.int32))
    tables = {
        node.name: tf.make_ndarray(node.attr["value"].tensor).nbytes
        for node in function.graph.as_graph_def().node
        if node.op == "Const"
    }
    assert 500_000 < sum(tables.values()) < 2_500_000


class TestDoubleArray:
    def test_holds_its_entries_and_no_others(self):
        rng = random.Random(0)
        rows = {(rng.randrange(1, 3), *rng.choices(range(1, 40), k=rng.randrange(1, 6)))
                for _ in range(3000)}  # fmt: skip
        values = {row: number for number, row in enumerate(sorted(rows))}
        trie = double_array([(r, s, v) for (r, *s), v in values.items()], 2, 40)

        def value(root, *symbols):
            state = root
            for symbol in symbols:
                child = trie.base[state] + symbol
                state = child if trie.check[child] == state else DEAD
            return trie.value[state]

        assert {row: value(*row) for row in rows} == values
        others = [(r, *rng.choices(range(40), k=3)) for r in (1, 2) for _ in range(2000)]
        assert {value(*row) for row in others if row not in rows} == {-1}
        assert trie.depth == 5
        # Not many more places than states.
        assert len(trie.base) < 1.2 * (trie.check >= 0).sum() + 40

    def test_no_entries(self):
        trie = double_array([], 2, 7)
        assert len(trie.base) >= 2 + 1
        assert trie.depth == 0
