"""What a cache counted: the four fields of functools, and the rest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

from ..stores.base import Counts, Snapshot


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
class TierStats:
    """One of several stores behind a cached function, which are asked in order.

    name: of its class. hits: calls that it answered; of the first tier also those that another call did. misses: calls
    for which the next tier was asked, or the function run. stored, evicted: values that were stored in it, copies of
    what a lower tier has among them, and removed. rejected: values for which it had no room, also if another tier did.
    currsize, currbytes, maxbytes: what is in it now, and its limit. lookup_s: seconds of look-ups, if it is behind
    a network, summed over threads; else 0.0, since they take too little to be measured.
    """

    name: str
    hits: int
    misses: int
    stored: int
    rejected: int
    evicted: int
    currsize: int
    currbytes: int | None
    maxbytes: int | None
    lookup_s: float = 0.0

    @property
    def hit_rate(self) -> float:
        """Hits per call that came to this tier, 0.0 before the first one."""
        calls = self.hits + self.misses
        return self.hits / calls if calls else 0.0


@dataclass(frozen=True)
class ServerStats:
    """A server that values are on, or a node of a cluster. name: host and port, or the path of a socket.

    state: of this process's circuit breaker, whatever the scope: "closed" while the server answers, "open" while it is
    not asked, since it has failed three times in a row, "half-open" while one request finds out whether it is back.
    """

    name: str
    state: str


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
    difference keeps these five from the later snapshot. stages: of a staged cache, each stage; tiers: of several
    stores, each one, in the order in which they are asked; a difference has the difference of what was counted. Of
    several stores stored, currsize and currbytes are sums: a value that two of them have counts twice. servers: of a
    store behind a network, each server that this process has heard of, as it is now; a difference keeps the later ones.
    lookup_s: seconds spent in look-ups in such a store, summed over threads.
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
    tiers: tuple[TierStats, ...] = ()
    servers: tuple[ServerStats, ...] = ()
    lookup_s: float = 0.0

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
        stages = _all_since(self.stages, then.stages, ("runs", "hits", "errors", "cpu_s", "wait_s"))
        tiers = _all_since(self.tiers, then.tiers, _COUNTED_OF_TIER)
        return replace(self, stages=stages, tiers=tiers, **counted)


T = TypeVar("T", StageStats, TierStats)
_COUNTED_OF_TIER = ("hits", "misses", "stored", "rejected", "evicted", "lookup_s")


def _all_since(now: tuple[T, ...], then: tuple[T, ...], names: tuple[str, ...]) -> tuple[T, ...]:
    """Return each of the parts as it is now, but with what was counted since then under these names."""
    if len(now) != len(then):
        return now
    pairs = [
        (one, {name: getattr(one, name) - getattr(other, name) for name in names})
        for one, other in zip(now, then, strict=True)
    ]
    return tuple(replace(one, **counted) for one, counted in pairs)


def tier_stats(name: str, snapshot: Snapshot, maxbytes: int | None) -> TierStats:
    """Return what a partition tells of one of its tiers."""
    counts, currsize, currbytes = snapshot
    return TierStats(
        name=name,
        hits=counts.hits,
        misses=counts.misses,
        stored=counts.stored,
        rejected=counts.rejected,
        evicted=counts.evicted,
        currsize=currsize,
        currbytes=currbytes,
        maxbytes=maxbytes,
        lookup_s=counts.lookup_s,
    )


def check_scope(scope: str) -> None:
    """Raise ValueError for anything but "process" and "all"."""
    if scope not in ("process", "all"):
        raise ValueError(f'scope must be "process" or "all", got {scope!r}')
