"""Servers for the tests of this folder: one that all share, empty for each test, and stores that are closed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from helpers.servers import Server, running, running_cluster

from bytecache import RemoteStore


@pytest.fixture(scope="session")
def shared_server() -> Iterator[Server]:
    pytest.importorskip("redis", minversion="8.0", reason="the extra redis")
    with running("redis") as server:
        yield server


@pytest.fixture
def server(shared_server: Server) -> Server:
    """A Redis server without anything in it, which the test does not stop."""
    with shared_server.client() as client:
        client.flushall()
    return shared_server


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[list[Server]]:
    pytest.importorskip("redis", minversion="8.0", reason="the extra redis")
    with running_cluster("redis") as servers:
        yield servers


@pytest.fixture
def cluster(shared_cluster: list[Server]) -> list[Server]:
    """A cluster of three without anything in it, which the test does not stop."""
    for server in shared_cluster:
        with server.client() as client:
            client.flushall()
    return shared_cluster


@pytest.fixture
def remote() -> Iterator[Callable[..., RemoteStore]]:
    """A function that makes a store, which is closed at the end; a server may take 10 s to answer."""
    stores: list[RemoteStore] = []

    def make(*arguments: Any, timeout_s: float = 10, **options: Any) -> RemoteStore:
        stores.append(RemoteStore(*arguments, timeout_s=timeout_s, **options))
        return stores[-1]

    yield make
    for store in stores:
        store.close()
