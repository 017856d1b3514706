"""Checks of arguments that several functions have."""

from __future__ import annotations

import operator
import sys
from typing import Any

from .caller import warn_caller

# No cache in memory has room for as many entries as this: their keys and slots alone take gigabytes. (The largest data
# sets of images that people hold as single files have some ten million.) As bytes it is a small budget.
_LIKELY_BYTES = 1 << 24


def check_int(value: Any, name: str, least: int) -> int:
    """Return `value` as an int; raise TypeError for another type, ValueError for less than `least`."""
    number = -1 if isinstance(value, bool) else as_int(value)
    if number is None:
        raise TypeError(f"{name} must be an int of {least} or more, got {value!r}")
    if number < least:
        raise ValueError(f"{name} must be an int of {least} or more, got {value!r}")
    return number


def check_maxsize(maxsize: Any, has_budget: bool) -> int:
    """Return the most entries, 0 for a negative number; warn if the number looks like one of bytes."""
    try:
        number = max(operator.index(maxsize), 0)
    except TypeError:
        raise TypeError(
            f"Expected first argument to be an integer, a callable, or None, got {maxsize!r}; sizes go into maxbytes="
        ) from None
    if not has_budget and _LIKELY_BYTES <= number < sys.maxsize:
        warn_caller(
            f"maxsize is a number of entries, and no memory holds {number:,} of them: if bytes are meant, give "
            f"maxbytes={number}; for no limit give None"
        )
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
