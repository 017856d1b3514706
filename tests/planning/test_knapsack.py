"""The packing of a budget, against an exhaustive search and against scipy's solvers."""

from __future__ import annotations

import doctest
import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings, strategies as st

from bytecache.planning import knapsack
from bytecache.planning.knapsack import Packing, pack, price_of, stage_at

SIZES = st.sampled_from([0.0, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0, math.nan, math.inf])
SAVINGS = st.integers(0, 8).map(float)


def row_of(values: st.SearchStrategy[float], stages: int) -> st.SearchStrategy[list[float]]:
    """Return rows of so many stages."""
    return st.lists(values, min_size=stages, max_size=stages)


TABLES = st.tuples(st.integers(1, 5), st.integers(1, 3)).flatmap(
    lambda shape: st.tuples(
        *(st.lists(row_of(values, shape[1]), min_size=shape[0], max_size=shape[0]) for values in (SIZES, SAVINGS))
    )
)


# Against an exhaustive search


@pytest.mark.parametrize("seed", range(10))
def test_a_packing_is_within_one_step_of_the_best(seed: int) -> None:
    """In a hundred instances each: the bound is no less than the best, the packing no more than a step below it."""
    rng = np.random.default_rng(seed)
    for _ in range(100):
        sizes, savings, budget = instance(rng, items=int(rng.integers(1, 7)), stages=int(rng.integers(1, 4)))
        packing = pack(sizes, savings, budget)
        check(packing, sizes, savings, budget)
        best = best_of_all(sizes, savings, budget)
        assert packing.saved <= best * (1 + 1e-12) and best <= packing.bound * (1 + 1e-12)


@settings(deadline=None, max_examples=300)
@given(tables=TABLES, budget=st.integers(0, 40))
@example(tables=([[0.0, 0.0]], [[1.0, 2.0]]), budget=0)  # a free upgrade
@example(tables=([[3.0, 3.0]], [[1.0, 2.0]]), budget=3)
@example(tables=([[3.0, 2.0]], [[1.0, 2.0]]), budget=2)  # later and smaller
@example(tables=([[3.0], [3.0]], [[1.0], [1.0]]), budget=5)
def test_a_packing_keeps_its_promises(tables: tuple[Any, Any], budget: int) -> None:
    """With equal sizes, savings and densities too, and with stages at which an item cannot be kept."""
    sizes, savings = np.array(tables[0]), np.array(tables[1])
    packing = pack(sizes, savings, budget)
    check(packing, sizes, savings, budget)
    best = best_of_all(sizes, savings, budget)
    assert packing.saved <= best <= packing.bound + 1e-9
    assert [tuple(map(np.array_equal, packing, pack(sizes, savings, budget)))] == [(True,) * 5]


def check(packing: Packing, sizes: Any, savings: Any, budget: float) -> None:
    """Assert what holds for every packing."""
    kept = [(size[k], saving[k]) for size, saving, k in zip(sizes, savings, packing.stage, strict=True) if k >= 0]
    assert packing.used == sum(size for size, _ in kept) <= budget
    assert packing.saved == pytest.approx(math.fsum(saving for _, saving in kept), rel=1e-12)
    assert packing.bound - packing.saved <= step_at(packing.price, sizes, savings) + 1e-9
    for size, saving, stage in zip(sizes, savings, packing.stage, strict=True):
        own = (size[stage], saving[stage]) if stage >= 0 else (0.0, 0.0)
        offers = [(0.0, 0.0), *zip(size, saving, strict=True)]
        assert not any(s <= own[0] and v >= own[1] and (s, v) != own for s, v in offers), "a stage beats the chosen one"


def step_at(price: float, sizes: Any, savings: Any) -> float:
    """Return the most that a step of one item saves, among those that save `price` seconds per byte."""
    gains = [0.0]
    for size, saving in zip(sizes, savings, strict=True):
        offers = [(0.0, 0.0), *zip(size, saving, strict=True)]
        for (s, v), (t, w) in itertools.permutations(offers, 2):
            if t > s and w > v and (w - v) / (t - s) == pytest.approx(price, rel=1e-9):
                gains.append(w - v)
    return max(gains)


def best_of_all(sizes: Any, savings: Any, budget: float) -> float:
    """Return what the best of all packings saves."""
    options = [
        [(0.0, 0.0), *((s, v) for s, v in zip(size, saving, strict=True) if math.isfinite(s))]
        for size, saving in zip(sizes, savings, strict=True)
    ]
    used, saved = np.zeros(1), np.zeros(1)
    for offers in options:
        used = np.concatenate([used + size for size, _ in offers])
        saved = np.concatenate([saved + saving for _, saving in offers])
    return float(saved[used <= budget].max())


def instance(rng: np.random.Generator, items: int, stages: int) -> tuple[Any, Any, float]:
    """Return sizes, savings and a budget: an image as a file, as an array and resized, or anything."""
    sizes = np.ceil(rng.lognormal(8, 1, (items, stages)))
    savings = rng.lognormal(-5, 1, (items, stages))
    if rng.random() < 0.5:
        savings = savings.cumsum(axis=1)
    sizes[rng.random(sizes.shape) < 0.15] = np.nan
    largest = np.nan_to_num(sizes).max(axis=1).sum()
    return sizes, savings, float(np.floor(rng.random() * 1.1 * largest))


# Against scipy


@pytest.mark.parametrize("seed", range(20))
def test_the_bound_is_the_optimum_of_the_linear_program(seed: int) -> None:
    """As HiGHS finds it, and the price is the dual value of the budget."""
    optimize = pytest.importorskip("scipy.optimize", reason="linear programs are solved by scipy")
    sizes, savings, budget = instance(np.random.default_rng(seed), items=200, stages=3)
    packing = pack(sizes, savings, budget)
    program = linear_program(sizes, savings, budget)
    found = optimize.linprog(program["c"], A_ub=program["A"], b_ub=program["b"], bounds=(0, 1))
    assert packing.bound == pytest.approx(-found.fun, rel=1e-9)
    assert packing.price == pytest.approx(-found.ineqlin.marginals[0] / program["scale"], rel=1e-6, abs=1e-15)


@pytest.mark.parametrize("seed", range(10))
def test_a_larger_packing_is_within_one_step_of_the_best(seed: int) -> None:
    """Of 100 items, as branch and bound finds it."""
    optimize = pytest.importorskip("scipy.optimize", reason="integer programs are solved by scipy")
    sizes, savings, budget = instance(np.random.default_rng(seed), items=100, stages=3)
    packing = pack(sizes, savings, budget)
    check(packing, sizes, savings, budget)
    program = linear_program(sizes, savings, budget)
    constraint = optimize.LinearConstraint(program["A"], -np.inf, program["b"])
    found = optimize.milp(program["c"], constraints=constraint, integrality=1, bounds=optimize.Bounds(0, 1))
    assert packing.saved <= -found.fun * (1 + 1e-3)  # its own gap is at most 1e-4
    assert -found.fun <= packing.bound * (1 + 1e-9)
    assert packing.saved >= -found.fun * (1 - 1e-9) - step_at(packing.price, sizes, savings)


def linear_program(sizes: Any, savings: Any, budget: float) -> dict[str, Any]:
    """Return the program in fractions per item and stage: minimise c x so that A x <= b; row 0 is the budget."""
    sparse = pytest.importorskip("scipy.sparse", reason="linear programs are written down with scipy")
    kept = np.isfinite(sizes)
    item = np.nonzero(kept)[0]
    scale = max(budget, 1.0)  # solvers want numbers about 1
    one_stage = sparse.csr_matrix((np.ones(len(item)), (item, np.arange(len(item)))), shape=(len(sizes), len(item)))
    return {
        "c": -savings[kept],
        "A": sparse.vstack([sparse.csr_matrix(sizes[kept] / scale), one_stage]).tocsr(),
        "b": np.concatenate(([budget / scale], np.ones(len(sizes)))),
        "scale": scale,
    }


# The price


@pytest.mark.parametrize("seed", range(20))
def test_the_price_decides_item_by_item(seed: int) -> None:
    """What the items take at a price is, as a budget, packed as they are at that price."""
    rng = np.random.default_rng(seed)
    sizes, savings, budget = instance(rng, items=300, stages=3)
    price = price_of(sizes, savings, budget) * (1 + 1e-9)  # between two densities
    stages = [stage_at(size, saving, price) for size, saving in zip(sizes, savings, strict=True)]
    used = sum(int(sizes[item, stage]) for item, stage in enumerate(stages) if stage >= 0)
    packing = pack(sizes, savings, used)
    assert packing.stage.tolist() == stages and packing.used == used
    assert packing.saved == pytest.approx(packing.bound, rel=1e-12) and packing.price <= price


@pytest.mark.parametrize("seed", range(20))
def test_a_packing_is_what_its_price_decides(seed: int) -> None:
    """But for the steps of just that density, and for items that go further in what is left of the budget."""
    sizes, savings, budget = instance(np.random.default_rng(seed), items=300, stages=3)
    packing = pack(sizes, savings, budget)
    assert packing.price == price_of(sizes, savings, budget)
    above = [stage_at(*item, packing.price * (1 + 1e-9)) for item in zip(sizes, savings, strict=True)]
    differ = np.flatnonzero(packing.stage != above)
    saved_above = [savings[item, above[item]] if above[item] >= 0 else 0.0 for item in differ]
    assert len(differ) <= 10 and (savings[differ, packing.stage[differ]] > saved_above).all()


def test_prices_fall_and_bounds_rise_with_the_budget() -> None:
    """Each byte saves less than the one before, from budget 0 to where everything fits and the price is 0."""
    sizes, savings, _ = instance(np.random.default_rng(3), items=50, stages=3)
    budgets = np.linspace(0, np.nan_to_num(sizes).sum(), 200).astype(int).tolist()
    packings = [pack(sizes, savings, budget) for budget in budgets]
    prices, bounds = [p.price for p in packings], [p.bound for p in packings]
    assert prices == sorted(prices, reverse=True) and bounds == sorted(bounds)
    assert packings[0].stage.tolist() == [-1] * 50 and prices[0] > 0 and packings[0].bound == 0.0
    assert prices[-1] == 0.0 and packings[-1].saved == pytest.approx(bounds[-1])


# Cases one can see


def test_equal_items_are_kept_in_their_order() -> None:
    """Of equal densities the first item's step comes first; at the price all of them would be taken."""
    sizes, savings = [[4, 8]] * 5, [[1.0, 2.0]] * 5
    assert pack(sizes, savings, 20).stage.tolist() == [1, 1, 0, -1, -1]
    assert stage_at(sizes[0], savings[0], pack(sizes, savings, 20).price) == 1


def test_what_is_left_goes_to_later_steps_that_fit() -> None:
    """The second step does not fit, the third does, and the item of the second one goes no further."""
    packing = pack([[10, np.nan], [50, 51], [20, np.nan]], [[10.0, 0.0], [20.0, 20.1], [2.0, 0.0]], 40)
    assert packing == (pytest.approx([0, -1, 0]), 0.4, 22.0, 12.0, 30)


def test_free_stages_are_taken_at_any_price() -> None:
    """What costs no bytes is kept also with a budget of 0; what saves nothing is not kept."""
    packing = pack([[0, 0, 5], [0, 5, 0], [3, 3, 2]], [[1.0, 2.0, 3.0], [0.0, 1.0, 0.0], [1.0, 2.0, 2.0]], 0)
    assert packing.stage.tolist() == [1, -1, -1] and packing.saved == 2.0 and packing.used == 0
    assert packing.price == 1.0  # a byte of the third item's two
    assert stage_at([0, 0, 5], [1.0, 2.0, 3.0], math.inf) == 1


def test_what_exceeds_the_budget_may_set_the_price() -> None:
    """But it is not kept, others are instead, and NaN takes it out of the price and the bound."""
    sizes, savings = np.array([[40.0], [1_000], [30], [30]]), [[40.0], [900.0], [6.0], [3.0]]
    packing = pack(sizes, savings, 80)
    assert packing == (pytest.approx([0, -1, 0, -1]), 0.9, 76.0, 46.0, 70)
    assert pack(np.where(sizes > 80, np.nan, sizes), savings, 80) == (
        pytest.approx([0, -1, 0, -1]),
        0.1,
        47.0,
        46.0,
        70,
    )


def test_a_part_of_a_byte_counts_as_one() -> None:
    """Sizes that are estimated as means never exceed a budget of whole bytes."""
    assert stage_at([2.1], [1.0], 1 / 3) == 0 and stage_at([2.1], [1.0], 0.34) == -1
    assert pack([[2.1], [2.1]], [[1.0], [1.0]], 5) == (pytest.approx([0, -1]), 1 / 3, pytest.approx(5 / 3), 1.0, 3)


def test_extreme_sizes_and_budgets() -> None:
    """No items, a budget without limit, an item as large as a float can be, and savings of almost nothing."""
    empty = pack(np.empty((0, 2)), np.empty((0, 2)), 10)
    assert empty.stage.shape == (0,) and empty[1:] == (0.0, 0.0, 0.0, 0)
    sizes, savings = [[1e308], [7.0]], [[1.0], [5e-324]]
    assert pack(sizes, savings, 7).stage.tolist() == [-1, 0]
    assert pack(sizes, savings, math.inf).stage.tolist() == [0, 0]
    assert pack([[math.inf], [math.nan]], [[math.nan], [-1.0]], math.inf).stage.tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("sizes", "savings", "budget", "error", "message"),
    [
        ([[1, -2]], [[1, 2]], 3, ValueError, "0 bytes or more, or NaN where .* got -2.0 for item 0 at stage 1"),
        ([[-math.inf]], [[1]], 3, ValueError, "sizes must be of 0 bytes or more, .* got -inf"),
        ([[1], [1]], [[1], [-1]], 3, ValueError, "savings must be finite, of 0 .* got -1.0 for item 1 at stage 0"),
        ([[1]], [[math.nan]], 3, ValueError, "savings must be finite, of 0 seconds or more, got nan"),
        ([[1]], [[math.inf]], 3, ValueError, "savings must be finite, of 0 seconds or more, got inf"),
        ([[1]], [[1, 2]], 3, ValueError, r"savings must be of the shape of sizes, \(1, 1\), got \(1, 2\)"),
        ([1], [1], 3, ValueError, r"sizes must be an array of bytes, \(items, stages\), got the shape \(1,\)"),
        ([[]], [[]], 3, ValueError, r"sizes must be an array of bytes, \(items, stages\), got the shape \(1, 0\)"),
        ("4 MB", [[1]], 3, TypeError, r"sizes must be an array of bytes, \(items, stages\), got '4 MB'"),
        ([[1]], [[1]], -1, ValueError, "budget must be a number of bytes, 0 or more, got -1"),
        ([[1]], [[1]], math.nan, ValueError, "budget must be a number of bytes, 0 or more, got nan"),
        ([[1]], [[1]], "4 GB", TypeError, "budget must be a number of bytes, 0 or more, got '4 GB'"),
        ([[1]], [[1]], True, TypeError, "budget must be a number of bytes, 0 or more, got True"),
    ],
)
def test_invalid_instances_raise(sizes: Any, savings: Any, budget: Any, error: type[Exception], message: str) -> None:
    """The message says what was expected, what came, and where."""
    for function in (pack, price_of):
        with pytest.raises(error, match=message):
            function(sizes, savings, budget)


@pytest.mark.parametrize(
    ("sizes", "savings", "price", "error", "message"),
    [
        ([1, -2], [1, 2], 1, ValueError, "sizes must be of 0 bytes or more, .* got -2 at stage 1"),
        ([1], [-1], 1, ValueError, "savings must be finite, of 0 seconds or more, got -1 at stage 0"),
        ([1], [math.nan], 1, ValueError, "savings must be finite, of 0 seconds or more, got nan at stage 0"),
        ([1, 2], [1], 1, ValueError, "savings must be of the length of sizes, 2, got 1"),
        ([1], [1], -1, ValueError, "price must be a number of seconds per byte, 0 or more, got -1"),
        ([1], [1], math.nan, ValueError, "price must be a number of seconds per byte, 0 or more, got nan"),
        ([1], [1], None, TypeError, "price must be a number of seconds per byte, 0 or more, got None"),
    ],
)
def test_an_invalid_item_raises(sizes: Any, savings: Any, price: Any, error: type[Exception], message: str) -> None:
    """The same for one item and a price."""
    with pytest.raises(error, match=message):
        stage_at(sizes, savings, price)


def test_the_examples_of_the_docstrings() -> None:
    """They run and print what they say."""
    results = doctest.testmod(knapsack)
    assert results.attempted >= 2 and not results.failed
