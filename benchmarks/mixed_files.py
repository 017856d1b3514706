"""How long is an epoch over files of mixed sizes, by what is kept, and does the plan predict it?

    python -m benchmarks.mixed_files [--files N] [--rounds N] [--latency-ms MS] [--data DIR] [--json FILE]

JPEG files from thumbnails to 12 megapixels, behind nginx on loopback, are read, decoded at the scale that is large
enough, and resized to 224 x 224, in batches of 32, in a new shuffle every epoch. Each way has the same budget.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.harness.measure import OtherLoad, interleave, speed, summary
from benchmarks.harness.plot import CASE_MARKS, GRID, OUR_COLOR
from benchmarks.harness.report import Report, Table, main, number, spread
from benchmarks.runs.mixed_run import STAGED, Ways, epochs
from benchmarks.workloads import http_server
from benchmarks.workloads.mixed_files import make_mixed_files

BUDGETS = (0.05, 0.1, 0.25, 0.5)  # by the bytes of the files
FILLING = 2  # epochs that do not count
PLAN = "plan"  # the name of what is no way, but called once in each round
PACKAGES = ("numpy", "simplejpeg", "cykooz-resizer", "pycurl")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the numbers of files and rounds, the latency, and the folder of the files."""
    parser.add_argument("--files", type=int, default=600, metavar="N", help="about (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="epochs that count (default: %(default)s)")
    parser.add_argument("--latency-ms", type=float, default=5, metavar="MS", help="(default: %(default)s)")
    parser.add_argument(
        "--data", type=Path, default=Path("build/benchmarks"), metavar="DIR", help="(default: %(default)s)"
    )


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return the seconds per epoch of each way at each budget, and the plan's; or why there are none."""
    if why := http_server.why_not(options.latency_ms):
        return {"no_server": why, "files": 0, "bytes": 0, "budgets": {}, "others_busy_cores": 0.0}
    others, folder = OtherLoad(), options.data / "mixed"
    paths = make_mixed_files(folder, options.files)
    nbytes = sum((folder / path).stat().st_size for path in paths)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    budgets = {}
    with http_server.file_server(folder, options.latency_ms) as url, ThreadPoolExecutor(cores) as pool:
        for share in BUDGETS:
            ways = Ways(url, len(paths), int(share * nbytes), pool)
            runs = {name: epochs(load, paths, 0) for name, load in ways.loads.items()}
            runs[STAGED]()  # a first epoch, or there is no plan
            plans: list[Any] = []
            runs[PLAN] = partial(_add_plan, plans, ways.staged)
            seconds = interleave(runs, options.rounds, FILLING)
            del seconds[PLAN]
            budgets[str(share)] = _result(seconds, plans[FILLING:])
    measured = {"no_server": None, "files": len(paths), "bytes": nbytes, "budgets": budgets}
    return measured | {"others_busy_cores": others.busy_cores()}


def _add_plan(plans: list[Any], staged: Any) -> None:
    plans.append(staged.plan())


def _result(seconds: dict[str, list[float]], plans: list[Any]) -> dict[str, Any]:
    plan = sorted(plans, key=lambda plan: plan.epoch_s)[len(plans) // 2]
    return {
        "epoch_s": {name: summary(times) for name, times in seconds.items()},
        "faster": {name: speed(seconds, STAGED, name) for name in seconds},
        "kept": {stage.name: stage.items for stage in plan.stages},
        "plan": {"bound_s": plan.bound_s, "choices": plan.choices, "limit": plan.limit},
        "predicted_s": summary([plan.epoch_s for plan in plans]),
    }


def tables(report: Report) -> Iterator[Table]:
    """Make the tables of epochs, and of what the plan says of them."""
    if report["no_server"]:
        yield Table("epochs", "Epochs over files of mixed sizes", ("",), [(f"not run: {report['no_server']}",)])
        return
    budgets = report["budgets"]
    names = list(next(iter(budgets.values()))["epoch_s"])
    columns = [f"{float(share):.0%} of the bytes" for share in budgets]
    rows = [(name, *(spread(budget["epoch_s"][name]) for budget in budgets.values())) for name in names]
    best = [
        max((name for name in names if name != STAGED), key=lambda name: -budget["epoch_s"][name][0])
        for budget in budgets.values()
    ]
    faster = [f"{spread(b['faster'][name])}, {name}" for name, b in zip(best, budgets.values(), strict=True)]
    title = (
        f"Seconds per epoch, {report['files']} JPEG files of {report['bytes'] / 1e6:,.0f} MB, "
        f"{report['options']['latency_ms']:g} ms until a request is answered, epochs from the third on"
    )
    rows.append(("`staged` is faster than the next by", *faster))
    yield Table("epochs", title, ("what is kept", *columns), rows)
    yield _planned(report, columns)


def _planned(report: Report, columns: list[str]) -> Table:
    budgets = list(report["budgets"].values())
    pairs = [(budget["predicted_s"], budget["epoch_s"][STAGED]) for budget in budgets]
    rows = [
        ("predicted s", *(spread(predicted) for predicted, _ in pairs)),
        ("measured s", *(spread(measured) for _, measured in pairs)),
        ("predicted / measured", *(f"{predicted[0] / measured[0]:.2f}" for predicted, measured in pairs)),
        ("the bound, predicted s", *(number(budget["plan"]["bound_s"]) for budget in budgets)),
        *((f"kept after {name}", *(f"{budget['kept'][name]}" for budget in budgets)) for name in budgets[0]["kept"]),
    ]
    return Table("plan", "What `plan()` of `staged` says of these epochs", ("", *columns), rows)


def plot(report: Report, figure: Any) -> None:
    """Draw the seconds per epoch over the budget, a line per way."""
    axes, budgets = figure.subplots(), report["budgets"]
    figure.suptitle("How long is an epoch over files of mixed sizes?")
    if not budgets:
        return
    shares = [100 * float(share) for share in budgets]
    marks = iter(CASE_MARKS.items())
    for name in reversed(next(iter(budgets.values()))["epoch_s"]):
        mark, color = (".", OUR_COLOR) if name == STAGED else next(marks)
        width = 2.5 if name == STAGED else 1.2
        seconds = [budget["epoch_s"][name][0] for budget in budgets.values()]
        axes.plot(shares, seconds, marker=mark, color=color, label=name, lw=width)
    axes.plot(shares, [budget["predicted_s"][0] for budget in budgets.values()], "--", color=OUR_COLOR, label="plan()")
    axes.set(
        xscale="log", ylim=(0, None), xlabel="budget, % of the files' bytes", ylabel="s per epoch (lower is better)"
    )
    axes.set_xticks(shares, [f"{share:g}" for share in shares])
    axes.minorticks_off()
    axes.grid(**GRID)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)


if __name__ == "__main__":
    main(__doc__ or "", add_arguments, measure, tables, PACKAGES)
