"""A trie as three tables of whole numbers, in which a graph takes one step by two look-ups.

Source: Aoe 1989, "An efficient digital search algorithm by using a double-array structure". The
child of the state s under the symbol c, if there is one, is the state base[s] + c; it is a child of
s and not of another state if check[base[s] + c] = s. The children of different states interleave,
so the tables have little more entries than the trie has states.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

# The state without children, to which every step leads that the trie does not have.
DEAD = 0
NO_VALUE = -1
# Bases that are tried at once, and states without a parent.
_TRIED = 256
_FREE, _TAKEN = -1, -2


class DoubleArray(NamedTuple):
    """A forest of tries.

    Attributes:
        base: Where the children of each state begin. *Shape:* (states,), int32.
        check: The parent of each state, -1 for none. *Shape:* (states,), int32.
        value: The value of each state, or `NO_VALUE`. *Shape:* (states,), int32.
        depth: Symbols of the longest entry.
    """

    base: np.ndarray
    check: np.ndarray
    value: np.ndarray
    depth: int


def double_array(
    entries: Iterable[tuple[int, Sequence[int], int]], num_roots: int, num_symbols: int
) -> DoubleArray:
    """Builds a forest of tries, whose roots are the states 1, 2, ...

    Args:
        entries: The root, the symbols, and the value of every entry.
        num_roots: Number of tries.
        num_symbols: Symbols are below this number.

    Example:
        >>> trie = double_array([(1, [2], 7), (1, [2, 3], 8)], num_roots=1, num_symbols=4)
        >>> state = trie.base[1] + 2
        >>> int(trie.check[state]), int(trie.value[state])
        (1, 7)
        >>> int(trie.value[trie.base[state] + 3]), trie.depth
        (8, 2)
    """
    children: list[dict[int, int]] = [{} for _ in range(num_roots + 1)]
    values = [NO_VALUE] * (num_roots + 1)
    depth = 0
    for root, row, value in entries:
        node = root
        for symbol in row:
            node = children[node].setdefault(symbol, len(children))
            if node == len(children):
                children.append({})
                values.append(NO_VALUE)
        values[node] = value
        depth = max(depth, len(row))

    # The state of every node, and the node of every state's parent.
    state_of = np.arange(len(children))
    base_of = np.zeros(len(children), np.int32)
    parent_of = np.full(num_roots + 1, _TAKEN)
    # Nodes with many children first: those with few fit into what they leave.
    several = [node for node, below in enumerate(children) if len(below) > 1]
    start, number = 0, 0
    for node in sorted(several, key=lambda node: (-len(children[node]), node)):
        symbols = np.array(sorted(children[node]))
        if len(symbols) != number:
            start, number = _first_free(parent_of), len(symbols)
        base, parent_of = _place(parent_of, symbols, start)
        start = base + int(symbols[0])
        base_of[node] = base
        parent_of[base + symbols] = node
        state_of[[children[node][symbol] for symbol in symbols.tolist()]] = base + symbols
    # Nodes with one child take any place behind its symbol.
    one = sorted(
        (symbol, child, node)
        for node, below in enumerate(children)
        if len(below) == 1
        for symbol, child in below.items()
    )
    free = np.flatnonzero(parent_of == _FREE).tolist()
    places = itertools.chain(free, itertools.count(len(parent_of)))
    taken = [next(place for place in places if place > symbol) for symbol, _, _ in one]
    parent_of = _padded(parent_of, max(taken, default=0) + 1)
    for place, (symbol, child, node) in zip(taken, one, strict=True):
        base_of[node], parent_of[place], state_of[child] = place - symbol, node, place

    # Every step from every state stays within the tables.
    size = max(int(base_of.max()) + num_symbols, num_roots + 1)
    parent_of = _padded(parent_of, size)[:size]
    check = np.where(parent_of >= 0, state_of[parent_of], -1).astype(np.int32)
    base_of_state = np.zeros(len(parent_of), np.int32)
    value_of_state = np.full(len(parent_of), NO_VALUE, np.int32)
    base_of_state[state_of], value_of_state[state_of] = base_of, values
    return DoubleArray(base_of_state, check, value_of_state, depth)


def _place(parent_of: np.ndarray, symbols: np.ndarray, start: int) -> tuple[int, np.ndarray]:
    """Finds the first base from which the places of all symbols are free, the first from `start`.

    Returns:
        The base, and the states' parents with all of the places.
    """
    if len(symbols) > _TRIED:  # which fit nowhere but behind all others
        start = int(np.flatnonzero(parent_of != _FREE)[-1]) + 1
    base = max(start - int(symbols[0]), 1)
    while True:
        parent_of = _padded(parent_of, base + _TRIED + int(symbols[-1]))
        bases = np.arange(base, base + _TRIED)
        fits = parent_of[bases + symbols[0]] == _FREE
        for symbol in symbols[1:].tolist():
            if not fits.any():
                break
            fits &= parent_of[bases + symbol] == _FREE
        if fits.any():
            return int(bases[fits.argmax()]), parent_of
        base += _TRIED


def _first_free(parent_of: np.ndarray) -> int:
    free = np.flatnonzero(parent_of == _FREE)
    return int(free[0]) if len(free) else len(parent_of)


def _padded(parent_of: np.ndarray, size: int) -> np.ndarray:
    """Makes room for `size` states, and more, so that it is seldom called for."""
    if size <= len(parent_of):
        return parent_of
    return np.append(parent_of, np.full(size, _FREE))
