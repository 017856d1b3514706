"""How fast is JPEG decoding in bytecache and other libraries, and how many bytes does caching files save?

    python -m benchmarks.decode [--rounds N] [--seed S] [--json FILE]

All decoders must give the same RGB images: one that does not is reported, not timed. On two threads, a library with
batches uses its own; the others run in an executor, with np.stack. If a library is not installed, the tables say so.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from benchmarks.harness.measure import OtherLoad
from benchmarks.harness.plot import plot_ratios
from benchmarks.harness.report import Report, Table, compared, main, number, spread
from benchmarks.peers.batch_decoding import LIMIT, SIZE, one_thread, shrinking, two_threads
from benchmarks.peers.decoders import CONTENDERS, PACKAGES, make_decoders
from benchmarks.workloads.decode_tasks import DecodeTask, compare
from benchmarks.workloads.images import QUALITIES, encode_jpeg, image_kind, make_image, make_jpegs
from bytecache import decode_jpeg, shrink_jpeg

BASELINE = "simplejpeg"
HD = (1080, 1920)
DECODE, BATCH, SHRINK = "decode_jpeg", "decode_batch, threads=2, out=", "decode_batch, size=(256, 256)"


class Case(NamedTuple):
    """Files of one kind, two batches of them per round. image_size: (height, width). size: to resize to, if any."""

    image_size: tuple[int, int]
    batch: int
    subsampling: str = "420"
    progressive: bool = False
    size: tuple[int, int] | None = None

    def task(self, seed: int) -> DecodeTask:
        files = make_jpegs(2 * self.batch, *self.image_size, seed, self.subsampling, self.progressive)
        return DecodeTask(files, self.batch, self.size)


CASES = {
    "256×256": Case((256, 256), 32),
    "500×375": Case((375, 500), 16),
    "500×375, 4:4:4": Case((375, 500), 16, "444"),
    "500×375, progressive": Case((375, 500), 8, progressive=True),
    "1080p to 256×256": Case(HD, 4, size=SIZE),
}


# Measurement


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the number of rounds and the seed."""
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="rounds per table (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seed of the images (default: %(default)s)")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return the speed of each library, the speed of decode_batch, and mean bytes of images."""
    others = OtherLoad()
    small = make_jpegs(96, 256, 256, options.seed)
    measured = {
        "image_kind": image_kind(),
        "cases": {name: measure_case(case.task(options.seed), options.rounds) for name, case in CASES.items()},
        "one": compare(one_thread(small), len(small), 2 * options.rounds),
        "batch": compare(two_threads(small), len(small), 2 * options.rounds),
        "shrinking": {kind: measure_shrinking(kind == "progressive", options) for kind in ("baseline", "progressive")},
        "bytes": measure_bytes(options.seed),
        "recipe": measure_recipe(options.seed),
    }
    return measured | {"others_busy_cores": others.busy_cores()}


def measure_case(task: DecodeTask, rounds: int) -> dict[str, Any]:
    """Return the speed of every library on one thread and on two, and why the others are missing."""
    decoders, absent = make_decoders(task)

    def drain(images: Callable[[], Iterable[Any]]) -> Callable[[], None]:
        def run() -> None:
            for _ in images():
                pass

        return run

    one, two = ({name: drain(getattr(each, threads)) for name, each in decoders.items()} for threads in ("one", "two"))
    count = len(task.files)
    return {"one": compare(one, count, rounds), "two": compare(two, count, rounds), "absent": absent}


def measure_shrinking(progressive: bool, options: argparse.Namespace) -> dict[str, Any]:
    """Return the speed of decode_batch with size=, on files of 1080p."""
    files = make_jpegs(4, *HD, options.seed, progressive=progressive)
    return compare(shrinking(files), len(files), options.rounds)


def measure_bytes(seed: int) -> dict[str, dict[str, float]]:
    """Return the mean bytes of an image as a file, as an array, and shrunk until its shorter side is 256."""
    measured = {}
    for height, width, count in ((256, 256, 60), (375, 500, 60), (*HD, 8)):
        files = make_jpegs(count, height, width, seed)
        shrunk = [shrink_jpeg(file, max_side=256 * width // height) for file in files]
        measured[f"{width}×{height}"] = {
            "encoded": float(np.mean([len(file) for file in files])),
            "decoded": float(np.mean([decode_jpeg(file).nbytes for file in files])),
            "shrunk": float(np.mean([len(file) for file in shrunk])),
        }
    return measured


def measure_recipe(seed: int) -> dict[str, float]:
    """Return the mean bytes of an image of 256×256 as files of several qualities, and as an array."""
    images = [make_image(256, 256, (seed, index)) for index in range(60)]
    files = {
        f"JPEG, quality {quality}": float(np.mean([len(encode_jpeg(image, quality)) for image in images]))
        for quality in (75, QUALITIES[256, 256])
    }
    return files | {"array, uint8": float(images[0].nbytes)}


# Tables


def tables(report: Report) -> Iterator[Table]:
    """Make the tables: libraries on one thread and on two, decode_batch, size=, bytes, and a summary for the README."""
    for threads in ("one", "two"):
        yield libraries_table(report, threads)
    columns = ("96 files of 256×256", "images/s", "speed / decode_jpeg in a loop")
    load = f"other processes kept {number(report['others_busy_cores'], 2)} cores busy"
    yield Table("batch", f"What two threads gain ({load})", columns, compared(report["batch"]))
    yield shrinking_table(report["shrinking"])
    yield from bytes_tables(report)
    yield short_table(report)


def libraries_table(report: Report, threads: str) -> Table:
    """Return a row per library and a column per case."""
    cases = report["cases"]
    rows = []
    for name in sorted(CONTENDERS, key=lambda name: -first_ratio(cases, threads, name)):
        cells = [cell(case, threads, name) for case in cases.values()]
        if len(set(cells)) == 1:  # absent, for one reason
            cells[1:] = [""] * (len(cells) - 1)
        rows.append((name, *cells, CONTENDERS[name].resize))
    title = f"Decoding on {threads} thread{'s' * (threads == 'two')}: images/s, and speed / {BASELINE}"
    return Table(f"{threads}_thread{'s' * (threads == 'two')}", title, ("", *cases, "how 1080p is resized"), rows)


def first_ratio(cases: Mapping[str, Any], threads: str, name: str) -> float:
    """Return the ratio by which libraries are ordered; 0 for an absent one."""
    ratios = [case[threads][name]["times"][0] for case in cases.values() if name in case[threads]]
    return ratios[0] if ratios else 0.0


def cell(case: Mapping[str, Any], threads: str, name: str) -> str:
    """Return images per second and the ratio, or why there are none."""
    if name in case["absent"]:
        return str(case["absent"][name])
    result = case[threads][name]
    return f"{number(result['per_s'][0])}/s, {spread(result['times'])}"


def shrinking_table(results: Mapping[str, Any]) -> Table:
    """Return the speed with size= for both kinds of files."""
    rows = zip(*(compared(results[kind]) for kind in ("baseline", "progressive")), strict=True)
    columns = ("1080p to 256×256, one thread", "baseline, images/s", "speed", "progressive, images/s", "speed")
    cells = [(*baseline, *progressive[1:]) for baseline, progressive in rows]
    return Table("resize", "What size= gains over a full decode with the same resize", columns, cells)


def bytes_tables(report: Report) -> Iterator[Table]:
    """Yield mean bytes of images, and how many fit in a GiB."""
    kinds = ("encoded", "decoded", "shrunk")
    sizes = [(name, *(f"{means[kind]:,.0f}" for kind in kinds)) for name, means in report["bytes"].items()]
    columns = (report["image_kind"], "bytes as a file", "as an array", "as a file with the shorter side shrunk to 256")
    yield Table("bytes", "Mean bytes of an image", columns, sizes)
    rows = [(kind, f"{nbytes:,.0f}", f"{2**30 / nbytes:,.0f}") for kind, nbytes in report["recipe"].items()]
    columns = ("cached as", "bytes per image", "images in 1 GiB")
    yield Table("kept", f"{report['image_kind'].capitalize()} of 256×256", columns, rows)


def short_table(report: Report) -> Table:
    """Return what concerns bytecache itself, in a few rows."""
    loop, full = "decode_jpeg in a loop", "a full decode with the same resize"
    lines = (
        ("decode_jpeg, 256×256", "bare simplejpeg", report["one"][DECODE]),
        ("decode_batch, 96 of 256×256, two threads, out=", loop, report["batch"][BATCH]),
        ("two bare threads over simplejpeg: the machine's limit", loop, report["batch"][LIMIT]),
        ("decode_batch(size=(256, 256)) of 1080p", full, report["shrinking"]["baseline"][SHRINK]),
        ("the same, progressive files", full, report["shrinking"]["progressive"][SHRINK]),
        (
            "decode_jpeg(fast=True), not the same pixels",
            "bare simplejpeg",
            report["one"]["decode_jpeg, fast=True"],
        ),
    )
    rows = [(work, baseline, spread(result["times"])) for work, baseline, result in lines]
    return Table("short", "Speed of decoding", ("what", "compared with", "speed"), rows)


def plot(report: Report, figure: Any) -> None:
    """Draw the ratio of each library in each case, on one thread and on two."""
    names = [name for name in CONTENDERS if first_ratio(report["cases"], "one", name)]
    names.sort(key=lambda name: first_ratio(report["cases"], "one", name))
    panels = figure.subplots(1, 2, sharey=True)
    for axes, threads in zip(panels, ("one", "two"), strict=True):
        plot_ratios(axes, {name: ratios(case, threads) for name, case in report["cases"].items()}, names)
        axes.set(
            xlabel=f"times as fast as {BASELINE} (right is better)",
            title=f"on {threads} thread{'s' * (threads == 'two')}",
        )
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(CASES), fontsize=9)
    figure.suptitle("Which library decodes JPEG fastest?")


def ratios(case: Mapping[str, Any], threads: str) -> dict[str, float]:
    """Return the median ratio of each library that was timed."""
    return {name: result["times"][0] for name, result in case[threads].items()}


if __name__ == "__main__":
    main(__doc__, add_arguments, measure, tables, PACKAGES)
