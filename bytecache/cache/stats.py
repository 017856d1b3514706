"""What a cache counted: functools' four figures, and the rest."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import NamedTuple


class CacheInfo(NamedTuple):
    """The four fields of ``functools.lru_cache``'s ``cache_info()``."""

    hits: int
    misses: int
    maxsize: int | None
    currsize: int


@dataclass(frozen=True)
class CacheStats:
    """A snapshot of one cache; ``now - then`` gives the figures of the time between.

    hits: calls answered without running the function. misses: calls that ran it, also when it raised.
    errors: runs that raised. stored: values that went in. rejected: values that did not fit.
    evicted: values dropped to make room. load_s: seconds spent in the function, added over threads.
    currsize and currbytes (None where no size is measured) are what is held now, maxsize and maxbytes the limits
    (None: no limit); a difference keeps these four from the later snapshot.
    """

    hits: int
    misses: int
    errors: int
    stored: int
    rejected: int
    evicted: int
    currsize: int
    maxsize: int | None
    currbytes: int | None
    maxbytes: int | None
    load_s: float

    @property
    def hit_rate(self) -> float:
        """Hits per call, 0.0 before the first call."""
        calls = self.hits + self.misses
        return self.hits / calls if calls else 0.0

    def __sub__(self, then: CacheStats) -> CacheStats:
        if not isinstance(then, CacheStats):
            return NotImplemented
        moved = {name: getattr(self, name) - getattr(then, name) for name in _COUNTERS}
        return replace(self, **moved)


_COUNTERS = ("hits", "misses", "errors", "stored", "rejected", "evicted", "load_s")


class HitCounter:
    """Counts hits from any number of threads without a lock.

    ``tick`` is one step in C, so no two threads draw the same number. The numbers also order the hits in time,
    which is what an LRU policy wants to know.
    """

    def __init__(self) -> None:
        self.tick = itertools.count().__next__
        self._other = 0  # ticks drawn for anything but a hit; guarded by the cache's lock

    def stamp_locked(self) -> int:
        """A number in time order that is not counted as a hit."""
        self._other += 1
        return self.tick()

    def hits_locked(self) -> int:
        """How often ``tick`` was called by others since the start or the last reset."""
        self._other += 1
        return self.tick() + 1 - self._other

    def reset_locked(self) -> None:
        """Counts from zero again; the order of the numbers goes on."""
        hits = self.hits_locked()
        self._other += hits


def check_scope(scope: str) -> None:
    """Raises ValueError for anything but "process" and "all"."""
    if scope not in ("process", "all"):
        raise ValueError(f'scope must be "process" or "all", got {scope!r}')
