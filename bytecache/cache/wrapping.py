"""What the decorators do with their arguments: checks, and the choice of what answers the calls."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Hashable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..keys.fingerprint import fingerprint
from ..planning.density import largest_admitted
from ..stores.base import Store
from ..stores.shared.store import SharedStore
from ..stores.tiered.store import Stores, TieredStore
from ..stores.values import sizeof as default_sizeof
from ..system.arguments import check_maxsize
from ..system.byte_sizes import parse_size
from .cached_object import make_cached
from .memory_function import MemoryFunction
from .store_function import StoreFunction


class Options:
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
        batched: bool,
    ) -> None:
        for name, function in (("key", key), ("sizeof", sizeof)):
            if function is not None and not callable(function):
                raise TypeError(f"{name} must be a function or None, got {function!r}")
        self.typed, self.key, self.evicts, self.once, self.keep_alive = typed, key, evicts, once, keep_alive
        self.batched = batched
        self.sizeof = default_sizeof if sizeof is None and maxbytes is not None else sizeof
        self.maxbytes = None if maxbytes is None else parse_size(maxbytes)
        self.shared = False  # whether the values go into a store: `store`, or (None) one of the function's own
        self.store: Store | None = None
        self.version: str | int | None = None
        self.files: NDArray[np.int64] | None = None  # the sizes of the items to choose from, or None to admit any

    def admit_dense(self, items: Iterable[Any] | None) -> None:
        """Admit only the smallest of `items`, which are paths, as many as fit."""
        if items is None or isinstance(items, (str, bytes)):
            raise TypeError(f"admit='dense' needs items=, the paths of all files that will be read, got {items!r}")
        if self.maxbytes is None and self.store is None:
            raise TypeError("admit='dense' fills a budget: give one, such as maxbytes=\"4 GiB\"")
        if self.sizeof not in (None, default_sizeof):
            raise TypeError("admit='dense' goes by the sizes of the files: leave sizeof out")
        self.files = np.fromiter((os.stat(item).st_size for item in items), np.int64)

    def largest(self, budget: int | None, overhead: int) -> int:
        """Return the bytes of the largest value that is to be stored. overhead: what each takes beside its file's."""
        if self.files is None or budget is None:
            return sys.maxsize
        return largest_admitted(self.files + overhead, budget)

    def use_store(self, store: Stores | None, sizeof: Any, version: str | int | None) -> None:
        """Store values in `store`, or in a new shared store of this function if it is None."""
        store = check_store(store)
        if sizeof is not None:
            raise TypeError(
                "sizeof does not go with a shared store, which counts the bytes that it writes: leave it out"
            )
        check_one_budget(store, self.maxbytes)
        if store is None and self.maxbytes is None:
            raise TypeError('shared=True needs a budget, such as maxbytes="8 GiB" or maxbytes="50%"')
        self.shared, self.store, self.version = True, store, version


def make_decorator(maxsize: Any, default: int | None, options: Options) -> Any:
    """Return the decorator with these options; or, if `maxsize` is the function itself, that with the default one."""
    if callable(maxsize) or isinstance(maxsize, classmethod):
        return _wrap(maxsize, default, options)
    if maxsize is not None:
        maxsize = check_maxsize(maxsize, has_budget=options.maxbytes is not None or options.shared)
    return lambda function: _wrap(function, maxsize, options)


def _wrap(function: Callable[..., Any], maxsize: int | None, options: Options) -> Any:
    if isinstance(function, (staticmethod, classmethod)):  # below the decorator: as if it were above
        return type(function)(_wrap(function.__func__, maxsize, options))
    check_function(function)
    return (_wrap_shared if options.shared else _wrap_in_memory)(function, maxsize, options)


def _wrap_shared(function: Callable[..., Any], maxsize: int | None, options: Options) -> Any:
    identity, store = fingerprint(function, options.version, options.batched), options.store
    if store is None:
        assert options.maxbytes is not None
        store = SharedStore.open(None, identity[0].hex()[:16], options.maxbytes)
    largest = options.largest(store.maxbytes, 0)
    flags = options.once, options.batched, largest
    return StoreFunction(function, store, maxsize, options.typed, options.key, identity, *flags)


def _wrap_in_memory(function: Callable[..., Any], maxsize: int | None, options: Options) -> Any:
    limits = maxsize, options.maxbytes, options.sizeof
    largest = options.largest(options.maxbytes, default_sizeof(b""))
    flags = options.once, options.keep_alive, options.batched
    return make_cached(
        MemoryFunction(function, options.evicts, *limits, options.typed, options.key, *flags, largest=largest)
    )


def check_store(store: Any) -> Store | None:
    """Return a store, several as one, or None; raise TypeError for anything else, see also TieredStore."""
    if isinstance(store, (list, tuple)):
        return TieredStore(store)
    if store is None or isinstance(store, Store):
        return store
    raise TypeError(f"store must be a bytecache.SharedStore or another store, a list of such, or None, got {store!r}")


def check_one_budget(store: Store | None, maxbytes: Any) -> None:
    """Raise TypeError if there is a budget beside that of a store."""
    if store is not None and maxbytes is not None:
        raise TypeError(f"the budget is the store's: give maxbytes to it alone, got {maxbytes} together with {store!r}")


def check_function(function: Any, what: str = "a function to decorate") -> None:
    """Raise TypeError for anything but a function whose result can be used again and again."""
    if not callable(function):
        raise TypeError(f"expected {what}, got {function!r}")
    for kind in ("coroutinefunction", "generatorfunction", "asyncgenfunction"):
        is_kind = getattr(inspect, f"is{kind}")
        if is_kind(function) or (not inspect.isclass(function) and is_kind(getattr(function, "__call__", None))):  # noqa: B004
            raise TypeError(
                f"{function!r} is a {kind.replace('function', ' function')}: what it returns can be used only once, so "
                "a stored one would be spent at the second call; cache a plain function that returns the final value"
            )
