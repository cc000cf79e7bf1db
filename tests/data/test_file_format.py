"""How files are read: columns by names and cells, dialects as shown, and what is refused."""

import json
import random
import re

import pytest

from keras_bert_scratch.data.file_format import FileFormat, fields_from_json, find_format

TEXTS = ["Cup final tonight", "Shares fall again", "Votes are counted", "A film to remember"]


@pytest.fixture
def write(tmp_path):
    """Writes a file and returns its path."""

    def write(content, name="a.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def table(*columns, delimiter=","):
    """Eight rows of some columns, given as functions of the row's number; the first is a header."""
    names = [column.__name__.removesuffix("_") for column in columns]
    rows = [[str(column(number)) for column in columns] for number in range(8)]
    return "".join(f"{delimiter.join(row)}\n" for row in [names, *rows])


# === Columns of a table, by the name of the function ===
def headline(n):
    return f"{TEXTS[n % 4]}, number {n}".replace(",", "")


def prose(n):
    return headline(n)


def story(n):
    return headline(n).upper()


def section(n):
    return ("sport", "money")[n % 2]


def category(n):
    return n % 3


def kind(n):
    return section(n)


def source(n):
    return ("web", "mail")[n // 4]


def id_(n):
    return n


def price(n):
    return n % 2


def day(n):
    return f"2024-01-{n % 3 + 1:02}"


def address(n):
    return f"https://example.org/articles/{n}"


def text(n):
    return n


def label(n):
    return n


def shuffled(*columns):
    """The same columns in another order: places tell nothing."""
    return random.Random(len(columns)).sample(columns, len(columns))


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ([id_, headline, section], ("headline", "section")),  # texts by name, labels by cells
        ([prose, category], ("prose", "category")),  # and the other way round: 0, 1, 2 have a name
        ([price, prose, id_, day, address, kind], ("prose", "kind")),  # both by cells
        ([prose, section, headline, category], ("headline", "category")),  # names come first
        ([text, label, headline, category], ("text", "label")),  # whatever their cells are
        ([text, prose, kind], ("text", "kind")),
    ],
)
def test_finds_columns(write, columns, expected):
    for order in (columns, shuffled(*columns)):
        found, _ = find_format(write(table(*order)), {})
        assert (found.text_column, found.label_column) == expected


def test_says_what_was_found(write):
    content = table(prose, section, delimiter=";")
    found, notes = find_format(write(content), {})
    assert found == FileFormat("prose", label_column="section", delimiter=";")
    assert notes == [
        "cells are separated by ';'",
        "texts in 'prose', by its cells",
        "labels in 'section', by its cells",
    ]
    assert found.read(write(content)).labels == ["sport", "money"] * 4


@pytest.mark.parametrize(
    ("columns", "what", "argument"),
    [
        ([prose, story, section], "several may hold the texts", "text_column"),
        ([prose, section, source], "several may hold the labels", "label_column"),
        ([headline, prose, price], "none seems to hold the labels", "label_column"),
        ([id_, day, address, section], "none seems to hold the texts", "text_column"),
        ([prose, id_], "none seems to hold the labels", "label_column"),
    ],
)
def test_refuses_what_cannot_be_told_apart(write, columns, what, argument):
    path = write(table(*columns))
    with pytest.raises(ValueError, match=what) as info:
        find_format(path, {})
    first, *lines = str(info.value).splitlines()
    assert first.startswith(f"{path}: the columns cannot be told apart, {what}. Name one of them")
    assert re.search(
        rf"with {argument}(, and a second with pair_column if texts are pairs)?\.", first
    )
    # Every column, with what it seems to hold and its first cell.
    assert [line.split()[0] for line in lines] == [c.__name__.removesuffix("_") for c in columns]
    for line, column in zip(lines, columns, strict=True):
        assert line.endswith(repr(str(column(0))))
    # The way out.
    given = {"text_column": "prose", "label_column": "section"}
    assert find_format(path, given) == (FileFormat(**given), [])


def test_two_names_of_texts_are_ambiguous(write):
    content = table(headline, section).replace("section", "kind")
    both = "\n".join(
        f"{line},{'title' if number == 0 else headline(number)}"
        for number, line in enumerate(content.splitlines())
    )
    with pytest.raises(ValueError, match="several may hold the texts"):
        find_format(write(both), {})


def test_a_missing_header(write):
    rows = table(prose, section).split("\n", 1)[1]
    with pytest.raises(ValueError, match="the first line seems to be an example, not a header"):
        find_format(write(rows), {})


def test_numbers_with_a_name_that_never_repeat_are_no_labels(write):
    content = "headline,target\n" + "".join(f"{headline(n)},0.{n}\n" for n in range(8))
    with pytest.raises(ValueError, match="none seems to hold the labels") as info:
        find_format(write(content), {})
    assert "target    numbers  '0.0'" in str(info.value)


def test_texts_alone(write):
    found, notes = find_format(write(table(id_, prose, section)), {}, needs_label=False)
    assert found == FileFormat("prose")
    assert notes == ["texts in 'prose', by its cells"]


def test_json_and_parquet(write, tmp_path):
    rows = [{"id": n, "headline": headline(n), "topics": [section(n)], "a": None} for n in range(4)]
    path = write("\n".join(map(json.dumps, rows)), "a.jsonl")
    with pytest.raises(ValueError, match="none seems to hold the labels"):
        find_format(path, {})
    rows = [{"headline": row["headline"], "labels": row["topics"]} for row in rows]
    path = write("\n".join(map(json.dumps, rows)), "a.jsonl")
    # What a model of a CSV file remembers of its dialect is not for this file.
    found, _ = find_format(path, {}, {"delimiter": ";", "quoting": False})
    assert found == FileFormat("headline", label_column="labels")
    pandas = pytest.importorskip("pandas")
    pandas.DataFrame({"prose": list(map(prose, range(8))), "kind": list(map(kind, range(8)))}) \
        .to_parquet(tmp_path / "a.parquet")  # fmt: skip
    found, _ = find_format(tmp_path / "a.parquet", {}, {"encoding": "cp1252"})
    assert found == FileFormat("prose", label_column="kind")


# === The dialect ===
@pytest.mark.parametrize(
    ("name", "header", "remembered", "expected"),
    [
        ("a.csv", "text,label", None, None),
        ("a.csv", "text;label", None, ";"),
        ("a.csv", "text\tlabel", None, "\t"),
        ("a.csv", '"text;long",label', None, None),
        ("a.csv", "text;label,kind", None, None),  # shows two: the suffix decides
        ("a.csv", "text", ";", ";"),  # shows none
        ("a.csv", "text,label", ";", None),
        ("a.tsv", "text\tlabel", ";", None),
        ("a.tsv", "text;label", None, ";"),
    ],
)
def test_delimiter(write, name, header, remembered, expected):
    columns = {"text_column": "text", "label_column": "label"}
    memory = {"delimiter": remembered} if remembered else {}
    assert find_format(write(f"{header}\n", name), columns, memory)[0].delimiter == expected


def test_what_is_given_counts_before_what_is_remembered(write):
    memory = {"text_column": "a", "label_column": "b", "encoding": "cp1252", "quoting": False}
    path = write("caf\xe9,b,c\n".encode("cp1252"))
    found, notes = find_format(path, {"text_column": "c"}, memory)
    assert found == FileFormat("c", None, "b", encoding="cp1252", quoting=False)
    assert notes == []


def test_a_remembered_encoding_that_would_garble_the_texts(write):
    path = write("text,label\ncafé,x\n")
    memory = {"text_column": "text", "label_column": "label", "encoding": "cp1252"}
    with pytest.raises(ValueError, match="is UTF-8, and the model was trained on a file in cp1252"):
        find_format(path, {}, memory)
    assert find_format(path, {"encoding": "utf-8"}, memory)[0].read(path).texts == ["café"]
    assert find_format(write("text,label\ncafe,x\n"), {}, memory)[0].encoding == "cp1252"


def test_quotation_marks_of_a_table_that_is_looked_at(write):
    quoted = table(prose, section).replace("Cup final", '"Cup, the\nfinal"')
    assert find_format(write(quoted), {})[0].label_column == "section"
    plain = table(prose, section, delimiter="\t").replace("Cup", '"Cup')
    assert find_format(write(plain, "a.tsv"), {})[0].read(write(plain, "a.tsv")).texts[0] == (
        '"Cup final tonight number 0'
    )


# === What a model remembers ===
def test_json_and_back():
    saved = FileFormat("a", label_column="b", delimiter=";", quoting=False)
    assert FileFormat(**fields_from_json(saved.to_json(), "a.json")) == saved


@pytest.mark.parametrize(
    "content", ["[]", "{", '{"text_column": 1}', '{"path": "/etc"}', '{"quoting": "yes"}']
)
def test_refuses_other_json(content):
    with pytest.raises(ValueError, match=r"a\.json does not say how a file of examples is read"):
        fields_from_json(content, "a.json")
