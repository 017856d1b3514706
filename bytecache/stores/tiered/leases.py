"""One lease over the leases of several tiers, and one lock over the locks of several partitions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..base import Lease, Partition


class TieredLease(Lease):
    """The leases of one key, taken from the fastest store to the widest.

    So of the processes of a machine one asks the store that machines share, and the others wait for it where waiting
    costs nothing and a holder that dies is noticed at once. All take them in this order, so no two wait for each other.
    """

    def __init__(self, leases: Sequence[Lease]) -> None:
        self._leases = leases

    def acquire(self, *, wait: bool) -> bool | None:
        """Acquire all that are of use; if one is taken and `wait` is false, none."""
        acquired = None
        for lease in self._leases:
            got = lease.acquire(wait=wait)
            if got is False:
                self.release()
                return False
            acquired = acquired or got
        return acquired

    def release(self) -> None:
        """Release all, those of the widest store first."""
        for lease in reversed(self._leases):
            lease.release()


def joined(leases: Sequence[Lease | None]) -> Lease | None:
    """Return one lease for those of several tiers; None if none of them is of use."""
    useful = [lease for lease in leases if lease is not None]
    return TieredLease(useful) if len(useful) > 1 else useful[0] if useful else None


class Locks:
    """The locks of several partitions as one, which a thread has if it has any of them; re-entrant as they are."""

    def __init__(self, partitions: Sequence[Partition]) -> None:
        self._locks: list[Any] = [partition.lock for partition in partitions]

    def acquire(self) -> bool:
        """Take all locks, in order."""
        for lock in self._locks:
            lock.acquire()
        return True

    def release(self) -> None:
        """Release those that this thread has."""
        for lock in reversed(self._locks):
            if lock._is_owned():
                lock.release()

    def _is_owned(self) -> bool:
        return any(lock._is_owned() for lock in self._locks)

    def __enter__(self) -> Locks:
        self.acquire()
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()
