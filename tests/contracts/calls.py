"""What a call of a cached function does, whatever keeps its values.

A test file runs a contract in a subclass whose name starts with "Test", and has the fixture `decorate`: the decorator
under test, called with options, without a limit unless the test sets one. What a store cannot do, the subclass
overrides.
"""

from __future__ import annotations

import functools
import inspect
import threading
import weakref
from dataclasses import replace
from typing import Any

import pytest
from helpers.counting import counting, stats_of
from helpers.internals import waiting_threads
from helpers.threads import PATIENCE_S, start, until

from bytecache import CacheInfo, CacheStats


async def a_coroutine() -> None: ...


def a_generator() -> Any:
    yield


async def an_asyncgen() -> Any:
    yield


class CallContract:
    """Hits and misses, keys, what can be decorated, the wrapper as an object, and the counters."""

    # Hits and misses

    def test_a_miss_runs_the_function_and_a_hit_does_not(self, decorate: Any) -> None:
        """Each key runs once; every call counts as one hit or one miss."""
        f, ran = counting(decorate())
        assert [f(key) for key in "abab"] == list("abab")
        assert ran == ["a", "b"]
        assert f.cache_info()[:2] == (2, 2)
        assert stats_of(f, "stored", "errors", "rejected", "evicted", "currsize") == (2, 0, 0, 0, 2)

    def test_an_exception_is_a_miss_and_is_never_stored(self, decorate: Any) -> None:
        """A call that raises counts as a miss and an error, and the next call runs the function again."""
        f, ran = counting(decorate(), lambda x: 1 // x)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError) as caught:
                f(0)
            assert caught.value.__context__ is None
        assert ran == [0, 0]
        assert stats_of(f, "hits", "misses", "errors", "stored", "currsize") == (0, 2, 2, 0, 0)

    def test_none_is_a_value(self, decorate: Any) -> None:
        """A function that returned None is not run again."""
        f, ran = counting(decorate(), lambda x: None)
        assert f("a") is f("a") is None
        assert ran == ["a"]

    def test_seconds_in_the_function_are_counted(self, decorate: Any) -> None:
        """load_s grows with a miss, even one that raises, and not with a hit."""
        f, _ = counting(decorate(), lambda x: 1 // x)
        f(1)
        once = f.cache_stats().load_s
        f(1)
        assert f.cache_stats().load_s == once > 0
        with pytest.raises(ZeroDivisionError):
            f(0)
        assert f.cache_stats().load_s > once

    # Keys

    def test_keys_are_compared_by_equality_not_by_hash(self, decorate: Any) -> None:
        """Keys with the same hash are two keys: hash(-1) == hash(-2)."""
        assert hash(-1) == hash(-2)
        f, ran = counting(decorate())
        assert [f(-1), f(-2), f((-1,)), f((-2,))] == [-1, -2, (-1,), (-2,)]
        assert len(ran) == 4

    def test_typed_keeps_types_apart(self, decorate: Any) -> None:
        """With typed=True 3 and 3.0 are two keys, by position and by name."""
        f, ran = counting(decorate(typed=True))
        assert [type(f(3)), type(f(3.0)), type(f(x=3)), type(f(x=3.0)), type(f(3))] == [int, float, int, float, int]
        assert len(ran) == 4

    def test_no_argument_name_is_taken(self, decorate: Any) -> None:
        """A function may give its parameters any names, even those of the wrapper."""

        @decorate()
        def f(**kwds: Any) -> Any:
            return kwds

        names = dict(first=1, key=2, self=3, args=4, kwds=5, function=6)
        assert f(**names) == f(**names) == names
        assert f.cache_info()[:2] == (1, 1)

    def test_key_makes_the_key(self, decorate: Any) -> None:
        """With key= calls share a result if their keys are equal; the function gets the arguments."""

        @decorate(key=lambda path, **options: path.lower())
        def f(path: str, **options: Any) -> Any:
            return path, options

        assert f("A", size=3) == f("a") == f("a", size=5) == ("A", {"size": 3})
        assert f("b") == ("b", {})
        assert f.cache_info()[:2] == (2, 2)

    def test_key_that_raises_runs_nothing(self, decorate: Any) -> None:
        """An exception of key= reaches the caller, and the function does not run."""
        f, ran = counting(decorate(key=lambda x: 1 // x))
        with pytest.raises(ZeroDivisionError):
            f(0)
        assert (ran, f.cache_info()[:2]) == ([], (0, 0))

    # What can be decorated

    @pytest.mark.parametrize("maxsize, as_shown", [(0, 0), (-10, 0), (None, None), (7, 7)])
    def test_maxsize_as_in_functools(self, decorate: Any, maxsize: Any, as_shown: Any) -> None:
        """A negative maxsize is zero; None is no limit."""
        f, _ = counting(decorate(maxsize=maxsize))
        assert f.cache_info() == CacheInfo(0, 0, as_shown, 0)
        assert f.cache_parameters()["maxsize"] == as_shown

    def test_cache_parameters_are_a_copy(self, decorate: Any) -> None:
        """cache_parameters returns maxsize, typed and the budget in bytes; changing the dict changes nothing."""
        f, _ = counting(decorate(5, True, maxbytes="2 KiB"))
        f.cache_parameters()["maxsize"] = 9
        parameters = f.cache_parameters()
        parameters.pop("path", None)  # of a store
        assert parameters == {"maxsize": 5, "typed": True, "maxbytes": 2048}

    def test_only_functions_are_decorated(self, decorate: Any) -> None:
        """Decorating an object that cannot be called is a TypeError."""
        with pytest.raises(TypeError, match="expected a function to decorate, got 5"):
            decorate(maxsize=3)(5)

    @pytest.mark.parametrize("wrap", [lambda f: f, functools.partial], ids=["plain", "partial"])
    @pytest.mark.parametrize("function", [a_coroutine, a_generator, an_asyncgen])
    def test_results_that_can_be_used_once_are_refused(self, decorate: Any, function: Any, wrap: Any) -> None:
        """Coroutine and generator functions raise a TypeError that says why and what kind they are."""
        kind = function.__name__.split("_")[1]
        with pytest.raises(TypeError, match=f"is a {kind} function: what it returns can be used only once"):
            decorate()(wrap(function))

    # The wrapper as an object

    def test_wrapper_looks_like_the_function(self, decorate: Any) -> None:
        """Name, doc, signature, annotations and __wrapped__ are the function's."""

        def f(x: int, *, y: str = "z") -> bytes:
            """Doc."""
            raise NotImplementedError

        cached = decorate()(f)
        assert cached.__wrapped__ is f
        assert inspect.signature(cached) == inspect.signature(f)
        for name in functools.WRAPPER_ASSIGNMENTS:
            assert getattr(cached, name, None) == getattr(f, name, None)

    def test_decorators_nest(self, decorate: Any) -> None:
        """A cached function may be cached again: each wrapper has counters and methods of its own."""
        inner, ran = counting(decorate())
        outer = decorate()(inner)
        outer(1), outer(1), inner(1)
        assert (ran, outer.cache_info()[:2], inner.cache_info()[:2]) == ([1], (1, 1), (1, 1))
        outer.cache_clear()
        assert inner.cache_info().currsize == 1

    @pytest.mark.parametrize("how", ["call", "own key", "map", "waiter"])
    def test_an_exception_leaves_no_cycle(self, decorate: Any, plain_gc: None, how: str) -> None:
        """When the caller drops the exception, the locals of the function that raised it die at once."""

        class Local:
            pass

        alive: list[Any] = []
        entered, leave = threading.Event(), threading.Event()

        @decorate()
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
            until(waiting_threads)
            leave.set()
            assert leader() is waiter() is None
        else:
            call()
        assert [one() for one in alive] == [None] * len(alive) != []

    # Clearing and counters

    def test_clear_empties_and_counts_from_zero(self, decorate: Any) -> None:
        """After cache_clear every counter is zero and every key a miss."""
        f, ran = counting(decorate(maxbytes=1000), lambda x: 10 // x)
        f(1), f(1), f(2)
        with pytest.raises(ZeroDivisionError):
            f(0)
        f.cache_clear()
        zero = CacheStats(0, 0, 0, 0, 0, 0, 0, f.cache_info().maxsize, 0, 1000, 0.0)
        assert replace(f.cache_stats(), tiers=()) == zero
        f(1), f(1)
        assert f.cache_info()[:2] == (1, 1)
        assert ran == [1, 2, 0, 1]

    # One key

    def test_contains_is_no_use_and_not_counted(self, decorate: Any) -> None:
        """cache_contains tells whether a call would hit, by whatever arguments it is made."""
        f = decorate()(lambda a, b=2: a)
        f("a"), f("a", 3), f(b=1, a="c")
        before = f.cache_stats()
        calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
            (("a",), {}), (("a", 3), {}), ((), {"b": 1, "a": "c"}), (("b",), {}), (("a", 4), {}), ((), {"a": "a"}),
        ]  # fmt: skip
        assert [f.cache_contains(*args, **kwds) for args, kwds in calls] == [True] * 3 + [False] * 3
        assert f.cache_stats() == before

    def test_discard_removes_one_value(self, decorate: Any) -> None:
        """The next call runs the function again; other values stay; what was not there is not discarded."""
        f, ran = counting(decorate())
        f("a"), f("b"), f("c")
        assert f.cache_discard("b") is True
        assert f.cache_discard("b") is f.cache_discard("z") is False
        assert [f.cache_contains(key) for key in "abc"] == [True, False, True]
        assert [f(key) for key in "abc"] == list("abc") and ran == [*"abc", "b"]
        assert stats_of(f, "hits", "misses", "stored", "evicted", "currsize") == (2, 4, 4, 1, 3)

    def test_what_is_being_read_when_it_is_discarded_is_not_stored(self, decorate: Any) -> None:
        """Its callers get it; a call that comes later runs the function, and its value is stored."""
        entered, leave = threading.Event(), threading.Event()
        values = iter(["old", "new"])

        def read(key: str) -> str:
            value = next(values)
            if value == "old":
                entered.set()
                assert leave.wait(PATIENCE_S)
            return value

        f, _ = counting(decorate(), read)
        leader = start(lambda: f("a"))
        assert entered.wait(PATIENCE_S)
        waiter = start(lambda: f("a"))
        until(waiting_threads)
        assert f.cache_discard("a") is False and f("a") == "new"
        leave.set()
        assert leader() == waiter() == "old" and f("a") == "new"
        assert stats_of(f, "hits", "misses", "stored", "evicted", "currsize") == (2, 2, 1, 0, 1)

    def test_a_function_that_discards_its_own_key(self, decorate: Any) -> None:
        """What it returns is handed out and not stored."""
        f, ran = counting(decorate(), lambda x: x if x else f.cache_discard(0))
        assert f(0) is False and not f.cache_contains(0)
        assert f.cache_discard(0) is False and ran == [0]

    def test_info_is_functools_own(self, decorate: Any) -> None:
        """cache_info is a named tuple of the four fields, with functools' repr."""
        f, _ = counting(decorate(3))
        assert repr(f.cache_info()) == "CacheInfo(hits=0, misses=0, maxsize=3, currsize=0)"
        assert repr(f.cache_info()) == repr(functools.lru_cache(3)(len).cache_info())

    def test_hit_rate_before_the_first_call_is_zero(self, decorate: Any) -> None:
        """hit_rate does not divide by zero; the snapshot cannot be changed."""
        stats = counting(decorate())[0].cache_stats()
        assert stats.hit_rate == 0.0
        with pytest.raises(AttributeError):
            stats.hits = 1
