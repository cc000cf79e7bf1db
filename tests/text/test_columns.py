"""Columns of texts in any container."""

import hypothesis
import numpy as np
import pandas
import polars
import pyarrow
import pytest
import tensorflow as tf
from hypothesis import strategies

from keras_bert_scratch.text.columns import (
    check_not_empty,
    is_text,
    joined_columns,
    text_columns,
)


class Tensor:
    """A TensorFlow tensor of strings, reduced to its array of bytes."""

    def numpy(self):
        return np.array(["né".encode(), b"\xff!"], object)


@pytest.mark.parametrize(
    ("given", "texts"),
    [
        # Not a pair, since a string is not a column.
        (("a", "b"), ["a", "b"]),
        (Tensor(), ["né", "\ufffd!"]),
    ],
)
def test_one_column(given, texts):
    assert text_columns(given) == (texts, None)


class Dataset:
    """The interface of a table of `datasets`; tests/parity reads a real one."""

    def __init__(self, columns):
        self.columns_by_name = columns
        self.column_names = list(columns)
        self.shape = (2, len(columns))

    def __getitem__(self, name):
        return self.columns_by_name[name]


TABLES = {
    "datasets": Dataset,
    "pandas": lambda columns: pandas.DataFrame(columns, index=range(9, 9 - 2, -1)),
    "polars": polars.DataFrame,
    "pyarrow": pyarrow.table,
    "dict": dict,
}


@pytest.mark.parametrize("make", TABLES.values(), ids=TABLES)
def test_tables(make):
    assert text_columns(make({"question": ["Who?", "I?"]})) == (["Who?", "I?"], None)
    pairs = make({"text": ["Who?", "I?"], "pair": ["Me.", "You."]})
    assert text_columns(pairs) == (["Who?", "I?"], ["Me.", "You."])
    assert is_text(pairs)
    with pytest.raises(TypeError, match="received the columns 'a', 'b', 'c': select them"):
        text_columns(make({"a": ["x", "y"], "b": ["x", "y"], "c": ["x", "y"]}))


# One column in each library.
COLUMNS = {
    "list": list,
    "tuple": tuple,
    "numpy strings": lambda values: np.array(values, "U"),
    "numpy objects": lambda values: np.array(values, object),
    "numpy column": lambda values: np.array(values, object).reshape(-1, 1),
    "pandas": lambda values: pandas.Series(values, index=range(len(values), 0, -1), dtype=object),
    "pandas strings": lambda values: pandas.Series(values, dtype="string"),
    "pandas category": lambda values: pandas.Series(values, dtype="category"),
    "polars": lambda values: polars.Series(values, dtype=polars.String),
    "pyarrow": lambda values: pyarrow.array(values, pyarrow.string()),
    "pyarrow chunks": lambda values: pyarrow.chunked_array(
        [values[:1], values[1:]], pyarrow.string()
    ),
    "pyarrow dictionary": lambda values: pyarrow.array(
        values, pyarrow.string()
    ).dictionary_encode(),
    "tensor": lambda values: tf.constant(values, tf.string, (len(values),)),
}


@pytest.mark.parametrize("make", TABLES.values(), ids=TABLES)
def test_a_column_of_labels_is_no_second_text(make):
    with pytest.raises(TypeError, match="The column 'label' seems to hold labels"):
        text_columns(make({"text": ["a", "b"], "label": ["x", "y"]}))


@hypothesis.given(
    # NUL ends a string in a numpy array; no library accepts half of a surrogate pair.
    strategies.lists(
        strategies.text(strategies.characters(exclude_categories=["Cs"], exclude_characters="\0"))
    )
)
@hypothesis.settings(max_examples=50, deadline=None)
def test_every_column_holds_the_same_texts(values):
    for name, make in COLUMNS.items():
        column = make(values)
        assert text_columns(column) == (values, None), name
        assert is_text(column), name


@pytest.mark.parametrize(
    "ready",
    [
        np.zeros((2, 3), "int32"),
        {"token_ids": np.zeros((2, 3), "int32")},
        tf.zeros((2, 3), tf.int32),
        None,
        {},
    ],
)
def test_ready_inputs_are_no_texts(ready):
    assert not is_text(ready)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("a text", TypeError, r"Texts come in a list, received 'a text': wrap it in \[...\]."),
        (b"bytes", TypeError, "Texts come in a list, received b'bytes'"),
        (["a", 3], TypeError, r"received 3 \(int\) at position 1: remove or convert it."),
        (["a", None], TypeError, r"received None \(NoneType\) at position 1"),
        ([float("nan")], TypeError, r"received nan \(float\) at position 0"),
        ({"a"}, TypeError, r"Expected a column of values, received {'a'}: wrap it in"),
        (
            {"q": ["a"], "t": ["b"]},
            TypeError,
            r"Texts are one column, or two for pairs, received",
        ),
        (np.array([["a", "b"]]), TypeError, r"received \['a', 'b'\] \(list\) at position 0"),
        (3, TypeError, "Expected a column of values, received int: give a list, a numpy array"),
        ((["a", "b"], ["c"]), ValueError, "There are 2 texts but 1 second texts: give one for"),
    ],
)
def test_refusals(given, error, message):
    with pytest.raises(error, match=message):
        text_columns(given)


def test_no_texts():
    assert text_columns([]) == ([], None)
    assert text_columns(([], [])) == ([], [])


def test_empty_texts():
    check_not_empty(["a"], ["b"])
    with pytest.raises(ValueError, match="There are no texts: give at least one."):
        check_not_empty([], [])
    with pytest.raises(ValueError, match="2 of 3 examples have an empty text, the first at posi"):
        check_not_empty(["a", " \n", ""], None)
    with pytest.raises(ValueError, match="1 of 1 examples have an empty second text, the first"):
        check_not_empty(["a"], [""])


def test_joined():
    assert joined_columns(["a", "b"]) == ["a", "b"]
    assert joined_columns((["a", "b"], ["c", "d"])) == ["a c", "b d"]
