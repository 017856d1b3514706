"""A function that is cached in this process's memory: what its calls need."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from time import perf_counter
from typing import Any

from ..keys.call_key import arguments_of, identity_of, make_key
from ..stores.memory import FillOncePartition, LRUPartition
from ..stores.memory_partition import MemoryPartition
from .methods import CacheMethods
from .read_through import ReadThrough


class NoArgument:
    """Stands for the first argument of a call without positional ones. Every pickler takes a class by its name."""


class MemoryFunction(CacheMethods):
    """What the calls of one cached function need. Its copies start empty.

    pickle finds a wrapper by its name. dill and cloudpickle take one apart that was defined in a script, a notebook or
    a function: its code, and what it closes over. That is this object alone, which pickles as its arguments. So the
    copy works on a cache of its own, and neither values nor locks travel.
    """

    __slots__ = (
        "__weakref__", "_arguments", "_key",
        "counters", "entries", "function", "load", "partition", "plain", "run", "tick",
    )  # fmt: skip

    def __init__(
        self,
        function: Callable[..., Any],
        evicts: bool,
        maxsize: int | None,
        maxbytes: int | None,
        sizeof: Callable[[Any], int] | None,
        typed: bool,
        key: Callable[..., Hashable] | None,
        once: bool,
    ) -> None:
        self._arguments = function, evicts, maxsize, maxbytes, sizeof, typed, key, once
        self.plain: type = str if key is None else NoArgument  # the type whose values are their own keys
        self.function = function
        limits = maxsize, maxbytes, sizeof
        self.partition: MemoryPartition = (
            LRUPartition(*limits) if evicts else FillOncePartition(*limits, key and identity_of)
        )
        self.entries, self.counters = self.partition.entries, self.partition.counters
        self.tick = self.counters.tick
        # functools lets a function re-enter its own key, so lru_cache does
        cache = ReadThrough(function, self.partition, once=once, reentrant=evicts)
        cache.follow_after_fork = weakref.WeakMethod(self._follow)
        self.run, self.load, self._key = cache.run, cache.load, key
        super().__init__(cache, _make_key_of(self.plain, typed, key), typed)

    def key(self, args: tuple[Any, ...], kwds: dict[str, Any]) -> Hashable:
        """Return the key under which a call's result is stored."""
        if self._key is None:
            return make_key(args, kwds, self._typed)
        return make_key((self._key(*args, **kwds),), {}, self._typed)

    def _key_of_call(self, args: tuple[Any, ...], kwds: dict[str, Any]) -> Hashable:
        return self.key(args, kwds)

    def cache_keys(self) -> list[Any]:
        keys = self.partition.keys()
        if self._key is None:
            return [arguments_of(key, self._typed) for key in keys]
        return [key[0] if isinstance(key, tuple) else key for key in keys]

    def cache_clear(self) -> None:
        super().cache_clear()
        self._follow()

    def _follow(self) -> None:
        """Take what the partition has since a clear."""
        before = self.entries
        with self.partition.lock:
            self.entries, self.counters = self.partition.entries, self.partition.counters
            self.tick = self.counters.tick
        del before  # not under the lock

    def run_uncached(self, args: tuple[Any, ...], kwds: dict[str, Any]) -> Any:
        """Run the function and count it, as a cache of size zero.

        Nothing is looked up, so the arguments need not be hashable.
        """
        counters, error, started = self.counters, True, perf_counter()
        counters.miss()
        try:
            value = self.function(*args, **kwds)
            error = False
        finally:
            counters.load(perf_counter() - started, error)
        with self.partition.lock:
            counters.rejected += 1
        return value

    def _load(self, cache_key: Hashable, key: Any) -> Any:
        if self.partition.maxsize == 0:
            return self.run_uncached((key,), {})
        return super()._load(cache_key, key)

    def __reduce__(self) -> Any:
        return MemoryFunction, self._arguments


def _make_key_of(plain: type, typed: bool, key: Callable[..., Hashable] | None) -> Callable[[Any], Hashable]:
    """Return the function from one argument to the key under which the result of a call with it is stored."""

    def key_of(argument: Any) -> Hashable:
        if type(argument) is plain:
            return argument
        return make_key((argument if key is None else key(argument),), {}, typed)

    return key_of
