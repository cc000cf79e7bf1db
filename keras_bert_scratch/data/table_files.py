"""Files of tables -> the checked values of their columns, and labels.

Cells name files of pictures and sounds, from the folder of the table's file on.

Axes: n rows.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from keras_bert_scratch.data.file_format import FileFormat
from keras_bert_scratch.data.readers import OTHERS, examples_of, listed, read_rows
from keras_bert_scratch.data.table import Column, is_missing


@dataclasses.dataclass(frozen=True)
class TableRows:
    """The n rows of a file.

    Attributes:
        table: For each column its n values, checked, None where one is missing: a table for a
            `ColumnClassifier`, and for its exports.
        labels: n class names; or n lists of names, if rows may have several; or None.
        cells: All cells of each row as they stand in the file, by name.
    """

    table: dict[str, list[Any]]
    labels: list[str] | list[list[str]] | None
    cells: list[dict[str, Any]]

    def __len__(self) -> int:
        return len(self.cells)

    def take(self, indices: Iterable[int]) -> Self:
        """Returns the rows at some positions, in that order."""
        indices = list(indices)
        return dataclasses.replace(
            self,
            table={name: [values[i] for i in indices] for name, values in self.table.items()},
            labels=None if self.labels is None else [self.labels[i] for i in indices],  # type: ignore[arg-type]
            cells=[self.cells[i] for i in indices],
        )

    def quotes(self) -> list[str]:
        """Returns each row in a line, as reports quote it: the cells of its columns."""
        return [
            "; ".join(f"{name}: {row[name]}" for name in self.table if row.get(name))
            for row in self.cells
        ]


def read_table_rows(
    path: str | Path, file_format: FileFormat, columns: Mapping[str, Column]
) -> TableRows:
    r"""Reads the rows of a CSV, TSV, JSONL or Parquet file of several columns.

    An empty cell is a missing value; in a column of numbers NaN is one, too. Numbers are written
    with a decimal point. Whole numbers of a category may end with ".0", as pandas writes them
    beside empty cells.

    Args:
        path: The file, see `read_examples`.
        file_format: How it is read. Its columns of texts are those of `columns`, in order, whatever
            their names.
        columns: The columns to read.

    Raises:
        FileNotFoundError: If the file, or a picture or a sound that it names, is missing.
        TypeError: If a value is of another kind; this and other errors name file, line and column.
        ValueError: If a column is missing, a value is refused, or a row has no value.

    Example:
        >>> _ = Path("offers.csv").write_text("price,shop,label\n9.5,north,toy\n")
        >>> columns = make_columns({"price": "number", "shop": "category"})
        >>> read_table_rows("offers.csv", FileFormat(None, label_column="label"), columns).table
        {'price': [9.5], 'shop': ['north']}
    """
    path = Path(path)
    in_file = {name: name for name in columns}
    texts = [name for name, column in columns.items() if column.kind == "text"]
    names = (file_format.text_column, file_format.pair_column)
    in_file |= {text: name for text, name in zip(texts, names, strict=False) if name}
    rows = read_rows(
        path,
        {**file_format.columns, OTHERS: [name for name in columns if name not in texts]},
        encoding=file_format.encoding,
        delimiter=file_format.delimiter,
        quoting=file_format.quoting,
        all_columns=True,
    )
    label_column = {"label_column": file_format.label_column}
    labels = examples_of(path, rows, label_column, file_format.label_separator).labels
    table = {
        name: [
            _value(column, row[in_file[name]], path, f"{path}, line {line}, column {name!r}")
            for line, row in rows
        ]
        for name, column in columns.items()
    }
    empty = [
        line
        for (line, _), values in zip(rows, zip(*table.values(), strict=True), strict=True)
        if all(value is None for value in values)
    ]
    if empty:
        raise ValueError(
            f"{path}: {len(empty)} of {len(rows)} rows have no value in any of the columns "
            f"{', '.join(map(repr, columns))}, on line {listed(empty)}: fill or remove them."
        )
    return TableRows(table, labels, [row for _, row in rows])


def _value(column: Column, cell: Any, path: Path, place: str) -> Any:
    """Returns the value of a cell, None where it is missing."""
    if isinstance(cell, str):
        if not cell.strip():
            return None
        if column.kind == "number":
            cell = _number(cell)
        elif column.kind == "category":
            cell = re.sub(r"^(-?\d+)\.0$", r"\1", cell)
        elif column.kind != "text":
            cell = cell if cell.startswith("~") else str(path.parent / cell)
    return None if is_missing(cell) else column.value(cell, place)


def _number(cell: str) -> str | float:
    """Returns the number of a cell, or the cell itself if it is none."""
    try:
        # Python alone takes 1_000 for a number.
        return cell if "_" in cell else float(cell)
    except ValueError:
        return cell
