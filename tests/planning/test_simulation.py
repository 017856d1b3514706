"""The prediction and the simulation, against each other, the decorators themselves, and an exhaustive search."""

from __future__ import annotations

import doctest
import importlib
import math
import random
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import bytecache
from bytecache import SimulationResult, predict_hit_rate, simulate
from bytecache.planning.simulation import CLOSED_FORMS, POLICY_NAMES

ITEMS, EPOCHS = 5_000, 3
# A hit is nearly a coin per item, so the rate of an epoch of 5,000 has a standard deviation of at most
# sqrt(1/4 / 5000) = 0.007; over two epochs 0.005. Four of those.
TOLERANCE = 0.02
KEYS = st.integers(0, 7)


def shuffled(items: int, epochs: int, seed: int = 7) -> list[int]:
    """A trace: every item once per epoch, each epoch in a fresh order."""
    rng = np.random.default_rng(seed)
    return [item for _ in range(epochs) for item in rng.permutation(items).tolist()]


def measured_hit_rate(policy: str, fraction: float) -> float:
    """The hit rate after the first of EPOCHS epochs of ITEMS items, each in a fresh order."""
    decorate = {"fill_once": bytecache.fill_once, "lru": bytecache.lru_cache, "none": bytecache.lru_cache}[policy]
    read = decorate(maxsize=0 if policy == "none" else round(fraction * ITEMS))(lambda item: item)
    order, rng = list(range(ITEMS)), random.Random(7)
    for epoch in range(EPOCHS):
        rng.shuffle(order)
        for item in order:
            read(item)
        if epoch == 0:
            first = read.cache_stats()
    return (read.cache_stats() - first).hit_rate


# predict_hit_rate


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.2, 0.5, 0.8, 0.95, 1.0])
@pytest.mark.parametrize("policy", ["fill_once", "lru", "none"])
def test_prediction_is_what_the_decorators_do(policy: str, fraction: float) -> None:
    """The predicted rate is the measured one: exactly for fill_once and none, within four sigma for lru."""
    tolerance = TOLERANCE if policy == "lru" else 1e-12
    assert measured_hit_rate(policy, fraction) == pytest.approx(predict_hit_rate(policy, fraction), abs=tolerance)


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 1 - 1 / math.e, 0.7, 0.8, 0.9, 0.99, 1.0])
def test_prediction_is_what_the_simulation_does(fraction: float) -> None:
    """Every closed form is within 0.01 of a simulation, at all sizes, in the second epoch and in the later ones."""
    items = 30_000  # a standard deviation of at most 0.003 per epoch
    results = simulate(shuffled(items, 4), CLOSED_FORMS, round(fraction * items))
    for policy, result in results.items():
        predicted = predict_hit_rate(policy, fraction)
        assert result.part(items, 2 * items).hit_rate == pytest.approx(predicted, abs=0.01), policy
        assert result.part(2 * items).hit_rate == pytest.approx(predicted, abs=0.01), policy


def test_the_designs_table() -> None:
    """The formulas give the figures of the table at a fifth, half and four fifths."""
    rates = {name: [round(predict_hit_rate(name, c), 3) for c in (0.2, 0.5, 0.8)] for name in CLOSED_FORMS}
    assert rates == {
        **dict.fromkeys(("belady_bypass", "belady", "fill_once"), [0.2, 0.5, 0.8]),
        "random": [0.044, 0.283, 0.677],
        "fifo": [0.023, 0.193, 0.656],
        "lru": [0.021, 0.153, 0.478],
        "none": [0.0, 0.0, 0.0],
    }
    assert [predict_hit_rate(policy, 3) for policy in ("fill_once", "random", "lru", "none")] == [1.0, 1.0, 1.0, 0.0]


@pytest.mark.parametrize("policy", CLOSED_FORMS)
def test_predictions_are_rates_that_rise_to_the_bound(policy: str) -> None:
    """From 0 to 1, never above the share that is held, more for more; also at the smallest and largest fractions."""
    fractions = [0.0, 5e-324, 1e-300, 1e-17, 1e-9, *(i / 1000 for i in range(1, 1000)), 1 - 1e-16, 1.0, math.inf]
    rates = [predict_hit_rate(policy, fraction) for fraction in fractions]
    assert all(0 <= rate <= min(1, fraction) for rate, fraction in zip(rates, fractions, strict=True))
    assert rates == sorted(rates)


@pytest.mark.parametrize("fraction", [-0.1, math.nan, -math.inf])
def test_a_wrong_fraction_is_refused(fraction: float) -> None:
    """A fraction below zero, or none at all, is a ValueError that names it."""
    with pytest.raises(ValueError, match=f"fraction must be budget / bytes, 0 or more, got {fraction}"):
        predict_hit_rate("lru", fraction)


@pytest.mark.parametrize("policy", ["lfu", "clock"])
def test_a_policy_without_a_formula_is_refused(policy: str) -> None:
    """A policy that has no closed form is a ValueError that lists those that have one, and the way out."""
    with pytest.raises(ValueError, match=f'"fifo", "lru", "none"; got \'{policy}\': try bytecache.simulate'):
        predict_hit_rate(policy, 0.5)


# simulate, against the decorators


@settings(deadline=None)
@given(trace=st.lists(KEYS, max_size=60), maxsize=st.integers(1, 9))
def test_simulation_is_what_the_decorators_do_by_count(trace: list[int], maxsize: int) -> None:
    """Access by access fill_once and lru hit where fill_once and lru_cache do."""
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
    """So they do with unequal sizes: what does not fit is refused, and smaller values that come later are kept."""
    results = simulate(trace, ["fill_once", "lru"], maxbytes, sizes=sizes.__getitem__)
    fill_once = bytecache.fill_once(maxbytes=maxbytes, sizeof=sizes.__getitem__)
    lru = bytecache.lru_cache(maxsize=None, maxbytes=maxbytes, sizeof=sizes.__getitem__)
    assert results["fill_once"].hit.tolist() == hits_of(fill_once, trace)
    assert results["lru"].hit.tolist() == hits_of(lru, trace)


def hits_of(decorator: Callable[..., Any], trace: list[int]) -> list[bool]:
    """Which calls of a cached function did not run it."""
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


# simulate, against plain models


@settings(deadline=None)
@given(
    trace=st.lists(KEYS, max_size=60),
    sizes=st.lists(st.integers(0, 12), min_size=8, max_size=8),
    budget=st.integers(1, 30),
    policy=st.sampled_from(["fifo", "lru", "lfu"]),
)
def test_who_leaves_is_the_lowest_in_rank(trace: list[int], sizes: list[int], budget: int, policy: str) -> None:
    """Against a search through all that are held: by arrival, by last use, by uses and then last use."""
    held: dict[int, tuple[int, int, int]] = {}  # arrival, last use, uses
    rank = {"fifo": lambda k: held[k][0], "lru": lambda k: held[k][1], "lfu": lambda k: (held[k][2], held[k][1])}
    expected = []
    for now, key in enumerate(trace):
        expected.append(key in held)
        if key in held:
            held[key] = (held[key][0], now, held[key][2] + 1)
        elif sizes[key] <= budget:
            while sum(sizes[one] for one in held) + sizes[key] > budget:
                del held[min(held, key=rank[policy])]
            held[key] = (now, now, 1)
    assert simulate(trace, [policy], budget, sizes=sizes.__getitem__)[policy].hit.tolist() == expected


def most_hits(trace: tuple[int, ...], capacity: int, bypass: bool) -> int:
    """The most hits that any sequence of decisions gives, found by trying all."""

    @cache
    def best(now: int, held: frozenset[int]) -> int:
        if now == len(trace):
            return 0
        key = trace[now]
        if key in held:
            return 1 + best(now + 1, held)
        if len(held) < capacity:
            choices = [held | {key}]
        else:
            choices = [held - {leaving} | {key} for leaving in held]
        if bypass:
            choices.append(held)
        return max(best(now + 1, choice) for choice in choices)

    return best(0, frozenset())


@settings(deadline=None)
@given(trace=st.lists(st.integers(0, 5), max_size=14), capacity=st.integers(1, 4))
def test_belady_is_the_best_there_is(trace: list[int], capacity: int) -> None:
    """With equal sizes: of all that keep every miss, and with bypass of all, as an exhaustive search finds."""
    results = simulate(trace, POLICY_NAMES, capacity)
    assert results["belady"].hits == most_hits(tuple(trace), capacity, bypass=False)
    assert results["belady_bypass"].hits == most_hits(tuple(trace), capacity, bypass=True)
    assert max(result.hits for result in results.values()) == results["belady_bypass"].hits


def test_no_policy_beats_fill_once_in_shuffled_epochs() -> None:
    """Belady with bypass and fill_once hit exactly C times in every epoch but the first, the others at most that."""
    results = simulate(shuffled(200, 5), POLICY_NAMES, 60)
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
    """No first read hits, nor a read of what is larger than the budget; where everything fits all others hit."""
    first = np.array([key not in trace[:now] for now, key in enumerate(trace)], dtype=bool)
    large = np.array([sizes[key] > budget for key in trace], dtype=bool)
    roomy = sum(sizes[key] for key in set(trace)) <= budget
    for name, result in simulate(trace, POLICY_NAMES, budget, sizes=dict(enumerate(sizes))).items():
        assert not (result.hit & (first | large)).any()
        assert name == "none" or not roomy or (result.hit | first).all()


def test_random_replacement_is_a_function_of_the_seed() -> None:
    """The same seed gives the same hits, another one others; the other policies do not draw."""
    trace = shuffled(300, 4)
    one, same, other = (simulate(trace, POLICY_NAMES, 150, seed=seed) for seed in (1, 1, 2))
    assert (one["random"].hit == same["random"].hit).all()
    assert [name for name in POLICY_NAMES if (one[name].hit != other[name].hit).any()] == ["random"]


# What goes in and comes out


def test_a_result_counts_hits_and_bytes() -> None:
    """By reads and by bytes, of all and of a part; the arrays have one element per access."""
    result = simulate(iter("abcabc"), ["fill_once"], "1 KiB", sizes={"a": 1000, "b": 500, "c": 24})["fill_once"]
    assert isinstance(result, SimulationResult)
    assert result.hit.tolist() == [False, False, False, True, False, True]
    assert result.nbytes.tolist() == [1000, 500, 24, 1000, 500, 24]
    assert (result.hits, result.misses, result.hit_rate) == (2, 4, 2 / 6)
    assert (result.hit_bytes, result.read_bytes, result.byte_hit_rate) == (1024, 2024, 1024 / 3048)
    second = result.part(3)
    assert (second.hits, second.misses, second.read_bytes) == (2, 1, 500)
    assert result.part(0, 3).hits == 0 and np.shares_memory(result.hit, second.hit)


def test_a_result_without_accesses_has_rates_of_zero() -> None:
    """An empty trace, and one of no bytes, are no division by zero."""
    for result in simulate([], POLICY_NAMES, 1).values():
        assert (result.hits, result.misses, result.hit_rate, result.byte_hit_rate) == (0, 0, 0.0, 0.0)
    assert simulate("aa", ["lru"], 1, sizes=lambda key: 0)["lru"].byte_hit_rate == 0.0


def test_policies_come_in_the_order_asked_for_each_once() -> None:
    """One name alone will do, too."""
    assert list(simulate("ab", ["lru", "none", "lru", "belady"], 1)) == ["lru", "none", "belady"]
    assert list(simulate("ab", "lru", 1)) == ["lru"]


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"policies": ["lru", "clock"]}, ValueError, 'policies must be of "belady_bypass", .*"none", got \'clock\''),
        ({"budget": 0}, ValueError, "budget must be a positive int or a size such as .*, got 0"),
        ({"budget": 1.5}, TypeError, "budget must be .*, got 1.5 of type float"),
        ({"budget": "2 GiB"}, TypeError, "budget must be an int, the entries that fit, or sizes= .*got '2 GiB'"),
        ({"sizes": {"a": 1}}, ValueError, "bytes of every key of the trace, there are none for 'b'"),
        ({"sizes": {"a": 1, "b": -1}}, ValueError, "an int of 0 bytes or more, got -1 for 'b'"),
        ({"sizes": lambda key: 0.5}, ValueError, "an int of 0 bytes or more, got 0.5 for 'a'"),
        ({"sizes": [1, 2]}, TypeError, "a mapping or a function, from key to bytes, got list"),
        ({"trace": [[]]}, TypeError, "unhashable"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, Any], error: type[Exception], message: str) -> None:
    """The message says what was expected and what came."""
    with pytest.raises(error, match=message):
        simulate(**{"trace": "ab", "policies": ["lru"], "budget": 10, **change})


@pytest.mark.parametrize("module", ["planning.simulation", "planning.policies"])
def test_docstring_examples_run(module: str) -> None:
    """The doctests of the module pass, and there are some."""
    result = doctest.testmod(importlib.import_module(f"bytecache.{module}"))
    assert result.attempted > 0 and result.failed == 0


def test_who_refuses_a_newcomer_loses_nothing_by_it() -> None:
    """C would need the room of A and of B, and B is used sooner than C: A stays too."""
    sizes = {"A": 1, "B": 1, "C": 2}
    result = simulate("ABCBCA", ["belady_bypass"], 2, sizes=sizes)["belady_bypass"]
    assert result.hit.tolist() == [False, False, False, True, False, True]
