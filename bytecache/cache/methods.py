"""What a cached function offers beside its call, whatever keeps its values."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable
from typing import Any

from ..keys.fingerprint import function_name
from ..stores.base import Store
from .bulk import BulkReader
from .metrics import Metric, metrics_of
from .read_through import ReadThrough
from .stats import CacheInfo, CacheStats

METHODS = (
    "cache_info", "cache_stats", "cache_clear", "cache_parameters", "cache_contains", "cache_discard", "cache_keys",
    "map", "metrics", "warm",
)  # fmt: skip


class CacheMethods(BulkReader):
    """The methods of CachedFunction, for one cache."""

    __slots__ = ("_store", "_typed")

    def __init__(
        self,
        cache: ReadThrough,
        key_of: Callable[[Any], Hashable],
        miss: Callable[..., Any],
        typed: bool,
        store: Store | None = None,
    ) -> None:
        """Take what the parts of BulkReader are. store: None for values in this process's memory."""
        super().__init__(cache, key_of, miss, views=store is not None)
        self._typed, self._store = typed, store

    def cache_info(self, scope: str = "process") -> CacheInfo:
        """Return functools' four fields; of this process, or ("all") of all that share the values."""
        return self._cache.info(scope)

    def cache_stats(self, scope: str = "process") -> CacheStats:
        """Return all counters, see CacheStats; of this process, or ("all") of all that share the values."""
        return self._cache.stats(scope)

    def metrics(self, scope: str = "process", *, name: str | None = None) -> tuple[Metric, ...]:
        """Return all counters under the names of OpenMetrics, see CachedFunction."""
        store = "memory" if self._store is None else type(self._store).__name__
        name = function_name(self._cache.batched or self._cache.function) if name is None else name
        return metrics_of(name, store, self.cache_stats(scope))

    def cache_clear(self) -> None:
        """Empty the cache and set its counters to zero, for all processes that share the values."""
        self._cache.clear()

    def cache_contains(self, /, *args: Any, **kwds: Any) -> bool:
        """Return whether there is a value for a call with these arguments; neither a use nor counted."""
        return self._key_of_call(args, kwds) in self._cache.partition

    def cache_discard(self, /, *args: Any, **kwds: Any) -> bool:
        """Remove the value of a call with these arguments, and return whether there was one; see CachedFunction."""
        return self._cache.discard(self._key_of_call(args, kwds))

    def cache_keys(self) -> list[Any]:
        """Return the keys of all values, see CachedFunction; raise TypeError if they are in a store."""
        return self._cache.partition.keys()

    def _key_of_call(self, args: tuple[Any, ...], kwds: dict[str, Any]) -> Hashable:
        raise NotImplementedError

    def cache_parameters(self) -> dict[str, Any]:
        """Return maxsize and typed, as in functools; maxbytes and largest, in bytes, if they are limits.

        Of a store with a path also that.
        """
        partition = self._cache.partition
        parameters: dict[str, Any] = {"maxsize": partition.maxsize, "typed": self._typed}
        if partition.maxbytes is not None:
            parameters["maxbytes"] = partition.maxbytes
        if partition.largest != sys.maxsize:
            parameters["largest"] = partition.largest
        if self._store is not None and self._store.path is not None:
            parameters["path"] = str(self._store.path)
        return parameters
