"""TensorFlow Serving's JSON, with the examples of its documentation."""

import base64
import gzip
import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings, strategies

from keras_bert_scratch.serving.server.limits import Limits
from keras_bert_scratch.serving.server.rest import (
    Input,
    RequestError,
    classify_response,
    examples_of,
    json_pieces,
    parse_body,
    predict_response,
    predict_rows,
    signature_name,
    unpacked,
)

TEXT = {"text": Input(np.dtype(object), (None,))}
PAIR = {**TEXT, "pair": Input(np.dtype(object), (None,))}
NUMBER = {"x": Input(np.dtype("float32"), (None,))}
IDS = {
    name: Input(np.dtype("int32"), (None, None))
    for name in ("token_ids", "segment_ids", "padding_mask")
}
# "multiple named inputs" of TensorFlow Serving's api_rest.md.
TAGGED = {
    "tag": Input(np.dtype(object), (None,)),
    "signal": Input(np.dtype("int32"), (None, 5)),
    "sensor": Input(np.dtype("float32"), (None, 2, 2)),
}


def rows(content, inputs, limit=1000):
    return predict_rows(content, inputs, Limits(max_text_bytes=limit))


@pytest.mark.parametrize(
    "content",
    [
        {"instances": ["foo", "bär"]},
        {"instances": [{"text": "foo"}, {"text": "bär"}]},
        {"instances": ["foo", {"b64": base64.b64encode("bär".encode()).decode()}]},
        {"inputs": ["foo", "bär"]},
        {"inputs": {"text": ["foo", "bär"]}},
    ],
)
def test_the_ways_to_send_two_texts(content):
    assert rows(content, TEXT) == [{"text": b"foo"}, {"text": "bär".encode()}]


@pytest.mark.parametrize(
    "content",
    [
        {
            "instances": [
                {"tag": "foo", "signal": [1, 2, 3, 4, 5], "sensor": [[1, 2], [3, 4]]},
                {"tag": "bar", "signal": [3, 4, 1, 2, 5], "sensor": [[4, 5], [6, 8]]},
            ]
        },
        {
            "inputs": {
                "tag": ["foo", "bar"],
                "signal": [[1, 2, 3, 4, 5], [3, 4, 1, 2, 5]],
                "sensor": [[[1, 2], [3, 4]], [[4, 5], [6, 8]]],
            }
        },
    ],
)
def test_several_inputs_in_rows_and_columns(content):
    first, second = rows(content, TAGGED)
    assert [first["tag"], second["tag"]] == [b"foo", b"bar"]
    np.testing.assert_array_equal(second["signal"], [3, 4, 1, 2, 5])
    np.testing.assert_array_equal(second["sensor"], [[4, 5], [6, 8]])
    assert (second["signal"].dtype, second["sensor"].dtype) == ("int32", "float32")


def test_whole_numbers_will_do_for_floats():
    assert rows({"instances": [1, 2.5]}, NUMBER) == [{"x": 1.0}, {"x": 2.5}]


@pytest.mark.parametrize(
    ("content", "inputs", "message"),
    [
        ({}, TEXT, 'either "instances" (row format) or "inputs" (column format), received none'),
        ({"instances": ["a"], "inputs": ["a"]}, TEXT, "received 'inputs', 'instances'"),
        ({"instances": []}, TEXT, '"instances" must be a list of one or more'),
        ({"instances": "a"}, TEXT, '"instances" must be a list of one or more'),
        ({"instances": [1]}, TEXT, "text must be strings, received the number 1."),
        ({"instances": ["a", 1]}, TEXT, "text must be strings, received the number 1."),
        ({"instances": [True]}, TEXT, "text must be strings, received the truth value True."),
        ({"instances": [None]}, TEXT, "text must be strings, received null."),
        ({"instances": ["a", ["b"]]}, TEXT, "text must be strings, received a list."),
        (
            {"instances": [["a"]]},
            TEXT,
            "one or more; received shape (1, ...).",
        ),
        ({"inputs": {"text": "a"}}, TEXT, "received a string."),
        ({"instances": [{"b64": "?"}]}, TEXT, "text has a b64 that is not base64"),
        ({"instances": [{"b64": 1}]}, TEXT, "text has a b64 that is not base64"),
        ({"instances": ["\ud800"]}, TEXT, "text has half of a surrogate pair"),
        ({"instances": [{"txt": "a"}]}, TEXT, "Instance 0 must give the inputs 'text', received"),
        ({"instances": ["a"]}, PAIR, "must give the inputs 'pair', 'text', received a list"),
        ({"instances": [{"text": "a", "pair": "b"}, "c"]}, PAIR, "Instance 1 must give the inputs"),
        ({"inputs": {"text": ["a"]}}, PAIR, "must give the inputs 'pair', 'text', received 'text'"),
        (
            {"inputs": {"text": ["a"], "pair": ["a", "b"]}},
            PAIR,
            "must have equally many rows, received {'text': 1, 'pair': 2}.",
        ),
    ],
)
def test_refused_texts(content, inputs, message):
    with pytest.raises(RequestError) as refusal:
        rows(content, inputs)
    assert message in str(refusal.value)
    assert refusal.value.status == 400


def ids(**changed):
    values = {"token_ids": [[2, 5]], "segment_ids": [[0, 0]], "padding_mask": [[1, 1]]}
    return {"inputs": {**values, **changed}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (ids(token_ids=[[2, 5.5]]), "token_ids must be numbers of type int32"),
        (
            ids(token_ids=[["2", "5"]]),
            "numbers of type int32, received a string.",
        ),
        (ids(token_ids=[[True, False]]), "received the truth value True."),
        (ids(token_ids=[[2**31, 1]]), "received the number 2147483648."),
        (ids(token_ids=[[10**30, 1]]), "token_ids must be numbers of type int32"),
        (
            ids(token_ids=[[2], [5, 6]]),
            "lists of different lengths, or other values beside",
        ),
        (ids(token_ids={"a": 1}), "must be numbers of type int32 of shape (any, any)"),
        (ids(token_ids={"a": 1}), "received an object."),
        (ids(token_ids=[2, 5]), "must be numbers of type int32 of shape (any, any)"),
        (ids(token_ids=[[2, [5]]]), "received a list."),
        (ids(token_ids=[2, [5]]), "received lists of different lengths, or other values"),
        (ids(token_ids=[[[2]]]), "received shape (1, 1, ...)"),
        (ids(token_ids=[[2, None]]), "received null."),
        (ids(token_ids=[[]]), "one or more; received shape (1, 0)"),
        (ids(segment_ids=[[0]]), "must have the same shape, received"),
    ],
)
def test_refused_ids(content, message):
    with pytest.raises(RequestError) as refusal:
        rows(content, IDS)
    assert message in str(refusal.value)


def test_a_long_text_is_413():
    # Five characters, seven bytes.
    assert len(rows({"instances": ["bärüx"]}, TEXT, limit=7)) == 1
    with pytest.raises(
        RequestError, match="text has a text of 7 bytes, the limit is 6: cut it"
    ) as e:
        rows({"instances": ["bärüx"]}, TEXT, limit=6)
    assert e.value.status == 413


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "JSON parse error: Expecting value"),
        (b"{", "JSON parse error"),
        (b"\xff", "JSON parse error: 'utf-8' codec can't decode"),
        (b"[" * 100_000, "JSON parse error: maximum recursion depth exceeded"),
        (b"1" * 5000, "JSON parse error: Exceeds the limit"),
        (b"[1]", "The body must be a JSON object, received a list."),
    ],
)
def test_what_is_no_json_object(body, message):
    with pytest.raises(RequestError, match=message):
        parse_body(body)


def test_signature_names():
    assert signature_name({}, "d") == "d"
    assert signature_name({"signature_name": ""}, "d") == "d"
    assert signature_name({"signature_name": "pairs"}, "d") == "pairs"
    with pytest.raises(RequestError, match="signature_name must be a string, received the number"):
        signature_name({"signature_name": 1}, "d")


def test_answers_follow_the_request():
    two = [{"a": 1, "b": [2]}, {"a": 3, "b": [4]}]
    assert predict_response(two, in_columns=False) == {"predictions": two}
    assert predict_response(two, in_columns=True) == {"outputs": {"a": [1, 3], "b": [[2], [4]]}}
    # Where there is one output, its name is left away.
    one = [{"a": 1}, {"a": 3}]
    assert predict_response(one, in_columns=False) == {"predictions": [1, 3]}
    assert predict_response(one, in_columns=True) == {"outputs": [1, 3]}


def test_classify_answers_are_pairs():
    result = {"classes": ["no", "yes"], "scores": [0.25, 0.75]}
    assert classify_response([result]) == {"results": [[["no", 0.25], ["yes", 0.75]]]}


def test_examples_share_the_context():
    content = {
        "context": {"n": 1},
        "examples": [{"text": "a"}, {"text": ["b", {"b64": "Yw=="}], "x": [1, 2.5]}],
    }
    assert examples_of(content, Limits()) == [
        {"n": [1], "text": [b"a"]},
        {"n": [1], "text": [b"b", b"c"], "x": [1, 2.5]},
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, 'The body must have a list "examples" with one or more, received none.'),
        ({"examples": []}, 'must have a list "examples" with one or more'),
        ({"examples": ["a"]}, "An example must be an object of features, received a string."),
        ({"examples": [{}], "context": []}, "must be an object of features, received a list."),
        ({"examples": [{"a": None}]}, "The feature 'a' must be strings, received null."),
        ({"examples": [{"a": ["b", 1]}]}, "The feature 'a' must be strings, received the number"),
    ],
)
def test_refused_examples(content, message):
    with pytest.raises(RequestError) as refusal:
        examples_of(content, Limits())
    assert message in str(refusal.value)


def test_a_context_is_not_repeated_without_bound():
    content = {"context": {"text": "x" * 100}, "examples": [{}] * 10}
    assert len(examples_of(content, Limits(max_body_bytes=1000))) == 10
    with pytest.raises(RequestError, match="has 100 bytes, which 10 examples repeat; the limit is"):
        examples_of(content, Limits(max_body_bytes=999))


def test_more_rows_than_the_limit():
    limits = Limits(max_queue=3)
    for request in (
        lambda: predict_rows({"instances": ["a"] * 4}, TEXT, limits),
        lambda: predict_rows({"inputs": ["a"] * 4}, TEXT, limits),
        lambda: examples_of({"examples": [{}] * 4}, limits),
    ):
        with pytest.raises(RequestError, match="The request has 4 rows, the queue holds 3") as e:
            request()
        assert e.value.status == 413


def test_strings_among_numbers_take_no_memory():
    """NumPy would make each of 20,000 numbers a string as wide as the longest: 2.4 GB."""
    values = [1] * 20_000 + ["x" * 30_000]
    tracemalloc.start()
    for inputs in ({"x": NUMBER["x"]}, {"x": Input(np.dtype("int32"), (None,))}, TEXT):
        with pytest.raises(RequestError, match="received (a string|the number)"):
            predict_rows({"instances": values}, inputs, Limits(max_queue=100_000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000


@pytest.mark.parametrize(
    ("dtype", "good", "bad"),
    [
        ("float32", [1, 2.5, -1e38, float("nan"), float("inf")], [1e39, -(10**400), True, None]),
        ("float64", [1e300, 10**300], [10**400, "1"]),
        ("int32", [0, -(2**31), 2**31 - 1], [2**31, 1.0, float("nan"), False]),
        ("int64", [2**63 - 1], [2**63, 1.0]),
        ("uint8", [0, 255], [-1, 256]),
        ("bool", [True, False], [0, 1, "true"]),
    ],
)
def test_values_are_checked_one_by_one(dtype, good, bad):
    inputs = {"x": Input(np.dtype(dtype), (None,))}
    found = np.array([row["x"] for row in rows({"instances": good}, inputs)])
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, np.array(good, dtype))
    for value in bad:
        with pytest.raises(RequestError, match=f"x must be numbers of type {dtype}, received"):
            rows({"instances": [*good, value]}, inputs)


class TestUnpacked:
    def test_what_was_packed(self):
        assert unpacked(gzip.compress(b"{}"), 2) == b"{}"
        # A file of several parts is one, by the format.
        assert unpacked(gzip.compress(b"{") + gzip.compress(b"}"), 2) == b"{}"

    def test_no_more_is_unpacked_than_the_limit(self):
        bomb = gzip.compress(bytes(100_000_000))
        tracemalloc.start()
        with pytest.raises(RequestError, match="unpacks to more than 1000 bytes") as refusal:
            unpacked(bomb, 1000)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert refusal.value.status == 413
        assert peak < 1_000_000

    @pytest.mark.parametrize(
        "body",
        [
            b"{}",
            gzip.compress(b"{}", mtime=0)[:-1],
            gzip.compress(b"{}", mtime=0) + b"x",
            b"\x1f\x8b" * 9,
        ],
    )
    def test_what_is_no_gzip(self, body):
        with pytest.raises(RequestError, match="The body is not gzip") as refusal:
            unpacked(body, 10)
        assert refusal.value.status == 400

    def test_damage_inside(self):
        body = bytearray(gzip.compress(b"a good film" * 9))
        body[-5] ^= 1  # of the checksum
        with pytest.raises(RequestError, match="The body is not gzip"):
            unpacked(bytes(body), 1000)


@given(
    strategies.recursive(
        strategies.none()
        | strategies.booleans()
        | strategies.integers()
        | strategies.floats()
        | strategies.text(),
        lambda part: strategies.lists(part) | strategies.dictionaries(strategies.text(), part),
    )
)
@settings(max_examples=100, deadline=None)
def test_pieces_are_the_json_of_the_whole(value):
    whole = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for depth in (0, 1, 4):
        assert "".join(json_pieces(value, depth)) == whole
