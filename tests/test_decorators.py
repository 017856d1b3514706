"""fill_once and lru_cache in memory, as one thread sees them: the contract of calls, and what only they do."""

from __future__ import annotations

import copy
import functools
import gc
import pickle
import sys
import threading
import weakref
from enum import IntEnum
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from contracts.calls import CallContract
from helpers.counting import counting, stats_of
from helpers.threads import PATIENCE_S, start
from hypothesis import given, settings, strategies as st

import bytecache

FIRST = "Expected first argument to be an integer, a callable, or None, got "
EXPECTED = 'maxbytes must be a positive int or a size such as "2 GiB", "500 MB" or "50%", got '


@bytecache.fill_once
def filled_once(x: Any) -> Any:
    return x


@bytecache.lru_cache
def least_recently_used(x: Any) -> Any:
    return x


@pytest.fixture
def decorate(in_memory: Any) -> Any:
    """What the contract is run over."""
    return in_memory


class TestCalls(CallContract):
    """fill_once and lru_cache in memory."""


def test_a_hit_is_the_very_object(in_memory: Any) -> None:
    """A hit returns what the function returned, not a copy."""
    f, _ = counting(in_memory(), lambda x: [x])
    assert f(1) is f(1)


# Keys


class Name(str):
    pass


class Colour(IntEnum):
    RED = 1


ARGUMENTS = st.sampled_from(
    [0, 1, 1.0, True, Fraction(1), Colour.RED, -1, -2, "1", Name("1"), b"1", None, (1,), (1.0,), (), int]
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


@pytest.mark.parametrize("keys", [[f"/data/{i}.jpg" for i in range(20)], list(range(20))], ids=["paths", "indices"])
def test_a_scalar_of_numpy_hits_what_its_python_equal_has_stored(in_memory: Any, keys: list[Any]) -> None:
    """What was warmed with a list is found in the order of np.random.permutation, by map too."""
    f, ran = counting(in_memory(), lambda key: b"x")
    f.warm(keys)
    order = np.random.default_rng(0).permutation(keys)
    assert type(order[0]) is not type(keys[0])
    assert [f(key) for key in order] == f.map(list(order)) == [f(np.array(key)) for key in keys]
    assert (len(ran), f.cache_info()[:2]) == (20, (60, 20))


def test_equal_arguments_of_other_types_share_an_entry(in_memory: Any) -> None:
    """f(1, Fraction(2)) is f(1, 2), as in functools, even if only one of the two computes its hash in Python."""
    calls = []

    @in_memory()
    def f(x: Any, y: Any) -> Any:
        calls.append((x, y))

    f(1, 2)
    f(1, Fraction(2))
    assert calls == [(1, 2)]


@pytest.mark.parametrize("kwds", [{}, {"typed": True}, {"key": lambda x: x}, {"maxbytes": 1000}])
def test_an_unhashable_argument_is_a_type_error(in_memory: Any, kwds: dict[str, Any]) -> None:
    """A list as an argument raises TypeError before the function runs, and is not counted."""
    f, ran = counting(in_memory(**kwds))
    with pytest.raises(TypeError, match="unhashable"):
        f([])
    assert (ran, f.cache_info()[:2]) == ([], (0, 0))


# Ways to decorate


@pytest.mark.parametrize("cached, maxsize", [(filled_once, None), (least_recently_used, 128)])
def test_bare_decoration_takes_the_defaults(cached: Any, maxsize: int | None) -> None:
    """@decorator without parentheses is @decorator()."""
    assert cached.cache_info().maxsize == maxsize
    assert cached.cache_parameters() == {"maxsize": maxsize, "typed": False}
    assert bytecache.fill_once()(len).cache_info().maxsize is None
    assert bytecache.lru_cache()(len).cache_info().maxsize == 128


def test_size_zero_runs_every_call(in_memory: Any) -> None:
    """With maxsize=0 nothing is looked up, so arguments need not be hashable; each value is rejected."""
    f, ran = counting(in_memory(maxsize=0), lambda x: 1 // len(x))
    assert f([1]) == f([1]) == 1
    with pytest.raises(ZeroDivisionError):
        f([])
    assert len(ran) == 3
    assert stats_of(f, "hits", "misses", "errors", "rejected", "stored") == (0, 3, 1, 2, 0)


@pytest.mark.parametrize(
    "kwds, error, message",
    [
        ({"maxsize": "9"}, TypeError, FIRST + "'9'; sizes go into maxbytes="),
        ({"maxsize": 1.5}, TypeError, FIRST + "1.5; sizes go into maxbytes="),
        ({"maxbytes": 0}, ValueError, EXPECTED + "0"),
        ({"maxbytes": -1}, ValueError, EXPECTED + "-1"),
        ({"maxbytes": "lots"}, ValueError, EXPECTED + "'lots'"),
        ({"maxbytes": 1.5}, TypeError, EXPECTED + "1.5 of type float"),
        ({"maxbytes": True}, TypeError, EXPECTED + "True of type bool"),
        ({"key": 3}, TypeError, "key must be a function or None, got 3"),
        ({"sizeof": "len"}, TypeError, "sizeof must be a function or None, got 'len'"),
    ],
)
def test_wrong_options_are_refused(in_memory: Any, kwds: Any, error: Any, message: str) -> None:
    """A wrong option raises when the decorator is made, and the message says which option and which value."""
    with pytest.raises(error) as caught:
        in_memory(**kwds)
    assert str(caught.value) == message


# The wrapper as an object


@pytest.mark.parametrize("cached", [filled_once, least_recently_used])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_copies_are_the_function_itself(cached: Any, protocol: int) -> None:
    """copy, deepcopy and pickle go by reference."""
    assert copy.copy(cached) is copy.deepcopy(cached) is cached
    assert pickle.loads(pickle.dumps(cached, protocol)) is cached


def test_methods_with_instances_kept_alive(in_memory: Any) -> None:
    """With keep_alive=True the instance is a part of the key; equal instances share entries, as in functools."""

    class Number(int):
        @in_memory(keep_alive=True)
        def plus(self, x: int) -> Any:
            return self, self + x

    five, also_five, seven = Number(5), Number(5), Number(7)
    assert five.plus(1)[0] is five
    assert also_five.plus(1)[0] is five
    assert seven.plus(1)[1] == 8
    assert five.plus.cache_info() == Number.plus.cache_info()
    assert Number.plus.cache_info()[:2] == (1, 2)


def test_static_and_class_methods(in_memory: Any) -> None:
    """The decorators work under staticmethod and classmethod."""

    class Reader:
        @staticmethod
        @in_memory()
        def static(x: int) -> Any:
            return [x]

        @classmethod
        @in_memory()
        def of_class(cls, x: int) -> Any:
            return [cls, x]

    assert Reader.static(1) is Reader().static(1) == [1]
    assert Reader.of_class(1) is Reader().of_class(1) == [Reader, 1]


def test_the_cache_keeps_an_instance_alive_until_it_is_cleared(in_memory: Any, plain_gc: None) -> None:
    """With keep_alive=True an entry of a method refers to its instance; cache_clear drops it at once."""

    class Reader:
        @in_memory(keep_alive=True)
        def read(self) -> int:
            return 1

    reader = Reader()
    alive = weakref.ref(reader)
    reader.read()
    del reader
    assert alive() is not None
    Reader.read.cache_clear()
    assert alive() is None


def test_a_cached_function_in_a_cycle_is_collected(in_memory: Any) -> None:
    """The cyclic collector frees a function whose cache refers to an object that refers to the function."""

    class Node:
        def __init__(self) -> None:
            self.cached = in_memory()(lambda: self)

    node = Node()
    assert node.cached() is node
    alive = weakref.ref(node.cached), weakref.ref(node)
    del node
    gc.collect()
    assert [one() for one in alive] == [None, None]


@pytest.mark.parametrize("decorator", [bytecache.fill_once, bytecache.lru_cache])
def test_a_maxsize_that_looks_like_bytes_is_asked_about(decorator: Any) -> None:
    """So many entries fit in no memory: a warning at the line of the decorator names maxbytes=; plausible ones pass."""
    for maxsize in 4 << 30, 1 << 24, np.int64(10**9):
        with pytest.warns(RuntimeWarning, match=f"if bytes are meant, give maxbytes={maxsize}") as caught:
            decorator(maxsize)
        assert [one.filename for one in caught] == [__file__]
    for quiet in {"maxsize": 14_000_000}, {"maxsize": sys.maxsize}, {"maxsize": 4 << 30, "maxbytes": "1 GiB"}, {}:
        decorator(**quiet)


def test_limits_may_be_numpy_ints(in_memory: Any, stores: Any) -> None:
    """maxsize, maxbytes and threads take what numpy computes, and keep plain ints."""
    f = in_memory(np.int32(3), maxbytes=np.uint64(1000))(lambda x: x)
    parameters = f.cache_parameters()
    assert parameters == {"maxsize": 3, "typed": False, "maxbytes": 1000}
    assert {type(parameters["maxsize"]), type(parameters["maxbytes"])} == {int}
    assert f.map([1, 2], threads=np.int8(2)) == [1, 2]
    assert f.warm([3], np.int16(1)).misses == 3
    assert type(stores(maxbytes=np.int64(1 << 20)).maxbytes) is int
    for wrong in np.float64(3), "3", [3]:
        with pytest.raises(TypeError):
            in_memory(wrong)
        with pytest.raises(TypeError):
            f.map([1], threads=wrong)


def test_an_unhashable_argument_asks_for_key(in_memory: Any) -> None:
    """The TypeError names the type and key=, for arguments and for what key= has returned; key= is the way out."""
    for f in in_memory()(lambda x: x), in_memory(key=lambda x: x)(lambda x: x):
        for call in f, lambda x, f=f: f.map([x]):
            with pytest.raises(TypeError, match=r"unhashable type: 'list'.*key="):
                call([1])
    assert in_memory(key=tuple)(len)([1, 2]) == 2


# Budgets in bytes


def test_a_value_that_does_not_fit_is_returned_and_rejected() -> None:
    """fill_once returns a value that does not fit, counts it, and still stores smaller values that come later."""
    f, ran = counting(bytecache.fill_once(maxbytes=10, sizeof=len))
    for value in "four", "55555", "22", "2!", "1", "four", "1":
        assert f(value) == value
    assert ran == ["four", "55555", "22", "2!", "1"]
    assert stats_of(f, "stored", "rejected", "currbytes", "maxbytes") == (3, 2, 10, 10)


def test_rejected_values_are_read_again() -> None:
    """A rejected value is read again at every call, and counted each time."""
    f, ran = counting(bytecache.fill_once(maxbytes=3, sizeof=len))
    assert [f("four"), f("four"), f("333")] == ["four", "four", "333"]
    assert ran == ["four", "four", "333"]
    assert stats_of(f, "hits", "misses", "stored", "rejected") == (0, 3, 1, 2)


def test_fill_once_never_evicts() -> None:
    """What is stored first stays, whether the limit is in entries or in bytes."""
    by_size, ran = counting(bytecache.fill_once(maxsize=2))
    by_bytes, _ = counting(bytecache.fill_once(maxbytes=2, sizeof=lambda value: 1))
    for f in by_size, by_bytes:
        for key in [1, 2, 3, 4, 3, 4, 1, 2]:
            f(key)
        assert stats_of(f, "hits", "misses", "stored", "rejected", "evicted", "currsize") == (2, 6, 2, 4, 0, 2)
    assert ran == [1, 2, 3, 4, 3, 4]


def test_the_stricter_limit_binds(in_memory: Any) -> None:
    """With maxsize and maxbytes the one that is reached first stops the cache from growing."""
    few, _ = counting(in_memory(maxsize=2, maxbytes=100, sizeof=len))
    small, _ = counting(in_memory(maxsize=100, maxbytes=5, sizeof=len))
    for f in few, small:
        for value in "aa", "bb", "cc", "dd":
            f(value)
        assert stats_of(f, "currsize", "currbytes") == (2, 4)


def test_default_sizes_are_those_in_memory(in_memory: Any) -> None:
    """Without sizeof= the size of a value is what Python and numpy report."""
    f, _ = counting(in_memory(maxbytes="1 MiB"))
    f(b"x" * 1000)
    assert f.cache_stats().currbytes == (b"x" * 1000).__sizeof__()


def test_bytes_are_measured_only_if_asked_to(in_memory: Any) -> None:
    """Without a budget or sizeof= nothing is measured, and currbytes is None."""
    f, _ = counting(in_memory(), lambda x: b"x" * x)
    f(1000)
    assert f.cache_stats().currbytes is None
    g, _ = counting(in_memory(sizeof=len), lambda x: b"x" * x)
    g(1000)
    assert g.cache_stats().currbytes == 1000


@pytest.mark.parametrize("wrong", [-1, 1.5, None, "4"])
def test_a_wrong_sizeof_is_a_type_error(in_memory: Any, wrong: Any) -> None:
    """A size that is not an int of 0 or more raises, the message quotes it, and nothing is stored."""
    f, ran = counting(in_memory(maxbytes=100, sizeof=lambda value: wrong))
    with pytest.raises(TypeError, match=f"sizeof must return an int of 0 bytes or more, got {wrong!r}"):
        f(1)
    assert stats_of(f, "misses", "errors", "stored", "currsize", "currbytes") == (1, 1, 0, 0, 0)


def test_a_size_may_be_a_numpy_integer(in_memory: Any) -> None:
    """sizeof= may return any integer type, such as the np.int64 of a sum over an array."""
    f, _ = counting(in_memory(maxbytes=100, sizeof=lambda value: np.int64(40)))
    f(1)
    assert stats_of(f, "stored", "currbytes") == (1, 40)


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
def test_stored_arrays_are_read_only(in_memory: Any, make: Any, get: Any) -> None:
    """Changing a stored array in place raises, for the first caller too and inside containers."""
    f, _ = counting(in_memory(maxbytes=10_000), lambda x: make())
    for _ in range(2):
        with pytest.raises(ValueError, match="read-only"):
            get(f(1))[0] = 1


def test_arrays_that_are_not_stored_stay_writable(in_memory: Any) -> None:
    """An array that was rejected can be changed by the caller."""
    for f in in_memory(maxbytes=1)(array), in_memory(maxsize=0)(array):
        f()[0] = 1
        assert f.cache_stats().rejected == 1


# Clearing and counters


def test_clear_drops_values_at_once(in_memory: Any, plain_gc: None) -> None:
    """cache_clear drops the values before it returns, and their destructors may call the cache."""

    class Value:
        def __del__(self) -> None:
            f.cache_info()

    f, _ = counting(in_memory(), lambda x: Value())
    alive = weakref.ref(f(1))
    f.cache_clear()
    assert alive() is None


@pytest.mark.parametrize(
    ("decorator", "stored"),
    [(bytecache.fill_once(), False), (bytecache.lru_cache(), True), (functools.lru_cache(), True)],
    ids=["fill_once", "lru_cache", "functools"],
)
def test_a_call_that_is_cleared_meanwhile(decorator: Any, stored: bool) -> None:
    """fill_once does not store what was read before a clear; lru_cache does, as functools does."""
    entered, leave = threading.Event(), threading.Event()

    def read(x: Any) -> Any:
        entered.set()
        assert leave.wait(PATIENCE_S)
        return [x]

    f, ran = counting(decorator, read)
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
    """cache_clear inside the cached function does not hang, and the counters after it are those of functools."""
    ours, theirs = (
        bytecache.lru_cache(lambda x: ours.cache_clear()),
        functools.lru_cache(lambda x: theirs.cache_clear()),
    )
    once, ran = counting(bytecache.fill_once(), lambda x: once.cache_clear())
    for f in ours, theirs, once:
        f(1), f(1)
    assert ours.cache_info() == theirs.cache_info()
    assert (ran, once.cache_info().currsize) == ([1, 1], 0)


def test_a_dropped_cache_is_freed_at_once(in_memory: Any, plain_gc: None) -> None:
    """The decorated function is in no reference cycle: when it is dropped, so are its values."""

    class Value:
        pass

    f = in_memory()(lambda key: Value())
    alive = weakref.ref(f("a"))
    assert alive() is not None
    del f
    assert alive() is None


def test_a_difference_of_stats_is_what_changed_in_between(in_memory: Any) -> None:
    """later - earlier subtracts the counters and keeps the later size and limits; other operands are refused."""
    f, _ = counting(in_memory(maxbytes=1000, sizeof=len), str)
    f(1), f(2)
    then = f.cache_stats()
    f(1), f(1), f(1), f(3)
    epoch = f.cache_stats() - then
    assert (epoch.hits, epoch.misses, epoch.stored, epoch.hit_rate) == (3, 1, 1, 0.75)
    assert (epoch.currsize, epoch.currbytes, epoch.maxbytes) == (3, 3, 1000)
    assert epoch.load_s == f.cache_stats().load_s - then.load_s
    with pytest.raises(TypeError):
        then - 1  # type: ignore[operator]  # noqa: B018


# What lru_cache evicts


def test_lru_evicts_what_was_used_longest_ago() -> None:
    """A hit is a use: the key whose last use is oldest is evicted first."""
    f, ran = counting(bytecache.lru_cache(maxsize=3))
    for key in 1, 2, 3, 1, 4, 2, 1, 3:
        f(key)
    assert ran == [1, 2, 3, 4, 2, 3]
    assert stats_of(f, "hits", "misses", "evicted", "currsize") == (2, 6, 3, 3)


def test_lru_evicts_as_many_as_a_large_value_needs() -> None:
    """A large value evicts the values used longest ago, and no more of them than needed."""
    f, ran = counting(bytecache.lru_cache(maxsize=None, maxbytes=10, sizeof=len))
    for value in "aaa", "bbb", "ccc", "aaa", "55555", "aaa", "bbb":
        f(value)
    assert ran == ["aaa", "bbb", "ccc", "55555", "bbb"]
    assert stats_of(f, "hits", "evicted", "currsize", "currbytes") == (2, 3, 2, 6)


def test_lru_rejects_only_what_exceeds_the_whole_budget() -> None:
    """A value larger than the budget is returned and evicts nothing."""
    f, _ = counting(bytecache.lru_cache(maxsize=None, maxbytes=10, sizeof=len))
    for value in "aaa", "x" * 11, "y" * 10:
        assert f(value) == value
    assert stats_of(f, "stored", "rejected", "evicted", "currsize", "currbytes") == (2, 1, 1, 1, 10)


def test_an_evicted_value_dies_at_once(plain_gc: None) -> None:
    """Eviction drops the value, and its destructor may call the cache."""

    class Value:
        def __del__(self) -> None:
            f.cache_info()

    f, _ = counting(bytecache.lru_cache(maxsize=1), lambda x: Value())
    alive = weakref.ref(f(1))
    f(2)
    assert alive() is None
