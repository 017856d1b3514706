"""``read.uncached``: the function without its cache, for what is read once."""

from __future__ import annotations

import functools
import pickle
import types
from typing import Any

import pytest
from helpers import by_value
from helpers.counting import counting, stats_of
from helpers.internals import store_of

import bytecache


@bytecache.fill_once
def read(n: int) -> list[int]:
    """Return a list of n."""
    return [n]


@bytecache.lru_cache(maxsize=0)
def never(n: int) -> list[int]:
    return [n]


class Reader:
    @staticmethod
    @bytecache.fill_once(key=lambda n: n)
    def static(n: int) -> list[int]:
        return [n]


def test_it_looks_nothing_up_and_stores_nothing(in_memory: Any) -> None:
    """Every call runs the function, also with unhashable arguments, and only its own counters count it."""
    f, ran = counting(in_memory())
    f("a")
    assert [f.uncached("a"), f.uncached("a"), f.uncached(["a"]), f("a")] == ["a", "a", ["a"], "a"]
    assert ran == ["a", "a", "a", ["a"]]
    assert f.cache_info()[:2] == (1, 1)
    assert stats_of(f.uncached, "hits", "misses", "errors", "stored", "currsize", "maxsize") == (0, 3, 0, 0, 0, 0)
    f.uncached.cache_clear()
    assert f.uncached.cache_info()[:2] == (0, 0) and f.cache_info().currsize == 1


def test_map_and_warm_read_on_threads(in_memory: Any) -> None:
    """map gives the values in order; warm reads nothing, since nothing could be kept."""
    f, ran = counting(in_memory())
    f.warm("ab")
    assert f.uncached.map("abc", threads=2) == ["a", "b", "c"]
    assert f.uncached.warm("ab").misses == 3
    assert sorted(ran) == ["a", "a", "b", "b", "c"] and f.cache_info()[:2] == (0, 2)


def test_it_is_the_function_in_other_ways() -> None:
    """It has its text and what it wraps, and says in its name what it is."""
    assert read.uncached.__doc__ == "Return a list of n." and read.uncached.__name__ == "read"
    assert read.uncached.__qualname__ == "read.uncached"
    assert read.uncached.__wrapped__ is read.__wrapped__
    assert never.uncached(1) == [1] and never.cache_info()[:2] == (0, 0)


def test_a_function_over_a_store_has_it(stores: Any) -> None:
    """It reads beside the store, values of any kind."""
    shared = bytecache.fill_once(store=stores(), key=str)(lambda n: b"%d" % n)
    shared(1)
    assert shared.uncached(1) == b"1" and shared.uncached.map([1, 2]) == [b"1", b"2"]
    assert shared.cache_info()[:2] == (0, 1) and shared.uncached.cache_info()[:2] == (0, 3)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_it_pickles_by_its_name(protocol: int) -> None:
    """pickle finds it as the attribute of the function, wherever that is."""
    for uncached in read.uncached, never.uncached, Reader.static.uncached:
        assert pickle.loads(pickle.dumps(uncached, protocol)) is uncached


@pytest.mark.parametrize("name", ["by_value", "cloudpickle", "dill", "dill, recurse"])
@pytest.mark.parametrize("of", ["function", "partial", "store", "of a partial"])
def test_it_is_copied_by_value(name: str, of: str, in_memory: Any, stores: Any) -> None:
    """dill and cloudpickle copy it with the function, or alone; the copy counts for itself."""
    pickler: Any = by_value if name == "by_value" else pytest.importorskip(name.split(",")[0])
    if name.startswith("dill"):
        dumps = functools.partial(pickler.dumps, recurse="recurse" in name)
        pickler = types.SimpleNamespace(dumps=dumps, loads=pickler.loads)
    decorate = bytecache.fill_once(store=stores()) if of == "store" else in_memory()
    function: Any = lambda n: b"%d" % n  # noqa: E731
    f = decorate(functools.partial(function) if "partial" in of else function)
    f.uncached(1)
    alone = pickler.loads(pickler.dumps(f.uncached))
    assert alone(2) == b"2" and alone.cache_info()[:2] == (0, 1)
    again = pickler.loads(pickler.dumps(f))
    assert (again.uncached(1), again(1), again.uncached.map([3])) == (b"1", b"1", [b"3"])
    assert again.uncached.cache_info()[:2] == (0, 2) and f.uncached.cache_info()[:2] == (0, 1)
    if of == "store":
        store_of(again).close()


@pytest.mark.parametrize("name", ["by_value", "cloudpickle", "dill"])
def test_functions_of_an_instance_are_copied_by_value(name: str, in_memory: Any) -> None:
    """A cached partial, bound method and function of the module are copied with their options, and start empty."""
    pickler: Any = by_value if name == "by_value" else pytest.importorskip(name)
    for function in functools.partial(pow, 2), (2).__pow__, abs, read.__wrapped__:
        f = in_memory(7)(function)
        f(3)
        again = pickler.loads(pickler.dumps(f))
        assert again(3) == f(3) and again.cache_info() == (0, 1, 7, 1) and again.map([3]) == [f(3)]
