"""One machine reads a key that several miss; a machine that has died does not keep the others from it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from helpers.processes import Children, receive, send
from helpers.servers import Server
from helpers.threads import until

import bytecache
from bytecache.stores.remote.lease import LeaseBatch, RemoteLease
from bytecache.stores.remote.servers import Servers

Remote = Callable[..., bytecache.RemoteStore]


def lease_attempts(server: Server) -> int:
    with server.client() as client:
        return int(client.info("commandstats").get("cmdstat_set", {"calls": 0})["calls"])


@pytest.mark.parametrize("batched", [False, True], ids=["one", "batch"])
def test_two_processes_read_a_key_once(server: Server, batched: bool) -> None:
    """The one that comes second waits for the first one's value."""
    entered, go_on, log = os.pipe(), os.pipe(), os.pipe()

    def process() -> Any:
        def read(n: int) -> bytes:
            send(log[1])
            send(entered[1])
            receive(go_on[0])
            return b"%d" % n

        store = bytecache.RemoteStore(server.url)
        f: Any
        if batched:
            f = bytecache.fill_once(store=store, batched=True)(lambda keys: [read(key) for key in keys])
            found = f.map([7])[0].decode()
        else:
            f = bytecache.fill_once(store=store, version=1)(read)
            found = f(7).decode()
        info = f.cache_info()
        store.close()
        return [found, info.hits, info.misses]

    with server.client() as client:
        client.config_resetstat()
    children = Children(process, process)
    receive(entered[0])
    until(lambda: lease_attempts(server) >= 4)  # one has the lease, and the other asks for it again and again
    send(go_on[1])
    assert sorted(children.answers()) == [["7", 0, 1], ["7", 1, 0]]
    os.set_blocking(log[0], False)
    assert os.read(log[0], 10) == b"x"
    for fd in (*entered, *go_on, *log):
        os.close(fd)


def test_a_lease_expires_whose_holder_has_died(server: Server) -> None:
    """Whoever waits for it gets it then; its late release does not take it away again."""
    with server.client() as client:
        servers = Servers(client, "server")
        dead, waiting = (RemoteLease(LeaseBatch(servers, [b"key"], 0.3), b"key") for _ in range(2))
        assert dead.acquire(wait=False) is True and waiting.acquire(wait=False) is False
        assert waiting.acquire(wait=True) is True
        dead.release()
        assert client.exists(b"key")
        waiting.release()
        assert not client.exists(b"key")


def test_who_has_waited_as_long_as_a_lease_lasts_goes_on_without(server: Server) -> None:
    """As when others get the lease again and again."""
    with server.client() as client:
        client.set(b"key", b"somebody's")
        lease = RemoteLease(LeaseBatch(Servers(client, "server"), [b"key"], 0.05), b"key")
        assert lease.acquire(wait=True) is None and lease.acquire(wait=False) is False
        lease.release()
        assert client.get(b"key") == b"somebody's"


def test_leases_of_a_batch(server: Server) -> None:
    """Those that are free are acquired together, and released together."""
    with server.client() as client:
        client.set(b"2", b"somebody's")
        batch = LeaseBatch(Servers(client, "server"), [b"1", b"2", b"3"], 10)
        leases = [RemoteLease(batch, key) for key in (b"1", b"2", b"3")]
        client.config_resetstat()
        assert [lease.acquire(wait=False) for lease in leases] == [True, False, True]
        assert client.mget(b"1", b"2", b"3")[1] == b"somebody's"
        for lease in leases:
            lease.release()
        assert client.mget(b"1", b"2", b"3") == [None, b"somebody's", None]


def test_functions_that_are_fast_have_no_leases(server: Server, remote: Remote) -> None:
    """A lease takes longer than they do; of one that is slow, or not known yet, there is one."""
    partition = remote(server.url).partition(b"function of test", "f")
    key, generation = bytes(16), partition.generation
    assert partition.lease(key, generation) is not None
    for _ in range(100):
        partition.counters.miss(), partition.counters.load(1e-7)
    assert partition.lease(key, generation) is None
    partition.counters.miss(), partition.counters.load(100.0)
    assert partition.lease(key, generation) is not None
