"""Stores in this process's memory: one that never evicts, one that evicts the least recently used.

A store knows nothing of threads: its cache calls it under a lock. Only a plain look-up, ``store.entries[key]``, is
made without one.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable
from typing import Any

MISSING: Any = object()
_len = len  # bound early: a user may cache builtins.len itself


class _Store:
    """The limits of a store and what counts towards them."""

    def __init__(self, maxsize: int | None = None, maxbytes: int | None = None) -> None:
        self.maxsize, self.maxbytes, self.currbytes = maxsize, maxbytes, 0
        self.entries: dict[Hashable, Any] = {}

    def __len__(self) -> int:
        return _len(self.entries)

    @property
    def full(self) -> bool:
        """Whether there is no room for one more entry of the mean size."""
        if self.maxsize is not None and _len(self.entries) >= self.maxsize:
            return True
        count = _len(self.entries)
        if self.maxbytes is None or not count:
            return False
        return self.currbytes + self.currbytes / count > self.maxbytes

    def clear(self) -> Any:
        """Forgets everything; returns what was held, for the caller to drop outside its lock."""
        held, self.currbytes = self.entries.copy(), 0
        self.entries.clear()
        return held


class FillOnce(_Store):
    """Keeps what comes first until a limit is reached; never evicts. ``entries`` maps key to value."""

    def get(self, key: Hashable) -> Any:
        """The value, or MISSING."""
        return self.entries.get(key, MISSING)

    def fits(self, size: int) -> bool:
        """Whether a value of `size` bytes would be kept."""
        return (self.maxsize is None or _len(self.entries) < self.maxsize) and (
            self.maxbytes is None or self.currbytes + size <= self.maxbytes
        )

    def put(self, key: Hashable, value: Any, size: int) -> list[Any]:
        """Keeps a new key's value, which fits; returns what was evicted for it: nothing, ever."""
        self.currbytes += size  # first: an interrupt in between may cost room, never the budget
        self.entries[key] = value
        return []


class Entry:
    """A value in an LRU store; ``used`` is the stamp of its last use."""

    __slots__ = ("key", "size", "used", "value")

    def __init__(self, key: Hashable, value: Any, size: int, stamp: int) -> None:
        self.key, self.value, self.size, self.used = key, value, size, stamp


class LeastRecentlyUsed(_Store):
    """Keeps what was used last. ``entries`` maps key to Entry.

    A use only writes a new stamp into its entry, which needs no lock. The queue, a heap, holds each entry under a
    stamp that is no later than its last use; to evict, the oldest is put back under its last use until it is one that
    was not used since: exact LRU. That costs one step in the heap per use at most, but after many uses
    without a miss they all fall due at the next one.
    """

    def __init__(self, maxsize: int | None, maxbytes: int | None, stamp: Callable[[], int]) -> None:
        super().__init__(maxsize, maxbytes)
        self._stamp = stamp
        # No two stamps are equal, so only ints are compared: in C, where nothing can call the cache in between.
        self._queue: list[tuple[int, Entry]] = []

    def get(self, key: Hashable) -> Any:
        """The value, or MISSING; a use."""
        entry = self.entries.get(key)
        if entry is None:
            return MISSING
        entry.used = self._stamp()
        return entry.value

    def fits(self, size: int) -> bool:
        """Whether a value of `size` bytes would be kept, others evicted or not."""
        return self.maxbytes is None or size <= self.maxbytes

    def put(self, key: Hashable, value: Any, size: int) -> list[Any]:
        """Keeps a new key's value, which fits; returns the entries evicted for it."""
        entry = Entry(key, value, size, self._stamp())
        self.currbytes += size  # in this order an interrupt in between leaves nothing that is never evicted
        heapq.heappush(self._queue, (entry.used, entry))
        self.entries[key] = entry
        evicted = []
        while self._over():
            evicted.append(self._evict())
        return evicted

    def _over(self) -> bool:
        return (self.maxsize is not None and _len(self.entries) > self.maxsize) or (
            self.maxbytes is not None and self.currbytes > self.maxbytes
        )

    def _evict(self) -> Entry:
        while True:
            queued, oldest = self._queue[0]
            used = oldest.used  # read once: hits write it at any time
            if used == queued:
                heapq.heappop(self._queue)
                self.entries.pop(oldest.key, None)
                self.currbytes -= oldest.size
                return oldest
            heapq.heapreplace(self._queue, (used, oldest))

    def clear(self) -> Any:
        """Forgets everything; returns what was held, for the caller to drop outside its lock."""
        self._queue.clear()
        return super().clear()
