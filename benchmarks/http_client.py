"""What does a file that is not in the cache cost over HTTP: the processor, and the latency?

    python -m benchmarks.http_client [--files N] [--rounds N] [--data DIR] [--json FILE]

Files of about 90 KB from nginx on loopback. First as training images, decoded, resized to 224 x 224 and batched by 32,
none of them cached: images per second with 0 ms and with 20 ms until each request is answered. Then the files alone, in
batches of 32, by clients that keep up to 32 connections: the processor's time in this process, all threads included.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import process_time
from typing import Any

from benchmarks.harness.measure import Absent, OtherLoad, interleave, speed, summary
from benchmarks.harness.plot import plot_ranking
from benchmarks.harness.report import Report, Table, main, number, spread
from benchmarks.loaders import LOADERS, Job
from benchmarks.peers.http_clients import BASELINE, CLIENTS, PACKAGES, Fetch, client
from benchmarks.workloads import http_server
from benchmarks.workloads.images import make_jpeg_files

BATCH = 32
LATENCIES_MS = (0, 20)
UNCACHED = (
    "bytecache ImageDataset, no cache", "DataLoader, simplejpeg, our resizer and reader",
    "DataLoader, simplejpeg, our resizer",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the numbers of files and rounds, and the folder of the files."""
    parser.add_argument("--files", type=int, default=1024, metavar="N", help="in each round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=11, metavar="N", help="(default: %(default)s)")
    parser.add_argument(
        "--data", type=Path, default=Path("build/benchmarks"), metavar="DIR", help="(default: %(default)s)"
    )


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return images per second at each latency, and microseconds per file of each client; or why there are none."""
    if why := http_server.why_not(max(LATENCIES_MS)):
        return {"no_server": why, "latency": {}, "clients": {}, "absent": [], "others_busy_cores": 0.0}
    others, folder = OtherLoad(), options.data / "http"
    paths = make_jpeg_files(folder / "files", options.files, 375, 500)
    latency = measure_latency(folder, len(paths), options.rounds)  # first: its workers are forked
    clients, absent = measure_clients(folder, len(paths), options.rounds)
    measured = {"no_server": None, "latency": latency, "clients": clients, "absent": absent}
    return measured | {"others_busy_cores": others.busy_cores()}


def measure_latency(folder: Path, count: int, rounds: int) -> dict[str, Any]:
    """Return images per second of each loader at each latency, and the ratio to that without any."""
    fast, slow = LATENCIES_MS
    result: dict[str, Any] = {}
    with http_server.file_server(folder, fast) as near, http_server.file_server(folder, slow) as far:
        for name in UNCACHED:
            seconds = interleave({"near": epochs(name, near, count), "far": epochs(name, far, count)}, rounds)
            rates = {place: summary(count / time for time in times) for place, times in seconds.items()}
            result[name] = {**rates, "ratio": speed(seconds, "far", "near")}
    return result


def epochs(name: str, url: str, count: int) -> Callable[[], None]:
    """Return a function that runs the next epoch of a loader."""
    loader = LOADERS[name]
    choices = {"our_resizer": loader.our_resizer, "our_reader": loader.our_reader}
    batches_of, numbers = loader.load()(Job(url, count, 0, "", BATCH, **choices)), iter(range(count * 1000))

    def run() -> None:
        for _batch in batches_of(next(numbers)):
            pass

    return run


def measure_clients(folder: Path, count: int, rounds: int) -> tuple[dict[str, Any], list[str]]:
    """Return microseconds of the processor per file of each client, and those that are absent."""
    paths = [f"files/{index:06d}.jpg" for index in range(count)]
    with http_server.file_server(folder) as url, ExitStack() as opened:
        clients: dict[str, Fetch] = {}
        absent = []
        for name in CLIENTS:
            try:
                clients[name] = client(name, url, opened)
            except Absent:
                absent.append(name)
            else:
                check(name, clients[name](paths[:BATCH]), [Path(folder, path).read_bytes() for path in paths[:BATCH]])
        loops = {name: loop(fetch, paths) for name, fetch in clients.items()}
        seconds = interleave(loops, rounds, clock=process_time)
    us = {name: [1e6 * time / len(paths) for time in times] for name, times in seconds.items()}
    return {name: {"us": summary(us[name]), "times_pycurl": speed(us, BASELINE, name)} for name in us}, absent


def check(name: str, fetched: Sequence[Any], files: Sequence[bytes]) -> None:
    """Raise ValueError if a client's files differ from those on the disk."""
    if [bytes(body) for body in fetched] != list(files):
        raise ValueError(f"{name} must return the bytes of each file, in order")


def loop(fetch: Fetch, paths: Sequence[str]) -> Callable[[], None]:
    """Return a function that fetches all files, a batch at a time."""

    def run() -> None:
        for start in range(0, len(paths), BATCH):
            fetch(paths[start : start + BATCH])

    return run


def tables(report: Report) -> Iterator[Table]:
    """Make the tables of latencies and clients, the fastest first."""
    load = report["no_server"] or f"other processes kept {number(report['others_busy_cores'], 2)} cores busy"
    near, far = LATENCIES_MS
    columns = ("loader", f"images/s, {near} ms", f"{far} ms", f"{far} ms / {near} ms")
    rows = [
        (name, number(rates["near"][0]), number(rates["far"][0]), spread(rates["ratio"]))
        for name, rates in report["latency"].items()
    ]
    yield Table("latency", f"Images that are not cached, files behind HTTP ({load})", columns, rows)
    columns = ("client", "µs: median (10th to 90th percentile)", "relative to pycurl alone")
    rows = [(name, spread(each["us"]), spread(each["times_pycurl"])) for name, each in ranked(report["clients"])]
    rows += [(name, "not installed", "") for name in report["absent"]]
    files = f"{report['options']['files']:,} files of about 90 KB, {BATCH} at a time"
    yield Table("clients", f"The processor's time per file of each client, {files} ({load})", columns, rows)


def ranked(clients: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the clients, the fastest first."""
    return sorted(clients.items(), key=lambda item: item[1]["us"][0])


def plot(report: Report, figure: Any) -> None:
    """Draw the processor's time per file, the fastest on top."""
    medians = {name: each["us"][0] for name, each in ranked(report["clients"])}
    axes = figure.subplots()
    plot_ranking(axes, medians, "microseconds of the processor per file of 90 KB (left is better)", "{:,.0f} µs".format)
    axes.set_title("What does a file over HTTP cost the client?")


if __name__ == "__main__":
    main(__doc__, add_arguments, measure, tables, PACKAGES)
