"""TensorFlow Serving's JSON, with the examples of its documentation."""

import base64

import numpy as np
import pytest

from keras_bert_scratch.serving.rest import (
    Input,
    RequestError,
    classify_response,
    examples_of,
    parse_body,
    predict_response,
    predict_rows,
    signature_name,
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
    return predict_rows(content, inputs, limit)


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
        ({"instances": [["a"]]}, TEXT, "must have the shape (any), the batch first, and hold one"),
        ({"inputs": {"text": "a"}}, TEXT, "received shape ()."),
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
        (ids(token_ids=[["2", "5"]]), "received [['2', '5']]."),
        (ids(token_ids=[[True, False]]), "received [[True, False]]."),
        (ids(token_ids=[[2**31, 1]]), "received [[2147483648, 1]]."),
        (ids(token_ids=[[10**30, 1]]), "token_ids must be numbers of type int32"),
        (ids(token_ids=[[2], [5, 6]]), "received lists of different lengths."),
        (ids(token_ids={"a": 1}), "token_ids must be numbers of type int32"),
        (ids(token_ids=[2, 5]), "must have the shape (any, any)"),
        (ids(token_ids=[[]]), "hold one value or more, received shape (1, 0)"),
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
    assert predict_response({"instances": ...}, two) == {"predictions": two}
    assert predict_response({"inputs": ...}, two) == {"outputs": {"a": [1, 3], "b": [[2], [4]]}}
    # Where there is one output, its name is left away.
    one = [{"a": 1}, {"a": 3}]
    assert predict_response({"instances": ...}, one) == {"predictions": [1, 3]}
    assert predict_response({"inputs": ...}, one) == {"outputs": [1, 3]}


def test_classify_answers_are_pairs():
    result = {"classes": ["no", "yes"], "scores": [0.25, 0.75]}
    assert classify_response([result]) == {"results": [[["no", 0.25], ["yes", 0.75]]]}


def test_examples_share_the_context():
    content = {
        "context": {"n": 1},
        "examples": [{"text": "a"}, {"text": ["b", {"b64": "Yw=="}], "x": [1, 2.5]}],
    }
    assert examples_of(content, 10) == [
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
        examples_of(content, 1000)
    assert message in str(refusal.value)
