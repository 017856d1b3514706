"""How much of what a budget can save is saved, by each way of choosing what to keep?

    python -m benchmarks.placement [--items N] [--epochs N] [--seneca FOLDER] [--json FILE]

Pictures of log-normal sizes are read and decoded, in another case also resized, by stages of known cost, one picture
at a time, in a new shuffle every epoch. `staged` has to find the costs out: its stages take as long as they should,
asleep. The others are told the means, or nothing, and are run without the sleeps. What is saved is counted: runs by
known costs.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from statistics import fmean, median
from typing import Any

from benchmarks.harness.plot import CASE_MARKS, GRID, OUR_COLOR
from benchmarks.harness.report import Report, Table, main, number
from benchmarks.runs.placement_run import HYCACHE, SENECA, STAGED, Cell, computed_runs, staged_run

READ_MS = (0.1, 2.0, 20.0)
SHARES = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)  # budgets, by the encoded bytes
PIPELINES = {"decoded": "read, decode", "resized": "read, decode, resize"}
SLOWER_MS, SLOWER_FROM, SLOWER_BY, SLOWER_EPOCHS = 2.0, 4, 10.0, 8
AWAKE_MS, OTHER_MS, BUSY = 0.7, 3.0, 0.35  # of a picture: on a processor, and beside its read; how busy they may be
PACKAGES = ("numpy", "scipy")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the size of the data set, the cases, and where Seneca is."""
    parser.add_argument("--items", type=int, default=1_000, metavar="N", help="pictures (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=4, metavar="N", help="two or more (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="(default: %(default)s)")
    parser.add_argument(
        "--read-ms", type=float, nargs="+", default=READ_MS, metavar="MS", help="(default: %(default)s)"
    )
    parser.add_argument(
        "--budgets", type=float, nargs="+", default=SHARES, metavar="X", help="by encoded bytes (default: %(default)s)"
    )
    parser.add_argument(
        "--seneca", metavar="FOLDER", help="a checkout of Seneca's artifact; without it, it is left out"
    )


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run all cells: what is counted without sleeping first, then what sleeps, many at a time."""
    shape = options.items, options.epochs, options.seed
    cells = [
        Cell(*shape, read_ms, resized, share)
        for resized in (False, True)
        for read_ms in options.read_ms
        for share in sorted(options.budgets)
    ]
    slower = [
        Cell(options.items, SLOWER_EPOCHS, options.seed, SLOWER_MS, False, share, SLOWER_FROM, SLOWER_BY)
        for share in sorted(options.budgets)
    ]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    computed = _on_processes(computed_runs, [(cell, options.seneca) for cell in cells], cores)
    ran = {}
    for read_ms in sorted({cell.read_ms * cell.factor for cell in cells + slower}):
        group = [cell for cell in cells + slower if cell.read_ms * cell.factor == read_ms]
        at_a_time = max(1, int(cores * BUSY * (read_ms + OTHER_MS) / AWAKE_MS))
        ran |= dict(zip(group, _on_processes(staged_run, [(cell,) for cell in group], at_a_time), strict=True))
    results = []
    for cell, result in zip(cells, computed, strict=True):
        staged = ran[cell] | {"saved_s": ran[cell]["saved_s"][1:]}
        rows = {STAGED: staged, **result.pop("rows")}
        results.append({"read_ms": cell.read_ms, "resized": cell.resized, "share": cell.share, **result, "rows": rows})
    return {"cells": results, "slower": [{"share": cell.share, **ran[cell]} for cell in slower]}


def _on_processes(run: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], at_a_time: int) -> list[Any]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(at_a_time, len(arguments)), context) as pool:
        return [task.result() for task in [pool.submit(run, *given) for given in arguments]]


def tables(report: Report) -> Iterator[Table]:
    """Make a table of all cells for each pipeline, one of the ratios, and one of storage that becomes slower."""
    for name, stages in PIPELINES.items():
        yield _cells(report, name, stages)
    yield _ratios(report)
    yield _slower(report)


def _cells(report: Report, name: str, stages: str) -> Table:
    cells = [cell for cell in report["cells"] if cell["resized"] == (name == "resized")]
    ways = list(cells[0]["rows"])
    rows = []
    for cell in cells:
        epoch = f"{cell['bound_s']:.2f} of {cell['total_s']:.2f}"
        shares = [_text(_share(cell, way)) for way in ways]
        rows.append((f"{cell['read_ms']:g} ms", f"{cell['share']:g}", epoch, *shares, _text(_best_plain(cell))))
    title = (
        f"{stages}: seconds saved per epoch, epochs 2 to {report['options']['epochs']}, as a share of what no cache of "
        f"the budget exceeds{_why_absent(cells[0])}"
    )
    columns = ("a read", "budget / encoded bytes", "can be saved, s per epoch", *ways, "best `fill_once`")
    return Table(name, title, columns, rows)


def _why_absent(cell: Report) -> str:
    reasons = [f"{way} {run['absent']}" for way, run in cell["rows"].items() if "absent" in run]
    return f" ({'; '.join(reasons)})" if reasons else ""


def _share(cell: Report, way: str) -> float | None:
    """Return what a way saves of what can be saved, in the mean of the epochs; None if it was not run."""
    saved_s = cell["rows"][way].get("saved_s")
    return None if saved_s is None else fmean(saved_s) / cell["bound_s"]


def _best_plain(cell: Report) -> float:
    return max(_share(cell, way) or 0.0 for way in cell["rows"] if way.startswith("fill_once"))


def _text(share: float | None) -> str:
    return "–" if share is None else f"{share:.3f}"


def _ratios(report: Report) -> Table:
    """Compare `staged` in all cells."""
    others: dict[str, Callable[[Report], float | None]] = {
        "what can be saved": lambda cell: 1.0,
        "the best `fill_once` of the cell": _best_plain,
        HYCACHE: lambda cell: _share(cell, HYCACHE),
        SENECA: lambda cell: _share(cell, SENECA),
    }
    rows = []
    for other, share_of in others.items():
        shares = [share_of(cell) for cell in report["cells"]]
        found = [
            (_share(cell, STAGED) or 0.0) / share for cell, share in zip(report["cells"], shares, strict=True) if share
        ]
        if found:
            rows.append((other, *(f"{value:.3f}" for value in (min(found), median(found), max(found)))))
    late = max(cell["rows"][STAGED]["late"] for cell in report["cells"])
    title = (
        f"What `staged` saves, divided by what others save, in all {len(report['cells'])} cells of both tables (stages "
        f"took up to {late:.1%} longer than they should)"
    )
    return Table("ratios", title, ("compared with", "least", "median", "most"), rows)


def _slower(report: Report) -> Table:
    runs = report["slower"]
    rows = []
    for epoch in range(2, SLOWER_EPOCHS + 1):
        read_ms = SLOWER_MS * (SLOWER_BY if epoch >= SLOWER_FROM else 1)
        shares = [_text(run["saved_s"][epoch - 1] / run["bound_s"][epoch - 1]) for run in runs]
        rows.append((f"{epoch}", f"{read_ms:g} ms", *shares))
    title = (
        f"`staged`, read, decode, storage that takes {number(SLOWER_BY)} times as long from epoch {SLOWER_FROM} on: "
        "what is saved, as a share of what can be saved at the time"
    )
    return Table("slower", title, ("epoch", "a read", *(f"budget {run['share']:g}" for run in runs)), rows)


def plot(report: Report, figure: Any) -> None:
    """Draw the share of the bound over the budget: a panel per pipeline and storage, a line per way."""
    figure.set_size_inches(13, 7)
    figure.suptitle("How much of what a budget can save is saved?")
    times = list(dict.fromkeys(cell["read_ms"] for cell in report["cells"]))
    panels = figure.subplots(len(PIPELINES), len(times), sharex=True, sharey=True, squeeze=False)
    for (name, stages), row in zip(PIPELINES.items(), panels, strict=True):
        for read_ms, axes in zip(times, row, strict=True):
            resized = name == "resized"
            _panel(axes, [cell for cell in report["cells"] if (cell["resized"], cell["read_ms"]) == (resized, read_ms)])
            axes.set_title(f"{stages}; {read_ms:g} ms per read", fontsize=10)
    for axes in panels[-1]:
        axes.set_xlabel("budget / encoded bytes")
    figure.supylabel("saved per epoch / what no cache of the budget exceeds (higher is better)")
    handles = {text: line for axes in panels.flat for line, text in zip(*axes.get_legend_handles_labels(), strict=True)}
    names = sorted(handles, key=lambda text: (text != STAGED, text))
    lines = [handles[text] for text in names]
    figure.legend(lines, names, loc="outside lower center", ncols=len(names), frameon=False)


def _panel(axes: Any, cells: Sequence[Report]) -> None:
    ways = [way for way in cells[0]["rows"] if "absent" not in cells[0]["rows"][way]]
    others = [way for way in (f"fill_once after {s}" for s in ("read", "decode", "resize"))] + [HYCACHE, SENECA]
    marks = dict(zip(others, CASE_MARKS.items(), strict=True))
    for way in reversed(ways):
        mark, color = marks.get(way, (".", OUR_COLOR))
        shares = [_share(cell, way) for cell in cells]
        width = 2.5 if way == STAGED else 1.2
        axes.plot([cell["share"] for cell in cells], shares, color=color, marker=mark, label=way, lw=width, ms=5)
    axes.set(xscale="log", ylim=(0, 1.05))
    axes.set_xticks([cell["share"] for cell in cells], [f"{cell['share']:g}" for cell in cells], minor=False)
    axes.tick_params(axis="x", which="minor", bottom=False)
    axes.grid(**GRID)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main(__doc__ or "", add_arguments, measure, tables, PACKAGES)
