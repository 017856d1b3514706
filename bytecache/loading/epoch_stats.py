"""A cache's counters per epoch, under the names of ``CacheStats``."""

from __future__ import annotations

from typing import Any

from ..cache.cached_function import CachedFunction
from ..cache.stats import CacheStats


class EpochStats:
    """The counters of a cached function since the last ``since_last``, or since this was created, of all processes.

    prefix: put before each name. Raises TypeError if the function is not cached.
    """

    def __init__(self, read: CachedFunction[Any, Any], prefix: str = "") -> None:
        if not hasattr(read, "cache_stats"):
            raise TypeError(f"read must be a cached function, got {read!r}: decorate it with @bytecache.fill_once")
        self._read, self._prefix = read, prefix
        self._last = self.stats()

    def stats(self) -> CacheStats:
        """Return the counters so far."""
        return self._read.cache_stats(scope="all")

    def since_last(self, until: CacheStats | None = None) -> dict[str, float]:
        """Return hit_rate, hits, misses, load_s, currbytes and maxbytes, as plain floats and ints.

        The first four are those since the last call, up to `until` if the epoch's training ended there. currbytes is 0
        if no sizes are measured, maxbytes is 0 if there is no limit.
        """
        now = self.stats()
        epoch = (until or now) - self._last
        self._last = now
        values = {
            "hit_rate": float(epoch.hit_rate),
            "hits": int(epoch.hits),
            "misses": int(epoch.misses),
            "load_s": float(epoch.load_s),
            "currbytes": int(now.currbytes or 0),
            "maxbytes": int(now.maxbytes or 0),
        }
        return {f"{self._prefix}{name}": value for name, value in values.items()}
