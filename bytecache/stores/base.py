"""The contract between a cache and the stores that keep its values.

A store keeps the values of many functions, a partition those of one. To add a store, write both as subclasses of
:class:`Store` and :class:`Partition`; ``fill_once(store=...)`` takes it, and tests/contracts has the tests that it
must pass.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

MISSING: Any = object()  # what a look-up returns for a key without a value; None is a value


class PutResult(NamedTuple):
    """What became of a value that was to be stored.

    value: the value in the form in which hits return it. stored: True; False if it does not fit; None if it is no
    longer wanted, because its key has a value by now, or the values were cleared since its read began.
    """

    value: Any
    stored: bool | None


class Counts(NamedTuple):
    """What happened to one function's calls; see :class:`bytecache.CacheStats` for the meaning of each counter."""

    hits: int = 0
    misses: int = 0
    errors: int = 0
    stored: int = 0
    rejected: int = 0
    evicted: int = 0
    load_s: float = 0.0


class Counters(Protocol):
    """Counts the events of one function; safe for threads.

    A partition counts what it finds, stores, rejects and evicts; the cache counts the calls that another one answered,
    misses and loads.
    """

    def hit(self, n: int = 1) -> None:
        """Count calls that were answered without running the function."""

    def miss(self) -> None:
        """Count a call that runs the function."""

    def load(self, seconds: float, error: bool = False) -> None:
        """Count a run of the function that has ended, with an exception if `error`."""

    def stored(self) -> None:
        """Count a value that was stored."""

    def rejected(self) -> None:
        """Count a value that did not fit."""

    def evicted(self, n: int) -> None:
        """Count values that were removed to make room; never called by a store that does not evict."""

    def snapshot(self, scope: str) -> Counts:
        """Return the counts of this process ("process"), or of all that share the partition ("all")."""


class Lease(Protocol):
    """The right to run the function for one key, which one process has at a time."""

    def acquire(self, *, wait: bool) -> bool:
        """Return True once this process has the lease; False if another one has it and this one is not to wait."""

    def release(self) -> None:
        """Give the lease back, acquired or not."""


class Partition(Protocol):
    """The values of one function, by key; safe for threads.

    Subclasses set ``maxsize`` (entries) and ``maxbytes`` (None: no limit), ``counters``, and ``lock``. The lock is
    re-entrant. It guards whatever the partition changes in this process's memory, and the flights of the calls made
    through it, so that a thread that calls in while it has the lock (from a signal handler, or a key's ``__eq__``) is
    known not to be able to wait for others. No I/O and nothing of the user's runs under it.
    """

    maxsize: int | None
    lock: threading.RLock

    if TYPE_CHECKING:  # read-only to the cache; a subclass may have plain attributes

        @property
        def maxbytes(self) -> int | None:
            """The most bytes of values, of all functions that share the budget."""

        @property
        def currbytes(self) -> int | None:
            """The bytes that the values take; None if they are not measured."""

        @property
        def counters(self) -> Counters:
            """The counters since the last clear; what is counted through them after the next one is lost."""

        @property
        def full(self) -> bool:
            """Whether there is no room for one more value of the mean size."""

        @property
        def generation(self) -> int:
            """A number that changes when the values are cleared."""

    def __len__(self) -> int: ...

    def __contains__(self, key: Any) -> bool:
        """Whether there is a value; neither a use nor counted."""

    def get(self, key: Any, copy: bool = True) -> Any:
        """Return the value and count a hit, or return MISSING.

        With ``copy=False`` bytes may come as a read-only view of the store's memory.
        """

    def get_many(self, keys: Sequence[Any], copy: bool = True) -> list[Any]:
        """Return what :meth:`get` returns for each key, in order; by default one by one."""
        return [self.get(key, copy) for key in keys]

    def put(self, key: Any, value: Any, generation: int) -> PutResult:
        """Store a value if it fits and its key has none; never replace one. Count it as stored or rejected.

        generation: what ``generation`` was when the read of the value began; a value of an earlier one is not wanted.
        Raises TypeError for a value that the store cannot keep.
        """

    def put_many(self, items: Iterable[tuple[Any, Any]], generation: int) -> list[PutResult]:
        """Store several (key, value), in order; by default one by one."""
        return [self.put(key, value, generation) for key, value in items]

    def lease(self, key: Any, generation: int) -> Lease | None:
        """Return what keeps other processes from reading this key at the same time.

        None, the default, if no other process uses these values, or if it would be for nothing, because the partition
        is full and the value could not be handed on.
        """
        return None

    def clear(self) -> None:
        """Remove all values and set the counters to zero, for all processes that share them."""


@runtime_checkable
class Store(Protocol):
    """Values of many functions under one budget, for ``fill_once(store=...)``."""

    if TYPE_CHECKING:  # as there

        @property
        def maxbytes(self) -> int | None:
            """The most bytes of values, of all functions together."""

        @property
        def currbytes(self) -> int | None:
            """The bytes that the values of all functions take."""

    def partition(self, function_id: bytes, name: str, maxsize: int | None) -> Partition:
        """Return the partition of one function.

        function_id: the 16 bytes that stand for the function and its version in every process. name: for people.
        maxsize: the most entries, or None.
        """

    def clear(self, function_id: bytes | None = None) -> None:
        """Remove the values and counters of one function, or of all."""

    def close(self) -> None:
        """Release the store's resources in this process; a later call opens it again."""
