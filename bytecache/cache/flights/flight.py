"""A run of the function for one key, and the threads that wait for it: a wait that could never end is refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from time import monotonic
from typing import Any

from ...system.fork import at_fork
from ...system.threads import helpers_working_for, next_tick
from .patience import Patience

NO_GENERATION = -1
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
