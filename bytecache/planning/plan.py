"""What a staged cache keeps, what that saves, and what any other choice would."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ..system.byte_sizes import parse_size
from ..system.text import format_bytes, format_seconds, format_table
from .workload import Workload


@dataclass(frozen=True)
class StagePlan:
    """One stage of a plan.

    cpu_s, wait_s: the mean seconds of CPU time and of waiting of one run. nbytes: the mean bytes of what it returns.
    items, kept_bytes: how many items are kept after it, and their bytes.
    """

    name: str
    cpu_s: float
    wait_s: float
    nbytes: float
    items: int
    kept_bytes: int


@dataclass(frozen=True)
class Plan:
    """What is kept after each stage for a budget, and the seconds of an epoch.

    items: of the data set. maxbytes: the budget. stages: what each costs, and what is kept after it. price: what a byte
    must save to be spent, in seconds per byte; 0.0 if everything worth keeping fits. limit: what an epoch waits for:
    "cpu", "waiting", or "both", where they alternate or end together. epoch_s: the predicted seconds of an epoch as
    things are kept now. choices: the same for each choice that needs no plan: nothing, and what comes first after each
    stage. bound_s: no cache of this budget has a shorter epoch. share: what is saved now, of what the bound saves.
    """

    items: int
    maxbytes: int
    stages: tuple[StagePlan, ...]
    price: float
    limit: str
    epoch_s: float
    choices: dict[str, float]
    bound_s: float
    share: float
    workload: Workload = field(repr=False, compare=False)

    def curve(self, budgets: Iterable[int | str]) -> dict[str, list[float]]:
        """Return the seconds of an epoch at each budget: "staged", which is the bound, and each of `choices`."""
        sizes = [parse_size(budget) for budget in budgets]
        lines: dict[str, list[float]] = {name: [] for name in ("staged", *self.choices)}
        for size in sizes:
            lines["staged"].append(self.workload.best(size).bound_s)
            for name, seconds in plain_choices(self.workload, [stage.name for stage in self.stages], size).items():
                lines[name].append(seconds)
        return lines

    def advice(self) -> str:
        """Return in a sentence what is kept, what that is worth, and when more memory would be of no use."""
        kept = [f"{stage.items / self.items:.0%} after {stage.name}" for stage in self.stages if stage.items]
        nothing_s = self.choices[_NOTHING]
        what = f"keep {' and '.join(kept)}" if kept else "keep nothing"
        text = f"{what}: {format_seconds(self.epoch_s)} per epoch instead of {format_seconds(nothing_s)}"
        for k, stage in enumerate(self.stages):
            whole = self.workload.bytes_after(k)
            if whole > self.maxbytes:
                return f"{text}; with {format_bytes(round(whole))} all items fit after {stage.name}"
        return text

    def __str__(self) -> str:
        rows = []
        for stage in self.stages:
            times = [format_seconds(stage.cpu_s), format_seconds(stage.wait_s)]
            kept = [f"{stage.items:,}", format_bytes(stage.kept_bytes)]
            rows.append([stage.name, *times, format_bytes(round(stage.nbytes)), *kept])
        choices = [["as now", format_seconds(self.epoch_s)]]
        choices += [[name, format_seconds(seconds)] for name, seconds in self.choices.items()]
        choices.append(["the best for this budget", format_seconds(self.bound_s)])
        limits = {"cpu": "computing", "waiting": "waiting for reads", "both": "computing and waiting"}
        return "\n".join(
            [
                f"{self.items:,} items in {format_bytes(self.maxbytes)}; an epoch waits for {limits[self.limit]}",
                "",
                *format_table(("stage", "CPU", "waiting", "bytes per item", "items kept", "bytes kept"), rows),
                "",
                *format_table(("what is kept", "an epoch takes"), choices),
                "",
                f"a byte must save {self.price * 1e9:.3g} ns; {self.share:.1%} of what can be saved is saved",
                self.advice(),
            ]
        )


_NOTHING = "nothing"


def plain_choices(workload: Workload, names: Sequence[str], budget: float) -> dict[str, float]:
    """Return the seconds of an epoch if nothing is kept, and if what comes first is kept after each of the stages."""
    choices = {_NOTHING: workload.epoch_s()}
    for stage, name in enumerate(names):
        choices[f"what comes first, after {name}"] = workload.fill_once_s(stage, budget)
    return choices


def make_plan(
    workload: Workload, names: Sequence[str], maxbytes: int, kept: Sequence[tuple[int, int]] | None = None
) -> Plan:
    """Return the plan for a workload. kept: items and bytes that are kept after each stage; None: as is best."""
    best = workload.best(maxbytes)
    if kept is None:
        at = [best.stage == k for k in range(len(names))]
        kept = [
            (round(mask.sum() * workload.scale), round(workload.sizes[mask, k].sum() * workload.scale))
            for k, mask in enumerate(at)
        ]
    epoch_s = workload.kept_s([items for items, _ in kept], best.stage)
    means = [table.mean(axis=0).tolist() for table in (workload.cpu, workload.wait, workload.sizes)]
    stages = tuple(StagePlan(*row, *there) for *row, there in zip(names, *means, kept, strict=True))
    nothing_s = workload.epoch_s()
    can_save = nothing_s - best.bound_s
    share = (nothing_s - epoch_s) / can_save if can_save > 0 else 1.0
    choices = plain_choices(workload, names, maxbytes)
    return Plan(
        workload.items, maxbytes, stages, best.prices.price, best.limit, epoch_s, choices, best.bound_s, share, workload
    )
