"""Partitions in this process's memory: one that never evicts, one that evicts the least recently used."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from .base import MISSING, PutResult
from .counters import MemoryCounters
from .memory_partition import Contents, Entry, MemoryPartition
from .values import make_read_only, make_writable

_len = len  # bound early: a user may cache builtins.len itself


class FillOncePartition(MemoryPartition):
    """Stores what comes first until a limit is reached; never evicts. ``entries`` maps key to value.

    identity_of: from a key to what it is a version of, or None. When a value of another version is put, an earlier one
    is dead: it makes room, and counts as evicted.
    """

    def __init__(
        self,
        maxsize: int | None,
        maxbytes: int | None,
        sizeof: Callable[[Any], int] | None,
        identity_of: Callable[[Hashable], Hashable] | None = None,
    ) -> None:
        super().__init__(maxsize, maxbytes, sizeof)
        self._identity_of = identity_of

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
        nbytes, contents = self._measure(value), self._contents
        claim = [False]  # whether the value has room; a list, as nothing may be called under the lock
        try:
            if contents.changing.setdefault(key, claim) is not claim:  # another thread is storing one
                return PutResult(value, None)
            if generation != self.generation or key in contents.entries:
                return PutResult(value, None)
            return PutResult(value, self._store(contents, key, value, nbytes, claim))
        finally:
            if contents.changing.get(key) is claim:
                contents.changing.pop(key, None)

    def _store(self, contents: Contents, key: Hashable, value: Any, nbytes: int, claim: list[bool]) -> bool:
        counters = contents.counters
        identity = None if self._identity_of is None else self._identity_of(key)
        dead = None if identity is None else contents.latest.pop(identity, None)
        if dead is not None:
            self._remove(contents, *dead)
        if self._fits(counters, nbytes):
            frozen = make_read_only(value)
            contents.entries[key] = value
            with self.lock:
                if counters.currsize < self._most and counters.currbytes + nbytes <= self._room:
                    counters.currsize += 1
                    counters.currbytes += nbytes
                    counters.stored += 1
                    claim[0] = True
            if not claim[0]:  # others were faster
                contents.entries.pop(key, None)
                make_writable(frozen)
        if not claim[0]:
            with self.lock:
                counters.rejected += 1
        elif identity is not None:
            contents.latest[identity] = key, nbytes
        return claim[0]

    def _fits(self, counters: MemoryCounters, nbytes: int) -> bool:
        return counters.currsize < self._most and counters.currbytes + nbytes <= self._room

    def _remove(self, contents: Contents, key: Hashable, nbytes: int) -> None:
        counters, claim = contents.counters, [True]
        contents.changing[key] = claim
        with self.lock:
            counters.currsize -= 1
            counters.currbytes -= nbytes
            counters.evicted += 1
            claim[0] = False
        contents.entries.pop(key, None)
        contents.changing.pop(key, None)

    def after_fork_in_child(self) -> None:
        super().after_fork_in_child()
        for key, claim in self._contents.changing.items():
            if not claim[0]:
                self._contents.entries.pop(key, None)
        self._contents.changing.clear()


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
        if entry.nbytes > self._room:
            with self.lock:
                counters.rejected += 1
            return PutResult(value, False)
        make_read_only(value)
        if contents.entries.setdefault(key, entry) is not entry:
            return PutResult(value, None)
        with self.lock:
            counters.not_hits += 1
            for entry.used in counters.numbers:  # noqa: B007
                break
            entry.counted = True
            counters.currsize += 1
            counters.currbytes += entry.nbytes
            counters.stored += 1
        # No two stamps are equal, so only ints are compared: in C, where nothing can call the cache in between.
        heapq.heappush(contents.queue, (entry.used, entry))
        self._evict(contents)
        return PutResult(value, True)

    def _evict(self, contents: Contents) -> None:
        """Evict until the limits are kept; other threads, and destructors, may do so at the same time."""
        counters, queue = contents.counters, contents.queue
        while counters.currsize > self._most or counters.currbytes > self._room:
            try:
                queued, oldest = queue[0]
                used = oldest.used  # read once: hits write it at any time
                if used != queued and oldest.counted:
                    first = heapq.heapreplace(queue, (used, oldest))
                else:
                    with self.lock:
                        if oldest.counted:
                            oldest.counted = False
                            counters.currsize -= 1
                            counters.currbytes -= oldest.nbytes
                            counters.evicted += 1
                    if contents.entries.get(oldest.key) is oldest:
                        contents.entries.pop(oldest.key, None)
                    first = heapq.heappop(queue)
            except IndexError:  # what is left is being stored by threads that will evict in turn
                return
            if first[1] is not oldest:  # another thread has changed the queue in between
                heapq.heappush(queue, first)

    def after_fork_in_child(self) -> None:
        super().after_fork_in_child()
        counters, entries, queue = self._contents.counters, self._contents.entries, self._contents.queue
        if counters.currsize == _len(entries) == _len(queue):
            return
        for entry in [entry for entry in entries.values() if not entry.counted]:
            del entries[entry.key]
        queue[:] = [(entry.used, entry) for entry in entries.values()]
        heapq.heapify(queue)
