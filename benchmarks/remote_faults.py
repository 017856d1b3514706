"""What does a fault of the server behind a RemoteStore cost an epoch, and is any value ever wrong?

    python -m benchmarks.remote_faults [--images N] [--step-ms MS] [--bit-flips N] [--faults NAME ...] [--json FILE]

First an epoch of JPEG files through `map`, 64 at a time, with a real server on loopback to which something happens
after a third of the epoch, or which was never well; each sample is decoded and compared with its file by hash. Then
stored entries with one bit flipped, each of which must be a miss.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import bytecache
from benchmarks.harness.measure import OtherLoad
from benchmarks.harness.plot import plot_ranking
from benchmarks.harness.report import Report, Table, main, number
from benchmarks.runs.fault_run import FAULTS, NO_FAULT, TIMEOUT_S, digest_of, run
from benchmarks.workloads.files import read_file
from benchmarks.workloads.images import make_jpeg_files
from benchmarks.workloads.redis_server import redis_servers, why_not
from bytecache.stores.base import MISSING

SIDE = 64  # pixels
FLIPPED_AT_ONCE = 64
PACKAGES = ("numpy", "simplejpeg", "redis", "hiredis", "xxhash")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the numbers of images and bit flips, the time of a step, the faults, and the folder of the files."""
    parser.add_argument("--images", type=int, default=5000, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--step-ms", type=float, default=30, metavar="MS", help="of each batch (default: %(default)s)")
    parser.add_argument("--bit-flips", type=int, default=100_000, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--faults", nargs="*", default=list(FAULTS), choices=FAULTS, metavar="NAME", help="(all)")
    parser.add_argument(
        "--data", type=Path, default=Path("build/benchmarks"), metavar="DIR", help="(default: %(default)s)"
    )


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return an epoch's seconds and counters with each fault, and what became of flipped bits."""
    if why := why_not():
        return {"no_server": why, "faults": {}, "flips": {}, "others_busy_cores": 0.0}
    others, faults = OtherLoad(), {}
    if options.faults:
        paths = make_jpeg_files(options.data / "remote_faults", options.images, SIDE, SIDE)
        digests = {path: digest_of(read_file(path)) for path in paths}
        for fault in dict.fromkeys((NO_FAULT, *options.faults)):
            faults[fault] = run(fault, paths, digests, options.step_ms / 1000)
    flips = flip_bits(options.bit_flips) if options.bit_flips else {}
    return {"no_server": None, "faults": faults, "flips": flips, "others_busy_cores": others.busy_cores()}


def flip_bits(count: int) -> dict[str, int]:
    """Return of how many entries with a flipped bit a value came back, right or wrong, and how many were missing."""
    rng, found = np.random.default_rng(3), {"missing": 0, "right": 0, "wrong": 0}
    with redis_servers() as (server,), server.client() as client:
        store = bytecache.RemoteStore(server.url, timeout_s=10)
        partition = store.partition(b"bits are flipped", "flip_bits")
        values = {number.to_bytes(16, "big"): value(rng, number) for number in range(FLIPPED_AT_ONCE)}
        partition.put_many(values.items(), partition.generation)
        names = [partition.account.bound().prefix + key for key in values]
        frames = client.mget(names)
        for start in range(0, count, FLIPPED_AT_ONCE):
            keys = list(values)[: count - start]
            bits = [int(rng.integers(8 * len(frame))) for frame in frames[: len(keys)]]
            flip(client, names, bits, frames, wrong=True)
            for key, got in zip(keys, partition.get_many(keys), strict=True):
                found["missing" if got is MISSING else "right" if same(got, values[key]) else "wrong"] += 1
            flip(client, names, bits, frames, wrong=False)
        if not all(map(same, partition.get_many(list(values)), values.values())):
            raise ValueError("the entries must be as before, once their bits are")
        store.close()
    return found


def value(rng: np.random.Generator, number: int) -> Any:
    """Return one of four kinds of values."""
    data, pixels = rng.bytes(int(rng.integers(1, 8192))), rng.integers(0, 256, (16, 16, 3), np.uint8)
    return (data, pixels, memoryview(data), {"label": number, "boxes": [0.5, None], "pixels": pixels})[number % 4]


def same(one: Any, other: Any) -> bool:
    """Return whether two values are equal, with the same type, shape and dtype."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    return type(one) is type(other) and bool(one == other)


def flip(client: Any, names: list[bytes], bits: list[int], frames: list[bytes], wrong: bool) -> None:
    """Set one bit of each of the first entries in the server, to the wrong value or to the right one."""
    pipeline = client.pipeline(transaction=False)
    for name, bit, frame in zip(names, bits, frames, strict=False):
        right = frame[bit // 8] >> (7 - bit % 8) & 1
        pipeline.setbit(name, bit, 1 - right if wrong else right)
    pipeline.execute()


def tables(report: Report) -> Iterator[Table]:
    """Make the tables of faults and of flipped bits."""
    options, faults = report["options"], report["faults"]
    load = report["no_server"] or f"other processes kept {number(report['others_busy_cores'], 2)} cores busy"
    columns = (
        "fault",
        "s added",
        "longest batch, s",
        "wrong samples",
        "hits",
        "misses",
        "rejected",
        "errors",
        "openings",
    )
    rows = [row(fault, each, faults[NO_FAULT]["s"]) for fault, each in faults.items()]
    title = f"An epoch of {options['images']:,} images with a fault, timeout_s={TIMEOUT_S} ({load})"
    yield Table("faults", title, columns, rows)
    flips = report["flips"]
    counts = [f"{count:,}" for count in (sum(flips.values()), *flips.values())] if flips else []
    found = ("entries", "missing", "the right value", "a wrong value")
    yield Table("flips", "Entries with one bit flipped", found, [counts] if flips else [])


def row(fault: str, each: dict[str, Any], without_s: float) -> tuple[str, ...]:
    """Return a row of the table of faults; that of no fault has its own seconds."""
    added = f"({each['s']:.1f} in all)" if fault == NO_FAULT else f"{each['s'] - without_s:.1f}"
    counted = (f"{each[name]:,}" for name in ("wrong", "hits", "misses", "rejected", "errors", "openings"))
    return fault, added, f"{each['longest_s']:.2f}", *counted


def plot(report: Report, figure: Any) -> None:
    """Draw the longest batch with each fault, the shortest on top."""
    longest = {fault: each["longest_s"] for fault, each in report["faults"].items()}
    axes = figure.subplots()
    label = f"seconds of the longest batch, timeout_s={TIMEOUT_S} (left is better)"
    plot_ranking(axes, dict(sorted(longest.items(), key=lambda item: item[1])), label, "{:,.2f} s".format)
    axes.set_title("For how long does a fault of the server hold up an epoch?")


if __name__ == "__main__":
    main(__doc__, add_arguments, measure, tables, PACKAGES)
