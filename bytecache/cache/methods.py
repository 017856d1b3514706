"""What a cached function offers beside its call, whatever keeps its values."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable
from typing import Any

from .bulk import BulkReader
from .read_through import ReadThrough
from .stats import CacheInfo, CacheStats

METHODS = (
    "cache_info", "cache_stats", "cache_clear", "cache_parameters", "cache_contains", "cache_discard", "cache_keys",
    "map", "warm",
)  # fmt: skip


class CacheMethods(BulkReader):
    """The methods of CachedFunction, for one cache."""

    __slots__ = ("_typed",)

    def __init__(
        self,
        cache: ReadThrough,
        key_of: Callable[[Any], Hashable],
        miss: Callable[..., Any],
        typed: bool,
        *,
        views: bool = False,
    ) -> None:
        super().__init__(cache, key_of, miss, views=views)
        self._typed = typed

    def cache_info(self, scope: str = "process") -> CacheInfo:
        """Return functools' four fields; of this process, or ("all") of all that share the values."""
        return self._cache.info(scope)

    def cache_stats(self, scope: str = "process") -> CacheStats:
        """Return all counters, see CacheStats; of this process, or ("all") of all that share the values."""
        return self._cache.stats(scope)

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
        """Return maxsize and typed, as in functools; maxbytes and largest, in bytes, if they are limits."""
        partition = self._cache.partition
        limits = {} if partition.maxbytes is None else {"maxbytes": partition.maxbytes}
        if partition.largest != sys.maxsize:
            limits["largest"] = partition.largest
        return {"maxsize": partition.maxsize, "typed": self._typed, **limits}
