"""Checks of arguments that several functions have."""

from __future__ import annotations

import operator
from typing import Any


def check_int(value: Any, name: str, least: int) -> int:
    """Return `value` as an int; raise TypeError for another type, ValueError for less than `least`."""
    try:
        number = -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an int of {least} or more, got {value!r}") from None
    if number < least:
        raise ValueError(f"{name} must be an int of {least} or more, got {value!r}")
    return number


def check_threads(threads: int | None, default: int) -> int:
    """Return `threads`, or the default for None; raise TypeError for another type, ValueError for less than one."""
    if threads is None:
        return default
    if not isinstance(threads, int) or isinstance(threads, bool):
        raise TypeError(f"threads must be a positive int or None, got {threads!r}")
    if threads < 1:
        raise ValueError(f"threads must be a positive int or None, got {threads!r}")
    return threads
