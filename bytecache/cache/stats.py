"""What a cache counted: the four fields of functools, and the rest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from ..stores.base import Counts


class CacheInfo(NamedTuple):
    """The four fields of ``functools.lru_cache``'s ``cache_info()``."""

    hits: int
    misses: int
    maxsize: int | None
    currsize: int


@dataclass(frozen=True)
class StageStats:
    """One stage of a staged cache.

    runs: how often it ran, also if it raised, and errors how often it did. hits: calls that went on from its value, or
    returned it. cpu_s, wait_s: what its runs took in this process, whatever the scope: seconds of CPU time, and of wall
    time without it, summed over threads. currsize, currbytes: the values that are kept after it.
    """

    name: str
    runs: int
    hits: int
    errors: int
    cpu_s: float
    wait_s: float
    currsize: int
    currbytes: int | None


@dataclass(frozen=True)
class CacheStats:
    """A snapshot of one cache; ``now - then`` gives what was counted between two snapshots.

    If the counters were set to zero in between, by a clear or because a shared store's files were removed, the
    difference is what was counted since then.

    hits: calls answered without running the function. misses: calls that ran it, also if it raised. errors: runs that
    raised. stored: values that were stored. rejected: values that did not fit. evicted: values removed to make room,
    discarded, replaced by a newer version, or gone with their instance. load_s: seconds spent in the function, summed
    over threads. currsize and currbytes (None if sizes are not measured) are what is stored now, maxsize and maxbytes
    the limits (None: no limit), warnings how many reasons this process was told why the cache does not help; a
    difference keeps these five from the later snapshot. stages: of a staged cache, each stage; a difference has the
    difference of what was counted.
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
    warnings: int = 0
    stages: tuple[StageStats, ...] = ()

    @property
    def hit_rate(self) -> float:
        """Hits per call, 0.0 before the first call."""
        calls = self.hits + self.misses
        return self.hits / calls if calls else 0.0

    def __sub__(self, then: CacheStats) -> CacheStats:
        if not isinstance(then, CacheStats):
            return NotImplemented
        counted = {name: getattr(self, name) - getattr(then, name) for name in Counts._fields}
        if min(counted.values()) < 0:
            return self
        stages = tuple(map(_since, self.stages, then.stages)) if len(self.stages) == len(then.stages) else self.stages
        return replace(self, stages=stages, **counted)


def _since(now: StageStats, then: StageStats) -> StageStats:
    counted = {name: getattr(now, name) - getattr(then, name) for name in ("runs", "hits", "errors", "cpu_s", "wait_s")}
    return replace(now, **counted)


def check_scope(scope: str) -> None:
    """Raise ValueError for anything but "process" and "all"."""
    if scope not in ("process", "all"):
        raise ValueError(f'scope must be "process" or "all", got {scope!r}')
