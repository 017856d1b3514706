"""Turns between processes: of those that miss a key one runs the function, and no two wait for each other for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeVar

from ..stores.shared.locks import ByteLocks
from ..system.threads import caller_of, next_tick
from .singleflight import Flight

T = TypeVar("T")
# When each thread began the calls that it is in the midst of, and that other processes may be waiting for.
_leading: dict[int, list[int]] = {}


class Course:
    """What the leader of a flight may wait for; guarded by its cache's lock.

    abroad: it waits for another process. urgent: it must not, since another process may wait for a thread that waits
    for this flight.
    """

    __slots__ = ("abroad", "urgent")

    def __init__(self) -> None:
        self.abroad = self.urgent = False


class SharedFlight(Flight):
    """A run of the function that other processes may be waiting for."""

    __slots__ = ("course",)

    def __init__(self) -> None:
        super().__init__()
        self.course = Course()


def may_wait_locked(course: Course) -> bool:
    """Whether this thread may wait for another one's flight.

    Not where other processes may wait for this thread, and the flight for other processes: that may be a circle.
    """
    if not is_waited_for(threading.get_ident()):
        return True
    course.urgent = True
    return not course.abroad


def take_turn(
    locks: ByteLocks, byte: int, course: Course, guard: AbstractContextManager[object], work: Callable[[], T]
) -> T:
    """``work()``, while no other process is at work for the same key, which `byte` stands for.

    A call from inside of such a call does not wait, since two that wait for each other would do so for ever; it may do
    what another process does too. guard: the lock of the course.
    """
    thread, began = threading.get_ident(), next_tick()
    leading = _leading.setdefault(thread, [])
    with guard:
        course.abroad = not course.urgent and not is_waited_for(thread)
    try:
        locks.acquire(byte, wait=course.abroad)
        course.abroad = False
        leading.append(began)
        return work()
    finally:
        try:
            locks.release(byte)
        except BaseException:  # an interrupt, before it was done
            locks.release(byte)
            raise
        finally:
            if began in leading:
                leading.remove(began)


def is_waited_for(thread: int) -> bool:
    """Whether a call that other processes may wait for cannot end before this thread goes on.

    It is this thread's, or of a thread that it helps, directly or through others, begun before it called for help.
    """
    since = next_tick()
    while True:
        if any(began < since for began in _leading.get(thread, ())):
            return True
        call = caller_of(thread)
        if call is None:
            return False
        thread, since = call[0], min(since, call[1])


def forget_other_threads() -> None:
    """In a forked child: no other thread is here."""
    me = threading.get_ident()
    for thread in [one for one in _leading if one != me]:
        del _leading[thread]
