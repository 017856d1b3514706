"""What is saved per epoch, as runs by their known costs, by each way of choosing what to keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import bytecache
from benchmarks.harness.measure import Absent
from benchmarks.peers.partitions import GPU_PER_S, Means, hycache, seneca, seneca_model
from benchmarks.workloads.stages import Pictures, Stages, make_pictures
from bytecache.planning.knapsack import pack

STAGED, SENECA, HYCACHE = "staged", "Seneca", "HyCache"
Orders = list[NDArray[np.int64]]  # of the items, one for each epoch


class Cell(NamedTuple):
    """One case. read_ms: the time per read; resized: whether there is a third stage; share: the budget by the encoded
    bytes; epochs: how many; slow_from, factor: from which epoch on (the first is 1) reads take `factor` times as long.
    """

    items: int
    epochs: int
    seed: int
    read_ms: float
    resized: bool
    share: float
    slow_from: int | None = None
    factor: float = 1.0

    def pictures(self) -> Pictures:
        """Return the data set."""
        return make_pictures(self.items, self.read_ms, self.resized, self.seed)

    def budget(self) -> int:
        """Return the budget in bytes."""
        return int(self.share * self.pictures().encoded_bytes)

    def orders(self) -> Orders:
        """Return a new shuffle for each epoch."""
        rng = np.random.default_rng([self.seed, 1])
        return [rng.permutation(self.items) for _ in range(self.epochs)]


def bound_s(pictures: Pictures, budget: float) -> float:
    """Return the seconds per epoch that no cache of this budget saves more than."""
    return pack(pictures.nbytes, pictures.saved_s, budget).bound


def staged_run(cell: Cell) -> dict[str, Any]:
    """Run `staged`, asleep for the costs, and return what each epoch saves, the bound, and how late the stages were."""
    pictures, budget = cell.pictures(), cell.budget()
    stages = Stages(pictures)
    load: Any = bytecache.staged(*stages.functions, maxbytes=budget, items=cell.items)
    saved, bounds = [], []
    for epoch, order in enumerate(cell.orders(), 1):
        if epoch == cell.slow_from:
            stages.pictures = pictures.slower(cell.factor)
        before_s = stages.due_s
        for item in order.tolist():
            load(item)
        saved.append(float(stages.pictures.cost_s.sum()) - (stages.due_s - before_s))
        bounds.append(bound_s(stages.pictures, budget))
    kept = [stage.currsize for stage in load.cache_stats().stages]
    return {"saved_s": saved, "bound_s": bounds, "kept": kept, "late": stages.took_s / stages.due_s - 1}


def computed_runs(cell: Cell, checkout: str | None) -> dict[str, Any]:
    """Return what the ways that measure nothing save: real caches and counted runs, without the sleeps."""
    pictures, budget, orders = cell.pictures(), float(cell.budget()), cell.orders()
    rows: dict[str, Any] = {}
    for stage, name in enumerate(pictures.names):
        divided = [0.0] * len(pictures.names)
        divided[stage] = budget
        rows[f"fill_once after {name}"] = {"saved_s": fill_once_run(pictures, divided, orders)}
    nbytes, cost_s = pictures.nbytes.mean(axis=0).tolist(), pictures.cost_s.mean(axis=0).tolist()
    means = Means(cell.items, nbytes, cost_s)
    try:
        rows[HYCACHE] = _divided_run(pictures, hycache(means, budget), orders)
    except Absent as why:
        rows[HYCACHE] = {"absent": str(why)}
    try:
        model = seneca_model(checkout)
        runs = [
            {**_divided_run(pictures, seneca(model, means, budget, rate), orders), "gpu_per_s": rate}
            for rate in GPU_PER_S
        ]
        rows[SENECA] = max(runs, key=lambda run: sum(run["saved_s"]))
    except Absent as why:
        rows[SENECA] = {"absent": str(why)}
    return {"bound_s": bound_s(pictures, budget), "total_s": float(pictures.cost_s.sum()), "rows": rows}


def _divided_run(pictures: Pictures, divided: Sequence[float], orders: Orders) -> dict[str, Any]:
    return {"saved_s": fill_once_run(pictures, divided, orders), "bytes": list(divided)}


def fill_once_run(pictures: Pictures, divided: Sequence[float], orders: Orders) -> list[float]:
    """Return what each epoch from the second on saves with a `fill_once` per form, each with its part of the budget.

    divided: the bytes for what is kept after each stage. In the first epoch, each item is offered to the last form
    first, and to the one before if that is full. An item stands for its bytes.
    """
    saved_s, ran = pictures.saved_s, [0.0]
    caches: dict[int, Any] = {}
    for stage, nbytes in enumerate(divided):
        if nbytes >= 1:
            caches[stage] = _form(stage, int(nbytes), pictures, ran)
    home: dict[int, int] = {}
    for item in orders[0].tolist():
        _offer(item, caches, home)
    saved = []
    for order in orders[1:]:
        ran[0] = 0.0
        for item in order.tolist():
            if item in home:
                caches[home[item]](item)
        saved.append(sum(float(saved_s[item, stage]) for item, stage in home.items()) - ran[0])
    return saved


def _form(stage: int, nbytes: int, pictures: Pictures, ran: list[float]) -> Any:
    sizes, saved_s = pictures.nbytes[:, stage].tolist(), pictures.saved_s[:, stage].tolist()

    @bytecache.fill_once(maxbytes=nbytes, sizeof=sizes.__getitem__)
    def run(item: int) -> int:
        ran[0] += saved_s[item]
        return item

    return run


def _offer(item: int, caches: dict[int, Any], home: dict[int, int]) -> None:
    for stage in sorted(caches, reverse=True):
        before = caches[stage].cache_info().currsize
        caches[stage](item)
        if caches[stage].cache_info().currsize > before:
            home[item] = stage
            return
