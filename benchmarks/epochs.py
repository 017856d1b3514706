"""How long does an epoch take, of loading alone, with each loader that people use, at the same memory?

    python -m benchmarks.epochs [--mb N] [--epochs N] [--all] [--cases ...] [--json FILE]

JPEG files of 500 x 375, cropped from photographs, are read, decoded, resized to 224 x 224 and put into batches of 32,
in three situations. Each loader runs in a process of its own, under a memory limit that counts what it takes after its
libraries are imported; a loader that is not installed is named as absent. Every epoch is checked: each file once, in a
new order, and the picture that is in it.
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
from benchmarks.harness.plot import plot_ranking
from benchmarks.harness.report import Report, Table, main
from benchmarks.loaders import LOADERS
from benchmarks.runs.epoch_case import CASES, limit_bytes, run_loader, storage
from benchmarks.workloads.data_set import Data, make_data

PACKAGES = (
    "torch", "tensorflow-cpu", "keras", "simplejpeg", "pillow", "monai", "stocaching", "mosaicml-streaming", "litdata",
    "webdataset", "datasets", "fsspec", "aiohttp",
)  # fmt: skip
OURS = "bytecache"
SHORT = {
    "warm": "files on disk, memory for all",
    "half": "files on disk, memory for half",
    "http": "files behind HTTP, memory for half",
}
OTHER_PICTURES = "shrunk"  # in the name of our loader that trains on pictures encoded anew


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to run, on how much."""
    parser.add_argument("--mb", type=int, default=500, metavar="N", help="of files, in MB (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=2, metavar="N", help="two or more (default: %(default)s)")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), help="(default: all)")
    parser.add_argument("--all", action="store_true", help="also loaders that differ little from others in a case")
    parser.add_argument("--loaders", nargs="+", metavar="TEXT", help="those with one of these in their names")
    parser.add_argument(
        "--data", type=Path, default=Path("build/benchmarks"), metavar="DIR", help="(default: %(default)s)"
    )


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Runs every loader in every case. Raises ValueError for fewer epochs than two."""
    if options.epochs < 2:
        raise ValueError(
            f"--epochs must be two or more, one that fills caches and one that uses them, got {options.epochs}"
        )
    loaders = [name for name in LOADERS if any(text in name for text in options.loaders or [""])]
    absent = {name: LOADERS[name].absent() for name in loaders}
    absent = {name: f"not installed: {', '.join(lacks)}" for name, lacks in absent.items() if lacks}
    loaders = [name for name in loaders if name not in absent]
    data, converted, failed = make_data(options.data, options.mb, loaders)
    absent |= failed
    loaders = [name for name in loaders if name not in absent]
    report: dict[str, Any] = {
        "files": data.count, "file_bytes": data.nbytes, "converted": converted, "absent": absent, "cases": {},
        "no_limit": cgroup.why_not() or None, "limits": {case: limit_bytes(case, data) for case in CASES},
    }  # fmt: skip
    for case in options.cases:
        if case == "half" and report["no_limit"]:
            continue
        with storage(case, data) as root:
            asked = [name for name in loaders if case in (LOADERS[name].cases if options.all else LOADERS[name].few)]
            report["cases"][case] = [progress(case, name, data, root, options.epochs) for name in asked]
    return report


def progress(case: str, name: str, data: Data, root: str, epochs: int) -> dict[str, Any]:
    """One run, and a line about it."""
    start = perf_counter()
    seen = run_loader(name, case, data, root, epochs)
    speeds = " ".join(f"{data.count / epoch['s']:.0f}" for epoch in seen.get("epochs", []))
    print(f"{case}  {name}: {seen.get('failed') or speeds + ' images/s'}  ({perf_counter() - start:.0f} s)", flush=True)
    return seen


class Row:
    """One loader in one case, as people read it."""

    def __init__(self, seen: dict[str, Any], report: Report) -> None:
        self.name, self.failed, self._seen, self._report = seen["loader"], seen.get("failed"), seen, report
        self.ours = OURS in self.name
        self.speeds = [report["files"] / epoch["s"] for epoch in seen.get("epochs", [])]

    @property
    def steady(self) -> float:
        """Images per second, the median of the epochs after the first."""
        return 0.0 if self.failed else median(self.speeds[1:])

    def cells(self) -> tuple[str, ...]:
        """For a table."""
        if self.failed:
            return self.name, self.failed, "", "", ""
        read = median(epoch["storage_bytes"] for epoch in self._seen["epochs"][1:]) / self._report["file_bytes"]
        added = self._seen["peak_added_bytes"]
        memory = f"{self._seen['libraries_bytes'] / 1e6:,.0f}" + (f" + {added / 1e6:,.0f}" if added else "")
        share = "-" if math.isnan(read) else f"{read:.2f}"
        return self.name, f"{self.speeds[0]:,.0f}", f"{self.steady:,.0f}", share, memory


def rows(report: Report, case: str) -> list[Row]:
    """The loaders, the fastest first."""
    return sorted((Row(seen, report) for seen in report["cases"].get(case, [])), key=lambda row: -row.steady)


def later(report: Report) -> str:
    """What the epochs after the first are called."""
    epochs = report["options"]["epochs"]
    return "epoch 2" if epochs == 2 else f"median of epochs 2 to {epochs}"


def tables(report: Report) -> Iterator[Table]:
    """A table per case, what conversion took, and how ours stand to the others."""
    columns = (
        "loader",
        "images/s, epoch 1",
        later(report),
        "then read from storage / data",
        "memory, MB: libraries + added",
    )
    megabytes = report["file_bytes"] / 1e6
    for case in report["options"]["cases"]:
        limit = f"limit {report['limits'].get(case, 0) / 1e6:,.0f} MB" if not report["no_limit"] else report["no_limit"]
        title = f"{CASES[case]} ({report['files']:,} files, {megabytes:,.0f} MB; {limit})"
        found = [row.cells() for row in rows(report, case)]
        found += [(name, why, "", "", "") for name, why in report["absent"].items()]
        yield Table(case, title, columns, found)
    converted = [
        (name, f"{cost['s']:.1f}", f"{cost['bytes'] / 1e6:,.0f}") for name, cost in report["converted"].items()
    ]
    yield Table(
        "converted",
        "Before they start, these need the files in a format of their own",
        ("loader", "s", "MB"),
        converted,
    )
    columns = (
        "storage, memory", "fastest of bytecache", "images/s", "with the pictures as they are", "images/s",
        "fastest other", "images/s", "bytecache / other", "as they are / other",
    )  # fmt: skip
    title = f"The fastest of each kind, {later(report)}"
    yield Table("best", title, columns, [row for case in report["cases"] for row in best(report, case)])


def best(report: Report, case: str) -> Iterator[tuple[str, ...]]:
    """A row of the fastest of ours, with shrunk pictures and without, and of the others, where there are all."""
    found = [row for row in rows(report, case) if not row.failed]
    ours = next((row for row in found if row.ours), None)
    same = next((row for row in found if row.ours and OTHER_PICTURES not in row.name), None)
    other = next((row for row in found if not row.ours), None)
    if ours is None or same is None or other is None:
        return
    named = [
        text for row in (ours, same, other) for text in (row.name.removeprefix("bytecache "), f"{row.steady:,.0f}")
    ]
    yield SHORT[case], *named, f"{ours.steady / other.steady:.2f}", f"{same.steady / other.steady:.2f}"


def plot(report: Report, figure: Any) -> None:
    """Images per second in the later epochs, a part for each case."""
    speeds = {case: {row.name: row.steady for row in rows(report, case) if not row.failed} for case in report["cases"]}
    heights = [2 + len(found) for found in speeds.values()]
    figure.set_size_inches(11, 0.34 * sum(heights))
    parts = figure.subplots(len(speeds), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (case, found) in zip(parts, speeds.items(), strict=True):
        plot_ranking(axes, found, f"images per second, {later(report)} (right is better)", "{:,.0f}".format)
        axes.set_title(SHORT[case])
    figure.suptitle("How fast does each loader go through an epoch, at the same memory?")


if __name__ == "__main__":
    main(__doc__, add_arguments, measure, tables, PACKAGES)
