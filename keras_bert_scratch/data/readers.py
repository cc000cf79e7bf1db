"""Files of texts and labels -> checked examples."""

import codecs
import contextlib
import csv
import gzip
import io
import json
import math
import re
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_bert_scratch.extras import installation
from keras_bert_scratch.tables import shortened

DELIMITERS = {".csv": ",", ".tsv": "\t"}
# The three endings that csv knows; splitlines() also splits at characters that texts may hold.
LINE_END = re.compile("\r\n|\r|\n")
# A gzip file may unpack to this many bytes, or to this many times its size if that is more. Text
# shrinks to a tenth; what shrinks to a thousandth was made to fill the memory.
_UNPACKED = 1 << 24
_RATIO = 100
# csv's limit on the size of cells is a setting of the whole process.
_FIELD_LIMIT = threading.Lock()


@dataclass(frozen=True)
class Examples:
    """The n examples of a file.

    Attributes:
        texts: n texts.
        pairs: n second texts, or None.
        labels: n class names; or n lists of names, if examples may have several; or None.
    """

    texts: list[str]
    pairs: list[str] | None
    labels: list[str] | list[list[str]] | None

    def __len__(self) -> int:
        return len(self.texts)

    def __repr__(self) -> str:
        counts = Counter(
            label
            for labels in self.labels or []
            for label in ([labels] if isinstance(labels, str) else labels)
        )
        what = "pairs of texts" if self.pairs else "texts"
        lines = [f"<Examples: {len(self):,} {what}, {len(counts)} labels"]
        if counts:
            listed = ", ".join(f"{label} ({count:,})" for label, count in counts.most_common(20))
            lines.append(f"  labels  {shortened(listed, 80)}")
        for texts in (self.texts, self.pairs):
            if texts:
                lines.append(f"  first   {shortened(texts[0], 80)}")
        return "\n".join(lines) + ">"

    def take(self, indices: Iterable[int]) -> "Examples":
        """Returns the examples at some positions, in that order."""
        indices = list(indices)
        return Examples(
            texts=[self.texts[i] for i in indices],
            pairs=None if self.pairs is None else [self.pairs[i] for i in indices],
            labels=None if self.labels is None else [self.labels[i] for i in indices],  # type: ignore[arg-type]
        )


def read_examples(
    path: str | Path,
    *,
    text_column: str = "text",
    pair_column: str | None = None,
    label_column: str | None = "label",
    label_separator: str | None = None,
    encoding: str = "utf-8",
    delimiter: str | None = None,
    quoting: bool | None = None,
) -> Examples:
    r"""Reads texts and labels from a CSV, TSV, JSONL or Parquet file, by its suffix.

    CSV and TSV files have a header; JSONL files (jsonlines.org) have one object a line. All three
    may be compressed by gzip, with `.gz` after the suffix, and may begin with a byte order mark.
    Blank lines are skipped. Parquet needs pyarrow, and errors count its rows as lines. Texts stay
    as they are, "NA" and "NaN" included; space around labels is removed.

    Quotation marks in CSV follow RFC 4180: a quoted cell may hold delimiters and line breaks. In
    TSV they do so only where the file shows it (a quoted header, a mark written twice, a tab or a
    line break in a quoted cell); otherwise they are ordinary characters. A quoted cell whose lines
    look like rows of their own is refused, since a mark that is never closed would hide them.

    Args:
        path: A file that ends in .csv, .tsv, .jsonl (or these with .gz) or .parquet.
        text_column: Column, or JSON key, of the texts.
        pair_column: Column of the second texts, or None.
        label_column: Column of the labels; None reads texts without labels. JSON labels that are
            numbers or booleans become strings: 1 and 1.0 are `"1"`, and true is `"true"`.
        label_separator: Separates the labels of one cell, for examples with any number of labels;
            an empty cell has none. JSON lists need no separator.
        encoding: Encoding of the file, by any name that Python knows, such as `"cp1252"` or
            `"utf-16"`; not for Parquet.
        delimiter: The character between the cells of CSV and TSV; by default a comma in CSV and a
            tab in TSV.
        quoting: Whether quotation marks in CSV and TSV enclose cells. By default as above; True
            accepts every quoted cell of several lines, and False reads quotation marks as ordinary
            characters.

    Returns:
        The examples, in the order of the file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the suffix is unknown, a column is missing, the file is not in that encoding
            or malformed, there are no rows, a text or label is empty, a quoted cell seems to hold
            whole rows, or an argument does not fit the format.
        TypeError: If a JSON or Parquet value has a wrong type.
        ImportError: If the file is Parquet, and pyarrow is not installed.

    Example:
        >>> _ = Path("films.csv").write_text('text,label\n"A film, to remember",positive\n')
        >>> read_examples("films.csv")
        <Examples: 1 texts, 1 labels
          labels  positive (1)
          first   A film, to remember>
    """
    columns = {"text_column": text_column, "pair_column": pair_column, "label_column": label_column}
    rows = read_rows(path, columns, encoding=encoding, delimiter=delimiter, quoting=quoting)
    return examples_of(path, rows, columns, label_separator)


# The line of the file on which a row starts, and the row's cells by column.
Row = tuple[int, dict[str, Any]]
# In place of the name of an argument: columns that a model reads, whose cells may be empty.
OTHERS = "columns"


def read_rows(
    path: str | Path,
    columns: Mapping[str, str | Sequence[str] | None],
    *,
    encoding: str = "utf-8",
    delimiter: str | None = None,
    quoting: bool | None = None,
    all_columns: bool = False,
) -> list[Row]:
    """Reads the rows of a file, with the numbers of their lines; see `read_examples`.

    Args:
        path: The file.
        columns: Columns that the file must have, by the name of the argument that names each;
            `text_column` and `pair_column` say where texts are, and `OTHERS` lists any others.
        encoding: See `read_examples`.
        delimiter: See `read_examples`.
        quoting: See `read_examples`.
        all_columns: Whether a Parquet file is read with all its columns; the others are.
    """
    path = existing_file(path)
    suffix = table_suffix(path)
    if suffix is None:
        raise ValueError(
            f"Cannot read {path}: its name must end in .csv, .tsv, .jsonl or .parquet, received "
            f"{path.suffix.lower()!r}."
        )
    if suffix not in DELIMITERS and (delimiter is not None or quoting is not None):
        raise ValueError(f"delimiter and quoting are for CSV and TSV, not {path}: omit them.")
    wanted = {
        name: argument
        for argument, names in columns.items()
        for name in ([names] if isinstance(names, str) else names or ())
    }
    if suffix == ".parquet":
        if encoding != "utf-8":
            raise ValueError(f"encoding is for text files, and {path} is Parquet: omit it.")
        rows = list(_parquet_rows(path, wanted, all_columns))
    elif suffix == ".jsonl":
        rows = list(_jsonl_rows(path, read_decoded(path, encoding), wanted))
    else:
        delimiter = DELIMITERS[suffix] if delimiter is None else delimiter
        rows = _table_rows(path, read_decoded(path, encoding), delimiter, quoting, wanted)
    if not rows:
        raise ValueError(f"{path} has no rows: it needs at least one example.")
    return rows


def examples_of(
    path: str | Path,
    rows: list[Row],
    columns: Mapping[str, str | None],
    label_separator: str | None = None,
) -> Examples:
    """Returns the checked examples of rows that `read_rows` has read with the same columns."""
    path = Path(path)

    def texts(argument: str) -> list[str] | None:
        name = columns.get(argument)
        return None if name is None else _texts(path, rows, name)

    label_column = columns.get("label_column")
    return Examples(
        texts=texts("text_column") or [],
        pairs=texts("pair_column"),
        labels=None if label_column is None else _labels(path, rows, label_column, label_separator),
    )


def table_suffix(path: str | Path) -> str | None:
    """Returns the suffix by which a file of rows is read, without .gz; None for other files.

    Example:
        >>> table_suffix("films.CSV.gz"), table_suffix("films.txt")
        ('.csv', None)
    """
    path = Path(path)
    suffix = Path(path.stem if path.suffix.lower() == ".gz" else path).suffix.lower()
    return suffix if suffix in (*DELIMITERS, ".jsonl", ".parquet") else None


# === Bytes and characters ===
def existing_file(path: str | Path) -> Path:
    """Returns the path of a file.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}: check the path.")
    return path


def read_decoded(path: Path, encoding: str = "utf-8") -> str:
    """Reads a text file, unpacked if its name ends in .gz, without its byte order mark.

    Args:
        path: The file.
        encoding: Encoding of the file, by any name that Python knows.

    Raises:
        ValueError: If the encoding is unknown or wrong, or there is a NUL byte (the message names
            the line); or if a .gz file is damaged, or unpacks to an unlikely size.
    """
    unknown = ValueError(
        f"encoding must be one that Python knows, such as 'utf-8', 'utf-16' or 'cp1252', received "
        f"{encoding!r}."
    )
    try:
        name = codecs.lookup(encoding).name
    except (LookupError, ValueError, TypeError):
        raise unknown from None
    content = _unpacked(path) if path.suffix.lower() == ".gz" else path.read_bytes()
    if content.startswith(codecs.BOM_UTF8):
        if name not in ("utf-8", "utf-8-sig"):
            raise ValueError(
                f"{path} begins with the byte order mark of UTF-8, received encoding={encoding!r}: "
                "pass encoding='utf-8'."
            )
        content = content[len(codecs.BOM_UTF8) :]
    try:
        text = content.decode(encoding).removeprefix("\ufeff")
    except LookupError:  # Some codecs do not decode text.
        raise unknown from None
    except UnicodeError as error:
        raise ValueError(_encoding_error(path, content, encoding, error)) from None
    if "\0" in text:
        raise ValueError(
            f"{path} has a NUL byte on line {_line_of(text[: text.index(chr(0))])}, so it is "
            "damaged or not a text file: remove the byte, or save the file as UTF-8. For UTF-16 "
            "without a byte order mark pass encoding='utf-16-le' or 'utf-16-be'."
        )
    return text


def _encoding_error(path: Path, content: bytes, encoding: str, error: UnicodeError) -> str:
    name = encoding.upper()
    if not isinstance(error, UnicodeDecodeError):
        return f"{path} is not {name}: {error}. Pass its encoding."
    before = content[: error.start].decode(encoding, "replace")
    problem = f"{path} is not {name}: byte 0x{content[error.start]:02x} on line {_line_of(before)}."
    if content.startswith(b"\x1f\x8b"):
        return f"{problem} It is compressed by gzip: add .gz to its name."
    if content.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        guess = "It begins with the byte order mark of UTF-32: pass encoding='utf-32'"
    elif content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        guess = "It begins with the byte order mark of UTF-16: pass encoding='utf-16'"
    else:
        guess = "Pass its encoding, such as encoding='cp1252' for old files of Windows"
    return f"{problem} {guess}, or save the file as UTF-8."


def _unpacked(path: Path) -> bytes:
    most = max(_UNPACKED, _RATIO * path.stat().st_size)
    try:
        with gzip.open(path) as file:
            content = file.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is not a gzip file, or damaged: {error}") from None
    if len(content) > most:
        raise ValueError(
            f"{path} has {path.stat().st_size} bytes and unpacks to more than {most}, which is "
            "unlikely for text: unpack it first if you trust it."
        )
    return content


def _line_of(before: str) -> int:
    """Returns the number of the line that follows some text."""
    return len(LINE_END.findall(before)) + 1


# === Tables of text ===
# The header, and the cells of every row with the line on which it starts.
_Table = tuple[list[str], list[tuple[int, list[str]]]]


def _table_rows(
    path: Path, content: str, delimiter: str, quoting: bool | None, wanted: dict[str, str]
) -> list[Row]:
    if not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter in '"\r\n\ufeff':
        raise ValueError(
            "delimiter must be one character, not a quotation mark or a line break, received "
            f"{delimiter!r}."
        )
    if quoting is not None and not isinstance(quoting, bool):
        raise ValueError(f"quoting must be True, False or None, received {quoting!r}.")
    if quoting is None and delimiter == "\t":
        quoting = _tsv_quoting(path, content, wanted)
    header, rows = _read_table(path, content, delimiter, quoting is not False, wanted)
    if quoting is None and (hidden := _hidden_row(content, delimiter, (header, rows), wanted)):
        raise ValueError(
            f"{path}, lines {hidden.first} to {hidden.last}: a quoted cell holds lines that look "
            f"like rows of their own (line {hidden.line}), so its quotation mark may be an "
            "ordinary character. Pass quoting=False if it is, or quoting=True if the cell has "
            "several lines."
        )
    # A name that comes twice is none of the wanted ones.
    names = [
        name if header.index(name) == number else f"{name}.{number}"
        for number, name in enumerate(header)
    ]
    return [(line, dict(zip(names, cells, strict=True))) for line, cells in rows]


def _read_table(
    path: Path, content: str, delimiter: str, quoting: bool, wanted: dict[str, str]
) -> _Table:
    with _cells_of_any_length(content):
        cells_of_rows = _cells(path, content, delimiter, quoting)
        _, header = next(cells_of_rows, (0, None))
        if header is None:
            return [], []
        _check_header(path, header, wanted)
        rows = list(cells_of_rows)
    for line, cells in rows:
        if len(cells) != len(header):
            way_out = (
                f"Quote cells that hold the delimiter {delimiter!r} or line breaks."
                if quoting
                else "Quotation marks are ordinary characters here, so no cell can hold the "
                f"delimiter {delimiter!r}: mend the line, or pass quoting=True."
            )
            raise ValueError(
                f"{path}, line {line}: expected {len(header)} columns as in the header, found "
                f"{len(cells)}. {way_out}"
            )
    return header, rows


def _check_header(path: Path, header: list[str], wanted: dict[str, str]) -> None:
    try:
        _check_columns(str(path), header, wanted)
    except ValueError as error:
        others = [other for other in ",;\t|" if other in header[0]]
        if len(header) > 1 or not others:
            raise
        raise ValueError(
            f"{error} If the cells are separated by {others[0]!r}, pass delimiter={others[0]!r}."
        ) from None


def _cells(
    path: Path, content: str, delimiter: str, quoting: bool
) -> Iterator[tuple[int, list[str]]]:
    """Yields the cells of every row that has any, with the line on which it starts."""
    reader = csv.reader(
        io.StringIO(content, newline=""),
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if quoting else csv.QUOTE_NONE,
        strict=True,
    )
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ValueError(_csv_error(path, line, str(error))) from None
        if cells:
            yield line, cells


@contextlib.contextmanager
def _cells_of_any_length(content: str) -> Iterator[None]:
    """Lets csv read cells as long as the content, and restores its limit."""
    with _FIELD_LIMIT:
        limit = csv.field_size_limit()
        csv.field_size_limit(max(limit, len(content)))
        try:
            yield
        finally:
            csv.field_size_limit(limit)


def _csv_error(path: Path, line: int, error: str) -> str:
    place = f"{path}, in the row that starts on line {line}"
    plain = "Pass quoting=False if quotation marks are ordinary characters in this file."
    if error == "unexpected end of data":
        return (
            f"{place}: a quoted cell is never closed. Close it, and write a quotation mark inside "
            f'a quoted cell twice (""). {plain}'
        )
    return (
        f'{place}: {error}. Write a quotation mark inside a quoted cell twice (""), and quote '
        f"cells that begin with one. {plain}"
    )


def _tsv_quoting(path: Path, content: str, wanted: dict[str, str]) -> bool | None:
    """Whether the quotation marks of a TSV file enclose cells; None to decide as for CSV.

    The marks of TSV files are usually ordinary characters. They must be so where all lines have the
    same number of cells, unless the file shows otherwise.
    """
    lines = [line for line in LINE_END.split(content) if line]
    if '"' not in content or len({line.count("\t") for line in lines}) > 1:
        return None
    try:
        table = _read_table(path, content, "\t", True, wanted)
    except ValueError:
        return False
    if len(table[1]) == len(lines) - 1:
        # A quoted header, or marks that are written twice.
        return bool(re.search('(^|\t)"', lines[0]) or re.search('(^|\t)"[^\t]*""', content, re.M))
    hidden = _hidden_row(content, "\t", table, wanted)
    if hidden and hidden.is_sure:
        return False
    several = (n for n, cells in table[1] if any(map(LINE_END.search, cells)))
    raise ValueError(
        f"{path}, line {next(several)}: a quoted cell may have several lines, or each line may be "
        "a row of its own that holds a quotation mark. Pass quoting=True for the first, "
        "quoting=False for the second."
    )


class _HiddenRow(NamedTuple):
    """A line that looks like a row, within a row from the first to the last line.

    `is_sure` says whether all these lines look like rows in all columns that tell.
    """

    first: int
    last: int
    line: int
    is_sure: bool


def _hidden_row(
    content: str, delimiter: str, table: _Table, wanted: dict[str, str]
) -> _HiddenRow | None:
    """Finds a quoted cell of several lines that look like rows themselves.

    A line looks like a row if it has the header's number of cells, and in a column other than the
    texts a value that is usual there: one that occurs again, or a number among numbers. If no
    column tells, none of its cells may be empty. If the whole file is also a table when quotation
    marks are ordinary characters, any cell of several lines counts.
    """
    header, rows = table
    if not any(LINE_END.search(cell) for _, cells in rows for cell in cells):
        return None
    lines = [[cell.strip() for cell in line.split(delimiter)] for line in LINE_END.split(content)]
    texts = {name for name in wanted if wanted[name] in ("text_column", "pair_column")}
    usual = {}
    for column, name in enumerate(header):
        if name in texts:
            continue
        values = Counter(cells[column] for cells in lines if len(cells) == len(header))
        if all(is_number(cells[column]) for _, cells in rows):
            usual[column] = set(filter(is_number, values))
        elif repeated := {value for value, count in values.items() if count > 1} - {""}:
            usual[column] = repeated

    needed = [header.index(name) for name in wanted if wanted[name] != OTHERS]
    is_plain = len(header) > 1 and all(
        len(cells) == len(header) and all(cells[column] for column in needed)
        for cells in lines
        if cells != [""]
    )

    def is_row(line: int, enough: Callable[[Iterable[bool]], bool] = any) -> bool:
        cells = lines[line - 1]
        if len(cells) != len(header) or len(cells) == 1:
            return False
        if not usual:
            return all(cells)
        return enough(cells[column] in values for column, values in usual.items())

    for first, cells in rows:
        last = first + sum(len(LINE_END.findall(cell)) for cell in cells)
        inner = [line for line in range(first + 1, last) if is_row(line)]
        if inner or (last > first and (is_plain or (is_row(first) and is_row(last)))):
            is_sure = bool(usual) and all(is_row(n, all) for n in range(first, last + 1))
            return _HiddenRow(first, last, (inner or [last])[0], is_sure)
    return None


def is_number(value: str) -> bool:
    """Returns whether a cell is a finite number."""
    try:
        return math.isfinite(float(value))
    except ValueError:
        return False


def _check_columns(place: str, columns: list[str], wanted: dict[str, str]) -> None:
    names = ", ".join(map(repr, columns))
    for name, argument in wanted.items():
        if name not in columns:
            way_out = f"Name one of them with {argument}"
            if argument == OTHERS:
                way_out = "Correct its name, or add it with empty cells"
            elif argument == "label_column":
                way_out += ", or pass label_column=None to read texts without labels"
            raise ValueError(f"{place} has no column {name!r}: its columns are {names}. {way_out}.")
        if columns.count(name) > 1:
            raise ValueError(
                f"{place}: the column {name!r} is ambiguous, the columns are {names}: rename one "
                "of them."
            )


def _jsonl_rows(path: Path, content: str, wanted: dict[str, str]) -> Iterator[Row]:
    for line, text in enumerate(LINE_END.split(content), start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text, object_pairs_hook=_object)
        # ValueError also covers integers of thousands of digits.
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f"{path}, line {line} is not JSON: {error}. Write one object a line."
            ) from None
        if not isinstance(row, dict):
            raise TypeError(
                f"{path}, line {line} is a JSON {_json_type(row)}, expected an object such as "
                f'{{"{next(iter(wanted), "text")}": ...}}.'
            )
        _check_columns(f"{path}, line {line}", list(row), wanted)
        yield line, row


def _object(items: list[tuple[str, Any]]) -> dict[str, Any]:
    """Makes an object, and refuses a name that occurs twice."""
    names = dict(items)
    if len(names) < len(items):
        twice = next(name for name, count in Counter(n for n, _ in items).items() if count > 1)
        raise ValueError(f"the name {twice!r} occurs twice in one object")
    return names


def _parquet_rows(path: Path, wanted: dict[str, str], all_columns: bool) -> Iterator[Row]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ImportError(
            f"Reading {path} needs pyarrow, which is not installed: {installation('parquet')}."
        ) from None
    try:
        with parquet.ParquetFile(path) as file:
            _check_columns(str(path), file.schema_arrow.names, wanted)
            row = 0
            for batch in file.iter_batches(columns=None if all_columns else list(wanted)):
                for cells in batch.to_pylist():
                    row += 1
                    yield row, cells
    # pyarrow decodes texts only now.
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a Parquet file, or damaged: {error}") from None


def _json_type(value: Any) -> str:
    names = {dict: "object", list: "list", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number" if isinstance(value, int | float) else "value")


def _texts(path: Path, rows: list[Row], column: str) -> list[str]:
    for line, row in rows:
        if not isinstance(row[column], str):
            raise TypeError(
                f"{path}, line {line}: {column!r} must be a string, received a JSON "
                f"{_json_type(row[column])}."
            )
        _check_unicode(path, line, column, row[column])
    _check_filled(path, column, [line for line, row in rows if not row[column].strip()])
    return [row[column] for _, row in rows]


def _labels(
    path: Path, rows: list[Row], column: str, separator: str | None
) -> list[str] | list[list[str]]:
    if separator == "":
        raise ValueError("label_separator must be at least one character, received ''.")
    is_multi_label = separator is not None or isinstance(rows[0][1][column], list)
    kinds = {True: "a list", False: "a single label"}
    lists = []
    for line, row in rows:
        names = _label_names(path, line, column, row[column], separator)
        is_list = isinstance(row[column], list)
        if separator is None and is_list != is_multi_label:
            raise TypeError(
                f"{path}, line {line}: {column!r} is {kinds[is_list]}, but {kinds[not is_list]} on "
                f"line {rows[0][0]}. Write all as lists, or "
                f"{'none' if is_list else 'pass label_separator'}."
            )
        for name in names:
            _check_unicode(path, line, column, name)
        lists.append(names)
    _check_filled(
        path, column, [line for (line, _), names in zip(rows, lists, strict=True) if "" in names]
    )
    return lists if is_multi_label else [name for names in lists for name in names]


def _label_names(
    path: Path, line: int, column: str, value: Any, separator: str | None
) -> list[str]:
    """Returns the labels of one example, stripped."""
    if isinstance(value, str) and separator is not None:
        return [name.strip() for name in value.split(separator)] if value.strip() else []
    values = value if isinstance(value, list) else [value]
    return [_label_name(path, line, column, label) for label in values]


def _label_name(path: Path, line: int, column: str, label: Any) -> str:
    if isinstance(label, str):
        return label.strip()
    # pandas writes the whole numbers of a column with gaps as floats.
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    if not isinstance(label, int):
        shown = repr(label)
        with contextlib.suppress(TypeError):  # Parquet has values that JSON lacks.
            shown = json.dumps(label)
        raise TypeError(
            f"{path}, line {line}: {column!r} must be a string, an integer, a boolean or a "
            f"list of these, received the JSON {_json_type(label)} {shown}."
        )
    return json.dumps(label)


def _check_unicode(path: Path, line: int, column: str, text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{path}, line {line}: {column!r} holds half of a surrogate pair, "
            f"\\u{ord(text[error.start]):04x}, which is not a character: remove it."
        ) from None


def _check_filled(path: Path, column: str, empty: list[int]) -> None:
    if empty:
        s = "s" * (len(empty) > 1)
        raise ValueError(
            f"{path}: {column!r} is empty in {len(empty)} row{s}, on line{s} {listed(empty)}. Fill "
            "or remove them."
        )


def listed(faults: Sequence[Any], separator: str = ", ", most: int = 5) -> str:
    """Joins the first faults of a list for an error message."""
    return separator.join([*map(str, faults[:most]), *["…"] * (len(faults) > most)])


def stratified_split(
    labels: Sequence[Any] | np.ndarray, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Splits examples into two parts with the same shares of every class.

    Uses scikit-learn's `train_test_split`. Examples with any number of labels are only shuffled.

    Args:
        labels: One label an example, name or id; or a list of labels an example, or zeros and ones
            of shape (n, C).
        fraction: Share of the examples to hold out, between 0 and 1; rounded up to whole examples.
        seed: Seed of the shuffling.

    Returns:
        The indices of the examples to train on, and of those held out. *Shape:* (n - m,) and (m,).

    Raises:
        ValueError: If the fraction is not between 0 and 1, a class has fewer than two examples, or
            a part has fewer places than there are classes.

    Example:
        >>> train, held_out = stratified_split(["a", "b"] * 10, 0.2, seed=0)
        >>> len(train), len(held_out)
        (16, 4)
    """
    # Slow to import, and not needed for reading.
    from sklearn.model_selection import train_test_split

    if not 0 < fraction < 1:
        raise ValueError(f"fraction must be between 0 and 1, both excluded, received {fraction!r}.")
    labels = list(labels)
    is_multi_label = any(np.ndim(label) for label in labels)
    counts = Counter() if is_multi_label else Counter(labels)
    single = [repr(str(label)) for label, count in counts.items() if count < 2]
    if single:
        raise ValueError(
            f"Each class needs at least two examples to be in both parts of a split, but there is "
            f"only one of {listed(single)}: add examples, or remove the class."
        )
    held_out = math.ceil(fraction * len(labels))
    smaller = min(held_out, len(labels) - held_out)
    if smaller < max(len(counts), 1):
        raise ValueError(
            f"A fraction of {fraction} splits {len(labels)} examples into {len(labels) - held_out} "
            f"and {held_out}, but each part needs one of each of {max(len(counts), 1)} classes: "
            "choose a fraction nearer to 0.5, or add examples."
        )
    train, test = train_test_split(
        np.arange(len(labels)),
        test_size=fraction,
        random_state=seed,
        stratify=None if is_multi_label else labels,
    )
    return train, test
