"""Where a pipeline keeps its items: how much of what its budget can save is saved, for stages of known cost."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers.pipelines import (
    Work,
    equal_items,
    few_huge,
    free_stage,
    one_by_one,
    steep_read,
    three_stages,
    two_stages,
)
from helpers.processes import Children

import bytecache

ITEMS = 400
ATTEMPTS = 3
pytestmark = pytest.mark.exhaustive


def measuring(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test again if it fails: it measures costs, which others on the machine may disturb, but not each time."""

    @functools.wraps(test)
    def attempts(**arguments: Any) -> None:
        for _ in range(ATTEMPTS - 1):
            try:
                return test(**arguments)
            except AssertionError:
                continue
        test(**arguments)

    return attempts


def pipeline(work: Work, budget: float, **options: Any) -> Any:
    return bytecache.staged(*work.stages(), maxbytes=int(budget), **{"items": work.items, **options})


def shares(work: Work, load: Any, budget: float, epochs: range) -> list[float]:
    """Return what is saved in each epoch, as a share of what can be."""
    return [work.epoch(one_by_one(load), epoch) / work.bound(budget) for epoch in epochs]


@pytest.mark.parametrize("factor", [0.1, 0.5, 2, 10])
@pytest.mark.parametrize("make", [two_stages, three_stages, equal_items, few_huge, free_stage, steep_read])
@measuring
def test_nearly_all_that_can_be_saved_is_saved(make: Any, factor: float) -> None:
    """From the second epoch on 0.95 of the bound, and what the best choice of one stage saves, but for 3 %.

    If the budget is a tenth of the bytes, the first epoch shows too few of so few items, and a busy machine measures
    them worse: there 0.8, and 0.95 later.
    """
    work = make(ITEMS)
    budget = factor * float(work.nbytes[:, 0].sum())
    load = pipeline(work, budget)
    _, second, third = shares(work, load, budget, range(3))
    assert second >= (0.95 if factor > 0.1 else 0.8) and third >= 0.95
    assert third >= 0.97 * work.plain(budget) / work.bound(budget)
    assert load.cache_stats().currbytes <= budget


@pytest.mark.parametrize("factor", [0.1, 0.5, 2, 10])
def test_costs_that_are_given_are_gone_by(factor: float) -> None:
    """With cost= nothing is measured, and the placement is as good."""
    work = two_stages(ITEMS)
    budget = factor * float(work.nbytes[:, 0].sum())
    load = pipeline(work, budget, cost=[lambda nbytes: 5e-4 + 2e-8 * nbytes, lambda nbytes: 1e-8 * nbytes])
    _, second, third = shares(work, load, budget, range(3))
    assert second >= (0.95 if factor > 0.1 else 0.9) and third >= 0.97


@pytest.mark.parametrize("factor", [0.1, 0.5, 2, 10])
@measuring
def test_without_items_their_number_is_found(factor: float) -> None:
    """The second epoch shows how many there are; from the third on 0.9 of the bound is saved, then 0.95."""
    work = two_stages(ITEMS)
    budget = factor * float(work.nbytes[:, 0].sum())
    load = pipeline(work, budget, items=None)
    *_, third, fourth = shares(work, load, budget, range(4))
    assert third >= 0.9 and fourth >= 0.95
    assert load.plan().items == pytest.approx(ITEMS, rel=0.02)


@pytest.mark.parametrize("factor", [0.1, 0.5, 2])
@measuring
def test_storage_that_becomes_slower(factor: float) -> None:
    """If reads take ten times as long from the fourth epoch on, the sixth saves 0.9 of what can be saved then."""
    work = two_stages(200)
    budget = factor * float(work.nbytes[:, 0].sum())
    load = pipeline(work, budget)
    shares(work, load, budget, range(3))
    work.seconds[:, 0] *= 10
    assert shares(work, load, budget, range(3, 6))[-1] >= 0.9


@measuring
def test_it_stays_as_good() -> None:
    """What is read later is what is not kept: that does not pass for all of the items."""
    work = two_stages(200)
    budget = 0.5 * float(work.nbytes[:, 0].sum())
    load = pipeline(work, budget)
    assert min(shares(work, load, budget, range(16))[2:]) >= 0.96
    evicted = load.cache_stats().evicted
    shares(work, load, budget, range(16, 20))
    assert load.cache_stats().evicted - evicted <= 8  # nor does it churn


@measuring
def test_a_decode_that_becomes_slower() -> None:
    """Costs are followed while nothing is read from the start: then more is kept after the decode."""
    work = two_stages(200)
    budget = 3 * float(work.nbytes[:, 0].sum())
    load = pipeline(work, budget)
    shares(work, load, budget, range(2))
    work.seconds[:, 1] *= 5
    assert shares(work, load, budget, range(2, 6))[-1] >= 0.95


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("factor", [0.1, 0.5, 2])
@measuring
def test_workers_that_share_a_store(stores: Any, workers: int, factor: float) -> None:
    """Processes that are new in each epoch, and read a part of the items each, save 0.93 of the bound together.

    In a store nothing makes room: what was let in while little was known stays.
    """
    work = two_stages(600)
    budget = factor * float(work.nbytes[:, 0].sum())
    store = stores(int(budget))
    found = [epoch_of_workers(work, store, workers, epoch) / work.bound(budget) for epoch in range(3)]
    assert found[-1] >= (0.93 if factor > 0.1 else 0.88)
    assert found[-1] >= 0.97 * work.plain(budget) / work.bound(budget)
    assert store.currbytes <= budget


def epoch_of_workers(work: Work, store: Any, workers: int, epoch: int) -> float:
    """Return the seconds that so many forked processes save in an epoch."""
    order = np.random.default_rng(epoch).permutation(work.items)
    counts = np.zeros((work.items, work.count), np.int64)

    def read(number: int) -> list[list[int]]:
        load = bytecache.staged(*work.stages(), items=work.items, store=store, version=1)
        mine = order[number::workers].tolist()
        one_by_one(load)(mine)
        return [[item, *work.runs[item].tolist()] for item in mine if work.runs[item].any()]

    work.runs[:] = 0
    for answer in Children(*[lambda number=number: read(number) for number in range(workers)]).answers():
        assert isinstance(answer, list), answer
        for item, *runs in answer:
            counts[item] += runs
    return work.saved(counts)


@measuring
def test_what_limits_is_saved() -> None:
    """With map reads and processors work at the same time: of the longer of both more is saved than of the other."""
    work = equal_items(256)
    work.seconds[:, 0], work.seconds[:, 1] = 16e-3, 1e-3  # of 16 reads at a time, 1 ms of processors and reads each
    budget = float(work.nbytes[:, 0].sum()) / 2
    load = pipeline(work, budget)
    keys = list(range(work.items))
    for epoch in range(3):
        np.random.default_rng(epoch).shuffle(keys)
        load.map(keys, threads=6)
    assert load.plan().limit in ("waiting", "both") and load.plan().workload.concurrency.overlapped
    assert os.cpu_count() == 1 or load.plan().workload.concurrency.reads > 2
    assert load.plan().share > 0.9


def kept_after_an_epoch(sizes: list[int], order: list[int], budget: int) -> list[int]:
    """Return which items are not read again, if reads take 20 ms and decoding 3 ns per byte, to 8 times the bytes."""
    reads: list[int] = []

    def read(item: int) -> bytes:
        reads.append(item)
        return bytes(sizes[item] - sys.getsizeof(b""))

    costs = [lambda nbytes: 0.02, lambda nbytes: 3e-9 * nbytes]
    load = bytecache.staged(read, lambda data: data * 8, maxbytes=budget, items=len(sizes), cost=costs)
    for item in order:
        load(item)
    reads.clear()
    for item in order:
        load(item)
    return sorted({*order} - {*reads})


@pytest.mark.parametrize("seed", range(4))
def test_all_are_kept_encoded_if_they_just_fit(seed: int) -> None:
    """No room goes to decoded items in the first epoch that others need: at most 3 in a hundred are left out."""
    rng = np.random.default_rng(seed)
    sizes = rng.lognormal(np.log(2000), 0.6, ITEMS).astype(int).tolist()
    assert len(kept_after_an_epoch(sizes, rng.permutation(ITEMS).tolist(), sum(sizes))) >= 0.97 * ITEMS


def test_what_comes_late_in_the_first_epoch_takes_the_room_of_what_is_worth_less() -> None:
    """Small items that all come after large ones are kept, and the large ones that came first are not."""
    large, small = [10_000] * 100, [1_000] * 100
    kept = kept_after_an_epoch([*large, *small], list(range(200)), sum(small))
    assert len([item for item in kept if item >= 100]) >= 95
