"""A function that is cached in this process's memory: what its calls need."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Hashable, Iterable
from functools import partial
from time import perf_counter
from typing import Any

from ..keys.call_key import arguments_of, identity_of, make_key
from ..stores.memory import FillOncePartition, LRUPartition
from ..stores.memory_partition import MemoryPartition
from .bound_methods import InstanceCache
from .flights.flight import Flight
from .instances import Instances, Owner, is_of_instance
from .methods import CacheMethods
from .read_through import ReadThrough
from .stats import CacheInfo, CacheStats


class NoArgument:
    """Stands for the first argument of a call without positional ones. Every pickler takes a class by its name."""


class MemoryFunction(CacheMethods):
    """What the calls of one cached function need. Its copies start empty.

    pickle finds a wrapper by its name. dill and cloudpickle take one apart that was defined in a script, a notebook or
    a function: its code, and what it closes over. That is this object alone, which pickles as its arguments. So the
    copy works on a cache of its own, and neither values nor locks travel.
    """

    __slots__ = (
        "__weakref__", "_arguments", "_keep_alive", "_key",
        "batched", "counters", "entries", "evicts", "function", "instances", "load", "partition", "plain", "run",
        "tick",
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
        once: bool = True,
        keep_alive: bool = False,
        batched: bool = False,
        largest: int = sys.maxsize,
    ) -> None:
        self._arguments = function, evicts, maxsize, maxbytes, sizeof, typed, key, once, keep_alive, batched, largest
        self.plain: type = str if key is None else NoArgument  # the type whose values are their own keys
        self.function, self.batched = function, batched
        limits = maxsize, maxbytes, sizeof
        self.partition: MemoryPartition = (
            LRUPartition(*limits) if evicts else FillOncePartition(*limits, key and identity_of)
        )
        self.partition.largest = largest
        self.entries, self.counters = self.partition.entries, self.partition.counters
        self.tick = self.counters.tick
        # functools lets a function re-enter its own key, so lru_cache does
        once = once and self.partition.maxsize != 0  # what is not stored is read by each for itself
        cache = ReadThrough(function, self.partition, once=once, reentrant=evicts, batched=batched)
        cache.follow_after_fork = weakref.WeakMethod(self._follow)
        self.run, self.load, self._key = cache.run, cache.load, key
        self.evicts, self._keep_alive, self.instances = evicts, keep_alive, Instances()
        super().__init__(cache, make_key_of(self.plain, typed, key), cache.miss, typed)

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
            return [self._arguments_of(key) for key in keys]
        return [key[0] if isinstance(key, tuple) else key for key in keys]

    def _arguments_of(self, key: Hashable) -> Any:
        if not (isinstance(key, tuple) and is_of_instance(key)):
            return arguments_of(key, self._typed)
        arguments = arguments_of(key[1], self._typed)
        call = (key[0](), *(arguments if isinstance(arguments, tuple) else (arguments,)))
        return call if len(call) > 1 else call[0]

    def _keys_of(self, instance: Any, owner: Owner | None) -> list[Any]:
        """Return what cache_keys returns for the calls of one instance, and without it; all with ``key=``."""
        keys = self.cache_keys()
        if self._key is not None:
            return keys
        calls = [key if isinstance(key, tuple) else (key,) for key in keys]
        if owner is not None:
            rest = [call[1:] for call in calls if call and call[0] is instance]
        else:  # as an argument it is any that equals it
            same = {instance} if calls else ()
            rest = [call[1:] for call in calls if call and call[0] in same]
        return [key[0] if len(key) == 1 and type(key[0]) is not tuple else key for key in rest]

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
            value = self._cache.function(*args, **kwds)
            error = False
        finally:
            counters.load(perf_counter() - started, error)
        counters.reject()
        return value

    def _load(self, cache_key: Hashable, key: Any) -> Any:
        if self.partition.maxsize == 0:
            return self.run_uncached((key,), {})
        return super()._load(cache_key, key)

    # Methods: an instance stands before the key of each of its calls, as its Owner. It is held weakly.

    def is_held_weakly(self, instance: Any) -> bool:
        """Return whether an Owner stands for `instance`; else it is an argument like the others.

        In lru_cache it is one if somebody could tell the difference, but by how long it lives.
        """
        if self._key is not None or self._keep_alive or self.partition.maxsize == 0:
            return False
        by_identity: Any = type(instance).__eq__
        return not self.evicts or by_identity is object.__eq__

    def cache_of(self, instance: Any, owner: Owner | None) -> InstanceCache:
        """Return the cache as one instance has it. owner: stands for it in keys; None: it is an argument."""
        self.forget_dead()
        stores_nothing = self.partition.maxsize == 0
        load = self.load if owner is None else self.load_for(owner)

        def key_of_call(args: tuple[Any, ...], kwds: dict[str, Any]) -> Hashable:
            if owner is not None:
                return owner, self.key(args, kwds)
            return self.key(args if stores_nothing else (instance, *args), kwds)

        def miss(key: Hashable, args: tuple[Any, ...], kwds: dict[str, Any]) -> Any:
            if stores_nothing:
                return self.run_uncached(args, kwds)
            return self.run(key, self.partition.generation, self.counters, load, args, kwds)

        note = None if owner is None else partial(self._note_for, owner)
        return InstanceCache(self._cache, key_of_call, miss, instance, lambda: self._keys_of(instance, owner), note)

    def load_for(self, owner: Owner) -> Callable[..., Any]:
        """Return what ``load`` is for the instance that `owner` stands for: it notes what is stored."""

        def load(flight: Flight, key: Hashable, counters: Any, args: tuple[Any, ...], kwds: dict[str, Any]) -> Any:
            try:
                self._note_for(owner, [key])  # before: an interrupt may come at any time
                value = self.load(flight, key, counters, args, kwds)
                self._note_for(owner, [key])  # again: another thread may have forgotten it as not stored
                return value
            finally:
                del flight  # its exception's traceback keeps this frame alive

        return load

    def _note_for(self, owner: Owner, keys: Iterable[Hashable]) -> None:
        """Note what is about to be stored, or is stored, for the instance that `owner` stands for."""
        self.forget_dead()
        most = 2 * self.counters.currsize + 64
        for key in keys:
            owner.note(key, self.entries, most)

    def forget_dead(self) -> None:
        """Remove what was stored for instances that are gone."""
        for owner in self.instances.take_dead():
            try:
                for key in list(owner.keys):
                    self.partition.discard(key)
            except BaseException:  # an interrupt: the next miss goes on
                self.instances.put_back(owner)
                raise

    def cache_info(self, scope: str = "process") -> CacheInfo:
        self.forget_dead()
        return super().cache_info(scope)

    def cache_stats(self, scope: str = "process") -> CacheStats:
        self.forget_dead()
        return super().cache_stats(scope)

    def __reduce__(self) -> Any:
        return MemoryFunction, self._arguments


def make_key_of(plain: type, typed: bool, key: Callable[..., Hashable] | None) -> Callable[[Any], Hashable]:
    """Return the function from one argument to the key under which the result of a call with it is stored."""

    def key_of(argument: Any) -> Hashable:
        if type(argument) is plain:
            return argument
        return make_key((argument if key is None else key(argument),), {}, typed)

    return key_of
