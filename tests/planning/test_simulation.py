"""The simulation, against the decorators themselves, plain models and an exhaustive search."""

from __future__ import annotations

import doctest
import importlib
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from helpers.traces import shuffled_epochs
from hypothesis import given, settings, strategies as st

import bytecache
from bytecache import SimulationResult, simulate
from bytecache.planning.simulation import POLICY_NAMES

KEYS = st.integers(0, 7)


# Against the decorators


@settings(deadline=None)
@given(trace=st.lists(KEYS, max_size=60), maxsize=st.integers(1, 9))
def test_simulation_is_what_the_decorators_do_by_count(trace: list[int], maxsize: int) -> None:
    """Access by access, fill_once and lru hit if the decorators do."""
    results = simulate(trace, ["fill_once", "lru"], maxsize)
    for name, decorate in (("fill_once", bytecache.fill_once), ("lru", bytecache.lru_cache)):
        assert results[name].hit.tolist() == hits_of(decorate(maxsize=maxsize), trace)


@settings(deadline=None)
@given(
    trace=st.lists(KEYS, max_size=60),
    sizes=st.lists(st.integers(0, 12), min_size=8, max_size=8),
    maxbytes=st.integers(1, 30),
)
def test_simulation_is_what_the_decorators_do_by_bytes(trace: list[int], sizes: list[int], maxbytes: int) -> None:
    """With unequal sizes too: what does not fit is rejected, and smaller values that come later are stored."""
    results = simulate(trace, ["fill_once", "lru"], maxbytes, sizes=sizes.__getitem__)
    fill_once = bytecache.fill_once(maxbytes=maxbytes, sizeof=sizes.__getitem__)
    lru = bytecache.lru_cache(maxsize=None, maxbytes=maxbytes, sizeof=sizes.__getitem__)
    assert results["fill_once"].hit.tolist() == hits_of(fill_once, trace)
    assert results["lru"].hit.tolist() == hits_of(lru, trace)


def hits_of(decorator: Callable[..., Any], trace: list[int]) -> list[bool]:
    """Return which calls of a cached function did not run it."""
    ran: list[int] = []

    def read(key: int) -> int:
        ran.append(key)
        return key

    cached, hit = decorator(read), []
    for key in trace:
        before = len(ran)
        cached(key)
        hit.append(len(ran) == before)
    return hit


# Against plain models


@settings(deadline=None)
@given(
    trace=st.lists(KEYS, max_size=60),
    sizes=st.lists(st.integers(0, 12), min_size=8, max_size=8),
    budget=st.integers(1, 30),
    policy=st.sampled_from(["fifo", "lru", "lfu"]),
)
def test_the_victim_has_the_lowest_rank(trace: list[int], sizes: list[int], budget: int, policy: str) -> None:
    """A search of all cached items finds the same: by arrival, by last use, by uses and then last use."""
    cached: dict[int, tuple[int, int, int]] = {}  # arrival, last use, uses
    rank = {
        "fifo": lambda k: cached[k][0],
        "lru": lambda k: cached[k][1],
        "lfu": lambda k: (cached[k][2], cached[k][1]),
    }
    expected = []
    for now, key in enumerate(trace):
        expected.append(key in cached)
        if key in cached:
            cached[key] = (cached[key][0], now, cached[key][2] + 1)
        elif sizes[key] <= budget:
            while sum(sizes[one] for one in cached) + sizes[key] > budget:
                del cached[min(cached, key=rank[policy])]
            cached[key] = (now, now, 1)
    assert simulate(trace, [policy], budget, sizes=sizes.__getitem__)[policy].hit.tolist() == expected


def most_hits(trace: tuple[int, ...], capacity: int, bypass: bool) -> int:
    """Return the most hits that any sequence of decisions gives, by trying all."""

    @cache
    def best(now: int, cached: frozenset[int]) -> int:
        if now == len(trace):
            return 0
        key = trace[now]
        if key in cached:
            return 1 + best(now + 1, cached)
        if len(cached) < capacity:
            choices = [cached | {key}]
        else:
            choices = [cached - {victim} | {key} for victim in cached]
        if bypass:
            choices.append(cached)
        return max(best(now + 1, choice) for choice in choices)

    return best(0, frozenset())


@settings(deadline=None)
@given(trace=st.lists(st.integers(0, 5), max_size=14), capacity=st.integers(1, 4))
def test_belady_is_the_best_there_is(trace: list[int], capacity: int) -> None:
    """With equal sizes, of all policies that admit every miss, and with bypass of all, by exhaustive search."""
    results = simulate(trace, POLICY_NAMES, capacity)
    assert results["belady"].hits == most_hits(tuple(trace), capacity, bypass=False)
    assert results["belady_bypass"].hits == most_hits(tuple(trace), capacity, bypass=True)
    assert max(result.hits for result in results.values()) == results["belady_bypass"].hits


def test_no_policy_beats_fill_once_in_shuffled_epochs() -> None:
    """Belady with bypass and fill_once hit exactly C times in every epoch but the first, the others at most C times."""
    results = simulate(shuffled_epochs(200, 5), POLICY_NAMES, 60)
    epochs = {name: [result.part(i, i + 200).hits for i in range(0, 1000, 200)] for name, result in results.items()}
    assert epochs["belady_bypass"] == epochs["fill_once"] == [0, 60, 60, 60, 60]
    assert all(max(hits) <= 60 for hits in epochs.values()) and epochs["none"] == [0] * 5


@settings(deadline=None)
@given(
    trace=st.lists(KEYS, max_size=60),
    sizes=st.lists(st.integers(0, 12), min_size=8, max_size=8),
    budget=st.integers(1, 30),
)
def test_every_policy_hits_only_what_was_read_and_fits(trace: list[int], sizes: list[int], budget: int) -> None:
    """No first read hits, nor a read of an item larger than the budget; if everything fits, all others hit."""
    first = np.array([key not in trace[:now] for now, key in enumerate(trace)], dtype=bool)
    large = np.array([sizes[key] > budget for key in trace], dtype=bool)
    roomy = sum(sizes[key] for key in set(trace)) <= budget
    for name, result in simulate(trace, POLICY_NAMES, budget, sizes=dict(enumerate(sizes))).items():
        assert not (result.hit & (first | large)).any()
        assert name == "none" or not roomy or (result.hit | first).all()


def test_random_replacement_is_a_function_of_the_seed() -> None:
    """The same seed gives the same hits, another seed others; no other policy is random."""
    trace = shuffled_epochs(300, 4)
    one, same, other = (simulate(trace, POLICY_NAMES, 150, seed=seed) for seed in (1, 1, 2))
    assert (one["random"].hit == same["random"].hit).all()
    assert [name for name in POLICY_NAMES if (one[name].hit != other[name].hit).any()] == ["random"]


# Arguments and results


def test_a_result_counts_hits_and_bytes() -> None:
    """It counts reads and bytes, of all and of a part; the arrays have one element per access."""
    result = simulate(iter("abcabc"), ["fill_once"], "1 KiB", sizes={"a": 1000, "b": 500, "c": 24})["fill_once"]
    assert isinstance(result, SimulationResult)
    assert result.hit.tolist() == [False, False, False, True, False, True]
    assert result.nbytes.tolist() == [1000, 500, 24, 1000, 500, 24]
    assert (result.hits, result.misses, result.hit_rate) == (2, 4, 2 / 6)
    assert (result.hit_bytes, result.missed_bytes, result.byte_hit_rate) == (1024, 2024, 1024 / 3048)
    second = result.part(3)
    assert (second.hits, second.misses, second.missed_bytes) == (2, 1, 500)
    assert result.part(0, 3).hits == 0 and np.shares_memory(result.hit, second.hit)


def test_a_result_without_accesses_has_rates_of_zero() -> None:
    """An empty trace, or one of no bytes, does not divide by zero."""
    for result in simulate([], POLICY_NAMES, 1).values():
        assert (result.hits, result.misses, result.hit_rate, result.byte_hit_rate) == (0, 0, 0.0, 0.0)
    assert simulate("aa", ["lru"], 1, sizes=lambda key: 0)["lru"].byte_hit_rate == 0.0


def test_policies_come_in_the_given_order_each_once() -> None:
    """A single name is enough."""
    assert list(simulate("ab", ["lru", "none", "lru", "belady"], 1)) == ["lru", "none", "belady"]
    assert list(simulate("ab", "lru", 1)) == ["lru"]


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"policies": ["lru", "clock"]}, ValueError, 'policies must be among "belady_bypass", .*"none", got \'clock\''),
        ({"budget": 0}, ValueError, "budget must be a positive int or a size such as .*, got 0"),
        ({"budget": 1.5}, TypeError, "budget must be .*, got 1.5 of type float"),
        ({"budget": "2 GiB"}, TypeError, "budget must be a number of entries, or bytes if sizes= .*got '2 GiB'"),
        ({"sizes": {"a": 1}}, ValueError, "bytes of every key of the trace, it has none for 'b'"),
        ({"sizes": {"a": 1, "b": -1}}, ValueError, "an int of 0 bytes or more, got -1 for 'b'"),
        ({"sizes": lambda key: 0.5}, ValueError, "an int of 0 bytes or more, got 0.5 for 'a'"),
        ({"sizes": [1, 2]}, TypeError, "a mapping or a function from key to bytes, got list"),
        ({"trace": [[]]}, TypeError, "unhashable"),
    ],
)
def test_invalid_arguments_raise(change: dict[str, Any], error: type[Exception], message: str) -> None:
    """The message says what was expected and what it got."""
    with pytest.raises(error, match=message):
        simulate(**{"trace": "ab", "policies": ["lru"], "budget": 10, **change})


@pytest.mark.parametrize("module", ["planning.simulation", "planning.policies"])
def test_docstring_examples_run(module: str) -> None:
    """The doctests of the module pass, and there are some."""
    result = doctest.testmod(importlib.import_module(f"bytecache.{module}"))
    assert result.attempted > 0 and result.failed == 0


def test_rejecting_a_candidate_evicts_nothing() -> None:
    """C would need the space of A and of B, and B is used sooner than C: A stays too."""
    sizes = {"A": 1, "B": 1, "C": 2}
    result = simulate("ABCBCA", ["belady_bypass"], 2, sizes=sizes)["belady_bypass"]
    assert result.hit.tolist() == [False, False, False, True, False, True]
