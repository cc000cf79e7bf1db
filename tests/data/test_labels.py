"""One door for labels: the same rule for every container, or an error."""

import hypothesis
import numpy as np
import pandas
import polars
import pyarrow
import pytest
import scipy.sparse
import tensorflow as tf
from hypothesis import strategies

from keras_bert_scratch.data.labels import (
    balanced_class_weights,
    class_names,
    encode_class_weight,
    encode_label_sets,
    encode_labels,
    encode_sample_weight,
    encode_scores,
)

NAMES = ["bad", "good", "fair"]
STARS = ["1", "2", "3"]


class TestClassNames:
    @pytest.mark.parametrize(
        ("given", "names"),
        [
            (["bad", "good"], ["bad", "good"]),
            ([0, 1], ["0", "1"]),
            (np.unique([3, 1]), ["1", "3"]),
            (np.array([1.0, 2.0], "float32"), ["1", "2"]),
            ([True, False], ["True", "False"]),
            (pandas.Series(["a", 2], index=[4, 5]), ["a", "2"]),
            (pandas.Categorical(["b", "a"]), ["b", "a"]),
            ([b"caf\xc3\xa9"], ["café"]),
            ((name for name in "ab"), ["a", "b"]),
        ],
    )
    def test_become_strings(self, given, names):
        found = class_names(given)
        assert found == names
        assert {type(name) for name in found} == {str}

    @pytest.mark.parametrize(
        ("given", "error", "message"),
        [
            ([1.5], TypeError, "a whole number or a boolean, received 1.5: convert it to a string"),
            ([None, "a"], TypeError, "received None"),
            ([float("nan")], TypeError, "received nan"),
            ([("a",)], TypeError, r"received \('a',\)"),
            (["1", 1], ValueError, "Classes need different names, '1' occurs twice"),
            (["a", ""], ValueError, "A class needs a name, received ''"),
            ("ab", TypeError, "Expected a column of values, received 'ab'"),
            ({"a", "b"}, TypeError, "Expected a column of values"),
        ],
    )
    def test_refusals(self, given, error, message):
        with pytest.raises(error, match=message):
            class_names(given)


# Each container of one column of labels.
CONTAINERS = [
    list,
    tuple,
    np.array,
    lambda y: np.array(y).reshape(-1, 1),
    lambda y: [[label] for label in y],
    lambda y: pandas.Series(y, index=range(len(y), 0, -1)),
    lambda y: pandas.DataFrame({"label": y}),
    lambda y: pandas.Series(y, dtype="category"),
    polars.Series,
    pyarrow.array,
    lambda y: pyarrow.table({"label": y}),
    tf.constant,
]


class TestOneLabel:
    @pytest.mark.parametrize("make", CONTAINERS)
    def test_names_and_ids(self, make):
        assert encode_labels(make(["good", "bad", "fair"]), NAMES).tolist() == [1, 0, 2]
        assert encode_labels(make([1, 0, 2]), NAMES).tolist() == [1, 0, 2]
        assert encode_labels(make([1.0, 0.0, 2.0]), NAMES).tolist() == [1, 0, 2]
        assert encode_labels(make([True, False]), NAMES).tolist() == [1, 0]
        assert encode_labels(make([1, 3, 2]), STARS).tolist() == [0, 2, 1]

    @pytest.mark.parametrize(
        ("y", "labels", "ids"),
        [
            ([1, 0], ["1", "0"], [0, 1]),
            ([1, 2], ["1.0", "2.0"], [0, 1]),
            ([1.0, 2.0], STARS, [0, 1]),
            ([-1, 1], ["1", "-1"], [1, 0]),
            ([3, "other"], ["3", "other"], [0, 1]),
            ([True, False], ["True", "False"], [0, 1]),
            # As JSON spells them.
            (np.array([True, False]), ["true", "false"], [0, 1]),
            ([1, 0], ["true", "false"], [1, 0]),
            ([np.int64(2), np.float32(1), np.bool_(False)], NAMES, [2, 1, 0]),
            ([], NAMES, []),
        ],
    )
    def test_a_name_wins_over_an_id(self, y, labels, ids):
        encoded = encode_labels(y, labels)
        assert encoded.tolist() == ids
        assert encoded.dtype == "int32"

    @pytest.mark.parametrize(
        ("y", "labels", "message"),
        [
            (
                ["bad", "neutral"],
                NAMES,
                r"Unknown label 'neutral' at position 1: .* \(ids 0 to 2\)",
            ),
            ([3], NAMES, "Unknown label 3 at position 0"),
            ([-1], NAMES, "Unknown label -1"),
            ([0.5], NAMES, "Unknown label 0.5"),
            ([None], NAMES, "Unknown label None"),
            ([float("nan")], NAMES, "Unknown label nan"),
            (["1"], NAMES, "Unknown label '1'"),
            ([0], STARS, "Unknown label 0 .*numbers are names here, since classes are named by"),
            (["1.0"], STARS, "Unknown label '1.0'"),
            ([1], ["1.0", "01"], "Unknown label 1"),
            ([True], ["false", "maybe"], "Unknown label True"),
            ([["bad", "good"]], NAMES, r"received \['bad', 'good'\] at .* multi_label=True"),
            ([[1, 0]], NAMES, r"the probability of every class, .* received \[1, 0\]"),
            ([[0.9, 0.9, 0.0]], NAMES, "which sum to 1"),
            ([[1.5, -0.5, 0.0]], NAMES, "which sum to 1"),
            ([["bad"], "good"], NAMES, r"Unknown label \['bad'\]"),
        ],
    )
    def test_refusals(self, y, labels, message):
        with pytest.raises(ValueError, match=message):
            encode_labels(y, labels)

    @pytest.mark.parametrize("make", [list, np.array, pandas.DataFrame, tf.constant, np.float16])
    def test_probabilities_of_every_class(self, make):
        rows = [[0.0, 1.0, 0.0], [0.25, 0.25, 0.5]]
        y = pandas.DataFrame(rows, columns=NAMES) if make is pandas.DataFrame else make(rows)
        np.testing.assert_array_equal(encode_labels(y, NAMES), np.array(rows, "float32"))

    def test_a_table_goes_by_the_names_of_its_columns(self):
        table = pandas.DataFrame({"good": [1, 0], "fair": [0, 1], "bad": [0, 0]})
        assert encode_labels(table, NAMES).tolist() == [[0, 1, 0], [0, 0, 1]]
        with pytest.raises(ValueError, match="has a column for each class, bad, good, fair; rece"):
            encode_labels(table.rename(columns={"bad": "awful"}), NAMES)


SETS = [[0, 0, 1], [0, 1, 1], [0, 0, 0]]
SETS_OF_NAMES = [["fair"], ["fair", "good"], []]


class TestSeveralLabels:
    @pytest.mark.parametrize(
        "y",
        [
            SETS,
            [[bool(value) for value in row] for row in SETS],
            [[float(value) for value in row] for row in SETS],
            tuple(map(tuple, SETS)),
            np.array(SETS),
            np.array(SETS, bool),
            list(np.array(SETS)),
            pandas.Series(SETS, index=[5, 6, 7]),
            pandas.DataFrame(SETS, columns=NAMES).iloc[:, ::-1],
            polars.Series(SETS),
            polars.DataFrame(SETS, schema=NAMES, orient="row"),
            pyarrow.array(SETS),
            tf.constant(SETS),
            scipy.sparse.csr_matrix(SETS),
            SETS_OF_NAMES,
            [set(row) for row in SETS_OF_NAMES],
            [np.array(row) for row in SETS_OF_NAMES],
            ["fair", *SETS_OF_NAMES[1:]],
            pandas.Series(SETS_OF_NAMES),
            pyarrow.array(SETS_OF_NAMES),
        ],
        ids=lambda y: type(y).__name__,
    )
    def test_containers(self, y):
        np.testing.assert_array_equal(encode_label_sets(y, NAMES), np.array(SETS, "float32"))

    @pytest.mark.parametrize(
        ("y", "labels", "encoded"),
        [
            ([[1, 2], [3]], STARS, [[1, 1, 0], [0, 0, 1]]),
            ([[1, 0, 1]], STARS, [[1, 0, 1]]),
            (np.array([[0, 1], [1, 0]]), ["0", "1"], [[0, 1], [1, 0]]),
            ([["0", "1"], ["1"]], ["0", "1"], [[1, 1], [0, 1]]),
            ([1, 0], ["spam"], [[1], [0]]),
            ([["spam"], []], ["spam"], [[1], [0]]),
        ],
    )
    def test_numbers(self, y, labels, encoded):
        assert encode_label_sets(y, labels).tolist() == encoded

    @pytest.mark.parametrize(
        ("y", "labels", "message"),
        [
            ([[0, 2]], NAMES, r"Rows of numbers are 3 zeros and ones, .* received \[0, 2\] at pos"),
            ([[0, 1, 0.5]], NAMES, "Rows of numbers are 3 zeros and ones"),
            ([[1, 2, 0]], NAMES, "Rows of numbers are 3 zeros and ones"),
            ([[0, 1], [1, 0]], ["0", "1"], "can be read as zeros and ones, and as names"),
            ([None], NAMES, "takes a list of names, or 3 zeros and ones, .* received None"),
            ([1, 2], NAMES, "takes a list of names, or 3 zeros and ones, .* received 1"),
            ([["bad", "ugly"]], NAMES, "Unknown label 'ugly' at position 0"),
            ([["bad", None]], NAMES, "Unknown label None"),
            ([[["bad"]]], NAMES, r"Unknown label \['bad'\]"),
            (np.zeros((2, 2)), NAMES, "Rows of numbers are 3 zeros and ones"),
        ],
    )
    def test_refusals(self, y, labels, message):
        with pytest.raises(ValueError, match=message):
            encode_label_sets(y, labels)


NAMES_DRAWN = strategies.lists(
    strategies.one_of(
        strategies.text(min_size=1, max_size=5),
        strategies.integers(-5, 5),
        strategies.booleans(),
        strategies.sampled_from(["1", "0", "true", "False", "1.0", "01", "nan", "_", "١"]),
    ),
    min_size=2,
    max_size=5,
)


@hypothesis.given(NAMES_DRAWN, strategies.data())
@hypothesis.settings(max_examples=300, deadline=None)
def test_what_is_encoded_is_the_label_that_was_given(names, data):
    try:
        labels = class_names(names)
    except ValueError as error:
        assert "occurs twice" in str(error)  # noqa: PT017
        return
    # What was called a class when the model was made means that class afterwards, whatever holds
    # it, and so does its string.
    classes = list(zip(names, labels, strict=True))
    given = data.draw(strategies.lists(strategies.sampled_from(classes)))
    expected = [label for _, label in given]
    for y in ([name for name, _ in given], expected, np.array(expected, object)):
        assert [labels[class_id] for class_id in encode_labels(y, labels)] == expected
    rows = [[label] for label in expected]
    decoded = [[labels[c] for c in np.flatnonzero(row)] for row in encode_label_sets(rows, labels)]
    assert decoded == rows


@hypothesis.given(
    NAMES_DRAWN,
    strategies.lists(
        strategies.one_of(
            strategies.none(),
            strategies.floats(),
            strategies.integers(),
            strategies.booleans(),
            strategies.text(max_size=3),
            strategies.lists(strategies.integers(-1, 2), max_size=3),
        ),
        max_size=4,
    ),
)
@hypothesis.settings(max_examples=300, deadline=None)
def test_whatever_comes_is_encoded_or_refused(names, y):
    try:
        labels = class_names(names)
    except ValueError:
        return
    for encode in (encode_labels, encode_label_sets):
        try:
            encoded = encode(y, labels)
        except ValueError as error:
            assert str(error)  # noqa: PT017
        else:
            assert len(encoded) == len(y)
            assert encoded.ndim == 2 or ((encoded >= 0) & (encoded < len(labels))).all()


class TestNumbers:
    def test_scores(self):
        for y in ([1, 2.5], np.array([1, 2.5]), pandas.Series([1, 2.5], index=[3, 4])):
            assert encode_scores(y).tolist() == [[1.0], [2.5]]
        for y in (["good"], [float("nan")], [None], [float("inf")]):
            with pytest.raises(ValueError, match="learns finite numbers, received .* at position"):
                encode_scores(y)

    def test_sample_weight(self):
        assert encode_sample_weight(None, 2) is None
        for weights in ([1, 0.5], pandas.Series([1, 0.5], index=[1, 0]), polars.Series([1.0, 0.5])):
            assert encode_sample_weight(weights, 2).tolist() == [1.0, 0.5]
        with pytest.raises(ValueError, match="There are 3 examples but 2 sample_weight"):
            encode_sample_weight([1, 2], 3)
        for value in (-1, float("nan"), float("inf"), "1", None):
            with pytest.raises(ValueError, match="finite numbers from 0 up, received .* at positi"):
                encode_sample_weight([1, value], 2)

    def test_class_weight(self):
        assert encode_class_weight({"good": 2, "bad": 3}, NAMES).tolist() == [3, 2, 1]
        assert encode_class_weight({1: 2, np.int64(0): 3}, NAMES).tolist() == [3, 2, 1]
        assert encode_class_weight({1: 2.0}, STARS).tolist() == [2, 1, 1]
        for weights, error, message in (
            ({"ugly": 1}, ValueError, "Unknown label 'ugly': the"),
            ({0: 1}, ValueError, "Unknown label 0: the"),
            ({1: 1, "1": 2}, ValueError, "names the class '1' twice"),
            ({1: -1}, ValueError, "received -1 for 1 in class_weight"),
            ([1, 2, 3], TypeError, "class_weight is a dict of class to weight, received"),
            ("balanced", TypeError, "class_weight is a dict of class to weight, received 'bal"),
        ):
            with pytest.raises(error, match=message):
                encode_class_weight(weights, STARS)

    def test_balanced(self):
        weights = balanced_class_weights(np.array([0, 0, 0, 1]), NAMES)
        assert weights == {"bad": pytest.approx(2 / 3), "good": 2.0}
