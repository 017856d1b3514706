"""Checks of arguments that several functions have."""

from __future__ import annotations

import operator
from typing import Any


def check_int(value: Any, name: str, least: int) -> int:
    """Return `value` as an int; raise TypeError for another type, ValueError for less than `least`."""
    number = -1 if isinstance(value, bool) else as_int(value)
    if number is None:
        raise TypeError(f"{name} must be an int of {least} or more, got {value!r}")
    if number < least:
        raise ValueError(f"{name} must be an int of {least} or more, got {value!r}")
    return number


def check_threads(threads: int | None, default: int) -> int:
    """Return `threads`, or the default for None; raise TypeError for another type, ValueError for less than one."""
    if threads is None:
        return default
    number = as_int(threads)
    if number is None:
        raise TypeError(f"threads must be a positive int or None, got {threads!r}")
    if number < 1:
        raise ValueError(f"threads must be a positive int or None, got {threads!r}")
    return number


def as_int(value: Any) -> int | None:
    """Return an int, or one of numpy's, as an int; None for anything else, also for a bool."""
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return None
