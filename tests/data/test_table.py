import json

import numpy as np
import pandas
import polars
import pyarrow
import pytest

from keras_bert_scratch.config import PatchConfig
from keras_bert_scratch.data.table import (
    CategoryColumn,
    ImageColumn,
    NumberColumn,
    is_table,
    make_columns,
    read_table,
)

COLUMNS = make_columns({"title": "text", "price": "number", "shop": "category"})
RAW = {"title": ["a", None, ""], "price": [3, None, -1.5], "shop": ["north", 7, None]}
READ = {"title": ["a", None, None], "price": [3.0, None, -1.5], "shop": ["north", "7", None]}


@pytest.mark.parametrize(
    "table",
    [
        RAW,
        {**RAW, "price": np.array([3, np.nan, -1.5]), "id": [1]},
        pandas.DataFrame(RAW, index=[5, 5, 2]),
        pandas.DataFrame({**RAW, "price": pandas.array([3, None, -1.5], "Float64")}),
        pandas.DataFrame({**RAW, "title": pandas.array(RAW["title"], "string")}),
        polars.DataFrame({**RAW, "price": [3.0, None, -1.5], "shop": ["north", "7", None]}),
        pyarrow.table({**RAW, "price": [3.0, None, -1.5], "shop": ["north", "7", None]}),
    ],
)
def test_one_table_in_any_container(table):
    assert is_table(table)
    assert read_table(table, COLUMNS) == READ


def test_ready_inputs_are_no_table():
    assert not is_table({"token_ids": [[1]], "price": [1]})
    assert not is_table(["a", "b"])


def test_a_category_has_one_name_however_pandas_writes_it():
    """pandas makes floats of integers beside a missing value, so 3 comes back as 3.0."""
    (shop,) = make_columns({"shop": "category"}).values()
    column = pandas.Series([3, None, 12])
    assert shop.values(column, "shop") == shop.values([3, None, "12"], "shop") == ["3", None, "12"]
    assert shop.values([True, 2.5, b"x", float("nan")], "shop") == ["True", "2.5", "x", None]


def test_patches_of_an_encoder():
    assert ImageColumn().patch_size == 16
    fields = PatchConfig(architecture="dinov2", patch_size=14).to_dict()
    column = ImageColumn(height=98, width=70, encoder=fields)
    assert column.patch_size == 14
    (again,) = make_columns({"photo": json.loads(json.dumps(column.to_dict()))}).values()
    assert again == column
    with pytest.raises(ValueError, match="reads patches of 14 x 14, received patch_size=16: leave"):
        ImageColumn(patch_size=16, encoder=fields)
    with pytest.raises(ValueError, match="received 98 x 13 and patch_size=14: choose others"):
        ImageColumn(height=98, width=13, encoder=fields)
    with pytest.raises(ValueError, match="Unknown config fields size: the fields are"):
        ImageColumn(encoder={"size": 3})


@pytest.mark.parametrize("architecture", ["audio-spectrogram-transformer", "vit"])
def test_encoders_of_other_channels_are_refused(architecture):
    config = PatchConfig(architecture=architecture, channels=1)
    message = f"have 3 channels, received an encoder of architecture '{architecture}' that reads 1:"
    with pytest.raises(ValueError, match=message):
        ImageColumn(encoder=config.to_dict())


def test_numbers_become_deviations():
    # mean 4, and the mean of the squared distances 16, 4, 4, 16, 0 is 8
    column = NumberColumn().learn([0.0, 2.0, 6.0, 8.0, None, 4.0], "price")
    assert (column.mean, column.scale) == (4.0, np.sqrt(8.0))
    ready = column.ready([4.0, None, 4 + 8 * np.sqrt(2), 1e30, -1e300])
    assert ready.dtype == "float32"
    np.testing.assert_allclose(ready, [[0], [0], [4], [100], [-100]], rtol=1e-6)


def test_large_numbers_close_together_keep_their_distance():
    """In float32, seconds since 1970 are known to 128 of them."""
    times = [1_700_000_000.0, 1_700_000_001.0, 1_700_000_002.0]
    column = NumberColumn().learn(times, "time")
    np.testing.assert_allclose(column.ready(times)[:, 0], [-1.2247449, 0, 1.2247449], rtol=1e-6)


def test_the_same_number_everywhere():
    column = NumberColumn().learn([7.0, 7.0], "price")
    assert column.ready([7.0, 9.0]).tolist() == [[0.0], [2.0]]


def test_categories_are_numbered_from_one():
    column = CategoryColumn().learn(["b", "a", None, "b", "b", "a"], "shop")
    assert column.categories == ["a", "b"]
    assert column.ready(["b", "new", None, "a"]).tolist() == [[2], [0], [0], [1]]


def test_a_category_of_single_rows_is_noticed(caplog):
    CategoryColumn().learn(["a", "b", "c", "d", "d"], "id")
    assert "Column 'id' has 4 categories in 5 rows" in caplog.text


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"price": [1, "12", 3]}, TypeError, "received the text '12' in row 1 of price: convert"),
        ({"price": [1, 2, np.inf]}, ValueError, "must be finite, received inf in row 2 of price"),
        ({"price": [1, [2], 3]}, TypeError, r"received \[2\] \(list\) in row 1 of price"),
        ({"title": ["a", 5, "b"]}, TypeError, r"received 5 \(int\) in row 1 of title"),
        ({"shop": ["a", ["b"], "c"]}, TypeError, r"received \['b'\] \(list\) in row 1 of shop"),
        ({"shop": ["a", "b"]}, ValueError, "same length, received {'title': 3, 'price': 3, 'sho"),
    ],
)
def test_refused_with_row_and_value(change, error, message):
    with pytest.raises(error, match=message):
        read_table({**RAW, **change}, COLUMNS)


def test_a_column_that_is_not_there():
    with pytest.raises(ValueError, match="'price' is missing, received 'title', 'pirce': give it"):
        read_table({"title": ["a"], "pirce": [1]}, COLUMNS)
    with pytest.raises(TypeError, match="Examples are the columns 'title', 'price', 'shop', in a"):
        read_table(["a"], COLUMNS)


def test_nothing_to_learn_from():
    with pytest.raises(ValueError, match="'price' has no value in 2 training examples: leave it"):
        NumberColumn().learn([None, None], "price")
    with pytest.raises(ValueError, match="'price' are too large for their standard deviation, up"):
        NumberColumn().learn([1e308, -1e308], "price")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "columns must be a dict from names to kinds"),
        ({"a": "texts"}, "The kind of column 'a' must be one of text, number, category"),
        ({"present": "text"}, "none of token_ids, segment_ids, padding_mask, num_windows, present"),
        ({"a": {"kind": "number", "men": 1}}, "'a' is a number, which has no 'men': it has mean"),
        ({"a": {"kind": "number", "mean": 1.0}}, "has a mean and a scale above 0, or neither"),
        ({"a": {"kind": "number", "mean": 1.0, "scale": 0.0}}, "a scale above 0"),
        ({"a": {"kind": "category", "categories": ["x", "x"]}}, "categories must be different"),
        ({"a": "text", "b": "text", "c": "text"}, "reads one text or a pair, received 3 text col"),
    ],
)
def test_columns_that_are_refused(columns, message):
    with pytest.raises(ValueError, match=message):
        make_columns(columns)
