"""The two decorators: one whose cache never evicts, and one that evicts what was used least recently."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any, Literal, overload

from .cache.cached_function import BatchDecorator, CachedFunction, P, R
from .cache.wrapping import Options, make_decorator
from .stores.tiered.store import Stores


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
    store: Stores | None = None,
    shared: bool = False,
    version: str | int | None = None,
    batched: Literal[False] = False,
    admit: str = "first",
    items: Iterable[Any] | None = None,
    once: bool = True,
    keep_alive: bool = False,
) -> Callable[[Callable[P, R]], CachedFunction[P, R]]: ...
@overload
def fill_once(
    maxsize: int | None = None,
    typed: bool = False,
    *,
    maxbytes: int | str | None = None,
    key: Callable[..., Hashable] | None = None,
    sizeof: Callable[[Any], int] | None = None,
    store: Stores | None = None,
    shared: bool = False,
    version: str | int | None = None,
    batched: Literal[True],
    admit: str = "first",
    items: Iterable[Any] | None = None,
    once: bool = True,
    keep_alive: bool = False,
) -> BatchDecorator: ...
def fill_once(
    maxsize: Any = None,
    typed: bool = False,
    *,
    maxbytes: int | str | None = None,
    key: Callable[..., Hashable] | None = None,
    sizeof: Callable[[Any], int] | None = None,
    store: Stores | None = None,
    shared: bool = False,
    version: str | int | None = None,
    batched: bool = False,
    admit: str = "first",
    items: Iterable[Any] | None = None,
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

    admit: "first" stores what comes first. "dense" stores the files that bring most hits for the budget, which are the
    smallest: items are the paths of all files that will be read, whose sizes are looked up now, so what a call returns
    must have about as many bytes as its file. It pays if sizes differ, and if small files cost as much to read as large
    ones. A file that is too large is read at each call, and passed over by ``warm``.

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

    A list of stores, such as one of this machine and one that machines share, is asked in order, so the fastest comes
    first. A value goes to the last one that has room for it, and further up only if that has none; what is found below
    is copied up once nothing is left to be read, while there is room. ``cache_clear`` clears all of them,
    ``cache_stats().tiers`` has what each did, and `maxsize` holds for all together.

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

    batched: the function takes a list of keys, and returns as many values in order; one that is an Exception is what
    reading its key has raised. It reads many at once at less cost, such as :class:`bytecache.http.HttpReader`. The
    cached function takes one key, as any other: ``f(key)`` calls the function with one, ``f.map(keys)`` once with all
    that are missing and that no other call is reading, which it waits for afterwards. ``cache_stats()`` counts keys,
    and in ``load_s`` the seconds of a call once. Rows of an array are stored as copies. Raises ValueError if the number
    of values is another one, and nothing is stored. The function must not ask for a key of a list that is being read:
    that is a RecursionError.

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
    options = Options(typed, maxbytes, key, sizeof, evicts=False, once=once, keep_alive=keep_alive, batched=batched)
    if store is not None or shared:
        options.use_store(store, sizeof, version)
    elif version is not None:
        raise TypeError("version distinguishes values in a shared store: give store= or shared=True with it")
    if admit == "dense":
        options.admit_dense(items)
    elif admit != "first" or items is not None:
        raise ValueError(f'admit must be "first", or "dense" with items=, got {admit!r} and items={items!r:.80}')
    return make_decorator(maxsize, None, options)


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
    batched: Literal[False] = False,
    keep_alive: bool = False,
) -> Callable[[Callable[P, R]], CachedFunction[P, R]]: ...
@overload
def lru_cache(
    maxsize: int | None = 128,
    typed: bool = False,
    *,
    maxbytes: int | str | None = None,
    key: Callable[..., Hashable] | None = None,
    sizeof: Callable[[Any], int] | None = None,
    batched: Literal[True],
    keep_alive: bool = False,
) -> BatchDecorator: ...
def lru_cache(
    maxsize: Any = 128,
    typed: bool = False,
    *,
    maxbytes: int | str | None = None,
    key: Callable[..., Hashable] | None = None,
    sizeof: Callable[[Any], int] | None = None,
    batched: bool = False,
    keep_alive: bool = False,
    store: None = None,
    shared: bool = False,
) -> Any:
    """Decorate a function as ``functools.lru_cache`` does, with a budget in bytes besides.

    Both limits hold: for a budget alone write ``lru_cache(maxsize=None, maxbytes="4 GiB")``. A value larger than the
    whole budget is returned and not stored. Sizes are measured only if `maxbytes` or `sizeof` is given; else
    ``cache_stats().currbytes`` is None. `key`, `batched`, arrays, threads and processes as with :func:`fill_once`; one
    thing differs from functools: simultaneous calls with equal arguments run the function once. (And calls nest less
    deeply: each takes four of Python's frames.) Of a method's instances those that compare by identity are not kept
    alive, unless with `keep_alive`; others are arguments, as in functools.

    For data read once per epoch this is near the worst policy; use :func:`fill_once`.
    """
    if store is not None or shared:
        raise TypeError(
            "lru_cache cannot use a shared store, which never moves or frees a value and so cannot evict one; and for "
            "data that is read once per epoch LRU has the fewest hits: use fill_once"
        )
    options = Options(typed, maxbytes, key, sizeof, evicts=True, once=True, keep_alive=keep_alive, batched=batched)
    return make_decorator(maxsize, 128, options)
