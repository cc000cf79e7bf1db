"""How commands read files."""

import argparse

import pytest

from keras_bert_scratch.cli.common import (
    DATA,
    add_arguments,
    find_format,
    free_folder,
    lines_in_chunks,
    read_data,
)
from keras_bert_scratch.data.file_format import FileFormat


@pytest.fixture
def read(tmp_path):
    """Reads a file of some bytes with some arguments of the command line."""

    def read(content, *arguments, name="a.csv"):
        parser = argparse.ArgumentParser()
        add_arguments(parser, *DATA)
        (tmp_path / name).write_bytes(content)
        path = f"{tmp_path}/{name}"
        return read_data(path, find_format(path, parser.parse_args(arguments)))

    return read


def test_dialects(read):
    content = "text;label\n„gut“;ja\n".encode("cp1252")
    assert read(content, "--encoding", "cp1252", "--delimiter", ";").texts == ["„gut“"]
    assert read(b"text\tlabel\na,b\tx\n", "--delimiter", r"\t").texts == ["a,b"]
    plain = b'text,label\n"a,x\nb,x\nc",x\n'
    assert read(plain, "--no-quoting").texts == ['"a', "b", 'c"']
    assert read(plain, "--quoting").texts == ["a,x\nb,x\nc"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,label\n1,x\n", "hold the texts. Name one of them with --text-column, and a second "),
        (b"text,encoding\na,x\n", "Name one of them with --label-column. The columns, with what"),
        (b"text,label\na,\n", "'label' is empty in 1 row, on line 2. Fill or remove them."),
        (b"text,label\n\xe9,x\n", "Pass its --encoding, such as --encoding 'cp1252' for old"),
        (b'text,label\n"a,x\nb,x\nc",x\n', "Pass --no-quoting if it is, or --quoting if the cell"),
    ],
)
def test_errors_name_the_options(read, content, message, tmp_path):
    with pytest.raises(ValueError, match=r"encoding\.csv") as error:
        read(content, name="encoding.csv")
    assert message in str(error.value)
    assert str(error.value).startswith(f"{tmp_path}/encoding.csv")


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [(["--text-column", "a"], "--text-column"), (["--label-column", "a"], "--label-column")],
)
def test_errors_name_the_option_of_a_missing_column(read, arguments, flag):
    message = rf"no column 'a': its columns are 'text', 'label'\. Name one of them with {flag}\.$"
    with pytest.raises(ValueError, match=message):
        read(b"text,label\nb,c\n", *arguments)


def test_errors_name_options_of_other_names(tmp_path):
    (tmp_path / "a.csv").write_text("text\na\n")
    with pytest.raises(ValueError, match=r"'text'\. Name one of them with --summary-column\.$"):
        read_data(
            f"{tmp_path}/a.csv", FileFormat(pair_column="summary"), pair_column="summary_column"
        )


def test_free_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = []
    for _ in range(3):
        found.append(free_folder("data/news.of.today.csv.gz"))
        (tmp_path / found[-1]).mkdir(parents=True)
    assert found == [f"saved_models/news.of.today{ending}" for ending in ("", "-2", "-3")]


def test_lines(stdin, tmp_path):
    stdin(b"\xef\xbb\xbfa\r\nb\n\nc")
    assert list(lines_in_chunks("-", 2)) == [(1, ["a", "b"]), (3, ["", "c"])]
    (tmp_path / "a.txt").write_bytes(b"caf\xe9\n")
    assert list(lines_in_chunks(tmp_path / "a.txt", encoding="cp1252")) == [(1, ["café"])]
    with pytest.raises(ValueError, match=r"Line 1 is not UTF-8 \(byte 3\): convert the input, or"):
        list(lines_in_chunks(tmp_path / "a.txt"))
    for encoding in ("utf-16", "utf7000"):
        with pytest.raises(ValueError, match=f"--encoding {encoding} cannot be read line by line"):
            list(lines_in_chunks(tmp_path / "a.txt", encoding=encoding))
