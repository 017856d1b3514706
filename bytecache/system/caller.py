"""The line that called the library: for warnings, and for names on which all processes agree."""

from __future__ import annotations

import inspect
import os
import sys
import types
import warnings
import weakref
from collections.abc import Callable
from hashlib import blake2b
from pathlib import PurePath
from typing import Any

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
MAIN_NAMES = ("__main__", "__mp_main__")
_stores_made: dict[str, int] = {}  # by call site, over all editions of its code
_editions: dict[tuple[str, str], _Edition] = {}  # by call site and file


def warn_caller(message: str) -> None:
    """Give a RuntimeWarning at the line that called the library."""
    warnings.warn(message, RuntimeWarning, stacklevel=_caller()[0])


def is_caller_a_class_body() -> bool:
    """Return whether the line that called the library is one of a class, outside of its functions."""
    _, frame = _caller()
    return not frame.f_code.co_flags & inspect.CO_OPTIMIZED and "__qualname__" in frame.f_locals


def _caller() -> tuple[int, types.FrameType]:
    """Return the frame that called the library, and how many frames it is above the function that asks."""
    level, frame = 0, sys._getframe()
    while frame.f_back is not None and os.path.abspath(frame.f_code.co_filename).startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    return level, frame


def module_name(names: dict[str, Any]) -> str:
    """Return the name of the module with these globals; of the main module, the name it would be imported by."""
    name = names.get("__name__") or ""
    if name not in MAIN_NAMES:
        return str(name)
    spec = names.get("__spec__")
    if spec is not None:
        return str(spec.name)
    return PurePath(names["__file__"]).stem if "__file__" in names else "__main__"


def call_site_name(frame: Any) -> str:
    """Return a name for a store made at the line of `frame`, equal in all processes that run the same lines.

    A module that is loaded again makes its stores again, under their names. (Other code is counted on: the statements
    that are typed into a shell all come from one "file", and each is the first line of its code.)
    """
    code = frame.f_code
    site = f"{module_name(frame.f_globals)}:{code.co_name}:{frame.f_lineno}"
    edition = _editions.setdefault((site, code.co_filename), _Edition())
    if edition.code() is not code and not code.co_filename.startswith("<"):
        edition.visits = 0
    edition.code = weakref.ref(code)
    if edition.visits == len(edition.numbers):
        number = _stores_made[site] = _stores_made.get(site, -1) + 1
        edition.numbers.append(number)
    edition.visits += 1
    return blake2b(f"{site}:{edition.numbers[edition.visits - 1]}".encode(), digest_size=8).hexdigest()


class _Edition:
    """The stores made at a call site of one file: their numbers, and how many of them the code loaded last has made."""

    def __init__(self) -> None:
        self.code: Callable[[], Any] = lambda: None  # a weak reference to that code
        self.numbers: list[int] = []
        self.visits = 0
