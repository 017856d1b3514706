"""Call arguments as one hashable key, by the rules of ``functools.lru_cache``; keys that name a version."""

from __future__ import annotations

import os
from collections.abc import Hashable
from typing import Any

import numpy as np

_KEYWORDS = object()  # separates positional from keyword arguments
# Types whose hash is cheap and runs no user code, so that nobody notices if a value is hashed twice.
_CHEAP_TYPES = frozenset({str, int, float, bool, bytes, type(None), type, object})
_NUMPY_TYPES: frozenset[type] = frozenset({np.ndarray, *np.sctypeDict.values()})
_len = len  # bound early: a user may cache builtins.len itself


class HashedKey(tuple[Any, ...]):
    """A key that hashes its parts once, however often it is looked up; equal to the plain tuple."""

    _hash: int

    def __new__(cls, parts: tuple[Any, ...]) -> HashedKey:
        key = super().__new__(cls, parts)
        try:
            key._hash = hash(parts)
        except TypeError as exc:
            raise TypeError(
                f"{exc}: a result is stored under the arguments of its call, which must be hashable, or else under "
                "what key= makes of them: give a function that returns something hashable"
            ) from None
        return key

    def __hash__(self) -> int:
        return self._hash


class VersionedKey(tuple[Any, ...]):
    """A tuple of what a value is, and its version: all that follows. A ``key=`` function may return one.

    Once another version is asked for, the value of the one before is dead, and counts as evicted. In memory it makes
    room at once. A shared store, which never frees a value, begins the function's values anew when it is full and more
    than half of them are dead. :func:`bytecache.file_key` makes such keys. Equal to the plain tuple.
    """

    __slots__ = ()


def identity_of(key: Hashable) -> Hashable:
    """Return what the key of a call is a version of; None if it is not a VersionedKey."""
    if isinstance(key, tuple) and key and isinstance(key[0], VersionedKey) and key[0]:
        return key[0][0]  # type: ignore[no-any-return]
    return None


def plain_scalar(value: Any) -> Any:
    """Return the number, bool, text or bytes that numpy's scalar, or array of no dimensions, equals; else `value`."""
    if type(value) in _NUMPY_TYPES and value.ndim == 0 and value.dtype.kind in "biufSU":
        plain = value.item()
        return plain if type(plain) in _CHEAP_TYPES else value  # a longdouble stays what it is
    return value


def make_key(args: tuple[Any, ...], kwds: dict[str, Any], typed: bool = False) -> Hashable:
    """Return the key of one call: equal for calls that may share a result.

    A single ``str`` or ``int`` is its own key, so ``f(3)`` and ``f(3.0)`` are two entries, as in functools. A scalar
    of numpy is the Python value that it equals, but with `typed`. Keyword order counts, since a function that takes
    ``**kwargs`` can see it (PEP 468).

    Raises TypeError for an unhashable argument.
    """
    if not kwds and _len(args) == 1 and type(args[0]) in (str, int):
        return args[0]  # type: ignore[no-any-return]
    key = args
    if kwds:
        key += (_KEYWORDS,)
        for item in kwds.items():
            key += item
    hashed = False
    for part in key:
        kind = type(part)
        if kind not in _CHEAP_TYPES:
            hashed = True
            if kind in _NUMPY_TYPES:
                key = tuple([plain_scalar(part) for part in key])
                if not (typed or kwds) and _len(key) == 1 and type(key[0]) in (str, int):
                    return key[0]  # type: ignore[no-any-return]
                break
    if typed:
        key += tuple([type(value) for value in (*args, *kwds.values())])
    return HashedKey(key) if hashed else key


def arguments_of(key: Hashable, typed: bool = False) -> Any:
    """Return the arguments of the call that has a key: a single positional one as it is, unless it is a tuple.

    Else they are a tuple of the positional ones, and a tuple (name, value) for each that was given by keyword.
    """
    if not isinstance(key, tuple):
        return key
    keywords = next((place for place, part in enumerate(key) if part is _KEYWORDS), _len(key))
    count = (_len(key) - keywords - 1) // 2  # of keywords
    if typed and keywords < _len(key):  # the types behind them: one for each argument
        count = (_len(key) - keywords - 1 - keywords) // 3
    elif typed:
        keywords //= 2
    named = key[keywords + 1 : keywords + 1 + 2 * max(count, 0)]
    if not named and keywords == 1 and type(key[0]) is not tuple:
        return key[0]
    return (*key[:keywords], *zip(named[::2], named[1::2], strict=True))


def file_key(path: str | os.PathLike[str]) -> VersionedKey:
    """Return (path, size in bytes, mtime in ns): ``fill_once(key=file_key)`` rereads a file after it has changed.

    The path is absolute, so that a kept store finds it whatever the current folder. The value of a file that has
    changed makes room for the new one, see VersionedKey. Asks the file system at each call. Raises OSError if there is
    no such file.
    """
    status = os.stat(path)
    return VersionedKey((os.path.abspath(path), status.st_size, status.st_mtime_ns))
