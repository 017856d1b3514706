"""The paths of a call through a shared store: a hit, and a miss that one process of the machine runs for all."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter_ns
from typing import Any

from ..stores.codec import BYTES, Encoded, encode
from ..stores.memory import MISSING
from ..stores.shared import counters as tally
from ..stores.shared.handle import Bound
from ..stores.shared.header import GENERATION
from ..stores.shared.locks import ByteLocks, byte_of
from ..stores.shared.store import SharedStore
from .key_lease import Course, SharedFlight, forget_other_threads, may_wait_locked, take_turn
from .singleflight import board, led_by_this_thread
from .stats import CacheInfo, CacheStats, check_scope


class SharedCache:
    """What stands behind a function whose values are in a shared store.

    Safe for threads and processes. Of simultaneous calls with one key, on all threads of all processes, one runs the
    function: within the process by a flight, between processes by a lock that the kernel releases when its holder dies.
    """

    def __init__(
        self, function: Callable[..., Any], identity: tuple[bytes, str], store: SharedStore, maxsize: int | None
    ) -> None:
        self.function, self.store, self.maxsize, self._identity = function, store, maxsize, identity
        self._bound: Bound | None = None
        self._turns: ByteLocks | None = None  # this cache's own, so that two of one function take turns too
        self._start_anew()
        store.partitions.add(self)

    def _start_anew(self) -> None:
        # Guards the flights and this process's counts; re-entrant, for a signal handler that calls in.
        self._lock = threading.RLock()
        self._flights: dict[tuple[int, bytes], SharedFlight] = {}
        self._binding = threading.RLock()  # guards binding: all threads count in one row

    def unbind(self) -> None:
        """Has the next call look for the files anew."""
        self._bound, turns, self._turns = None, self._turns, None
        if turns is not None:
            turns.close()

    def _bind(self) -> Bound:
        bound = self._bound
        if bound is None or bound.stale():
            with self._binding:
                bound = self._bound
                if bound is None or bound.stale():
                    bound = self.store.bind(*self._identity)
                    if bound.section is not None and self._turns is None:
                        with suppress(OSError):  # without turns, where there are no descriptors left
                            self._turns = ByteLocks(bound.files.folder / "locks")
                    self._bound = bound
        return bound

    def find(self, digest: bytes, copy: bool = True) -> Any:
        """The value, counted as a hit, or MISSING."""
        bound = self._bound
        if bound is None or bound.words[bound.row + GENERATION] != bound.generation:  # stale(), here for speed
            bound = self._bind()
        value = MISSING if bound.section is None else bound.section.get(digest, copy)
        if value is not MISSING:
            with self._lock:
                bound.counts[tally.HITS] += 1
        return value

    def _count(self, bound: Bound, figure: int, by: int = 1) -> None:
        with self._lock:
            bound.counts[figure] += by

    def _still(self, bound: Bound) -> Bound:
        """What has taken a Bound's place where the store was closed meanwhile, as it is in a child that was forked."""
        if not bound.files.locks.closed:
            return bound
        now = self._bind()
        return now if now.generation == bound.generation else bound

    def miss(self, digest: bytes, args: tuple[Any, ...], kwds: dict[str, Any]) -> Any:
        """Answers a call whose key was not found a moment ago."""
        bound = self._bind()
        flight, key = SharedFlight(), (bound.generation, digest)
        with flight.airborne:
            try:
                value = self._join(bound, key, flight)
                if value is MISSING:
                    try:
                        value = self._lead(bound, flight.course, digest, args, kwds)
                    except BaseException as exc:
                        flight.fail(exc)
                        raise
                    flight.arrive(value)
                return value
            finally:
                with self._lock:
                    if self._flights.get(key) is flight:
                        del self._flights[key]
                del flight  # its exception holds this frame through the traceback: no cycle for the collector

    def _join(self, bound: Bound, key: tuple[int, bytes], mine: SharedFlight) -> Any:
        """What another thread's call brought, or MISSING when this thread is to lead."""
        inside = self._lock._is_owned()  # type: ignore[attr-defined]  # a signal handler: it must not wait
        while True:
            with self._lock:
                flight = board(self._flights, key, mine)
                if flight is mine or inside or not may_wait_locked(flight.course):
                    return MISSING
            try:
                flight.wait()
                if flight.ended:
                    value = flight.result()
                    self._count(bound, tally.HITS)
                    return value
            except BaseException:
                self._count(bound, tally.HITS)  # ended without running the function, like any other hit
                raise
            finally:
                del flight

    def _lead(self, bound: Bound, course: Course, digest: bytes, args: tuple[Any, ...], kwds: dict[str, Any]) -> Any:
        def answer() -> Any:
            value = self.find(digest)  # bytes as bytes, also where this call would take a view: others get it too
            return self._run(bound, digest, args, kwds) if value is MISSING else value

        turns = self._turns
        if turns is None or bound.section is None or self._full(bound):
            return answer()  # the value could not be stored, and so not be handed on
        return take_turn(turns, byte_of(digest, bound.generation), course, self._lock, answer)

    def _run(self, bound: Bound, digest: bytes, args: tuple[Any, ...], kwds: dict[str, Any]) -> Any:
        self._count(bound, tally.MISSES)
        started = perf_counter_ns()
        try:
            value = self.function(*args, **kwds)
            encoded = encode(value)
        except BaseException:
            self._count(self._still(bound), tally.ERRORS)
            raise
        finally:
            bound = self._still(bound)
            self._count(bound, tally.LOAD_NS, perf_counter_ns() - started)
        return self._keep(bound, digest, value, encoded)

    def _keep(self, bound: Bound, digest: bytes, value: Any, encoded: Encoded) -> Any:
        """The value in the form in which hits give it."""
        stored = bound.files.put(bound, digest, encoded, self.maxsize)
        if stored is not None:
            self._count(bound, tally.STORED if stored else tally.REJECTED)
        if encoded.kind == BYTES:
            return bytes(value)
        kept = MISSING if bound.section is None else bound.section.get(digest)
        if kept is not MISSING:
            return kept
        return value.toreadonly() if isinstance(value, memoryview) else value

    def holds(self, digest: bytes) -> bool:
        """Whether a value is stored under this key; not counted."""
        section = self._bind().section
        return section is not None and digest in section

    @property
    def full(self) -> bool:
        """Whether there is no room for one more value of the mean size."""
        return self._full(self._bind())

    def _full(self, bound: Bound) -> bool:
        if self.maxsize is not None and bound.section is not None and len(bound.section) >= self.maxsize:
            return True
        return bound.files.full(bound)

    def count_hit(self) -> None:
        """Counts a call that was answered by another one."""
        self._count(self._bind(), tally.HITS)

    def info(self, scope: str = "process") -> CacheInfo:
        """Hits, misses, maxsize and currsize, as in functools; hits and misses of this process, or of all ("all")."""
        stats = self.stats(scope)
        return CacheInfo(stats.hits, stats.misses, stats.maxsize, stats.currsize)

    def stats(self, scope: str = "process") -> CacheStats:
        """All figures since the function was cleared; see CacheStats.

        scope: "process" for what this process did, "all" for all that ever used the store. What is held is the same.
        """
        check_scope(scope)
        bound = self._bind()
        with self._lock:
            counts = list(bound.counts)
        if scope == "all":
            counts = bound.files.counter_totals(bound)
        return CacheStats(
            hits=counts[tally.HITS],
            misses=counts[tally.MISSES],
            errors=counts[tally.ERRORS],
            stored=counts[tally.STORED],
            rejected=counts[tally.REJECTED],
            evicted=0,
            currsize=0 if bound.section is None else len(bound.section),
            maxsize=self.maxsize,
            currbytes=0 if bound.section is None else bound.section.currbytes,
            maxbytes=self.store.maxbytes,
            load_s=counts[tally.LOAD_NS] / 1e9,
        )

    def clear(self) -> None:
        """Gives every process an empty cache, with its figures at zero, at its next call.

        What is being read meanwhile is not stored.
        """
        self.store.clear(self._identity[0])

    def forget_other_threads(self) -> None:
        """In a forked child: nobody may wait for threads that are not here, nor use what is shared with the parent."""
        if self._turns is not None:
            self._turns.close_in_child()
        self._bound = self._turns = None
        forget_other_threads()
        flights = led_by_this_thread(self._flights)
        self._start_anew()
        self._flights = flights
