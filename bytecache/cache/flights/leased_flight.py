"""One run per key among processes: of those that miss a key one runs the function, without deadlock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

from ...stores.base import Lease
from ...stores.structures import copy_containers
from ...system.fork import at_fork
from ...system.threads import caller_of, next_tick
from .flight import Flight

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
# When each thread started the calls that it is running, and that other processes may be waiting for.
_leases_of_thread: dict[int, list[int]] = {}


class LeasedFlight(Flight):
    """A run of the function that other processes may be waiting for.

    waits_for_process: whether its leader is waiting for another process. must_not_wait: whether it must not, since
    another process may wait for a thread that waits for this flight. Each side writes its own before it reads the
    other's, so at least one of the two sees the other.

    As from the store, each caller gets containers of its own.
    """

    __slots__ = ("must_not_wait", "waits_for_process")

    def __init__(self, generation: int) -> None:
        super().__init__(generation)
        self.must_not_wait = self.waits_for_process = False

    def may_wait(self) -> bool:
        """Whether this thread may wait for the flight.

        Not if other processes may be waiting for this thread, and the flight for other processes: that may be a circle.
        """
        if not _is_awaited_by_process(threading.get_ident()):
            return True
        self.must_not_wait = True
        return not self.waits_for_process

    def set_result(self, value: Any) -> None:
        super().set_result(copy_containers(value))

    def result(self) -> Any:
        try:
            return copy_containers(super().result())
        finally:
            del self  # the exception's traceback keeps this frame alive


def run_with_lease(lease: Lease, flight: LeasedFlight, work: Callable[[], T]) -> T:
    """Return ``work()``, run while no other process works for the same key.

    A nested call does not wait, because two processes could then wait for each other forever; it may repeat another
    process's work.
    """
    thread, started = threading.get_ident(), next_tick()
    leases = _leases_of_thread.setdefault(thread, [])
    flight.waits_for_process = not _is_awaited_by_process(thread)
    if flight.must_not_wait:
        flight.waits_for_process = False
    try:
        lease.acquire(wait=flight.waits_for_process)
        flight.waits_for_process = False
        leases.append(started)
        return work()
    finally:
        try:
            lease.release()
        except BaseException:  # an interrupt, before it was done
            lease.release()
            raise
        finally:
            if started in leases:
                leases.remove(started)
            del flight, work  # its exception's traceback keeps this frame alive


def run_with_free_leases(leases: Mapping[K, Lease], work: Callable[[set[K]], T]) -> T:
    """Return ``work(taken)``, run while no other process works for the keys, but for those that it had taken before.

    It waits for none: another process may wait for one of these keys while it has one that this thread wants.
    """
    thread, started, held = threading.get_ident(), next_tick(), list[Lease]()
    awaited, taken = _leases_of_thread.setdefault(thread, []), set[K]()
    try:
        awaited.append(started)
        for key, lease in leases.items():
            held.append(lease)  # first: an interrupt may come
            acquired = lease.acquire(wait=False)
            if not acquired:
                held.pop()  # before its flight is given up: the next leader of this process has the same lock
            if acquired is False:
                taken.add(key)
        return work(taken)
    finally:
        try:
            for lease in held:
                lease.release()
        except BaseException:  # an interrupt, before it was done
            for lease in held:
                lease.release()
            raise
        finally:
            if started in awaited:
                awaited.remove(started)
            del work  # its exception's traceback keeps this frame alive


def _is_awaited_by_process(thread: int) -> bool:
    """Whether a call that other processes may wait for cannot end before this thread goes on.

    The call is this thread's, or that of a thread it helps, directly or through others, and it started before that
    thread called for help.
    """
    since = next_tick()
    while True:
        if any(started < since for started in _leases_of_thread.get(thread, ())):
            return True
        caller = caller_of(thread)
        if caller is None:
            return False
        thread, since = caller[0], min(since, caller[1])


def _reset_after_fork() -> None:
    me = threading.get_ident()
    for thread in [one for one in _leases_of_thread if one != me]:
        del _leases_of_thread[thread]


at_fork("leases", after_in_child=_reset_after_fork)
