"""A store of the tests' own."""

from __future__ import annotations

import threading
from typing import Any

from bytecache.stores.base import MISSING, Partition, PutResult, Store
from bytecache.stores.codec import Encoded, decode, encode
from bytecache.stores.counters import MemoryCounters


class DictStore(Store):
    """Encoded values in a dict for each function, under one budget: what a store needs, and nothing more."""

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
        self.values, self.lock = dict[bytes, Encoded](), threading.RLock()
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
        encoded = self.values.get(key)
        if encoded is None:
            return MISSING
        self.counters.hit()
        return decode(*encoded)

    def put(self, key: Any, value: Any, generation: int) -> PutResult:
        kind, payload, description = encode(value)
        encoded = Encoded(kind, memoryview(bytes(payload)), description)
        value, nbytes = decode(*encoded), payload.nbytes
        with self.lock:
            if generation != self.generation or key in self.values:
                return PutResult(value, None)
            if len(self.values) == self.maxsize or self.store.currbytes + nbytes > self.maxbytes:
                self.counters.rejected += 1
                return PutResult(value, False)
            self.values[key], self.currbytes = encoded, self.currbytes + nbytes
            self.counters.stored += 1
            return PutResult(value, True)

    def discard(self, key: Any) -> bool:
        with self.lock:
            encoded = self.values.pop(key, None)
            if encoded is not None:
                self.currbytes -= encoded.payload.nbytes
                self.counters.evicted += 1
            return encoded is not None

    def clear(self) -> None:
        with self.lock:
            self.values.clear(), self.counters.reset()
            self.currbytes, self.generation = 0, self.generation + 1


class StoreByName(DictStore):
    """One that can be pickled within this process."""

    def __reduce__(self) -> Any:
        return _find, (id(self),)


made: dict[int, StoreByName] = {}


def _find(number: int) -> StoreByName:
    return made[number]
