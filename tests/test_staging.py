"""staged, as its callers see it: the contracts of every cached function, and what only a pipeline does."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from contracts.batched import BatchedContract, bad, batched, text
from contracts.bulk import BulkContract
from contracts.calls import CallContract
from contracts.single_flight import SingleFlightContract
from helpers.counting import counting, stats_of
from helpers.internals import assert_at_rest
from helpers.pickling import PickledFunction
from helpers.threads import PATIENCE_S, start, together, until

import bytecache
from bytecache import CacheStats

BUDGET = 1 << 22


def same(value: Any) -> Any:
    return value


# Each length of a pipeline, and each of two that keep a value after the first stage or the last, in one place at least.
VARIANTS = [
    pytest.param((0, False), "store", id="one stage, in a store"),
    pytest.param((1, False), "memory", id="two stages, in memory"),
    pytest.param((2, False), "store", id="three stages, in a store"),
    pytest.param((1, True), "memory", id="two stages, kept after the first, in memory"),
    pytest.param((1, True), "store", id="two stages, kept after the first, in a store"),
]
pytestmark = pytest.mark.parametrize(("stages", "place"), VARIANTS, indirect=True)


@pytest.fixture
def stages(request: pytest.FixtureRequest) -> Any:
    """How many stages come after the function of a contract, and whether they are given as free of cost."""
    return request.param


@pytest.fixture
def others(stages: tuple[int, bool]) -> tuple[Any, ...]:
    """The stages after the function of a contract."""
    return (same,) * stages[0]


@pytest.fixture
def place(request: pytest.FixtureRequest, stores: Callable[..., Any]) -> Any:
    """From a budget to the arguments for it: in memory or in a shared store."""
    if request.param == "memory":
        return lambda maxbytes=BUDGET: {"maxbytes": maxbytes}
    return lambda maxbytes=BUDGET: {"store": stores(maxbytes)}


@pytest.fixture
def decorate(place: Any, others: tuple[Any, ...], stages: tuple[int, bool]) -> Any:
    """A decorator that makes a function the first stage of a pipeline."""
    early = stages[1]

    def decorator(maxbytes: Any = BUDGET, **options: Any) -> Any:
        budget = place(maxbytes)
        costs = [1.0] + [0.0] * len(others) if early else None

        def make(function: Any) -> Any:
            return bytecache.staged(function, *others, **budget, cost=costs, **options)

        if "store" in budget and not options.get("batched"):
            return lambda function: PickledFunction(function, make)
        return make

    return decorator


class TestCalls(CallContract):
    """Pipelines of one to three stages, in memory and in a shared store."""

    # A pipeline takes one key, by position, and has no key=, typed= and maxsize=.
    test_typed_keeps_types_apart = test_no_argument_name_is_taken = None  # type: ignore[assignment]
    test_key_makes_the_key = test_key_that_raises_runs_nothing = None  # type: ignore[assignment]
    test_maxsize_as_in_functools = None  # type: ignore[assignment]

    def test_cache_parameters_are_a_copy(self, decorate: Any) -> None:
        """cache_parameters returns the budget, and the fields of functools; changing the dict changes nothing."""
        f, _ = counting(decorate(maxbytes=2048))
        f.cache_parameters()["maxsize"] = 9
        parameters = f.cache_parameters()
        parameters.pop("path", None)  # of a store
        assert parameters == {"maxsize": None, "typed": False, "maxbytes": 2048}

    def test_seconds_in_the_function_are_counted(self, decorate: Any, stages: tuple[int, bool]) -> None:
        """load_s grows with a miss, even one that raises, and with a hit only if that has a stage left to run."""
        f, _ = counting(decorate(), lambda x: 1 // x)
        f(1)
        once = f.cache_stats().load_s
        f(1)
        assert (f.cache_stats().load_s > once) == stages[1] and once > 0
        once = f.cache_stats().load_s
        with pytest.raises(ZeroDivisionError):
            f(0)
        assert f.cache_stats().load_s > once

    def test_only_functions_are_decorated(self, decorate: Any) -> None:
        """A stage that cannot be called is a TypeError."""
        with pytest.raises(TypeError, match="expected a (stage|function).* got 5"):
            decorate()(5)

    def test_wrapper_looks_like_the_function(self, decorate: Any, others: Any) -> None:
        """It is named after its stages; __wrapped__ runs them all, without a cache."""
        cached = bytecache.staged(str.upper, *others, maxbytes=1000)
        names = ", ".join(["upper", *["same"] * len(others)])
        assert cached.__name__ == cached.__qualname__ == f"staged({names})" and names in repr(cached)
        assert cached.__wrapped__("a") == "A" and cached.cache_info()[:2] == (0, 0)

    def test_decorators_nest(self, decorate: Any) -> None:
        """A function that calls a pipeline may be a stage; a pipeline itself may not, since its values are kept."""
        inner, ran = counting(decorate())
        outer = decorate()(lambda key: inner(key))
        assert outer(1) == outer(1) == inner(1) == 1
        assert (ran, outer.cache_info()[:2], inner.cache_info()[:2]) == ([1], (1, 1), (1, 1))
        with pytest.raises(TypeError, match="must not be cached, since its values would be kept twice"):
            bytecache.staged(inner, maxbytes=1000)

    def test_clear_empties_and_counts_from_zero(self, decorate: Any) -> None:
        """After cache_clear every counter is zero and every key a miss; what the stages took is still known."""
        f, ran = counting(decorate(maxbytes=1000), lambda x: 10 // x)
        f(1), f(1), f(2)
        with pytest.raises(ZeroDivisionError):
            f(0)
        f.cache_clear()
        stats = f.cache_stats()
        assert replace(stats, stages=()) == CacheStats(0, 0, 0, 0, 0, 0, 0, None, 0, 1000, 0.0)
        assert [(stage.runs, stage.hits, stage.errors, stage.currsize, stage.currbytes) for stage in stats.stages] == [
            (0, 0, 0, 0, 0)
        ] * len(stats.stages)
        f(1), f(1)
        assert f.cache_info()[:2] == (1, 1)
        assert ran == [1, 2, 0, 1]

    def test_contains_is_no_use_and_not_counted(self, decorate: Any) -> None:
        """cache_contains tells whether a call would hit; like the call it takes one key, by position."""
        f, _ = counting(decorate())
        f("a"), f("b")
        before = f.cache_stats()
        assert [f.cache_contains(key) for key in "abc"] == [True, True, False]
        assert f.cache_stats() == before
        for method in f.cache_contains, f.cache_discard:
            for args, kwds in [((), {}), (("a", "b"), {}), ((), {"key": "a"})]:
                with pytest.raises(TypeError, match="takes one key, by position"):
                    method(*args, **kwds)

    def test_info_is_functools_own(self, decorate: Any) -> None:
        """cache_info is a named tuple of the four fields, with functools' repr."""
        f, _ = counting(decorate())
        assert repr(f.cache_info()) == "CacheInfo(hits=0, misses=0, maxsize=None, currsize=0)"


class TestSingleFlight(SingleFlightContract):
    """Pipelines of one to three stages, in memory and in a shared store."""

    def test_a_circle_through_two_functions_gets_an_error(self, decorate: Any) -> None:
        """A circle is found across caches too."""
        inside = threading.Barrier(2)

        def meet_then(other: Any) -> Any:
            inside.wait(PATIENCE_S)
            return other("key")

        f = decorate()(lambda key: meet_then(lambda key: g(key)))
        g = decorate()(lambda key: meet_then(lambda key: f(key)))
        outcomes = together(lambda: f("key"), lambda: g("key"))
        assert [type(outcome) for outcome in outcomes] == [RecursionError, RecursionError]
        assert_at_rest(f)
        assert_at_rest(g)

    @pytest.mark.parametrize("on_caller", [True, False], ids=["the caller asks", "the helper asks"])
    def test_a_map_whose_items_need_each_other_works(self, decorate: Any, on_caller: bool) -> None:
        """A map is one run for all its keys: a stage that asks for another of them is refused, and does not hang."""
        both_run, caller = threading.Barrier(2), threading.get_ident()

        @decorate()
        def f(key: str) -> str:
            both_run.wait(PATIENCE_S)
            if (threading.get_ident() == caller) == on_caller:
                with pytest.raises(RecursionError):
                    f("b" if key == "a" else "a")
            return key

        assert f.map(["a", "b"], threads=2) == ["a", "b"]
        assert_at_rest(f)

    def test_recursion_with_other_keys_works(self, decorate: Any) -> None:
        """A stage may call the pipeline with other keys."""

        @decorate()
        def fib(n: int) -> int:
            return n if n < 2 else fib(n - 1) + fib(n - 2)

        assert fib(15) == 610
        assert fib.cache_info()[:2] == (13, 16)


class TestBulk(BulkContract):
    """Pipelines of one to three stages, in memory and in a shared store."""

    def test_items_that_share_a_cached_function_need_no_order(self, decorate: Any) -> None:
        """A pipeline called by several items of a map is not a circle, whichever item runs it first."""
        reading = threading.Event()
        index = decorate()(lambda key: reading.wait(PATIENCE_S) and "index")
        read = decorate()(lambda key: (key, index("all")))
        mapped = start(lambda: read.map("abcd", threads=4))
        until(lambda: index.cache_info().misses)
        reading.set()
        assert mapped() == [(key, "index") for key in "abcd"]

    # A pipeline has no key= and maxsize=.
    test_map_uses_key_and_typed = test_each_key_is_made_once = None  # type: ignore[assignment]
    test_a_key_that_raises_fails_its_item_alone = None  # type: ignore[assignment]
    test_warm_with_size_zero_reads_nothing = None  # type: ignore[assignment]

    def test_keys_that_cannot_be_made_leave_the_others_in_order(self, decorate: Any) -> None:
        """With return_exceptions the TypeError of a key that cannot be hashed is in its position."""
        f, ran = counting(decorate(), lambda x: [10 // (x - 5)])
        f(10)
        values = f.map([[], 10, 3, [], 5, 3], 1, return_exceptions=True)
        kinds = [type(value) for value in values]
        assert kinds == [TypeError, list, list, TypeError, ZeroDivisionError, list]
        assert values[1:3] == [[2], [-5]] and values[5] == [-5] and ran == [10, 3, 5]
        assert stats_of(f, "hits", "misses", "errors") == (2, 3, 1)

    def test_map_starts_nothing_after_an_exception(self, decorate: Any) -> None:
        """A map is one run for all its keys: those after the one that failed are read, and their values are kept."""
        f, ran = counting(decorate(), lambda x: 1 // x)
        with pytest.raises(ZeroDivisionError):
            f.map([1, 0, 2], threads=1)
        assert ran == [1, 0, 2] and f.cache_info().currsize == 2

    @pytest.mark.parametrize("method", ["map", "warm"])
    @pytest.mark.parametrize("count", [1, 4])
    def test_ctrl_c_leaves_the_cache_sound(self, decorate: Any, method: str, count: int) -> None:
        """A real SIGINT in the middle of a bulk read ends it; the keys can be read afterwards."""
        interrupted = []

        @decorate()
        def f(key: int) -> Any:
            if key == 150 and not interrupted:
                interrupted.append(key)
                os.kill(os.getpid(), signal.SIGINT)
            return [key]

        f.map(range(1000, 1016))  # its files are open: an interrupt while one is opened would leave a descriptor
        with pytest.raises(KeyboardInterrupt):
            getattr(f, method)(range(400), threads=count)
        stats = f.cache_stats()
        assert stats.stored == stats.currsize < 416
        assert stats.hits == 0
        assert_at_rest(f)
        assert f.map(range(200)) == [[key] for key in range(200)]


class TestBatched(BatchedContract):
    """A pipeline whose first stage takes a list of keys."""

    test_key_and_typed = None  # type: ignore[assignment]  # a pipeline has neither

    def test_a_call_takes_one_key(self, decorate: Any) -> None:
        """More than one argument, none, or one by name is a TypeError, and nothing is read."""
        f, calls = batched(decorate)
        for arguments, names in [(("a", "b"), {}), ((), {}), ((), {"key": "a"})]:
            with pytest.raises(TypeError):
                f(*arguments, **names)
        assert calls == []

    def test_the_function_itself(self, decorate: Any) -> None:
        """``__wrapped__`` takes a list too, and puts exceptions in the place of values."""
        f, _ = batched(decorate, bad)
        first, error, last = f.__wrapped__(["a", "bad", "b"])
        assert (first, last) == (text("a"), text("b")) and isinstance(error, LookupError)
