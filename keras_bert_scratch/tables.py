"""Tables of figures as text, and for notebooks as HTML."""

import html
import unicodedata
from collections.abc import Sequence


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Formats a table, the first column aligned to the left and the others to the right.

    Args:
        header: Names of the columns.
        rows: The cells, one for each column.

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


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> str:
    """Formats a table for a notebook, in the colors of its page, light or dark.

    Args:
        header: Names of the columns.
        rows: The cells, one for each column.
        title: Stands above the table.

    Example:
        >>> "<td>&lt;a&gt;</td><td>23.1</td>" in html_table(["", "size"], [["<a>", "23.1"]])
        True
    """
    parts = [f"<caption>{html.escape(title)}</caption>"] if title else []
    for tag, row in [("th", header), *(("td", row) for row in rows)]:
        cells = "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row)
        parts.append(f"<tr>{cells}</tr>")
    style = "border-collapse: collapse; text-align: right; font-variant-numeric: tabular-nums"
    return f'<table style="{style}">{"".join(parts)}</table>'


def shortened(text: str, num_characters: int) -> str:
    """Shortens a text to one line.

    Args:
        text: The text; runs of white space become one space.
        num_characters: Largest length of the result, including the ellipsis of a cut text.

    Example:
        >>> shortened("a long text", 7)
        'a long…'
    """
    text = " ".join(text.split())
    return text if len(text) <= num_characters else f"{text[: num_characters - 1]}…"


def _width(text: str) -> int:
    """Returns the width of a text in columns of a terminal (Unicode Standard Annex 11)."""
    return sum(
        0 if unicodedata.combining(char) else 1 + (unicodedata.east_asian_width(char) in "WF")
        for char in text
    )
