"""The two decorators: one whose cache never evicts, and one that evicts what was used least recently."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable
from typing import Any, overload

from .cache.cached_function import CachedFunction, P, R
from .cache.cached_object import make_cached
from .cache.memory_function import MemoryFunction
from .cache.store_function import StoreFunction
from .keys.fingerprint import fingerprint
from .stores.base import Store
from .stores.shared.store import SharedStore
from .stores.values import sizeof as default_sizeof
from .system.arguments import check_maxsize
from .system.byte_sizes import parse_size


@overload
def fill_once(maxsize: Callable[P, R], /) -> CachedFunction[P, R]: ...
@overload
def fill_once(
    maxsize: int | None = None,
    typed: bool = False,
    *,
    maxbytes: int | str | None = None,
    key: Callable[..., Hashable] | None = None,
    sizeof: Callable[[Any], int] | None = None,
    store: Store | None = None,
    shared: bool = False,
    version: str | int | None = None,
    once: bool = True,
    keep_alive: bool = False,
) -> Callable[[Callable[P, R]], CachedFunction[P, R]]: ...
def fill_once(
    maxsize: Any = None,
    typed: bool = False,
    *,
    maxbytes: int | str | None = None,
    key: Callable[..., Hashable] | None = None,
    sizeof: Callable[[Any], int] | None = None,
    store: Store | None = None,
    shared: bool = False,
    version: str | int | None = None,
    once: bool = True,
    keep_alive: bool = False,
) -> Any:
    """Decorate a function so that its results are stored until a limit is reached, and never evicted.

    For data read once per epoch no policy gets more hits: of N equal items C fit, and C of N calls hit.

    maxsize: the most entries (a number that looks like bytes warns); maxbytes: the most bytes, as an int, ``"4 GiB"``,
    ``"500 MB"`` or ``"50%"`` of the memory available to the process when the function is decorated. Without either the
    cache grows without a limit. The bytes are those of the values, as `sizeof` (default: :func:`bytecache.sizeof`)
    gives them; an entry takes some 60 bytes more (300 in lru_cache), and its key. Without `maxbytes` and `sizeof`
    nothing is measured. A value that does not fit is returned and not stored; a smaller one that comes later still may
    be.

    key: a function of the call's arguments that returns the key of the result; if that is a
    :class:`bytecache.VersionedKey`, as from :func:`bytecache.file_key`, a new version takes the place of the one
    before. typed: arguments of different types make different entries, as in ``functools.lru_cache``; without it
    numpy's scalars and the Python values that they equal are one.

    Exceptions are not stored. A value that can be used only once, such as an iterator, an open file or a coroutine, is
    a TypeError, also inside a tuple, list or dict. An ndarray that is stored is made read-only there, and numpy then
    refuses to write into it. Others do not: after ``torch.from_numpy`` of it, an operation in place changes the stored
    value, or ends the process if the store is shared, whose memory is mapped read-only. Give such code a copy, as
    ``torch.tensor`` makes one; the library's own data sets do. All other values in memory are handed out as they are,
    the stored object to every caller: do not change a stored list, dict, bytearray, tensor, image or attribute. A
    shared store gives each caller lists and dicts of its own.

    shared: all processes of the run have one cache, of `maxbytes`. store: all that use this store have one. Values are
    then bytes-like objects, ndarrays of plain dtypes, None, numbers, str, and tuples, lists and dicts of these; keys
    are made of str, bytes, int, float, bool, None, PathLike and tuples: see :class:`bytecache.SharedStore`. A result is
    found again if the function has the same module, name, code, defaults, closed-over values and bound arguments;
    global variables and called functions do not count. version: a str or int that stands for the code: change it when
    the values change. Docstrings are not code; ``python -O`` leaves out asserts, which are.

    Threads: simultaneous calls with equal arguments run the function once, and the others get its value or exception.
    So do not make a call while holding a lock that the function needs: another thread's run would wait for the lock,
    and the call for the run. One that has waited for 10 s warns. once: False if every call that finds no value is to
    run the function, and none to wait.

    Processes: each has a cache of its own, and a forked child starts with a copy of its parent's; with `shared` or
    `store` they have one, and of simultaneous calls in several processes one runs the function: if it raises, or its
    value does not fit, the next one does. A nested call does not wait for other processes, nor does any call wait long
    for a process that was stopped. Copies: pickle takes a function by its name. So do dill and cloudpickle (joblib,
    Ray, Dask) if it can be imported by that name; else the copy has the same options and an empty cache, or the same
    store. A cached partial, bound method or callable object, such as an attribute of an instance, is copied so too.

    Methods: each instance reads for itself, also if it equals another one, and is not kept alive, except by a stored
    value that refers to it: what is stored for it goes when it goes, at the next miss, and counts as evicted. One limit
    holds for all instances. keep_alive: True if the instance is to be an argument like the others, as in functools:
    equal instances share, and live as long as what is stored for them. So must it be with instances that cannot be
    referenced weakly (``__slots__``, a namedtuple, a subclass of int). `key` gets the instance first and decides alone;
    a method with `shared` or `store` needs it. ``Class.method.cache_clear()`` and the counters are about all instances,
    ``instance.method.map`` and the like about one.

    Raises TypeError for a coroutine or generator function, whose result could be used only once, and TypeError or
    ValueError for an invalid limit. A call whose function calls itself with the same arguments raises RecursionError.

    >>> @fill_once(maxbytes="1 MiB")
    ... def read(path):
    ...     with open(path, "rb") as f:
    ...         return f.read()
    >>> read.cache_info()
    CacheInfo(hits=0, misses=0, maxsize=None, currsize=0)
    """
    options = _Options(typed, maxbytes, key, sizeof, evicts=False, once=once, keep_alive=keep_alive)
    if store is not None or shared:
        options.use_store(store, sizeof, version)
    elif version is not None:
        raise TypeError("version distinguishes values in a shared store: give store= or shared=True with it")
    return _decorator(maxsize, None, options)


@overload
def lru_cache(maxsize: Callable[P, R], /, typed: bool = False) -> CachedFunction[P, R]: ...
@overload
def lru_cache(
    maxsize: int | None = 128,
    typed: bool = False,
    *,
    maxbytes: int | str | None = None,
    key: Callable[..., Hashable] | None = None,
    sizeof: Callable[[Any], int] | None = None,
    keep_alive: bool = False,
) -> Callable[[Callable[P, R]], CachedFunction[P, R]]: ...
def lru_cache(
    maxsize: Any = 128,
    typed: bool = False,
    *,
    maxbytes: int | str | None = None,
    key: Callable[..., Hashable] | None = None,
    sizeof: Callable[[Any], int] | None = None,
    keep_alive: bool = False,
    store: None = None,
    shared: bool = False,
) -> Any:
    """Decorate a function as ``functools.lru_cache`` does, with a budget in bytes besides.

    Both limits hold: for a budget alone write ``lru_cache(maxsize=None, maxbytes="4 GiB")``. A value larger than the
    whole budget is returned and not stored. Sizes are measured only if `maxbytes` or `sizeof` is given; else
    ``cache_stats().currbytes`` is None. `key`, arrays, threads and processes as with :func:`fill_once`; one thing
    differs from functools: simultaneous calls with equal arguments run the function once. (And calls nest less deeply:
    each takes four of Python's frames.) Of a method's instances those that compare by identity are not kept alive,
    unless with `keep_alive`; others are arguments, as in functools.

    For data read once per epoch this is near the worst policy; use :func:`fill_once`.
    """
    if store is not None or shared:
        raise TypeError(
            "lru_cache cannot use a shared store, which never moves or frees a value and so cannot evict one; and for "
            "data that is read once per epoch LRU has the fewest hits: use fill_once"
        )
    return _decorator(
        maxsize, 128, _Options(typed, maxbytes, key, sizeof, evicts=True, once=True, keep_alive=keep_alive)
    )


class _Options:
    """A decorator's checked arguments, all but maxsize, which may be the function itself."""

    def __init__(
        self,
        typed: bool,
        maxbytes: int | str | None,
        key: Callable[..., Hashable] | None,
        sizeof: Callable[[Any], int] | None,
        evicts: bool,
        once: bool,
        keep_alive: bool,
    ) -> None:
        for name, function in (("key", key), ("sizeof", sizeof)):
            if function is not None and not callable(function):
                raise TypeError(f"{name} must be a function or None, got {function!r}")
        self.typed, self.key, self.evicts, self.once, self.keep_alive = typed, key, evicts, once, keep_alive
        self.sizeof = default_sizeof if sizeof is None and maxbytes is not None else sizeof
        self.maxbytes = None if maxbytes is None else parse_size(maxbytes)
        self.shared = False  # whether the values go into a store: `store`, or (None) one of the function's own
        self.store: Store | None = None
        self.version: str | int | None = None

    def use_store(self, store: Store | None, sizeof: Any, version: str | int | None) -> None:
        """Store values in `store`, or in a new shared store of this function if it is None."""
        if store is not None and not isinstance(store, Store):
            raise TypeError(f"store must be a bytecache.SharedStore or another store, or None, got {store!r}")
        if sizeof is not None:
            raise TypeError(
                "sizeof does not go with a shared store, which counts the bytes that it writes: leave it out"
            )
        if store is not None and self.maxbytes is not None:
            raise TypeError(
                f"the budget is the store's: give maxbytes to it alone, got {self.maxbytes} together with {store!r}"
            )
        if store is None and self.maxbytes is None:
            raise TypeError('shared=True needs a budget, such as maxbytes="8 GiB" or maxbytes="50%"')
        self.shared, self.store, self.version = True, store, version


def _decorator(maxsize: Any, default: int | None, options: _Options) -> Any:
    if callable(maxsize) or isinstance(maxsize, classmethod):
        return _wrap(maxsize, default, options)
    if maxsize is not None:
        maxsize = check_maxsize(maxsize, has_budget=options.maxbytes is not None or options.shared)
    return lambda function: _wrap(function, maxsize, options)


def _wrap(function: Callable[..., Any], maxsize: int | None, options: _Options) -> Any:
    if isinstance(function, (staticmethod, classmethod)):  # below the decorator: as if it were above
        return type(function)(_wrap(function.__func__, maxsize, options))
    _check_function(function)
    return (_wrap_shared if options.shared else _wrap_in_memory)(function, maxsize, options)


def _wrap_shared(function: Callable[..., Any], maxsize: int | None, options: _Options) -> Any:
    identity, store = fingerprint(function, options.version), options.store
    if store is None:
        assert options.maxbytes is not None
        store = SharedStore.open(None, identity[0].hex()[:16], options.maxbytes)
    return StoreFunction(function, store, maxsize, options.typed, options.key, identity, options.once)


def _wrap_in_memory(function: Callable[..., Any], maxsize: int | None, options: _Options) -> Any:
    limits = maxsize, options.maxbytes, options.sizeof
    return make_cached(
        MemoryFunction(function, options.evicts, *limits, options.typed, options.key, options.once, options.keep_alive)
    )


def _check_function(function: Any) -> None:
    if not callable(function):
        raise TypeError(f"expected a function to decorate, got {function!r}")
    for kind in ("coroutinefunction", "generatorfunction", "asyncgenfunction"):
        is_kind = getattr(inspect, f"is{kind}")
        if is_kind(function) or (not inspect.isclass(function) and is_kind(getattr(function, "__call__", None))):  # noqa: B004
            raise TypeError(
                f"{function!r} is a {kind.replace('function', ' function')}: what it returns can be used only once, so "
                "a stored one would be spent at the second call; cache a plain function that returns the final value"
            )
