"""Call arguments as one key: hashable, by the rules of ``functools.lru_cache``, or as bytes for other processes."""

from __future__ import annotations

import os
import struct
from collections.abc import Hashable
from pathlib import PureWindowsPath
from typing import Any

import numpy as np

_KEYWORDS = object()  # stands between positional and keyword arguments
# Types whose hash runs no user code and is cheap, so that hashing one twice goes unseen.
_PLAIN = frozenset({str, int, float, bool, bytes, type(None), type, object})
_len = len  # bound early: a user may cache builtins.len itself


class HashedKey(tuple[Any, ...]):
    """A key whose arguments are hashed once, however many look-ups it takes part in; equal to the plain tuple."""

    _hash: int

    def __new__(cls, parts: tuple[Any, ...]) -> HashedKey:
        key = super().__new__(cls, parts)
        key._hash = hash(parts)
        return key

    def __hash__(self) -> int:
        return self._hash


def make_key(args: tuple[Any, ...], kwds: dict[str, Any], typed: bool = False) -> Hashable:
    """The key of one call: equal for calls that may share a result.

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
        if type(part) not in _PLAIN:
            return HashedKey(key)
    return key


def file_key(path: str | os.PathLike[str]) -> tuple[str, int, int]:
    """(path, size in bytes, mtime in ns) of a file: ``fill_once(key=file_key)`` reads a file anew once it has changed.

    Asks the file system at each call. Raises OSError where there is no such file.
    """
    status = os.stat(path)
    return os.fspath(path), status.st_size, status.st_mtime_ns


def encode_call(args: tuple[Any, ...], kwds: dict[str, Any], typed: bool = False) -> bytes:
    """The key of one call as bytes that are the same in every process: equal where :func:`make_key` gives equal keys.

    Raises TypeError for anything but str, bytes, int, float, bool, None, PathLike and tuples of these.
    """
    if not kwds and _len(args) == 1 and type(args[0]) in (str, int):
        return b"s" + _text(args[0]) if type(args[0]) is str else b"i%x" % args[0]
    parts = [encode_key(args)]
    for name, value in kwds.items():
        parts += [b"k", encode_key(name), encode_key(value)]
    if typed:
        kinds = (f"{type(value).__module__}.{type(value).__qualname__}" for value in (*args, *kwds.values()))
        parts += [b"T", encode_key(tuple(kinds))]
    return b"".join(parts)


def encode_key(value: Any) -> bytes:
    """A value as bytes that no other has, but for numbers that are equal; raises TypeError as encode_call does."""
    if value is None:
        return b"n"
    if isinstance(value, (int, np.integer, np.bool_)) and not isinstance(value, np.timedelta64):
        return b"i%x;" % int(value)
    if isinstance(value, (float, np.float16, np.float32)):
        number = float(value)
        return b"i%x;" % int(number) if number.is_integer() else b"f" + struct.pack("<d", number)
    if isinstance(value, tuple):
        return b"t%d:" % _len(value) + b"".join([encode_key(part) for part in value])
    if isinstance(value, os.PathLike):
        return (b"w" if isinstance(value, PureWindowsPath) else b"p") + encode_key(os.fspath(value))
    if isinstance(value, (str, bytes)):
        data, kind = (value, b"b") if isinstance(value, bytes) else (_text(value), b"s")
        return b"%b%d:%b" % (kind, _len(data), data)
    raise TypeError(
        "what processes share is kept under str, bytes, int, float, bool, None, PathLike and tuples of these, got "
        f"{value!r} of type {type(value).__name__}: give key=, a function that makes such a key of the call's arguments"
    )


def _text(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")  # file names may hold bytes that are no text
