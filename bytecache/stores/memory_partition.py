"""What the partitions in this process's memory have in common: limits, sizes, counters, and how they are cleared."""

from __future__ import annotations

import sys
import threading
from abc import abstractmethod
from collections.abc import Callable, Hashable, Iterable
from typing import Any

from ..system.byte_sizes import as_nbytes
from ..system.caller import warn_caller
from .base import Partition, PutResult, Snapshot
from .counters import MemoryCounters
from .sizes import PLAIN, measure
from .values import check_reusable, sizeof as default_sizeof

_NO_LIMIT = float("inf")


class MemoryPartition(Partition):
    """Limits, sizes and counters. Arrays are made read-only when they are stored.

    sizeof: from value to bytes, the user's code; None if sizes are not measured, and then there is no byte budget.
    entries: by key; a plain look-up needs no lock, nor does anything else that is done with keys and values, since
    steps in C suffice. The lock guards numbers alone, see MemoryCounters. A clear replaces ``entries``
    and ``counters``.
    """

    counters: MemoryCounters
    generation: int
    maxbytes: int | None
    locked_before_fork = False

    def __init__(self, maxsize: int | None, maxbytes: int | None, sizeof: Callable[[Any], int] | None) -> None:
        self.lock = threading.RLock()  # re-entrant, for a signal handler that calls the cached function
        self.maxsize, self.maxbytes, self._sizeof = maxsize, maxbytes, sizeof
        self._most: float = _NO_LIMIT if maxsize is None else maxsize
        self._most_bytes: float = _NO_LIMIT if maxbytes is None else maxbytes
        self._room = Room(self._most_bytes)
        self._unmeasured: set[type] = set()  # the types that were warned of
        self._contents = Contents(self.lock)
        self.entries, self.counters, self.generation = self._contents.entries, self._contents.counters, 0

    @property
    def currbytes(self) -> int | None:
        return None if self._sizeof is None else self.counters.currbytes

    def __len__(self) -> int:
        return self.counters.currsize

    def __contains__(self, key: Hashable) -> bool:
        return key in self.entries

    def keys(self) -> list[Hashable]:
        return list(self.entries)

    def snapshot(self, scope: str) -> Snapshot:
        snapshot = self.counters.state()
        return snapshot._replace(currbytes=None) if self._sizeof is None else snapshot

    def _measure(self, value: Any) -> int:
        """Return the bytes of a value; raise TypeError for one that can be used only once."""
        if type(value) in PLAIN:  # as below, at less cost
            if self._sizeof is default_sizeof:
                return sys.getsizeof(value)
            if self._sizeof is None:
                return 0
        check_reusable(value)
        if self._sizeof is None:
            return 0
        if self._sizeof is default_sizeof:
            nbytes, unknown = measure(value)
            if unknown is not None and unknown not in self._unmeasured:
                self._unmeasured.add(unknown)
                warn_caller(
                    f"the memory of a {unknown.__module__}.{unknown.__qualname__} cannot be measured in full, so "
                    "maxbytes does not bound it: give sizeof=, a function that returns the bytes of a value"
                )
            return nbytes
        size = self._sizeof(value)
        measured = as_nbytes(size)
        if measured is None:
            raise TypeError(f"sizeof must return an int of 0 bytes or more, got {size!r}")
        return measured

    @property
    def room(self) -> float:
        """The bytes that are left of the budget."""
        return self._room.left

    @property
    def full(self) -> bool:
        count, nbytes = self.counters.currsize, self.counters.currbytes
        return count >= self._most or (count > 0 and nbytes / count > self._room.left)

    def put_many(self, items: Iterable[tuple[Hashable, Any]], generation: int) -> list[PutResult | Exception]:
        if self._most:
            return super().put_many(items, generation)
        results: list[PutResult | Exception] = [PutResult(value, False) for _, value in items]  # not even looked at
        self.counters.reject(len(results))
        return results

    def clear(self) -> None:
        contents = Contents(self.lock)
        with self.lock:  # what is removed is dropped after the lock: destructors are the user's code
            self._room.left += self.counters.currbytes  # threads that go on with what was removed leave it alone
            contents, self._contents = self._contents, contents
            self.entries, self.counters = self._contents.entries, self._contents.counters
            self.generation += 1

    @abstractmethod
    def after_fork_in_child(self) -> None:
        """Undo what threads were changing that a forked child does not have, and take a lock that is free."""
        self.entries, self.counters = self._contents.entries, self._contents.counters  # another thread was clearing
        self.use_lock(threading.RLock())

    def use_lock(self, lock: threading.RLock) -> None:
        """Take another lock, which nobody has: of a new partition, or in a forked child."""
        self.lock = self.counters.lock = lock


class Room:
    """What is left of a budget in bytes, guarded by the lock of the partitions that share it."""

    __slots__ = ("left",)

    def __init__(self, left: float) -> None:
        self.left = left


class Contents:
    """What a partition has from one clear to the next."""

    __slots__ = ("changing", "counters", "entries", "latest", "queue", "sizes")

    def __init__(self, lock: threading.RLock) -> None:
        self.counters = MemoryCounters(lock)
        self.entries: dict[Hashable, Any] = {}
        # Of FillOncePartition: the key that is stored, by what it is a version of; the bytes of each value that may be
        # measured otherwise another time; and by key the claims of the threads that store a value or remove it.
        self.latest: dict[Hashable, Hashable] = {}
        self.sizes: dict[Hashable, int] = {}
        self.changing: dict[Hashable, Claim] = {}
        self.queue: list[tuple[int, Entry]] = []  # of LRUPartition


class Claim:
    """A change of an entry of FillOncePartition by one thread.

    counted: whether the entry, with its bytes, is in the counters; None if this thread has not begun to change it.
    """

    counted: bool | None = None  # in the class, so that making one calls no Python: each miss does
    nbytes = 0


class Entry:
    """A value in an LRU store.

    used: the stamp of its last use. queued: the stamp that it has in the queue. counted: whether it has room.
    """

    __slots__ = ("counted", "key", "nbytes", "queued", "used", "value")

    def __init__(self, key: Hashable, value: Any, nbytes: int) -> None:
        self.key, self.value, self.nbytes = key, value, nbytes
        self.used = self.queued = 0
        self.counted = False
