"""What a staged cache keeps, what that saves, and what any other choice would."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..system.byte_sizes import parse_size
from ..system.text import format_bytes, format_seconds, format_share, format_table
from .workload import Best, Concurrency, Workload

_NOTHING = "nothing"
_WORTH_MORE_MEMORY = 0.98  # of an epoch: what more memory saves must be more than noise
_NOISE = 1e-9  # of an epoch: rounding


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

    items: of the data set. maxbytes: the budget; None if it is not known, and then all fits. stages: what each costs,
    and what is kept after it. price: the seconds of an epoch that another byte of budget would save: an item goes on to
    a stage if that saves as much per byte. limit: what an epoch of the best packing waits for: "cpu", "waiting", or
    "both", if they end together or alternate. epoch_s: the predicted seconds of an epoch with what is kept. choices:
    the same for each choice that needs no plan: "nothing", and ``fill_once`` after each stage. bound_s: no cache of
    this budget has a shorter epoch. share: what is saved, of what the bound saves, 0 to 1. concurrency: how much is
    done at a time.
    """

    items: int
    maxbytes: int | None
    stages: tuple[StagePlan, ...]
    price: float
    limit: str
    epoch_s: float
    choices: dict[str, float]
    bound_s: float
    share: float
    concurrency: Concurrency
    workload: Workload = field(repr=False, compare=False)

    def curve(self, budgets: Iterable[int | str]) -> dict[str, list[float]]:
        """Return the seconds of an epoch at each budget: "staged", which is the bound, and each of `choices`.

        budgets: as `maxbytes` of the decorators, or 0. Raises ValueError or TypeError for another.
        """
        lines: dict[str, list[float]] = {name: [] for name in ("staged", *self.choices)}
        for size in [0 if budget == 0 else parse_size(budget, "budgets") for budget in budgets]:
            lines["staged"].append(_bound_s(self.workload.best(size)))
            for name, seconds in plain_choices(self.workload, self._names, size).items():
                lines[name].append(seconds)
        return lines

    def advice(self, items: str = "items", forms: Sequence[str] = ()) -> str:
        """Return in a sentence what is kept, what that saves, and what more memory would save.

        items, forms: what to call the items, and what is kept after each stage, such as "as JPEG".
        """
        forms = forms or [f"after {name}" for name in self._names]
        return f"{self._kept(items, forms)}{self._with_more_memory(forms)}"

    def to_dict(self) -> dict[str, Any]:
        """Return all fields but the workload, as JSON can have them."""
        fields = {name: value for name, value in vars(self).items() if name != "workload"}
        return {
            **fields,
            "stages": [asdict(stage) for stage in self.stages],
            "choices": dict(self.choices),
            "concurrency": self.concurrency._asdict(),
        }

    def __str__(self) -> str:
        return "\n".join(self.report())

    def report(self, items: str = "items", forms: Sequence[str] = ()) -> list[str]:
        """Return the plan in lines, with tables, and the advice at the end; the arguments are those of `advice`."""
        budget = "memory without a limit" if self.maxbytes is None else format_bytes(self.maxbytes)
        return [
            f"{self.items:,} {items} in {budget}; {_describe_limit(self.limit, self.concurrency)}",
            "",
            *format_table(_STAGE_COLUMNS, self._stage_rows(), text_columns=_STAGE_COLUMNS[:1]),
            "",
            *format_table(("what is kept", "an epoch takes"), self._choice_rows()),
            "",
            f"staged saves {format_share(self.share)} of what this budget can save; {self._describe_price()}",
            self.advice(items, forms),
        ]

    @property
    def _names(self) -> list[str]:
        return [stage.name for stage in self.stages]

    def _stage_rows(self) -> list[list[str]]:
        rows = []
        for stage in self.stages:
            costs = [format_seconds(stage.cpu_s), format_seconds(stage.wait_s), format_bytes(round(stage.nbytes))]
            kept = [f"{stage.items:,}", format_share(stage.items / self.items), format_bytes(stage.kept_bytes)]
            rows.append([stage.name, *costs, *kept])
        return rows

    def _choice_rows(self) -> list[list[str]]:
        epochs = {**self.choices, "staged": self.epoch_s, "bound": self.bound_s}
        return [[name, format_seconds(seconds)] for name, seconds in epochs.items()]

    def _describe_price(self) -> str:
        if not self.price:
            return "more memory saves nothing"
        return f"another MiB saves {format_seconds(self.price * 2**20)} per epoch"

    def _kept(self, items: str, forms: Sequence[str]) -> str:
        nothing_s = self.choices[_NOTHING]
        parts = []
        for stage, form in zip(self.stages, forms, strict=True):
            if stage.items >= self.items:
                parts.append(f"all {items} {form}")
            elif stage.items:
                of_all = "" if parts else f" of the {items}"
                parts.append(f"{format_share(stage.items / self.items)}{of_all} {form}")
        if not parts:
            return f"keep nothing: {format_seconds(nothing_s)} per epoch"
        saved = f"{format_seconds(self.epoch_s)} per epoch instead of {format_seconds(nothing_s)}"
        return f"keep {' and '.join(parts)}: {saved}"

    def _with_more_memory(self, forms: Sequence[str]) -> str:
        """Return the next budget for which everything fits in a form that is of use, and an epoch with it."""
        for nbytes, k in sorted((self.workload.bytes_after(k), k) for k in range(len(forms))):
            if self.maxbytes is not None and nbytes > self.maxbytes:
                best = self.workload.best(nbytes)
                if (best.stage == k).any() and best.bound_s < _WORTH_MORE_MEMORY * self.epoch_s:
                    epoch = format_seconds(_bound_s(best))
                    return f"; with {format_bytes(nbytes)}, where everything fits {forms[k]}, {epoch}"
        return ""


_STAGE_COLUMNS = ("stage", "CPU", "waiting", "bytes each", "kept after it", "of all", "bytes kept")


def _describe_limit(limit: str, concurrency: Concurrency) -> str:
    processors, reads, overlapped, _ = concurrency
    if not overlapped:
        at_a_time = (
            ""
            if _count(processors) == _count(reads) == "1"
            else f" ({_count(processors)} and {_count(reads)} at a time)"
        )
        return f"computing and waiting alternate{at_a_time}"
    working = f"{_count(processors)} processor{'s' * (processors != 1)}"
    return f"{_count(reads)} read{'s' * (reads != 1)} and {working} at work together, and {_LIMITS[limit]}"


_LIMITS = {
    "cpu": "computing limits the epoch",
    "waiting": "waiting for reads limits the epoch",
    "both": "both end at the same time",
}


def _count(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")


def plain_choices(workload: Workload, names: Sequence[str], budget: float) -> dict[str, float]:
    """Return the seconds of an epoch if nothing is kept, and with fill_once after each of the stages."""
    choices = {_NOTHING: workload.epoch_s()}
    for stage, name in enumerate(names):
        choices[f"fill_once after {name}"] = workload.fill_once_s(stage, budget)
    return choices


def _bound_s(best: Best) -> float:
    return max(0.0, best.bound_s)  # of nothing, rounding may leave less


def make_plan(
    workload: Workload,
    names: Sequence[str],
    maxbytes: int | None,
    kept: Sequence[tuple[int, int]] | None = None,
    saved: tuple[float, float] | None = None,
) -> Plan:
    """Return the plan for a workload.

    maxbytes: None for a budget that is not known. kept: items and bytes that are kept after each stage; None: as is
    best. saved: the seconds of computing and of reading that this saves; None: as it is estimated from `kept`.
    """
    budget = float("inf") if maxbytes is None else maxbytes
    best = workload.best(budget)
    bound_s = _bound_s(best)
    if kept is None:  # in the sample one item stands for many, and so does the step that does not fit whole
        epoch_s = bound_s + (workload.epoch_s(best.stage) - bound_s) / workload.scale
        at = [best.stage == k for k in range(len(names))]
        kept = [
            (round(mask.sum() * workload.scale), round(workload.sizes[mask, k].sum() * workload.scale))
            for k, mask in enumerate(at)
        ]
    else:
        epoch_s = workload.kept_s(kept, best.stage) if saved is None else workload.saved_s(*saved)
    # No epoch is shorter than the bound: that would be an error of the estimate, or of the sample.
    epoch_s = max(epoch_s, bound_s)
    means = [table.mean(axis=0).tolist() for table in (workload.cpu, workload.wait, workload.sizes)]
    nothing_s = workload.epoch_s()
    can_save = nothing_s - bound_s
    return Plan(
        items=workload.items,
        maxbytes=maxbytes,
        stages=tuple(StagePlan(*row, *there) for *row, there in zip(names, *means, kept, strict=True)),
        price=best.price,
        limit=best.limit,
        epoch_s=epoch_s,
        choices=plain_choices(workload, names, budget),
        bound_s=bound_s,
        share=(nothing_s - epoch_s) / can_save if can_save > _NOISE * nothing_s else 1.0,
        concurrency=workload.concurrency,
        workload=workload,
    )
