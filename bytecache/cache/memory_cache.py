"""The miss path and the figures of one cached function: store, flights and counters under one lock."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Hashable
from time import perf_counter
from typing import Any

from ..stores.memory import MISSING, FillOnce, LeastRecentlyUsed
from ..stores.values import make_read_only
from ..system.byte_sizes import as_nbytes
from ..system.fork import at_fork
from .singleflight import Flight, board, led_by_this_thread
from .stats import CacheInfo, CacheStats, HitCounter, check_scope


class Cache:
    """What stands behind a cached function. The wrapper answers hits itself and counts them by ``hits.tick``.

    Safe for threads. After ``os.fork`` the child goes on with a copy of its own.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        maxsize: int | None,
        maxbytes: int | None,
        sizeof: Callable[[Any], int] | None,
        evicts: bool,
    ) -> None:
        self.function, self.evicts, self._sizeof = function, evicts, sizeof
        self.hits = HitCounter()
        self.store: FillOnce | LeastRecentlyUsed = (
            LeastRecentlyUsed(maxsize, maxbytes, self.hits.stamp_locked) if evicts else FillOnce(maxsize, maxbytes)
        )
        # Guards changes of the store, the flights and the counters. Re-entrant, because inserting a key may run a
        # user's __eq__, and that may call the cached function.
        self._lock = threading.RLock()
        self._flights: dict[Hashable, Flight] = {}
        self._zero_locked()
        with _registry_lock:
            _registry.add(self)

    def _zero_locked(self) -> None:
        self._misses = self._errors = self._stored = self._rejected = self._evicted = 0
        self._load_s = 0.0

    def miss(self, key: Hashable, args: tuple[Any, ...], kwds: dict[str, Any]) -> Any:
        """Answers a call whose key was not found a moment ago."""
        flight = Flight()
        with flight.airborne:
            try:
                value = self._join(key, flight)
                if value is MISSING:
                    started = perf_counter()
                    try:
                        value = self.function(*args, **kwds)
                        size = self._size(value)
                    except BaseException as exc:
                        self._note_run(started, error=True)
                        flight.fail(exc)
                        raise
                    self._note_run(started)
                    flight.arrive(value)
                    self._keep(key, flight, value, size)
                return value
            finally:
                with self._lock:
                    if self._flights.get(key) is flight:
                        del self._flights[key]
                del flight  # its exception holds this frame through the traceback: no cycle for the collector

    def _join(self, key: Hashable, mine: Flight) -> Any:
        """The value that another call brought, or MISSING when this thread is to run the function."""
        # A signal handler or a key's __eq__ may call in while this thread holds the lock: it must not wait for others
        # then, who may need the lock to land.
        inside = self._lock._is_owned()  # type: ignore[attr-defined]
        while True:
            with self._lock:
                value = self.store.get(key)
                if value is not MISSING:  # stored between the caller's look-up and this lock
                    self.hits.tick()
                    return value
                flight = board(self._flights, key, mine)
                # functools lets a function re-enter its own key, so lru_cache does
                if flight is mine or inside or (flight.leader == mine.leader and self.evicts):
                    self._misses += 1
                    return MISSING
            try:
                flight.wait()
                if flight.ended:
                    value = flight.result()
                    self.hits.tick()
                    return value
            except BaseException:
                self.hits.tick()  # ended without running the function, like any other hit
                raise
            finally:
                del flight

    def _size(self, value: Any) -> int:
        if self._sizeof is None:
            return 0
        size = self._sizeof(value)
        nbytes = as_nbytes(size)
        if nbytes is None:
            raise TypeError(f"sizeof must return an int of 0 bytes or more, got {size!r}")
        return nbytes

    def _note_run(self, started: float, *, error: bool = False) -> None:
        elapsed = perf_counter() - started
        with self._lock:
            self._errors += error
            self._load_s += elapsed

    def _keep(self, key: Hashable, flight: Flight, value: Any, size: int) -> None:
        evicted: list[Any] = []  # dropped after the lock: destructors are the user's code
        with self._lock:
            if self._flights.get(key) is not flight and not self.evicts:
                return  # cache_clear came between: what was read before it must not be found after it
            if self.store.get(key) is not MISSING:
                return  # a call inside this one stored it: functools keeps that, and stores after a clear too
            if not self.store.fits(size):
                self._rejected += 1
                return
            make_read_only(value)
            evicted = self.store.put(key, value, size)
            self._stored += 1
            self._evicted += evicted.__len__()  # builtins.len may be cached itself

    def run_uncached(self, *args: Any, **kwds: Any) -> Any:
        """A call of a cache of size zero: counted, never looked up, so its arguments need not be hashable."""
        with self._lock:
            self._misses += 1
        started = perf_counter()
        try:
            value = self.function(*args, **kwds)
        except BaseException:
            self._note_run(started, error=True)
            raise
        self._note_run(started)
        with self._lock:
            self._rejected += 1
        return value

    def holds(self, key: Hashable) -> bool:
        """Whether a value is stored under `key`; no use, and not counted."""
        return key in self.store.entries

    @property
    def full(self) -> bool:
        """Whether there is no room for one more entry of the mean size."""
        return self.store.full

    def count_hit(self) -> None:
        """Counts a call that was answered by another one."""
        self.hits.tick()

    def info(self, scope: str = "process") -> CacheInfo:
        """Hits, misses, maxsize and currsize, as in functools; exact once the calls that it counts have ended.

        scope: "process" or "all", which is the same here.
        """
        check_scope(scope)
        with self._lock:
            return CacheInfo(self.hits.hits_locked(), self._misses, self.store.maxsize, len(self.store))

    def stats(self, scope: str = "process") -> CacheStats:
        """All figures of this process's cache; see CacheStats. scope: "process" or "all", which is the same here."""
        check_scope(scope)
        with self._lock:
            return CacheStats(
                hits=self.hits.hits_locked(),
                misses=self._misses,
                errors=self._errors,
                stored=self._stored,
                rejected=self._rejected,
                evicted=self._evicted,
                currsize=len(self.store),
                maxsize=self.store.maxsize,
                currbytes=self.store.currbytes if self._sizeof else None,
                maxbytes=self.store.maxbytes,
                load_s=self._load_s,
            )

    def clear(self) -> None:
        """Empties the cache and sets its counters to zero.

        What fill_once is reading meanwhile is not stored, since it may be what the clear was to get rid of;
        lru_cache stores it, as functools does.
        """
        with self._lock:
            held = self.store.clear()
            self._flights.clear()
            self.hits.reset_locked()
            self._zero_locked()
        del held  # here, not under the lock: destructors are the user's code

    def hold_for_fork(self) -> None:
        """Takes the lock, so that nobody is half way through a change while the memory is copied."""
        self._lock.acquire()

    def release_after_fork(self) -> None:
        """Gives the lock back, in the parent and in the child."""
        self._lock.release()

    def forget_other_threads(self) -> None:
        """In a forked child: nobody may wait for threads that are not here."""
        self._flights = led_by_this_thread(self._flights)


_registry_lock = threading.Lock()  # guards _registry
_registry: weakref.WeakSet[Cache] = weakref.WeakSet()
_held: list[Cache] = []  # the caches whose locks the forking thread holds


def _before_fork() -> None:
    _registry_lock.acquire()
    for cache in list(_registry):
        cache.hold_for_fork()
        _held.append(cache)


def _after_fork() -> None:
    try:
        while _held:
            _held.pop().release_after_fork()
    finally:
        _registry_lock.release()


def _after_fork_in_child() -> None:
    for cache in _held:
        cache.forget_other_threads()
    _after_fork()


at_fork("caches", before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
