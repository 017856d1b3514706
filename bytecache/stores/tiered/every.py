"""What is done with every tier."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")


def total(numbers: Iterable[int | None]) -> int | None:
    """Return the sum; None if one of them is not known."""
    known = list(numbers)
    return None if None in known else sum(number or 0 for number in known)


def run_all(functions: Sequence[Callable[[], T]]) -> list[T]:
    """Call all functions and return their results; or raise the first exception, once all were called."""
    results: list[T] = []
    failures: list[Exception] = []
    for function in functions:
        try:
            results.append(function())
        except Exception as exc:
            failures.append(exc)
    try:
        if failures:
            raise failures[0]
        return results
    finally:
        failures.clear()  # the exception's traceback keeps this frame alive
