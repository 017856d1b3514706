"""Processes with one cache of many entries each: filled, hit, and opened again, as another process asks them to."""

from __future__ import annotations

import gc
import importlib
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter_ns
from typing import Any

from benchmarks.harness.disk import disk_bytes
from benchmarks.harness.measure import Summary, summary
from benchmarks.harness.worker import Process
from benchmarks.peers.entry_caches import CONTENDERS, VALUE_BYTES, Opened, key_of, read

DRAWS = 20_000  # hits in a round
MAX_ONE_BY_ONE = 100_000  # if there are more, a cache that can store many at once does so for all but the last
LAST = 10_000
CHUNK = 1_000  # stores that are timed together
OPENINGS = 9


def anonymous_bytes() -> int:
    """Return this process's memory that is not backed by a file (Linux)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


def fill(cache: Opened, keys: Sequence[str], folder: Path) -> dict[str, Any]:
    """Store a value under each key; return overhead in bytes per entry, and microseconds per store.

    The time of the cached function itself is subtracted.
    """

    def used_bytes() -> int:
        gc.collect()
        return anonymous_bytes() + disk_bytes(folder)

    cache.store(keys[0])
    before, bulk = used_bytes(), 0
    if cache.fill and len(keys) > MAX_ONE_BY_ONE:
        bulk = len(keys) - LAST
        cache.fill(keys[1:bulk])
    stores = [
        (chunk_ns(cache.store, chunk) - chunk_ns(read, chunk)) / len(chunk) / 1000
        for chunk in (keys[start : start + CHUNK] for start in range(max(1, bulk), len(keys), CHUNK))
    ]
    overhead = (used_bytes() - before) / (len(keys) - 1) - VALUE_BYTES
    if cache.entries() != len(keys):
        raise RuntimeError(f"the cache must have {len(keys)} values, it has {cache.entries()}")
    mean = sum(stores) / len(stores)
    return {"overhead": overhead, "us": summary(stores), "mean_us": mean, "one_by_one": len(keys) - bulk}


def chunk_ns(call: Callable[[str], Any], keys: Sequence[str]) -> int:
    """Return the nanoseconds of one call per key."""
    start = perf_counter_ns()
    for key in keys:
        call(key)
    return perf_counter_ns() - start


def bare_ns(keys: Sequence[str]) -> int:
    """Return the nanoseconds of the loop without a call; like the other, it waits for each key's memory."""
    start = perf_counter_ns()
    for _ in keys:
        pass
    return perf_counter_ns() - start


def cache_process(name: str, entries: int, folder: Path) -> Callable[[str], Any]:
    """Open a cache; return what answers "fill" with `fill`, and "hit" with nanoseconds per hit and per bare loop."""
    keys = [key_of(number) for number in range(entries)]
    cache = CONTENDERS[name].open(folder, entries)
    rng = random.Random(entries)

    def draw() -> list[str]:
        return [keys[rng.randrange(entries)] for _ in range(DRAWS)]

    def filled() -> dict[str, Any]:
        result = fill(cache, keys, folder)
        chunk_ns(cache.hit, keys[:: max(1, entries // DRAWS)])  # so that each page has been mapped
        gc.disable()
        return result

    def hit() -> tuple[float, float]:
        again, bare, hits = draw(), draw(), draw()  # separate, so that none profits from memory that another touched
        chunk_ns(cache.hit, again)  # other processes have used the processor's caches since
        return chunk_ns(cache.hit, hits) / DRAWS, bare_ns(bare) / DRAWS

    return lambda question: filled() if question == "fill" else hit()


def opening_process(name: str, entries: int, folder: Path) -> Callable[[Any], float]:
    """Import a cache's package; return what gives the milliseconds to open the filled cache and get a value."""
    importlib.import_module(CONTENDERS[name].package)

    def first_hit(_: Any) -> float:
        key = key_of(entries // 2)
        start = perf_counter_ns()
        cache = CONTENDERS[name].open(folder, entries)
        value = cache.hit(key)
        elapsed = perf_counter_ns() - start
        if value != read(key) or cache.entries() != entries:
            raise RuntimeError(f"{name} must open with {entries} values, it has {cache.entries()}")
        return elapsed / 1e6

    return first_hit


def open_ms(name: str, entries: int, folder: Path) -> Summary:
    """Return the milliseconds of several such processes, one after the other."""
    times = []
    for _ in range(OPENINGS):
        with Process(opening_process, name, entries, folder, start="forkserver") as process:
            times.append(process.ask("open"))
    return summary(times)
