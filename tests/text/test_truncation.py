"""Truncation and windows of long texts, by hand, in Python and in both graphs."""

import numpy as np
import pytest
import tensorflow as tf

from keras_bert_scratch import Vocabulary, WordPieceTokenizer
from keras_bert_scratch.text.graphs.tokenizer_graph import tokenizer_graph
from keras_bert_scratch.text.truncation import check_window_stride, head_and_tail, window_starts

CLS, SEP, PAD = 1, 2, 3
# "10" is token 10, and so on, so that ids show which tokens stay.
TOKENS = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", *map(str, range(4, 60))]
TEN = " ".join(map(str, range(10, 20)))


@pytest.fixture(scope="module")
def tokenizer() -> WordPieceTokenizer:
    return WordPieceTokenizer(Vocabulary(TOKENS))


@pytest.mark.parametrize(
    ("truncation", "room", "expected"),
    [
        # Sun et al. 2019: "the first 128 and the last 382 tokens" of 510.
        ("head_tail", 510, (128, 382)),
        ("head_tail", 6, (2, 4)),
        ("head_tail", 1, (1, 0)),
        ("head", 510, (510, 0)),
        ("tail", 510, (0, 510)),
    ],
)
def test_shares(truncation, room, expected):
    assert head_and_tail(truncation, room) == expected


@pytest.mark.parametrize(
    ("truncation", "sequence_length", "kept"),
    [
        ("head", 8, [10, 11, 12, 13, 14, 15]),
        ("tail", 8, [14, 15, 16, 17, 18, 19]),
        ("head_tail", 8, [10, 11, 16, 17, 18, 19]),
        ("head_tail", 11, [10, 11, 12, 14, 15, 16, 17, 18, 19]),
        ("tail", 2, []),
        ("head_tail", 3, [10]),
        *((truncation, 12, list(range(10, 20))) for truncation in ("head", "tail", "head_tail")),
        *((truncation, 50, list(range(10, 20))) for truncation in ("head", "tail", "head_tail")),
    ],
)
@pytest.mark.parametrize("engine", ["python", "fast", "core"])
def test_truncation(tokenizer, engine, truncation, sequence_length, kept):
    expected = [[CLS, *kept, SEP], [CLS, SEP], [CLS, *[40, 41, 42][: len(kept)], SEP]]
    texts = [TEN, "", "40 41 42"]
    settings = {"sequence_length": sequence_length, "truncation": truncation}
    if truncation == "head_tail" and len(kept) == 1:
        expected[2] = [CLS, 40, SEP]
    if engine == "python":
        found = [tokenizer.encode(text, **settings).token_ids for text in texts]
    else:
        ids, segments = tokenizer_graph(tokenizer, engine).ragged(tf.constant(texts), **settings)
        found = ids.to_list()
        assert segments.shape == ids.shape
        assert not segments.flat_values.numpy().any()
    assert found == expected


def test_offsets_of_the_tail(tokenizer):
    encoding = tokenizer.encode(TEN, sequence_length=4, truncation="tail")
    assert encoding.tokens == ["[CLS]", "18", "19", "[SEP]"]
    assert encoding.offsets == [(0, 0), (24, 26), (27, 29), (0, 0)]


@pytest.mark.parametrize(
    ("length", "room", "stride", "expected"),
    [
        (0, 4, 2, [0]),
        (4, 4, 2, [0]),
        (5, 4, 2, [0, 2]),
        (6, 4, 2, [0, 2]),
        (7, 4, 2, [0, 2, 4]),
        (8, 4, 4, [0, 4]),
        (9, 4, 4, [0, 4, 8]),
        (3, 1, 1, [0, 1, 2]),
    ],
)
def test_window_starts(length, room, stride, expected):
    starts = list(window_starts(length, room, stride))
    assert starts == expected
    # Every token is read, and the last window is needed.
    assert set().union(*(range(s, s + room) for s in starts)) >= set(range(length))
    assert len(starts) == 1 or starts[-2] + room < length


@pytest.mark.parametrize("engine", ["python", "fast", "core"])
def test_windows(tokenizer, engine):
    # Windows of six tokens, three apart: the default stride is half of the room.
    expected = [
        [CLS, *range(10, 16), SEP],
        [CLS, *range(13, 19), SEP],
        [CLS, *range(16, 20), SEP],
        [CLS, SEP],
        [CLS, 40, 41, SEP],
        [CLS, *range(20, 26), SEP],
        [CLS, *range(23, 27), SEP],
    ]
    texts = [TEN, "", "40 41", " ".join(map(str, range(20, 27)))]
    if engine == "python":
        windows = [tokenizer.encode_windows(text, sequence_length=8) for text in texts]
        assert [len(rows) for rows in windows] == [3, 1, 1, 2]
        assert [row.token_ids for rows in windows for row in rows] == expected
        assert windows[0][1].offsets[1] == (9, 11)
        return
    ids, num_windows = tokenizer_graph(tokenizer, engine).windows(
        tf.constant(texts), sequence_length=8
    )
    assert num_windows.numpy().tolist() == [3, 1, 1, 2]
    assert ids.to_list() == expected


@pytest.mark.parametrize("engine", ["fast", "core"])
def test_model_inputs_of_windows(tokenizer, engine):
    inputs = tokenizer_graph(tokenizer, engine)(
        tf.constant([TEN, "40"]), sequence_length=8, truncation="windows", window_stride=6
    )
    expected = [
        [CLS, *range(10, 16), SEP],
        [CLS, *range(16, 20), SEP, PAD, PAD],
        [CLS, 40, SEP, PAD, PAD, PAD, PAD, PAD],
    ]
    np.testing.assert_array_equal(inputs["token_ids"], expected)
    np.testing.assert_array_equal(inputs["padding_mask"], np.array(expected) != PAD)
    np.testing.assert_array_equal(inputs["segment_ids"], np.zeros((3, 8)))
    np.testing.assert_array_equal(inputs["num_windows"], [2, 1])
    assert {tensor.dtype for tensor in inputs.values()} == {tf.int32}


def test_windows_agree_for_every_length_and_stride(tokenizer):
    texts = [" ".join(map(str, range(4, 4 + length))) for length in range(40)]
    for sequence_length in (3, 4, 7):
        for stride in range(1, sequence_length - 1):
            settings = {"sequence_length": sequence_length, "window_stride": stride}
            ids, num_windows = tokenizer_graph(tokenizer, "fast").windows(
                tf.constant(texts), **settings
            )
            expected = [tokenizer.encode_windows(text, **settings) for text in texts]
            assert num_windows.numpy().tolist() == [len(rows) for rows in expected]
            assert ids.to_list() == [row.token_ids for rows in expected for row in rows]


class TestRefusals:
    def test_unknown(self, tokenizer):
        message = "truncation must be one of head, tail, head_tail, windows; received 'middle'"
        with pytest.raises(ValueError, match=message):
            tokenizer.encode("4", truncation="middle")
        with pytest.raises(ValueError, match=message):
            tokenizer_graph(tokenizer)(tf.constant(["4"]), sequence_length=8, truncation="middle")

    @pytest.mark.parametrize("truncation", ["tail", "head_tail", "windows"])
    def test_pairs(self, tokenizer, truncation):
        message = f"truncation='{truncation}' is for single texts, .* use truncation=\"head\""
        settings = {"sequence_length": 8, "truncation": truncation}
        with pytest.raises(ValueError, match=message):
            tokenizer.encode("4", "5", **settings)
        with pytest.raises(ValueError, match=message):
            tokenizer_graph(tokenizer)(tf.constant(["4"]), tf.constant(["5"]), **settings)

    def test_windows_are_many_rows(self, tokenizer):
        settings = {"sequence_length": 8, "truncation": "windows"}
        with pytest.raises(ValueError, match="makes several rows of a text, .* `encode_windows`"):
            tokenizer.encode("4", **settings)
        with pytest.raises(ValueError, match="makes several rows of a text, .* `windows` of the"):
            tokenizer_graph(tokenizer).ragged(tf.constant(["4"]), **settings)

    @pytest.mark.parametrize("stride", [0, 7, -1])
    def test_stride_that_does_not_fit(self, tokenizer, stride):
        message = f"window_stride must be from 1 to 6, .* received {stride}: a larger one skips"
        with pytest.raises(ValueError, match=message):
            tokenizer.encode_windows("4", sequence_length=8, window_stride=stride)
        with pytest.raises(ValueError, match=message):
            tokenizer_graph(tokenizer).windows(
                tf.constant(["4"]), sequence_length=8, window_stride=stride
            )

    def test_windows_without_room(self, tokenizer):
        with pytest.raises(ValueError, match="needs a sequence_length of 3 or more"):
            tokenizer.encode_windows("4", sequence_length=2)

    def test_the_smallest_window_moves(self):
        assert check_window_stride(None, 1) == 1
