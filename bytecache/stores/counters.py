"""The counters of one function in this process's memory."""

from __future__ import annotations

import itertools
import threading

from .base import Counters, Counts


class MemoryCounters(Counters):
    """Counts hits and misses without a lock; the rest is guarded by the partition's.

    ``tick`` counts a hit in one step in C, so no two threads draw the same number. The numbers also order the hits in
    time, which is what an LRU policy needs. A partition increments ``stored``, ``rejected`` and ``evicted`` under its
    lock, with no call between a change and its count: an interrupt comes before or after both.
    """

    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self.tick, self._tick_miss = itertools.count().__next__, itertools.count().__next__
        self._not_hits = 0  # how many numbers were drawn for anything but a hit, less the hits counted by number
        self._not_misses = 0
        self._reset_locked()

    def _reset_locked(self) -> None:
        self._errors = self.stored = self.rejected = self.evicted = 0
        self._load_s = 0.0

    def hit(self, n: int = 1) -> None:
        with self._lock:
            self._not_hits -= n

    def stamp_locked(self) -> int:
        """Return a number in the order of time that does not count as a hit."""
        self._not_hits += 1
        return self.tick()

    def miss(self) -> None:
        self._tick_miss()

    def load(self, seconds: float, error: bool = False) -> None:
        with self._lock:
            self._errors += error
            self._load_s += seconds

    def snapshot(self, scope: str = "process") -> Counts:
        with self._lock:
            hits = self.stamp_locked() + 1 - self._not_hits
            self._not_misses += 1
            misses = self._tick_miss() + 1 - self._not_misses
            return Counts(hits, misses, self._errors, self.stored, self.rejected, self.evicted, self._load_s)

    def reset(self) -> None:
        """Set all counters to zero; the order of the numbers goes on."""
        with self._lock:
            counts = self.snapshot()  # first: it draws numbers itself
            self._not_hits += counts.hits
            self._not_misses += counts.misses
            self._reset_locked()
