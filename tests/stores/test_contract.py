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
from bytecache.stores.memory import FillOnceStore, LRUStore
from bytecache.stores.shared.locks import AVAILABLE


class TestFillOnceStore(PartitionTests):
    @pytest.fixture
    def make(self) -> Callable[..., Partition]:
        return lambda maxsize=None: FillOnceStore(maxsize, self.capacity * NBYTES, len)


class TestLRUStore(PartitionTests):
    evicts = True

    @pytest.fixture
    def make(self) -> Callable[..., Partition]:
        return lambda maxsize=None: LRUStore(maxsize, self.capacity * NBYTES, len)


@pytest.mark.skipif(not AVAILABLE, reason="a shared store needs open file description locks")
class TestSharedStore(StoreTests):
    @pytest.fixture(params=["in memory", "at a path"])
    def store(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
        path = tmp_path / "store" if request.param == "at a path" else None
        store = SharedStore(path, maxbytes=self.capacity * NBYTES)
        yield store
        store.close()


class DictStore(Store):
    """A dict of bytes per function, for the processes that fork: what a store needs, and nothing more."""

    def __init__(self, maxbytes: int) -> None:
        self.maxbytes = maxbytes
        self.partitions: dict[bytes, DictPartition] = {}

    @property
    def currbytes(self) -> int:
        return sum(partition.currbytes for partition in self.partitions.values())

    def partition(self, function_id: bytes, name: str, maxsize: int | None = None) -> DictPartition:
        return self.partitions.setdefault(function_id, DictPartition(self, maxsize))

    def clear(self, function_id: bytes | None = None) -> None:
        for key, partition in self.partitions.items():
            if function_id in (None, key):
                partition.clear()

    def close(self) -> None:
        """Nothing to close."""

    def __reduce__(self) -> Any:
        return _find, (id(self),)


class DictPartition(Partition):
    def __init__(self, store: DictStore, maxsize: int | None) -> None:
        self.store, self.maxsize, self.lock, self.values = store, maxsize, threading.RLock(), dict[bytes, bytes]()
        self.maxbytes, self.counters, self.generation = store.maxbytes, MemoryCounters(self.lock), 0

    @property
    def currbytes(self) -> int:
        return sum(map(len, self.values.values()))

    @property
    def full(self) -> bool:
        return self.store.currbytes + NBYTES > self.maxbytes

    def __len__(self) -> int:
        return len(self.values)

    def __contains__(self, key: Any) -> bool:
        return key in self.values

    def get(self, key: Any, copy: bool = True) -> Any:
        value = self.values.get(key, MISSING)
        if value is not MISSING:
            self.counters.hit()
        return value

    def put(self, key: Any, value: Any, generation: int) -> PutResult:
        with self.lock:
            if generation != self.generation or key in self.values:
                return PutResult(value, None)
            if len(self) == self.maxsize or self.store.currbytes + len(value) > self.maxbytes:
                self.counters.rejected()
                return PutResult(value, False)
            self.values[key] = bytes(value)
            self.counters.stored()
            return PutResult(value, True)

    def clear(self) -> None:
        with self.lock:
            self.values.clear()
            self.generation += 1
            self.counters.reset()


_made: dict[int, DictStore] = {}


def _find(number: int) -> DictStore:
    return _made[number]


class TestAStoreOfOnesOwn(StoreTests):
    """A dict of bytes with a budget, in under 60 lines, passes the contract and works under fill_once."""

    @pytest.fixture
    def store(self) -> Iterator[Store]:
        store = DictStore(self.capacity * NBYTES)
        _made[id(store)] = store
        yield store
        _made.clear()
