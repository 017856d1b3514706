"""One run per key: of simultaneous calls one runs the function, the others wait for what it brings.

The idea is Go's singleflight; here the waiters are freed also when the leader dies, and a wait that could never end
is refused.
"""

from __future__ import annotations

import os
import threading
from typing import Any

_lock = threading.Lock()  # guards _waits
_waits: dict[int, Flight] = {}  # thread identifier -> the flight it waits for


class Flight:
    """A run of the function for one key, led by the thread that made the flight.

    It lands with a value or an exception, or is abandoned (``landed`` alone is set) when its leader dies of a
    KeyboardInterrupt, SystemExit or the like: then the waiters try again, and one of them leads.
    """

    __slots__ = ("_airborne", "_exception", "_value", "ended", "landed", "leader")

    def __init__(self) -> None:
        self.leader = threading.get_ident()
        self.landed = False
        self._airborne = threading.Lock()  # held until the flight has landed
        self._airborne.acquire()
        self.ended = False  # with a value or an exception, not abandoned
        self._value: Any = None
        self._exception: Exception | None = None

    def arrive(self, value: Any) -> None:
        """Notes the value, which the waiters get once the flight has landed."""
        self._value, self.ended = value, True

    def fail(self, exc: BaseException) -> None:
        """Notes what the run raised; anything but an Exception abandons the flight."""
        if isinstance(exc, Exception):
            self._exception, self.ended = exc, True

    def land(self) -> None:
        """Frees the waiters."""
        self.landed = True
        self._airborne.release()

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

        Raises RecursionError where this thread leads the flight itself, or its leader waits for this thread, through
        whatever other flights: a function that calls itself in a circle would stand still.
        """
        me = threading.get_ident()
        with _lock:
            if self._waits_for(me):
                raise RecursionError("a cached function calls itself, directly or in a circle, with the same arguments")
            _waits[me] = self
        try:
            with self._airborne:
                pass
        finally:
            with _lock:
                _waits.pop(me, None)

    def _waits_for(self, thread: int) -> bool:
        flight: Flight | None = self
        # A thread that was just woken still stands in _waits, beside a flight that has landed: no wait any more.
        while flight is not None and not flight.landed:
            if flight.leader == thread:
                return True
            flight = _waits.get(flight.leader)
        return False


def _forget_waits() -> None:
    global _lock
    _lock = threading.Lock()
    _waits.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_waits)
