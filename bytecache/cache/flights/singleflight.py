"""One run per key: of simultaneous calls one runs the function, the others wait for its result.

The idea is that of Go's singleflight. Here the waiters go on even if the leader dies, and a wait that could never end
is refused.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from time import monotonic
from typing import Any

from ...stores.base import MISSING, Counters
from ...system.fork import at_fork
from ...system.threads import helpers_working_for, next_tick
from .patience import Patience

_NO_GENERATION = -1
_waiting_on: dict[int, Flight] = {}  # thread identifier -> the flight that it waits for


class Flight:
    """A run of the function for one key, led by the thread that made the flight, inside ``with flight.running:``.

    The lock is C's, so it is released whatever happens to the leader, and the waiters go on. By then the flight is
    done, with a value or an exception, or its leader was stopped by a KeyboardInterrupt, SystemExit or the like: then
    the waiters try again, and one of them leads.
    """

    __slots__ = ("_exception", "_value", "done", "generation", "leader", "running", "started", "warned")

    def __init__(self, generation: int) -> None:
        self.leader, self.started, self.generation = threading.get_ident(), next_tick(), generation
        self.running = threading.Lock()
        self.done = self.warned = False
        self._value: Any = None
        self._exception: Exception | None = None

    def may_wait(self) -> bool:
        """Whether another thread may wait for this flight."""
        return True

    def set_result(self, value: Any) -> None:
        """Note the value, which the waiters get once the lock is released."""
        self._value, self.done = value, True

    def set_exception(self, exc: BaseException) -> None:
        """Note what the run raised; anything but an Exception leaves the flight undone."""
        if isinstance(exc, Exception):
            self._exception, self.done = exc, True

    def result(self) -> Any:
        """Return the value of a flight that is done, or raise its exception."""
        try:
            if self._exception is not None:
                raise self._exception
            return self._value
        finally:
            del self  # the exception's traceback keeps this frame alive

    def wait(self, patience: Patience, args: tuple[Any, ...], kwds: dict[str, Any]) -> None:
        """Wait until the leader has released the lock; one of those that wait long warns, once.

        Raise RecursionError if this thread leads the flight itself, or if its leader cannot go on before this thread
        does, through whatever other waits: a function that calls itself in a circle would stand still.
        """
        me = threading.get_ident()
        try:
            _waiting_on[me] = self  # first: of threads that close a circle at the same time at least one sees it
            if me in _blockers(self):
                raise RecursionError("a cached function calls itself, directly or in a circle, with the same arguments")
            started, passed = monotonic(), False
            try:
                while not passed:
                    passed = self.running.acquire(timeout=patience.seconds)
                    if not passed and self.done:  # an interrupt struck a waiter that had just got the lock
                        return
                    waited_s = monotonic() - started
                    if not (passed or self.warned) and waited_s >= patience.seconds:
                        self.warned = True
                        patience.warn(self.leader, waited_s, args, kwds)
            finally:
                if passed:
                    self.running.release()
        finally:
            _waiting_on.pop(me, None)
            del self, args, kwds  # the traceback keeps this frame alive


class SingleFlight:
    """The flights of one cached function; safe for threads.

    A flight is put into the dict by one step in C, and taken out by its leader: that needs no lock, under which a key's
    ``__eq__`` would run. lock: the partition's. patience: of the calls that wait. flight: the kind of flights.
    reentrant: whether a function may call itself with its own key, as functools lets it.
    """

    def __init__(self, lock: Any, patience: Patience, flight: type[Flight] = Flight, reentrant: bool = False) -> None:
        self._lock, self._patience, self._new_flight, self._reentrant = lock, patience, flight, reentrant
        self._flights: dict[tuple[int, Hashable], Flight] = {}  # by generation and key

    def run(
        self,
        key: Hashable,
        generation: int,
        counters: Counters,
        lead: Callable[..., Any],
        args: tuple[Any, ...],
        kwds: dict[str, Any],
    ) -> Any:
        """Return the result of ``lead(flight, key, counters, args, kwds)``, called here or in a simultaneous call.

        That is a call of the same key and generation. A call that does not lead counts as a hit, even if it raises.
        """
        flight = other = self._new_flight(generation)
        slot = generation, key
        with flight.running:
            try:
                other = self._flights.setdefault(slot, flight)
                value = MISSING if other is flight else self._join(slot, flight, counters, args, kwds)
                if value is MISSING:
                    try:
                        value = lead(flight, key, counters, args, kwds)
                    except BaseException as exc:
                        flight.set_exception(exc)
                        raise
                    flight.set_result(value)
                return value
            finally:
                if self._flights.get(slot) is flight:
                    self._flights.pop(slot, None)
                del flight, other  # its exception's traceback keeps this frame alive: no cycle for the collector

    def new(self, generation: int) -> Flight:
        """Return a flight that this thread is to lead."""
        return self._new_flight(generation)

    def claim(self, key: Hashable, generation: int, flight: Flight) -> bool:
        """Return whether `flight`, whose lock this thread has, is now the one of the key; then give it up in the end.

        It is not if another call is reading the key.
        """
        return self._flights.setdefault((generation, key), flight) is flight

    def give_up(self, generation: int, flights: dict[Hashable, Flight]) -> None:
        """Take out flights that were claimed, by key, and empty the dict; it may be called again after an interrupt.

        Those that wait for them go on once their locks are released.
        """
        while flights:
            key = next(iter(flights))
            slot = generation, key
            if self._flights.get(slot) is flights[key]:
                self._flights.pop(slot, None)
            flights.pop(key, None)

    def _join(
        self,
        slot: tuple[int, Hashable],
        mine: Flight,
        counters: Counters,
        args: tuple[Any, ...],
        kwds: dict[str, Any],
    ) -> Any:
        """Return what another call's flight brought, or MISSING if this thread is to lead."""
        # A signal handler may call in while this thread has the lock: it must not wait for others then, who may need
        # the lock to store their values.
        inside = self._lock._is_owned()
        while True:
            flight = self._flights.setdefault(slot, mine)
            if flight is mine or inside or (self._reentrant and flight.leader == mine.leader):
                return MISSING
            if not flight.running.locked():  # it has landed, or an interrupt struck its leader in the very act
                with self._lock:
                    if slot in self._flights and self._flights[slot] is flight:
                        del self._flights[slot]
                if not flight.done:
                    continue
            elif not flight.may_wait():
                return MISSING
            answered = True  # by a value or an exception, also one that strikes while it waits: a hit
            try:
                flight.wait(self._patience, args, kwds)
                answered = flight.done
                if answered:
                    return flight.result()
            finally:
                if answered:
                    counters.hit()
                del flight

    def drop(self, key: Hashable, generation: int) -> None:
        """Drop the flight of a key: nobody joins it any more, and what it reads is of no generation."""
        flight = self._flights.pop((generation, key), None)
        if flight is not None:
            flight.generation = _NO_GENERATION

    def drop_before(self, generation: int) -> None:
        """Drop the flights of other generations: nobody joins them any more, and they may keep a value alive."""
        for slot in list(self._flights):
            if slot[0] != generation:
                self._flights.pop(slot, None)

    def after_fork_in_child(self, lock: Any) -> None:
        """Drop the flights of other threads, which are not here: nobody may wait for them. lock: the partition's."""
        self._lock, me = lock, threading.get_ident()
        self._flights = {slot: flight for slot, flight in self._flights.items() if flight.leader == me}


def run_alone(
    key: Hashable,
    generation: int,
    counters: Counters,
    lead: Callable[..., Any],
    args: tuple[Any, ...],
    kwds: dict[str, Any],
) -> Any:
    """Return the result of ``lead(flight, key, counters, args, kwds)``, whatever other calls do."""
    return lead(Flight(generation), key, counters, args, kwds)


def _blockers(flight: Flight) -> Iterator[int]:
    """Yield the threads that must go on before `flight` can land: its leader, and whomever that one waits for.

    Helpers that were called up before a flight started do not block it: it is one of the items they work on.
    """
    seen: set[tuple[int, int]] = set()
    pending = _leader_of(flight)
    while pending:
        thread, since = one = pending.pop()
        if one not in seen:
            seen.add(one)
            yield thread
            pending += _leader_of(_waiting_on.get(thread))
            pending += [(helper, since) for helper in helpers_working_for(thread, since)]


def _leader_of(flight: Flight | None) -> list[tuple[int, int]]:
    # A thread that was just woken is still in _waiting_on, with a flight that blocks nobody any more.
    if flight is None or flight.done or not flight.running.locked():
        return []
    return [(flight.leader, flight.started)]


def _reset_after_fork() -> None:
    _waiting_on.clear()


at_fork("waits", after_in_child=_reset_after_fork)
