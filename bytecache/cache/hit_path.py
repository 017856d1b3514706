"""The wrappers of a function that is cached in this process's memory: key, hit, and the way to a miss.

A wrapper closes over its MemoryFunction and a type, and uses no global but a class: see MemoryFunction for its copies.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..stores.memory import LRUPartition
from .instances import Owner
from .memory_function import MemoryFunction, NoArgument
from .methods import METHODS


def make_wrapper(cache: MemoryFunction) -> Any:
    """Return the function that answers calls from `cache`, with its methods."""
    wrapper = make_call(cache)
    functools.update_wrapper(wrapper, cache.function)
    for name in METHODS:  # none refers to the wrapper: without a cycle a cache that is dropped frees its memory at once
        setattr(wrapper, name, getattr(cache, name))
    return wrapper


def make_call(cache: MemoryFunction) -> Any:
    """Return the function that answers calls from `cache`, and no more."""
    if cache.partition.maxsize == 0:
        return _uncached_wrapper(cache)
    make = _lru_wrapper if isinstance(cache.partition, LRUPartition) else _fill_once_wrapper
    return make(cache, cache.plain)


def make_method_call(cache: MemoryFunction, owner: Owner) -> Any:
    """Return the function that answers calls with the instance that `owner` stands for as their first argument."""
    make = _lru_method if isinstance(cache.partition, LRUPartition) else _fill_once_method
    return make(cache, owner, cache.plain, cache.load_for(owner))


def _uncached_wrapper(cache: MemoryFunction) -> Callable[..., Any]:
    def call(*args: Any, **kwds: Any) -> Any:
        return cache.run_uncached(args, kwds)

    return call


# The hit paths of functions and of methods. They differ in what a hit writes and in what stands before the key, and are
# kept apart because a branch or a call more is felt there. A single str, the common key of a read function, is its own
# key; make_key does the same.


def _fill_once_wrapper(cache: MemoryFunction, plain: type) -> Callable[..., Any]:
    def call(first: Any = NoArgument, /, *rest: Any, **kwds: Any) -> Any:
        if type(first) is plain and not rest and not kwds:
            call_key = first
        else:
            call_key = cache.key(rest if first is NoArgument else (first, *rest), kwds)
        try:
            value = cache.entries[call_key]
        except KeyError:
            pass
        else:
            tick = cache.tick
            tick()
            return value
        args = rest if first is NoArgument else (first, *rest) if rest else (first,)
        # cache.miss, with a frame less
        return cache.run(call_key, cache.partition.generation, cache.counters, cache.load, args, kwds)

    return call


def _lru_wrapper(cache: MemoryFunction, plain: type) -> Callable[..., Any]:
    def call(first: Any = NoArgument, /, *rest: Any, **kwds: Any) -> Any:
        if type(first) is plain and not rest and not kwds:
            call_key = first
        else:
            call_key = cache.key(rest if first is NoArgument else (first, *rest), kwds)
        try:
            entry = cache.entries[call_key]
        except KeyError:
            pass
        else:
            tick = cache.tick
            entry.used = tick()
            return entry.value
        args = rest if first is NoArgument else (first, *rest) if rest else (first,)
        # cache.miss, with a frame less
        return cache.run(call_key, cache.partition.generation, cache.counters, cache.load, args, kwds)

    return call


def _fill_once_method(cache: MemoryFunction, owner: Owner, plain: type, load: Callable[..., Any]) -> Callable[..., Any]:
    def call(instance: Any, first: Any = NoArgument, /, *rest: Any, **kwds: Any) -> Any:
        if type(first) is plain and not rest and not kwds:
            call_key = owner, first
        else:
            call_key = owner, cache.key(rest if first is NoArgument else (first, *rest), kwds)
        try:
            value = cache.entries[call_key]
        except KeyError:
            pass
        else:
            tick = cache.tick
            tick()
            return value
        args = (instance, *rest) if first is NoArgument else (instance, first, *rest)
        return cache.run(call_key, cache.partition.generation, cache.counters, load, args, kwds)

    return call


def _lru_method(cache: MemoryFunction, owner: Owner, plain: type, load: Callable[..., Any]) -> Callable[..., Any]:
    def call(instance: Any, first: Any = NoArgument, /, *rest: Any, **kwds: Any) -> Any:
        if type(first) is plain and not rest and not kwds:
            call_key = owner, first
        else:
            call_key = owner, cache.key(rest if first is NoArgument else (first, *rest), kwds)
        try:
            entry = cache.entries[call_key]
        except KeyError:
            pass
        else:
            tick = cache.tick
            entry.used = tick()
            return entry.value
        args = (instance, *rest) if first is NoArgument else (instance, first, *rest)
        return cache.run(call_key, cache.partition.generation, cache.counters, load, args, kwds)

    return call
