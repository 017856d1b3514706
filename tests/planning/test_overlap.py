"""The packing if CPU time and waiting overlap, against an exhaustive search and scipy's linear programs."""

from __future__ import annotations

import doctest
import itertools
import math
from typing import Any

import numpy as np
import pytest

from bytecache.planning import overlap
from bytecache.planning.knapsack import pack, price_of, stage_at
from bytecache.planning.overlap import OverlapPacking, pack_overlap


def instance(seed: int, items: int, kind: str) -> dict[str, Any]:
    """Return the arguments of pack_overlap: items that all differ, two kinds of items, or all equal."""
    rng = np.random.default_rng(seed)
    sizes = np.ceil(rng.lognormal(10, 0.8, (items, 3)))
    cpu, wait = rng.lognormal(-6, 1, (items, 3)), rng.lognormal(-6, 1, (items, 3))
    if kind == "two kinds":  # one saves only CPU time, the other only waiting: which to keep no price says
        first = np.arange(items) % 2 == 0
        cpu, wait = np.where(first[:, None], cpu[0], 0.0), np.where(first[:, None], 0.0, wait[0])
        sizes[:] = sizes[0]
    if kind == "equal":
        sizes[:], cpu[:], wait[:] = sizes[0], cpu[0], wait[0]
    else:
        sizes[rng.random(sizes.shape) < 0.1] = np.nan
    last = [size[np.isfinite(size)][-1:].sum() for size in sizes]  # with these no more could be saved
    budget = float(np.ceil(rng.uniform(0.05, 0.6) * sum(last)))
    processors = int(rng.integers(1, 17))
    reads = float(processors * wait.sum() / cpu.sum() * rng.choice([0.5, 1.0, 1.0, 2.0]))
    return dict(sizes=sizes, cpu=cpu, wait=wait, budget=budget, processors=processors, reads_in_flight=reads)


def epoch_s(case: dict[str, Any], stage: Any) -> float:
    """Return the seconds of an epoch, item by item."""
    left = {"cpu": 0.0, "wait": 0.0}
    for name in left:
        left[name] = math.fsum(math.fsum(costs[k + 1 :]) for costs, k in zip(case[name], stage, strict=True))
    return max(left["cpu"] / case["processors"], left["wait"] / case["reads_in_flight"])


def check(result: OverlapPacking, case: dict[str, Any]) -> None:
    """Assert what holds for every result."""
    packing, weight = result.packing, result.weight
    kept = [(item, stage) for item, stage in enumerate(packing.stage) if stage >= 0]
    assert packing.used == sum(case["sizes"][item][stage] for item, stage in kept) <= case["budget"]
    assert result.epoch_s == pytest.approx(epoch_s(case, packing.stage), rel=1e-9, abs=1e-12)
    assert result.bound_s <= result.epoch_s * (1 + 1e-9) + 1e-12
    savings = weight * np.cumsum(case["cpu"], axis=1) + (1 - weight) * np.cumsum(case["wait"], axis=1)
    assert packing.price == price_of(case["sizes"], savings, case["budget"])
    assert packing.bound == pack(case["sizes"], savings, case["budget"]).bound
    assert packing.saved == pytest.approx(math.fsum(savings[item, stage] for item, stage in kept), abs=1e-12)
    assert result.limit == {0.0: "waiting", 1.0: "cpu"}.get(weight, "both")


def longest_item_s(case: dict[str, Any]) -> float:
    """Return the most that one item adds to an epoch, in seconds."""
    cpu, wait = np.sum(case["cpu"], axis=1).max(), np.sum(case["wait"], axis=1).max()
    return float(max(cpu / case["processors"], wait / case["reads_in_flight"]))


@pytest.mark.parametrize("kind", ["different", "two kinds", "equal"])
@pytest.mark.parametrize("seed", range(34))
def test_the_epoch_is_within_a_percent_of_the_linear_program(seed: int, kind: str) -> None:
    """With a thousand items, as HiGHS finds it; the bound is its optimum."""
    case = instance(seed, 1_000, kind)
    result = pack_overlap(**case)
    check(result, case)
    optimum_s = shortest_epoch_s(case)
    assert result.bound_s == pytest.approx(optimum_s, rel=1e-5)
    assert optimum_s * (1 - 1e-5) <= result.epoch_s <= optimum_s * 1.01
    assert result.epoch_s <= optimum_s + 3 * longest_item_s(case)


def shortest_epoch_s(case: dict[str, Any]) -> float:
    """Return the shortest epoch if parts of items could be kept: fractions x per item and stage, and the epoch t."""
    optimize = pytest.importorskip("scipy.optimize", reason="linear programs are solved by scipy")
    sparse = pytest.importorskip("scipy.sparse", reason="linear programs are written down with scipy")
    kept = np.isfinite(case["sizes"])
    item, sizes = np.nonzero(kept)[0], case["sizes"][kept]
    cpu, wait = case["cpu"] / case["processors"], case["wait"] / case["reads_in_flight"]
    scale = max(cpu.sum(), wait.sum())  # solvers want numbers about 1
    ends = [np.append(-costs.cumsum(axis=1)[kept] / scale, -1.0) for costs in (cpu, wait)]
    one_stage = sparse.csr_matrix((np.ones(len(item)), (item, np.arange(len(item)))), shape=(len(kept), len(item) + 1))
    rows = sparse.vstack([sparse.csr_matrix(np.stack([*ends, np.append(sizes / case["budget"], 0.0)])), one_stage])
    limits = [-cpu.sum() / scale, -wait.sum() / scale, 1.0, *np.ones(len(kept))]
    found = optimize.linprog(np.append(np.zeros(len(item)), 1.0), A_ub=rows.tocsr(), b_ub=limits, bounds=(0, None))
    assert found.status == 0, found.message
    return float(found.fun * scale)


@pytest.mark.parametrize("seed", range(30))
def test_no_packing_has_an_epoch_below_the_bound(seed: int) -> None:
    """Of all packings of five items none does, and the one returned is no better than the best."""
    case = instance(seed, 5, ["different", "two kinds", "equal"][seed % 3])
    result = pack_overlap(**case)
    check(result, case)
    sizes = np.column_stack((case["sizes"], np.zeros(5)))  # -1 is the last column
    every = [
        epoch_s(case, stage)
        for stage in itertools.product((-1, 0, 1, 2), repeat=5)
        if sizes[np.arange(5), stage].sum() <= case["budget"]
    ]
    assert result.bound_s <= min(every) * (1 + 1e-9) and min(every) <= result.epoch_s * (1 + 1e-9)


def test_one_resource_that_limits_gets_all_of_the_budget() -> None:
    """With one processor and many reads in flight, the packing is that of CPU time alone; and the other way round."""
    case = instance(1, 200, "different") | {"processors": 1, "reads_in_flight": 1_000}
    result = pack_overlap(**case)
    assert (result.limit, result.weight) == ("cpu", 1.0)
    assert np.array_equal(result.packing.stage, pack(case["sizes"], case["cpu"].cumsum(axis=1), case["budget"]).stage)
    case |= {"processors": 1_000, "reads_in_flight": 1}
    result = pack_overlap(**case)
    assert (result.limit, result.weight) == ("waiting", 0.0)
    assert np.array_equal(result.packing.stage, pack(case["sizes"], case["wait"].cumsum(axis=1), case["budget"]).stage)


def test_both_resources_end_together_if_both_limit() -> None:
    """Their times differ by no more than a few items', and at the weight's price most items are decided one by one."""
    case = instance(2, 1_000, "different")
    result = pack_overlap(**case)
    assert result.limit == "both" and 0 < result.weight < 1
    ends = [epoch_s(case | {name: 0 * case[name]}, result.packing.stage) for name in ("wait", "cpu")]
    assert abs(ends[0] - ends[1]) <= 3 * longest_item_s(case)
    savings = result.weight * case["cpu"].cumsum(axis=1) + (1 - result.weight) * case["wait"].cumsum(axis=1)
    alone = [stage_at(*item, result.packing.price) for item in zip(case["sizes"], savings, strict=True)]
    assert np.count_nonzero(result.packing.stage != alone) <= 10


def test_a_larger_budget_never_makes_the_bound_longer() -> None:
    """From no budget, where nothing is saved, to one for everything, with which an epoch takes no time."""
    case = instance(4, 40, "different")
    case["sizes"] = np.nan_to_num(case["sizes"], nan=7.0)
    whole = float(case["sizes"].sum())
    results = [pack_overlap(**case | {"budget": int(part * whole)}) for part in np.linspace(0, 1, 40)]
    bounds = [result.bound_s for result in results]
    assert all(later <= bound * (1 + 1e-6) + 1e-12 for bound, later in itertools.pairwise(bounds))
    assert results[0].epoch_s == results[0].bound_s == pytest.approx(epoch_s(case, [-1] * 40))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("kind", ["two kinds", "equal"])
def test_an_epoch_with_everything_kept_takes_no_time(seed: int, kind: str) -> None:
    """None at all, and no less than that by rounding, if everything fits that all stages made."""
    case = instance(seed, 100, kind)
    case["sizes"] = np.nan_to_num(case["sizes"], nan=7.0)
    result = pack_overlap(**case | {"budget": math.inf})
    assert 0 <= result.bound_s <= 1e-12 and 0 <= result.epoch_s <= 1e-12


@pytest.mark.parametrize("items", [0, 3])
def test_an_epoch_that_takes_no_time(items: int) -> None:
    """Without items, or with items that cost nothing, nothing is kept."""
    nothing = np.zeros((items, 2))
    result = pack_overlap(nothing + 5, nothing, nothing, 20, processors=2, reads_in_flight=8)
    assert result.packing.stage.tolist() == [-1] * items and result.epoch_s == result.bound_s == 0.0


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"processors": 0}, ValueError, "processors must be finite and more than 0, got 0"),
        ({"reads_in_flight": math.inf}, ValueError, "reads_in_flight must be finite and more than 0, got inf"),
        ({"processors": "2"}, TypeError, "processors must be a number"),
        ({"budget": -1}, ValueError, "budget must be a number of bytes, 0 or more, got -1"),
        ({"cpu": [[-1.0]]}, ValueError, "cpu must be finite, of 0 seconds or more, got -1.0 for item 0 at stage 0"),
        ({"wait": [[math.nan]]}, ValueError, "wait must be finite, of 0 seconds or more, got nan"),
        ({"wait": [[1.0, 1.0]]}, ValueError, r"wait must be of the shape of sizes, \(1, 1\), got \(1, 2\)"),
        ({"sizes": [[-1.0]]}, ValueError, "sizes must be of 0 bytes or more, .* got -1.0 for item 0 at stage 0"),
    ],
)
def test_invalid_arguments_raise(changed: dict[str, Any], error: type[Exception], message: str) -> None:
    """The message names the argument, and says what was expected and what came."""
    case: dict[str, Any] = dict(sizes=[[1]], cpu=[[1.0]], wait=[[1.0]], budget=3, processors=2, reads_in_flight=8)
    pack_overlap(**case)
    with pytest.raises(error, match=message):
        pack_overlap(**case | changed)


def test_the_example_of_the_docstring() -> None:
    """It runs and prints what it says."""
    results = doctest.testmod(overlap)
    assert results.attempted >= 2 and not results.failed
