"""What do more cores gain, from 1 to 16: decode_batch on threads, and ImageDataset on threads or with workers?

    python -m benchmarks.threads [--most N] [--rounds N] [--images N] [--json FILE]

For each number of cores there is a process that is confined to them, with as many threads or workers. The processes
alternate. Numbers above the cores of this machine are left out.
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
from benchmarks.harness.worker import Process, ask_in_rounds
from benchmarks.runs.cores import BOUND, LOADERS, make_job, worker
from benchmarks.workloads.files import scratch
from benchmarks.workloads.images import image_kind
from bytecache.system.threads import cpu_count

NUMBERS = (1, 2, 4, 8, 16)
DECODERS = (BOUND, "decode_batch")
TITLES = ("decoding files of 256×256 in memory", "loading batches of 224×224 from files of 500×375")
PACKAGES = ("torch", "simplejpeg", "pillow")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the numbers of cores, rounds and images."""
    parser.add_argument("--most", type=int, default=NUMBERS[-1], metavar="N", help="most cores (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=2, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--images", type=int, default=256, metavar="N", help="images per epoch (default: %(default)s)")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return images per second of each contender on each number of cores, and the ratio to one core."""
    numbers = [number for number in NUMBERS if number <= min(options.most, cpu_count())]
    absent = {name: loader.absent() for name, loader in LOADERS.items() if loader.absent()}
    names = [name for name in (*DECODERS, *LOADERS) if name not in absent]
    with scratch() as folder, ExitStack() as running:
        job = make_job(folder, options.images)
        processes = {
            number: running.enter_context(Process(worker, number, replace(job, workers=number))) for number in numbers
        }
        answers = ask_in_rounds(processes, names, options.rounds, warmup=1)
    contenders = {
        name: {
            number: {
                "per_s": summary(speeds),
                "times": summary(many / one for many, one in zip(speeds, by_cores[1], strict=True)),
            }
            for number, speeds in by_cores.items()
        }
        for name, by_cores in answers.items()
    }
    return {
        "cores": cpu_count(),
        "image_kind": image_kind(),
        "contenders": contenders,
        "absent": absent,
    }


def table(report: Report, name: str, title: str, names: Sequence[str]) -> Table:
    """Return a table of images per second, and of the ratio to one core."""
    numbers = list(next(iter(report["contenders"].values())))
    columns = ["", *(f"{number} core{'s' * (number != '1')}" for number in numbers), "speed / 1 core"]
    rows = [
        [
            contender,
            *(spread(by_cores[number]["per_s"]) for number in numbers),
            spread(by_cores[numbers[-1]]["times"]),
        ]
        for contender, by_cores in report["contenders"].items()
        if contender in names
    ]
    absent = [
        [contender, f"not installed: {', '.join(packages)}", *[""] * len(numbers)]
        for contender, packages in report["absent"].items()
        if contender in names
    ]
    return Table(name, title, columns, rows + absent)


def tables(report: Report) -> Iterator[Table]:
    """Make the tables of decoding alone and of loaders."""
    decoding, loading = TITLES
    yield table(report, "decode", f"Images per second, {decoding}", DECODERS)
    yield table(report, "loaders", f"Images per second, {loading}", tuple(LOADERS))


def plot(report: Report, figure: Any) -> None:
    """Draw images per second over the number of cores."""
    figure.set_size_inches(13, 5.5)
    figure.suptitle("Is it faster on more cores?")
    for axes, title, names in zip(figure.subplots(1, 2), TITLES, (DECODERS, LOADERS), strict=True):
        found = {name: by_cores for name, by_cores in report["contenders"].items() if name in names}
        per_s = {
            name: {int(number): result["per_s"][0] for number, result in by_cores.items()}
            for name, by_cores in found.items()
        }
        gains = {name: by_cores[max(by_cores, key=int)]["times"][0] for name, by_cores in found.items()}
        plot_lines(axes, per_s, {name: f"×{gain:.2f}" for name, gain in gains.items()}, "linear")
        axes.set(title=title, xlabel="cores", ylabel="images per second (higher is better)")
        axes.set_xticks(sorted({number for by_cores in per_s.values() for number in by_cores}))


if __name__ == "__main__":
    main(__doc__, add_arguments, measure, tables, PACKAGES)
