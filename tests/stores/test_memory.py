"""Partitions in memory: versions of one file, values that can be used only once, and forks in mid-change."""

from __future__ import annotations

import csv
import functools
import io
import itertools
import os
import random
import sys
import tempfile
import threading
import urllib.request
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.counting import counting, stats_of
from helpers.interrupts import returns_into
from helpers.processes import in_child
from helpers.threads import together

import bytecache
from bytecache import VersionedKey
from bytecache.stores.memory import FillOncePartition, LRUPartition

# Versions


def test_an_earlier_version_of_a_file_makes_room(tmp_path: Path) -> None:
    """However often a file is rewritten, its present bytes are stored, and those before are gone."""
    path = tmp_path / "a"

    @bytecache.fill_once(maxbytes="1 MB", key=bytecache.file_key)
    def read(path: Path) -> bytes:
        return path.read_bytes()

    for second in range(20):
        path.write_bytes(bytes([second]) * 100_000)
        os.utime(path, ns=(second * 10**9,) * 2)
        assert read(path) == read(path) == bytes([second]) * 100_000
    assert stats_of(read, "hits", "misses", "stored", "rejected", "evicted", "currsize") == (20, 20, 20, 0, 19, 1)
    assert 100_000 < read.cache_stats().currbytes < 101_000


def test_a_full_cache_stores_the_new_version_if_it_fits() -> None:
    """It takes the room of the one before; what is too large leaves that room to others."""
    f, ran = counting(bytecache.fill_once(maxbytes=10, sizeof=len, key=lambda k: VersionedKey(k[:2])), lambda k: k[2])
    f(("a", 1, "x" * 6)), f(("b", 1, "y" * 4))
    f(("c", 1, "z")), f(("a", 2, "x" * 5)), f(("c", 1, "z"))
    assert stats_of(f, "stored", "rejected", "evicted", "currsize", "currbytes") == (4, 1, 1, 3, 10)
    f(("a", 3, "x" * 7))
    assert stats_of(f, "stored", "rejected", "evicted", "currsize", "currbytes") == (4, 2, 2, 2, 5)
    ran.clear()
    f(("b", 1, "")), f(("c", 1, "")), f(("a", 2, "new"))
    assert ran == [("a", 2, "new")]


def test_keys_without_a_version_evict_nothing() -> None:
    """A plain tuple is a key as it is, also one that equals a VersionedKey."""
    f, ran = counting(bytecache.fill_once(key=lambda k: k))
    for key in ("a", 1), ("a", 2), (), "a", VersionedKey(()):
        f(key)
    assert stats_of(f, "stored", "evicted") == (4, 0) and len(ran) == 4
    assert VersionedKey(("a", 1)) == ("a", 1) and hash(VersionedKey(("a", 1))) == hash(("a", 1))


def test_versions_after_a_clear() -> None:
    """A clear forgets what was the latest version."""
    f, _ = counting(bytecache.fill_once(key=VersionedKey))
    f(("a", 1)), f.cache_clear(), f(("a", 2)), f(("a", 3))
    assert stats_of(f, "stored", "evicted", "currsize") == (2, 1, 1)


# Discards and keys


@pytest.mark.parametrize("decorate", [bytecache.fill_once, bytecache.lru_cache])
@pytest.mark.parametrize("typed", [False, True])
def test_keys_are_what_a_user_knows(decorate: Any, typed: bool) -> None:
    """A single argument is itself, several are a tuple, keywords are pairs; the list is a copy."""
    f = decorate(None, typed=typed)(lambda *args, **kwds: 0)
    f("a"), f(1), f(1.5), f((1, 2)), f("a", 2), f("a", b=2, c=3), f(b=2), f()
    keys = f.cache_keys()
    assert keys == ["a", 1, 1.5, ((1, 2),), ("a", 2), ("a", ("b", 2), ("c", 3)), (("b", 2),), ()]
    keys.clear()
    assert len(f.cache_keys()) == f.cache_info().currsize == 8
    assert f.cache_discard("a", b=2, c=3) and len(f.cache_keys()) == 7


def test_keys_are_those_of_the_key_function(tmp_path: Path) -> None:
    """Also if they are tuples."""
    f = bytecache.fill_once(key=lambda a, b: (a, b))(lambda a, b: 0)
    g = bytecache.fill_once(key=bytecache.file_key)(lambda path: 0)
    f(1, 2), g(tmp_path)
    assert f.cache_keys() == [(1, 2)] and g.cache_keys() == [bytecache.file_key(tmp_path)]


@pytest.mark.parametrize("value", [b"abc", [1]])
def test_an_interrupted_discard_leaves_exact_numbers(value: Any) -> None:
    """Wherever Ctrl-C strikes, an entry is there and counted, or neither."""
    interrupt_at, struck = 0, True
    while struck:
        f = bytecache.fill_once(maxbytes=1000)(lambda key: value)
        f("x"), f("y")
        interrupt_at += 1
        discard = functools.partial(f.cache_discard, "x")
        struck = returns_into(["bytecache.stores.memory"], discard, interrupt_at) == interrupt_at
        kept = f.cache_keys()
        assert (f.cache_info().currsize, f.cache_stats().currbytes) == (len(kept), len(kept) * bytecache.sizeof(value))
    assert interrupt_at > 3


@pytest.mark.parametrize("decorate", [bytecache.fill_once, bytecache.lru_cache])
def test_a_discarded_value_is_released_at_once(decorate: Any) -> None:
    """Nothing keeps it alive, and its bytes are those that it had when it was stored."""
    f = decorate(None, maxbytes=10_000)(lambda key: np.zeros(key, np.uint8))
    array = weakref.ref(f(3000))
    values = [f(key) for key in (100, 200)]
    assert f.cache_discard(3000) and array() is None
    assert f.cache_stats().currbytes == sum(map(bytecache.sizeof, values))
    grown = decorate(None, maxbytes=10_000)(lambda key: [])
    grown(1).extend(range(1000))
    assert grown.cache_discard(1) and grown.cache_stats().currbytes == 0


def test_discards_leave_the_order_of_use_exact() -> None:
    """However many are discarded in between, the least recently used of the rest is evicted."""
    f, ran = counting(bytecache.lru_cache(50), lambda key: key)
    model: OrderedDict[int, None] = OrderedDict()
    numbers = random.Random(3)
    for _ in range(5000):
        key = numbers.randrange(90)
        if numbers.random() < 0.2:
            assert f.cache_discard(key) is (model.pop(key, 0) is None)
            continue
        f(key)
        model[key] = None
        model.move_to_end(key)
        if len(model) > 50:
            model.popitem(last=False)
    assert set(f.cache_keys()) == set(model)


def test_discards_and_a_new_version() -> None:
    """A version that was discarded is not removed, nor counted, again by the next one."""
    f, _ = counting(bytecache.fill_once(maxbytes=10**6, key=VersionedKey))
    f(("a", 1)), f.cache_discard(("a", 1)), f(("a", 1)), f(("a", 2))
    assert stats_of(f, "stored", "evicted", "currsize") == (3, 2, 1)
    assert f.cache_discard(("a", 2)) and stats_of(f, "currsize", "currbytes") == (0, 0)


@pytest.mark.parametrize("decorate", [bytecache.fill_once, bytecache.lru_cache])
def test_discards_calls_and_clears_by_threads(decorate: Any) -> None:
    """With threads that switch all the time the counts add up, and the bytes are those of what is there."""
    f = decorate(60, maxbytes=10**6)(lambda key: b"x" * key)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def work(seed: int) -> None:
        numbers = random.Random(seed)
        for n in range(4000):
            key = numbers.randrange(100)
            if numbers.random() < 0.3:
                f.cache_discard(key)
            elif f(key) != b"x" * key:
                raise AssertionError(key)
            if n == 2000 and seed == 0:
                f.cache_clear()

    try:
        assert together(*[lambda seed=seed: work(seed) for seed in range(4)]) == [None] * 4
    finally:
        sys.setswitchinterval(interval)
    stats, keys = f.cache_stats(), f.cache_keys()
    assert stats.stored - stats.evicted == stats.currsize == len(keys) <= 60
    assert stats.currbytes == sum(bytecache.sizeof(b"x" * key) for key in keys)
    f.cache_clear()
    for key in range(60):
        f(key)
    assert f.cache_info().currsize == 60  # nothing is left that is counted and not there


# Values that can be used only once


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200), self.send_header("Content-Length", "3"), self.end_headers()
            self.wfile.write(b"abc")

        def log_message(self, *args: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


async def coroutine() -> None: ...


async def asyncgen() -> Any:
    yield


class Items:
    """An iterator by hand."""

    def __iter__(self) -> Items:
        return self

    def __next__(self) -> int:
        raise StopIteration


ONCE: dict[str, Callable[[], Any]] = {
    "generator": lambda: (n for n in range(3)),
    "iterator": lambda: iter([1]),
    "map": lambda: map(str, [1]),
    "itertools": lambda: itertools.count(),
    "by hand": Items,
    "csv": lambda: csv.reader([]),
    "coroutine": coroutine,
    "asyncgen": asyncgen,
    "BytesIO": lambda: io.BytesIO(b"a"),
    "StringIO": lambda: io.StringIO("a"),
    "in a tuple": lambda: (iter([1]), 1),
    "in a list": lambda: [iter([1])],
    "in a dict": lambda: {"a": iter([1])},
}


@pytest.mark.parametrize("kind", ONCE)
@pytest.mark.parametrize("options", [{}, {"maxbytes": 10**6}, {"maxbytes": 1}], ids=["", "budget", "full"])
def test_a_value_that_can_be_used_only_once_is_refused(in_memory: Any, kind: str, options: Any) -> None:
    """The call raises, says what it got and what to do, counts an error, and stores nothing."""
    f, ran = counting(in_memory(**options), lambda x: ONCE[kind]())
    for _ in range(2):
        with pytest.raises(
            TypeError, match=r"usable again and again, got an? .*, which would be spent .*: (return|cache)"
        ):
            f(1)
    assert stats_of(f, "misses", "errors", "stored", "rejected", "currsize") == (2, 2, 0, 0, 0) and len(ran) == 2


def test_open_files_are_refused_and_closed_ones_are_not(in_memory: Any, tmp_path: Path) -> None:
    """By whatever class they are open."""
    path = tmp_path / "a"
    path.write_text("abc")
    for open_file in (
        lambda: path.open(),
        lambda: path.open("rb"),
        lambda: path.open("rb", buffering=0),
        lambda: tempfile.NamedTemporaryFile(dir=tmp_path),
    ):
        file = open_file()
        with file, pytest.raises(TypeError, match="open file or stream .*: return what is read from it"):
            in_memory()(lambda key: file)(1)  # noqa: B023
        assert in_memory()(lambda key: file)(1) is file  # noqa: B023


def test_a_response_whose_body_was_not_read_is_refused(in_memory: Any, url: str) -> None:
    """That of urllib, and those of requests: one whose content is there can be stored."""
    with urllib.request.urlopen(url) as response, pytest.raises(TypeError, match="open file or stream"):
        in_memory()(lambda key: response)(1)
    requests = pytest.importorskip("requests")
    with requests.get(url, stream=True) as streamed:
        for unread in streamed, streamed.raw, streamed.iter_content(1):
            with pytest.raises(TypeError, match="would be spent at the second call"):
                in_memory()(lambda key: unread)(1)  # noqa: B023
    assert in_memory()(lambda key: requests.get(url))(1).content == b"abc"


def test_what_can_be_iterated_again_is_stored(in_memory: Any) -> None:
    """Ranges, containers, arrays, functions, classes, and iterators that are sequences too."""

    class Sloppy(list[int]):
        def __next__(self) -> int:
            return 1

    for value in range(3), {1}, frozenset(), np.ones(3), coroutine, Items, Sloppy(), Path("a"), memoryview(b"a"), None:
        assert in_memory()(lambda key: value)(1) is value  # noqa: B023


# Several puts at once


@pytest.mark.parametrize("kind", [FillOncePartition, LRUPartition])
def test_of_simultaneous_puts_of_one_object_one_is_counted(kind: Any) -> None:
    """Also if all of them put the same object under one key, as callers that do not wait for each other may."""
    partition, interval = kind(None, 1000, lambda value: 1), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for n in range(200):
            outcomes = together(*[lambda n=n: partition.put((n, "key"), None, 0).stored] * 3)
            assert sorted(map(str, outcomes)) == ["None", "None", "True"]
    finally:
        sys.setswitchinterval(interval)
    assert len(partition) == len(partition.entries) == partition.currbytes == 200


# Forks in mid-change


class ForkingKey:
    """A key that is looked up wherever others are, and whose comparison may fork."""

    fork: Callable[[], None] | None = None

    def __init__(self, name: str) -> None:
        self.name = name

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        fork, ForkingKey.fork = ForkingKey.fork, None
        if fork is not None:
            fork()
            ForkingKey.fork = fork
        return isinstance(other, ForkingKey) and self.name == other.name


@pytest.mark.parametrize("kind", [FillOncePartition, LRUPartition])
def test_a_child_has_no_half_stored_value(kind: Any) -> None:
    """Wherever in a put a fork comes: the child's numbers are those of the values that it has."""
    partition = kind(None, 1000, len)
    partition.put(ForkingKey("a"), b"x" * 10, 0)
    found = []

    def look() -> Any:
        partition.after_fork_in_child()
        (_, _, _, stored, *_), currsize, currbytes = partition.snapshot("process")
        partition.put(ForkingKey("c"), b"z" * 5, 0)
        return stored, currsize, currbytes, len(partition.entries), partition.currbytes

    ForkingKey.fork = lambda: found.append(in_child(look))
    partition.put(ForkingKey("b"), b"y" * 7, 0)
    ForkingKey.fork = None
    assert found and set(found) == {(1, 1, 10, 2, 15)}
    assert partition.snapshot("process").counts.stored == len(partition.entries) == 2 and partition.currbytes == 17


@pytest.mark.parametrize("kind", [FillOncePartition, LRUPartition])
@pytest.mark.parametrize("name", ["a", "b", "not there"])
def test_a_child_has_no_half_removed_value(kind: Any, name: str) -> None:
    """Wherever in a discard a fork comes: the child's numbers are those of the values that it has."""
    partition = kind(None, 1000, len)
    partition.put(ForkingKey("a"), b"x" * 10, 0), partition.put(ForkingKey("b"), b"y" * 7, 0)
    found = []

    def look() -> Any:
        partition.after_fork_in_child()
        counts, currsize, currbytes = partition.snapshot("process")
        there = [value if isinstance(value, bytes) else value.value for value in partition.entries.values()]
        return counts.stored - counts.evicted == currsize == len(there) and currbytes == sum(map(len, there))

    ForkingKey.fork = lambda: found.append(in_child(look))
    assert partition.discard(ForkingKey(name)) is (name != "not there")
    ForkingKey.fork = None
    assert found and set(found) == {True} and len(partition) == 1 + (name == "not there")
