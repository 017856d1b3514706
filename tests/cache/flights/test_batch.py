"""Batched functions in memory: their contract, methods, interrupts, and how they differ from a store's."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest
from contracts.batched import BatchedContract, Methods, bad, batched, copy, text
from helpers.flights import Gate
from helpers.internals import MISS_PATH_MODULES, assert_at_rest, waiting_threads
from helpers.interrupts import entries_into, returns_into
from helpers.threads import start, until

import bytecache


@pytest.fixture
def decorate(in_memory: Any) -> Any:
    """What the contract is run over."""
    return in_memory


class TestBatched(BatchedContract):
    """fill_once and lru_cache in memory."""


def test_without_a_cache() -> None:
    """With maxsize=0 a map is one call, and nothing is stored."""
    f, calls = batched(bytecache.fill_once, maxsize=0)
    assert f.map([1, 2, 1]) == [text(1), text(2), text(1)] and f(1) == text(1)
    assert calls == [[1, 2], [1]]
    stats = f.cache_stats()
    assert (stats.hits, stats.misses, stats.rejected, stats.currsize) == (1, 3, 3, 0)
    for _ in range(3):
        f.map(range(2000))  # which nobody is advised against


@pytest.mark.parametrize("options", [{"once": False}, {"maxsize": 0}], ids=str)
def test_calls_that_do_not_wait(options: Any) -> None:
    """With once=False, or without a cache, a map reads what another one is reading."""
    gate = Gate()
    f, calls = batched(bytecache.fill_once, lambda key: text(gate(key)[0]), **options)
    maps = [start(lambda: f.map("ab")) for _ in range(2)]
    gate.wait_entered(), gate.wait_entered()
    assert waiting_threads() == set()
    gate.open()
    assert [mapped() for mapped in maps] == [[text("a"), text("b")]] * 2
    assert calls == [["a", "b"]] * 2 and f.cache_stats().misses == 4
    assert_at_rest(f)


def test_lru_evicts_in_order() -> None:
    """Of a batch larger than the cache its last values are kept."""
    f, calls = batched(bytecache.lru_cache, maxsize=2)
    assert f.map("abcd") == [text(key) for key in "abcd"]
    assert sorted(f.cache_keys()) == ["c", "d"] and calls == [list("abcd")]


def test_a_row_of_an_array(in_memory: Any) -> None:
    """An array of values gives one row per key; what is stored is read-only."""
    f = in_memory(batched=True)(lambda keys: np.array([[key, key] for key in keys]))
    rows = f.map([1, 2])
    assert [row.tolist() for row in rows] == [[1, 1], [2, 2]] and f(2).tolist() == [2, 2]
    with pytest.raises(ValueError, match="read-only"):
        rows[0][0] = 9


def test_what_only_looks_like_a_list(in_memory: Any) -> None:
    """Something whose iteration gives other things than its rows, as a DataFrame's, is refused."""

    class Frame:
        def __len__(self) -> int:
            return 3

        def __getitem__(self, name: str) -> Any:
            raise KeyError(name)

        def __iter__(self) -> Any:
            return iter(["x", "y"])

    f = in_memory(batched=True)(lambda keys: Frame())
    with pytest.raises(TypeError, match="must return a list .* got Frame"):
        f.map("abc")
    assert f.cache_info().currsize == 0


def test_rows_of_an_array_count_their_own_bytes() -> None:
    """Of a batch of rows as many fit as of single arrays."""
    f = bytecache.fill_once(maxbytes="1 MiB", batched=True)(lambda keys: np.zeros((len(keys), 1000)))
    f.map(range(64))
    assert f.cache_info().currsize == 64


def test_a_version_replaces_the_one_before(tmp_path: Any) -> None:
    """key=file_key: a file that has changed is read again, and its old value goes."""
    paths = [tmp_path / name for name in "ab"]
    for path in paths:
        path.write_bytes(b"1")
    f, calls = batched(bytecache.fill_once, lambda path: path.read_bytes(), key=bytecache.file_key)
    assert f.map(paths) == [b"1", b"1"]
    paths[0].write_bytes(b"22")
    assert f.map(paths) == [b"22", b"1"] and calls[1:] == [[paths[0]]]
    assert f.cache_stats().evicted == 1 and f.cache_info().currsize == 2


# Methods


def test_a_method_reads_for_its_instance() -> None:
    """The function gets the instance and the list; instances share nothing, and a dead one's values go."""
    one, other = Methods("1"), Methods("2")
    assert one.read.map("ab") == ["1a", "1b"] and one.read("b") == "1b" and other.read.map("b") == ["2b"]
    assert one.calls == [["a", "b"]] and sorted(one.read.cache_keys()) == ["a", "b"]
    with pytest.raises(TypeError, match="is batched"):
        one.read("a", "b")
    one.read.warm("abc", batch_size=2)
    assert one.read.cache_contains("c") and Methods.read.cache_info().currsize == 4
    gone = weakref.ref(one)
    del one
    gc.collect()
    assert gone() is None and Methods.read.cache_info().currsize == 1
    assert other.read.uncached.map("bc") == ["2b", "2c"]
    assert copy(other).map("x") == ["2x"]


def test_a_method_that_keeps_its_instance_alive(in_memory: Any) -> None:
    """keep_alive=True: equal instances share."""

    class Equal:
        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 1

        @in_memory(batched=True, keep_alive=True)
        def read(self, keys: list[str]) -> list[bytes]:
            calls.append(keys)
            return [text(key) for key in keys]

    calls: list[Any] = []
    assert Equal().read.map("ab") == Equal().read.map("ab") == [text("a"), text("b")]
    assert calls == [["a", "b"]]


def test_a_method_under_a_decorator_without_wraps(in_memory: Any) -> None:
    """A method is called with one key, whatever its name has become."""

    def retry(function: Any) -> Any:
        return lambda *args: function(*args)

    class Reader:
        @in_memory(batched=True)
        @retry
        def read(self, keys: list[str]) -> list[bytes]:
            return [text(key) for key in keys]

    assert Reader().read("a") == text("a")


# Interrupts


def test_an_interrupt_in_put_is_no_error() -> None:
    """As with a function of one key."""

    def interrupt(value: Any) -> int:
        raise KeyboardInterrupt

    f, _ = batched(bytecache.fill_once, maxbytes=100, sizeof=interrupt)
    with pytest.raises(KeyboardInterrupt):
        f.map("abc")
    assert f.cache_stats().errors == 0


@pytest.mark.parametrize("strike", [entries_into, returns_into])
@pytest.mark.parametrize("value", [text, bad], ids=["values", "exceptions"])
def test_an_interrupt_anywhere_in_a_batch_strands_nobody(in_memory: Any, strike: Any, value: Any) -> None:
    """Wherever in a map's miss path a KeyboardInterrupt comes, the next map is answered, and counts agree."""
    keys = ["a", "bad", "b"]
    f, _ = batched(in_memory, value)
    modules = MISS_PATH_MODULES | {"bytecache.cache.bulk"}

    def call() -> None:
        f.map(keys, return_exceptions=True)

    places = strike(modules, call)
    assert places > 20
    for place in range(1, places + 1):
        f.cache_clear()
        strike(modules, call, interrupt_at=place)
        stats = f.cache_stats()
        assert stats.stored - stats.evicted == stats.currsize and stats.errors <= stats.misses
        start(call)()  # in another thread, which would wait for a flight that has no leader any more
        call()
        assert_at_rest(f)


def test_no_thread_waits_while_it_leads(in_memory: Any) -> None:
    """A map that another one waits for never waits itself before its call has ended."""
    gate = Gate()
    f, calls = batched(in_memory, lambda key: text(gate(key)[0]))
    first = start(lambda: f.map("ab"))
    gate.wait_entered()
    second = start(lambda: f.map("bc"))
    gate.wait_entered()  # reads c, and does not wait for b
    assert waiting_threads() == set() and calls == [["a", "b"], ["c"]]
    gate.open()
    assert first() == [text("a"), text("b")] and second() == [text("b"), text("c")]
    until(lambda: waiting_threads() == set())
