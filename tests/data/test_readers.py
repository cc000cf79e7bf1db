import csv
import json
import re
import subprocess
import sys
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from keras_bert_scratch.data.readers import Examples, read_examples, stratified_split


@pytest.fixture
def write(tmp_path):
    """Writes text or bytes into a file and returns its path."""

    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def read_error(error_type, path, **arguments):
    """Returns the text of the error that reading raises, without the folder's name."""
    with pytest.raises(error_type) as info:
        read_examples(path, **arguments)
    return str(info.value).replace(f"{path.parent}/", "")


# === What is read ===
def test_csv(write):
    path = write("a.csv", "text,label\na film,pos\n no film ,neg\n")
    assert read_examples(path) == Examples(["a film", " no film "], None, ["pos", "neg"])
    assert len(read_examples(path)) == 2


def test_tsv_keeps_commas_and_the_suffix_is_case_insensitive(write):
    path = write("a.TSV", "text\tlabel\na, b\tpos\n")
    assert read_examples(path).texts == ["a, b"]


def test_other_columns_pairs_and_no_labels(write):
    path = write("a.csv", "id,premise,hypothesis\n1,it rains,it is wet\n")
    examples = read_examples(
        path, text_column="premise", pair_column="hypothesis", label_column=None
    )
    assert examples == Examples(["it rains"], ["it is wet"], None)


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_quoted_cells_line_endings_and_byte_order_mark(write, newline):
    lines = ["text,label", '"says ""no"",', 'then leaves",neg', "", "fine,pos"]
    path = write("a.csv", b"\xef\xbb\xbf" + newline.join(lines).encode())
    examples = read_examples(path)
    assert examples.texts == [f'says "no",{newline}then leaves', "fine"]
    assert examples.labels == ["neg", "pos"]


def test_csv_written_by_pandas_comes_back(tmp_path):
    texts = ['a "quoted" word', "two\nlines", "comma, and\ttab", "日本語 ü", "'"]
    frame = pd.DataFrame({"text": texts, "label": list("ababa")})
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_csv(tmp_path / "a.tsv", index=False, sep="\t")
    frame.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    for suffix in ("csv", "tsv", "jsonl"):
        assert read_examples(tmp_path / f"a.{suffix}") == Examples(texts, None, list("ababa"))


def test_jsonl(write):
    rows = [{"text": "a\u2028b", "label": 1}, {"text": "c", "label": True}]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path = write("a.jsonl", "\r\n".join([*lines, "", '{"text": "d", "label": " x ", "id": 7}']))
    assert read_examples(path) == Examples(["a\u2028b", "c", "d"], None, ["1", "true", "x"])


def test_several_labels_in_a_cell(write):
    path = write("a.csv", "text,label\na,x | y\nb,\nc,y\n")
    labels = read_examples(path, label_separator="|").labels
    assert labels == [["x", "y"], [], ["y"]]


def test_several_labels_in_json(write):
    path = write("a.jsonl", '{"text": "a", "label": ["x", 2]}\n{"text": "b", "label": []}\n')
    assert read_examples(path).labels == [["x", "2"], []]
    path = write("b.jsonl", '{"text": "a", "label": "x,y"}\n{"text": "b", "label": ["z"]}\n')
    assert read_examples(path, label_separator=",").labels == [["x", "y"], ["z"]]


def test_parquet_written_by_pandas(tmp_path, write):
    path = tmp_path / "a.parquet"
    frame = pd.DataFrame({"id": [7, 8], "text": ["a\0b", "ä"], "label": [["x", 2 * "y"], []]})
    frame.to_parquet(path, row_group_size=1)
    assert read_examples(path) == Examples(["a\0b", "ä"], None, [["x", "yy"], []])
    assert read_error(ValueError, path, label_column="stars") == (
        "a.parquet has no column 'stars': its columns are 'id', 'text', 'label'. Name one of them "
        "with label_column, or pass label_column=None to read texts without labels."
    )
    assert read_error(TypeError, path, text_column="id") == (
        "a.parquet, line 1: 'id' must be a string, received a JSON number."
    )
    content = path.read_bytes()
    for damaged in (b"text,label\na,b\n", content[: len(content) // 2], content[:-8]):
        assert "a.parquet is not a Parquet file, or damaged: " in read_error(
            ValueError, write("a.parquet", damaged)
        )
    frame.to_parquet(path, compression=None)
    damaged = path.read_bytes().replace("ä".encode(), b"\xff\xff")
    assert "a.parquet is not a Parquet file, or damaged: 'utf-8' codec can't decode" in read_error(
        ValueError, write("a.parquet", damaged)
    )


def test_parquet_needs_pyarrow(write, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert read_error(ImportError, write("a.parquet", "")) == (
        "Reading a.parquet needs pyarrow: pip install keras_bert_scratch[parquet]."
    )


def test_reading_imports_nothing_heavy():
    code = (
        "import sys, keras_bert_scratch.data.readers;"
        "print({'tensorflow', 'keras', 'sklearn', 'matplotlib'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "set()", result.stderr


# === What is refused ===
def test_missing_file(tmp_path):
    assert read_error(FileNotFoundError, tmp_path / "a.csv") == (
        "There is no file a.csv: check the path."
    )


def test_other_suffix(write):
    assert read_error(ValueError, write("a.xlsx", "")) == (
        "Cannot read a.xlsx: its name must end in .csv, .tsv, .jsonl or .parquet, received '.xlsx'."
    )


def test_missing_column(write):
    path = write("a.csv", "review,stars\ngood,5\n")
    assert read_error(ValueError, path) == (
        "a.csv has no column 'text': its columns are 'review', 'stars'. "
        "Name one of them with text_column."
    )
    assert read_error(ValueError, path, text_column="review") == (
        "a.csv has no column 'label': its columns are 'review', 'stars'. Name one of them with "
        "label_column, or pass label_column=None to read texts without labels."
    )
    assert "a.csv has no column 'b': " in read_error(
        ValueError, path, text_column="review", pair_column="b"
    )


def test_missing_json_key(write):
    path = write("a.jsonl", '{"text": "a", "label": "x"}\n{"text": "b", "stars": 2}\n')
    assert read_error(ValueError, path).startswith(
        "a.jsonl, line 2 has no column 'label': its columns are 'text', 'stars'."
    )


def test_column_that_comes_twice(write):
    assert read_error(ValueError, write("a.csv", "text,text,label\na,b,c\n")) == (
        "The column 'text' is ambiguous, the columns are 'text', 'text', 'label': "
        "rename one of them."
    )


@pytest.mark.parametrize(("row", "found"), [("a, b,pos", 3), ("a", 1)])
def test_ragged_row_is_named_by_its_line(write, row, found):
    # The first row takes lines 2 and 3.
    path = write("a.csv", f'text,label\n"two\nlines",pos\n\n{row}\n')
    assert read_error(ValueError, path) == (
        f"a.csv, line 5: expected 2 columns as in the header, found {found}. "
        "Quote cells that hold the separator ',' or line breaks."
    )


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_not_utf8(write, name, start):
    path = write(name, start + "text,label\nfine,pos\ncafé,pos\n".encode("latin-1"))
    assert read_error(ValueError, path) == (
        f"{name} is not UTF-8: byte 0xe9 on line 3. Save the file as UTF-8."
    )


def test_utf16(write):
    path = write("a.csv", "text,label\n".encode("utf-16"))
    assert "not UTF-8: byte 0xff on line 1" in read_error(ValueError, path)


def test_nul_byte(write):
    assert read_error(ValueError, write("a.csv", "text,label\na\0b,pos\n")) == (
        "a.csv has a NUL byte on line 2, so it is no text file, or damaged: "
        "remove the byte, or save the file as UTF-8."
    )


@pytest.mark.parametrize("content", ["", "\n", "text,label\n", "text,label\n\n\n"])
def test_no_rows(write, content):
    assert read_error(ValueError, write("a.csv", content)) == (
        "a.csv has no rows: it needs at least one example."
    )
    assert "has no rows" in read_error(ValueError, write("a.jsonl", "\n\n"))


def test_empty_texts(write):
    path = write("a.csv", "text,label\n,x\nfine,x\n   ,x\n")
    assert read_error(ValueError, path) == (
        "a.csv: 'text' is empty in 2 rows, on lines 2, 4. Fill or remove them."
    )
    path = write("b.csv", "text,label\n" + ",x\n" * 7)
    assert "empty in 7 rows, on lines 2, 3, 4, 5, 6, …. Fill" in read_error(ValueError, path)
    path = write("c.csv", "text,pair,label\na,b,x\na,\u3000,x\n")
    assert read_error(ValueError, path, pair_column="pair") == (
        "c.csv: 'pair' is empty in 1 row, on line 3. Fill or remove them."
    )


def test_empty_labels(write):
    path = write("a.csv", "text,label\na,x\nb, \n")
    assert "'label' is empty in 1 row, on line 3." in read_error(ValueError, path)
    path = write("b.csv", "text,label\na,x|\n")
    message = read_error(ValueError, path, label_separator="|")
    assert "'label' is empty in 1 row, on line 2." in message
    assert "received ''" in read_error(ValueError, path, label_separator="")


def test_unterminated_quote(write):
    path = write("a.csv", 'text,label\na,x\n"never closed,x\nb,x\n')
    assert read_error(ValueError, path) == (
        "a.csv, in the row that starts on line 3: a quoted cell is never closed. Close it, and "
        'write a quotation mark inside a quoted cell twice ("").'
    )


def test_text_behind_a_closing_quote(write):
    path = write("a.csv", 'text,label\n"so" they say,x\n')
    assert read_error(ValueError, path) == (
        "a.csv, in the row that starts on line 2: ',' expected after '\"'. Write a quotation mark "
        'inside a quoted cell twice (""), and quote cells that begin with one.'
    )


def test_cell_above_the_size_limit(write):
    path = write("a.csv", f"text,label\na,x\n{'b' * (csv.field_size_limit() + 1)},x\n")
    assert read_error(ValueError, path) == (
        f"a.csv, in the row that starts on line 3: a cell is longer than {csv.field_size_limit()} "
        "characters, often because a quotation mark is not closed. Close it, or call "
        "csv.field_size_limit(...) first."
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{'text'}", "line 2 is not JSON: Expecting property name"),
        ("[" * 100_000, "line 2 is not JSON: "),
        ("9" * 5000, "line 2 is not JSON: "),
    ],
)
def test_line_that_is_not_json(write, line, message):
    path = write("a.jsonl", '{"text": "a", "label": "x"}\n' + line)
    error = read_error(ValueError, path)
    assert message in error
    assert error.endswith(". Write one object a line.")


@pytest.mark.parametrize(
    ("line", "type_name"), [("[1]", "list"), ('"a"', "string"), ("1", "number"), ("null", "null")]
)
def test_line_that_is_no_object(write, line, type_name):
    assert read_error(TypeError, write("a.jsonl", line)) == (
        f'a.jsonl, line 1 is a JSON {type_name}, expected an object such as {{"text": ...}}.'
    )


def test_json_values_of_another_type(write):
    path = write("a.jsonl", '{"text": 5, "label": "x"}')
    assert read_error(TypeError, path) == (
        "a.jsonl, line 1: 'text' must be a string, received a JSON number."
    )
    for value, type_name in (("1.5", "number"), ("null", "null"), ('{"a": 1}', "object")):
        path = write("a.jsonl", f'{{"text": "a", "label": {value}}}')
        assert read_error(TypeError, path) == (
            "a.jsonl, line 1: 'label' must be a string, an integer, a boolean or a list of these, "
            f"received the JSON {type_name} {value}."
        )
    path = write("a.jsonl", '{"text": "a", "label": ["x", ["y"]]}')
    assert 'received the JSON list ["y"]' in read_error(TypeError, path)


def test_lists_and_single_labels_do_not_mix(write):
    single, several = '{"text": "a", "label": "x"}', '{"text": "a", "label": ["x"]}'
    assert read_error(TypeError, write("a.jsonl", f"{single}\n{several}")) == (
        "a.jsonl, line 2: 'label' is a list, but a single label on line 1. "
        "Write all as lists, or none."
    )
    assert read_error(TypeError, write("a.jsonl", f"{several}\n{single}")) == (
        "a.jsonl, line 2: 'label' is a single label, but a list on line 1. "
        "Write all as lists, or pass label_separator."
    )


def test_half_a_surrogate_pair(write):
    assert read_error(ValueError, write("a.jsonl", r'{"text": "\ud83d", "label": "x"}')) == (
        r"a.jsonl, line 1: 'text' holds half of a surrogate pair, \ud83d, which is no character: "
        "remove it."
    )


# === Splitting ===
def test_split_keeps_the_shares_of_the_classes():
    labels = ["a"] * 60 + ["b"] * 30 + ["c"] * 10
    train, held_out = stratified_split(labels, 0.2, seed=0)
    assert Counter(labels[i] for i in held_out) == {"a": 12, "b": 6, "c": 2}
    assert sorted([*train, *held_out]) == list(range(100))


def test_split_follows_from_the_seed():
    labels = np.arange(100) % 2
    first, again, other = (stratified_split(labels, 0.3, seed)[1] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert set(first) != set(other)


def test_split_is_that_of_scikit_learn():
    from sklearn.model_selection import train_test_split

    labels = ["a", "b", "b"] * 20
    expected = train_test_split(range(60), test_size=0.2, random_state=0, stratify=labels)
    for ours, theirs in zip(stratified_split(labels, 0.2, seed=0), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("labels", [[[], ["a", "b"], ["a"], [], ["b"]] * 2, np.eye(10)])
def test_split_of_several_labels_an_example(labels):
    train, held_out = stratified_split(labels, 0.25, seed=0)
    assert (len(train), len(held_out)) == (7, 3)
    assert sorted([*train, *held_out]) == list(range(10))


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 20])
def test_split_refuses_a_fraction(fraction):
    message = f"fraction must be between 0 and 1, both excluded, received {fraction}."
    with pytest.raises(ValueError, match=re.escape(message)):
        stratified_split(["a", "b"] * 5, fraction, seed=0)


def test_split_refuses_a_lonely_class():
    message = (
        "Each class needs at least two examples to stand in both parts of a split, but there is "
        "only one of 'rare', 'rarer': add examples, or remove the class."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        stratified_split(["a", "a", "rare", "a", "rarer"], 0.5, seed=0)


@pytest.mark.parametrize(("fraction", "parts"), [(0.1, "9 and 1"), (0.9, "1 and 9")])
def test_split_refuses_more_classes_than_places(fraction, parts):
    message = (
        f"A fraction of {fraction} splits 10 examples into {parts}, but each part needs one of "
        "each of 2 classes: choose a fraction nearer to 0.5, or add examples."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        stratified_split(["a", "b"] * 5, fraction, seed=0)


@pytest.mark.parametrize("labels", [[], [["a"]]])
def test_split_refuses_fewer_than_two_examples(labels):
    with pytest.raises(ValueError, match=f"splits {len(labels)} examples into 0 and"):
        stratified_split(labels, 0.5, seed=0)
