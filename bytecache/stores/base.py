"""The contract between a cache and the stores that keep its values.

A store keeps the values of many functions, a partition those of one. To add a store, write both as subclasses of
:class:`Store` and :class:`Partition`: ``fill_once(store=...)`` takes it, and :mod:`bytecache.testing` has the tests
that it must pass.
"""

from __future__ import annotations

import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .counts import Counters as Counters, Counts as Counts, Snapshot as Snapshot

MISSING: Any = object()  # what a look-up returns for a key without a value; None is a value


class PutResult(NamedTuple):
    """The result of :meth:`Partition.put`.

    value: the value in the form in which hits return it. stored: True; False if it does not fit; None if it is no
    longer wanted, because its key has a value by now, or the values were cleared since its read began.
    """

    value: Any
    stored: bool | None


class Lease(ABC):
    """The right to run the function for one key, which one holder has at a time. It is free once its holder dies."""

    @abstractmethod
    def acquire(self, *, wait: bool) -> bool | None:
        """Return True once the lease is acquired; False if it is taken and `wait` is false.

        None if it is of no use to wait for it, or if the store was closed: the call goes on without.
        """

    @abstractmethod
    def release(self) -> None:
        """Release the lease; do nothing if it was not acquired."""


class Partition(ABC):
    """The values of one function, by key: for a store 16-byte digests, in memory any hashable.

    Values are whatever the store can keep. What a store returns never changes, even if the caller changes the object
    that was put: its lists, dicts and bytearrays are made anew for each caller. Partitions in memory return the object
    itself, whose arrays they have made read-only, and nothing else. If the store cannot be reached, look-ups return
    MISSING, and put returns the value as not stored; it warns once. Safe for threads; works on in a forked child.

    Subclasses set ``maxsize`` (the most entries) and ``maxbytes`` (None: no limit), ``counters``, ``generation``, and
    ``lock``, which is re-entrant. It guards what the partition changes in this process's memory. A signal handler may
    call in while a thread has it, and so may a destructor that the collector runs, if anything is allocated or called
    under it: so nothing waits, no I/O is done and no other lock is taken there.

    locked_before_fork: whether the cache takes the lock before a fork, so that no change is half done in the child. If
    not, ``after_fork_in_child`` completes or undoes what was, and replaces a lock that another thread may have had.
    """

    maxsize: int | None
    lock: threading.RLock
    largest: int = sys.maxsize  # the bytes of the largest value that is stored, for the cache to set
    has_leases: bool = False  # whether other processes may run the function, so that the cache asks for leases
    locked_before_fork: bool = True

    if TYPE_CHECKING:  # read-only to the cache; a subclass may have plain attributes

        @property
        def maxbytes(self) -> int | None:
            """The most bytes of values, of all functions that share the budget."""

        @property
        def currbytes(self) -> int | None:
            """The bytes that the values take; None if they are not measured."""

        @property
        def counters(self) -> Counters:
            """The counters since the last clear; what is counted through them after the next one may be lost."""

        @property
        def full(self) -> bool:
            """Whether there is no room for one more value of the mean size; asked once per key of ``warm``."""

        @property
        def generation(self) -> int:
            """A number that is the same in all processes, and never comes back after a clear."""

        @property
        def cleared(self) -> int | None:
            """A number that only a clear changes, where ``generation`` also changes if values are lost.

            None while it is not known. Where machines share a store, it is how a clear reaches the tiers above it.
            """
    else:
        cleared = None

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __contains__(self, key: Any) -> bool:
        """Return whether there is a value; neither a use nor counted."""

    def why_nothing_fits(self) -> str:
        """Return why no value could be stored so far, for a warning; empty if that was told already."""
        return f"no value fits in the budget of {self.maxbytes} bytes: raise maxbytes"

    @abstractmethod
    def get(self, key: Any, copy: bool = True) -> Any:
        """Return the value and count a hit, or return MISSING.

        With ``copy=False`` bytes may come as a read-only view of the store's memory.
        """

    def get_many(self, keys: Sequence[Any], copy: bool = True) -> list[Any]:
        """Return what :meth:`get` returns for each key, in order; by default one by one."""
        return [self.get(key, copy) for key in keys]

    @abstractmethod
    def put(self, key: Any, value: Any, generation: int) -> PutResult:
        """Store a value if it fits and its key has none; never replace one. Count it as stored or rejected.

        generation: what ``generation`` was when the read of the value began; a value of an earlier one is not wanted
        (but by lru_cache, as in functools). Raises TypeError for a value that the store cannot keep.
        """

    def put_many(self, items: Iterable[tuple[Any, Any]], generation: int) -> list[PutResult | Exception]:
        """Store several (key, value), in order; by default one by one. What :meth:`put` raises stands in its place."""
        results: list[PutResult | Exception] = []
        try:
            for key, value in items:
                try:
                    results.append(self.put(key, value, generation))
                except Exception as exc:
                    results.append(exc)
            return results.copy()
        finally:
            results.clear()  # an exception's traceback keeps this frame alive

    def discard(self, key: Any) -> bool:
        """Remove the value of a key, for all processes that share it, count it as evicted, and return whether there
        was one. A value that is being put at the same time may be there afterwards.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot remove one value: cache_clear() removes all")

    def keys(self) -> list[Any]:
        """Return the keys of all values, of one moment. Raise TypeError if only digests of them are known."""
        raise TypeError(
            "cache_keys is for caches in memory, since a store has only digests of the keys: ask cache_contains for "
            "each of your own"
        )

    def lease(self, key: Any, generation: int) -> Lease | None:
        """Return what keeps other processes from reading this key at the same time; asked for if ``has_leases``.

        None if it would be useless, because the partition is full and the value could not be handed on.
        """
        return None

    def leases(self, keys: Sequence[Any], generation: int) -> Mapping[Any, Lease | None]:
        """Return what :meth:`lease` returns for each key; by default one by one.

        A batch acquires all of them before it releases any, so a store may acquire, and release, them together.
        """
        return {key: self.lease(key, generation) for key in keys}

    def snapshot(self, scope: str) -> Snapshot:
        """Return counts, entries and bytes, all of one moment; scope: "process" or "all", for the counts."""
        with self.lock:
            return Snapshot(self.counters.snapshot(scope), self.__len__(), self.currbytes)

    def tiers(self, scope: str) -> Sequence[tuple[str, Snapshot, int | None]]:
        """Return name, state and budget of each store behind the partition, if it has several; scope as above."""
        return ()

    def servers(self) -> Mapping[str, str]:
        """Return for each server that the values are on, by name, "closed" if it is asked, "open", or "half-open".

        These are the states of a circuit breaker, told without a request; a store without servers has none.
        """
        return {}

    @abstractmethod
    def clear(self) -> None:
        """Remove all values, set the counters to zero, and change the generation, for all processes that share them."""

    def after_fork_in_child(self) -> None:  # noqa: B027
        """Make good in a forked child what threads that it does not have were doing; see ``locked_before_fork``."""


def put_alone(partition: Partition, key: Any, value: Any, generation: int) -> PutResult:
    """Return what ``put`` returns, or raise what it raises, by the ``put_many`` of a partition that has its own."""
    (result,) = partition.put_many([(key, value)], generation)
    try:
        if isinstance(result, Exception):
            raise result
        return result
    finally:
        del result  # the exception's traceback keeps this frame alive


class Store(ABC):
    """Values of many functions under one budget, for ``fill_once(store=...)``.

    Pickles, if functions that use it are to be pickled, as what finds the same values.
    """

    if TYPE_CHECKING:  # read-only to the cache; a subclass may have plain attributes

        @property
        def path(self) -> Path | None:
            """The folder of the values; None for a store that has none, and says nothing of it."""

        @property
        def maxbytes(self) -> int | None:
            """The most bytes of values, of all functions together."""

        @property
        def currbytes(self) -> int | None:
            """The bytes that the values of all functions take."""
    else:
        path = None

    @abstractmethod
    def partition(self, function_id: bytes, name: str, maxsize: int | None) -> Partition:
        """Return the partition of one function.

        function_id: the 16 bytes that stand for the function and its version in every process. name: for people.
        maxsize: the most entries, or None.
        """

    @abstractmethod
    def clear(self, function_id: bytes | None = None) -> None:
        """Remove the values and counters of one function, if there are any, or of all."""

    @abstractmethod
    def close(self) -> None:
        """Release the store's resources in this process; a later call opens it again."""
