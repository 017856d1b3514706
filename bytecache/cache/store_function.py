"""A cached function whose store other processes see."""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable, Hashable
from typing import Any

from ..keys.encoding import make_digests
from ..stores.base import MISSING, Store
from .bulk import BulkReader
from .read_through import ReadThrough
from .stats import CacheInfo, CacheStats

_CACHE_ATTRIBUTES = ("cache_info", "cache_stats", "cache_clear", "cache_parameters", "map", "warm")


class StoreFunction:
    """What ``fill_once(store=...)`` and ``fill_once(shared=True)`` return; see CachedFunction for what it offers.

    Pickles by its name if that leads to it; else as the function and the store, which finds the same values.
    """

    __wrapped__: Callable[..., Any]
    __qualname__: str

    def __init__(
        self,
        function: Callable[..., Any],
        store: Store,
        maxsize: int | None,
        typed: bool,
        key: Callable[..., Hashable] | None,
        identity: tuple[bytes, str],
    ) -> None:
        """Wrap `function`. identity: its fingerprint, and its name for people."""
        functools.update_wrapper(self, function)
        for name in _CACHE_ATTRIBUTES:  # of a cached function inside, if there is one
            self.__dict__.pop(name, None)
        if not hasattr(function, "__qualname__"):  # a partial, or an object that can be called
            self.__module__, self.__qualname__ = type(function).__module__, type(function).__qualname__
        self._arguments = function, store, maxsize, typed, key, identity
        self._store, self._typed = store, typed
        partition = store.partition(*identity, maxsize)
        # With functions, not methods of this object: without a cycle a store that is dropped is closed at once.
        self._digest_of, digest_of_one = make_digests(identity[0], typed, key)
        self._cache = ReadThrough(function, partition)
        self._get, self._miss = partition.get, self._cache.miss
        self._bulk = BulkReader(self._cache, digest_of_one, views=True)

    def __call__(self, /, *args: Any, **kwds: Any) -> Any:
        digest = self._digest_of(args, kwds)
        value = self._get(digest)
        return self._miss(digest, args, kwds) if value is MISSING else value

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def cache_info(self, scope: str = "process") -> CacheInfo:
        """Return functools' four fields; of this process, or ("all") of all that share the store."""
        return self._cache.info(scope)

    def cache_stats(self, scope: str = "process") -> CacheStats:
        """Return all counters, see CacheStats; of this process, or ("all") of all that share a store."""
        return self._cache.stats(scope)

    def cache_clear(self) -> None:
        """Empty the cache and set its counters to zero, for all processes."""
        self._cache.clear()

    def cache_parameters(self) -> dict[str, Any]:
        """Return maxsize, typed and maxbytes."""
        return {"maxsize": self._cache.partition.maxsize, "typed": self._typed, "maxbytes": self._store.maxbytes}

    @property
    def map(self) -> Callable[..., list[Any]]:
        """``map`` of CachedFunction."""
        return self._bulk.map

    @property
    def warm(self) -> Callable[..., CacheStats]:
        """``warm`` of CachedFunction."""
        return self._bulk.warm

    def __reduce__(self) -> Any:
        found: Any = sys.modules.get(self.__module__)
        for name in self.__qualname__.split("."):
            found = getattr(found, name, None)
        return self.__qualname__ if found is self else (StoreFunction, self._arguments)

    def __repr__(self) -> str:
        return f"<{self.__module__}.{self.__qualname__} through {self._store!r}>"
