"""What the hit rates' report says of a cache on a trace, and rows of that: the best on top, equal ones in one."""

from __future__ import annotations

from typing import Any, NamedTuple

from benchmarks.harness.report import Report

BOUND = "most any cache gets"
NO_CACHE = "no cache"
UNLIMITED = "without a limit"  # the kind of a run
Row = tuple[str, ...]


class Cell(NamedTuple):
    """Where in the report a figure is. held: as a share. epoch: one of the steady ones; None: all of them."""

    trace: str
    held: str
    figure: str = "hit_rate"
    epoch: int | None = None

    def of(self, report: Report, name: str) -> float | None:
        """The figure of a contender, or of the bound; None where there is none."""
        trace = report["traces"][self.trace]
        if name == BOUND:
            bounds = trace["bounds"][self.held]
            return None if bounds is None else bounds[self.figure]
        run = trace["runs"][self.held].get(name)
        if run is None or self.epoch is None:
            return None if run is None else run[self.figure]
        return run["hits"][self.epoch] / run["epoch_reads"]

    def text(self, report: Report, name: str) -> str:
        """The same, a star where sizes differ and the limit is in entries."""
        figure, trace = self.of(report, name), report["traces"][self.trace]
        if figure is None:
            return "–"
        starred = not trace["equal"] and trace["runs"][self.held].get(name, {}).get("counts") == "entries"
        return f"{figure:.3f}{' *' if starred else ''}"


def grid(report: Report, cells: list[Cell]) -> list[Row]:
    """A row per contender, the best on average on top; those with the same figures share one."""
    names = [BOUND, *dict.fromkeys(name for cell in cells for name in report["traces"][cell.trace]["runs"][cell.held])]
    merged: dict[tuple[Any, ...], list[str]] = {}
    for name in sorted(names, key=lambda name: (rank(report, name), -_mean(report, name, cells))):
        merged.setdefault((rank(report, name), *(cell.text(report, name) for cell in cells)), []).append(name)
    return [(", ".join(same), *figures) for (_, *figures), same in merged.items()]


def rank(report: Report, name: str) -> int:
    """0 for the bound, 1 for Belady, 2 for the caches, 3 for none, 4 for what has no limit."""
    if name in (BOUND, NO_CACHE):
        return 0 if name == BOUND else 3
    found = (runs.get(name, {}) for trace in report["traces"].values() for runs in trace["runs"].values())
    if any(run.get("kind") == UNLIMITED for run in found):
        return 4
    return 1 if name.startswith("Belady") else 2


def percent(share: str) -> str:
    """`50 %` for 0.5."""
    return f"{float(share):.0%}".replace("%", " %")


def _mean(report: Report, name: str, cells: list[Cell]) -> float:
    figures = [figure for cell in cells for figure in [cell.of(report, name)] if figure is not None]
    return sum(figures) / len(figures)
