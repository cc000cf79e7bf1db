import csv
import decimal
import gzip
import io
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

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


# === Dialects ===
def test_encoding(write):
    path = write("a.csv", "text,label\ncafé “x”,pos\n".encode("cp1252"))
    assert read_examples(path, encoding="cp1252").texts == ["café “x”"]
    rows = '{"text": "é\\u00e9", "label": 1}\r{"text": "b", "label": 2.0}'
    path = write("a.jsonl", rows.encode("utf-16-be"))
    assert read_examples(path, encoding="utf-16-be") == Examples(["éé", "b"], None, ["1", "2"])
    assert read_error(ValueError, path, encoding="utf8000") == (
        "encoding must be one that Python knows, such as 'utf-8', 'utf-16' or 'cp1252', received "
        "'utf8000'."
    )
    assert "must be one that Python knows" in read_error(ValueError, path, encoding="rot13")
    path = write("b.csv", b"\xef\xbb\xbflabel,text\nx,\xc3\xa9\n")
    assert read_error(ValueError, path, encoding="latin-1") == (
        "b.csv begins with the byte order mark of UTF-8, received encoding='latin-1': pass "
        "encoding='utf-8'."
    )


def test_delimiter(write):
    path = write("a.csv", 'text;label\r\n"ein Film; gut, ja";pos\r\nnein, danke;neg\r\n')
    assert read_error(ValueError, path) == (
        "a.csv has no column 'text': its columns are 'text;label'. Name one of them with "
        "text_column. If the cells are separated by ';', pass delimiter=';'."
    )
    assert read_examples(path, delimiter=";").texts == ["ein Film; gut, ja", "nein, danke"]
    for delimiter in ("", "::", '"', "\n", 5):
        assert "delimiter must be one character, no quotation mark and no line break, rec" in (
            read_error(ValueError, path, delimiter=delimiter)
        )


def test_arguments_of_other_formats(write, tmp_path):
    path = write("a.jsonl", '{"text": "a", "label": "x"}')
    for arguments in ({"delimiter": ";"}, {"quoting": False}):
        assert read_error(ValueError, path, **arguments) == (
            "delimiter and quoting are for CSV and TSV, and a.jsonl is none."
        )
    pd.DataFrame({"text": ["a"], "label": ["x"]}).to_parquet(tmp_path / "a.parquet")
    assert "encoding is for files of text" in read_error(
        ValueError, tmp_path / "a.parquet", encoding="cp1252"
    )
    path = write("a.csv", "text,label\na,x\n")
    assert read_error(ValueError, path, quoting=csv.QUOTE_NONE) == (
        "quoting must be True, False or None, received 3."
    )


def test_gzip(write):
    content = "text,label\n" + "a film,x\n" * 3
    for name in ("a.csv.gz", "a.CSV.GZ"):
        assert len(read_examples(write(name, gzip.compress(content.encode())))) == 3
    path = write("a.tsv.gz", gzip.compress(content.replace(",", "\t").encode()))
    assert read_examples(path).labels == ["x"] * 3
    path = write("a.jsonl.gz", gzip.compress(b'{"text": "a", "label": "x"}'))
    assert read_examples(path).texts == ["a"]
    for broken in (content.encode(), gzip.compress(content.encode())[:-9], b""):
        message = read_error(ValueError, write("a.csv.gz", broken))
        assert message.startswith("a.csv.gz is not a gzip file, or damaged") or not broken
    packed = write("a.csv", gzip.compress(content.encode()))
    assert "It is packed by gzip: add .gz to its name." in read_error(ValueError, packed)
    bomb = gzip.compress(b"text,label\n" + b"x" * (17 << 20))
    assert read_error(ValueError, write("bomb.csv.gz", bomb)) == (
        f"bomb.csv.gz has {len(bomb)} bytes and unpacks to more than {1 << 24}, which is unlikely "
        "for text: unpack it first if you trust it."
    )


def test_cells_of_any_length(write):
    limit = csv.field_size_limit()
    path = write("a.csv", f'text,label\na,x\n"{"b," * limit}",x\n')
    assert read_examples(path).texts == ["a", "b," * limit]
    assert csv.field_size_limit() == limit


def test_texts_and_labels_stay_as_they_are(write):
    path = write("a.csv", "text,label,\nNA,NaN,\nnull,1.0,\n1e5,007,\n")
    assert read_examples(path) == Examples(["NA", "null", "1e5"], None, ["NaN", "1.0", "007"])


GLUE = 'label\ttext\n1\t" a good film\n0\tdull\n0\tbad\n1\tgreat "\n0\tlast\n'


def test_tsv_whose_quotation_marks_are_characters(write):
    expected = ['" a good film', "dull", "bad", 'great "', "last"]
    path = write("a.tsv", GLUE)
    assert read_examples(path).texts == expected
    assert read_examples(path, quoting=False).texts == expected
    assert read_examples(path, quoting=True).texts[1:] == ["last"]
    for cell in ('"so" they say', '"so they say"', "it's 5\""):
        assert read_examples(write("b.tsv", f"text\tlabel\n{cell}\tx\n")).texts == [cell]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ('text\tlabel\n"says ""no"""\tx\n', 'says "no"'),
        ('text\tlabel\n"a\tb"\tx\n', "a\tb"),
        ('text\tlabel\n"a\nb"\tx\n', "a\nb"),
        ('"text"\t"label"\n"a"\t"x"\n', "a"),
    ],
)
def test_tsv_that_shows_its_quoting(write, content, text):
    assert read_examples(write("a.tsv", content)).texts == [text]


def test_tsv_of_one_column_that_may_be_either(write):
    path = write("a.tsv", 'text\nfine\n"a\nb"\n')
    assert read_error(ValueError, path, label_column=None).startswith(
        "a.tsv, line 3: a quoted cell may have several lines, or each line may be a text of its "
        "own that holds a quotation mark. Pass quoting=True for the first, quoting=False for "
    )
    assert read_examples(path, label_column=None, quoting=True).texts == ["fine", "a\nb"]
    assert len(read_examples(path, label_column=None, quoting=False)) == 3


def test_a_quoted_cell_that_hides_rows(write):
    path = write("a.csv", GLUE.replace("\t", ","))
    assert read_error(ValueError, path) == (
        "a.csv, lines 2 to 5: a quoted cell holds lines that look like rows of their own (line 3), "
        "so its quotation mark may be a character like any other. Pass quoting=False if it is, or "
        "quoting=True if the cell has several lines."
    )
    assert len(read_examples(path, quoting=False)) == 5
    assert len(read_examples(path, quoting=True)) == 2
    assert "lines 2 to 5" in read_error(ValueError, path, label_column=None)
    # Two rows, and labels that are words.
    path = write("b.csv", 'text,label\nfine,pos\n"bad,neg\n"so it is",neg\nwell,pos\n')
    assert "', ' expected after" in read_error(ValueError, path).replace("','", "', '")
    path = write("c.csv", 'label,text\npos,fine\nneg,"bad\nneg,dull"\n')
    assert "lines 3 to 4" in read_error(ValueError, path)
    # A tab, or a row that is no good in itself, lies among them.
    ragged = GLUE.replace("0\tbad", "0\tbad\tvery")
    assert "lines 2 to 5" in read_error(ValueError, write("d.tsv", ragged))
    assert "line 4: expected 2 columns as in the header, found 3. Quotation marks are char" in (
        read_error(ValueError, write("d.tsv", ragged), quoting=False)
    )


@pytest.mark.parametrize(
    "text",
    [
        "Dear all,\nthis is good, I think\nbye",
        "Dear all,\nbye",
        "one, two\nthree, four",
        "first\n\nsecond, with a comma\n",
        '"so",\nhe said',
    ],
)
@pytest.mark.parametrize("columns", [["text", "label"], ["id", "label", "text"]])
def test_cells_of_several_lines_are_no_rows(write, text, columns):
    values = {"text": [text, "fine", "bad"], "label": ["pos", "pos", "neg"], "id": [1, 2, 3]}
    path = write("a.csv", pd.DataFrame(values)[columns].to_csv(index=False))
    assert read_examples(path).texts == [text, "fine", "bad"]


def test_json_labels_that_are_numbers(write):
    path = write("a.jsonl", '{"text": "a", "label": 1.0}\n{"text": "b", "label": false}')
    assert read_examples(path).labels == ["1", "false"]
    for label in ("NaN", "1e400", "0.5"):
        path = write("a.jsonl", f'{{"text": "a", "label": {label}}}')
        assert "'label' must be a string, an integer, a " in read_error(TypeError, path)


def test_json_names_that_come_twice(write):
    path = write("a.jsonl", '{"text": "a", "text": "b", "label": "x"}')
    assert read_error(ValueError, path) == (
        "a.jsonl, line 1 is not JSON: the name 'text' comes twice in one object. Write one object "
        "a line."
    )


def test_a_file_of_one_json_list(write):
    path = write("a.jsonl", '[\n{"text": "a", "label": "x"},\n{"text": "b", "label": "y"}\n]')
    assert "line 1 is not JSON: " in read_error(ValueError, path)


def test_parquet_of_other_types(tmp_path, write):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "a.parquet"

    def labels(values, type_=None):
        column = pyarrow.array(values, type_)
        texts = pyarrow.array(["a", "b"], pyarrow.large_string())
        parquet.write_table(pyarrow.table({"text": texts, "label": column}), path)
        return read_examples(path).labels

    assert labels(["x", "y"], pyarrow.large_string()) == ["x", "y"]
    assert labels(["x", "y"], pyarrow.dictionary(pyarrow.int32(), pyarrow.string())) == ["x", "y"]
    assert labels([1, 0], pyarrow.int8()) == ["1", "0"]
    assert labels([1.0, 0.0]) == ["1", "0"]
    assert labels([True, False]) == ["true", "false"]
    assert labels([["x"], []], pyarrow.large_list(pyarrow.string())) == [["x"], []]
    pd.DataFrame({"text": pd.Categorical(["a", "b"]), "label": [1, None]}).to_parquet(path)
    assert read_error(TypeError, path).startswith("a.parquet, line 2: 'label' must be a string, ")
    with pytest.raises(TypeError, match=r"line 1: 'label' .* value Decimal\('1.5'\)"):
        labels([decimal.Decimal("1.5"), decimal.Decimal("2.5")])


# Texts of what the formats themselves are made of. A half of a surrogate pair cannot be written.
TEXTS = st.text(st.sampled_from("ab1é\"'\t\n\r,;| \u2028#"), min_size=1, max_size=8).filter(
    str.strip
)
ROWS = st.lists(st.tuples(TEXTS, st.sampled_from(["x", "y", "1"])), min_size=1, max_size=5)


@settings(max_examples=150, deadline=None)
@given(
    rows=ROWS,
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONE]),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32-le"]),
    packed=st.booleans(),
    says=st.booleans(),
)
def test_every_dialect_comes_back(rows, delimiter, quoting, newline, encoding, packed, says):
    """What Python's csv writes is read again, or refused by name where it is not told how."""
    is_plain = quoting == csv.QUOTE_NONE
    if is_plain:
        assume(not any(set(text) & {delimiter, "\n", "\r"} for text, _ in rows))
    if quoting == csv.QUOTE_MINIMAL:
        # Python 3.11 quotes a line break only if it is the file's own.
        assume(not any(set(text) & ({"\n", "\r"} - {*newline}) for text, _ in rows))
    file = io.StringIO(newline="")
    writer = csv.writer(
        file, delimiter=delimiter, quoting=quoting, lineterminator=newline, quotechar=None
        if is_plain else '"',
    )  # fmt: skip
    writer.writerows([("text", "label"), *rows])
    content = file.getvalue().encode(encoding)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("a.csv.gz" if packed else "a.csv")
        path.write_bytes(gzip.compress(content) if packed else content)
        arguments = {"quoting": not is_plain} if says else {}
        try:
            found, refusal = (
                read_examples(path, encoding=encoding, delimiter=delimiter, **arguments),
                "",
            )
        except ValueError as error:
            found, refusal = None, str(error)
    if found is None:
        assert not says
        assert str(path) in refusal
        return
    assert found.labels == [label for _, label in rows]
    texts = [text for text, _ in rows]
    if found.texts != texts:
        # Without being told, marks around a cell that needs none are taken away in CSV, and left
        # in TSV; but there are as many rows as there were.
        assert not says
        assert [text.replace('"', "") for text in found.texts] == [
            text.replace('"', "") for text in texts
        ]


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
        f"{name} is not UTF-8: byte 0xe9 on line 3. Pass its encoding, such as encoding='cp1252' "
        "for old files of Windows, or save the file as UTF-8."
    )


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_byte_order_marks_of_others(write, encoding):
    path = write("a.csv", "text,label\nü,pos\n".encode(encoding))
    assert read_error(ValueError, path) == (
        "a.csv is not UTF-8: byte 0xff on line 1. It begins with the byte order mark of "
        f"{encoding.upper()}: pass encoding='{encoding}', or save the file as UTF-8."
    )
    assert read_examples(path, encoding=encoding).texts == ["ü"]


def test_nul_byte(write):
    assert read_error(ValueError, write("a.csv", "text,label\na\0b,pos\n")) == (
        "a.csv has a NUL byte on line 2, so it is no text file, or damaged: "
        "remove the byte, or save the file as UTF-8. UTF-16 without a byte order mark is read by "
        "encoding='utf-16-le' or 'utf-16-be'."
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
        'write a quotation mark inside a quoted cell twice (""). Pass quoting=False if quotation '
        "marks are characters like any other in this file."
    )


def test_text_behind_a_closing_quote(write):
    path = write("a.csv", 'text,label\n"so" they say,x\n')
    assert read_error(ValueError, path) == (
        "a.csv, in the row that starts on line 2: ',' expected after '\"'. Write a quotation mark "
        'inside a quoted cell twice (""), and quote cells that begin with one. Pass quoting=False '
        "if quotation marks are characters like any other in this file."
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
