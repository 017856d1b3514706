"""A store that fails now and then, as one behind a network does: which calls fail follows from a seed."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..stores.base import MISSING, Counters, Lease, Partition, PutResult, Snapshot, Store, put_alone

_OF_NO_GENERATION = -1  # what is put with it is encoded, and not stored


class FaultyStore(Store):
    """Another store, some of whose look-ups find nothing, some of whose puts store nothing, some of which take long.

    seed: an int from which it follows which calls fail. rate: the share of them, 0.0 to 1.0; it may be changed at any
    time, and 1.0 is a store that cannot be reached. delay_s: seconds by which at most a call is delayed, of the same
    share. A fault is what the contract allows: a value that is there is not found, and one that would fit is not
    stored, as if the store were away for that moment; none is wrong, and clear and discard never fail. ``faults`` has
    how many there were so far in this process, by kind: "lookups", "puts", "leases" and "delays".

    Pickles, if the store does, as one that begins its faults anew. Safe for threads, whose turns decide who meets which
    fault; a forked child goes on with its parent's. Raises ValueError for a rate that is none.
    """

    def __init__(self, store: Store, *, seed: int, rate: float, delay_s: float = 0.0) -> None:
        if not 0 <= rate <= 1 or delay_s < 0:
            raise ValueError(
                f"rate must be a share from 0.0 to 1.0, and delay_s 0 s or more, got rate={rate} and delay_s={delay_s}"
            )
        self.store, self.seed, self.rate, self.delay_s = store, seed, rate, delay_s
        self.faults = {"lookups": 0, "puts": 0, "leases": 0, "delays": 0}
        self._drawn = random.Random(seed)

    def fails(self, kind: str) -> bool:
        """Return whether the next call of a kind fails, and count it if so."""
        failed = self._drawn.random() < self.rate
        self.faults[kind] += failed
        return failed

    def delay(self) -> None:
        """Wait, if it is this call's turn."""
        if self.delay_s and self.fails("delays"):
            time.sleep(self.delay_s * self._drawn.random())

    @property
    def path(self) -> Path | None:
        """The folder of the store."""
        return self.store.path

    @property
    def maxbytes(self) -> int | None:
        """The most bytes of values."""
        return self.store.maxbytes

    @property
    def currbytes(self) -> int | None:
        """The bytes that the values take."""
        return self.store.currbytes

    def partition(self, function_id: bytes, name: str, maxsize: int | None) -> Partition:
        """Return the partition of one function, with this store's faults."""
        return FaultyPartition(self, self.store.partition(function_id, name, maxsize))

    def clear(self, function_id: bytes | None = None) -> None:
        """Remove the values of one function, or of all."""
        self.store.clear(function_id)

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def __repr__(self) -> str:
        return f"FaultyStore({self.store!r}, seed={self.seed}, rate={self.rate}, delay_s={self.delay_s})"

    def __reduce__(self) -> Any:
        return _restore, (self.store, self.seed, self.rate, self.delay_s)


def _restore(store: Store, seed: int, rate: float, delay_s: float) -> FaultyStore:
    return FaultyStore(store, seed=seed, rate=rate, delay_s=delay_s)


def _not_stored(result: PutResult | Exception) -> PutResult | Exception:
    return result if isinstance(result, Exception) else PutResult(result.value, False)


class FaultyPartition(Partition):
    """A partition of a FaultyStore: one request, for one key or many, is delayed once, and each key fails by itself."""

    def __init__(self, store: FaultyStore, partition: Partition) -> None:
        self._store, self._partition = store, partition
        self.maxsize = partition.maxsize
        self.has_leases, self.locked_before_fork = partition.has_leases, partition.locked_before_fork

    @property
    def lock(self) -> Any:  # type: ignore[override]
        return self._partition.lock

    @property
    def largest(self) -> int:
        """The bytes of the largest value that is stored."""
        return self._partition.largest

    @largest.setter
    def largest(self, nbytes: int) -> None:
        self._partition.largest = nbytes

    @property
    def maxbytes(self) -> int | None:
        return self._partition.maxbytes

    @property
    def currbytes(self) -> int | None:
        return self._partition.currbytes

    @property
    def counters(self) -> Counters:
        return self._partition.counters

    @property
    def generation(self) -> int:
        return self._partition.generation

    @property
    def cleared(self) -> int | None:
        return self._partition.cleared

    @property
    def full(self) -> bool:
        return self._partition.full

    def __len__(self) -> int:
        return len(self._partition)

    def __contains__(self, key: Any) -> bool:
        self._store.delay()
        return not self._store.fails("lookups") and key in self._partition

    def why_nothing_fits(self) -> str:
        return self._partition.why_nothing_fits()

    def get(self, key: Any, copy: bool = True) -> Any:
        self._store.delay()
        return MISSING if self._store.fails("lookups") else self._partition.get(key, copy)

    def get_many(self, keys: Sequence[Any], copy: bool = True) -> list[Any]:
        self._store.delay()
        failed = [self._store.fails("lookups") for _ in keys]
        found = iter(self._partition.get_many([key for key, lost in zip(keys, failed, strict=True) if not lost], copy))
        return [MISSING if lost else next(found) for lost in failed]

    def put(self, key: Any, value: Any, generation: int) -> PutResult:
        return put_alone(self, key, value, generation)

    def put_many(self, items: Iterable[tuple[Any, Any]], generation: int) -> list[PutResult | Exception]:
        self._store.delay()
        items = list(items)
        failed = [self._store.fails("puts") for _ in items]
        put = self._partition.put_many([item for n, item in enumerate(items) if not failed[n]], generation)
        lost = self._partition.put_many([item for n, item in enumerate(items) if failed[n]], _OF_NO_GENERATION)
        self._partition.counters.reject(sum(failed))
        try:
            return [_not_stored(lost.pop(0)) if fails else put.pop(0) for fails in failed]
        finally:
            del put, lost  # an exception's traceback keeps this frame alive

    def discard(self, key: Any) -> bool:
        return self._partition.discard(key)

    def lease(self, key: Any, generation: int) -> Lease | None:
        return None if self._store.fails("leases") else self._partition.lease(key, generation)

    def snapshot(self, scope: str) -> Snapshot:
        return self._partition.snapshot(scope)

    def tiers(self, scope: str) -> Sequence[tuple[str, Snapshot, int | None]]:
        return self._partition.tiers(scope)

    def servers(self) -> Mapping[str, str]:
        return self._partition.servers()

    def clear(self) -> None:
        self._partition.clear()

    def after_fork_in_child(self) -> None:
        self._partition.after_fork_in_child()
