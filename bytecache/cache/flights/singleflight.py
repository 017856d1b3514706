"""One run per key: of simultaneous calls one runs the function, the others wait for its result.

The idea is that of Go's singleflight. Here the waiters go on even if the leader dies, and a wait that could never end
is refused.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any

from ...stores.base import MISSING, Counters
from .flight import NO_GENERATION, Flight
from .patience import Patience


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

    def claim(self, key: Hashable, generation: int, flight: Flight) -> Flight:
        """Return the flight of the key: `flight`, if no other call is reading it, to be given up in the end."""
        return self._flights.setdefault((generation, key), flight)

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
            try:
                value = self._follow(flight, counters, args, kwds)
                if value is not MISSING:
                    return value
            finally:
                del flight

    def follow(self, flight: Flight, counters: Counters, args: tuple[Any, ...], kwds: dict[str, Any]) -> Any:
        """Return what another call's flight brings; MISSING if it brings nothing, or this thread must not wait."""
        mine = self._reentrant and flight.leader == threading.get_ident()
        try:
            if self._lock._is_owned() or mine or not (flight.done or flight.may_wait()):
                return MISSING
            return self._follow(flight, counters, args, kwds)
        finally:
            del flight

    def _follow(self, flight: Flight, counters: Counters, args: tuple[Any, ...], kwds: dict[str, Any]) -> Any:
        answered = True  # by a value or an exception, also one that strikes while it waits: a hit
        try:
            flight.wait(self._patience, args, kwds)
            answered = flight.done
            return flight.result() if answered else MISSING
        finally:
            if answered:
                counters.hit()
            del flight

    def drop(self, key: Hashable, generation: int) -> None:
        """Drop the flight of a key: nobody joins it any more, and what it reads is of no generation."""
        flight = self._flights.pop((generation, key), None)
        if flight is not None:
            flight.generation = NO_GENERATION

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
