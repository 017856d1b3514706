"""The miss path, the same for every store: single flight, lease, second look-up, function, store, counters."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

from ..stores.base import MISSING, Counters, Partition
from ..system.fork import at_fork
from .advice import Advice
from .batched_function import SingleCall
from .flights.flight import Flight
from .flights.leased_flight import LeasedFlight, run_with_lease
from .flights.patience import Patience
from .flights.singleflight import SingleFlight, run_alone
from .stats import CacheInfo, CacheStats, ServerStats, check_scope, tier_stats


class ReadThrough:
    """The cache of one function: its partition, with values and counters, and its flights.

    once: whether of simultaneous calls of a key one runs the function for the others; else each runs it. ``run`` is
    SingleFlight.run, or what does the same without waiting. batched: whether the function takes a list of keys; then
    ``function`` is one for a single key. Safe for threads, processes and forks as far as the partition is.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        partition: Partition,
        *,
        once: bool = True,
        reentrant: bool = False,
        batched: bool = False,
    ) -> None:
        self.function = SingleCall(function) if batched else function
        self.batched = function if batched else None
        self.partition, self.once, self.leased = partition, once, once and partition.has_leases
        flight = LeasedFlight if self.leased else Flight
        self.flights = SingleFlight(partition.lock, Patience(function, not reentrant), flight, reentrant)
        self.run = self.flights.run if once else run_alone
        self.advice = Advice(function, partition)
        # Of who has parts of the partition: a fork may come while another thread clears that.
        self.follow_after_fork: Callable[[], Callable[[], None] | None] = _nobody
        _registry[id(self)] = self

    def miss(self, key: Any, args: tuple[Any, ...], kwds: dict[str, Any]) -> Any:
        """Answer a call whose key was not found a moment ago."""
        partition, lead = self.partition, self._lead if self.leased else self.load
        return self.run(key, partition.generation, partition.counters, lead, args, kwds)

    def _lead(
        self, flight: LeasedFlight, key: Any, counters: Counters, args: tuple[Any, ...], kwds: dict[str, Any]
    ) -> Any:
        """Answer a call while no other process works for its key."""
        lease = self.partition.lease(key, flight.generation)
        work = partial(self.load, flight, key, counters, args, kwds)
        try:
            return work() if lease is None else run_with_lease(lease, flight, work)
        finally:
            del flight, work  # its exception's traceback keeps this frame alive: no cycle for the collector

    def load(self, flight: Flight, key: Any, counters: Counters, args: tuple[Any, ...], kwds: dict[str, Any]) -> Any:
        """Answer a call that no other one answers: look again, or run the function and store its value."""
        partition, generation = self.partition, flight.generation
        try:
            value = partition.get(key)
            if value is not MISSING:  # stored between the caller's look-up and this flight
                return value
            counters.miss()
            ended, error, started = 0.0, True, perf_counter()
            try:
                value = self.function(*args, **kwds)
                ended, error = perf_counter(), False
                value, stored = partition.put(key, value, flight.generation)
                if stored and flight.generation != generation:  # it was discarded after put had looked
                    partition.discard(key)
            except Exception:  # a value that cannot be stored is an error too; an interrupt in put is not
                error = True
                raise
            finally:
                counters.load((ended or perf_counter()) - started, error)
        finally:
            del flight  # its exception's traceback keeps this frame alive
        self.advice.look(key, args, kwds)
        return value

    def info(self, scope: str = "process") -> CacheInfo:
        """Return hits, misses, maxsize and currsize, as in functools; exact once the calls that it counts have ended.

        scope: "process" for the calls of this process, "all" for those of all that share the values.
        """
        stats = self.stats(scope)
        return CacheInfo(stats.hits, stats.misses, stats.maxsize, stats.currsize)

    def stats(self, scope: str = "process") -> CacheStats:
        """Return all counters since the last clear, see CacheStats; scope as for :meth:`info`."""
        check_scope(scope)
        counts, currsize, currbytes = self.partition.snapshot(scope)
        return CacheStats(
            **counts._asdict(),
            currsize=currsize,
            maxsize=self.partition.maxsize,
            currbytes=currbytes,
            maxbytes=self.partition.maxbytes,
            warnings=len(self.advice.told),
            tiers=tuple(tier_stats(*tier) for tier in self.partition.tiers(scope)),
            servers=tuple(ServerStats(*server) for server in self.partition.servers().items()),
        )

    def clear(self) -> None:
        """Empty the cache and set its counters to zero.

        What fill_once is reading meanwhile is not stored, since it may be what the clear was to get rid of;
        lru_cache stores it, as functools does.
        """
        self.partition.clear()
        self.flights.drop_before(self.partition.generation)

    def discard(self, key: Any) -> bool:
        """Remove the value of a key, and return whether there was one.

        What a flight of this process is reading for the key is not stored, as after a clear.
        """
        self.flights.drop(key, self.partition.generation)
        return self.partition.discard(key)


_registry: weakref.WeakValueDictionary[int, ReadThrough] = weakref.WeakValueDictionary()  # by id
_locked_for_fork: list[Any] = []  # the locks that the forking thread has


def _caches() -> list[ReadThrough]:
    found = [reference() for reference in _registry.valuerefs()]
    return [cache for cache in found if cache is not None]


def _before_fork() -> None:
    # With its lock nobody is half way through a change while the memory is copied.
    for cache in _caches():
        if cache.partition.locked_before_fork:
            _locked_for_fork.append(cache.partition.lock)  # first: an interrupt in between leaves no lock behind
            cache.partition.lock.acquire()


def _after_fork_in_parent() -> None:
    while _locked_for_fork:
        lock = _locked_for_fork.pop()
        if lock._is_owned():
            lock.release()


def _nobody() -> None:
    """Stand for a reference to a method that is gone."""


def _after_fork_in_child() -> None:
    _after_fork_in_parent()
    for cache in _caches():
        cache.partition.after_fork_in_child()
        cache.flights.after_fork_in_child(cache.partition.lock)
        cache.advice.after_fork_in_child()
        follow = cache.follow_after_fork()
        if follow is not None:
            follow()


at_fork("caches", before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
