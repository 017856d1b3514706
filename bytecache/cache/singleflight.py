"""One run per key: of simultaneous calls one runs the function, the others wait for what it brings.

The idea is Go's singleflight; here the waiters are freed also when the leader dies, and a wait that could never end
is refused.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, TypeVar

from ..system.fork import at_fork
from ..system.threads import helpers_working_for, next_tick

K = TypeVar("K")
F = TypeVar("F", bound="Flight")
_lock = threading.RLock()  # guards _waits; re-entrant, for a signal handler that calls a cached function
_waits: dict[int, Flight] = {}  # thread identifier -> the flight it waits for


class Flight:
    """A run of the function for one key, led by the thread that made the flight, inside ``with flight.airborne:``.

    The lock is C's, so it is released whatever strikes the leader, and its waiters go on. Then the flight has ended
    with a value or an exception, or was abandoned by a KeyboardInterrupt, SystemExit or the like: the waiters try
    again, and one of them leads.
    """

    __slots__ = ("_exception", "_value", "airborne", "began", "ended", "leader")

    def __init__(self) -> None:
        self.leader, self.began = threading.get_ident(), next_tick()
        self.airborne = threading.Lock()
        self.ended = False
        self._value: Any = None
        self._exception: Exception | None = None

    def arrive(self, value: Any) -> None:
        """Notes the value, which the waiters get once the flight has landed."""
        self._value, self.ended = value, True

    def fail(self, exc: BaseException) -> None:
        """Notes what the run raised; anything but an Exception abandons the flight."""
        if isinstance(exc, Exception):
            self._exception, self.ended = exc, True

    def result(self) -> Any:
        """The value of a flight that ended; raises its exception."""
        try:
            if self._exception is not None:
                raise self._exception
            return self._value
        finally:
            del self  # the exception's traceback holds this frame

    def wait(self) -> None:
        """Waits until the flight has landed.

        Raises RecursionError where this thread leads the flight itself, or its leader cannot go on before this
        thread does, through whatever other waits: a function that calls itself in a circle would stand still.
        """
        me = threading.get_ident()
        try:
            with _lock:
                if me in _held_up_by(self):
                    raise RecursionError(
                        "a cached function calls itself, directly or in a circle, with the same arguments"
                    )
                _waits[me] = self
            with self.airborne:
                pass
        finally:
            with _lock:
                _waits.pop(me, None)
            del self  # the traceback holds this frame


def board(flights: dict[K, F], key: K, mine: F) -> F:
    """The flight for a key: one that is under way, else `mine`. Under the lock of the cache whose flights they are."""
    flight = flights.setdefault(key, mine)
    if not flight.airborne.locked():  # an interrupt struck its leader in the very act of landing
        flight = flights[key] = mine
    return flight


def led_by_this_thread(flights: dict[K, F]) -> dict[K, F]:
    """What is left of them in a forked child: nobody may wait for threads that are not here."""
    me = threading.get_ident()
    return {key: flight for key, flight in flights.items() if flight.leader == me}


def _held_up_by(flight: Flight) -> Iterator[int]:
    """The threads that have to go on before `flight` can land: its leader, and whomever that one waits for.

    Helpers that were called up before a flight began do not hold it up: it is one of the items they share.
    """
    seen: set[tuple[int, int]] = set()
    pending = _leaders(flight)
    while pending:
        thread, since = one = pending.pop()
        if one not in seen:
            seen.add(one)
            yield thread
            pending += _leaders(_waits.get(thread)) + [(helper, since) for helper in helpers_working_for(thread, since)]


def _leaders(flight: Flight | None) -> list[tuple[int, int]]:
    # A thread that was just woken still stands in _waits, beside a flight that holds up nobody any more.
    if flight is None or flight.ended or not flight.airborne.locked():
        return []
    return [(flight.leader, flight.began)]


def _forget_waits() -> None:
    global _lock
    _lock = threading.RLock()
    _waits.clear()


at_fork("waits", after_in_child=_forget_waits)
