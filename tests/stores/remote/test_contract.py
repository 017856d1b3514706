"""The contract of stores, over servers run for it: Redis and Valkey, single and a cluster, alone and as a tier."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from contracts.tiered import TieredStoreTests
from helpers.servers import ENGINES, Server, running, running_cluster

from bytecache import RemoteStore, SharedStore
from bytecache.stores.base import Partition, Store
from bytecache.stores.shared.locks import OFD_LOCKS_AVAILABLE
from bytecache.stores.tiered.store import TieredStore
from bytecache.testing import StoreTests

pytest.importorskip("redis", minversion="8.0", reason="the extra redis")
_PATIENCE_S = 10


@pytest.fixture(scope="module", params=[f"{engine} {kind}" for engine in ENGINES for kind in ("single", "cluster")])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    engine, kind = request.param.split()
    if engine == "redis":  # those of the other tests
        one = request.getfixturevalue("shared_server" if kind == "single" else "shared_cluster")
        yield (one if kind == "single" else one[0]).url
    elif kind == "single":
        with running(engine) as server:
            yield server.url
    else:
        with running_cluster(engine) as servers:
            yield servers[0].url


class TestRemoteStore(StoreTests):
    @pytest.fixture
    def store(self, url: str) -> Iterator[Store]:
        store = RemoteStore(url, maxbytes=self.capacity * self.nbytes, timeout_s=_PATIENCE_S)
        store.clear()
        yield store
        store.close()

    @pytest.fixture
    def roomy(self, url: str) -> Iterator[Store]:
        store = RemoteStore(url, maxbytes="1 MiB", namespace="roomy", timeout_s=_PATIENCE_S)
        store.clear()
        yield store
        store.close()


@pytest.mark.skipif(not OFD_LOCKS_AVAILABLE, reason="a shared store needs open file description locks")
class TestAsATier(TieredStoreTests):
    """A shared store of each machine, with room for three values, over a remote one."""

    @pytest.fixture
    def store(self, server: Server, tmp_path: Path) -> Iterator[Store]:
        here = SharedStore(tmp_path / "here", maxbytes=self.rooms[0] * self.nbytes)
        remote = RemoteStore(server.url, maxbytes=self.rooms[1] * self.nbytes, timeout_s=_PATIENCE_S)
        remote.clear()
        yield TieredStore([here, remote])
        here.close()
        remote.close()

    @pytest.fixture
    def roomy(self, server: Server, tmp_path: Path) -> Iterator[Store]:
        here = SharedStore(tmp_path / "roomy", maxbytes="1 MiB")
        remote = RemoteStore(server.url, maxbytes="1 MiB", namespace="roomy", timeout_s=_PATIENCE_S)
        remote.clear()
        yield TieredStore([here, remote])
        here.close()
        remote.close()

    def test_a_key_that_a_full_partition_has(self, partition: Partition) -> None:
        """Its second value is not stored; a remote store that was full a moment ago does not look whether it has it."""
        self.fill(partition)
        assert not self.put(partition, 1).stored
        assert len(partition) == self.capacity
