"""Plans: their seconds are those of epochs counted item by item, and they say what to do in words and numbers."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import bytecache
from bytecache.planning.plan import Plan, make_plan
from bytecache.planning.workload import Concurrency, Workload

ONE, TOGETHER = Concurrency(), Concurrency(2, 6, 1.0)
MODES = {"one": ONE, "serial": Concurrency(2, 6), "together": TOGETHER, "beside": Concurrency(2, 6, 1.0, 2e-5)}
exact_modes = pytest.mark.parametrize("concurrency", [*MODES.values()], ids=[*MODES])
MODES["partly"] = Concurrency(2, 6, 0.6)  # the bound lies between two others, and may not be reached
modes = pytest.mark.parametrize("concurrency", [*MODES.values()], ids=[*MODES])
NAMES = ["read", "decode"]


def make_workload(concurrency: Concurrency = ONE, n: int = 1000, items: int = 10_000, seed: int = 0) -> Workload:
    """Return files of log-normal sizes, whose reads wait and whose arrays have one size."""
    encoded = 100e3 * np.exp(np.random.default_rng(seed).normal(0, 0.6, n))
    sizes = np.stack([encoded, np.full(n, 196_608.0)], axis=1)
    cpu = np.stack([5e-5 + encoded * 1e-10, 1e-3 + encoded * 1.5e-8], axis=1)
    wait = np.stack([2e-3 + encoded * 1e-9, np.zeros(n)], axis=1)
    return Workload(sizes, cpu, wait, items, concurrency)


def whole(workload: Workload, stage: int = 0) -> int:
    return math.ceil(workload.bytes_after(stage))


def count_epoch(workload: Workload, stage: np.ndarray) -> float:
    """Return the seconds of an epoch, added up item by item."""
    computing = reading = 0.0
    seconds = workload.cpu + workload.wait
    for item, at in enumerate(stage.tolist()):
        computing += sum(seconds[item, max(1, at + 1) :].tolist())
        reading += sum(seconds[item, at + 1 : 1].tolist())
    processors, reads, overlapped, beside_s = workload.concurrency
    both = computing / processors, reading / reads
    return workload.scale * (overlapped * max(both) + (1 - overlapped) * sum(both)) + beside_s * workload.items


def kept_of(workload: Workload, stage: np.ndarray) -> list[tuple[int, int]]:
    """Return items and bytes after each stage, of all items."""
    masks = [stage == k for k in range(workload.sizes.shape[1])]
    return [
        (round(mask.sum() * workload.scale), round(workload.sizes[mask, k].sum() * workload.scale))
        for k, mask in enumerate(masks)
    ]


# Seconds


@exact_modes
@pytest.mark.parametrize("fraction", [0.1, 0.5, 1.0, 1.5])
def test_the_epochs_are_those_counted_item_by_item(concurrency: Concurrency, fraction: float) -> None:
    """Of nothing, of what is best, and of all after a stage; the bound is below by less than one item's steps."""
    workload = make_workload(concurrency, items=1000)
    plan = make_plan(workload, NAMES, round(fraction * whole(workload)))
    best = workload.best(plan.maxbytes).stage
    nothing = np.full(len(best), -1)
    assert plan.choices["nothing"] == pytest.approx(count_epoch(workload, nothing))
    assert plan.epoch_s == pytest.approx(count_epoch(workload, best), rel=1e-9)
    assert plan.bound_s <= count_epoch(workload, best) * (1 + 1e-9)
    assert 0.99 < plan.share <= 1
    everything = make_plan(workload, NAMES, whole(workload, 1) + whole(workload))
    for stage, name in enumerate(NAMES):
        seconds = count_epoch(workload, np.full(len(best), stage))
        assert everything.choices[f"fill_once after {name}"] == pytest.approx(seconds, abs=1e-6)


@exact_modes
def test_a_small_sample_of_many_items_is_as_close_to_the_bound_as_these(concurrency: Concurrency) -> None:
    """One item of the sample that does not fit stands for many, most of which would."""
    sample, every = (make_workload(concurrency, n, items=60_000) for n in (60, 60_000))
    budget = whole(sample) // 3
    plans = [make_plan(workload, NAMES, budget) for workload in (sample, every)]
    for plan in plans:
        assert plan.epoch_s == pytest.approx(plan.bound_s, rel=1e-4) and plan.share > 0.999


@modes
def test_what_comes_first_saves_its_share_of_the_bytes(concurrency: Concurrency) -> None:
    """The mean over many orders is what the plan says; alone for one resource it is exact."""
    workload = make_workload(concurrency, n=400)
    budget, rng = whole(workload) // 2, np.random.default_rng(1)
    plan = make_plan(workload, NAMES, budget)
    for stage, name in enumerate(NAMES):
        epochs = []
        for _ in range(40):
            order = rng.permutation(400)
            fits = workload.sizes[order, stage].cumsum() <= budget / workload.scale
            kept = np.full(400, -1)
            kept[order[fits]] = stage
            epochs.append(count_epoch(workload, kept))
        assert plan.choices[f"fill_once after {name}"] == pytest.approx(np.mean(epochs), rel=0.01)


@modes
@pytest.mark.parametrize("fraction", [0.1, 0.5, 1.0, 1.5])
@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_what_is_kept_is_estimated_from_counts_and_bytes(
    concurrency: Concurrency, fraction: float, missing: float
) -> None:
    """Of the best packing, or of a part of it, the epoch is as counted, within 4 % of what is saved."""
    workload = make_workload(concurrency)
    budget = round(fraction * whole(workload))
    best = workload.best(budget).stage
    stage = np.where(np.random.default_rng(2).random(len(best)) < missing, -1, best)
    plan = make_plan(workload, NAMES, budget, kept_of(workload, stage))
    counted = count_epoch(workload, stage)
    assert plan.epoch_s == pytest.approx(counted, abs=0.04 * (plan.choices["nothing"] - counted))


@pytest.mark.parametrize("which", ["largest", "smallest", "first"])
def test_other_files_than_the_best_are_told_by_their_bytes(which: str) -> None:
    """After the first stage, whose cost is a line over bytes, the epoch is exact whatever is kept."""
    workload = make_workload()
    by_size = np.argsort(workload.sizes[:, 0])
    order = {"largest": by_size[::-1], "smallest": by_size, "first": np.arange(len(by_size))}[which]
    stage = np.full(len(order), -1)
    stage[order[:300]] = 0
    plan = make_plan(workload, NAMES, whole(workload), kept_of(workload, stage))
    assert plan.epoch_s == pytest.approx(count_epoch(workload, stage), rel=1e-6)


@modes
def test_the_share_is_at_most_one(concurrency: Concurrency) -> None:
    """Also if more seems to be kept than fits: no cache has a shorter epoch than the bound."""
    workload = make_workload(concurrency)
    for kept in ([(10_000, 2 * whole(workload)), (0, 0)], [(0, 0), (10_000, whole(workload, 1))]):
        plan = make_plan(workload, NAMES, whole(workload) // 4, kept)
        assert plan.share <= 1 and plan.epoch_s >= plan.bound_s


@modes
@pytest.mark.parametrize("fraction", [0.05, 0.3, 0.9, 1.6])
def test_the_price_is_what_another_byte_saves(concurrency: Concurrency, fraction: float) -> None:
    """It is the slope of the bound over the budget, in seconds of an epoch per byte."""
    workload = make_workload(concurrency)
    budget = fraction * whole(workload)
    step = 1e-3 * budget
    slope = (workload.best(budget - step).bound_s - workload.best(budget + step).bound_s) / (2 * step)
    assert make_plan(workload, NAMES, round(budget)).price == pytest.approx(slope, rel=0.02)


# Budgets at the ends


@modes
def test_no_budget_keeps_nothing(concurrency: Concurrency) -> None:
    """With 0 bytes each choice takes the epoch of nothing, and nothing that can be saved is missing."""
    plan = make_plan(make_workload(concurrency), NAMES, 0)
    assert {*plan.choices.values(), plan.bound_s, plan.epoch_s} == {plan.choices["nothing"]}
    assert plan.share == 1.0 and [stage.items for stage in plan.stages] == [0, 0]
    assert plan.advice().startswith("keep nothing: ")


@modes
@pytest.mark.parametrize("known", [True, False])
def test_a_budget_for_all_items(concurrency: Concurrency, known: bool) -> None:
    """All are kept after the last stage, also if the budget is not known; a byte is worth nothing then."""
    workload = make_workload(concurrency)
    plan = make_plan(workload, NAMES, whole(workload, 1) * 2 if known else None)
    assert (plan.stages[1].items, plan.price, plan.share) == (10_000, 0.0, 1.0)
    assert plan.epoch_s == pytest.approx(10_000 * concurrency.beside_s, abs=1e-9)
    epoch = "200 ms" if concurrency.beside_s else "0 s"
    assert f"keep all items after decode: {epoch} per epoch instead of " in plan.advice()
    assert "more memory saves nothing" in str(plan)
    assert ("memory without a limit" in str(plan)) is not known


def test_one_stage_is_fill_once_but_for_its_choice_of_items() -> None:
    """Of equal items the best plan is what comes first."""
    ones = np.ones((100, 1))
    plan = make_plan(Workload(1000 * ones, 0 * ones, ones, 100, ONE), ["read"], 50_000)
    assert plan.choices == {"nothing": 100.0, "fill_once after read": 50.0}
    assert (plan.epoch_s, plan.bound_s, plan.share, plan.price) == (50.0, 50.0, 1.0, 1e-3)
    assert plan.advice("files", ["as text"]) == (
        "keep 50 % of the files as text: 50.0 s per epoch instead of 100 s; "
        "with 97.7 KiB, where everything fits as text, 0 s"
    )


def test_stages_that_cost_nothing() -> None:
    """Nothing can be saved, and nothing is divided by zero."""
    zeros = np.zeros((10, 2))
    plan = make_plan(Workload(zeros + 100, zeros, zeros, 10, TOGETHER), NAMES, 100)
    assert (plan.epoch_s, plan.bound_s, plan.share) == (0.0, 0.0, 1.0)
    assert str(plan)


# Words and numbers for people and programs


def test_a_person_reads_a_table() -> None:
    """It has the stages with costs and what is kept, each choice with its epoch, and the advice."""
    thirds = np.ones((3, 1))
    sizes = thirds * [1000.0, 4000.0]
    workload = Workload(sizes, thirds * [0.0, 0.5], thirds * [2.0, 0.0], 300, ONE)
    plan = make_plan(workload, NAMES, 600_000, [(200, 200_000), (100, 400_000)])
    assert str(plan).splitlines() == [
        "300 items in 585.9 KiB; computing and waiting alternate",
        "",
        "stage      CPU  waiting  bytes each  kept after it  of all  bytes kept",
        "read       0 s   2.00 s     1.0 KiB            200    67 %   195.3 KiB",
        "decode  500 ms      0 s     3.9 KiB            100    33 %   390.6 KiB",
        "",
        "what is kept            an epoch takes",
        "nothing                          750 s",
        "fill_once after read             150 s",
        "fill_once after decode           375 s",
        "staged                           100 s",
        "bound                            100 s",
        "",
        "staged saves 100 % of what this budget can save; another MiB saves 175 s per epoch",
        "keep 67 % of the items after read and 33 % after decode: 100 s per epoch instead of 750 s; "
        "with 1.1 MiB, where everything fits after decode, 0 s",
    ]
    assert plan.report("files", ["as JPEG", "as arrays"])[-1].startswith("keep 67 % of the files as JPEG and 33 % as a")


@pytest.mark.parametrize(
    "concurrency, cpu, wait, text",
    [
        (Concurrency(), 1, 1, "computing and waiting alternate"),
        (Concurrency(2, 5.5), 1, 1, "computing and waiting alternate (2 and 5.5 at a time)"),
        (Concurrency(1, 6, True), 1, 0, "6 reads and 1 processor at work together, and computing limits the epoch"),
        (Concurrency(2, 1, True), 0, 1, "1 read and 2 processors at work together, and waiting for reads limits the"),
        (Concurrency(1, 1, True), 1, 2, "1 read and 1 processor at work together, and both end at the same time"),
    ],
)
def test_what_limits(concurrency: Concurrency, cpu: float, wait: float, text: str) -> None:
    """The first line says what works at a time, and what an epoch waits for."""
    n = 20
    sizes = np.tile([100.0, 1000.0], (n, 1))
    costs = np.tile([0.0, cpu], (n, 1)) + 1e-9, np.tile([wait, 0.0], (n, 1))
    assert text in str(make_plan(Workload(sizes, *costs, n, concurrency), NAMES, 1500)).splitlines()[0]


def test_curves_fall_and_none_is_below_staged() -> None:
    """The budgets may be ints, sizes with units, or 0, where each choice has the epoch of nothing."""
    workload = make_workload(TOGETHER)
    plan = make_plan(workload, NAMES, 2**30)
    curve = plan.curve([0, 2**20, "64 MiB", "1 GiB", "4 GiB"])
    assert list(curve) == ["staged", "nothing", "fill_once after read", "fill_once after decode"]
    for seconds in curve.values():
        assert seconds[0] == plan.choices["nothing"]
        assert all(a >= b for a, b in zip(seconds, seconds[1:], strict=False))
        assert all(bound <= other + 1e-9 for bound, other in zip(curve["staged"], seconds, strict=True))
    assert curve["staged"][3] == plan.bound_s
    assert {name: seconds[3] for name, seconds in curve.items() if name != "staged"} == plan.choices
    with pytest.raises(ValueError, match="budgets must be a positive int or a size"):
        plan.curve([-1])


def test_json_has_every_field() -> None:
    """But the measurements."""
    plan = make_plan(make_workload(TOGETHER), NAMES, 2**28)
    fields = json.loads(json.dumps(plan.to_dict()))
    assert set(fields) == {*Plan.__dataclass_fields__} - {"workload"}
    assert fields["stages"][0]["name"] == "read" and fields["maxbytes"] == 2**28
    assert fields["concurrency"] == {"processors": 2, "reads": 6, "overlapped": True, "beside_s": 0.0}


def test_a_staged_function_has_a_plan() -> None:
    """What it says is kept are the runs that an epoch does not need, but for some that move meanwhile."""
    sizes = {key: 2000 + 100 * key for key in range(50)}
    load = bytecache.staged(
        lambda key: bytes(sizes[key]), lambda data: np.zeros(4 * len(data), np.uint8),
        maxbytes="256 KiB", items=50, cost=[1.0, lambda nbytes: nbytes * 1e-5],
    )  # fmt: skip
    for _ in range(3):
        for key in sizes:
            load(key)
    before = load.cache_stats().stages
    for key in sizes:
        load(key)
    reads, decodes = (now.runs - then.runs for now, then in zip(load.cache_stats().stages, before, strict=True))
    plan = load.plan()
    assert plan.items == 50 and sum(stage.kept_bytes for stage in plan.stages) <= plan.maxbytes
    assert plan.bound_s <= plan.epoch_s <= plan.choices["nothing"] and 0.9 <= plan.share <= 1
    kept = [stage.items for stage in plan.stages]
    assert [50 - sum(kept), 50 - kept[1]] == pytest.approx([reads, decodes], abs=3)


def test_in_memory_each_kept_item_counts() -> None:
    """What came first is kept as arrays of one size: nothing but their encoded sizes says what they save."""
    sizes = {key: 2000 + 200 * key for key in range(50)}
    load = bytecache.staged(
        lambda key: bytes(sizes[key]), lambda data: bytes(1000), maxbytes="25 KB", cost=[lambda nbytes: nbytes, 1.0]
    )
    for key in sizes:
        load(key)
    plan = load.plan()
    kept = [key for key in sizes if load.cache_contains(key)]
    assert kept == list(range(24)) and [stage.items for stage in plan.stages] == [0, 24]
    missing = [bytecache.sizeof(bytes(sizes[key])) + 1.0 for key in sizes if key not in kept]
    assert plan.epoch_s == pytest.approx(sum(missing), rel=1e-5)
    assert plan.choices["nothing"] == pytest.approx(sum(nbytes + 33 + 1.0 for nbytes in sizes.values()))
