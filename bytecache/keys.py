"""Call arguments as one hashable key, by the rules of ``functools.lru_cache``."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

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
