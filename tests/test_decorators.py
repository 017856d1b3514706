"""The contract of fill_once and lru_cache as one thread sees it."""

from __future__ import annotations

import copy
import functools
import gc
import inspect
import pickle
import threading
import weakref
from enum import IntEnum
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from helpers.counting import counting, figures
from helpers.threads import PATIENCE_S, start
from hypothesis import given, settings, strategies as st

import bytecache
from bytecache import CacheInfo, CacheStats

EXPECTED = 'maxbytes must be a positive int or a size such as "2 GiB", "500 MB" or "50%", got '


@bytecache.fill_once
def filled_once(x: Any) -> Any:
    return x


@bytecache.lru_cache
def least_recently_used(x: Any) -> Any:
    return x


# What a hit and a miss are


def test_a_miss_runs_the_function_and_a_hit_does_not(both: Any) -> None:
    """Each key runs once; every call counts as one hit or one miss."""
    f, ran = counting(both())
    assert [f(key) for key in "abab"] == list("abab")
    assert ran == ["a", "b"]
    assert f.cache_info()[:2] == (2, 2)
    assert figures(f, "stored", "errors", "rejected", "evicted", "currsize") == (2, 0, 0, 0, 2)


def test_an_exception_is_a_miss_and_is_never_stored(both: Any) -> None:
    """A call that raises counts as a miss and an error, and the next call runs the function again."""
    f, ran = counting(both(), lambda x: 1 // x)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError) as caught:
            f(0)
        assert caught.value.__context__ is None
    assert ran == [0, 0]
    assert figures(f, "hits", "misses", "errors", "stored", "currsize") == (0, 2, 2, 0, 0)


def test_none_is_a_value(both: Any) -> None:
    """A function that returned None is not run again."""
    f, ran = counting(both(), lambda x: None)
    assert f("a") is f("a") is None
    assert ran == ["a"]


def test_a_hit_is_the_very_object(both: Any) -> None:
    """A hit returns what the function returned, not a copy."""
    f, _ = counting(both(), lambda x: [x])
    assert f(1) is f(1)


def test_seconds_in_the_function_are_counted(both: Any) -> None:
    """load_s grows with a miss, also one that raises, and not with a hit."""
    f, _ = counting(both(), lambda x: 1 // x)
    f(1)
    once = f.cache_stats().load_s
    f(1)
    assert f.cache_stats().load_s == once > 0
    with pytest.raises(ZeroDivisionError):
        f(0)
    assert f.cache_stats().load_s > once


# Keys


def test_keys_are_compared_by_equality_not_by_hash(both: Any) -> None:
    """Keys with one hash are two keys: hash(-1) == hash(-2)."""
    assert hash(-1) == hash(-2)
    f, ran = counting(both())
    assert [f(-1), f(-2), f((-1,)), f((-2,))] == [-1, -2, (-1,), (-2,)]
    assert len(ran) == 4


class Name(str):
    pass


class Colour(IntEnum):
    RED = 1


ARGUMENTS = st.sampled_from(
    [0, 1, 1.0, True, Fraction(1), Colour.RED, np.int64(1), -1, -2, "1", Name("1"), b"1", None, (1,), (1.0,), (), int]
)


@settings(max_examples=300, deadline=None)
@given(
    typed=st.booleans(),
    calls=st.lists(
        st.tuples(
            st.lists(ARGUMENTS, max_size=2),
            st.lists(st.tuples(st.sampled_from("ab"), ARGUMENTS), max_size=2).map(dict),
        ),
        max_size=12,
    ),
)
def test_the_same_calls_hit_as_with_functools(typed: bool, calls: list[tuple[list[Any], dict[str, Any]]]) -> None:
    """Which calls share a result is the same as with functools.lru_cache, call by call."""

    def f(*args: Any, **kwds: Any) -> Any:
        return args, kwds

    theirs = functools.lru_cache(maxsize=None, typed=typed)(f)
    for ours in bytecache.fill_once(typed=typed)(f), bytecache.lru_cache(maxsize=None, typed=typed)(f):
        theirs.cache_clear()
        for args, kwds in calls:
            assert ours(*args, **kwds) == theirs(*args, **kwds)
            assert ours.cache_info() == theirs.cache_info(), (args, kwds)


def test_equal_arguments_of_other_types_share_an_entry(both: Any) -> None:
    """f(1, Fraction(2)) is f(1, 2), as in functools, also when only one of the two has a hash in Python."""
    calls = []

    @both()
    def f(x: Any, y: Any) -> Any:
        calls.append((x, y))

    f(1, 2)
    f(1, Fraction(2))
    assert calls == [(1, 2)]


def test_typed_keeps_types_apart(both: Any) -> None:
    """With typed=True 3 and 3.0 are two keys, by position and by name."""
    f, ran = counting(both(typed=True))
    assert [type(f(3)), type(f(3.0)), type(f(x=3)), type(f(x=3.0)), type(f(3))] == [int, float, int, float, int]
    assert len(ran) == 4


def test_no_argument_name_is_taken(both: Any) -> None:
    """A function may call its parameters what it likes, the wrapper's own names included."""

    @both()
    def f(**kwds: Any) -> Any:
        return kwds

    names = dict(first=1, key=2, self=3, args=4, kwds=5, function=6)
    assert f(**names) == f(**names) == names
    assert f.cache_info()[:2] == (1, 1)


@pytest.mark.parametrize("kwds", [{}, {"typed": True}, {"key": lambda x: x}, {"maxbytes": 1000}])
def test_an_unhashable_argument_is_a_type_error(both: Any, kwds: dict[str, Any]) -> None:
    """A list as argument raises TypeError before the function runs, and counts as nothing."""
    f, ran = counting(both(**kwds))
    with pytest.raises(TypeError, match="unhashable"):
        f([])
    assert (ran, f.cache_info()[:2]) == ([], (0, 0))


def test_key_makes_the_key(both: Any) -> None:
    """With key= calls share a result when their keys are equal; the function gets the arguments."""

    @both(key=lambda path, **options: path.lower())
    def f(path: str, **options: Any) -> Any:
        return path, options

    assert f("A", size=3) == f("a") == f("a", size=5) == ("A", {"size": 3})
    assert f("b") == ("b", {})
    assert f.cache_info()[:2] == (2, 2)


def test_key_that_raises_runs_nothing(both: Any) -> None:
    """An exception of key= reaches the caller, and the function does not run."""
    f, ran = counting(both(key=lambda x: 1 // x))
    with pytest.raises(ZeroDivisionError):
        f(0)
    assert (ran, f.cache_info()[:2]) == ([], (0, 0))


# Ways to decorate


@pytest.mark.parametrize("cached, maxsize", [(filled_once, None), (least_recently_used, 128)])
def test_bare_decoration_takes_the_defaults(cached: Any, maxsize: int | None) -> None:
    """@decorator without parentheses is @decorator()."""
    assert cached.cache_info().maxsize == maxsize
    assert cached.cache_parameters() == {"maxsize": maxsize, "typed": False}
    assert bytecache.fill_once()(len).cache_info().maxsize is None
    assert bytecache.lru_cache()(len).cache_info().maxsize == 128


@pytest.mark.parametrize("maxsize, as_shown", [(0, 0), (-10, 0), (None, None), (7, 7)])
def test_maxsize_as_in_functools(both: Any, maxsize: Any, as_shown: Any) -> None:
    """A negative maxsize is zero; None is no limit."""
    f, _ = counting(both(maxsize=maxsize))
    assert f.cache_info() == CacheInfo(0, 0, as_shown, 0)
    assert f.cache_parameters()["maxsize"] == as_shown


def test_size_zero_runs_every_call(both: Any) -> None:
    """With maxsize=0 nothing is looked up, so arguments need not be hashable; each value is rejected."""
    f, ran = counting(both(maxsize=0), lambda x: 1 // len(x))
    assert f([1]) == f([1]) == 1
    with pytest.raises(ZeroDivisionError):
        f([])
    assert len(ran) == 3
    assert figures(f, "hits", "misses", "errors", "rejected", "stored") == (0, 3, 1, 2, 0)


def test_cache_parameters_are_a_copy(both: Any) -> None:
    """cache_parameters tells maxsize, typed and the budget in bytes; changing the dict changes nothing."""
    f, _ = counting(both(5, True, maxbytes="2 KiB"))
    f.cache_parameters()["maxsize"] = 9
    assert f.cache_parameters() == {"maxsize": 5, "typed": True, "maxbytes": 2048}


@pytest.mark.parametrize(
    "kwds, error, message",
    [
        ({"maxsize": "9"}, TypeError, "Expected first argument to be an integer, a callable, or None"),
        ({"maxsize": 1.5}, TypeError, "Expected first argument to be an integer, a callable, or None"),
        ({"maxbytes": 0}, ValueError, EXPECTED + "0"),
        ({"maxbytes": -1}, ValueError, EXPECTED + "-1"),
        ({"maxbytes": "lots"}, ValueError, EXPECTED + "'lots'"),
        ({"maxbytes": 1.5}, TypeError, EXPECTED + "1.5 of type float"),
        ({"maxbytes": True}, TypeError, EXPECTED + "True of type bool"),
        ({"key": 3}, TypeError, "key must be a function or None, got 3"),
        ({"sizeof": "len"}, TypeError, "sizeof must be a function or None, got 'len'"),
    ],
)
def test_wrong_options_are_refused_at_the_door(both: Any, kwds: Any, error: Any, message: str) -> None:
    """A wrong option raises when the decorator is made, and the message names it and what came."""
    with pytest.raises(error) as caught:
        both(**kwds)
    assert str(caught.value) == message


def test_only_functions_are_decorated(both: Any) -> None:
    """Decorating what cannot be called is a TypeError."""
    with pytest.raises(TypeError, match="expected a function to decorate, got 5"):
        both(maxsize=3)(5)


async def a_coroutine() -> None: ...


def a_generator() -> Any:
    yield


async def an_asyncgen() -> Any:
    yield


@pytest.mark.parametrize("wrap", [lambda f: f, functools.partial], ids=["plain", "partial"])
@pytest.mark.parametrize("function", [a_coroutine, a_generator, an_asyncgen])
def test_results_that_can_be_used_once_are_refused(both: Any, function: Any, wrap: Any) -> None:
    """Coroutine and generator functions raise a TypeError that says why and what kind they are."""
    kind = function.__name__.split("_")[1]
    with pytest.raises(TypeError, match=f"is a {kind} function: what it returns can be used only once"):
        both()(wrap(function))


# The wrapper as an object


def test_wrapper_looks_like_the_function(both: Any) -> None:
    """Name, doc, signature, annotations and __wrapped__ are the function's."""

    def f(x: int, *, y: str = "z") -> bytes:
        """Doc."""
        raise NotImplementedError

    cached = both()(f)
    assert cached.__wrapped__ is f
    assert inspect.signature(cached) == inspect.signature(f)
    for name in functools.WRAPPER_ASSIGNMENTS:
        assert getattr(cached, name, None) == getattr(f, name, None)


@pytest.mark.parametrize("cached", [filled_once, least_recently_used])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_copies_are_the_function_itself(cached: Any, protocol: int) -> None:
    """copy, deepcopy and pickle go by reference."""
    assert copy.copy(cached) is copy.deepcopy(cached) is cached
    assert pickle.loads(pickle.dumps(cached, protocol)) is cached


def test_decorators_nest(both: Any) -> None:
    """A cached function may be cached again: each wrapper has figures and methods of its own."""
    inner, ran = counting(both())
    outer = both()(inner)
    outer(1), outer(1), inner(1)
    assert (ran, outer.cache_info()[:2], inner.cache_info()[:2]) == ([1], (1, 1), (1, 1))
    outer.cache_clear()
    assert inner.cache_info().currsize == 1


def test_methods_cache_per_instance(both: Any) -> None:
    """On a method the instance is part of the key; equal instances share entries, as in functools."""

    class Number(int):
        @both()
        def plus(self, x: int) -> Any:
            return self, self + x

    five, also_five, seven = Number(5), Number(5), Number(7)
    assert five.plus(1)[0] is five
    assert also_five.plus(1)[0] is five
    assert seven.plus(1)[1] == 8
    assert five.plus.cache_info() == Number.plus.cache_info()
    assert Number.plus.cache_info()[:2] == (1, 2)


def test_static_and_class_methods(both: Any) -> None:
    """The decorators work below staticmethod and classmethod."""

    class Reader:
        @staticmethod
        @both()
        def static(x: int) -> Any:
            return [x]

        @classmethod
        @both()
        def of_class(cls, x: int) -> Any:
            return [cls, x]

    assert Reader.static(1) is Reader().static(1) == [1]
    assert Reader.of_class(1) is Reader().of_class(1) == [Reader, 1]


def test_the_cache_keeps_an_instance_alive_until_it_is_cleared(both: Any, plain_gc: None) -> None:
    """An entry of a method holds its instance; cache_clear lets it go at once."""

    class Reader:
        @both()
        def read(self) -> int:
            return 1

    reader = Reader()
    alive = weakref.ref(reader)
    reader.read()
    del reader
    assert alive() is not None
    Reader.read.cache_clear()
    assert alive() is None


def test_a_cached_function_in_a_cycle_is_collected(both: Any) -> None:
    """A function whose cache holds an object that holds the function goes with the cyclic collector."""

    class Node:
        def __init__(self) -> None:
            self.cached = both()(lambda: self)

    node = Node()
    assert node.cached() is node
    alive = weakref.ref(node.cached), weakref.ref(node)
    del node
    gc.collect()
    assert [one() for one in alive] == [None, None]


@pytest.mark.parametrize("how", ["call", "own key", "map", "waiter"])
def test_an_exception_leaves_no_cycle(both: Any, plain_gc: None, how: str) -> None:
    """When the caller drops the exception, the locals of the function that raised it die at once."""

    class Local:
        pass

    alive: list[Any] = []
    entered, leave = threading.Event(), threading.Event()

    @both()
    def f(x: str) -> None:
        local = Local()
        alive.append(weakref.ref(local))
        entered.set()
        assert how != "waiter" or leave.wait(PATIENCE_S)
        if how == "own key" and len(alive) < 3:
            f(x)
        raise LookupError

    def call() -> None:
        try:
            if how == "map":
                f.map(["a", "b"], threads=1)
            else:
                f("a")
        except (LookupError, RecursionError):
            pass

    if how == "waiter":
        leader = start(call)
        assert entered.wait(PATIENCE_S)
        waiter = start(call)
        leave.set()
        assert leader() is waiter() is None
    else:
        call()
    assert [one() for one in alive] == [None] * len(alive) != []


# Budgets in bytes


def test_a_value_that_does_not_fit_is_returned_and_rejected() -> None:
    """fill_once passes on what does not fit, counts it, and still stores smaller values that come later."""
    f, ran = counting(bytecache.fill_once(maxbytes=10, sizeof=len))
    for value in "four", "55555", "22", "2!", "1", "four", "1":
        assert f(value) == value
    assert ran == ["four", "55555", "22", "2!", "1"]
    assert figures(f, "stored", "rejected", "currbytes", "maxbytes") == (3, 2, 10, 10)


def test_rejected_values_are_read_again() -> None:
    """A value that was rejected runs the function at every call, and is counted each time."""
    f, ran = counting(bytecache.fill_once(maxbytes=3, sizeof=len))
    assert [f("four"), f("four"), f("333")] == ["four", "four", "333"]
    assert ran == ["four", "four", "333"]
    assert figures(f, "hits", "misses", "stored", "rejected") == (0, 3, 1, 2)


def test_fill_once_never_evicts() -> None:
    """What is stored first stays, in entries and in bytes."""
    by_size, ran = counting(bytecache.fill_once(maxsize=2))
    by_bytes, _ = counting(bytecache.fill_once(maxbytes=2, sizeof=lambda value: 1))
    for f in by_size, by_bytes:
        for key in [1, 2, 3, 4, 3, 4, 1, 2]:
            f(key)
        assert figures(f, "hits", "misses", "stored", "rejected", "evicted", "currsize") == (2, 6, 2, 4, 0, 2)
    assert ran == [1, 2, 3, 4, 3, 4]


def test_both_limits_hold(both: Any) -> None:
    """With maxsize and maxbytes the stricter one binds."""
    few, _ = counting(both(maxsize=2, maxbytes=100, sizeof=len))
    small, _ = counting(both(maxsize=100, maxbytes=5, sizeof=len))
    for f in few, small:
        for value in "aa", "bb", "cc", "dd":
            f(value)
        assert figures(f, "currsize", "currbytes") == (2, 4)


def test_default_sizes_are_those_in_memory(both: Any) -> None:
    """Without sizeof= a value counts with what Python and numpy say it takes."""
    f, _ = counting(both(maxbytes="1 MiB"))
    f(b"x" * 1000)
    assert f.cache_stats().currbytes == (b"x" * 1000).__sizeof__()


def test_bytes_that_nobody_asked_for() -> None:
    """lru_cache without a budget or sizeof= measures nothing; fill_once always does."""
    assert bytecache.lru_cache()(len).cache_stats().currbytes is None
    assert bytecache.lru_cache(sizeof=len)(len).cache_stats().currbytes == 0
    assert bytecache.fill_once()(len).cache_stats().currbytes == 0


@pytest.mark.parametrize("wrong", [-1, 1.5, None, "4"])
def test_a_wrong_sizeof_is_a_type_error(both: Any, wrong: Any) -> None:
    """A size that is no int of 0 or more raises, names what came, and nothing is stored."""
    f, ran = counting(both(maxbytes=100, sizeof=lambda value: wrong))
    with pytest.raises(TypeError, match=f"sizeof must return an int of 0 bytes or more, got {wrong!r}"):
        f(1)
    assert figures(f, "misses", "errors", "stored", "currsize", "currbytes") == (1, 1, 0, 0, 0)


def test_a_size_may_be_a_numpy_integer(both: Any) -> None:
    """sizeof= may return any integer, such as the np.int64 that sums over arrays give."""
    f, _ = counting(both(maxbytes=100, sizeof=lambda value: np.int64(40)))
    f(1)
    assert figures(f, "stored", "currbytes") == (1, 40)


# Arrays


def array() -> Any:
    return np.zeros(4, np.uint8)


@pytest.mark.parametrize(
    "make, get",
    [
        (array, lambda value: value),
        (lambda: (1, array()), lambda value: value[1]),
        (lambda: [array()], lambda value: value[0]),
        (lambda: {"image": [array()]}, lambda value: value["image"][0]),
    ],
    ids=["array", "tuple", "list", "dict"],
)
def test_stored_arrays_are_read_only(both: Any, make: Any, get: Any) -> None:
    """An in-place change of a stored array fails loudly, for the first caller too, also inside containers."""
    f, _ = counting(both(maxbytes=10_000), lambda x: make())
    for _ in range(2):
        with pytest.raises(ValueError, match="read-only"):
            get(f(1))[0] = 1


def test_arrays_that_are_not_stored_stay_writable(both: Any) -> None:
    """A rejected array is the caller's own."""
    for f in both(maxbytes=1)(array), both(maxsize=0)(array):
        f()[0] = 1
        assert f.cache_stats().rejected == 1


# Clearing and figures


def test_clear_empties_and_counts_from_zero(both: Any) -> None:
    """After cache_clear every figure is zero and every key a miss."""
    f, ran = counting(both(maxbytes=1000), lambda x: 10 // x)
    f(1), f(1), f(2)
    with pytest.raises(ZeroDivisionError):
        f(0)
    f.cache_clear()
    zero = CacheStats(0, 0, 0, 0, 0, 0, 0, f.cache_info().maxsize, 0, 1000, 0.0)
    assert f.cache_stats() == zero
    f(1), f(1)
    assert f.cache_info()[:2] == (1, 1)
    assert ran == [1, 2, 0, 1]


def test_clear_drops_values_at_once(both: Any, plain_gc: None) -> None:
    """cache_clear lets go of the values before it returns, and their destructors may call the cache."""

    class Value:
        def __del__(self) -> None:
            f.cache_info()

    f, _ = counting(both(), lambda x: Value())
    alive = weakref.ref(f(1))
    f.cache_clear()
    assert alive() is None


@pytest.mark.parametrize(
    ("decorate", "stored"),
    [(bytecache.fill_once(), False), (bytecache.lru_cache(), True), (functools.lru_cache(), True)],
    ids=["fill_once", "lru_cache", "functools"],
)
def test_a_call_that_is_cleared_meanwhile(decorate: Any, stored: bool) -> None:
    """fill_once does not store what was read before a clear; lru_cache does, as functools does."""
    entered, leave = threading.Event(), threading.Event()

    def read(x: Any) -> Any:
        entered.set()
        assert leave.wait(PATIENCE_S)
        return [x]

    f, ran = counting(decorate, read)
    early = start(lambda: f(1))
    assert entered.wait(PATIENCE_S)
    assert f.cache_info().misses == 1  # a miss is counted when the run begins
    f.cache_clear()
    leave.set()
    assert early() == [1]
    assert f.cache_info() == (0, 0, f.cache_info().maxsize, int(stored))
    assert (f(1) is early()) == stored
    assert ran == ([1] if stored else [1, 1])


def test_a_function_may_clear_its_own_cache() -> None:
    """cache_clear inside the cached function does not hang, and the figures after it are functools'."""
    ours, theirs = (
        bytecache.lru_cache(lambda x: ours.cache_clear()),
        functools.lru_cache(lambda x: theirs.cache_clear()),
    )
    once, ran = counting(bytecache.fill_once(), lambda x: once.cache_clear())
    for f in ours, theirs, once:
        f(1), f(1)
    assert ours.cache_info() == theirs.cache_info()
    assert (ran, once.cache_info().currsize) == ([1, 1], 0)


def test_a_dropped_cache_is_freed_at_once(both: Any, plain_gc: None) -> None:
    """The decorated function is in no reference cycle: without it, its values are gone."""

    class Value:
        pass

    f = both()(lambda key: Value())
    alive = weakref.ref(f("a"))
    assert alive() is not None
    del f
    assert alive() is None


def test_info_is_functools_own(both: Any) -> None:
    """cache_info is a named tuple of the four fields, with functools' repr."""
    f, _ = counting(both(3))
    assert repr(f.cache_info()) == "CacheInfo(hits=0, misses=0, maxsize=3, currsize=0)"
    assert repr(f.cache_info()) == repr(functools.lru_cache(3)(len).cache_info())


def test_a_difference_of_stats_is_what_moved_between(both: Any) -> None:
    """now - then subtracts the counters and keeps now's size and limits; other operands are refused."""
    f, _ = counting(both(maxbytes=1000, sizeof=len), str)
    f(1), f(2)
    then = f.cache_stats()
    f(1), f(1), f(1), f(3)
    epoch = f.cache_stats() - then
    assert (epoch.hits, epoch.misses, epoch.stored, epoch.hit_rate) == (3, 1, 1, 0.75)
    assert (epoch.currsize, epoch.currbytes, epoch.maxbytes) == (3, 3, 1000)
    assert epoch.load_s == f.cache_stats().load_s - then.load_s
    with pytest.raises(TypeError):
        then - 1  # type: ignore[operator]  # noqa: B018


def test_hit_rate_before_the_first_call_is_zero(both: Any) -> None:
    """hit_rate divides by nothing; the snapshot cannot be changed."""
    stats = counting(both())[0].cache_stats()
    assert stats.hit_rate == 0.0
    with pytest.raises(AttributeError):
        stats.hits = 1


# What lru_cache evicts


def test_lru_evicts_what_was_used_longest_ago() -> None:
    """A hit is a use: the key that was neither read nor hit for longest goes first."""
    f, ran = counting(bytecache.lru_cache(maxsize=3))
    for key in 1, 2, 3, 1, 4, 2, 1, 3:
        f(key)
    assert ran == [1, 2, 3, 4, 2, 3]
    assert figures(f, "hits", "misses", "evicted", "currsize") == (2, 6, 3, 3)


def test_lru_evicts_as_many_as_a_large_value_needs() -> None:
    """Room in bytes is made by dropping the values used longest ago, and no more of them than needed."""
    f, ran = counting(bytecache.lru_cache(maxsize=None, maxbytes=10, sizeof=len))
    for value in "aaa", "bbb", "ccc", "aaa", "55555", "aaa", "bbb":
        f(value)
    assert ran == ["aaa", "bbb", "ccc", "55555", "bbb"]
    assert figures(f, "hits", "evicted", "currsize", "currbytes") == (2, 3, 2, 6)


def test_lru_rejects_only_what_exceeds_the_whole_budget() -> None:
    """A value larger than the budget is passed on and evicts nothing."""
    f, _ = counting(bytecache.lru_cache(maxsize=None, maxbytes=10, sizeof=len))
    for value in "aaa", "x" * 11, "y" * 10:
        assert f(value) == value
    assert figures(f, "stored", "rejected", "evicted", "currsize", "currbytes") == (2, 1, 1, 1, 10)


def test_an_evicted_value_dies_at_once(plain_gc: None) -> None:
    """Eviction lets go of the value, and its destructor may call the cache."""

    class Value:
        def __del__(self) -> None:
            f.cache_info()

    f, _ = counting(bytecache.lru_cache(maxsize=1), lambda x: Value())
    alive = weakref.ref(f(1))
    f(2)
    assert alive() is None
