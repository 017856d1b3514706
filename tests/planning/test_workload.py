"""An epoch over a data set of which some items were measured: its seconds, its best packing, its prices."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bytecache.planning.knapsack import pack, stage_at
from bytecache.planning.workload import Below, Concurrency, Workload, apart, split

RNG = np.random.default_rng(0)
SIZES = np.column_stack([RNG.lognormal(8, 0.6, 500), RNG.lognormal(10, 0.6, 500)]).round()
CPU = np.column_stack([np.zeros(500), 1e-8 * SIZES[:, 1]])
WAIT = np.column_stack([1e-3 + 1e-8 * SIZES[:, 0], np.zeros(500)])


def workload(items: int = 500, **concurrency: float) -> Workload:
    return Workload(SIZES, CPU, WAIT, items, Concurrency(**concurrency))  # type: ignore[arg-type]


def test_an_epoch_without_a_cache() -> None:
    """One after the other CPU and waiting add up; at the same time the longer one counts; by how many there are."""
    cpu, wait = CPU.sum(), WAIT.sum()
    assert workload().epoch_s() == pytest.approx(cpu + wait)
    assert workload(processors=2, reads=4).epoch_s() == pytest.approx(cpu / 2 + wait / 4)
    assert workload(processors=2, reads=4, overlapped=True).epoch_s() == pytest.approx(max(cpu / 2, wait / 4))
    assert workload(5000).epoch_s() == pytest.approx(10 * (cpu + wait))


def test_an_epoch_with_kept_items() -> None:
    """An item that is kept after a stage costs only the later ones."""
    stage = np.full(500, -1)
    stage[:100], stage[100:150] = 0, 1
    expected = CPU.sum() + WAIT.sum() - WAIT[:150].sum() - CPU[100:150].sum()
    assert workload().epoch_s(stage) == pytest.approx(expected)


@pytest.mark.parametrize("stage", [0, 1])
def test_what_comes_first(stage: int) -> None:
    """fill_once after a stage saves the share of that stage's bytes that fit, at most all."""
    whole, saved = SIZES[:, stage].sum(), WAIT.sum() + (CPU.sum() if stage else 0)
    assert workload().bytes_after(stage) == whole
    for share in 0.0, 0.3, 1.0, 2.0:
        expected = CPU.sum() + WAIT.sum() - min(1.0, share) * saved
        assert workload().fill_once_s(stage, share * whole) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("share", [0.05, 0.5, 1.5, 20])
@pytest.mark.parametrize("items", [500, 50_000])
def test_the_best_packing_is_that_of_the_solver(share: float, items: int) -> None:
    """The bound is that of the knapsack, for as many items as there are."""
    budget = share * SIZES[:, 0].sum() * items / 500
    best = workload(items).best(budget)
    packing = pack(SIZES, (CPU + WAIT).cumsum(axis=1), budget * 500 / items)
    assert best.bound_s == pytest.approx((CPU.sum() + WAIT.sum() - packing.bound) * items / 500)
    assert best.stage.tolist() == packing.stage.tolist()


@pytest.mark.parametrize("share", [0.05, 0.5, 1.5])
@pytest.mark.parametrize("equal", [False, True], ids=["all kinds of items", "equal items"])
def test_the_price_spends_the_budget(share: float, equal: bool) -> None:
    """Item by item, what the price lets in takes about the budget, also if all items are alike."""
    sizes, cpu, wait = (np.tile(table[:1], (500, 1)) if equal else table for table in (SIZES, CPU, WAIT))
    budget = share * sizes[:, 0].sum()
    prices = Workload(sizes, cpu, wait, 500, Concurrency()).prices(budget)
    lots = RNG.permutation(500) / 500
    computing, reading = split(cpu, wait)
    savings = (prices.computing * computing + prices.reading * reading).cumsum(axis=1) * apart(lots)[:, None]
    chosen = [stage_at(*item, prices.price) for item in zip(sizes.tolist(), savings.tolist(), strict=True)]
    used = sum(sizes[n, stage] for n, stage in enumerate(chosen) if stage >= 0)
    assert used == pytest.approx(budget, rel=0.06)


def test_an_item_that_exceeds_the_budget_sets_no_price() -> None:
    """However much it would save."""
    sizes, cpu, wait = SIZES.copy(), CPU.copy(), WAIT.copy()
    sizes[0], wait[0] = 1e12, 1e9
    budget = 0.5 * SIZES[:, 0].sum()
    with_it = Workload(sizes, cpu, wait, 500, Concurrency()).prices(budget)
    assert with_it.price == pytest.approx(workload().prices(budget).price, rel=0.05)


def test_if_all_fits_a_byte_costs_nothing() -> None:
    """Then everything is kept after the last stage, and the epoch takes no time."""
    best = workload().best(1e12)
    assert best.bound_s == pytest.approx(0.0, abs=1e-9) and (best.stage == 1).all() and best.price == 0.0


def test_what_does_not_limit_counts_little() -> None:
    """With much to read and processors to spare it is reads that are saved, and what is computed counts a quarter."""
    prices = workload(processors=64, reads=1, overlapped=True).prices(0.2 * SIZES[:, 0].sum())
    assert (prices.computing * 64, prices.reading) == (pytest.approx(0.25), pytest.approx(0.75))
    best = workload(processors=64, reads=1, overlapped=True).best(0.2 * SIZES[:, 0].sum())
    assert best.limit == "waiting" and not (best.stage == 1).any()


def test_kept_items_are_taken_for_those_of_the_best_packing() -> None:
    """The seconds of an epoch with as many items kept as is best are those of the best packing."""
    budget = 1.5 * SIZES[:, 0].sum()
    best = workload().best(budget)
    kept = [(int(at.sum()), float(SIZES[at, k].sum())) for k, at in enumerate((best.stage == 0, best.stage == 1))]
    assert workload().kept_s(kept, best.stage) == pytest.approx(workload().epoch_s(best.stage))
    assert workload().kept_s([(0, 0.0), (0, 0.0)], best.stage) == pytest.approx(workload().epoch_s())
    everything = workload().best(1e12).stage
    assert workload().kept_s([(0, 0.0), (500, float(SIZES[:, 1].sum()))], everything) == pytest.approx(0.0, abs=1e-9)


def tiers_and_items(seed: int, tiers: int) -> tuple[Workload, list[float], list[float], np.ndarray, np.ndarray]:
    """Return few items, the room and the seconds per byte of each tier, and sizes and savings of the items."""
    rng = np.random.default_rng(seed)
    items = 5 if tiers == 2 else 4
    sizes = np.cumsum(rng.integers(1, 40, (items, 2)), axis=1).astype(float)
    seconds = rng.uniform(0.1, 3.0, (items, 2))
    work = Workload(
        sizes, np.where([False, True], seconds, 0.0), np.where([True, False], seconds, 0.0), items, Concurrency()
    )
    savings = seconds.cumsum(axis=1) * apart(np.arange(items) * (5**0.5 - 1) / 2 % 1.0)[:, None]
    rooms = rng.integers(20, 90, tiers).astype(float).tolist()
    return work, rooms, [0.0, *np.sort(rng.uniform(0.0, 0.1, tiers - 1)).tolist()], sizes, savings


@pytest.mark.parametrize("tiers", [2, 3])
@pytest.mark.parametrize("seed", range(12))
def test_the_price_over_tiers_is_that_of_the_best_division_of_items_among_them(seed: int, tiers: int) -> None:
    """No price gives a lower bound of what is saved, and the best of all divisions is within a step of it per tier."""
    work, rooms, get_s, sizes, savings = tiers_and_items(seed, tiers)

    def bound(price: float) -> float:
        """Return what items and rooms are worth at a price, which no division exceeds (Lagrange)."""
        rents = sum(room * max(0.0, price - seconds) for room, seconds in zip(rooms, get_s, strict=True))
        return rents + float(np.maximum(0.0, (savings - price * sizes).max(axis=1)).sum())

    below = [Below(sum(rooms[:number]), get_s[number]) for number in range(1, tiers)]
    price = work.prices(sum(rooms), below).price
    assert all(bound(price) <= bound(other) + 1e-9 for other in np.linspace(0.0, 1.0, 2001))
    best, places = 0.0, [None, *itertools.product(range(2), range(tiers))]
    for division in itertools.product(places, repeat=len(sizes)):
        used, saved = [0.0] * tiers, 0.0
        for item, place in enumerate(division):
            if place is not None:
                stage, tier = place
                used[tier] += sizes[item, stage]
                saved += savings[item, stage] - get_s[tier] * sizes[item, stage]
        if saved > best and all(taken <= room for taken, room in zip(used, rooms, strict=True)):
            best = saved
    assert best <= bound(price) + 1e-9
    assert best >= bound(price) - tiers * float(savings.max())
