"""The contract of stores, over those in memory, the shared one, and one of the tests' own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from contracts.evicting import EvictingPartitionTests
from helpers.dict_store import StoreByName, made

from bytecache import SharedStore
from bytecache.conformance.concurrency_tests import PartitionTests
from bytecache.stores.base import Partition, Store
from bytecache.stores.memory import FillOncePartition, LRUPartition
from bytecache.stores.shared.locks import OFD_LOCKS_AVAILABLE
from bytecache.testing import StoreTests


class TestFillOnceStore(PartitionTests):
    @pytest.fixture
    def make(self) -> Callable[..., Partition]:
        return lambda maxsize=None: FillOncePartition(maxsize, self.capacity * self.nbytes, len)


class TestLRUStore(EvictingPartitionTests):
    @pytest.fixture
    def make(self) -> Callable[..., Partition]:
        return lambda maxsize=None: LRUPartition(maxsize, self.capacity * self.nbytes, len)


@pytest.mark.skipif(not OFD_LOCKS_AVAILABLE, reason="a shared store needs open file description locks")
class TestSharedStore(StoreTests):
    @pytest.fixture(params=["in memory", "at a path"])
    def store(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
        path = tmp_path / "store" if request.param == "at a path" else None
        store = SharedStore(path, maxbytes=self.capacity * self.nbytes)
        yield store
        store.close()

    @pytest.fixture
    def roomy(self) -> Iterator[Store]:
        store = SharedStore(maxbytes="1 MiB")
        yield store
        store.close()


class TestCustomStore(StoreTests):
    """A dict with a budget, in some 70 lines, passes the contract and works under fill_once."""

    @pytest.fixture
    def store(self) -> Iterator[Store]:
        store = StoreByName(self.capacity * self.nbytes)
        made[id(store)] = store
        yield store
        made.clear()

    @pytest.fixture
    def roomy(self) -> Store:
        return StoreByName(1 << 20)
