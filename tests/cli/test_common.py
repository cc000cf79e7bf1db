"""How commands read files."""

import argparse

import pytest

from keras_bert_scratch.cli.common import DATA, add_arguments, lines_in_chunks, read_data


@pytest.fixture
def read(tmp_path):
    """Reads a file of some bytes with some arguments of the command line."""

    def read(content, *arguments, name="a.csv", **other_options):
        parser = argparse.ArgumentParser()
        add_arguments(parser, *DATA)
        parser.add_argument("--summary-column", default="summary")
        (tmp_path / name).write_bytes(content)
        return read_data(f"{tmp_path}/{name}", parser.parse_args(arguments), **other_options)

    return read


def test_dialects(read):
    content = "text;label\n„gut“;ja\n".encode("cp1252")
    assert read(content, "--encoding", "cp1252", "--delimiter", ";").texts == ["„gut“"]
    assert read(b"text\tlabel\na,b\tx\n", "--delimiter", r"\t").texts == ["a,b"]
    plain = b'text,label\n"a,x\nb,x\nc",x\n'
    assert read(plain, "--no-quoting").texts == ['"a', "b", 'c"']
    assert read(plain, "--quoting").texts == ["a,x\nb,x\nc"]


def test_options_of_other_names(read):
    examples = read(b"text,summary\na,b\n", pair_column="summary_column", label_column=None)
    assert (examples.pairs, examples.labels) == (["b"], None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"body,label\n", "its columns are 'body', 'label'. Name one of them with --text-column."),
        (
            b"text,encoding\n",
            "its columns are 'text', 'encoding'. Name one of them with --label-column.",
        ),
        (b"text;label\na;x\n", "separated by ';', pass --delimiter ';'."),
        (b"text,label\n\xe9,x\n", "Pass its --encoding, such as --encoding 'cp1252' for old"),
        (b'text,label\n"a,x\nb,x\nc",x\n', "Pass --no-quoting if it is, or --quoting if the cell"),
    ],
)
def test_errors_name_the_options(read, content, message, tmp_path):
    with pytest.raises(ValueError, match=r"encoding\.csv") as error:
        read(content, name="encoding.csv")
    assert message in str(error.value)
    assert str(error.value).startswith(f"{tmp_path}/encoding.csv")


def test_errors_name_options_of_other_names(read):
    with pytest.raises(ValueError, match=r"'text'\. Name one of them with --summary-column\.$"):
        read(b"text\na\n", pair_column="summary_column", label_column=None)


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
