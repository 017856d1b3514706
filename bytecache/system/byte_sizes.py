"""Budgets and sizes in bytes: what a user asks for, what the machine has, what a value takes."""

from __future__ import annotations

import re
import sys
from fractions import Fraction
from operator import index
from typing import Any

import numpy as np

from .memory_limit import available_memory

_UNITS = {
    "": 1, "B": 1,
    "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40,
}  # fmt: skip
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*|%)\s*", re.IGNORECASE | re.ASCII)
_ARRAY_HEADER = sys.getsizeof(np.ndarray(()))
_CONTAINERS: tuple[Any, ...] = (tuple, list, set, frozenset)


def parse_size(size: int | str, name: str = "maxbytes") -> int:
    """A budget in bytes from an int, ``"2 GiB"``, ``"500 MB"`` or ``"50%"`` of :func:`available_memory`.

    >>> parse_size("2 KiB")
    2048

    Raises ValueError for anything that is no size above zero, TypeError for another type.
    """
    if isinstance(size, bool) or not isinstance(size, (int, str)):
        raise TypeError(f"{_expected(name)}, got {size!r} of type {type(size).__name__}")
    nbytes = _parse_text(size) if isinstance(size, str) else size
    if nbytes is None or nbytes <= 0:
        raise ValueError(f"{_expected(name)}, got {size!r}")
    return nbytes


def _expected(name: str) -> str:
    return f'{name} must be a positive int or a size such as "2 GiB", "500 MB" or "50%"'


def _parse_text(text: str) -> int | None:
    match = _SIZE.fullmatch(text)
    if match is None:
        return None
    number, unit = Fraction(match[1]), match[2].upper()
    if unit == "%":
        return int(available_memory() * number / 100) if number <= 100 else None
    return int(number * _UNITS[unit]) if unit in _UNITS else None


def sizeof(value: Any) -> int:
    """Bytes of memory that keeping `value` takes.

    An ndarray counts as the whole buffer it keeps alive, also when it is a small view; tuples, lists, sets and
    dicts, and subclasses of these, count with everything in them, an object met twice counts once. Other objects count
    as ``sys.getsizeof`` says, and with their ``nbytes`` where they have them, as tensors do; what they refer to does
    not count: pass ``sizeof=`` for classes that hold big things.
    """
    total, seen, pending = 0, set(), [value]
    while pending:
        item = pending.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, np.ndarray):
            total += _array_bytes(item)
        else:
            nbytes = getattr(item, "nbytes", 0)  # of a memoryview or a tensor, beside its header
            total += sys.getsizeof(item) + (nbytes if isinstance(nbytes, int) else 0)
            pending.extend(_parts(item))
    return total


def _array_bytes(array: np.ndarray[Any, Any]) -> int:
    owner: Any = array
    while isinstance(owner, np.ndarray) and owner.base is not None:
        owner = owner.base
    while isinstance(owner, memoryview):
        owner = owner.obj
    if isinstance(owner, (bytes, bytearray)):
        return _ARRAY_HEADER + sys.getsizeof(owner)
    return _ARRAY_HEADER + (owner.nbytes if isinstance(owner, np.ndarray) else array.nbytes)


def _parts(item: Any) -> list[Any]:
    # By the built-in methods, also of subclasses such as named tuples: none of the user's code runs here.
    if isinstance(item, dict):
        return [*dict.keys(item), *dict.values(item)]
    return next((list(kind.__iter__(item)) for kind in _CONTAINERS if isinstance(item, kind)), [])


def freeze(value: Any) -> None:
    """Makes every ndarray in `value` read-only, also inside tuples, lists and dicts, but not what it is a view of."""
    pending, seen = [value], set()
    while pending:
        item = pending.pop()
        if isinstance(item, np.ndarray):
            item.flags.writeable = False
        elif id(item) not in seen:
            seen.add(id(item))
            pending.extend(_parts(item))


def as_nbytes(size: Any) -> int | None:
    """A number of bytes that a user's function gave, as an int; None for what is no int of 0 or more."""
    try:
        nbytes = index(size)
    except TypeError:
        return None
    return nbytes if nbytes >= 0 else None
