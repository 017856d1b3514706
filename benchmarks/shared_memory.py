"""How much memory does a cache take that processes share, on tmpfs and in the processes?

    python -m benchmarks.shared_memory [--values N] [--json FILE]

Values of 8 KB, each from a file of its own. Four workers read all of them twice with a cache that stays empty, and
then with one that holds everything; the sum of their proportional set sizes (PSS) grows by what the cache takes.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

import bytecache
from benchmarks import _measure
from benchmarks._stores import BUDGET, MEMORY, VALUE_BYTES, Lmdb, hashed, make_files, read_file, scratch

WORKERS = 4
PATIENCE_S = 600
START_METHODS = ("fork", "spawn")
SHARED = "fill_once(shared=True)"
OWN = "fill_once, a cache in each process"


def disk_shares(folder: Path, paths: list[str]) -> dict[str, float]:
    """Everything in the folder of a cache that holds all values, over the payload."""
    store = bytecache.SharedStore(maxbytes=BUDGET)
    read = bytecache.fill_once(store=store)(read_file)
    for path in paths:
        read(path)
    taken = {"SharedStore": disk_bytes(store.path)}
    store.close()
    if importlib.util.find_spec("lmdb"):
        lmdb = Lmdb(folder / "lmdb")
        for path in paths:
            lmdb.put(hashed(path), read_file(path))
        taken["py-lmdb"] = disk_bytes(folder / "lmdb")
    if importlib.util.find_spec("diskcache"):
        import diskcache

        with diskcache.Cache(str(folder / "diskcache"), size_limit=2**31) as cache:
            for path in paths:
                cache[path] = read_file(path)
            taken["diskcache"] = disk_bytes(folder / "diskcache")
    return {name: nbytes / (VALUE_BYTES * len(paths)) for name, nbytes in taken.items()}


def disk_bytes(folder: Path) -> int:
    """What the files in a folder take."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def work(kind: str, run: str, paths: list[str], ends: Connection) -> None:
    """A worker: reads everything with a cache that stays empty, and then with one that fills; waits after each."""
    options: dict[str, Any] = {"shared": True, "version": run} if kind == SHARED else {}
    empty = bytecache.fill_once(maxsize=0, maxbytes=BUDGET, **options)(read_file)
    filling = bytecache.fill_once(maxbytes=BUDGET, **options)(read_file_again)
    for read in (empty, filling):
        for epoch in range(2):
            for i in np.random.default_rng(epoch).permutation(len(paths)):
                read(paths[i])
        ends.send(read.cache_info().currsize)
        ends.recv()


def read_file_again(path: str) -> bytes:
    """Another function, whose values are apart from those of read_file."""
    return read_file(path)


def pss_bytes(pid: int) -> int:
    """Memory of a process, pages that n processes share counted as an nth (Linux)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def measure_memory(kind: str, start_method: str, paths: list[str]) -> dict[str, Any]:
    """The growth of the sum of PSS over the payload: workers with a full cache against the same with an empty one."""
    context: Any = multiprocessing.get_context(start_method)
    pipes = [context.Pipe() for _ in range(WORKERS)]
    args = (kind, f"memory, {start_method}", paths)
    workers = [context.Process(target=work, args=(*args, theirs), daemon=True) for _, theirs in pipes]
    for worker in workers:
        worker.start()
    sums, held = [], []
    for _ in range(2):
        if not all(ours.poll(PATIENCE_S) for ours, _ in pipes):
            raise RuntimeError("a worker did not answer")
        held = [ours.recv() for ours, _ in pipes]
        sums.append(sum(pss_bytes(worker.pid) for worker in workers))
        for ours, _ in pipes:
            ours.send(None)
    for worker in workers:
        worker.join()
    if held != [len(paths)] * WORKERS:
        raise RuntimeError(f"each of the {WORKERS} workers must see {len(paths)} values, they see {held}")
    empty, full = sums
    growth = (full - empty) / (VALUE_BYTES * len(paths))
    return {"kind": kind, "start_method": start_method, "empty_bytes": empty, "full_bytes": full, "growth": growth}


def report_memory(memory: list[dict[str, Any]]) -> None:
    """Prints what several processes take."""
    rows = [
        (
            one["kind"],
            one["start_method"],
            *(f"{one[name] / 2**20:.1f}" for name in ("empty_bytes", "full_bytes")),
            f"{one['growth']:.3f}",
            f"1.10 {'met' if one['growth'] <= 1.10 else 'MISSED'}" if one["kind"] == SHARED else "",
        )
        for one in memory
    ]
    columns = ("", "start method", "MiB, empty", "MiB, full", "growth / payload", "to reach")
    _measure.print_table(f"PSS of {WORKERS} workers that have each read all values, added up", columns, rows)


def report_disk(disk: dict[str, float]) -> None:
    """Prints what the files of each cache take."""
    rows = [(name, f"{share:.3f}", "") for name, share in disk.items()]
    share = disk["SharedStore"]
    rows[0] = ("SharedStore", f"{share:.3f}", f"1.04 {'met' if share <= 1.04 else 'MISSED'}")
    _measure.print_table("Everything in the cache's folder / payload", ("", "ratio", "to reach"), rows)


def main() -> None:
    """Measures, prints two tables, and writes the figures where --json says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--values", type=int, default=20_000, metavar="N", help="of 8 KB (default: %(default)s)")
    parser.add_argument("--json", metavar="FILE", help="write the figures there")
    options = parser.parse_args()
    about = _measure.environment("numpy", "lmdb", "diskcache")
    print(*(f"{name} {value}" for name, value in about.items()), sep=", ")
    with scratch() as data, scratch(MEMORY) as folder:
        paths = make_files(data, options.values)
        # Before the other caches are loaded: what a forked worker has from its parent counts with both.
        memory = [measure_memory(kind, method, paths) for kind in (SHARED, OWN) for method in START_METHODS]
        disk = disk_shares(folder, paths)
    report_disk(disk)
    report_memory(memory)
    for name in {"py-lmdb", "diskcache"} - set(disk):
        print(f"absent: {name} is not installed")
    _measure.write_json(options.json, {"about": about, "options": vars(options), "memory": memory, "disk": disk})


if __name__ == "__main__":
    main()
