"""Partitions in this process's memory: one that never evicts, one that evicts the least recently used.

A plain look-up, ``partition.entries[key]``, needs no lock.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from ..system.byte_sizes import as_nbytes
from .base import MISSING, Partition, PutResult
from .counters import MemoryCounters
from .values import make_read_only

_len = len  # bound early: a user may cache builtins.len itself


class MemoryPartition(Partition):
    """Limits, sizes and counters. Arrays are made read-only when they are stored.

    sizeof: from value to bytes, the user's code; None if sizes are not measured, and then there is no byte budget.
    """

    counters: MemoryCounters
    generation: int
    maxbytes: int | None

    def __init__(self, maxsize: int | None, maxbytes: int | None, sizeof: Callable[[Any], int] | None) -> None:
        # Re-entrant, because inserting a key may run a user's __eq__, and that may call the cached function.
        self.lock = threading.RLock()
        self.maxsize, self.maxbytes, self._sizeof = maxsize, maxbytes, sizeof
        self.entries: dict[Hashable, Any] = {}
        self.counters = MemoryCounters(self.lock)
        self.generation = self._currbytes = 0

    @property
    def currbytes(self) -> int | None:
        return None if self._sizeof is None else self._currbytes

    def __len__(self) -> int:
        return _len(self.entries)

    def __contains__(self, key: Hashable) -> bool:
        return key in self.entries

    @property
    def full(self) -> bool:
        count = _len(self.entries)
        if self.maxsize is not None and count >= self.maxsize:
            return True
        if self.maxbytes is None or not count:
            return False
        return self._currbytes + self._currbytes / count > self.maxbytes

    def _measure(self, value: Any) -> int:
        if self._sizeof is None:
            return 0
        size = self._sizeof(value)
        nbytes = as_nbytes(size)
        if nbytes is None:
            raise TypeError(f"sizeof must return an int of 0 bytes or more, got {size!r}")
        return nbytes

    def clear(self) -> None:
        with self.lock:
            removed, self._currbytes = self.entries.copy(), 0
            self.entries.clear()
            self.generation += 1
            self.counters.reset()
        del removed  # after the lock: destructors are the user's code


class FillOncePartition(MemoryPartition):
    """Stores what comes first until a limit is reached; never evicts. ``entries`` maps key to value."""

    def get(self, key: Hashable, copy: bool = True) -> Any:
        value = self.entries.get(key, MISSING)
        if value is not MISSING:
            self.counters.tick()
        return value

    def get_many(self, keys: Sequence[Hashable], copy: bool = True) -> list[Any]:
        get = self.entries.get
        values = [get(key, MISSING) for key in keys]
        self.counters.hit(sum([value is not MISSING for value in values]))
        return values

    def put(self, key: Hashable, value: Any, generation: int) -> PutResult:
        nbytes = self._measure(value)
        with self.lock:
            if generation != self.generation or key in self.entries:
                return PutResult(value, None)
            if (self.maxsize is not None and _len(self.entries) >= self.maxsize) or (
                self.maxbytes is not None and self._currbytes + nbytes > self.maxbytes
            ):
                self.counters.rejected += 1
                return PutResult(value, False)
            make_read_only(value)
            self._currbytes += nbytes  # first: an interrupt in between may cost room, never the budget
            self.entries[key] = value
            self.counters.stored += 1
        return PutResult(value, True)


class Entry:
    """A value in an LRU store; ``used`` is the stamp of its last use."""

    __slots__ = ("key", "nbytes", "used", "value")

    def __init__(self, key: Hashable, value: Any, nbytes: int, stamp: int) -> None:
        self.key, self.value, self.nbytes, self.used = key, value, nbytes, stamp


class LRUPartition(MemoryPartition):
    """Stores what was used last. ``entries`` maps key to Entry.

    A use only writes a new stamp into its entry, which needs no lock. The queue, a heap, has each entry under a stamp
    that is no later than its last use. To evict, the oldest is put back under its last use until it is one that was
    not used since: exact LRU. That costs one step in the heap per use at most, but after many uses without a miss
    they all fall due at the next one.

    Values read before a clear are stored after it, as in functools.
    """

    def __init__(self, maxsize: int | None, maxbytes: int | None, sizeof: Callable[[Any], int] | None) -> None:
        super().__init__(maxsize, maxbytes, sizeof)
        # No two stamps are equal, so only ints are compared: in C, where nothing can call the cache in between.
        self._queue: list[tuple[int, Entry]] = []

    def get(self, key: Hashable, copy: bool = True) -> Any:
        entry = self.entries.get(key)
        if entry is None:
            return MISSING
        entry.used = self.counters.tick()
        return entry.value

    def get_many(self, keys: Sequence[Hashable], copy: bool = True) -> list[Any]:
        get, tick, values = self.entries.get, self.counters.tick, []
        for key in keys:
            entry = get(key)
            if entry is None:
                values.append(MISSING)
            else:
                entry.used = tick()
                values.append(entry.value)
        return values

    def put(self, key: Hashable, value: Any, generation: int) -> PutResult:
        nbytes = self._measure(value)
        evicted = []  # dropped after the lock: destructors are the user's code
        with self.lock:
            if key in self.entries:  # a call inside this one stored it: functools keeps that
                return PutResult(value, None)
            if self.maxbytes is not None and nbytes > self.maxbytes:
                self.counters.rejected += 1
                return PutResult(value, False)
            make_read_only(value)
            entry = Entry(key, value, nbytes, self.counters.stamp_locked())
            self._currbytes += nbytes  # in this order an interrupt in between leaves nothing that is never evicted
            heapq.heappush(self._queue, (entry.used, entry))
            self.entries[key] = entry
            self.counters.stored += 1
            while self._is_over_locked():
                evicted.append(self._evict_locked())
        return PutResult(value, True)

    def _is_over_locked(self) -> bool:
        return (self.maxsize is not None and _len(self.entries) > self.maxsize) or (
            self.maxbytes is not None and self._currbytes > self.maxbytes
        )

    def _evict_locked(self) -> Entry:
        while True:
            queued, oldest = self._queue[0]
            used = oldest.used  # read once: hits write it at any time
            if used == queued:
                heapq.heappop(self._queue)
                self.entries.pop(oldest.key, None)
                self._currbytes -= oldest.nbytes
                self.counters.evicted += 1
                return oldest
            heapq.heapreplace(self._queue, (used, oldest))

    def clear(self) -> None:
        with self.lock:
            removed = self._queue.copy()  # refers to all entries, which the base class drops under the lock
            self._queue.clear()
            super().clear()
        del removed  # after the lock: destructors are the user's code
