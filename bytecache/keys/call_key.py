"""Call arguments as one hashable key, by the rules of ``functools.lru_cache``."""

from __future__ import annotations

import os
from collections.abc import Hashable
from typing import Any

_KEYWORDS = object()  # separates positional from keyword arguments
# Types whose hash is cheap and runs no user code, so that nobody notices if a value is hashed twice.
_CHEAP_TYPES = frozenset({str, int, float, bool, bytes, type(None), type, object})
_len = len  # bound early: a user may cache builtins.len itself


class HashedKey(tuple[Any, ...]):
    """A key that hashes its parts once, however often it is looked up; equal to the plain tuple."""

    _hash: int

    def __new__(cls, parts: tuple[Any, ...]) -> HashedKey:
        key = super().__new__(cls, parts)
        key._hash = hash(parts)
        return key

    def __hash__(self) -> int:
        return self._hash


def make_key(args: tuple[Any, ...], kwds: dict[str, Any], typed: bool = False) -> Hashable:
    """Return the key of one call: equal for calls that may share a result.

    A single ``str`` or ``int`` is its own key, so ``f(3)`` and ``f(3.0)`` are two entries, as in functools.
    Keyword order counts, since a function that takes ``**kwargs`` can see it (PEP 468).

    Raises TypeError for an unhashable argument.
    """
    if not kwds and _len(args) == 1 and type(args[0]) in (str, int):
        return args[0]  # type: ignore[no-any-return]
    key = args
    if kwds:
        key += (_KEYWORDS,)
        for item in kwds.items():
            key += item
    if typed:
        key += tuple([type(value) for value in args])
        key += tuple([type(value) for value in kwds.values()])
    for part in key:
        if type(part) not in _CHEAP_TYPES:
            return HashedKey(key)
    return key


def file_key(path: str | os.PathLike[str]) -> tuple[str, int, int]:
    """Return (path, size in bytes, mtime in ns): ``fill_once(key=file_key)`` rereads a file after it has changed.

    Asks the file system at each call. Raises OSError if there is no such file.
    """
    status = os.stat(path)
    return os.fspath(path), status.st_size, status.st_mtime_ns
