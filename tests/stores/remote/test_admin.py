"""What is told of a remote store from outside."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from helpers.servers import ENGINES, Server, free_port, running

import bytecache
from bytecache.stores.remote.admin import describe

pytest.importorskip("redis", minversion="8.0", reason="the extra redis")
Remote = Callable[..., bytecache.RemoteStore]


def use(store: bytecache.RemoteStore) -> None:
    f = bytecache.fill_once(store=store)(lambda n: bytes(100 * n))
    f.map(range(5)), f.map(range(5))
    store.close()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_server(engine: str, remote: Remote) -> None:
    """Its functions with entries, bytes and counters of all processes; its policy, and no password."""
    with running(engine, requirepass="s3cret", maxmemory="50mb") as server:
        url = f"redis://:s3cret@127.0.0.1:{server.port}"
        use(remote(url, namespace="job"))
        report = describe(url, namespace="job")
        assert (report["url"], report["entries"], report["currbytes"]) == (server.url, 5, 1000)
        (function,), (node,) = report["functions"], report["servers"]
        assert function["name"].endswith("<lambda>")
        assert [function[name] for name in ("hits", "misses", "stored", "hit_rate")] == [5, 5, 5, 0.5]  # type: ignore[literal-required]
        assert node["engine"].lower().startswith(f"{engine} ") and node["problem"] is None
        assert (node["policy"], node["maxmemory_bytes"], node["keys"]) == ("noeviction", 50 << 20, 7)
        assert node["hits"] >= 5 and node["used_bytes"] > 1000 and 0 < node["hit_rate"] < 1
        assert "s3cret" not in json.dumps(report)
        assert describe(url)["functions"] == []


def test_the_nodes_of_a_cluster(cluster: list[Server], remote: Remote) -> None:
    """All are told of."""
    use(remote(cluster[0].url))
    report = describe(cluster[0].url, timeout_s=10)
    assert {node["name"] for node in report["servers"]} == {f"127.0.0.1:{server.port}" for server in cluster}
    assert report["entries"] == 5 and sum(node["keys"] for node in report["servers"]) == 7


def test_a_server_that_is_absent(server: Server) -> None:
    """It is a ConnectionError that names it."""
    port = free_port()
    with pytest.raises(ConnectionError, match=f"redis://127.0.0.1:{port}.* does not answer"):
        describe(f"redis://127.0.0.1:{port}")
