"""Partitions in this process's memory: one that never evicts; the one that evicts is in lru."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from .base import MISSING, PutResult
from .lru import LRUPartition as LRUPartition
from .memory_partition import Claim, Contents, MemoryPartition
from .sizes import PLAIN
from .values import make_read_only, make_writable, sizeof as default_sizeof


class FillOncePartition(MemoryPartition):
    """Stores what comes first until a limit is reached; never evicts. ``entries`` maps key to value.

    identity_of: from a key to what it is a version of, or None. When a value of another version is put, an earlier one
    is dead: it makes room, and counts as evicted. beside: another one, with which it is to share the budget.
    """

    def __init__(
        self,
        maxsize: int | None,
        maxbytes: int | None,
        sizeof: Callable[[Any], int] | None,
        identity_of: Callable[[Hashable], Hashable] | None = None,
        beside: FillOncePartition | None = None,
    ) -> None:
        super().__init__(maxsize, maxbytes, sizeof)
        self._identity_of = identity_of
        if beside is not None:
            self._room = beside._room
            self.use_lock(beside.lock)
        # Types of values whose bytes are the same whenever they are measured: there is no need to remember them.
        self._measured_alike = PLAIN if sizeof is default_sizeof else frozenset()

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
        nbytes = sys.getsizeof(value) if type(value) in self._measured_alike else self._measure(value)
        claim, contents = Claim(), self._contents
        claim.counted, claim.nbytes = False, nbytes
        try:
            if contents.changing.setdefault(key, claim) is not claim:  # another thread is storing or removing one
                return PutResult(value, None)
            if generation != self.generation or key in contents.entries:
                return PutResult(value, None)
            # PutResult(...), at less cost
            return tuple.__new__(PutResult, (value, self._store(contents, key, value, claim)))
        finally:
            if contents.changing.get(key) is claim:
                contents.changing.pop(key, None)

    def _store(self, contents: Contents, key: Hashable, value: Any, claim: Claim) -> bool:
        counters = contents.counters
        identity = None if self._identity_of is None else self._identity_of(key)
        if identity is not None:
            self._remove_version(contents, contents.latest.pop(identity, MISSING))
        room = self._room
        fits = counters.currsize < self._most and claim.nbytes <= room.left
        if fits and claim.nbytes <= self.largest:
            frozen = () if type(value) in PLAIN else make_read_only(value)
            if claim.nbytes and type(value) not in self._measured_alike:
                contents.sizes[key] = claim.nbytes
            contents.entries[key] = value
            with self.lock:
                if counters.currsize < self._most and claim.nbytes <= room.left and counters is self.counters:
                    room.left -= claim.nbytes
                    counters.currsize += 1
                    counters.currbytes += claim.nbytes
                    counters.stored += 1
                    claim.counted = True
            if not claim.counted:  # others were faster
                contents.entries.pop(key, None)
                contents.sizes.pop(key, None)
                make_writable(frozen)
        if not claim.counted:
            counters.reject()
        elif identity is not None:
            contents.latest[identity] = key
        return claim.counted is True

    def discard(self, key: Hashable) -> bool:
        contents, claim = self._contents, Claim()
        try:
            if contents.changing.setdefault(key, claim) is not claim:  # another thread is storing or removing it
                return False
            removed = self._remove(contents, key, claim)
        finally:
            _give_up(contents, key, claim)
        identity = None if self._identity_of is None else self._identity_of(key)
        if identity is not None and contents.latest.get(identity) == key:
            contents.latest.pop(identity, None)
        return removed

    def _remove_version(self, contents: Contents, key: Hashable) -> None:
        if key in contents.entries:
            claim = contents.changing[key] = Claim()
            self._remove(contents, key, claim)
            _give_up(contents, key, claim)

    def _remove(self, contents: Contents, key: Hashable, claim: Claim) -> bool:
        """Remove an entry, if there is one, and return whether it was this thread that did."""
        value, size = contents.entries.get(key, MISSING), contents.sizes.get(key, 0)
        claim.nbytes = sys.getsizeof(value) if type(value) in self._measured_alike else size
        claim.counted = None if value is MISSING else True
        counters = contents.counters
        try:
            del contents.entries[key]  # not pop: an interrupt comes after a call, never between this and its count
        except KeyError:
            claim.counted = None
            return False
        with self.lock:
            if counters is self.counters:
                self._room.left += claim.nbytes
            counters.currsize -= 1
            counters.currbytes -= claim.nbytes
            counters.evicted += 1
            claim.counted = False
        contents.sizes.pop(key, None)
        return True

    def after_fork_in_child(self) -> None:
        super().after_fork_in_child()
        contents = self._contents
        for key, claim in contents.changing.items():
            if claim.counted is False:
                contents.entries.pop(key, None)
                contents.sizes.pop(key, None)
            elif claim.counted and key not in contents.entries:
                contents.sizes.pop(key, None)
                self._room.left += claim.nbytes
                contents.counters.currsize -= 1
                contents.counters.currbytes -= claim.nbytes
                contents.counters.evicted += 1
        contents.changing.clear()


def _give_up(contents: Contents, key: Hashable, claim: Claim) -> None:
    """Let other threads change the entry of a key, if it was this claim that kept them from it."""
    if contents.changing.get(key) is claim:
        contents.changing.pop(key, None)
