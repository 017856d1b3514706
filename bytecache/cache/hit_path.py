"""The wrappers of a function that is cached in this process's memory: key, hit, and the way to a miss."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from time import perf_counter
from typing import Any

from ..keys.call_key import make_key
from ..stores.memory import FillOncePartition, LRUPartition
from ..stores.memory_partition import MemoryPartition
from .read_through import ReadThrough

_NO_ARGUMENT: Any = object()  # the first argument of a call without positional arguments


def make_wrapper(cache: ReadThrough, typed: bool, key: Callable[..., Hashable] | None) -> Callable[..., Any]:
    """Return a function that answers calls from a cache in memory, which runs what is missing."""
    partition = cache.partition
    if isinstance(partition, LRUPartition):
        return _lru_wrapper(cache, partition, typed, key)
    assert isinstance(partition, FillOncePartition)
    return _fill_once_wrapper(cache, partition, typed, key)


def make_uncached_wrapper(function: Callable[..., Any], partition: MemoryPartition) -> Callable[..., Any]:
    """Return a function that runs `function` at each call and counts it, as a cache of size zero.

    Nothing is looked up, so the arguments need not be hashable.
    """

    def call(*args: Any, **kwds: Any) -> Any:
        error, started = True, perf_counter()
        partition.counters.miss()
        try:
            value = function(*args, **kwds)
            error = False
        finally:
            partition.counters.load(perf_counter() - started, error)
        counters = partition.counters
        with partition.lock:
            counters.rejected += 1
        return value

    return call


def cache_key(
    args: tuple[Any, ...], kwds: dict[str, Any], typed: bool, key: Callable[..., Hashable] | None
) -> Hashable:
    """Return the key under which a call's result is stored."""
    if key is None:
        return make_key(args, kwds, typed)
    return make_key((key(*args, **kwds),), {}, typed)


def make_key_of(typed: bool, key: Callable[..., Hashable] | None) -> Callable[[Any], Hashable]:
    """Return the function from one argument to the key under which the result of a call with it is stored."""
    plain = str if key is None else _NO_ARGUMENT

    def key_of(argument: Any) -> Hashable:
        if type(argument) is plain:
            return argument
        return cache_key((argument,), {}, typed, key)

    return key_of


# The two hit paths. They differ in what a hit writes, and are kept apart because a branch or a call more is felt
# there. A single str, the common key of a read function, is its own key; make_key does the same.


def _fill_once_wrapper(
    cache: ReadThrough, partition: FillOncePartition, typed: bool, key: Callable[..., Hashable] | None
) -> Callable[..., Any]:
    entries, tick = partition.entries, partition.counters.tick
    run, load = cache.flights.run, cache.load
    plain = str if key is None else _NO_ARGUMENT

    def follow(partition: MemoryPartition) -> None:
        nonlocal entries, tick
        before = entries
        with partition.lock:
            entries, tick = partition.entries, partition.counters.tick
        del before  # not under the lock

    def call(first: Any = _NO_ARGUMENT, /, *rest: Any, **kwds: Any) -> Any:
        if type(first) is plain and not rest and not kwds:
            call_key = first
        else:
            call_key = cache_key(rest if first is _NO_ARGUMENT else (first, *rest), kwds, typed, key)
        try:
            value = entries[call_key]
        except KeyError:
            pass
        else:
            tick()
            return value
        args = rest if first is _NO_ARGUMENT else (first, *rest)
        return run(call_key, partition.generation, partition.counters, load, args, kwds)  # cache.miss, a frame less

    partition.on_clear = follow
    return call


def _lru_wrapper(
    cache: ReadThrough, partition: LRUPartition, typed: bool, key: Callable[..., Hashable] | None
) -> Callable[..., Any]:
    entries, tick = partition.entries, partition.counters.tick
    run, load = cache.flights.run, cache.load
    plain = str if key is None else _NO_ARGUMENT

    def follow(partition: MemoryPartition) -> None:
        nonlocal entries, tick
        before = entries
        with partition.lock:
            entries, tick = partition.entries, partition.counters.tick
        del before  # not under the lock

    def call(first: Any = _NO_ARGUMENT, /, *rest: Any, **kwds: Any) -> Any:
        if type(first) is plain and not rest and not kwds:
            call_key = first
        else:
            call_key = cache_key(rest if first is _NO_ARGUMENT else (first, *rest), kwds, typed, key)
        try:
            entry = entries[call_key]
        except KeyError:
            pass
        else:
            entry.used = tick()
            return entry.value
        args = rest if first is _NO_ARGUMENT else (first, *rest)
        return run(call_key, partition.generation, partition.counters, load, args, kwds)  # cache.miss, a frame less

    partition.on_clear = follow
    return call
