"""A cache's figures per epoch."""

from __future__ import annotations

from typing import Any

from ..cache.function import CachedFunction
from ..cache.stats import CacheStats


class EpochStats:
    """The figures of a cached function since the last ``take``, or since this was made; of all processes together.

    prefix: put before the names. Raises TypeError for a function that is not cached.
    """

    def __init__(self, read: CachedFunction[Any, Any], prefix: str = "") -> None:
        if not hasattr(read, "cache_stats"):
            raise TypeError(f"read must be a cached function, got {read!r}: decorate it with @bytecache.fill_once")
        self._read, self._prefix = read, prefix
        self._then = self.stats()

    def stats(self) -> CacheStats:
        """The figures of now."""
        return self._read.cache_stats(scope="all")

    def since_last(self, until: CacheStats | None = None) -> dict[str, float]:
        """hit_rate, reads, read_s and held_bytes; the first three up to `until`, where the epoch's training ended."""
        now = self.stats()
        moved = (until or now) - self._then
        self._then = now
        figures: dict[str, float] = {
            "hit_rate": moved.hit_rate,
            "reads": moved.misses,
            "read_s": moved.load_s,
            "held_bytes": now.currbytes or 0,
        }
        return {f"{self._prefix}{name}": value for name, value in figures.items()}
