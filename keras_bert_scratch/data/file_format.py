"""How a file of examples is read: its columns and its dialect, told, remembered or found."""

import contextlib
import csv
import json
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from keras_bert_scratch.data.readers import (
    DELIMITERS,
    LINE_END,
    Examples,
    Row,
    existing_file,
    is_number,
    read_decoded,
    read_examples,
    read_rows,
    table_suffix,
)
from keras_bert_scratch.tables import shortened

# The file of a saved model that keeps how its training file was read.
FILE_FORMAT = "file_format.json"

# Usual names of columns. The first of each is taken whatever its cells are.
_NAMES = {
    "text_column": (
        *("text", "texts", "sentence", "review", "title", "headline", "content", "body", "article"),
        *("comment", "message", "document", "tweet", "question", "description", "abstract"),
    ),
    "label_column": (
        *("label", "labels", "category", "class", "sentiment", "target", "topic", "intent"),
    ),
}
_CONTENTS = {"text_column": "texts", "label_column": "labels"}
# The kinds of column that can be found by their cells alone, and by their names.
_BY_CELLS = {"text_column": ("texts",), "label_column": ("labels",)}
_BY_NAME = {
    "text_column": ("texts", "other"),
    "label_column": ("labels", "few numbers", "lists"),
}
# A column is of a kind if this share of its cells is: some files write "n/a" among numbers.
_SHARE = 0.95
# Texts have more characters than names of people or places; labels have fewer than sentences.
_SHORTEST_TEXT = 15
_LONGEST_LABEL = 50
_MOST_LABELS = 200
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ]\d.*)?|\d{1,2}:\d{2}(:\d{2})?")


@dataclass(frozen=True)
class FileFormat:
    """The arguments of `read_examples` for a file, see there.

    Attributes:
        text_column: Column of the texts; None of tables without texts.
        pair_column: Column of the second texts, or None.
        label_column: Column of the labels, or None.
        label_separator: Separates several labels of one cell, or None.
        encoding: Encoding of the file.
        delimiter: The character between cells; None for that of the suffix.
        quoting: Whether quotation marks enclose cells; None to see it in the file.
    """

    text_column: str | None = "text"
    pair_column: str | None = None
    label_column: str | None = None
    label_separator: str | None = None
    encoding: str = "utf-8"
    delimiter: str | None = None
    quoting: bool | None = None

    def read(self, path: str | Path) -> Examples:
        """Reads a file in this format."""
        return read_examples(path, **asdict(self))

    def to_json(self) -> str:
        """Returns the fields as JSON, for `fields_from_json`."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @property
    def columns(self) -> dict[str, str | None]:
        """The columns, by the arguments that name them."""
        return {name: getattr(self, name) for name in _COLUMNS}


_COLUMNS = ("text_column", "pair_column", "label_column")


def fields_from_json(text: str, where: str | Path) -> dict[str, Any]:
    """Reads the fields of a `FileFormat` that `FileFormat.to_json` has written.

    Args:
        text: The JSON.
        where: What it was read from, for messages.

    Raises:
        ValueError: If it is not JSON of these fields.
    """
    known = {field.name: bool if field.name == "quoting" else str for field in fields(FileFormat)}
    try:
        document = json.loads(text)
        for name, value in document.items():
            if not (value is None or isinstance(value, known[name])):
                raise TypeError(f"{name} is {value!r}")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{where} does not say how a file of examples is read ({error}): save the model again."
        ) from None
    return {name: value for name, value in document.items() if value is not None}


def find_format(
    path: str | Path,
    given: Mapping[str, Any],
    remembered: Mapping[str, Any] | None = None,
    *,
    needs_label: bool = True,
    others: Sequence[str] = (),
) -> tuple[FileFormat, list[str]]:
    r"""Finds how a file is to be read: what is given counts first, then what is remembered.

    A column that neither names is found: by a usual name, such as `headline` or `category`, or else
    by its cells, which are long and differ (texts), or are few and come again (labels). Columns of
    numbers, dates and ids are found by neither. If two columns fit or none does, the file is
    refused. The delimiter is the one that the header shows, if it shows one.

    Args:
        path: The file.
        given: Fields of `FileFormat` that the user gives.
        remembered: Fields with which a model's training file was read.
        needs_label: Whether the file must have labels.
        others: Columns that are neither texts nor labels. With any, the file may have no texts.

    Returns:
        The format, and what was found rather than given, in words.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a column cannot be told from others, or the file cannot be read.

    Example:
        >>> rows = ["headline;kind", *["Cup final tonight;sport", "Shares fall again;money"] * 2]
        >>> _ = Path("news.csv").write_text("\n".join(rows))
        >>> find_format("news.csv", {})[1]
        ["cells are separated by ';'", "texts in 'headline'", "labels in 'kind', by its cells"]
    """
    path = existing_file(path)
    suffix = table_suffix(path)
    found: list[str] = []
    values: dict[str, Any] = {**(remembered or {}), **given}
    if suffix == ".parquet" and "encoding" not in given:
        values.pop("encoding", None)
    if "encoding" in values and "encoding" not in given:
        _check_encoding(path, values["encoding"])
    if suffix not in DELIMITERS:
        for name in ("delimiter", "quoting"):
            if name not in given:
                values.pop(name, None)
    elif "delimiter" not in given:
        known = values.pop("delimiter", None)
        usual = known if known and suffix == ".csv" else DELIMITERS[suffix]
        shown = _shown_delimiter(read_decoded(path, values.get("encoding", "utf-8")), usual)
        if shown != DELIMITERS[suffix]:
            values["delimiter"] = shown
        if shown != usual:
            found.append(f"cells are separated by {shown!r}")
    if not needs_label:
        values["label_column"] = None
    missing = [name for name in _NAMES if name not in values]
    optional = ["text_column"] if others else []
    if missing:
        finder = _ColumnFinder(path, _rows_to_look_at(path, values))
        for name in missing:
            taken = {*others, *(values.get(other) for other in _COLUMNS)}
            values[name], how = finder.find(name, taken, is_needed=name not in optional)
            if values[name] is not None:
                found.append(f"{_CONTENTS[name]} in {values[name]!r}{how}")
    return FileFormat(**values), found


def _check_encoding(path: Path, encoding: str) -> None:
    """Refuses a file that would be read without an error, but wrongly, as was remembered."""
    if encoding.lower().replace("_", "-") in ("utf-8", "utf8") or path.suffix.lower() == ".gz":
        return
    content = path.read_bytes()
    with contextlib.suppress(UnicodeDecodeError):
        content.decode("utf-8")
        if not content.isascii():
            raise ValueError(
                f"{path} is UTF-8, and the model was trained on a file in {encoding}: pass "
                "encoding='utf-8', or the file's encoding if it is another."
            )


def _shown_delimiter(content: str, usual: str) -> str:
    """Returns the usual delimiter, or the only other one that splits the header."""
    header = next((line for line in LINE_END.split(content) if line.strip()), "")

    def splits(delimiter: str) -> bool:
        return len(next(csv.reader([header], delimiter=delimiter))) > 1

    shown = [delimiter for delimiter in ",;\t|" if splits(delimiter)]
    return shown[0] if len(shown) == 1 else usual


def _rows_to_look_at(path: Path, values: Mapping[str, Any]) -> list[Row]:
    """Reads all columns. `read_examples` decides about doubtful quotation marks, not this."""
    known = {name: values[name] for name in ("encoding", "delimiter", "quoting") if name in values}
    ways: list[Any] = [known.pop("quoting", None)]
    if ways == [None] and table_suffix(path) in DELIMITERS:
        ways = [False, True] if table_suffix(path) == ".tsv" else [True, False]
    *others, last = ways
    for way in others:
        with contextlib.suppress(ValueError):
            return read_rows(path, {}, **known, quoting=way, all_columns=True)
    return read_rows(path, {}, **known, quoting=last, all_columns=True)


class _ColumnFinder:
    """Tells the columns of rows apart.

    Args:
        path: The file, for messages.
        rows: Its rows.
    """

    def __init__(self, path: Path, rows: Sequence[Row]) -> None:
        self.path = path
        names = dict.fromkeys(name for _, row in rows for name in row)
        self.cells = {name: _filled(row.get(name) for _, row in rows) for name in names}
        self.kinds = {name: _kind(cells) for name, cells in self.cells.items()}

    def find(
        self, argument: str, taken: set[Any], *, is_needed: bool = True
    ) -> tuple[str | None, str]:
        """Returns the column for an argument, and how it was found, for a message."""
        free = [name for name in self.cells if name not in taken]
        first, *others = _NAMES[argument]
        if first in free:
            return first, ""

        def fit(names: Sequence[str], kinds: Sequence[str]) -> list[str]:
            of_kind = (name for name in free if self.kinds[name] in kinds)
            return [name for name in of_kind if not names or name.strip().lower() in names]

        named = fit([first, *others], _BY_NAME[argument])
        if len(named) == 1:
            return named[0], ""
        fitting = named or fit([], _BY_CELLS[argument])
        if not fitting and not is_needed:
            return None, ""
        what = _CONTENTS[argument]
        if len(fitting) != 1:
            pair = ", and a second with pair_column if texts are pairs" * (what == "texts")
            doubt = f"several may hold the {what}" if fitting else f"none seems to hold the {what}"
            raise ValueError(
                f"{self.path}: the columns cannot be told apart, {doubt}. Name one of them with "
                f"{argument}{pair}. The columns, with what they seem to hold and a cell of each:\n"
                f"{self._table()}"
            )
        (name,) = fitting
        if argument == "label_column" and name in self.cells[name]:
            raise ValueError(
                f"{self.path}: the first line seems to be an example, not a header, for {name!r} "
                "is also a label below it. Write the names of the columns on the first line, such "
                "as text,label."
            )
        return name, ", by its cells"

    def _table(self) -> str:
        rows = [
            [f"  {name}", self.kinds[name], repr(shortened(str(next(iter(cells), "")), 50))]
            for name, cells in self.cells.items()
        ]
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        return "\n".join(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}" for a, b, c in rows)


def _filled(cells: Any) -> list[Any]:
    stripped = (cell.strip() if isinstance(cell, str) else cell for cell in cells)
    return [cell for cell in stripped if cell is not None and cell != ""]


def _kind(cells: Sequence[Any]) -> str:
    """Returns what the cells of a column seem to be, in one word."""

    def are(is_one: Any, share: float = _SHARE) -> bool:
        return sum(bool(is_one(cell)) for cell in cells) >= share * len(cells)

    if not cells:
        return "nothing"
    if are(lambda cell: isinstance(cell, list)):
        return "lists"
    values = set(map(str, cells))
    come_again = len(values) <= min(len(cells) / 2, _MOST_LABELS)
    if are(lambda cell: isinstance(cell, int | float) or is_number(str(cell))):
        return "few numbers" if come_again else "numbers"
    if not are(lambda cell: isinstance(cell, str)):
        return "values"
    if are(_DATE.fullmatch):
        return "dates"
    if come_again:
        are_short = max(map(len, values)) <= _LONGEST_LABEL
        return "one value" if len(values) == 1 else "labels" if are_short else "other"
    # Ids, names of files and addresses have no blanks; neither has Chinese.
    is_prose = are(lambda cell: len(cell.split()) > 1 or not cell.isascii(), 0.5)
    is_long = statistics.fmean(map(len, cells)) >= _SHORTEST_TEXT
    return "texts" if is_prose and is_long and len(values) > len(cells) / 2 else "other"
