"""A partition in this process's memory that evicts what was used least recently."""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Sequence
from typing import Any

from .base import MISSING, PutResult
from .counters import MemoryCounters
from .memory_partition import Contents, Entry, MemoryPartition
from .values import make_read_only

_len = len  # bound early: a user may cache builtins.len itself


class LRUPartition(MemoryPartition):
    """Stores what was used last. ``entries`` maps key to Entry.

    A use only writes a new stamp into its entry, which needs no lock. The queue, a heap, has each entry under a stamp
    that is no later than its last use. To evict, the oldest is put back under its last use until it is one that was
    not used since: exact LRU. That costs one step in the heap per use at most, but after many uses without a miss
    they all fall due at the next one.

    Values read before a clear are stored after it, as in functools.
    """

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
        entry, contents = Entry(key, value, self._measure(value)), self._contents
        counters = contents.counters
        if key in contents.entries:  # a call inside this one stored it: functools keeps that
            return PutResult(value, None)
        if entry.nbytes > self._most_bytes:
            counters.reject()
            return PutResult(value, False)
        make_read_only(value)
        if contents.entries.setdefault(key, entry) is not entry:
            return PutResult(value, None)
        with self.lock:
            counters.not_hits += 1
            for entry.used in counters.numbers:  # noqa: B007
                break
            if counters is self.counters:  # not cleared meanwhile
                self._room.left -= entry.nbytes
            entry.counted = True
            counters.currsize += 1
            counters.currbytes += entry.nbytes
            counters.stored += 1
        entry.queued = entry.used
        # No two stamps are equal, so only ints are compared: in C, where nothing can call the cache in between.
        heapq.heappush(contents.queue, (entry.queued, entry))
        if not entry.counted:  # it was discarded before it was in the queue
            _unqueue(contents.queue, entry)
        self._evict(contents)
        return PutResult(value, True)

    def _evict(self, contents: Contents) -> None:
        """Evict until the limits are kept; other threads, and destructors, may do so at the same time."""
        counters, queue = contents.counters, contents.queue
        while counters.currsize > self._most or counters.currbytes > self._most_bytes:
            try:
                queued, oldest = queue[0]
                used = oldest.used  # read once: hits write it at any time
                if used != queued and oldest.counted:
                    oldest.queued = used
                    first = heapq.heapreplace(queue, (used, oldest))
                    if not oldest.counted:  # it was discarded meanwhile, and looked for where it was
                        _unqueue(queue, oldest)
                else:
                    self._uncount(counters, oldest)
                    if contents.entries.get(oldest.key) is oldest:
                        contents.entries.pop(oldest.key, None)
                    first = heapq.heappop(queue)
            except IndexError:  # what is left is being stored by threads that will evict in turn
                return
            if first[1] is not oldest:  # another thread has changed the queue in between
                heapq.heappush(queue, first)

    def _uncount(self, counters: MemoryCounters, entry: Entry) -> bool:
        """Count an entry as evicted, once, and return whether it was this thread that did."""
        with self.lock:
            counted, entry.counted = entry.counted, False
            if counted:
                if counters is self.counters:
                    self._room.left += entry.nbytes
                counters.currsize -= 1
                counters.currbytes -= entry.nbytes
                counters.evicted += 1
        return counted

    def discard(self, key: Hashable) -> bool:
        contents = self._contents
        entry: Entry | None = contents.entries.get(key)
        if entry is None or not self._uncount(contents.counters, entry):
            return False
        _unqueue(contents.queue, entry)
        if contents.entries.get(key) is entry:
            contents.entries.pop(key, None)
        return True

    def after_fork_in_child(self) -> None:
        super().after_fork_in_child()
        counters, entries, queue = self._contents.counters, self._contents.entries, self._contents.queue
        if counters.currsize == _len(entries) == _len(queue):
            return
        for entry in [entry for entry in entries.values() if not entry.counted]:
            del entries[entry.key]
        for entry in entries.values():
            entry.queued = entry.used
        queue[:] = [(entry.queued, entry) for entry in entries.values()]
        heapq.heapify(queue)


def _unqueue(queue: list[tuple[int, Entry]], entry: Entry) -> None:
    """Remove an entry that was discarded, which keeps its value alive, from the queue, in time linear in its length.

    Each step is one in C. A thread that evicts between the two may find another entry than the oldest at the top.
    """
    queued = None
    while entry.queued != queued:  # another thread may be moving it
        queued = entry.queued
        try:
            queue.remove((queued, entry))
        except ValueError:  # not there yet, or evicted
            continue
        heapq.heapify(queue)
        return
