"""What do more cores give: decode_batch on threads, and ImageDataset on threads or with workers, from 1 to 16?

    python -m benchmarks.threads [--most N] [--rounds N] [--images N] [--json FILE]

For every number of cores there is a process that may use no more, and as many threads or workers. They take turns.
There are none for more cores than this machine has.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from benchmarks.harness.line_plot import plot_lines
from benchmarks.harness.measure import summary
from benchmarks.harness.report import Report, Table, main, spread
from benchmarks.harness.worker import Process, in_turn
from benchmarks.runs.cores import BOUND, LOADERS, make_job, worker
from benchmarks.workloads.files import scratch
from benchmarks.workloads.images import image_kind
from bytecache.system.threads import cpu_count

NUMBERS = (1, 2, 4, 8, 16)
DECODERS = (BOUND, "decode_batch")
TITLES = ("decoding files of 256×256 in memory", "loading files of 500×375 as 224×224, in batches")
PACKAGES = ("torch", "simplejpeg", "pillow")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How far to go, and how often."""
    parser.add_argument("--most", type=int, default=NUMBERS[-1], metavar="N", help="cores (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=2, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--images", type=int, default=256, metavar="N", help="in an epoch (default: %(default)s)")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Images per second of each way on each number of cores, and how many times those on one core."""
    numbers = [number for number in NUMBERS if number <= min(options.most, cpu_count())]
    absent = {name: loader.absent() for name, loader in LOADERS.items() if loader.absent()}
    names = [name for name in (*DECODERS, *LOADERS) if name not in absent]
    with scratch() as folder, ExitStack() as running:
        job = make_job(folder, options.images)
        processes = {
            number: running.enter_context(Process(worker, number, replace(job, workers=number))) for number in numbers
        }
        asked = in_turn(processes, names, options.rounds, warmup=1)
    ways = {
        name: {
            number: {
                "per_s": summary(figures),
                "times": summary(many / one for many, one in zip(figures, of_number[1], strict=True)),
            }
            for number, figures in of_number.items()
        }
        for name, of_number in asked.items()
    }
    return {
        "cores": cpu_count(),
        "pictures": image_kind(),
        "ways": ways,
        "absent": absent,
    }


def table(report: Report, name: str, title: str, ways: Sequence[str]) -> Table:
    """Images per second, and how many times those on one core."""
    numbers = list(next(iter(report["ways"].values())))
    columns = ["", *(f"{number} core{'s' * (number != '1')}" for number in numbers), "times those on 1"]
    rows = [
        [
            way,
            *(spread(found[number]["per_s"]) for number in numbers),
            spread(found[numbers[-1]]["times"]),
        ]
        for way, found in report["ways"].items()
        if way in ways
    ]
    absent = [
        [way, f"not installed: {', '.join(lacks)}", *[""] * len(numbers)] for way, lacks in report["absent"].items()
    ]
    return Table(name, title, columns, [*rows, *(row for row in absent if row[0] in ways)])


def tables(report: Report) -> Iterator[Table]:
    """Decoding alone, and whole loaders."""
    decoding, loading = TITLES
    yield table(report, "decode", f"Images per second, {decoding}", DECODERS)
    yield table(report, "loaders", f"Images per second, {loading}", tuple(LOADERS))


def plot(report: Report, figure: Any) -> None:
    """Images per second over cores."""
    figure.set_size_inches(13, 5.5)
    figure.suptitle("Is it faster on more cores?")
    for axes, title, names in zip(figure.subplots(1, 2), TITLES, (DECODERS, LOADERS), strict=True):
        found = {name: way for name, way in report["ways"].items() if name in names}
        per_s = {name: {int(number): one["per_s"][0] for number, one in way.items()} for name, way in found.items()}
        times = {name: way[max(way, key=int)]["times"][0] for name, way in found.items()}
        plot_lines(axes, per_s, {name: f"×{gain:.2f}" for name, gain in times.items()}, "linear")
        axes.set(title=title, xlabel="cores", ylabel="images per second (higher is better)")
        axes.set_xticks(sorted({number for of_number in per_s.values() for number in of_number}))


if __name__ == "__main__":
    main(__doc__, add_arguments, measure, tables, PACKAGES)
