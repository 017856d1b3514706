"""What does a hit cost, and storing a value, in a cache that processes share?

    python -m benchmarks.shared [--values N] [--rounds N] [--stores N] [--json FILE]

Values of 8 KB, each from a file of its own, read in a new random order in each round, by one process; the cost of the
loop around the calls is taken off. All caches lie in /dev/shm, the files in the temporary directory. A cache that is
not installed is named as absent.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import itertools
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import bytecache
from benchmarks import _measure
from benchmarks._stores import BUDGET, MEMORY, VALUE_BYTES, Lmdb, hashed, make_files, read_file, scratch

ORDERS = 5  # different ones, that take turns
FILE = "open(path, 'rb').read()"
LMDB_VIEW = "py-lmdb, a view, plain key"
Read = Callable[[str], Any]


def read_unbuffered(path: str) -> bytes:
    """The same without Python's file object, which is the least that a file costs."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.read(fd, VALUE_BYTES + 1)
    finally:
        os.close(fd)


def read_view(path: str) -> memoryview:
    """A function whose hits are views on the store's memory."""
    return memoryview(read_file(path))


class Contenders:
    """Caches that hold the value of every path."""

    def __init__(self, folder: Path, paths: list[str]) -> None:
        self.reads: dict[str, Read] = {FILE: read_file, "os.open, os.read": read_unbuffered}
        self.absent: list[str] = []
        self._folder, self._paths = folder, paths
        self._own()
        for package, add in (("lmdb", self._lmdb), ("stocaching", self._stocaching), ("diskcache", self._diskcache)):
            if importlib.util.find_spec(package) is None:
                self.absent.append(package)
            else:
                add()

    def _own(self) -> None:
        shared = bytecache.fill_once(shared=True, maxbytes=BUDGET)
        self._add("fill_once(shared), bytes", shared(read_file))
        self._add("fill_once(shared), a view", shared(read_view))
        self._add("fill_once, in one process", bytecache.fill_once(maxbytes=BUDGET)(read_file))

    def _add(self, name: str, read: Read) -> None:
        for path in self._paths:
            read(path)
        self.reads[name] = read

    def _lmdb(self) -> None:
        hash_keys, plain_keys = Lmdb(self._folder / "hashed"), Lmdb(self._folder / "plain")
        for path in self._paths:
            hash_keys.put(hashed(path), read_file(path))
            plain_keys.put(path.encode(), read_file(path))
        self.reads["py-lmdb, bytes, hashed key"] = lambda path: hash_keys.get(hashed(path))
        self.reads["py-lmdb, bytes, plain key"] = lambda path: plain_keys.get(path.encode())
        self.reads[LMDB_VIEW] = lambda path: plain_keys.get_view(path.encode())

    def _stocaching(self) -> None:
        import stocaching
        import torch

        with contextlib.redirect_stdout(io.StringIO()):
            cache = stocaching.SharedCache(2, len(self._paths), (VALUE_BYTES,))
        for i, path in enumerate(self._paths):
            cache.set_slot(i, torch.frombuffer(bytearray(read_file(path)), dtype=torch.uint8))
        places = {path: i for i, path in enumerate(self._paths)}
        self.reads["stocaching, a tensor by its number"] = lambda path: cache.get_slot(places[path])

    def _diskcache(self) -> None:
        import diskcache

        cache = diskcache.Cache(str(self._folder / "diskcache"), size_limit=2**31)
        for path in self._paths:
            cache[path] = read_file(path)
        self.reads["diskcache, get"] = cache.get


def check(reads: dict[str, Read], paths: list[str]) -> None:
    """Every contender must give what is in the file."""
    for path in paths:
        expected = read_file(path)
        for name, read in reads.items():
            if name == LMDB_VIEW:  # it is over with its transaction
                continue
            value = read(path)
            if (value.numpy().tobytes() if hasattr(value, "numpy") else bytes(value)) != expected:
                raise RuntimeError(f"{name} gave other bytes than the file has")


def loop(read: Read, orders: Iterable[list[str]]) -> Callable[[], None]:
    """One pass over all paths, in the next order."""
    turns = itertools.cycle(orders)

    def run() -> None:
        for path in next(turns):
            read(path)

    return run


def bare_loop(orders: Iterable[list[str]]) -> Callable[[], None]:
    """The same loop without a call."""
    turns = itertools.cycle(orders)

    def run() -> None:
        for _path in next(turns):
            pass

    return run


def measure_hits(contenders: Contenders, paths: list[str], rounds: int) -> dict[str, Any]:
    """Microseconds of a hit, and how many times a file's."""
    rng = np.random.default_rng(1)
    orders = [[paths[i] for i in rng.permutation(len(paths))] for _ in range(ORDERS)]
    loops = {name: loop(read, orders) for name, read in contenders.reads.items()}
    us = per_call(_measure.interleave({"": bare_loop(orders)} | loops, rounds), len(paths))
    return {name: {"us": _measure.summary(us[name]), "times_file": _measure.speed(us, FILE, name)} for name in us}


def per_call(seconds: dict[str, list[float]], calls: int) -> dict[str, list[float]]:
    """Microseconds of a call, without the loop around it."""
    empty = seconds.pop("")
    return {
        name: [1e6 * (time - none) / calls for time, none in zip(times, empty, strict=True)]
        for name, times in seconds.items()
    }


def measure_stores(folder: Path, count: int, rounds: int) -> dict[str, Any]:
    """Microseconds of storing a value that is in memory: with us a whole miss, with the others a put."""
    value, budget = np.random.default_rng(2).bytes(VALUE_BYTES), 2 * VALUE_BYTES * count * (rounds + 1)

    def give(path: str) -> bytes:
        return value

    stores: dict[str, Read] = {
        "fill_once(shared), a miss": bytecache.fill_once(shared=True, maxbytes=budget)(give),
        "fill_once, in one process, a miss": bytecache.fill_once(maxbytes=budget)(give),
    }
    if importlib.util.find_spec("lmdb"):
        lmdb = Lmdb(folder / "put")
        stores["py-lmdb, put and commit"] = lambda path: lmdb.put(hashed(path), value)
    if importlib.util.find_spec("diskcache"):
        import diskcache

        disk = diskcache.Cache(str(folder / "set"), size_limit=2**33)
        stores["diskcache, set"] = lambda path: disk.set(path, value)
    batches = [[f"/data/train/{i:09d}.jpg" for i in range(n * count, (n + 1) * count)] for n in range(rounds + 1)]
    loops = {name: loop(store, batches) for name, store in stores.items()}
    us = per_call(_measure.interleave({"": bare_loop(batches)} | loops, rounds), count)
    first = next(iter(us))
    return {name: {"us": _measure.summary(us[name]), "times_ours": _measure.speed(us, first, name)} for name in us}


def report(hits: dict[str, Any], stores: dict[str, Any]) -> None:
    """Prints what a hit and what storing costs."""
    rows = []
    for name, one in hits.items():
        target = f"0.5 {'met' if one['times_file'].median <= 0.5 else 'MISSED'}" if "(shared)" in name else ""
        rows.append((name, one["us"], one["times_file"], target))
    columns = ("", "us a hit: median (10 % to 90 %)", "times the file", "to reach")
    _measure.print_table("A hit on a value of 8 KB", columns, rows)
    rows = [(name, one["us"], one["times_ours"]) for name, one in stores.items()]
    _measure.print_table("Storing a value of 8 KB", ("", "us: median (10 % to 90 %)", "times ours"), rows)


def main() -> None:
    """Measures, prints two tables, and writes the figures where --json says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--values", type=int, default=20_000, metavar="N", help="of 8 KB (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=21, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--stores", type=int, default=1000, metavar="N", help="in each round (default: %(default)s)")
    parser.add_argument("--json", metavar="FILE", help="write the figures there")
    options = parser.parse_args()
    about = _measure.environment("numpy", "lmdb", "stocaching", "diskcache")
    print(*(f"{name} {value}" for name, value in about.items()), sep=", ")
    with scratch() as data, scratch(MEMORY) as folder:
        paths = make_files(data, options.values)
        contenders = Contenders(folder, paths)
        check(contenders.reads, paths[:: max(1, len(paths) // 100)])
        start, others = perf_counter(), _measure.others_cpu_s()
        hits = measure_hits(contenders, paths, options.rounds)
        stores = measure_stores(folder, options.stores, options.rounds)
        busy = max(0.0, (_measure.others_cpu_s() - others) / (perf_counter() - start))
    report(hits, stores)
    for name in contenders.absent:
        print(f"absent: {name} is not installed")
    print(f"other processes kept {busy:.2f} cores busy")
    figures = {"hits": hits, "stores": stores, "absent": contenders.absent, "others_busy_cores": busy}
    _measure.write_json(options.json, {"about": about, "options": vars(options)} | figures)


if __name__ == "__main__":
    main()
