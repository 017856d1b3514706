"""What does a batch of resized images cost, and is it ready when the training wants it?

    python -m benchmarks.batches [--rounds N] [--seed S] [--json FILE]

Images of 500×375 become 224×224. Resizers are compared on one thread, batches on two; the limit is two bare threads
that do nothing but simplejpeg and cykooz-resizer. A training step is a wait, as for a GPU, as long as a batch takes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.harness.measure import OtherLoad
from benchmarks.harness.report import Report, Table, compared, main, number
from benchmarks.workloads.decode_tasks import compare
from benchmarks.workloads.images import make_jpegs

SOURCES = {"256×256": (256, 256), "500×375": (375, 500), "480×270, of 1080p": (270, 480), "1080p": (1080, 1920)}
PACKAGES = ("numpy", "simplejpeg", "cykooz-resizer", "pillow", "torch", "opencv-python-headless")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the number of rounds and the seed."""
    parser.add_argument("--rounds", type=int, default=11, metavar="N", help="rounds per table (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seed of the images (default: %(default)s)")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return the speed of resizers, of batches, of a training that waits for them, and of check_images."""
    from benchmarks.peers import resizing  # needs all packages

    others, files = OtherLoad(), make_jpegs(4 * resizing.BATCH, 375, 500, options.seed)
    measured = {
        "resizers": {
            name: resizing.measure_resizers(size, options.seed, 3 * options.rounds) for name, size in SOURCES.items()
        },
        "batches": compare(resizing.batches(files), len(files), options.rounds),
        "ahead": compare(resizing.trainings(files), len(files), options.rounds),
        "check": resizing.measure_check(files, options.rounds),
    }
    return measured | {"others_busy_cores": others.busy_cores()}


def tables(report: Report) -> Iterator[Table]:
    """Make the tables: resizers, batches, one batch ahead, and the check."""
    yield resizers_table(report["resizers"])
    load = f"other processes kept {number(report['others_busy_cores'], 2)} cores busy"
    columns = ("500×375 to 224×224, batches of 64", "images/s", "speed / the limit")
    yield Table("batches", f"Batches on two threads ({load})", columns, compared(report["batches"]))
    columns = ("an epoch whose steps wait as long as a batch takes", "images/s", "speed")
    yield Table("ahead", "One batch made ahead, in one process", columns, compared(report["ahead"]))
    columns = ("reading and decoding files of 500×375", "files/s", "speed")
    yield Table("check", "A check of all files", columns, compared(report["check"]))


def resizers_table(results: Mapping[str, Any]) -> Table:
    """Return a row per resizer and a column per size of the source."""
    first = next(iter(results.values()))
    rows = []
    for name in first:
        cells = [results[size][name] for size in results]
        rows.append((name, *(f"{1e6 / each['per_s'][0]:,.0f} µs, {number(each['times'][0], 2)}" for each in cells)))
    return Table("resizers", "Resizing to 224×224 on one thread: µs, and speed / Pillow", ("", *results), rows)


if __name__ == "__main__":
    main(__doc__, add_arguments, measure, tables, PACKAGES)
