"""How long does an epoch of loading take, with each loader that people use, at the same memory?

    python -m benchmarks.epochs [--mb N] [--epochs N] [--rounds N] [--all] [--cases ...] [--json FILE]

JPEG files of 500 x 375, cropped from photographs, are read, decoded, resized to 224 x 224 and batched by 32, in three
cases. Each loader runs in a process of its own, under a memory limit that counts what it uses after its libraries are
imported; if a loader is not installed, the tables say so. Every epoch is checked: each file once, in a new order, and
an image against its file. Loaders that differ by little need several rounds, in each of which they take turns.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from benchmarks.harness import cgroup
from benchmarks.harness.measure import summary, turns
from benchmarks.harness.plot import plot_ranking
from benchmarks.harness.report import Report, Table, main, spread
from benchmarks.loaders import CASES, LOADERS
from benchmarks.runs.epoch_case import limit_bytes, run_loader, storage, why_not
from benchmarks.workloads.data_set import Data, make_data

PACKAGES = (
    "torch", "tensorflow-cpu", "keras", "simplejpeg", "pillow", "monai", "stocaching", "mosaicml-streaming", "litdata",
    "webdataset", "datasets", "spdl", "turboloader", "cykooz-resizer", "pycurl", "fsspec", "aiohttp", "obstore",
)  # fmt: skip
OURS = "bytecache"
SHORT = {
    "warm": "files on disk, memory for all",
    "half": "files on disk, memory for half",
    "http": "files behind HTTP, memory for half",
    "http-5": "the same, 5 ms until each answer",
    "http-20": "the same, 20 ms until each answer",
}
COLUMNS = (
    "loader", "images/s, epoch 1", "{later}", "ms of the processor per image", "read from storage / data",
    "memory in MB: libraries + added",
)  # fmt: skip
PARTS = ", our "  # in the names of those that were given our resizer or reader
REENCODED = "shrunk"  # in the name of our loader that trains on re-encoded images


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the size of the data, the cases and the loaders."""
    parser.add_argument("--mb", type=int, default=500, metavar="N", help="MB of files (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=2, metavar="N", help="two or more (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=1, metavar="N", help="runs of each loader (default: %(default)s)")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), help="(default: all)")
    parser.add_argument("--all", action="store_true", help="also run loaders that differ little from others in a case")
    parser.add_argument("--loaders", nargs="+", metavar="TEXT", help="only those with one of these in their names")
    parser.add_argument(
        "--data", type=Path, default=Path("build/benchmarks"), metavar="DIR", help="(default: %(default)s)"
    )


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run every loader in every case. Raises ValueError if there are fewer than two epochs, or no round."""
    if options.epochs < 2:
        raise ValueError(
            f"--epochs must be two or more, one that fills the caches and one that uses them, got {options.epochs}"
        )
    if options.rounds < 1:
        raise ValueError(f"--rounds must be one or more, got {options.rounds}")
    named = [name for name in LOADERS if any(text in name for text in options.loaders or [""])]
    loaders = [name for name in named if any(LOADERS[name].runs(case, options.all) for case in options.cases)]
    missing = {name: LOADERS[name].absent() for name in loaders}
    absent = {name: f"not installed: {', '.join(packages)}" for name, packages in missing.items() if packages}
    loaders = [name for name in loaders if name not in absent]
    data, converted, failed = make_data(options.data, options.mb, loaders)
    absent |= failed
    loaders = [name for name in loaders if name not in absent]
    report: dict[str, Any] = {
        "files": data.count, "file_bytes": data.nbytes, "converted": converted, "absent": absent, "cases": {},
        "no_limit": cgroup.why_not() or None, "no_case": {case: why for case in CASES if (why := why_not(case))},
        "titles": CASES, "limits": {case: limit_bytes(case, data) for case in CASES},
    }  # fmt: skip
    for case in options.cases:
        if case in report["no_case"]:
            continue
        with storage(case, data) as root:
            names = [name for name in loaders if LOADERS[name].runs(case, options.all)]
            order = [name for number in range(options.rounds) for name in turns(names, number)]
            report["cases"][case] = [run_and_print(case, name, data, root, options.epochs) for name in order]
    return report


def run_and_print(case: str, name: str, data: Data, root: str, epochs: int) -> dict[str, Any]:
    """Run a loader and print a line about it."""
    start = perf_counter()
    run = run_loader(name, case, data, root, epochs)
    speeds = " ".join(f"{data.count / epoch['s']:.0f}" for epoch in run.get("epochs", []))
    print(f"{case}  {name}: {run.get('failed') or speeds + ' images/s'}  ({perf_counter() - start:.0f} s)", flush=True)
    return run


class Row:
    """The runs of one loader in one case, one for each round, as a row of a table."""

    def __init__(self, name: str, runs: list[dict[str, Any]], report: Report) -> None:
        self.name, self._runs, self._report = name, runs, report
        self.ours = OURS in self.name
        self.failed = next((run["failed"] for run in runs if "failed" in run), None)

    @property
    def rounds(self) -> list[float]:
        """Images per second of each round, the median of the epochs after the first."""
        return [self._report["files"] / median(epoch["s"] for epoch in run["epochs"][1:]) for run in self._runs]

    @property
    def steady(self) -> float:
        """Images per second, the median of the rounds."""
        return 0.0 if self.failed else median(self.rounds)

    def with_speed(self) -> str:
        """Return the name and the images per second in the later epochs."""
        return f"{self.name.removeprefix('bytecache ')}: {self.steady:,.0f}"

    def cells(self) -> tuple[str, ...]:
        """Return the cells of the row."""
        if self.failed:
            return self.name, self.failed, *("" for _ in COLUMNS[2:])
        first, later = (
            [epoch for run in self._runs for epoch in run["epochs"][part]] for part in (slice(1), slice(1, None))
        )
        read = median(epoch["storage_bytes"] for epoch in later) / self._report["file_bytes"]
        added = max(run["peak_added_bytes"] or 0 for run in self._runs)
        memory = f"{self._runs[0]['libraries_bytes'] / 1e6:,.0f}" + (f" + {added / 1e6:,.0f}" if added else "")
        fraction = "-" if math.isnan(read) else f"{read:.2f}"
        cpu = median(epoch.get("cpu_s", math.nan) for epoch in later) / self._report["files"]
        work = "-" if math.isnan(cpu) else f"{1000 * cpu:.2f}"
        filling = self._report["files"] / median(epoch["s"] for epoch in first)
        steady = f"{self.steady:,.0f}" if len(self._runs) == 1 else spread(summary(self.rounds), digits=4)
        return self.name, f"{filling:,.0f}", steady, work, fraction, memory


def rows(report: Report, case: str) -> list[Row]:
    """Return the loaders of a case, the fastest first."""
    runs: dict[str, list[dict[str, Any]]] = {}
    for run in report["cases"].get(case, []):
        runs.setdefault(run["loader"], []).append(run)
    return sorted((Row(name, of_it, report) for name, of_it in runs.items()), key=lambda row: -row.steady)


def later(report: Report) -> str:
    """Return a name for the epochs after the first, in all rounds."""
    epochs, rounds = report["options"]["epochs"], report["options"].get("rounds", 1)
    name = "epoch 2" if epochs == 2 else f"median of epochs 2 to {epochs}"
    return name if rounds == 1 else f"{name}, {rounds} rounds"


def tables(report: Report) -> Iterator[Table]:
    """Make a table per case, one of the conversions, and one of ours against the others."""
    columns = tuple(column.format(later=later(report)) for column in COLUMNS)
    megabytes, every = report["file_bytes"] / 1e6, report["options"]["all"]
    for case in report["options"]["cases"]:
        limit = report["no_case"].get(case) or report["no_limit"] or f"limit {report['limits'][case] / 1e6:,.0f} MB"
        title = f"{report['titles'][case]} ({report['files']:,} files, {megabytes:,.0f} MB; {limit})"
        cells = [row.cells() for row in rows(report, case)]
        absent = {name: why for name, why in report["absent"].items() if LOADERS[name].runs(case, every)}
        cells += [(name, why, *("" for _ in COLUMNS[2:])) for name, why in absent.items()]
        yield Table(case, title, columns, cells)
    converted = [
        (name, f"{cost['s']:.1f}", f"{cost['bytes'] / 1e6:,.0f}") for name, cost in report["converted"].items()
    ]
    title = "Conversion of the files, for loaders with a format of their own"
    if converted:
        yield Table("converted", title, ("loader", "s", "MB"), converted)
    columns = (
        "storage, memory", "fastest of bytecache, images/s", "with the original images", "fastest other",
        "fastest other with parts of bytecache", "original images / other", "/ other with parts",
    )  # fmt: skip
    title = f"The fastest of each kind, {later(report)}"
    yield Table("best", title, columns, [best(report, case) for case in report["cases"]])


def best(report: Report, case: str) -> tuple[str, ...]:
    """Return a row: our fastest loaders, with and without re-encoded images, and the fastest others, if all exist.

    The others are those as their documentation sets them up, and those that were given our resizer or reader.
    """
    found = [row for row in rows(report, case) if not row.failed]
    ours = next((row for row in found if row.ours), None)
    original = next((row for row in found if row.ours and REENCODED not in row.name), None)
    other = next((row for row in found if not row.ours and PARTS not in row.name), None)
    helped = next((row for row in found if PARTS in row.name), None)
    cells = ["-" if row is None else row.with_speed() for row in (ours, original, other, helped)]
    ratios = [ratio(original, row) if original and row else "-" for row in (other, helped)]
    return SHORT[case], *cells, *ratios


def ratio(row: Row, other: Row) -> str:
    """Return how many times as fast a loader is, compared within each round."""
    times = [one / another for one, another in zip(row.rounds, other.rounds, strict=True)]
    return f"{times[0]:.2f}" if len(times) == 1 else spread(summary(times))


def plot(report: Report, figure: Any) -> None:
    """Draw images per second in the later epochs, a panel per case."""
    speeds = {case: {row.name: row.steady for row in rows(report, case) if not row.failed} for case in report["cases"]}
    heights = [2 + len(found) for found in speeds.values()]
    figure.set_size_inches(11, 0.34 * sum(heights))
    panels = figure.subplots(len(speeds), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (case, found) in zip(panels, speeds.items(), strict=True):
        plot_ranking(axes, found, f"images per second, {later(report)} (right is better)", "{:,.0f}".format)
        axes.set_title(SHORT[case])
    figure.suptitle("How many images per second does each loader give, at the same memory?")


if __name__ == "__main__":
    main(__doc__, add_arguments, measure, tables, PACKAGES)
