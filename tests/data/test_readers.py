"""Files of examples: what is read, which dialects come back, and what is refused by name."""

import csv
import decimal
import functools
import gzip
import io
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


GLUE = 'label\ttext\n1\t" a good film\n0\tdull\n0\tbad\n1\tgreat "\n0\tlast\n'
GLUE_TEXTS = ['" a good film', "dull", "bad", 'great "', "last"]
# Without the time, which would make other names of the cases in each worker.
zipped = functools.partial(gzip.compress, mtime=0)

FILM = b"text,label\n" + b"a film,x\n" * 3


# === What is read ===
def case(content, *expected, name="a.csv", **arguments):
    return name, content, arguments, *expected


@pytest.mark.parametrize(
    ("name", "content", "arguments", "texts", "labels"),
    [
        case("text,label\na film,pos\n no film ,neg\n", ["a film", " no film "], ["pos", "neg"]),
        case("text\tlabel\na, b\tpos\n", ["a, b"], ["pos"], name="a.TSV"),
        case(
            "text,label,\nNA,NaN,\nnull,1.0,\n1e5,007,\n",
            ["NA", "null", "1e5"],
            ["NaN", "1.0", "007"],
        ),
        case(
            "text,label\na,x | y\nb,\nc,y\n",
            ["a", "b", "c"],
            [["x", "y"], [], ["y"]],
            label_separator="|",
        ),
        case(
            '{"text": "a\u2028b", "label": 1}\r\n{"text": "c", "label": true}\r\n\r\n'
            '{"text": "d", "label": " x ", "id": 7}\n{"text": "e", "label": 2.0}',
            ["a\u2028b", "c", "d", "e"],
            ["1", "true", "x", "2"],
            name="a.jsonl",
        ),
        case(
            '{"text": "a", "label": ["x", 2]}\n{"text": "b", "label": []}\n',
            ["a", "b"],
            [["x", "2"], []],
            name="a.jsonl",
        ),
        case(
            '{"text": "a", "label": "x,y"}\n{"text": "b", "label": ["z"]}\n',
            ["a", "b"],
            [["x", "y"], ["z"]],
            name="a.jsonl",
            label_separator=",",
        ),
        # A byte order mark, a quoted cell, and blank lines.
        case(
            b'\xef\xbb\xbftext,label\r"says ""no"",\rthen leaves",neg\r\rfine,pos',
            ['says "no",\rthen leaves', "fine"],
            ["neg", "pos"],
        ),
        # Encodings and compression.
        case(
            "text,label\ncafé “x”,pos\n".encode("cp1252"), ["café “x”"], ["pos"], encoding="cp1252"
        ),
        case(
            '{"text": "é\\u00e9", "label": 1}\r{"text": "b", "label": 2.0}'.encode("utf-16-be"),
            ["éé", "b"],
            ["1", "2"],
            name="a.jsonl",
            encoding="utf-16-be",
        ),
        ("a.CSV.GZ", zipped(FILM), {}, ["a film"] * 3, ["x"] * 3),
        ("a.tsv.gz", zipped(FILM.replace(b",", b"\t")), {}, ["a film"] * 3, ["x"] * 3),
        case(zipped(b'{"text": "a", "label": "x"}'), ["a"], ["x"], name="a.jsonl.gz"),
        # Quotation marks of TSV that are characters, ...
        case(GLUE, GLUE_TEXTS, list("10010"), name="a.tsv"),
        case(GLUE, GLUE_TEXTS, list("10010"), name="a.tsv", quoting=False),
        case(
            GLUE,
            [" a good film\n0\tdull\n0\tbad\n1\tgreat ", "last"],
            list("10"),
            name="a.tsv",
            quoting=True,
        ),
        case('text\tlabel\n"so" they say\tx\n', ['"so" they say'], ["x"], name="a.tsv"),
        case('text\tlabel\n"so they say"\tx\n', ['"so they say"'], ["x"], name="a.tsv"),
        case("text\tlabel\nit's 5\"\tx\n", ["it's 5\""], ["x"], name="a.tsv"),
        # ... and those that the file shows to enclose cells.
        case('text\tlabel\n"says ""no"""\tx\n', ['says "no"'], ["x"], name="a.tsv"),
        case('text\tlabel\n"a\tb"\tx\n', ["a\tb"], ["x"], name="a.tsv"),
        case('text\tlabel\n"a\nb"\tx\n', ["a\nb"], ["x"], name="a.tsv"),
        case('"text"\t"label"\n"a"\t"x"\n', ["a"], ["x"], name="a.tsv"),
    ],
)
def test_files(write, name, content, arguments, texts, labels):
    found = read_examples(write(name, content), **arguments)
    assert found == Examples(texts, None, labels)
    assert len(found) == len(texts)


def test_other_columns_pairs_and_no_labels(write):
    path = write("a.csv", "id,premise,hypothesis\n1,it rains,it is wet\n")
    examples = read_examples(
        path, text_column="premise", pair_column="hypothesis", label_column=None
    )
    assert examples == Examples(["it rains"], ["it is wet"], None)


def test_files_written_by_pandas_come_back(tmp_path):
    texts = ['a "quoted" word', "two\nlines", "comma, and\ttab", "日本語 ü", "'"]
    frame = pd.DataFrame({"text": texts, "label": list("ababa")})
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_csv(tmp_path / "a.tsv", index=False, sep="\t")
    frame.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    frame.to_parquet(tmp_path / "a.parquet")
    for suffix in ("csv", "tsv", "jsonl", "parquet"):
        assert read_examples(tmp_path / f"a.{suffix}") == Examples(texts, None, list("ababa"))


def test_cells_of_any_length(write):
    limit = csv.field_size_limit()
    path = write("a.csv", f'text,label\na,x\n"{"b," * limit}",x\n')
    assert read_examples(path).texts == ["a", "b," * limit]
    assert csv.field_size_limit() == limit


def test_reading_imports_nothing_heavy():
    code = (
        "import sys, keras_bert_scratch.data.readers;"
        "print({'tensorflow', 'keras', 'sklearn', 'matplotlib'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "set()", result.stderr


# === Quoted cells of several lines ===
def test_tsv_of_one_column_that_may_be_either(write):
    path = write("a.tsv", 'text\nfine\n"a\nb"\n')
    assert read_error(ValueError, path, label_column=None).startswith(
        "a.tsv, line 3: a quoted cell may have several lines, or each line may be a row of its "
        "own that holds a quotation mark. Pass quoting=True for the first, quoting=False for "
    )
    assert read_examples(path, label_column=None, quoting=True).texts == ["fine", "a\nb"]
    assert len(read_examples(path, label_column=None, quoting=False)) == 3


def test_a_quoted_cell_that_hides_rows(write):
    path = write("a.csv", GLUE.replace("\t", ","))
    assert read_error(ValueError, path) == (
        "a.csv, lines 2 to 5: a quoted cell holds lines that look like rows of their own (line 3), "
        "so its quotation mark may be an ordinary character. Pass quoting=False if it is, or "
        "quoting=True if the cell has several lines."
    )
    assert len(read_examples(path, quoting=False)) == 5
    assert len(read_examples(path, quoting=True)) == 2
    assert "lines 2 to 5" in read_error(ValueError, path, label_column=None)
    # Two rows, and labels that are words.
    path = write("b.csv", 'text,label\nfine,pos\n"bad,neg\n"so it is",neg\nwell,pos\n')
    assert "',' expected after" in read_error(ValueError, path)
    path = write("c.csv", 'label,text\npos,fine\nneg,"bad\nneg,dull"\n')
    assert "lines 3 to 4" in read_error(ValueError, path)
    # Labels that occur once tell nothing, but each line of the file may be a row.
    path = write("c.csv", 'text,label\na,y\n"b,1\nc,x\n",y\n')
    assert "lines 3 to 5" in read_error(ValueError, path)
    assert len(read_examples(path, quoting=False)) == 4
    # One of them is malformed.
    path = write("d.tsv", GLUE.replace("0\tbad", "0\tbad\tvery"))
    assert "lines 2 to 5" in read_error(ValueError, path)
    assert "line 4: expected 2 columns as in the header, found 3. Quotation marks are ordin" in (
        read_error(ValueError, path, quoting=False)
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


# === Parquet ===
def test_parquet_that_is_refused(tmp_path, write):
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
    assert "encoding is for text files" in read_error(ValueError, path, encoding="cp1252")
    content = path.read_bytes()
    frame.to_parquet(path, compression=None)
    not_utf8 = path.read_bytes().replace("ä".encode(), b"\xff\xff")
    for damaged in (b"text,label\na,b\n", content[: len(content) // 2], content[:-8], not_utf8):
        assert "a.parquet is not a Parquet file, or damaged: " in read_error(
            ValueError, write("a.parquet", damaged)
        )


def test_parquet_needs_pyarrow(write, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert read_error(ImportError, write("a.parquet", "")) == (
        'Reading a.parquet needs pyarrow, which is not installed: pip install "pyarrow>=20" (the '
        'extra "parquet" of keras_bert_scratch).'
    )


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
        path.write_bytes(zipped(content) if packed else content)
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
BOM = b"\xef\xbb\xbf"
LABEL = "'label' must be a string, an integer, a boolean or a list of these, received the JSON"
SINGLE, SEVERAL = '{"text": "a", "label": "x"}', '{"text": "a", "label": ["x"]}'


@pytest.mark.parametrize(
    ("name", "content", "arguments", "message"),
    [
        case(
            "",
            "Cannot read a.xlsx: its name must end in .csv, .tsv, .jsonl or .parquet, received "
            "'.xlsx'.",
            name="a.xlsx",
        ),
        # Arguments.
        case(
            FILM,
            "encoding must be one that Python knows, such as 'utf-8', 'utf-16' or 'cp1252', "
            "received 'utf8000'.",
            encoding="utf8000",
        ),
        case(FILM, "encoding must be one that Python knows", encoding="rot13"),
        case(
            BOM + b"label,text\nx,\xc3\xa9\n",
            "a.csv begins with the byte order mark of UTF-8, received encoding='latin-1': pass "
            "encoding='utf-8'.",
            encoding="latin-1",
        ),
        *(
            case(FILM, "delimiter must be one character, not a quo", delimiter=delimiter)
            for delimiter in ("", "::", '"', "\n", 5)
        ),
        *(
            case(
                "",
                "delimiter and quoting are for CSV and TSV, not a.jsonl: om",
                name="a.jsonl",
                **arguments,
            )
            for arguments in ({"delimiter": ";"}, {"quoting": False})
        ),
        case(FILM, "quoting must be True, False or None, received 3.", quoting=3),
        case(FILM, "label_separator must be at least one character", label_separator=""),
        # Columns.
        case(
            "review,stars\ngood,5\n",
            "a.csv has no column 'text': its columns are 'review', 'stars'. Name one of them with "
            "text_column.",
        ),
        case(
            "review,stars\ngood,5\n",
            "a.csv has no column 'label': its columns are 'review', 'stars'. Name one of them with "
            "label_column, or pass label_column=None to read texts without labels.",
            text_column="review",
        ),
        case(FILM, "a.csv has no column 'b': ", pair_column="b"),
        case(
            'text;label\r\n"ein Film; gut, ja";pos\r\nnein, danke;neg\r\n',
            "a.csv has no column 'text': its columns are 'text;label'. Name one of them with "
            "text_column. If the cells are separated by ';', pass delimiter=';'.",
        ),
        case(
            "text,text,label\na,b,c\n",
            "a.csv: the column 'text' is ambiguous, the columns are 'text', 'text', 'label': "
            "rename one of them.",
        ),
        case(
            f'{SINGLE}\n{{"text": "b", "stars": 2}}\n',
            "a.jsonl, line 2 has no column 'label': its columns are 'text', 'stars'.",
            name="a.jsonl",
        ),
        # Bytes. The first row of the ragged files takes lines 2 and 3.
        *(
            case(
                f'text,label\n"two\nlines",pos\n\n{row}\n',
                f"a.csv, line 5: expected 2 columns as in the header, found {found}. Quote cells "
                "that hold the delimiter ',' or line breaks.",
            )
            for row, found in (("a, b,pos", 3), ("a", 1))
        ),
        *(
            case(
                start + "text,label\nfine,pos\ncafé,pos\n".encode("latin-1"),
                f"{name} is not UTF-8: byte 0xe9 on line 3. Pass its encoding, such as "
                "encoding='cp1252' for old files of Windows, or save the file as UTF-8.",
                name=name,
            )
            for name in ("a.csv", "a.jsonl")
            for start in (b"", BOM)
        ),
        *(
            case(
                "text,label\nü,pos\n".encode(encoding),
                "a.csv is not UTF-8: byte 0xff on line 1. It begins with the byte order mark of "
                f"{encoding.upper()}: pass encoding='{encoding}', or save the file as UTF-8.",
            )
            for encoding in ("utf-16", "utf-32")
        ),
        case(
            "text,label\na\0b,pos\n",
            "a.csv has a NUL byte on line 2, so it is damaged or not a text file: remove the byte, "
            "or save the file as UTF-8. For UTF-16 without a byte order mark pass "
            "encoding='utf-16-le' or 'utf-16-be'.",
        ),
        *(
            case(broken, "a.csv.gz is not a gzip file, or damaged", name="a.csv.gz")
            for broken in (FILM, zipped(FILM)[:-9])
        ),
        case(zipped(FILM), "a.csv is not UTF-8: byte 0x8b on line 1. It is compr"),
        # Nothing where something is needed.
        *(
            case(content, "a.csv has no rows: it needs at least one example.")
            for content in ("", "\n", "text,label\n", "text,label\n\n\n")
        ),
        case(b"", "a.csv.gz has no rows", name="a.csv.gz"),
        case("\n\n", "a.jsonl has no rows", name="a.jsonl"),
        case(
            "text,label\n,x\nfine,x\n   ,x\n",
            "a.csv: 'text' is empty in 2 rows, on lines 2, 4. Fill or remove them.",
        ),
        case(
            "text,label\n" + ",x\n" * 7,
            "a.csv: 'text' is empty in 7 rows, on lines 2, 3, 4, 5, 6, …. Fill",
        ),
        case(
            "text,pair,label\na,b,x\na,\u3000,x\n",
            "a.csv: 'pair' is empty in 1 row, on line 3. Fill or remove them.",
            pair_column="pair",
        ),
        case("text,label\na,x\nb, \n", "a.csv: 'label' is empty in 1 row, on line 3."),
        case(
            "text,label\na,x|\n",
            "a.csv: 'label' is empty in 1 row, on line 2.",
            label_separator="|",
        ),
        # Quotation marks.
        case(
            'text,label\na,x\n"never closed,x\nb,x\n',
            "a.csv, in the row that starts on line 3: a quoted cell is never closed. Close it, and "
            'write a quotation mark inside a quoted cell twice (""). Pass quoting=False if '
            "quotation marks are ordinary characters in this file.",
        ),
        case(
            'text,label\n"so" they say,x\n',
            "a.csv, in the row that starts on line 2: ',' expected after '\"'. Write a quotation "
            'mark inside a quoted cell twice (""), and quote cells that begin with one. Pass '
            "quoting=False if quotation marks are ordinary characters in this file.",
        ),
        # JSON.
        case(
            '{"text": "a", "text": "b", "label": "x"}',
            "a.jsonl, line 1 is not JSON: the name 'text' occurs twice in one object. Write one "
            "object a line.",
            name="a.jsonl",
        ),
        case(f"[\n{SINGLE},\n{SINGLE}\n]", "a.jsonl, line 1 is not JSON: ", name="a.jsonl"),
        case(
            f"{SINGLE}\n{{'text'}}",
            "a.jsonl, line 2 is not JSON: Expecting property",
            name="a.jsonl",
        ),
        case(f"{SINGLE}\n{'[' * 100_000}", "a.jsonl, line 2 is not JSON: ", name="a.jsonl"),
        case(f"{SINGLE}\n{'9' * 5000}", "a.jsonl, line 2 is not JSON: ", name="a.jsonl"),
        case(
            r'{"text": "\ud83d", "label": "x"}',
            r"a.jsonl, line 1: 'text' holds half of a surrogate pair, \ud83d, which is not a "
            "character: remove it.",
            name="a.jsonl",
        ),
    ],
)
def test_values_that_are_refused(write, name, content, arguments, message):
    assert read_error(ValueError, write(name, content), **arguments).startswith(message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        *(
            (line, f'line 1 is a JSON {kind}, expected an object such as {{"text": ...}}.')
            for line, kind in (
                ("[1]", "list"),
                ('"a"', "string"),
                ("1", "number"),
                ("null", "null"),
            )
        ),
        ('{"text": 5, "label": "x"}', "line 1: 'text' must be a string, received a JSON number."),
        *(
            (f'{{"text": "a", "label": {value}}}', f"line 1: {LABEL} {kind} {shown}.")
            for value, kind, shown in (
                ("1.5", "number", "1.5"),
                ("null", "null", "null"),
                ('{"a": 1}', "object", '{"a": 1}'),
                ("NaN", "number", "NaN"),
                ("1e400", "number", "Infinity"),
                ('["x", ["y"]]', "list", '["y"]'),
            )
        ),
        (
            f"{SINGLE}\n{SEVERAL}",
            "line 2: 'label' is a list, but a single label on line 1. Write all as lists, or none.",
        ),
        (
            f"{SEVERAL}\n{SINGLE}",
            "line 2: 'label' is a single label, but a list on line 1. Write all as lists, or pass "
            "label_separator.",
        ),
    ],
)
def test_json_types_that_are_refused(write, content, message):
    assert read_error(TypeError, write("a.jsonl", content)) == f"a.jsonl, {message}"


def test_missing_file(tmp_path):
    assert read_error(FileNotFoundError, tmp_path / "a.csv") == (
        "There is no file a.csv: check the path."
    )


def test_a_gzip_bomb(write):
    bomb = zipped(b"text,label\n" + b"x" * (17 << 20))
    assert read_error(ValueError, write("bomb.csv.gz", bomb)) == (
        f"bomb.csv.gz has {len(bomb)} bytes and unpacks to more than {1 << 24}, which is unlikely "
        "for text: unpack it first if you trust it."
    )


# === Splitting ===
@pytest.mark.parametrize("seed", [0, 1])
def test_split_is_that_of_scikit_learn(seed):
    from sklearn.model_selection import train_test_split

    labels = ["a"] * 60 + ["b"] * 30 + ["c"] * 10
    parts = stratified_split(labels, 0.2, seed)
    expected = train_test_split(range(100), test_size=0.2, random_state=seed, stratify=labels)
    for ours, theirs in zip(parts, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert Counter(labels[i] for i in parts[1]) == {"a": 12, "b": 6, "c": 2}


@pytest.mark.parametrize("labels", [[[], ["a", "b"], ["a"], [], ["b"]] * 2, np.eye(10)])
def test_split_of_several_labels_an_example(labels):
    train, held_out = stratified_split(labels, 0.25, seed=0)
    assert (len(train), len(held_out)) == (7, 3)
    assert sorted([*train, *held_out]) == list(range(10))


@pytest.mark.parametrize(
    ("labels", "fraction", "message"),
    [
        *(
            (
                ["a", "b"] * 5,
                fraction,
                f"fraction must be between 0 and 1, both excluded, received {fraction}.",
            )
            for fraction in (0, 1, -0.1, 20)
        ),
        (
            ["a", "a", "rare", "a", "rarer"],
            0.5,
            "Each class needs at least two examples to be in both parts of a split, but there is "
            "only one of 'rare', 'rarer': add examples, or remove the class.",
        ),
        *(
            (
                ["a", "b"] * 5,
                fraction,
                f"A fraction of {fraction} splits 10 examples into {parts}, but each part needs "
                "one of each of 2 classes: choose a fraction nearer to 0.5, or add examples.",
            )
            for fraction, parts in ((0.1, "9 and 1"), (0.9, "1 and 9"))
        ),
        ([], 0.5, "A fraction of 0.5 splits 0 examples into 0 and 0"),
        ([["a"]], 0.5, "A fraction of 0.5 splits 1 examples into 0 and 1"),
    ],
)
def test_split_refuses(labels, fraction, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        stratified_split(labels, fraction, seed=0)


def test_repr_of_examples():
    examples = Examples(["a  film", "b"], ["c", "d"], [["x", "y"], ["y"]])
    assert repr(examples) == (
        "<Examples: 2 pairs of texts, 2 labels\n"
        "  labels  y (2), x (1)\n"
        "  first   a film\n"
        "  first   c>"
    )
    assert repr(Examples([], None, None)) == "<Examples: 0 texts, 0 labels>"
    many = Examples(["long " * 1000] * 300, None, [f"label {n}" for n in range(300)])
    assert len(repr(many).splitlines()) == 3
    assert max(map(len, repr(many).splitlines())) < 100
