"""Hit rates from the report of `hit_rate`, and table rows of them: the best on top, equal ones merged."""

from __future__ import annotations

from typing import Any, NamedTuple

from benchmarks.harness.report import Report

BOUND = "upper bound"
NO_CACHE = "no cache"
UNLIMITED = "without a limit"  # the kind of a run
Row = tuple[str, ...]


class Cell(NamedTuple):
    """Which number of the report a table cell shows.

    fraction: the cache's size, of the data. epoch: the index of an epoch after the first; None: all of these.
    """

    trace: str
    fraction: str
    metric: str = "hit_rate"
    epoch: int | None = None

    def of(self, report: Report, name: str) -> float | None:
        """Return the number for a contender or for the bound; None if there is none."""
        trace = report["traces"][self.trace]
        if name == BOUND:
            bounds = trace["bounds"][self.fraction]
            return None if bounds is None else bounds[self.metric]
        run = trace["runs"][self.fraction].get(name)
        if run is None or self.epoch is None:
            return None if run is None else run[self.metric]
        return run["hits"][self.epoch] / run["epoch_reads"]

    def text(self, report: Report, name: str) -> str:
        """Return the same as text, with a star if sizes differ and the cache's limit is in entries."""
        value, trace = self.of(report, name), report["traces"][self.trace]
        if value is None:
            return "–"
        starred = not trace["equal"] and trace["runs"][self.fraction].get(name, {}).get("counts") == "entries"
        return f"{value:.3f}{' *' if starred else ''}"


def grid(report: Report, cells: list[Cell]) -> list[Row]:
    """Return a row per contender, the best mean on top; contenders with equal cells share a row."""
    runs = (name for cell in cells for name in report["traces"][cell.trace]["runs"][cell.fraction])
    names = [BOUND, *dict.fromkeys(runs)]
    merged: dict[tuple[Any, ...], list[str]] = {}
    for name in sorted(names, key=lambda name: (rank(report, name), -_mean(report, name, cells))):
        merged.setdefault((rank(report, name), *(cell.text(report, name) for cell in cells)), []).append(name)
    return [(", ".join(same), *texts) for (_, *texts), same in merged.items()]


def rank(report: Report, name: str) -> int:
    """Return 0 for the bound, 1 for Belady, 2 for a cache, 3 for no cache, 4 for a cache without a limit."""
    if name in (BOUND, NO_CACHE):
        return 0 if name == BOUND else 3
    found = (runs.get(name, {}) for trace in report["traces"].values() for runs in trace["runs"].values())
    if any(run.get("kind") == UNLIMITED for run in found):
        return 4
    return 1 if name.startswith("Belady") else 2


def percent(fraction: str) -> str:
    """Return `50 %` for 0.5."""
    return f"{float(fraction):.0%}".replace("%", " %")


def _mean(report: Report, name: str, cells: list[Cell]) -> float:
    values = [value for cell in cells for value in [cell.of(report, name)] if value is not None]
    return sum(values) / len(values)
