"""What a remote store keeps, for whom, and what it shows of itself."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import pickle
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers.processes import in_child
from helpers.servers import Server, running

import bytecache
from bytecache.stores.base import MISSING
from bytecache.stores.remote.connection import PASSWORD_VARIABLE, USER_VARIABLE
from bytecache.stores.remote.slots import slot_of

Remote = Callable[..., bytecache.RemoteStore]
ID, KEYS = b"function of test", [n.to_bytes(16, "big") for n in range(100)]


def entry_keys(client: Any) -> list[bytes]:
    return [key for key in client.keys() if not key.startswith(b"{")]


# Arguments and secrets


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({}, "needs one of url"),
        ({"url": "redis://x", "client": object()}, "needs one of url"),
        ({"url": "http://x"}, "url must begin with one of redis://, .*, got 'http'"),
        ({"url": "redis://user:secret@x:port"}, "url must have a port"),
        ({"url": "redis://x?decode_responses=True"}, "must not ask for decode_responses"),
        ({"url": "redis://user:secret@x?volume=11"}, "url of redis://x:6379 has an option .* 'volume'"),
        ({"url": "redis://x", "timeout_s": 0}, "timeout_s must be a number of seconds above zero, got 0"),
        ({"url": "redis://x", "namespace": "a b"}, "namespace must be 1 to 64 letters"),
        ({"url": "redis://x", "maxbytes": -1}, "maxbytes must be a positive int"),
        ({"client": object()}, "client must have redis-py's methods, got object without mget"),
    ],
)
def test_arguments_are_checked(options: Any, error: str) -> None:
    """What is wrong is said, without the password."""
    with pytest.raises((TypeError, ValueError), match=error) as caught:
        bytecache.RemoteStore(**options)
    assert "secret" not in str(caught.value)


def test_no_secret_is_shown(remote: Remote, caplog: pytest.LogCaptureFixture) -> None:
    """Neither in repr, nor in the log, nor in an error, whether it is in the URL or behind a question mark."""
    with running("redis", requirepass="hunter2") as server:
        for url in (
            f"redis://ann:s3cret@127.0.0.1:{server.port}/0?client_name=x",
            f"redis://127.0.0.1:{server.port}?username=ann&password=s3cret",
        ):
            store = remote(url)
            f = bytecache.fill_once(store=store)(lambda n: b"%d" % n)
            assert [f(n) for n in range(5)] == [b"%d" % n for n in range(5)]
            with pytest.raises(ConnectionError) as caught:
                f.cache_clear()
            shown = [repr(store), repr(f), str(caught.value), str(store.states()), caplog.text]
            assert not any("s3cret" in text or "ann" in text for text in shown)
            assert "does not answer (AuthenticationError" in caplog.text and store.states() == {
                f"127.0.0.1:{server.port}": "open"
            }


def test_the_password_may_be_in_the_environment(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    """User and password, for a URL that has neither."""
    with running("redis", requirepass="hunter2") as server:
        monkeypatch.setenv(USER_VARIABLE, "default")
        monkeypatch.setenv(PASSWORD_VARIABLE, "hunter2")
        f = bytecache.fill_once(store=remote(server.url))(lambda n: b"%d" % n)
        assert f(1) == f(1) == b"1" and f.cache_info()[:2] == (1, 1)


# Values


def test_values_of_all_kinds(server: Server, remote: Remote) -> None:
    """What is put, and what is found, are equal and of one type; arrays are read-only, and not the caller's."""
    partition = remote(server.url).partition(ID, "f")
    array = np.arange(12).reshape(3, 4)
    for key, value in zip(KEYS, [array, "text", None, (1, [2.5]), np.float32(3)], strict=False):
        put = partition.put(key, value, partition.generation)
        found = partition.get(key)
        assert type(put.value) is type(found) is type(value) and put.stored
        if value is not array:
            assert found == value == put.value
    result = partition.get(KEYS[0])
    array[0, 0] = 99
    assert result[0, 0] == 0 and not result.flags.writeable
    with pytest.raises(TypeError, match="the codec of a shared store takes"):
        partition.put(KEYS[9], object(), partition.generation)


def test_damaged_entries_are_misses(server: Server, remote: Remote) -> None:
    """Whatever bit of an entry is flipped, the value is read again and takes the entry's place."""
    store, numbers, ran = remote(server.url, maxbytes=100_000), random.Random(3), list[int]()

    @bytecache.fill_once(store=store)
    def f(n: int) -> bytes:
        ran.append(n)
        return b"%d" % n * 100

    f.map(range(20))
    with server.client() as client:
        for n, key in enumerate(entry_keys(client)):
            if n % 3 == 0:
                entry = bytearray(client.get(key))
                entry[numbers.randrange(len(entry))] ^= 1 << numbers.randrange(8)
                client.set(key, bytes(entry))
            elif n % 3 == 1:
                client.set(key, [b"", b"foreign", client.get(key)[:-1], client.get(key) + b"more"][n % 4])
    before = f.cache_stats()
    assert f.map(range(20)) == [b"%d" % n * 100 for n in range(20)]
    assert len(ran) == 34 and f.map(range(20)) == [f(n) for n in range(20)] and len(ran) == 34
    stats = f.cache_stats()
    assert (stats.hits, stats.misses, stats.currsize) == (46, 34, 20) and stats.currbytes == before.currbytes


def test_entries_that_were_swapped_are_misses(server: Server, remote: Remote) -> None:
    """An entry is valid under its own key alone."""
    partition = remote(server.url).partition(ID, "f")
    partition.put_many([(KEYS[n], b"%d" % n) for n in range(2)], partition.generation)
    with server.client() as client:
        one, other = entry_keys(client)
        client.rename(one, "aside"), client.rename(other, one), client.rename("aside", other)
    assert partition.get_many(KEYS[:2]) == [MISSING, MISSING] and partition.damaged == 2


def test_keys_of_other_types_are_misses(server: Server, cluster: list[Server], remote: Remote) -> None:
    """A list under the key of an entry is none, on a single server and in a cluster."""
    for url in (server.url, cluster[0].url):
        partition = remote(url).partition(ID, "f")
        partition.put(KEYS[1], b"value", partition.generation)
        for one in (server, *cluster):
            with one.client() as client:
                for key in entry_keys(client):
                    client.delete(key), client.lpush(key, "x")
        assert partition.get(KEYS[1]) is MISSING
        assert partition.put(KEYS[1], b"value", partition.generation).value == b"value"


# Functions, namespaces, machines


def test_jobs_share_what_is_the_same(server: Server, remote: Remote) -> None:
    """Two stores of one namespace find each other's values, those of two namespaces never."""
    one, same, other = (remote(server.url, namespace=name) for name in ("a", "a", "b"))
    partitions = [store.partition(ID, "f") for store in (one, same, other)]
    partitions[0].put(KEYS[1], b"value", partitions[0].generation)
    assert [partition.get(KEYS[1]) for partition in partitions] == [b"value", b"value", MISSING]
    other.clear()
    assert partitions[0].get(KEYS[1]) == b"value"
    with server.client() as client:
        assert len(entry_keys(client)) == 1


def test_a_clear_reaches_other_processes(server: Server, remote: Remote) -> None:
    """What they store of an earlier generation is not found, and does not stay; their counters start anew."""
    mine, theirs = (remote(server.url).partition(ID, "f") for _ in range(2))
    before = theirs.generation
    assert theirs.put(KEYS[1], b"1", before).stored and mine.get(KEYS[1]) == b"1"
    mine.clear()
    assert theirs.put(KEYS[2], b"2", before) == (b"2", None)  # it asks for the generation after it has stored
    assert theirs.generation == mine.generation != before
    assert theirs.snapshot("process").counts.stored == 0 and mine.get_many(KEYS[:3]) == [MISSING] * 3
    with server.client() as client:
        assert entry_keys(client) == []


def test_counters_of_all(server: Server, remote: Remote) -> None:
    """They are the sum of all processes', each of which is counted once."""
    stores = [remote(server.url) for _ in range(3)]
    functions = [bytecache.fill_once(store=store)(len) for store in stores]
    for function in functions:
        assert [function("abc") for _ in range(4)] == [3] * 4
    for store in stores:
        store.close()
    found = [function.cache_info("all")[:2] for function in functions]
    assert found == [(11, 1)] * 3
    assert [function.cache_info()[:2] for function in functions] == [(3, 1), (4, 0), (4, 0)]


def test_counters_of_a_function_that_is_gone_are_sent(remote: Remote, server: Server) -> None:
    """When its store is closed; those that the record has by then are not sent again."""
    store = remote(server.url)
    function = bytecache.fill_once(store=store)(len)
    for _ in range(2):
        assert [function("abc") for _ in range(5)] == [3] * 5
        del function
        gc.collect()
        assert len(store._left) == 1 and not store._partitions
        store.close()
        assert not store._left
        function = bytecache.fill_once(store=store)(len)
    assert function.cache_info("all")[:2] == (9, 1)


def test_counters_of_all_while_the_server_is_away(remote: Remote) -> None:
    """They are the last known of all processes, with what this one has counted since."""
    with running("redis") as server:
        first, second = (bytecache.fill_once(store=remote(server.url))(len) for _ in range(2))
        first("abc"), first("abc"), second("abc")
        first.cache_stats("all")  # which tells the server
        assert second.cache_stats("all").hits == 2
        server.kill()
        second("ab")
        stats = second.cache_stats("all")
        assert (stats.hits, stats.misses) == (2, 2)


def test_an_evicting_server_is_warned_of(remote: Remote) -> None:
    """Once, with the setting to use."""
    with running("redis", maxmemory="100mb", maxmemory_policy="allkeys-lru") as server:
        f = bytecache.fill_once(store=remote(server.url))(lambda n: b"%d" % n)
        with pytest.warns(
            RuntimeWarning, match="maxmemory-policy allkeys-lru.*set maxmemory-policy noeviction"
        ) as told:
            assert [f(n) for n in range(3)] == [b"0", b"1", b"2"]
        assert len(told) == 1


def test_a_full_server(remote: Remote) -> None:
    """Without maxbytes its own maxmemory decides: what does not fit is returned and rejected, reads go on."""
    with running("redis", maxmemory="4mb") as server:
        store = remote(server.url)
        f = bytecache.fill_once(store=store)(lambda n: b"%4d" % n * 25_000)
        values = [f(n) for n in range(60)]
        assert values == [b"%4d" % n * 25_000 for n in range(60)]
        stats = f.cache_stats()
        assert stats.rejected > 20 and stats.stored > 5 and stats.stored + stats.rejected == 60
        assert stats.currsize == stats.stored and stats.currbytes == stats.stored * 100_000 and stats.maxbytes is None
        assert f(0) == values[0] and f.cache_info().hits == 1
        assert f.warm(range(100)).misses == 60  # it knows that the server is full
        f.cache_clear()


@pytest.mark.parametrize("options", [{"maxbytes": 1000}, {}], ids=["budget", "server"])
def test_a_full_store_gives_no_leases(server: Server, remote: Remote, options: Any) -> None:
    """Its values could not be handed on; with room there are leases."""
    partition = remote(server.url, **options).partition(ID, "f", None if options else 1)
    assert partition.lease(KEYS[9], partition.generation) is not None
    partition.put(KEYS[1], bytes(1000), partition.generation)
    assert partition.lease(KEYS[9], partition.generation) is None


def test_slots_are_those_of_the_server(cluster: list[Server]) -> None:
    """Also of keys with braces, wherever they are."""
    with cluster[0].client() as client:
        for key in [b"", b"abc", b"{a}b", b"b{a}", b"{}a", b"{{a}}", b"a{b", b"a}b{c}", bytes(range(256))]:
            assert slot_of(key) == client.execute_command("CLUSTER KEYSLOT", key)


def test_each_node_of_a_cluster_gets_a_share(cluster: list[Server], remote: Remote) -> None:
    """Values are spread over the nodes, and found by a store that was given any of them."""
    items = [(key, key) for key in KEYS]
    first = remote(cluster[0].url).partition(ID, "f")
    assert [result.stored for result in first.put_many(items, first.generation)] == [True] * 100
    for server in cluster:
        assert remote(server.url).partition(ID, "f").get_many(KEYS) == KEYS
        with server.client() as client:
            assert 10 < len(entry_keys(client)) < 60
    first.clear()
    for server in cluster:
        with server.client() as client:
            assert entry_keys(client) == []


def test_requests_of_a_batch(server: Server, remote: Remote) -> None:
    """A batch is read in one request, whether it hits or not, and stored in one; its leases too."""

    @bytecache.fill_once(store=remote(server.url), batched=True)
    def f(keys: list[int]) -> list[bytes]:
        return [b"%d" % key for key in keys]

    f(1000)
    with server.client() as client:
        client.config_resetstat()
        f.map(range(50))
        stats = client.info("commandstats")
    calls = {name: stats[f"cmdstat_{name}"]["calls"] for name in ("mget", "set", "del")}
    assert calls == {"mget": 2, "set": 100, "del": 50}  # a second look, with the leases; values and leases are set
    assert stats["cmdstat_eval"]["calls"] <= 52  # leases that are released, and the record


# Clients, pickles, forks


def test_a_client_of_the_callers(server: Server, cluster: list[Server], remote: Remote) -> None:
    """It is used, and not closed; one for a cluster, and one for a node of a cluster, find all nodes."""
    import redis

    with (
        server.client() as single,
        cluster[0].client() as node,
        redis.RedisCluster(host="127.0.0.1", port=cluster[1].port) as whole,
    ):
        for client in (single, node, whole):
            store = remote(client=client)
            partition = store.partition(ID, "f")
            partition.put_many([(key, key) for key in KEYS], partition.generation)
            assert partition.get_many(KEYS) == KEYS
            store.close()
            assert client.ping() and partition.get(KEYS[1]) == KEYS[1]
            store.close()
        with pytest.raises(ValueError, match="must not have decode_responses"):
            bytecache.RemoteStore(client=redis.Redis(port=server.port, decode_responses=True))


def test_a_forked_child_has_connections_of_its_own(server: Server, remote: Remote) -> None:
    """Both may ask at the same time; the child counts from zero, and both count for all."""
    store = remote(server.url)
    f = bytecache.fill_once(store=store)(lambda n: b"%d" % n)
    f.map(range(10))

    def child() -> Any:
        found = [f(n) for n in range(20)]
        counted = f.cache_info()
        store.close()
        return found, counted

    found, counted = in_child(child)
    assert found == [b"%d" % n for n in range(20)] and counted[:2] == (10, 10)
    assert f.map(range(20)) == found and f.cache_info()[:2] == (20, 10) and f.cache_info("all")[:2] == (30, 20)


def test_what_a_worker_counts_is_sent_when_it_ends(server: Server, remote: Remote) -> None:
    """Also in a process of multiprocessing, such as a DataLoader's worker, and within a second."""
    f = bytecache.fill_once(store=remote(server.url))(lambda n: b"%d" % n)
    worker = multiprocessing.get_context("fork").Process(target=lambda: [f(n % 3) for n in range(10)])
    worker.start(), worker.join()
    assert f.cache_info("all")[:2] == (7, 3) and f.cache_info()[:2] == (0, 0)


def _spawned(store: bytecache.RemoteStore, connection: Any) -> None:
    partition = store.partition(ID, "f")
    connection.send((partition.get(KEYS[1]), partition.put(KEYS[2], b"theirs", partition.generation).stored))
    store.close()


@pytest.mark.foreign_threads
def test_a_spawned_process_finds_the_same_values(server: Server, remote: Remote) -> None:
    """A pickle has the URL and the limits, and no connection."""
    store = remote(f"redis://:password@127.0.0.1:{server.port}", maxbytes=5000, namespace="n")
    assert pickle.loads(pickle.dumps(store)).__reduce__() == store.__reduce__()
    store = remote(server.url)
    partition = store.partition(ID, "f")
    partition.put(KEYS[1], b"ours", partition.generation)
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_spawned, args=(store, theirs))
    process.start()
    assert ours.poll(60) and ours.recv() == (b"ours", True)
    process.join()
    process.close(), ours.close(), theirs.close()
    assert partition.get(KEYS[2]) == b"theirs"


def test_what_a_server_refuses_is_logged_once(server: Server, remote: Remote, caplog: Any) -> None:
    """A user who may only read: calls are answered, values are not stored."""
    with server.client() as client:
        client.execute_command("ACL SETUSER", "reader", "on", ">pw", "~*", "+mget", "+get")
    with caplog.at_level(logging.WARNING, "bytecache"):
        f = bytecache.fill_once(store=remote(f"redis://reader:pw@127.0.0.1:{server.port}"))(lambda n: b"%d" % n)
        assert [f(n % 3) for n in range(9)] == [b"%d" % (n % 3) for n in range(9)]
    assert len(caplog.records) == 1 and "no permissions" in caplog.text.lower()
