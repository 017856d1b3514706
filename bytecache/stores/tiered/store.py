"""Several stores as one, the fastest first: what ``fill_once(store=[...])`` makes of its list."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, TypeAlias

from ...system.text import numbered
from ..base import Store
from .every import run_all, total
from .partition import TieredPartition
from .rows import row_id, row_name

Stores: TypeAlias = Store | Sequence[Store]  # what store= takes


class TieredStore(Store):
    """Stores in the order in which they are asked, each with a budget of its own.

    stores: the tiers, from the fastest, which is this machine's, to the widest, which most share. The first one also
    keeps a row of counters for each of the others, so that the hits of all processes that share it are known. Pickles
    if the stores do. Raises TypeError for what is no store, ValueError for an empty list and for a store that is in it
    twice.
    """

    def __init__(self, stores: Iterable[Store]) -> None:
        self.stores = tuple(stores)
        _check(self.stores)
        self.names = numbered(type(store).__name__ for store in self.stores)

    @property
    def maxbytes(self) -> int | None:
        """The most bytes of values, of all tiers together; None if one of them has no limit."""
        return total(store.maxbytes for store in self.stores)

    @property
    def currbytes(self) -> int | None:
        """The bytes of values in all tiers together; a value that two of them have counts twice."""
        return total(store.currbytes for store in self.stores)

    def partition(self, function_id: bytes, name: str, maxsize: int | None) -> TieredPartition:
        """Return the partition of one function, over one of each tier."""
        tiers = [store.partition(function_id, name, maxsize) for store in self.stores]
        rows = [
            self.stores[0].partition(one, row_name(name, tier), 1)
            for one, tier in zip(self._row_ids(function_id), self.names[1:], strict=True)
        ]
        return TieredPartition(self.stores, tiers, rows, self.names, maxsize)

    def _row_ids(self, function_id: bytes) -> list[bytes]:
        """Return what stands for a function's counters of each tier but the first, in the first one's store."""
        return [row_id(function_id, number) for number in range(1, len(self.stores))]

    def clear(self, function_id: bytes | None = None) -> None:
        """Clear every tier, from the lowest up: no value that is being copied upwards comes back."""
        work = [partial(store.clear, function_id) for store in reversed(self.stores)]
        if function_id is not None:
            work += [partial(self.stores[0].clear, one) for one in self._row_ids(function_id)]
        run_all(work)

    def close(self) -> None:
        """Close every tier; a later call opens them again."""
        run_all([store.close for store in self.stores])

    def __repr__(self) -> str:
        return f"[{', '.join(map(repr, self.stores))}]"

    def __reduce__(self) -> Any:
        return TieredStore, (self.stores,)


def is_same_store(one: Store, other: Store) -> bool:
    """Return whether one store pickles as the other does: each tier, if they have several."""
    if isinstance(one, TieredStore) and isinstance(other, TieredStore):
        return len(one.stores) == len(other.stores) and all(map(is_same_store, one.stores, other.stores))
    return bool(one.__reduce__() == other.__reduce__())


def _check(stores: Sequence[Any]) -> None:
    if not stores:
        raise ValueError("store must be a store, or a list of at least one, the fastest first, got an empty list")
    for n, store in enumerate(stores):
        if not isinstance(store, Store) or isinstance(store, TieredStore):
            raise TypeError(
                f"store[{n}] must be a bytecache.SharedStore or another store, got {store!r:.200}; a list of stores is "
                "read through in order, the fastest first"
            )
        for earlier, other in enumerate(stores[:n]):
            if store is other or (store.path is not None and store.path == other.path):
                raise ValueError(
                    f"store[{n}] is store[{earlier}], {store!r:.200}: each tier needs a store, and a budget, of its own"
                )
