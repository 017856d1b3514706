"""The numbers of one function in this process's memory: what was counted, and what is stored now."""

from __future__ import annotations

import itertools
import threading

from .base import Counters, Counts, Snapshot


class MemoryCounters(Counters):
    """Counts hits and misses without a lock; the rest is guarded by the partition's.

    ``tick`` counts a hit in one step in C, so no two threads draw the same number. The numbers also order the hits in
    time, which is what an LRU policy needs. A partition changes ``stored``, ``rejected``, ``evicted``, ``currsize`` and
    ``currbytes`` under its lock.

    Nothing is called and nothing is allocated under the lock, here and in the partitions. So the collector cannot start
    there, and run a user's destructor that waits for another thread, which waits for the lock; nor can a signal handler
    or an interrupt come between two changes. (A number is drawn by ``for``, which calls nothing in Python.)
    """

    def __init__(self, lock: threading.RLock) -> None:
        self.lock = lock
        self.numbers, self._miss_numbers = itertools.count(), itertools.count()
        self.tick, self._tick_miss = self.numbers.__next__, self._miss_numbers.__next__
        self.not_hits = 0  # how many numbers were drawn for anything but a hit, less the hits counted by number
        self._not_misses = 0
        self._errors = self.stored = self.rejected = self.evicted = self.currsize = self.currbytes = 0
        self._load_s = self._lookup_s = 0.0

    def hit(self, n: int = 1) -> None:
        with self.lock:
            self.not_hits -= n

    def miss(self, n: int = 1) -> None:
        if n == 1:
            self._tick_miss()
        else:
            with self.lock:
                self._not_misses -= n

    def reject(self, n: int = 1) -> None:
        with self.lock:
            self.rejected += n

    def load(self, seconds: float, errors: int = 0) -> None:
        with self.lock:
            self._errors += errors
            self._load_s += seconds

    def lookup(self, seconds: float) -> None:
        with self.lock:
            self._lookup_s += seconds

    def snapshot(self, scope: str = "process") -> Counts:
        return self.state().counts

    def state(self) -> Snapshot:
        """Return all numbers, of one moment."""
        with self.lock:
            self.not_hits += 1
            for hit in self.numbers:  # noqa: B007
                break
            self._not_misses += 1
            for miss in self._miss_numbers:  # noqa: B007
                break
            hits, misses = hit + 1 - self.not_hits, miss + 1 - self._not_misses
            errors, load_s, lookup_s = self._errors, self._load_s, self._lookup_s
            stored, rejected, evicted = self.stored, self.rejected, self.evicted
            currsize, currbytes = self.currsize, self.currbytes
        counts = Counts(hits, misses, errors, stored, rejected, evicted, load_s, lookup_s)
        return Snapshot(counts, currsize, currbytes)

    def reset(self) -> None:
        """Set all counters to zero."""
        zero = vars(MemoryCounters(self.lock))
        with self.lock:
            self.__dict__ = zero
