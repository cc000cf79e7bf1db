"""Files of texts and labels -> checked examples."""

import csv
import io
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
# An error names the places of this many faults, and counts the rest.
_LINES_NAMED = 5


@dataclass(frozen=True)
class Examples:
    """What a file of n examples holds.

    Attributes:
        texts: n texts.
        pairs: n second texts, or None.
        labels: n names of classes, or n lists of names if an example may have several, or None.
    """

    texts: list[str]
    pairs: list[str] | None
    labels: list[str] | list[list[str]] | None

    def __len__(self) -> int:
        return len(self.texts)

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
) -> Examples:
    r"""Reads texts and labels from a CSV, TSV, JSONL or Parquet file, whichever the suffix says.

    CSV and TSV (RFC 4180) have a header, UTF-8 with or without a byte order mark, and may have
    quoted cells of several lines; JSONL (jsonlines.org) has one object a line. Blank lines are
    skipped. Parquet needs pyarrow, and errors count its rows as lines. Texts stay as they are;
    labels lose the space around them.

    Args:
        path: A file that ends in .csv, .tsv, .jsonl or .parquet.
        text_column: Column, or JSON key, of the texts.
        pair_column: Column of the second texts, or None.
        label_column: Column of the labels; None reads texts without labels. JSON labels that are
            integers or booleans become strings, as JSON spells them: `"1"`, `"true"`.
        label_separator: What stands between the labels of one cell, for examples that have any
            number of them; an empty cell is then an example with none. A JSON list needs none.

    Returns:
        The examples, in the order of the file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the suffix is another, a column is missing, the file is not UTF-8 or not
            well formed, there are no rows, or a text or label is empty.
        TypeError: If a JSON or Parquet value is of another type.
        ImportError: If the file is Parquet, and pyarrow is not installed.

    Example:
        >>> _ = Path("films.csv").write_text('text,label\n"A film, to remember",positive\n')
        >>> read_examples("films.csv")
        Examples(texts=['A film, to remember'], pairs=None, labels=['positive'])
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}: check the path.")
    suffix = path.suffix.lower()
    if suffix not in (*_DELIMITERS, ".jsonl", ".parquet"):
        raise ValueError(
            f"Cannot read {path}: its name must end in .csv, .tsv, .jsonl or .parquet, received "
            f"{suffix!r}."
        )
    columns = {"text_column": text_column, "pair_column": pair_column, "label_column": label_column}
    wanted = {argument: name for argument, name in columns.items() if name is not None}
    if suffix == ".parquet":
        rows = list(_parquet_rows(path, wanted))
    elif suffix == ".jsonl":
        rows = list(_jsonl_rows(path, _decode(path), wanted))
    else:
        rows = list(_csv_rows(path, _decode(path), _DELIMITERS[suffix], wanted))
    if not rows:
        raise ValueError(f"{path} has no rows: it needs at least one example.")
    return Examples(
        texts=_texts(path, rows, text_column),
        pairs=_texts(path, rows, pair_column) if pair_column is not None else None,
        labels=_labels(path, rows, label_column, label_separator)
        if label_column is not None
        else None,
    )


# A row is the line of the file on which it starts, and its cells by column.
_Row = tuple[int, dict[str, Any]]


def _decode(path: Path) -> str:
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # error.object, not content: the decoder has taken the byte order mark off.
        before = error.object[: error.start].decode("utf-8")
        raise ValueError(
            f"{path} is not UTF-8: byte 0x{error.object[error.start]:02x} on line "
            f"{_line_of(before)}. Save the file as UTF-8."
        ) from None
    if "\0" in text:
        raise ValueError(
            f"{path} has a NUL byte on line {_line_of(text[: text.index(chr(0))])}, so it is no "
            "text file, or damaged: remove the byte, or save the file as UTF-8."
        )
    return text


def _line_of(before: str) -> int:
    """Returns the number of the line that follows some text; csv counts these three endings."""
    return len(re.findall("\r\n|\r|\n", before)) + 1


def _csv_rows(path: Path, content: str, delimiter: str, wanted: dict[str, str]) -> Iterator[_Row]:
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ValueError(_csv_error(path, line, str(error))) from None
        if not cells:
            continue
        if header is None:
            header = cells
            _check_columns(f"{path} has no column", header, wanted)
            continue
        if len(cells) != len(header):
            raise ValueError(
                f"{path}, line {line}: expected {len(header)} columns as in the header, found "
                f"{len(cells)}. Quote cells that hold the separator {delimiter!r} or line breaks."
            )
        yield line, dict(zip(header, cells, strict=True))


def _csv_error(path: Path, line: int, error: str) -> str:
    place = f"{path}, in the row that starts on line {line}"
    if error == "unexpected end of data":
        return (
            f"{place}: a quoted cell is never closed. Close it, and write a quotation mark inside "
            'a quoted cell twice ("").'
        )
    if error.startswith("field larger than field limit"):
        return (
            f"{place}: a cell is longer than {csv.field_size_limit()} characters, often because a "
            "quotation mark is not closed. Close it, or call csv.field_size_limit(...) first."
        )
    return (
        f'{place}: {error}. Write a quotation mark inside a quoted cell twice (""), and quote '
        "cells that begin with one."
    )


def _check_columns(problem: str, columns: list[str], wanted: dict[str, str]) -> None:
    names = ", ".join(map(repr, columns))
    for argument, name in wanted.items():
        if name not in columns:
            way_out = f"Name one of them with {argument}"
            if argument == "label_column":
                way_out += ", or pass label_column=None to read texts without labels"
            raise ValueError(f"{problem} {name!r}: its columns are {names}. {way_out}.")
        if columns.count(name) > 1:
            raise ValueError(
                f"The column {name!r} is ambiguous, the columns are {names}: rename one of them."
            )


def _jsonl_rows(path: Path, content: str, wanted: dict[str, str]) -> Iterator[_Row]:
    # Not splitlines(): it also splits at characters that may stand inside a JSON string.
    for line, text in enumerate(content.split("\n"), start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        # ValueError also covers integers of thousands of digits.
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f"{path}, line {line} is not JSON: {error}. Write one object a line."
            ) from None
        if not isinstance(row, dict):
            raise TypeError(
                f"{path}, line {line} is a JSON {_json_type(row)}, expected an object such as "
                f'{{"{wanted["text_column"]}": ...}}.'
            )
        _check_columns(f"{path}, line {line} has no column", list(row), wanted)
        yield line, {name: row[name] for name in wanted.values()}


def _parquet_rows(path: Path, wanted: dict[str, str]) -> Iterator[_Row]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ImportError(
            f"Reading {path} needs pyarrow: pip install keras_bert_scratch[parquet]."
        ) from None
    try:
        with parquet.ParquetFile(path) as file:
            _check_columns(f"{path} has no column", file.schema_arrow.names, wanted)
            row = 0
            for batch in file.iter_batches(columns=list(wanted.values())):
                for cells in batch.to_pylist():
                    row += 1
                    yield row, cells
    # pyarrow decodes texts when it hands them out.
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a Parquet file, or damaged: {error}") from None


def _json_type(value: Any) -> str:
    names = {dict: "object", list: "list", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number" if isinstance(value, int | float) else "value")


def _texts(path: Path, rows: list[_Row], column: str) -> list[str]:
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
    path: Path, rows: list[_Row], column: str, separator: str | None
) -> list[str] | list[list[str]]:
    if separator == "":
        raise ValueError("label_separator must be at least one character, received ''.")
    is_multi_label = separator is not None or isinstance(rows[0][1][column], list)
    lists = [_label_names(path, line, column, row[column], separator) for line, row in rows]
    for (line, row), names in zip(rows, lists, strict=True):
        if not is_multi_label and isinstance(row[column], list):
            raise TypeError(
                f"{path}, line {line}: {column!r} is a list, but a single label on line "
                f"{rows[0][0]}. Write all as lists, or none."
            )
        if is_multi_label and separator is None and not isinstance(row[column], list):
            raise TypeError(
                f"{path}, line {line}: {column!r} is a single label, but a list on line "
                f"{rows[0][0]}. Write all as lists, or pass label_separator."
            )
        for name in names:
            _check_unicode(path, line, column, name)
    _check_filled(
        path, column, [line for (line, _), names in zip(rows, lists, strict=True) if "" in names]
    )
    return lists if is_multi_label else [name for names in lists for name in names]


def _label_names(
    path: Path, line: int, column: str, value: Any, separator: str | None
) -> list[str]:
    """Returns the labels of one example, stripped; a single one as a list of one."""
    if isinstance(value, str) and separator is not None:
        return [name.strip() for name in value.split(separator)] if value.strip() else []
    values = value if isinstance(value, list) else [value]
    for label in values:
        if not isinstance(label, str | int):
            raise TypeError(
                f"{path}, line {line}: {column!r} must be a string, an integer, a boolean or a "
                f"list of these, received the JSON {_json_type(label)} {json.dumps(label)}."
            )
    return [label.strip() if isinstance(label, str) else json.dumps(label) for label in values]


def _check_unicode(path: Path, line: int, column: str, text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{path}, line {line}: {column!r} holds half of a surrogate pair, "
            f"\\u{ord(text[error.start]):04x}, which is no character: remove it."
        ) from None


def _check_filled(path: Path, column: str, empty: list[int]) -> None:
    if empty:
        lines = ", ".join(map(str, empty[:_LINES_NAMED]))
        raise ValueError(
            f"{path}: {column!r} is empty in {len(empty)} row{'s' * (len(empty) > 1)}, on line"
            f"{'s' * (len(empty) > 1)} {lines}{', …' * (len(empty) > _LINES_NAMED)}. Fill or "
            "remove them."
        )


def stratified_split(
    labels: Sequence[Any] | np.ndarray, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Splits examples into two parts with the same shares of every class.

    By scikit-learn's `train_test_split`. Examples with several labels each have no classes to keep
    the shares of: they are only shuffled.

    Args:
        labels: One label an example, name or id; or a list of labels an example, or zeros and ones
            of shape (n, C).
        fraction: Share of the examples to hold out, between 0 and 1; rounded up to whole examples.
        seed: Of the shuffling.

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
    # Heavy to import, and reading needs none of it.
    from sklearn.model_selection import train_test_split

    if not 0 < fraction < 1:
        raise ValueError(f"fraction must be between 0 and 1, both excluded, received {fraction!r}.")
    labels = list(labels)
    is_multi_label = any(np.ndim(label) for label in labels)
    counts = Counter() if is_multi_label else Counter(labels)
    single = [str(label) for label, count in counts.items() if count < 2]
    if single:
        names = ", ".join(map(repr, single[:_LINES_NAMED])) + ", …" * (len(single) > _LINES_NAMED)
        raise ValueError(
            f"Each class needs at least two examples to stand in both parts of a split, but there "
            f"is only one of {names}: add examples, or remove the class."
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
