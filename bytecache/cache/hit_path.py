"""The calls of a function that is cached in this process's memory: key, hit, and the way to a miss."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from ..keys.call_key import make_key
from .memory_cache import Cache

_NOTHING: Any = object()  # the first argument of a call without positional arguments


def make_call(
    cache: Cache, maxsize: int | None, typed: bool, key: Callable[..., Hashable] | None
) -> Callable[..., Any]:
    """A function that answers calls from the cache, which runs what is missing."""
    if maxsize == 0:
        return _uncached_call(cache)
    return _lru_call(cache, typed, key) if cache.evicts else _fill_once_call(cache, typed, key)


def key_of(args: tuple[Any, ...], kwds: dict[str, Any], typed: bool, key: Callable[..., Hashable] | None) -> Hashable:
    """The key under which a call's result is kept."""
    if key is None:
        return make_key(args, kwds, typed)
    return make_key((key(*args, **kwds),), {}, typed)


def _uncached_call(cache: Cache) -> Callable[..., Any]:
    run = cache.run_uncached

    def call(*args: Any, **kwds: Any) -> Any:
        return run(*args, **kwds)

    return call


# The two hit paths. They differ in what a hit writes, and are kept apart because a branch or a call more is felt
# there. A single str, the common key of a read function, is its own key; make_key does the same.


def _fill_once_call(cache: Cache, typed: bool, key: Callable[..., Hashable] | None) -> Callable[..., Any]:
    entries, tick, miss = cache.store.entries, cache.hits.tick, cache.miss
    plain = str if key is None else _NOTHING

    def call(first: Any = _NOTHING, /, *rest: Any, **kwds: Any) -> Any:
        if type(first) is plain and not rest and not kwds:
            found = first
        else:
            found = key_of(rest if first is _NOTHING else (first, *rest), kwds, typed, key)
        try:
            value = entries[found]
        except KeyError:
            pass
        else:
            tick()
            return value
        return miss(found, rest if first is _NOTHING else (first, *rest), kwds)

    return call


def _lru_call(cache: Cache, typed: bool, key: Callable[..., Hashable] | None) -> Callable[..., Any]:
    entries, tick, miss = cache.store.entries, cache.hits.tick, cache.miss
    plain = str if key is None else _NOTHING

    def call(first: Any = _NOTHING, /, *rest: Any, **kwds: Any) -> Any:
        if type(first) is plain and not rest and not kwds:
            found = first
        else:
            found = key_of(rest if first is _NOTHING else (first, *rest), kwds, typed, key)
        try:
            entry = entries[found]
        except KeyError:
            pass
        else:
            entry.used = tick()
            return entry.value
        return miss(found, rest if first is _NOTHING else (first, *rest), kwds)

    return call
