"""What counts as texts: one column of strings, or a tuple of two for pairs."""

from typing import Any


def text_columns(x: Any) -> tuple[list[str], list[str] | None]:
    """Splits what a user gives as texts into columns, and checks that they hold strings.

    Args:
        x: A list, numpy array, pandas Series or string tensor of n strings; for pairs a tuple of
            two of them.

    Returns:
        The n texts and the n second texts (None without pairs).

    Raises:
        TypeError: If a text is not a string.
        ValueError: If there are none, or the columns differ in length.

    Example:
        >>> text_columns((["Who?"], ["Me."]))
        (['Who?'], ['Me.'])
    """
    is_pair = isinstance(x, tuple) and len(x) == 2 and not isinstance(x[0], str | bytes)
    texts, *rest = [_strings(column) for column in (x if is_pair else (x,))]
    if not texts:
        raise ValueError("There are no texts: give at least one.")
    if rest and len(rest[0]) != len(texts):
        raise ValueError(
            f"There are {len(texts)} texts but {len(rest[0])} second texts: give one for each."
        )
    return texts, rest[0] if rest else None


def joined_columns(x: Any) -> list[str]:
    """Returns one text an example: of a pair both, with a space between them.

    Args:
        x: As for `text_columns`.

    Example:
        >>> joined_columns((["Who?"], ["Me."]))
        ['Who? Me.']
    """
    texts, pairs = text_columns(x)
    return texts if pairs is None else [f"{a} {b}" for a, b in zip(texts, pairs, strict=True)]


def check_not_empty(x: Any) -> None:
    """Refuses texts without a character that is not white space.

    Args:
        x: As for `text_columns`.

    Raises:
        ValueError: If a text is empty.
    """
    texts, pairs = text_columns(x)
    for name, column in (("text", texts), ("second text", pairs or [])):
        empty = [position for position, text in enumerate(column) if not text.strip()]
        if empty:
            raise ValueError(
                f"{len(empty)} of {len(column)} examples have an empty {name}, the first at "
                f"position {empty[0]}: remove them."
            )


def _strings(column: Any) -> list[str]:
    if isinstance(column, str | bytes):
        raise TypeError(f"Texts come in a list, received {column!r}: wrap it in [...].")
    # A TensorFlow tensor iterates over tensors, its array over bytes.
    values = list(column.numpy() if hasattr(column, "numpy") else column)
    for position, value in enumerate(values):
        if isinstance(value, bytes):
            values[position] = value.decode("utf-8", errors="replace")
        elif not isinstance(value, str):
            raise TypeError(
                f"Texts are strings, received {value!r} ({type(value).__name__}) at position "
                f"{position}: remove or convert it."
            )
    return values
