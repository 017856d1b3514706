"""Functions over a shared store, in one process: the contracts of every cached function, and what only they do."""

from __future__ import annotations

import array
import contextlib
import copy
import functools
import gc
import os
import pickle
import random
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contracts.bulk import BulkContract
from contracts.calls import CallContract
from contracts.single_flight import SingleFlightContract
from helpers.counting import counting, stats_of
from helpers.flights import Gate, N, crowd
from helpers.internals import (
    SHARED_MISS_PATH_MODULES,
    digest_of,
    flights_of,
    handle_of,
    leasing_threads,
    locked_bytes,
    store_of,
    waiting_threads,
)
from helpers.interrupts import entries_into
from helpers.pickling import PickledFunction
from helpers.processes import Children, in_child, open_files, send
from helpers.threads import PATIENCE_S, start, together, until

import bytecache
from bytecache import SharedStore
from bytecache.stores.shared.handle import StoreHandle

BUDGET = 1 << 22


@pytest.fixture(params=["shared=True", "store="])
def shared(request: pytest.FixtureRequest, stores: Callable[..., SharedStore]) -> Iterator[Any]:
    """A decorator over a shared store, in both its forms, for functions that return bytes or arrays."""
    made: list[SharedStore] = []

    def decorator(*args: Any, maxbytes: Any = BUDGET, **options: Any) -> Any:
        if request.param == "store=":
            return bytecache.fill_once(*args, store=stores(maxbytes), **options)
        decorate = bytecache.fill_once(*args, shared=True, maxbytes=maxbytes, **options)

        def decorate_and_close_later(function: Any) -> Any:
            cached = decorate(function)
            made.append(store_of(cached))
            return cached

        return decorate_and_close_later

    yield decorator
    for store in made:
        store.close()


@pytest.fixture
def decorate(shared: Any) -> Any:
    """What the contracts are run over: `shared`, for functions that return anything."""
    return lambda *args, **options: lambda function: PickledFunction(function, shared(*args, **options))


@pytest.fixture
def switching() -> Iterator[None]:
    """Threads that switch all the time."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def text(key: Any) -> bytes:
    return str(key).encode()


@bytecache.fill_once(shared=True, maxbytes=BUDGET)
def of_module(key: Any) -> bytes:
    return text(key)


def undecorated(key: Any, more: bytes = b"") -> bytes:
    return text(key) + more


class Text:
    """An object that can be called."""

    def __call__(self, key: Any) -> bytes:
        return text(key)


class TestCalls(CallContract):
    """fill_once over a shared store."""


class TestSingleFlight(SingleFlightContract):
    """fill_once over a shared store."""


class TestBulk(BulkContract):
    """fill_once over a shared store."""

    @pytest.mark.parametrize("options", [{}, {"maxsize": 2}, {"maxsize": 0}, {"maxbytes": 1}])
    @pytest.mark.parametrize("copied", [True, False])
    def test_map_runs_duplicates_once(self, shared: Any, threads: Any, options: Any, copied: bool) -> None:
        """A key that comes again is read once and counts as a hit, even if nothing fits."""
        f, ran = counting(shared(**options), text)
        keys = [1, 2, 1, 3, 4, 3, 1]
        assert f.map(keys, threads, copy=copied) == [text(key) for key in keys]
        assert (sorted(ran), f.cache_info()[:2]) == ([1, 2, 3, 4], (3, 4))


# Hits, misses, counts


def test_a_hit_gives_what_the_miss_gave(shared: Any) -> None:
    """Bytes come back as bytes and arrays as equal read-only arrays, from the first call on."""
    f, ran = counting(shared(), lambda x: x.to_bytes(2, "big") if x < 3 else np.arange(x, dtype=">i4").reshape(1, -1))
    for _ in range(2):
        assert [f(1), f(2)] == [b"\0\1", b"\0\2"] and type(f(1)) is bytes
        array = f(5)
        assert (array.dtype.str, array.tolist()) == (">i4", [[0, 1, 2, 3, 4]])
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 9
    assert ran == [1, 2, 5]
    assert stats_of(f, "hits", "misses", "stored", "rejected", "evicted", "errors") == (5, 3, 3, 0, 0, 0)


@pytest.mark.parametrize("value", [bytearray(b"abc"), memoryview(b"abc"), memoryview(bytearray(b"abc"))])
def test_bytes_like_values_cannot_be_changed(shared: Any, value: Any) -> None:
    """A bytearray comes back as bytes and a memoryview as a read-only one, from a miss and from a hit."""
    f, _ = counting(shared(), lambda x: value)
    for got in f("a"), f("a"):
        assert type(got) is (bytes if type(value) is bytearray else memoryview)
        assert bytes(got) == b"abc" and memoryview(got).readonly


def test_a_buffer_is_a_view_whether_it_was_stored_or_not(shared: Any) -> None:
    """What is not stored comes back in the form in which hits return it."""
    f, _ = counting(shared(maxbytes=10), lambda n: array.array("B", bytes(n)))
    assert [(type(got), got.readonly) for got in (f(3), f(3), f(99))] == [(memoryview, True)] * 3
    assert stats_of(f, "stored", "rejected") == (1, 1)


@pytest.mark.parametrize("value", ["text", 5, None, (b"a", 3), [[1.5], {"a": None}], {"label": np.int64(3)}])
def test_a_plain_value_is_stored(shared: Any, value: Any) -> None:
    """None, numbers, text and containers of them come back from a hit as they were, in other processes too."""
    f, ran = counting(shared(), lambda x: value)
    assert f("a") == f("a") == in_child(lambda: f("a")) == value and type(f("a")) is type(value)
    assert ran == ["a"]


def test_a_container_that_is_handed_out_is_the_users(shared: Any) -> None:
    """Whoever gets a list may change it, also the caller that has read it, one that waited, and one of map."""
    entered, leave = threading.Event(), threading.Event()

    def read(key: str) -> Any:
        entered.set()
        assert leave.wait(PATIENCE_S)
        return [1, (np.arange(3), [2])]

    f, _ = counting(shared(), read)
    leader = start(lambda: f("a"))
    assert entered.wait(PATIENCE_S)
    waiter = start(lambda: f("a"))
    until(waiting_threads)
    leave.set()
    lists = [leader(), waiter(), f("a"), *f.map(["a", "b", "b"], threads=1)]
    for found in lists:
        found.append(3)
        found[1][1].append(4)
        assert not found[1][0].flags.writeable
    assert [len(found) for found in lists] == [3] * 6 and [len(found[1][1]) for found in lists] == [2] * 6
    assert f("a")[1][1] == [2]


@pytest.mark.parametrize("value", [{1}, {"a": [1, {2: 3}]}, np.array([object()]), memoryview(np.zeros((2, 2)))])
def test_a_value_that_is_not_plain_is_refused(shared: Any, value: Any) -> None:
    """Any other value is a TypeError that names the codec, and counts as an error."""
    f, _ = counting(shared(), lambda x: value)
    with pytest.raises(TypeError, match="the codec of a shared store takes bytes"):
        f("a")
    assert stats_of(f, "hits", "misses", "errors", "stored", "currsize") == (0, 1, 1, 0, 0)


@pytest.mark.parametrize("key", [[1], {1}, object(), ("a", [1]), 1j])
def test_a_key_that_not_all_processes_can_make_is_refused(shared: Any, key: Any) -> None:
    """Such a key is a TypeError that names key=, before the function runs, in calls and in map; it is not counted."""
    f, ran = counting(shared(), text)
    with pytest.raises(TypeError, match="give key="):
        f(key)
    with pytest.raises(TypeError, match="give key="):
        f.map(["a", key])
    assert (ran, f.cache_info()[:2]) == ([], (0, 0))


def test_every_call_is_counted_and_every_key_read_once(shared: Any, switching: None) -> None:
    """hits + misses == calls, and one run per key, with eight threads that switch all the time, for both scopes."""
    ran: list[int] = []
    keys, calls = 300, 1500

    @shared()
    def read(key: int) -> bytes:
        ran.append(key)
        return text(key)

    def call(seed: int) -> None:
        for key in random.Random(seed).choices(range(keys), k=calls):
            if read(key) != text(key):
                raise AssertionError(key)

    assert together(*[lambda seed=seed: call(seed) for seed in range(8)]) == [None] * 8
    assert len(ran) == len(set(ran)) == keys
    for scope in "process", "all":
        stats = read.cache_stats(scope)
        assert (stats.hits, stats.misses, stats.stored, stats.currsize) == (8 * calls - keys, keys, keys, keys)
        assert (stats.errors, stats.rejected, stats.evicted) == (0, 0, 0)


def test_simultaneous_first_calls_are_counted(stores: Any) -> None:
    """The very first calls of a process, from eight threads at once, are all in its own counters."""
    for _ in range(20):
        f, ran = counting(bytecache.fill_once(store=stores()), text)
        assert together(*[lambda: f("a")] * 8) == [b"a"] * 8  # noqa: B023
        assert (ran, f.cache_info("process")[:2], f.cache_info("all")[:2]) == (["a"], (7, 1), (7, 1))


def test_first_calls_after_a_clear_are_counted(shared: Any) -> None:
    """So are the first calls after a clear."""
    f, _ = counting(shared(), text)
    for _ in range(20):
        f.cache_clear()
        together(*[lambda: f("a")] * 8)
        assert f.cache_info("process")[:2] == f.cache_info("all")[:2] == (7, 1)


def test_simultaneous_misses_run_once_and_share_the_value(shared: Any) -> None:
    """Of N calls one runs the function and is the miss; the others get its value and are hits."""
    gate = Gate()
    f = shared()(lambda key: text(*gate(key)))
    calls = crowd(f, gate)
    gate.open()
    assert [call() for call in calls] == [b"a"] * N
    assert (gate.ran, f.cache_info()[:2]) == (["a"], (N - 1, 1))
    assert flights_of(f) == {}


def test_a_value_that_does_not_fit_is_returned_and_rejected(shared: Any) -> None:
    """A value that exceeds the budget is returned and counted; smaller ones that come later are still stored."""
    f, ran = counting(shared(maxbytes=10), text)
    for key in "four", "55555", "22", "2!", "1", "four", "1":
        assert f(key) == text(key)
    assert ran == ["four", "55555", "22", "2!", "1"]
    assert stats_of(f, "stored", "rejected", "currbytes", "maxbytes") == (3, 2, 10, 10)


@pytest.mark.parametrize("limit", [{"maxsize": 100}, {"maxbytes": 2000}])
def test_a_limit_is_kept_exactly_under_threads(shared: Any, switching: None, limit: Any) -> None:
    """Eight threads fill exactly to the limit; what was stored and rejected adds up."""
    f, ran = counting(shared(**limit), lambda x: bytes(20))
    together(*[lambda: [f(key) for key in range(200)]] * 8)
    stats = f.cache_stats()
    assert (stats.currsize, stats.currbytes, stats.stored) == (100, 2000, 100)
    assert stats.misses == len(ran) == stats.stored + stats.rejected
    assert stats.hits + stats.misses == 8 * 200
    assert f.cache_stats("all") == stats


def test_size_zero_stores_nothing(shared: Any) -> None:
    """With maxsize=0 every call runs the function and its value is rejected."""
    f, ran = counting(shared(maxsize=0), text)
    assert f("a") == f("a") == b"a"
    assert (ran, stats_of(f, "hits", "misses", "rejected", "stored")) == (["a", "a"], (0, 2, 2, 0))


def test_an_invalid_scope_is_refused(shared: Any) -> None:
    """scope= must be "process" or "all"."""
    f, _ = counting(shared(), text)
    for method in f.cache_info, f.cache_stats:
        with pytest.raises(ValueError, match='scope must be "process" or "all", got \'mine\''):
            method("mine")


# Which calls share values


def test_functions_in_one_store_do_not_mix(stores: Any) -> None:
    """Functions that differ in code, defaults, closed-over values or version have separate values and counters."""
    store = stores()
    decorate = bytecache.fill_once(store=store)

    def closing(over: Any) -> Any:
        return lambda key: repr((key, over)).encode()

    functions = [
        lambda key: b"1",
        lambda key: b"2",
        lambda key, more=1: b"%d" % more,
        lambda key, more=2: b"%d" % more,
        *map(closing, ["a", b"a", 1, Path("a"), ("a",), text, undecorated]),
        functools.partial(undecorated, more=b"x"),
        functools.partial(undecorated, more=b"y"),
    ]
    expected = [function("k") for function in functions]
    cached = [decorate(function) for function in functions]
    cached += [bytecache.fill_once(store=store, version=version)(functions[0]) for version in ("1", 1, 2)]
    expected += [b"1"] * 3
    assert [f("k") for f in cached] == [f("k") for f in cached] == expected
    assert [f.cache_info() for f in cached] == [(1, 1, None, 1)] * len(cached)
    cached[0].cache_clear()
    assert [f.cache_info().currsize for f in cached] == [0] + [1] * (len(cached) - 1)


def test_functions_over_other_lists_do_not_mix(shared: Any) -> None:
    """A function that closes over a list is not taken for one that closes over another list."""

    def reader(paths: list[bytes]) -> Any:
        def read(index: int) -> bytes:
            return paths[index]

        try:
            return shared(maxbytes=BUDGET)(read)
        except TypeError as exc:  # refusing what cannot be told apart would be right too
            assert "version" in str(exc)
            return read

    assert (reader([b"train"])(0), reader([b"validation"])(0)) == (b"train", b"validation")


@pytest.mark.parametrize("bind", [lambda one: one.read, lambda one: functools.partial(Folder.read, one)])
def test_methods_of_other_objects_do_not_mix(shared: Any, bind: Any) -> None:
    """A bound method is not taken for that of another object of the same class."""

    def reader(name: bytes) -> Any:
        try:
            return shared(maxbytes=BUDGET)(bind(Folder(name)))
        except TypeError as exc:
            assert "version" in str(exc)
            return bind(Folder(name))

    assert (reader(b"train")(0), reader(b"validation")(0)) == (b"train0", b"validation0")


class Folder:
    def __init__(self, name: bytes) -> None:
        self.name = name

    def read(self, index: int) -> bytes:
        return self.name + b"%d" % index


def test_two_functions_may_be_called_with_one_key_inside_each_other(stores: Any) -> None:
    """decode(path) may call read(path), both in one store, and each runs once."""
    store = stores()
    read, reads = counting(bytecache.fill_once(store=store), text)
    decode, decodes = counting(bytecache.fill_once(store=store), lambda key: np.frombuffer(read(key), np.uint8))
    assert decode("a").tobytes() == decode("a").tobytes() == b"a"
    assert (reads, decodes) == (["a"], ["a"])


def test_typed_equal_and_named_arguments(shared: Any) -> None:
    """Calls share a result as with functools.lru_cache, for keys that all processes can make."""

    def f(*args: Any, **kwds: Any) -> bytes:
        return repr((args, kwds)).encode()

    arguments = [0, 1, 1.0, True, -1, -2, "1", b"1", None, (1,), (1.0,), (), 2**70, float("inf"), "", "a\udc80"]
    for typed in False, True:
        theirs, ours = functools.lru_cache(maxsize=None, typed=typed)(f), shared(typed=typed)(f)
        drawn = random.Random(5)
        for _ in range(1500):
            args = drawn.choices(arguments, k=drawn.randrange(3))
            kwds = {name: drawn.choice(arguments) for name in drawn.sample("ab", drawn.randrange(3))}
            assert ours(*args, **kwds) == theirs(*args, **kwds)
            assert ours.cache_info() == theirs.cache_info(), (args, kwds)
        ours.cache_clear()


def test_the_digest_of_a_call_is_the_same_in_another_interpreter(shared: Any) -> None:
    """A key's digest depends neither on the process nor on its hash seed."""
    code = (
        f"from {__name__} import undecorated\nfrom helpers.internals import digest_of\nimport bytecache\n"
        "f = bytecache.fill_once(shared=True, maxbytes=1000)(undecorated)\n"
        "print(digest_of(f, 'a', 1.5, None, b=(2,)).hex())"
    )
    f = shared()(undecorated)
    tests = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONHASHSEED": "5", "PYTHONPATH": f"{tests.parent}{os.pathsep}{tests}"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == digest_of(f, "a", 1.5, None, b=(2,)).hex(), done.stderr


# Ways to decorate


@pytest.mark.parametrize(
    "options, message",
    [
        ({"shared": True}, "shared=True needs a budget"),
        ({"shared": True, "maxbytes": 9, "sizeof": len}, "sizeof does not go with a shared store"),
        (
            {"store": "a path"},
            "store must be a bytecache.SharedStore or another store, a list of such, or None, got 'a path'",
        ),
        ({"version": 1}, "give store= or shared=True with it"),
        ({"shared": True, "maxbytes": 9, "version": 1.5}, "version must be a str, an int or None, got 1.5"),
    ],
)
def test_wrong_options_are_refused(options: Any, message: str) -> None:
    """An option that does not go with a shared store is a TypeError that says so."""
    with pytest.raises(TypeError, match=message):
        bytecache.fill_once(**options)(text)


def test_the_budget_is_the_stores(stores: Any) -> None:
    """maxbytes= together with store= is refused: the store has a budget already."""
    with pytest.raises(TypeError, match="the budget is the store's"):
        bytecache.fill_once(store=stores(), maxbytes=9)


def test_lru_cache_refuses_a_shared_store(stores: Any) -> None:
    """lru_cache says why it cannot use a shared store, and what to use instead."""
    for options in {"store": stores()}, {"shared": True}:
        with pytest.raises(TypeError, match="cannot evict.*use fill_once"):
            bytecache.lru_cache(maxsize=None, **options)


@pytest.mark.parametrize("function", [functools.partial(undecorated, more=b""), Text()], ids=["partial", "object"])
def test_what_has_no_name_can_be_decorated(shared: Any, function: Any) -> None:
    """A partial and a callable object work and have a repr, and their pickles find the same values."""
    f = shared()(function)
    assert (f("a"), f.map(["a", "b"])) == (b"a", [b"a", b"b"])
    assert "SharedStore" in repr(f)
    again = pickle.loads(pickle.dumps(f))
    try:
        assert (again("a"), again.cache_info()[:2], again.cache_info("all")[:2]) == (b"a", (1, 0), (2, 2))
    finally:
        store_of(again).close()


def test_a_shared_cache_around_a_private_one_has_its_own_counters(shared: Any) -> None:
    """Around lru_cache, bytecache's or functools', a shared cache has its own counters and cache_clear."""
    for decorate in bytecache.lru_cache, functools.lru_cache:
        inner = decorate(text)
        outer = shared()(inner)
        outer("a"), outer("a"), inner("b")
        assert (outer.cache_info()[:2], inner.cache_info()[:2]) == ((1, 1), (0, 2))
        assert outer.cache_parameters()["maxbytes"] == BUDGET
        outer.cache_clear()
        assert (outer.cache_info().currsize, inner.cache_info().currsize) == (0, 2)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_function_of_a_module_pickles_by_its_name(protocol: int) -> None:
    """copy, deepcopy and pickle return the function itself."""
    assert copy.copy(of_module) is copy.deepcopy(of_module) is of_module
    assert pickle.loads(pickle.dumps(of_module, protocol)) is of_module


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_function_under_another_name_pickles_with_its_store(shared: Any, protocol: int) -> None:
    """A function that its name does not lead to pickles with its store, and finds the same values."""
    f = shared()(undecorated)
    f("a")
    again = pickle.loads(pickle.dumps(f, protocol))
    try:
        assert again is not f and again("a") == b"a"
        assert (again.cache_info()[:2], f.cache_info("all")[:2]) == ((1, 0), (1, 1))
    finally:
        store_of(again).close()


def test_a_store_pickles_by_its_folder(stores: Any) -> None:
    """A pickled store uses the same folder, with and without a path."""
    for store in stores(), SharedStore(maxbytes=1000):
        again = pickle.loads(pickle.dumps(store))
        try:
            assert (again.path, again.maxbytes, repr(again)) == (store.path, store.maxbytes, repr(store))
        finally:
            again.close(), store.close()


def test_methods_need_an_instance_that_is_a_key(shared: Any) -> None:
    """An instance of a plain class is refused as a key, naming key=; a PathLike is a key, and key= can make one."""

    class Plain:
        @shared()
        def read(self, x: int) -> bytes:
            return text(x)

        @shared(key=lambda self, x: (type(self).__name__, x))
        def by_key(self, x: int) -> bytes:
            return text(x)

        @staticmethod
        @shared()
        def static(x: int) -> bytes:
            return text(x)

    class Root(type(Path())):  # type: ignore[misc]
        @shared()
        def read_in(self, x: int) -> bytes:
            return os.fsencode(self) + text(x)

    with pytest.raises(TypeError, match="give key="):
        Plain().read(1)
    assert Plain().by_key(1) == Plain().by_key(1) == Plain.static(1) == Plain().static(1) == b"1"
    assert (Plain.by_key.cache_info()[:2], Plain.static.cache_info()[:2]) == ((1, 1), (1, 1))
    assert [Root("/a").read_in(1), Root("/b").read_in(1), Root("/a").read_in(1)] == [b"/a1", b"/b1", b"/a1"]
    assert Root("/a").read_in.cache_info() == Root.read_in.cache_info() == (1, 2, None, 2)


# map and warm


def test_map_without_a_copy_gives_views(shared: Any) -> None:
    """With copy=False stored bytes come as read-only views, which outlive a clear; arrays come as arrays."""
    f, _ = counting(shared(), lambda x: text(x) if x else np.arange(3))
    f.warm([0, 1, 2])
    array, one, two = f.map([0, 1, 2], copy=False)
    assert type(one) is type(two) is memoryview and one.readonly and array.tolist() == [0, 1, 2]
    assert [type(value) for value in f.map([1, 2])] == [bytes, bytes]
    f.cache_clear()
    f.map(range(50, 60))
    store_of(f).close()
    assert (one, two, array.tolist()) == (b"1", b"2", [0, 1, 2])


def test_a_call_that_waits_for_a_map_of_views_gets_bytes(stores: Any) -> None:
    """A plain call that waits for a key that a map with copy=False gets from another process returns bytes."""
    gate = Gate()
    body = lambda key: text(*gate(key))  # noqa: E731
    elsewhere, here = (bytecache.fill_once(store=stores(name="one"), version=1)(body) for _ in range(2))
    leader = start(lambda: elsewhere("a"))
    gate.wait_entered()
    mapped = start(lambda: here.map(["a"], copy=False))
    until(lambda: flights_of(here))
    plain = start(lambda: here("a"))
    until(waiting_threads)
    gate.open()
    assert (leader(), mapped(), plain()) == (b"a", [b"a"], b"a")
    assert type(plain()) is bytes
    assert gate.ran == ["a"]


def test_warm_stops_when_the_store_is_full(shared: Any) -> None:
    """No key is read once another value of the mean size would not fit; the remaining keys are not even drawn."""
    f, ran = counting(shared(maxbytes=35), lambda x: bytes(10))
    keys = iter(range(100))
    assert f.warm(keys, threads=1).currsize == 3
    assert (ran, next(keys)) == ([0, 1, 2], 4)


# Interrupts


@pytest.mark.parametrize("body", [text, lambda key: 1 // 0], ids=["value", "exception"])
def test_an_interrupt_anywhere_in_a_miss_strands_nobody(stores: Any, body: Any) -> None:
    """Wherever in the miss path a KeyboardInterrupt comes, the next call is answered, in this process or another."""
    store, other = stores(name="one"), stores(name="one")

    def call(function: Any) -> None:
        with contextlib.suppress(ZeroDivisionError):
            function("a")

    def interrupt_everywhere() -> Any:
        f, elsewhere = (bytecache.fill_once(store=one)(body) for one in (store, other))
        places = entries_into(SHARED_MISS_PATH_MODULES, lambda: call(f))
        assert places > 10
        stranded = []
        for place in range(1, places + 1):
            f.cache_clear()
            entries_into(SHARED_MISS_PATH_MODULES, lambda: call(f), interrupt_at=place)
            locked, leasing = locked_bytes(store, writer=True), leasing_threads()
            if locked or leasing or flights_of(f):
                stranded.append((place, locked, leasing))
                break  # the calls below would wait for ever
            start(lambda: call(f))()
            start(lambda: call(elsewhere))()
            call(f)
        return stranded

    assert in_child(interrupt_everywhere) == []


# cache_clear


def test_what_was_read_before_a_clear_is_not_found_after_it(shared: Any) -> None:
    """A value that was being read when the cache was cleared reaches its callers and is not stored."""
    gate, later = Gate(), Gate()
    bodies = iter([gate, later])
    f = shared()(lambda key: text(*next(bodies)(key)))
    before = crowd(f, gate)
    f.cache_clear()
    after = start(lambda: f("a"))
    later.wait_entered()
    gate.open()
    assert [call() for call in before] == [b"a"] * N
    assert f.cache_info().currsize == 0
    later.open()
    assert after() == b"a" and f.cache_info() == (0, 1, None, 1)
    assert flights_of(f) == {}


@pytest.mark.parametrize("value", [text, lambda key: np.zeros(3)], ids=["bytes", "array"])
def test_a_read_survives_a_fill_and_clear_by_another_process(stores: Any, value: Any) -> None:
    """A call returns its value although another process made the table grow meanwhile, and cleared the cache."""

    @bytecache.fill_once(store=stores(name="one"), version=1)
    def here(key: Any) -> Any:
        if key == "slow":
            elsewhere.map(range(600), threads=1)
            elsewhere.cache_clear()
        return value(key)

    elsewhere = bytecache.fill_once(store=stores(name="one"), version=1)(here.__wrapped__)
    here("first")
    assert bytes(here("slow")) == bytes(value("slow"))
    assert here.cache_info() == (0, 0, None, 0)


def test_a_clear_of_the_store_clears_all_its_functions(stores: Any) -> None:
    """store.clear() removes the values and counters of every function, and frees the whole budget."""
    store = stores(100)
    f, _ = counting(bytecache.fill_once(store=store), lambda x: bytes(40))
    g, _ = counting(bytecache.fill_once(store=store), lambda x: bytes(50))
    for _ in range(3):
        f(1), g(1), g(2)
        assert (f.cache_info(), g.cache_info(), store.currbytes) == ((0, 1, None, 1), (0, 2, None, 1), 90)
        store.clear()
        assert (f.cache_info(), g.cache_info(), store.currbytes) == ((0, 0, None, 0), (0, 0, None, 0), 0)


def test_clears_in_the_middle_of_calls_lose_no_value(shared: Any, switching: None) -> None:
    """While threads read and another clears, every answer is right, and the counters fit what is stored."""
    f, _ = counting(shared(), lambda x: text(x) * 50)
    ended = threading.Event()

    def call(seed: int) -> bool:
        drawn = random.Random(seed)
        try:
            return all(f(key) == text(key) * 50 for key in drawn.choices(range(2000), k=300))
        finally:
            ended.set()

    def clear() -> bool:
        while not ended.is_set():
            f.cache_clear()
        return True

    assert together(*[lambda seed=seed: call(seed) for seed in range(4)], clear) == [True] * 5
    stats = f.cache_stats("all")
    assert stats.stored == stats.currsize


# Closing


def test_a_store_that_is_dropped_closes_its_files(tmp_path: Path) -> None:
    """When the store and its functions are dropped, no file of the store stays open."""
    gc.collect()
    before = open_files()
    store = SharedStore(tmp_path / "store", maxbytes=BUDGET)
    f = bytecache.fill_once(store=store)(text)
    f("a")
    assert len(open_files() - before) >= 2
    del f, store
    gc.collect()
    assert open_files() - before == set()


def test_a_store_without_a_path_is_removed_when_dropped() -> None:
    """The folder of a store of this run is removed with the last reference to the store."""
    store = SharedStore(maxbytes=BUDGET)
    path = store.path
    assert path.is_dir()
    del store
    gc.collect()
    assert not path.exists()


def test_a_closed_store_opens_at_the_next_call(stores: Any) -> None:
    """After close the next call opens the store again, with its values and counters."""
    f, ran = counting(bytecache.fill_once(store=stores()), text)
    f("a")
    store_of(f).close()
    assert (f("a"), ran, f.cache_info("all")[:2]) == (b"a", ["a"], (1, 1))


def test_a_store_may_be_closed_while_calls_are_under_way(shared: Any) -> None:
    """A call that runs while another thread closes the store returns its value."""
    gate = Gate()
    f = shared()(lambda key: text(*gate(key)))
    calls = crowd(f, gate)
    store_of(f).close()
    gate.open()
    assert [call() for call in calls] == [b"a"] * N
    assert f("a") == b"a"


def test_a_store_may_be_closed_again(tmp_path: Path) -> None:
    """close may be called again and again, even from many threads at once."""
    store = SharedStore(tmp_path / "store", maxbytes=BUDGET)
    together(*[store.close] * 8)
    store.close()
    assert isinstance(handle_of(store), StoreHandle)
    store.close()


def test_a_view_outlives_its_store(tmp_path: Path) -> None:
    """An array stays readable after its store is dropped and the folder removed."""
    store = SharedStore(maxbytes=BUDGET)
    array = bytecache.fill_once(store=store)(lambda key: np.arange(1000))(1)
    path = store.path
    del store
    gc.collect()
    assert not path.exists()
    assert array.sum() == 499500


# Forks


def test_a_child_does_not_wait_for_its_parents_threads(shared: Any) -> None:
    """After a fork the child has none of the flights of the parent's other threads."""
    gate = Gate()
    f = shared()(lambda key: text(*gate(key)))
    calls = crowd(f, gate)
    assert in_child(lambda: flights_of(f)) == {}
    gate.open()
    assert [call() for call in calls] == [b"a"] * N


def test_a_function_that_forks_returns_in_both(shared: Any) -> None:
    """A child forked inside the function finishes the call, and the parent counts for itself."""
    parent, children = os.getpid(), []

    @shared()
    def f(key: str) -> bytes:
        if key == "forks" and os.getpid() == parent:
            children.append(os.fork())
        return text(key)

    outcome = 1
    try:
        value = f("forks")
        outcome = 0 if (value, f("forks"), f("other")) == (b"forks", b"forks", b"other") else 2
    finally:
        if os.getpid() != parent:
            os._exit(outcome)
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0
    own, of_all = f.cache_stats("process"), f.cache_stats("all")
    assert (own.hits + own.misses, of_all.stored, of_all.currsize) == (3, 2, 2)
    assert of_all.hits + of_all.misses in (5, 6)  # the forked call counts for both processes, or for the parent alone


def test_forks_in_the_middle_of_calls_keep_the_counts(shared: Any) -> None:
    """Wherever in other threads' calls a fork comes, the child's calls are answered and its counters exact."""
    f = shared()(lambda key: b"x" * 100)
    stop = threading.Event()

    def work(first: int) -> None:
        for key in range(first, 10**9):
            if stop.is_set():
                return
            f(key % 1000)
            if key % 3000 == 0:
                f.cache_clear()

    def look() -> Any:
        values = {f(f"{key} of the child") for key in range(5)}
        g = bytecache.fill_once(store=store_of(f), version="child")(lambda key: b"y")
        return values, g("new"), g("new"), g.cache_info()[:2]

    workers = [start(lambda first=first: work(first)) for first in range(4)]
    try:
        for _ in range(30):
            values, *rest = in_child(look)
            assert values == {b"x" * 100} and rest[:2] == [b"y", b"y"]
            assert rest[2][0] + rest[2][1] == 2
    finally:
        stop.set()
    assert [worker() for worker in workers] == [None] * 4


def test_a_fork_while_another_thread_opens_a_store_keeps_no_lock() -> None:
    """A child forked while a thread chooses the folder of a store can open stores itself."""
    choosing, leave, forked = threading.Event(), threading.Event(), threading.Event()
    children: list[Children] = []
    reading, writing = os.pipe()

    def show(*args: Any) -> None:
        choosing.set()
        assert leave.wait(PATIENCE_S)

    def open_large() -> None:  # larger than any /dev/shm, so that a warning comes in the middle of it
        SharedStore(maxbytes=1 << 42).close()

    def open_small() -> bool:
        os.read(reading, 1)
        SharedStore(maxbytes=BUDGET).close()
        return True

    def fork() -> None:
        children.append(Children(open_small))
        forked.set()

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show  # type: ignore[assignment]
        opening = start(open_large)
        assert choosing.wait(PATIENCE_S)
        forking = start(fork)
        forked.wait(0.1)  # either the fork comes now, or it waits for the one that opens
        leave.set()
        assert (opening(), forking()) == (None, None)
    send(writing)
    assert children[0].answers() == [True], "the child waits for a lock that it has itself"
    os.close(reading), os.close(writing)


def test_a_signal_handler_stores_while_another_thread_writes(stores: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The handler's thread may have the partition's lock, and the other one the writer's: neither waits for both."""
    partition = stores().partition(bytes(16), "f")
    segment, writing = partition.bound().segment, threading.Event()

    def append_locked(*args: Any) -> None:
        type(segment).append_locked(segment, *args)
        writing.set()

    monkeypatch.setattr(segment, "append_locked", append_locked)
    with partition.lock:  # where the handler strikes
        other = start(lambda: partition.put(b"1" * 16, b"x", partition.generation).stored)
        assert writing.wait(PATIENCE_S)
        assert partition.put(b"2" * 16, b"y", partition.generation).stored
    assert other() is True
