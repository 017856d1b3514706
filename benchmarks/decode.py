"""How fast is decoding JPEG, of bytecache and other libraries, and how many bytes does it save to keep files?

    python -m benchmarks.decode [--rounds N] [--seed S] [--json FILE]

All make the same RGB pictures: who gives others is named and not timed. On two threads libraries that know batches make
them their way, the others in an executor with np.stack. A library that is not here is named with the reason.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from benchmarks.harness.measure import Others
from benchmarks.harness.plot import plot_ratios
from benchmarks.harness.report import Report, Table, main, number, spread
from benchmarks.peers.batch_decoding import LIMIT, SIZE, one_thread, shrinking, two_threads
from benchmarks.peers.decoders import CONTENDERS, PACKAGES, ways
from benchmarks.workloads.decode_tasks import Work, compare
from benchmarks.workloads.images import QUALITIES, encode_jpeg, image_kind, make_image, make_jpegs
from bytecache import decode_jpeg, shrink_jpeg

BASELINE, OURS = "simplejpeg", "bytecache"
HD = (1080, 1920)
DECODE, BATCH, SHRINK = "decode_jpeg", "decode_batch, threads=2, out=", "decode_batch, size=(256, 256)"


class Case(NamedTuple):
    """Files of one kind: two batches of them are decoded in each round."""

    sides: tuple[int, int]
    batch: int
    subsampling: str = "420"
    progressive: bool = False
    size: tuple[int, int] | None = None

    def work(self, seed: int) -> Work:
        datas = make_jpegs(2 * self.batch, *self.sides, seed, self.subsampling, self.progressive)
        return Work(datas, self.batch, self.size)


CASES = {
    "256×256": Case((256, 256), 32),
    "500×375": Case((375, 500), 16),
    "500×375, 4:4:4": Case((375, 500), 16, "444"),
    "500×375, progressive": Case((375, 500), 8, progressive=True),
    "1080p to 256×256": Case(HD, 4, size=SIZE),
}


# Measurement


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How often to measure."""
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="per table (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the pictures (default: %(default)s)")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Images per second and how many times simplejpeg's of each library, the same of decode_batch, and bytes."""
    others = Others()
    small = make_jpegs(96, 256, 256, options.seed)
    figures = {
        "pictures": image_kind(),
        "cases": {name: measure_case(case.work(options.seed), options.rounds) for name, case in CASES.items()},
        "one": compare(one_thread(small), len(small), 2 * options.rounds),
        "batch": compare(two_threads(small), len(small), 2 * options.rounds),
        "shrinking": {kind: measure_shrinking(kind == "progressive", options) for kind in ("baseline", "progressive")},
        "bytes": measure_bytes(options.seed),
        "recipe": measure_recipe(options.seed),
    }
    return figures | {"others_busy_cores": others.busy_cores()}


def measure_case(work: Work, rounds: int) -> dict[str, Any]:
    """Every library on one thread and on two; who is absent, and why."""
    found, absent = ways(work)

    def drain(images: Callable[[], Iterable[Any]]) -> Callable[[], None]:
        def run() -> None:
            for _ in images():
                pass

        return run

    one, two = ({name: drain(getattr(way, threads)) for name, way in found.items()} for threads in ("one", "two"))
    count = len(work.datas)
    return {"one": compare(one, count, rounds), "two": compare(two, count, rounds), "absent": absent}


def measure_shrinking(progressive: bool, options: argparse.Namespace) -> dict[str, Any]:
    """decode_batch with size=, on files of 1080p."""
    datas = make_jpegs(4, *HD, options.seed, progressive=progressive)
    return compare(shrinking(datas), len(datas), options.rounds)


def measure_bytes(seed: int) -> dict[str, dict[str, float]]:
    """Mean bytes of a picture: as a file, as an array, and shrunk until its shorter side is 256."""
    found = {}
    for height, width, count in ((256, 256, 60), (375, 500, 60), (*HD, 8)):
        files = make_jpegs(count, height, width, seed)
        shrunk = [shrink_jpeg(data, max_side=256 * width // height) for data in files]
        found[f"{width}×{height}"] = {
            "encoded": float(np.mean([len(data) for data in files])),
            "decoded": float(np.mean([decode_jpeg(data).nbytes for data in files])),
            "shrunk": float(np.mean([len(data) for data in shrunk])),
        }
    return found


def measure_recipe(seed: int) -> dict[str, float]:
    """Mean bytes of a picture of 256×256: as files of several qualities, and as an array."""
    pictures = [make_image(256, 256, (seed, index)) for index in range(60)]
    files = {
        f"JPEG, quality {quality}": float(np.mean([len(encode_jpeg(image, quality)) for image in pictures]))
        for quality in (75, QUALITIES[256, 256])
    }
    return files | {"array, uint8": float(pictures[0].nbytes)}


# Tables


def tables(report: Report) -> Iterator[Table]:
    """Libraries on one thread and on two; decode_batch; size=; bytes; and what the README shows of them."""
    for threads in ("one", "two"):
        yield libraries(report, threads)
    columns = ("96 files of 256×256", "images/s", "times a loop of decode_jpeg")
    busy = f"others kept {number(report['others_busy_cores'], 2)} cores busy"
    yield Table("batch", f"What two threads gain ({busy})", columns, compared(report["batch"]))
    yield shrinking_table(report["shrinking"])
    yield from bytes_tables(report)
    yield short(report)


def libraries(report: Report, threads: str) -> Table:
    """A row per library, a column per case."""
    cases = report["cases"]
    rows = []
    for name in sorted(CONTENDERS, key=lambda name: -first_ratio(cases, threads, name)):
        cells = [cell(case, threads, name) for case in cases.values()]
        if len(set(cells)) == 1:  # absent, with one reason
            cells[1:] = [""] * (len(cells) - 1)
        rows.append((name, *cells, CONTENDERS[name].shrinks))
    title = f"Decoding on {threads} thread{'s' * (threads == 'two')}, images/s and times {BASELINE}"
    return Table(f"{threads}_thread{'s' * (threads == 'two')}", title, ("", *cases, "1080p by"), rows)


def first_ratio(cases: Mapping[str, Any], threads: str, name: str) -> float:
    """By which libraries are ordered; 0 for an absent one."""
    times = [case[threads][name]["times"][0] for case in cases.values() if name in case[threads]]
    return times[0] if times else 0.0


def cell(case: Mapping[str, Any], threads: str, name: str) -> str:
    """Images per second and the ratio, or why there are none."""
    if name in case["absent"]:
        return str(case["absent"][name])
    figures = case[threads][name]
    return f"{number(figures['per_s'][0])}/s, {spread(figures['times'])}"


def compared(figures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Rows of name, images per second and ratio to the first."""
    return [(name, number(one["per_s"][0]), spread(one["times"])) for name, one in figures.items()]


def shrinking_table(figures: Mapping[str, Any]) -> Table:
    """size= on both kinds of files."""
    rows = zip(*(compared(figures[kind]) for kind in ("baseline", "progressive")), strict=True)
    columns = ("1080p to 256×256, one thread", "baseline, images/s", "speed", "progressive, images/s", "speed")
    cells = [(*baseline, *progressive[1:]) for baseline, progressive in rows]
    return Table("resize", "What size= gains over a whole decode and the same resize", columns, cells)


def bytes_tables(report: Report) -> Iterator[Table]:
    """Mean bytes of pictures, and how many fit in a GiB."""
    kinds = ("encoded", "decoded", "shrunk")
    rows = [(name, *(f"{sizes[kind]:,.0f}" for kind in kinds)) for name, sizes in report["bytes"].items()]
    columns = (report["pictures"], "bytes as a file", "as an array", "as a file, shorter side shrunk to 256")
    yield Table("bytes", "Mean bytes of a picture", columns, rows)
    rows = [(kind, f"{size:,.0f}", f"{2**30 / size:,.0f}") for kind, size in report["recipe"].items()]
    columns = ("kept as", "bytes each", "pictures in 1 GiB")
    yield Table("kept", f"{report['pictures'].capitalize()} of 256×256", columns, rows)


def short(report: Report) -> Table:
    """What is bytecache's own, in a few rows."""
    loop, whole = "decode_jpeg in a loop", "a whole decode, then the same resize"
    asked = (
        ("decode_jpeg, 256×256", "bare simplejpeg", report["one"][DECODE]),
        ("decode_batch, 96 of 256×256, two threads, out=", loop, report["batch"][BATCH]),
        ("two bare threads over simplejpeg: the machine's limit", loop, report["batch"][LIMIT]),
        ("decode_batch(size=(256, 256)) of 1080p", whole, report["shrinking"]["baseline"][SHRINK]),
        ("the same of progressive files", whole, report["shrinking"]["progressive"][SHRINK]),
        ("decode_jpeg(fast=True), other pixels", "bare simplejpeg", report["one"]["decode_jpeg, fast=True"]),
    )
    rows = [(work, against, spread(figures["times"])) for work, against, figures in asked]
    return Table("short", "What decoding costs", ("work", "against", "speed"), rows)


def plot(report: Report, figure: Any) -> None:
    """The ratio of each library in each case, on one thread and on two."""
    names = [name for name in CONTENDERS if first_ratio(report["cases"], "one", name)]
    names.sort(key=lambda name: first_ratio(report["cases"], "one", name))
    panels = figure.subplots(1, 2, sharey=True)
    for axes, threads in zip(panels, ("one", "two"), strict=True):
        plot_ratios(axes, {case: ratios(found, threads) for case, found in report["cases"].items()}, names)
        axes.set(
            xlabel=f"times as fast as {BASELINE} (right is better)",
            title=f"on {threads} thread{'s' * (threads == 'two')}",
        )
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(CASES), fontsize=9)
    figure.suptitle("Who decodes JPEG fastest?")


def ratios(case: Mapping[str, Any], threads: str) -> dict[str, float]:
    """The median ratio of each library that is here."""
    return {name: figures["times"][0] for name, figures in case[threads].items()}


if __name__ == "__main__":
    main(__doc__, add_arguments, measure, tables, PACKAGES)
