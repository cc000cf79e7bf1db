"""The door for columns: texts, labels and weights in any container, by position.

Axes: n examples.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np

_TAKEN = (
    "a list, a numpy array, a column of pandas, polars, pyarrow or datasets, or a tensor; for "
    "pairs a tuple of two of them, or a table of two columns"
)

# Names of columns of labels, which are not second texts.
_LABELS = {"label", "labels", "target", "class", "category", "y"}


def column_values(column: Any) -> list[Any]:
    """Returns the n values of one column as Python objects, by position.

    An index, such as that of pandas, is ignored.

    Args:
        column: A list, a tuple, a numpy array, a column of pandas, polars, pyarrow or datasets, a
            tensor, or a table of one column. Arrays and tensors of shape (n, 1) count as (n,);
            others of more than one axis give a list for each row.

    Raises:
        TypeError: If it is something else, such as a string, a set or a dict.

    Example:
        >>> import pandas
        >>> column_values(pandas.Series(["a", "b"], index=[7, 3]))
        ['a', 'b']
    """
    columns = table_columns(column)
    if columns is not None:
        if len(columns) != 1:
            raise TypeError(
                f"Expected one column, received a table of {len(columns)}: select one, such as "
                'table["text"].'
            )
        (column,) = columns.values()
    if hasattr(column, "to_pylist"):  # pyarrow's columns and scalars
        return column.to_pylist()
    if hasattr(column, "detach"):  # PyTorch, from any device
        column = column.detach().cpu()
    if hasattr(column, "numpy") and not hasattr(column, "to_numpy"):
        column = column.numpy()
    if isinstance(column, str | bytes | Mapping | AbstractSet):
        raise TypeError(f"Expected a column of values, received {column!r}: wrap it in [...].")
    if hasattr(column, "ndim") and column.ndim == 0:
        raise TypeError(f"Expected a column of values, received {column!r}: wrap it in [...].")
    if hasattr(column, "shape") and len(column.shape) == 2 and column.shape[1] == 1:
        column = np.asarray(column)[:, 0]
    for name in ("tolist", "to_list"):
        if hasattr(column, name):
            return getattr(column, name)()
    try:
        return list(column)
    except TypeError:
        raise TypeError(
            f"Expected a column of values, received {type(column).__name__}: give {_TAKEN}."
        ) from None


def table_columns(x: Any) -> dict[str, Any] | None:
    """Returns the columns of a table of pandas, polars, pyarrow or `datasets` by name.

    Args:
        x: Anything.

    Returns:
        The columns, or None if `x` is not a table.
    """
    is_dataset = hasattr(x, "column_names") and not hasattr(x, "columns")  # of `datasets`
    if not hasattr(x, "shape") or not (is_dataset or hasattr(x, "columns")):
        return None
    if is_dataset:
        names = list(x.column_names)
        columns = [x[name] for name in names]
    elif hasattr(x, "iloc"):
        columns = [x.iloc[:, position] for position in range(x.shape[1])]
        names = list(x.columns)
    elif hasattr(x, "get_columns"):
        columns, names = x.get_columns(), list(x.columns)
    else:
        columns, names = list(x.columns), list(x.column_names)
    if len(set(names)) < len(names):
        raise TypeError(f"The columns of a table must have different names, received {names!r}.")
    return dict(zip(names, columns, strict=True))


def is_text(x: Any) -> bool:
    """Returns whether `x` holds texts in memory, in a form that Keras itself does not accept.

    Args:
        x: Inputs that a user passes to a model.
    """
    if isinstance(x, Mapping):
        return bool(x) and all(is_text(column) for column in x.values())
    if isinstance(x, str | bytes):
        return True
    if table_columns(x) is not None:
        return True
    if hasattr(x, "dtype") and hasattr(x, "shape") and not hasattr(x, "iloc"):
        # Arrays and tensors of numbers are ready inputs; columns of polars have a dtype, too.
        dtype = getattr(x.dtype, "as_numpy_dtype", x.dtype)
        return not isinstance(dtype, type | np.dtype) or np.dtype(dtype).kind in "OUST"
    return isinstance(x, Sequence) or any(
        hasattr(x, name) for name in ("tolist", "to_list", "to_pylist")
    )


def text_columns(x: Any) -> tuple[list[str], list[str] | None]:
    """Splits the texts that a user passes into columns, and checks that they hold strings.

    Args:
        x: n strings in any container of `column_values`; for pairs, a tuple of two such columns, a
            table of two, or a dict of `"text"` and `"pair"`. A dict or table of one column stands
            for that column, whatever its name.

    Returns:
        The n texts and the n second texts (None without pairs).

    Raises:
        TypeError: If a text is not a string, or `x` is no such container.
        ValueError: If the columns differ in length.

    Example:
        >>> text_columns((["Who?"], ["Me."]))
        (['Who?'], ['Me.'])
    """
    texts, *rest = [_strings(column) for column in _one_or_two(x)]
    if rest and len(rest[0]) != len(texts):
        raise ValueError(
            f"There are {len(texts)} texts but {len(rest[0])} second texts: give one for each."
        )
    return texts, rest[0] if rest else None


def _one_or_two(x: Any) -> tuple[Any, ...]:
    table = table_columns(x)
    if isinstance(x, Mapping) or table is not None:
        named = dict(x) if table is None else table
        labels = [name for name in named if str(name).lower() in _LABELS]
        if labels and len(named) > 1:
            raise TypeError(
                f"The column {labels[0]!r} seems to hold labels, but all columns of a table are "
                f"read as texts: select the texts, and pass x[{labels[0]!r}] as y."
            )
        if len(named) == 1 or (table is not None and len(named) == 2):
            return tuple(named.values())
        if named.keys() == {"text", "pair"}:
            return named["text"], named["pair"]
        raise TypeError(
            f"Texts are one column, or two for pairs, received the columns "
            f'{", ".join(map(repr, named))}: select them, such as x["text"] or '
            '(x["question"], x["answer"]).'
        )
    if isinstance(x, tuple) and len(x) == 2 and not isinstance(x[0], str | bytes):
        return x
    return (x,)


def joined_columns(x: Any) -> list[str]:
    """Returns one text per example; the texts of a pair are joined with a space.

    Args:
        x: Texts or pairs, see `text_columns`.

    Example:
        >>> joined_columns((["Who?"], ["Me."]))
        ['Who? Me.']
    """
    texts, pairs = text_columns(x)
    return texts if pairs is None else [f"{a} {b}" for a, b in zip(texts, pairs, strict=True)]


def check_not_empty(texts: list[str], pairs: list[str] | None) -> None:
    """Refuses empty columns, and texts that are empty or white space.

    Args:
        texts: n texts, as `text_columns` returns them.
        pairs: n second texts, or None.

    Raises:
        ValueError: If there are no texts, or a text is empty.
    """
    if not texts:
        raise ValueError("There are no texts: give at least one.")
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
    values = column_values(column)
    for position, value in enumerate(values):
        if isinstance(value, bytes):
            values[position] = value.decode("utf-8", errors="replace")
        elif not isinstance(value, str):
            raise TypeError(
                f"Texts are strings, received {_shown(value)} ({type(value).__name__}) at position "
                f"{position}: remove or convert it. Pass {_TAKEN}."
            )
    return values


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
