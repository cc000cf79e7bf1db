"""Figures as aligned columns of text."""

import unicodedata
from collections.abc import Sequence


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligns cells: the first column to the left, the others to the right.

    Args:
        header: Names of the columns.
        rows: As many cells each.

    Example:
        >>> print(format_table(["", "size"], [["a.tflite", "23.1"], ["b.tflite", "9.0"]]))
                  size
        a.tflite  23.1
        b.tflite   9.0
    """
    widths = [max(map(_width, column)) for column in zip(header, *rows, strict=True)]
    lines = []
    for first, *others in [header, *rows]:
        cells = [first + " " * (widths[0] - _width(first))]
        for cell, width in zip(others, widths[1:], strict=True):
            cells.append(" " * (width - _width(cell)) + cell)
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _width(text: str) -> int:
    """Returns the columns of a terminal that a text takes (Unicode Standard Annex 11)."""
    return sum(
        0 if unicodedata.combining(char) else 1 + (unicodedata.east_asian_width(char) in "WF")
        for char in text
    )
