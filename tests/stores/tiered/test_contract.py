"""The contract of stores, over several as one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from contracts.tiered import TieredStoreTests
from helpers.dict_store import StoreByName, made
from helpers.processes import in_child

import bytecache
from bytecache import SharedStore
from bytecache.stores.base import Store
from bytecache.stores.shared.locks import OFD_LOCKS_AVAILABLE
from bytecache.stores.tiered.store import TieredStore

pytestmark = pytest.mark.skipif(not OFD_LOCKS_AVAILABLE, reason="a shared store needs open file description locks")


class TestTieredStore(TieredStoreTests):
    """Two shared stores, the first one with room for three values."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        parts = [SharedStore(tmp_path / str(n), maxbytes=room * self.nbytes) for n, room in enumerate(self.rooms)]
        yield TieredStore(parts)
        for part in parts:
            part.close()

    @pytest.fixture
    def roomy(self, tmp_path: Path) -> Iterator[Store]:
        parts = [SharedStore(tmp_path / f"roomy {n}", maxbytes="1 MiB") for n in range(2)]
        yield TieredStore(parts)
        for part in parts:
            part.close()


class TestOverMemory(TestTieredStore):
    """A store in this process's memory over a shared one: the cache takes its lock before a fork."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        here, below = (
            StoreByName(self.rooms[0] * self.nbytes),
            SharedStore(tmp_path, maxbytes=self.rooms[1] * self.nbytes),
        )
        made[id(here)] = here
        yield TieredStore([here, below])
        made.clear()
        below.close()

    def test_a_function_in_a_forked_child(self, store: Store) -> None:
        """What the parent has stored in both tiers is found there, and counted."""
        f = bytecache.fill_once(store=store)(self.value_of)
        f.map(range(self.capacity))
        values = [self.value_of(n) for n in range(self.capacity)]
        for _ in range(3):
            assert in_child(lambda: (f.map(range(self.capacity)) == values, f.cache_stats().hits)) == (
                True,
                self.capacity,
            )
        assert f.map(range(self.capacity)) == values and f.cache_stats().misses == self.capacity


class TestOneTier(TestTieredStore):
    """A list of a single store."""

    rooms = (8,)


class TestThreeTiers(TestTieredStore):
    """Three shared stores."""

    rooms = (2, 1, 5)
