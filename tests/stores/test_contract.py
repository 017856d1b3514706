"""The contract of stores, over those in memory, the shared one, and one of the tests' own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from contracts.store_contract import NBYTES, PartitionTests, StoreTests

from bytecache import SharedStore
from bytecache.stores.base import MISSING, Partition, PutResult, Store
from bytecache.stores.counters import MemoryCounters
from bytecache.stores.memory import FillOncePartition, LRUPartition
from bytecache.stores.shared.locks import OFD_LOCKS_AVAILABLE


class TestFillOnceStore(PartitionTests):
    @pytest.fixture
    def make(self) -> Callable[..., Partition]:
        return lambda maxsize=None: FillOncePartition(maxsize, self.capacity * NBYTES, len)


class TestLRUStore(PartitionTests):
    evicts = True

    @pytest.fixture
    def make(self) -> Callable[..., Partition]:
        return lambda maxsize=None: LRUPartition(maxsize, self.capacity * NBYTES, len)


@pytest.mark.skipif(not OFD_LOCKS_AVAILABLE, reason="a shared store needs open file description locks")
class TestSharedStore(StoreTests):
    @pytest.fixture(params=["in memory", "at a path"])
    def store(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
        path = tmp_path / "store" if request.param == "at a path" else None
        store = SharedStore(path, maxbytes=self.capacity * NBYTES)
        yield store
        store.close()


class DictStore(Store):
    """Bytes in a dict for each function, under one budget: what a store needs, and nothing more."""

    def __init__(self, maxbytes: int) -> None:
        self.maxbytes, self.partitions = maxbytes, dict[bytes, DictPartition]()

    @property
    def currbytes(self) -> int:
        return sum(partition.currbytes for partition in self.partitions.values())

    def partition(self, function_id: bytes, name: str, maxsize: int | None = None) -> DictPartition:
        return self.partitions.setdefault(function_id, DictPartition(self, maxsize))

    def clear(self, function_id: bytes | None = None) -> None:
        for partition in [p for key, p in self.partitions.items() if function_id in (None, key)]:
            partition.clear()

    def close(self) -> None: ...


class DictPartition(Partition):
    def __init__(self, store: DictStore, maxsize: int | None) -> None:
        self.store, self.maxbytes, self.maxsize = store, store.maxbytes, maxsize
        self.currbytes = self.generation = 0
        self.values, self.lock = dict[bytes, bytes](), threading.RLock()
        self.counters = MemoryCounters(self.lock)

    @property
    def full(self) -> bool:
        mean = self.currbytes / (len(self.values) or 1)
        return len(self.values) == self.maxsize or self.store.currbytes + mean > self.maxbytes

    def __len__(self) -> int:
        return len(self.values)

    def __contains__(self, key: Any) -> bool:
        return key in self.values

    def get(self, key: Any, copy: bool = True) -> Any:
        value = self.values.get(key, MISSING)
        self.counters.hit(value is not MISSING)
        return value

    def put(self, key: Any, value: Any, generation: int) -> PutResult:
        value = bytes(value)
        with self.lock:
            if generation != self.generation or key in self.values:
                return PutResult(value, None)
            if len(self.values) == self.maxsize or self.store.currbytes + len(value) > self.maxbytes:
                self.counters.rejected += 1
                return PutResult(value, False)
            self.values[key], self.currbytes = value, self.currbytes + len(value)
            self.counters.stored += 1
            return PutResult(value, True)

    def discard(self, key: Any) -> bool:
        with self.lock:
            value = self.values.pop(key, None)
            if value is not None:
                self.currbytes -= len(value)
                self.counters.evicted += 1
            return value is not None

    def clear(self) -> None:
        with self.lock:
            self.values.clear(), self.counters.reset()
            self.currbytes, self.generation = 0, self.generation + 1


class StoreByName(DictStore):
    """One that can be pickled within this process."""

    def __reduce__(self) -> Any:
        return _find, (id(self),)


_made: dict[int, StoreByName] = {}


def _find(number: int) -> StoreByName:
    return _made[number]


class TestCustomStore(StoreTests):
    """A dict of bytes with a budget, in under 70 lines, passes the contract and works under fill_once."""

    @pytest.fixture
    def store(self) -> Iterator[Store]:
        store = StoreByName(self.capacity * NBYTES)
        _made[id(store)] = store
        yield store
        _made.clear()
