"""Real servers that fail: every call is answered with the right value, and what is lost is read from storage."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from helpers.processes import in_child
from helpers.servers import Server, free_port, running

import bytecache
from bytecache.stores.base import MISSING
from bytecache.testing import FaultyStore

pytest.importorskip("redis", minversion="8.0", reason="the extra redis")
Remote = Callable[..., bytecache.RemoteStore]
KEYS = range(40)
PATIENCE_S = 60


class Clock:
    """The breakers' clock, for a store that has made no call yet."""

    def __init__(self, store: bytecache.RemoteStore) -> None:
        self.now = 1000.0
        store._clock = lambda: self.now


@pytest.fixture
def impatient(remote: Remote) -> Remote:
    """A function that makes a store that waits 0.3 s for an answer, for servers that give none."""
    return partial(remote, timeout_s=0.3)


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server that the test may kill."""
    with running("redis") as server:
        yield server


def cached(store: bytecache.RemoteStore, **options: Any) -> tuple[Any, list[int]]:
    """Return a function over a store, and the keys that it was run for."""
    ran: list[int] = []

    @bytecache.fill_once(store=store, **options)
    def read(n: int) -> bytes:
        ran.append(n)
        return b"%d" % n * 50

    return read, ran


def epoch(read: Any) -> None:
    """Read all keys, one by one and in batches, and compare."""
    assert [read(n) for n in KEYS] == [b"%d" % n * 50 for n in KEYS]
    assert read.map(KEYS, threads=2) == [b"%d" % n * 50 for n in KEYS]


def assert_exact(read: Any, calls: int) -> None:
    stats = read.cache_stats()
    assert stats.hits + stats.misses == calls and stats.errors == 0


def test_a_server_that_is_absent(remote: Remote) -> None:
    """It is asked three times, then not for 5 s; once it is there, values are stored and found."""
    port = free_port()
    store = remote(f"redis://127.0.0.1:{port}")
    clock = Clock(store)
    read, ran = cached(store)
    epoch(read)
    assert len(ran) == 80 and store.states() == {f"127.0.0.1:{port}": "open"}
    with running("redis", port=port):
        epoch(read)
        assert len(ran) == 160
        clock.now += 5
        epoch(read)
        assert len(ran) == 200 and store.states() == {f"127.0.0.1:{port}": "closed"}
        assert_exact(read, 240)
        assert read.cache_stats("all").misses == 200  # what was counted while it was away is not lost
        store.close()


@pytest.mark.parametrize("form", ["alone", "tier", "staged", "faulty"])
def test_the_state_of_a_server_is_in_the_counters(
    remote: Remote, stores: Callable[..., bytecache.SharedStore], form: str
) -> None:
    """Whatever the store is a part of, without a request; a difference has the later one, other stores have none."""
    port = free_port()
    store = remote(f"redis://127.0.0.1:{port}")
    clock = Clock(store)
    if form == "staged":
        read: Any = bytecache.staged(str, len, store=[stores(), store])
    elif form == "faulty":
        read = bytecache.fill_once(store=FaultyStore(store, seed=1, rate=0.0))(str)
    else:
        read = bytecache.fill_once(store=store if form == "alone" else [stores(), store])(str)
    name = f"127.0.0.1:{port}"
    before = read.cache_stats()
    assert [server.name for server in before.servers] == [name]
    read.map(range(10), threads=1), read(11), read(12)
    assert (read.cache_stats() - before).servers == (bytecache.ServerStats(name, "open"),)
    clock.now += 5
    with running("redis", port=port):
        read(13), read(14)
        assert read.cache_stats().servers == (bytecache.ServerStats(name, "closed"),)
        store.close()
    assert bytecache.fill_once(store=stores(name="other"))(str).cache_stats().servers == ()
    assert bytecache.fill_once(str).cache_stats().servers == ()


def test_a_server_that_is_killed_and_restarted_empty(
    own_server: Server, remote: Remote, caplog: pytest.LogCaptureFixture
) -> None:
    """Its values are read again, and stored under another generation; what this process counted stays."""
    store = remote(own_server.url)
    clock = Clock(store)
    read, ran = cached(store)
    with caplog.at_level(logging.INFO, "bytecache"):
        epoch(read)
        own_server.kill()
        epoch(read)
        assert len(ran) == 120 and list(store.states().values()) == ["open"]
        own_server.start()
        clock.now += 5
        for partition in store._partitions:
            partition.account.unbind()  # or the generation would be asked for a second later
        epoch(read)
        epoch(read)
    assert len(ran) == 160
    assert_exact(read, 320)
    assert read.cache_info("all") == read.cache_info()
    assert [record.getMessage()[:40].partition(" ")[2][:15] for record in caplog.records] == [
        "does not answer", "answers again"
    ]  # fmt: skip


def test_a_server_that_is_paused(own_server: Server, impatient: Remote) -> None:
    """Three calls wait for their timeout, the others not; afterwards its values are found again."""
    store = impatient(own_server.url)
    clock = Clock(store)
    read, ran = cached(store)
    epoch(read)
    own_server.pause()
    try:
        epoch(read)
    finally:
        own_server.resume()
    assert len(ran) == 120 and list(store.states().values()) == ["open"]
    clock.now += 5
    epoch(read)
    assert len(ran) == 120
    assert_exact(read, 240)


def test_a_server_that_accepts_and_never_answers(remote: Remote) -> None:
    """Such as a proxy without anything behind it."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        store = remote(f"redis://127.0.0.1:{listener.getsockname()[1]}", timeout_s=0.05)
        read, ran = cached(store)
        epoch(read)
        assert len(ran) == 80 and list(store.states().values()) == ["open"]


def test_a_server_that_answers_nonsense(remote: Remote) -> None:
    """What is no answer of a Redis server is none; nothing of it becomes a value."""
    with running("redis") as server:
        store = remote(server.url)
        read, ran = cached(store)
        epoch(read)
        own = store.servers()
        for frames in ([b"x" * 100] * 40, [b""] * 40, [5] * 40):
            own.get_many = lambda keys, use, frames=frames: use(keys, frames[: len(keys)])  # type: ignore[method-assign]
            epoch(read)
        del own.get_many  # type: ignore[method-assign]
        assert len(ran) == 40 + 3 * 80
        epoch(read)
        assert len(ran) == 40 + 3 * 80


def test_a_server_without_connections_left(own_server: Server, remote: Remote) -> None:
    """It refuses this process as long as others have all."""
    with own_server.client() as client:
        client.config_set("maxclients", 1)
        store = remote(own_server.url)
        clock = Clock(store)
        read, ran = cached(store)
        epoch(read)
        assert len(ran) == 80 and list(store.states().values()) == ["open"]
        client.config_set("maxclients", 100)
        clock.now += 5
        epoch(read)
        assert len(ran) == 120


def test_a_node_of_a_cluster_that_is_lost(cluster: list[Server], impatient: Remote) -> None:
    """The values of the others are found as before; once it answers again, its own are too."""
    store = impatient(cluster[0].url)
    clock = Clock(store)
    read, ran = cached(store)
    epoch(read)
    partition = next(iter(store._partitions))
    record = partition.account._record._keys[0]
    owner = int(store.servers().of(record).name.rpartition(":")[2])
    lost = next(server for server in cluster if server.port != owner)  # one without the record
    lost.pause()
    try:
        for _ in range(3):
            epoch(read)
    finally:
        lost.resume()
    states = store.states()
    assert states.pop(f"127.0.0.1:{lost.port}") == "open" and set(states.values()) == {"closed"}
    assert 0 < len(set(ran[40:])) < 30
    clock.now += 5
    before = len(ran)
    epoch(read)
    assert len(ran) == before
    assert_exact(read, 400)


def test_a_clear_of_a_server_that_does_not_answer(own_server: Server, impatient: Remote) -> None:
    """It raises, since the values would be found again; a discard is False, and is logged."""
    store = impatient(own_server.url)
    read, _ = cached(store)
    epoch(read)
    own_server.pause()
    try:
        with pytest.raises(
            ConnectionError, match=r"RemoteStore\(.* could not be cleared: .*: try again once it answers"
        ):
            read.cache_clear()
        assert read.cache_discard(1) is False and read.cache_contains(1) is False
    finally:
        own_server.resume()


UNRESOLVED = """
import socket
import bytecache

name_server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
name_server.bind(("127.0.0.1", 53))  # which is asked, and never answers
store = bytecache.RemoteStore("redis://cache.example:6379", timeout_s=0.1)
read = bytecache.fill_once(store=store)(str)
print([read(n) for n in range(20)] == [str(n) for n in range(20)], *store.states().values())
"""


def test_a_name_server_that_never_answers(tmp_path: Path) -> None:
    """A look-up of a host name, which takes minutes then, ends after the timeout, and counts as a failure."""
    resolver = tmp_path / "resolv.conf"
    resolver.write_text("nameserver 127.0.0.1\noptions timeout:30 attempts:5\n")
    inside = 'ip link set lo up && mount --bind "$1" /etc/resolv.conf && exec "$2" -c "$3"'
    command = ["unshare", "--net", "--mount", "sh", "-c", inside, "sh", resolver, sys.executable, UNRESOLVED]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    except FileNotFoundError:
        pytest.skip("needs unshare, of util-linux")
    if "unshare:" in done.stderr or "mount:" in done.stderr or "ip:" in done.stderr or "RTNETLINK" in done.stderr:
        pytest.skip(f"needs a network of its own, and a file of its own over /etc/resolv.conf ({done.stderr.strip()})")
    assert done.stdout.split() == ["True", "open"], done.stderr


def test_a_child_of_a_process_whose_server_is_paused(own_server: Server, impatient: Remote) -> None:
    """It finds out by itself, and answers all calls."""
    store = impatient(own_server.url)
    read, _ = cached(store)
    epoch(read)
    own_server.pause()
    try:
        assert in_child(lambda: epoch(read) or "done") == "done"
    finally:
        own_server.resume()


def test_values_are_stored_once_a_server_has_memory_again(remote: Remote) -> None:
    """A full server is not given values for 10 s, by the breakers' clock; then one is tried again."""
    with running("redis", maxmemory="3mb") as server:
        store = remote(server.url)
        clock = Clock(store)
        partition = store.partition(b"function of test", "f")
        keys = [n.to_bytes(16, "big") for n in range(60)]

        def put(key: bytes) -> Any:
            return partition.put(key, bytes(100_000), partition.generation).stored

        assert False in [put(key) for key in keys] and partition.full
        with server.client() as client:
            client.config_set("maxmemory", "100mb")
        assert put(b"x" * 16) is False and partition.get(b"x" * 16) is MISSING
        clock.now += 10
        assert not partition.full and put(b"x" * 16) is True and partition.get(b"x" * 16) == bytes(100_000)
