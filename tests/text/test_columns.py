"""What counts as texts."""

import numpy as np
import pytest

from keras_bert_scratch.text.columns import check_not_empty, joined_columns, text_columns


class Tensor:
    """Has what counts of a TensorFlow tensor of strings: an array of bytes."""

    def numpy(self):
        return np.array(["né".encode(), b"\xff!"], object)


@pytest.mark.parametrize(
    ("given", "texts"),
    [
        (["a", "b"], ["a", "b"]),
        (("a", "b", "c"), ["a", "b", "c"]),
        (("a", "b"), ["a", "b"]),
        (np.array(["a", "b"]), ["a", "b"]),
        (np.array(["a", "b"], object), ["a", "b"]),
        (Tensor(), ["né", "\ufffd!"]),
    ],
)
def test_one_column(given, texts):
    assert text_columns(given) == (texts, None)


def test_a_series_of_pandas():
    pandas = pytest.importorskip("pandas")
    # The index is not 0, 1: positions count.
    assert text_columns(pandas.Series(["a", "b"], index=[7, 3])) == (["a", "b"], None)


def test_two_columns():
    assert text_columns((["Who?"], np.array(["Me."]))) == (["Who?"], ["Me."])


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("a text", TypeError, r"Texts come in a list, received 'a text': wrap it in \[...\]."),
        (b"bytes", TypeError, "Texts come in a list, received b'bytes'"),
        (["a", 3], TypeError, r"received 3 \(int\) at position 1: remove or convert it."),
        (["a", None], TypeError, r"received None \(NoneType\) at position 1"),
        ([float("nan")], TypeError, r"received nan \(float\) at position 0"),
        ([], ValueError, "There are no texts: give at least one."),
        (([], []), ValueError, "There are no texts"),
        ((["a", "b"], ["c"]), ValueError, "There are 2 texts but 1 second texts: give one for"),
    ],
)
def test_refusals(given, error, message):
    with pytest.raises(error, match=message):
        text_columns(given)


def test_empty_texts():
    check_not_empty((["a"], ["b"]))
    with pytest.raises(ValueError, match="2 of 3 examples have an empty text, the first at posi"):
        check_not_empty(["a", " \n", ""])
    with pytest.raises(ValueError, match="1 of 1 examples have an empty second text, the first"):
        check_not_empty((["a"], [""]))


def test_joined():
    assert joined_columns(["a", "b"]) == ["a", "b"]
    assert joined_columns((["a", "b"], ["c", "d"])) == ["a c", "b d"]
