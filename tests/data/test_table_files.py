"""Files of tables: which values their cells stand for, and which are refused."""

import json

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet
from scipy.io import wavfile

from keras_bert_scratch.data.file_format import FileFormat, find_format
from keras_bert_scratch.data.table import make_columns
from keras_bert_scratch.data.table_files import read_table_rows

COLUMNS = make_columns(
    {
        "title": "text",
        "price": "number",
        "shop": "category",
        "photo": {"kind": "image", "height": 2, "width": 2, "patch_size": 1},
        "clip": "audio",
    }
)
FORMAT = FileFormat("title", label_column="label")
HEADER = "title,price,shop,photo,clip,label,id\n"


@pytest.fixture
def folder(tmp_path):
    """A folder with a picture and a sound, which a file in it may name."""
    (tmp_path / "files").mkdir()
    pixels = np.arange(12, dtype="uint8").reshape(2, 2, 3)
    Image.fromarray(pixels).save(tmp_path / "files/a.png")
    (tmp_path / "files/broken.png").write_bytes((tmp_path / "files/a.png").read_bytes()[:50])
    wavfile.write(tmp_path / "files/a.wav", 16_000, np.array([0, 16384], "int16"))
    return tmp_path


def read(folder, content, columns=COLUMNS, file_format=FORMAT, name="offers.csv"):
    (folder / name).write_text(HEADER + content if name.endswith("csv") else content)
    return read_table_rows(folder / name, file_format, columns)


def test_cells_become_values(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)  # paths are relative to the file, not to this folder
    rows = f"a bear,1e1,3.0,files/a.png,files/a.wav,toy,7\n ,,,{folder}/files/a.png,,tool,8\n"
    found = read(folder, rows + "a saw, nan ,v3.0,,,tool,9\n")
    table = found.table
    assert table["title"] == ["a bear", None, "a saw"]
    assert table["price"] == [10.0, None, None]
    assert table["shop"] == ["3", None, "v3.0"]
    assert table["photo"][0].ravel().tolist() == table["photo"][1].ravel().tolist() == [*range(12)]
    assert table["photo"][2] is None
    assert table["clip"][0].tolist() == [0.0, 0.5]
    assert found.labels == ["toy", "tool", "tool"]
    assert found.cells[2]["id"] == "9"
    assert found.quotes()[2] == "title: a saw; price:  nan ; shop: v3.0"
    some = found.take([2, 0])
    assert (len(some), some.labels, some.table["shop"]) == (2, ["tool", "toy"], ["v3.0", "3"])


def test_json_and_parquet_have_values(folder):
    rows = [
        {"title": "a", "price": 2, "shop": 3.0, "photo": None, "clip": "files/a.wav"},
        {"title": None, "price": None, "shop": "x", "photo": "files/a.png", "clip": None},
    ]
    file_format = FileFormat("title", label_column=None)
    content = "".join(json.dumps(row) + "\n" for row in rows)
    parquet.write_table(pyarrow.Table.from_pylist([{**r, "shop": "3"} for r in rows]), folder / "a")
    (folder / "a").rename(folder / "a.parquet")
    for found in (
        read(folder, content, file_format=file_format, name="a.jsonl"),
        read_table_rows(folder / "a.parquet", file_format, COLUMNS),
    ):
        assert found.labels is None
        assert found.table["title"] == ["a", None]
        assert found.table["price"] == [2.0, None]
        assert found.table["shop"][0] == "3"
        assert [value is None for value in found.table["photo"]] == [True, False]


def test_a_text_may_have_another_name_than_in_the_model(folder):
    columns = make_columns({"headline": "text", "price": "number"})
    found = read(folder, "a,1,,,,x,\n", columns)
    assert found.table == {"headline": ["a"], "price": [1.0]}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a,cheap,,,,x,", r"the text 'cheap' in .*offers\.csv, line 3, column 'price': convert"),
        ("a,1_000,,,,x,", r"the text '1_000' in .*offers\.csv, line 3, column 'price'"),
        ('a,"3,5",,,,x,', r"the text '3,5' in .*line 3, column 'price'"),
        ("a,inf,,,,x,", r"must be finite, received inf in .*line 3, column 'price'"),
        (
            "a,1,,b.png,,x,",
            r"picture .*b\.png \(.*offers\.csv, line 3, column 'photo'\) is missing",
        ),
        (f"a,1,,{'b' * 5000},,x,", r"bbb… \(.*line 3, column 'photo'\) is missing"),
        ("a,1,,~nobody-of-that-name/b.png,,x,", r"~nobody-of-that-name/b\.png \(.*is missing"),
        ("a,1,,files/broken.png,,x,", r"broken\.png \(.*line 3, column 'photo'\) is broken"),
        ("a,1,,files/a.wav,,x,", r"a\.wav \(.*line 3, column 'photo'\) is broken or of another"),
        ("a,1,,,files/a.png,x,", r"a\.png \(.*line 3, column 'clip'\)"),
        ("a,1,,,,,", r"'label' is empty in 1 row, on line 3\."),
        (",,,,,x,9", r"1 of 2 rows have no value in any of the columns 'title', .*, on line 3:"),
    ],
)
def test_refused_with_file_and_line(folder, row, message):
    with pytest.raises((TypeError, ValueError, FileNotFoundError), match=message):
        read(folder, f"a,1,,,,x,\n{row}\n")


def test_refused_columns(folder):
    (folder / "a.csv").write_text("title,cost,label,cost\na,1,x,2\n")
    absent = r"no column 'price': its columns are 'title', 'cost', .* Correct its name, or add it"
    for name, message in {
        "price": absent,
        "cost": r"the column 'cost' is ambiguous, .*: rename one of them",
    }.items():
        with pytest.raises(ValueError, match=message):
            read_table_rows(folder / "a.csv", FORMAT, make_columns({name: "number"}))


def test_texts_are_found_beside_other_columns_or_not_at_all(tmp_path):
    (tmp_path / "a.csv").write_text("photo,label\na.png,x\nb.png,y\n" * 2)
    found, notes = find_format(tmp_path / "a.csv", {}, others=["photo"])
    assert (found.text_column, notes) == (None, ["labels in 'label'"])
    (tmp_path / "a.csv").write_text("remark,title,label\nall of it,a bear,x\nnone,a saw,y\n")
    found, _ = find_format(tmp_path / "a.csv", {}, others=["title"])
    assert found.text_column is None
    found, _ = find_format(tmp_path / "a.csv", {}, others=["remark"])
    assert found.text_column == "title"
