"""A function whose values are in a shared store."""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable, Hashable
from typing import Any

from ..keys.encoding import make_digest
from ..keys.fingerprint import fingerprint
from ..stores.memory import MISSING
from ..stores.shared.store import SharedStore
from .bulk import Bulk
from .shared_cache import SharedCache
from .stats import CacheInfo, CacheStats

_OWN = ("cache_info", "cache_stats", "cache_clear", "cache_parameters", "map", "warm")


class SharedFunction:
    """What ``fill_once(store=...)`` and ``fill_once(shared=True)`` return; see CachedFunction for what it offers.

    Pickles by its name where that leads to it; else as the function and the store, which finds the same values.
    """

    __wrapped__: Callable[..., Any]
    __qualname__: str

    def __init__(
        self,
        function: Callable[..., Any],
        store: SharedStore | int | str,
        maxsize: int | None = None,
        typed: bool = False,
        key: Callable[..., Hashable] | None = None,
        version: str | int | None = None,
        identity: tuple[bytes, str] | None = None,
    ) -> None:
        """store: one, or the budget of this function's own in this run. identity: of one that was pickled."""
        functools.update_wrapper(self, function)
        for name in _OWN:  # of a cached function inside, where there is one
            self.__dict__.pop(name, None)
        if not hasattr(function, "__qualname__"):  # a partial, or an object that can be called
            self.__module__, self.__qualname__ = type(function).__module__, type(function).__qualname__
        identity = identity or fingerprint(function, version)
        if not isinstance(store, SharedStore):
            store = SharedStore.of_run(identity[0].hex()[:16], store)
        self._arguments = function, store, maxsize, typed, key, version, identity
        self._typed = typed
        cache = self._cache = SharedCache(function, identity, store, maxsize)
        # With functions, not methods of this object: without a cycle a store that is dropped is let go at once.
        digest_of = self._digest_of = make_digest(identity[0], typed, key)
        self._bulk = Bulk(
            cache,
            functools.partial(_call, cache, digest_of, True),
            lambda one: digest_of((one,), {}),
            functools.partial(_call, cache, digest_of, False),
        )

    def __call__(self, /, *args: Any, **kwds: Any) -> Any:
        digest = self._digest_of(args, kwds)
        value = self._cache.find(digest)
        return self._cache.miss(digest, args, kwds) if value is MISSING else value

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def cache_info(self, scope: str = "process") -> CacheInfo:
        """Hits, misses, maxsize and currsize, as in functools; of this process, or ("all") of all that share it."""
        return self._cache.info(scope)

    def cache_stats(self, scope: str = "process") -> CacheStats:
        """All figures: see CacheStats; of this process, or ("all") of all that share a store."""
        return self._cache.stats(scope)

    def cache_clear(self) -> None:
        """Empties the cache and sets its counters to zero, for all processes."""
        self._cache.clear()

    def cache_parameters(self) -> dict[str, Any]:
        """maxsize, typed and maxbytes."""
        return {"maxsize": self._cache.maxsize, "typed": self._typed, "maxbytes": self._cache.store.maxbytes}

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
        return self.__qualname__ if found is self else (SharedFunction, self._arguments)

    def __repr__(self) -> str:
        return f"<{self.__module__}.{self.__qualname__} through {self._cache.store!r}>"


def _call(cache: SharedCache, digest_of: Callable[..., bytes], copy: bool, one: Any) -> Any:
    digest = digest_of((one,), {})
    value = cache.find(digest, copy)
    if value is not MISSING:
        return value
    value = cache.miss(digest, (one,), {})
    return value if copy or not isinstance(value, bytes) else memoryview(value)
