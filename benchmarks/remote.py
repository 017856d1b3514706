"""What does a hit in a RemoteStore cost, and what room does a value take on the server?

    python -m benchmarks.remote [--rounds N] [--values N] [--json FILE]

64 values at a time, all of them on a Redis server on loopback, by one process: `map` of a cached function, redis-py
alone, and the same files from nginx. The time until all are there, and the processor's time in the client, all threads
included. Then the server's used memory per byte of the values, with what a plain SET of the same values takes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

import bytecache
from benchmarks.harness.measure import OtherLoad, interleave, speed, summary
from benchmarks.harness.plot import plot_ranking
from benchmarks.harness.report import Report, Table, main, number, spread
from benchmarks.workloads import http_server, redis_server
from benchmarks.workloads.files import scratch

SIZES = {"8 KB": 8192, "110 KB": 110_000}
BATCH, BATCHES = 64, 4  # keys of a call, and different calls in a round
AGAIN = {"8 KB": 15, "110 KB": 2}  # times that a round makes all calls
LARGE_READS = 1 << 18  # bytes of a socket at a time, as RemoteStore has it; redis-py's default is 32 KiB
OURS, MGET, MGET_LARGE = "fill_once(store=RemoteStore), map", "redis-py, MGET", "redis-py, MGET, reads of 256 KiB"
GETS, HTTP = "redis-py, 64 × GET", "bytecache.http.HttpReader, nginx"
PACKAGES = ("numpy", "redis", "hiredis", "xxhash", "pycurl")
Values = Mapping[str, bytes]  # by path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the numbers of rounds and of values."""
    parser.add_argument("--rounds", type=int, default=41, metavar="N", help="(default: %(default)s)")
    parser.add_argument(
        "--values", type=int, default=2000, metavar="N", help="whose memory is measured (default: %(default)s)"
    )


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return microseconds per value of each client, and memory per byte; or why there are none."""
    if why := redis_server.why_not():
        return {"no_server": why, "reads": {}, "memory": {}, "no_http": "", "others_busy_cores": 0.0}
    others = OtherLoad()
    reads = {name: measure_reads(size, options.rounds, AGAIN[name]) for name, size in SIZES.items()}
    memory = {name: measure_memory(size, options.values) for name, size in SIZES.items()}
    measured = {"no_server": None, "reads": reads, "memory": memory, "no_http": http_server.why_not()}
    return measured | {"others_busy_cores": others.busy_cores()}


def measure_reads(size: int, rounds: int, again: int) -> dict[str, Any]:
    """Return microseconds per value until it is there, and of the client's processor, with their ratios to MGET."""
    rng = np.random.default_rng(0)
    with ExitStack() as opened:
        folder = opened.enter_context(scratch())
        values = {f"{folder}/{number:06d}.jpg": rng.bytes(size) for number in range(BATCH * BATCHES)}
        readers = clients(folder, values, opened)
        loops = {name: loop(*each, again) for name, each in readers.items()}
        seconds: Any = interleave(loops, rounds, clock=both_clocks)
    calls = BATCH * BATCHES * again
    waited = {name: [float(time[0]) for time in times] for name, times in seconds.items()}
    used = {name: [float(time[1]) for time in times] for name, times in seconds.items()}
    return {
        name: {
            "us": summary(1e6 * time / calls for time in waited[name]),
            "cpu_us": summary(1e6 * time / calls for time in used[name]),
            "times": speed(waited, OURS, name),
            "cpu_times": speed(used, MGET, name),
        }
        for name in readers
    }


def both_clocks() -> Any:
    """Return the seconds of the wall clock and of this process's processors."""
    return np.array([perf_counter(), process_time()])


def clients(
    folder: Path, values: Values, opened: ExitStack
) -> dict[str, tuple[Callable[[Any], Sequence[Any]], list[list[Any]]]]:
    """Return functions that read a batch, each with its batches; all have been checked once."""
    (server,) = opened.enter_context(redis_server.redis_servers())
    store = bytecache.RemoteStore(server.url, timeout_s=10)
    opened.callback(store.close)
    client = opened.enter_context(server.client())
    large = opened.enter_context(server.client(socket_read_size=LARGE_READS))
    read = bytecache.fill_once(store=store)(values.__getitem__)
    paths = list(values)
    batches = [paths[start : start + BATCH] for start in range(0, len(paths), BATCH)]
    names: list[list[Any]] = [[f"plain:{Path(path).name}" for path in batch] for batch in batches]
    for path, name in zip(paths, (name for batch in names for name in batch), strict=True):
        client.set(name, values[path])
    readers: dict[str, tuple[Callable[[Any], Sequence[Any]], list[list[Any]]]] = {
        OURS: (read.map, batches),
        MGET: (client.mget, names),
        MGET_LARGE: (large.mget, names),
        GETS: (lambda batch: [client.get(name) for name in batch], names),
    }
    if not http_server.why_not():
        from bytecache.http import HttpReader

        for path in paths:
            Path(path).write_bytes(values[path])
        url = opened.enter_context(http_server.file_server(folder))
        readers[HTTP] = HttpReader(url), [[Path(path).name for path in batch] for batch in batches]
    for name, (reader, its_batches) in readers.items():
        reader(its_batches[0])  # the first may be a miss
        if [bytes(one) for batch in its_batches for one in reader(batch)] != list(values.values()):
            raise ValueError(f"{name} must return the values, in order")
    return readers


def loop(read: Callable[[Any], Any], batches: list[list[Any]], again: int) -> Callable[[], None]:
    """Return a function that reads all batches so many times."""

    def run() -> None:
        for _ in range(again):
            for batch in batches:
                read(batch)

    return run


def measure_memory(size: int, count: int) -> dict[str, float]:
    """Return the server's memory per byte, ours and of a plain SET, and the bytes of an entry's frame and key."""
    rng = np.random.default_rng(1)
    values = [rng.bytes(size) for _ in range(count)]
    with redis_server.redis_servers() as (server,), server.client() as client:
        store = bytecache.RemoteStore(server.url, timeout_s=10)
        partition = store.partition(b"function of test", "measure_memory")
        partition.put(bytes(16), b"", partition.generation)  # or the server's memory for scripts would count
        before = client.info("memory")["used_memory"]
        for number, value in enumerate(values, 1):
            partition.put(number.to_bytes(16, "big"), value, partition.generation)
        used = client.info("memory")["used_memory"] - before
        name = partition.account.bound().prefix + (1).to_bytes(16, "big")
        frame = client.strlen(name) - size
        store.close()
        client.flushall()
        before = client.info("memory")["used_memory"]
        for number, value in enumerate(values):
            client.set(number.to_bytes(16, "big"), value)
        plain = client.info("memory")["used_memory"] - before
    per_byte = 1 / (count * size)
    return {"used": used * per_byte, "plain": plain * per_byte, "frame_bytes": frame, "key_bytes": len(name)}


def tables(report: Report) -> Iterator[Table]:
    """Make a table for each size, the fastest first, and one of the memory."""
    load = report["no_server"] or f"other processes kept {number(report['others_busy_cores'], 2)} cores busy"
    columns = (
        "client", "µs per value: median (10th to 90th percentile)", "ours is faster by a factor of",
        "µs of the client's processor", "relative to MGET",
    )  # fmt: skip
    for name in SIZES:
        results = report["reads"].get(name, {})
        rows = [
            (client, spread(each["us"]), spread(each["times"]), spread(each["cpu_us"]), spread(each["cpu_times"]))
            for client, each in sorted(results.items(), key=lambda item: item[1]["us"])
        ]
        if report["no_http"]:
            rows.append((HTTP, report["no_http"], "", "", ""))
        yield Table(name.replace(" KB", "kb"), f"{BATCH} values of {name} at a time ({load})", columns, rows)
    columns = (
        "value",
        "used memory / bytes of the values",
        "with a plain SET",
        "bytes of an entry's frame",
        "of its key",
    )
    rows = [
        (name, f"{each['used']:.3f}", f"{each['plain']:.3f}", str(each["frame_bytes"]), str(each["key_bytes"]))
        for name, each in report["memory"].items()
    ]
    yield Table("memory", f"The server's memory for {report['options']['values']:,} values", columns, rows)


def plot(report: Report, figure: Any) -> None:
    """Draw the processor's time per value of the smaller size, the least on top."""
    results = report["reads"].get(next(iter(SIZES)), {})
    medians = {name: each["cpu_us"][0] for name, each in sorted(results.items(), key=lambda item: item[1]["cpu_us"])}
    axes = figure.subplots()
    label = "microseconds of the client's processor per value of 8 KB, 64 at a time (left is better)"
    plot_ranking(axes, medians, label, "{:,.1f} µs".format)
    axes.set_title("What does a hit cost in a store that machines share?")


if __name__ == "__main__":
    main(__doc__, add_arguments, measure, tables, PACKAGES)
