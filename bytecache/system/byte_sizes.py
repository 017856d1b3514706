"""Sizes in bytes, as users write them."""

from __future__ import annotations

import re
from fractions import Fraction
from operator import index
from typing import Any

from .arguments import as_int
from .memory_limit import available_memory

_UNITS = {
    "": 1, "B": 1,
    "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40,
}  # fmt: skip
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*|%)\s*", re.IGNORECASE | re.ASCII)


def parse_size(size: int | str, name: str = "maxbytes") -> int:
    """Return the bytes that an int, ``"2 GiB"``, ``"500 MB"`` or ``"50%"`` (of :func:`available_memory`) stands for.

    >>> parse_size("2 KiB")
    2048

    Raises ValueError for anything but a size above zero, TypeError for another type.
    """
    nbytes = _parse_text(size) if isinstance(size, str) else as_int(size)
    if nbytes is None and not isinstance(size, str):
        raise TypeError(f"{_expected(name)}, got {size!r} of type {type(size).__name__}")
    if nbytes is None or nbytes <= 0:
        nothing_left = nbytes == 0 and "%" in str(size) and available_memory() == 0
        hint = ": the limits of this process leave no memory at all" if nothing_left else ""
        raise ValueError(f"{_expected(name)}, got {size!r}{hint}")
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


def as_nbytes(size: Any) -> int | None:
    """Return a size that a user's function returned as an int; None if it is not an int of 0 or more."""
    try:
        nbytes = index(size)
    except TypeError:
        return None
    return nbytes if nbytes >= 0 else None
