"""Processes that each hold one cache of many entries: filled, hit, and opened again, on the word of another process."""

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
ALL_ONE_BY_ONE = 100_000  # of more, a cache that can store many at once stores all but the last so
LAST = 10_000
CHUNK = 1_000  # stores that are timed together
OPENINGS = 9


def anonymous_bytes() -> int:
    """Memory of this process alone that no file is behind (Linux)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


def fill(cache: Opened, keys: Sequence[str], folder: Path) -> dict[str, Any]:
    """Stores a value under each key: bytes of overhead per entry, microseconds per store without the function's own."""

    def taken() -> int:
        gc.collect()
        return anonymous_bytes() + disk_bytes(folder)

    cache.store(keys[0])
    before, many = taken(), 0
    if cache.fill and len(keys) > ALL_ONE_BY_ONE:
        many = len(keys) - LAST
        cache.fill(keys[1:many])
    stores = [
        (chunk_ns(cache.store, chunk) - chunk_ns(read, chunk)) / len(chunk) / 1000
        for chunk in (keys[start : start + CHUNK] for start in range(max(1, many), len(keys), CHUNK))
    ]
    overhead = (taken() - before) / (len(keys) - 1) - VALUE_BYTES
    if cache.count() != len(keys):
        raise RuntimeError(f"of {len(keys)} values {cache.count()} are held")
    mean = sum(stores) / len(stores)
    return {"overhead": overhead, "us": summary(stores), "mean_us": mean, "one_by_one": len(keys) - many}


def chunk_ns(call: Callable[[str], Any], keys: Sequence[str]) -> int:
    """Nanoseconds of a call with each key."""
    start = perf_counter_ns()
    for key in keys:
        call(key)
    return perf_counter_ns() - start


def bare_ns(keys: Sequence[str]) -> int:
    """Nanoseconds of the same loop without a call; it waits for a key's memory as the other does."""
    start = perf_counter_ns()
    for _ in keys:
        pass
    return perf_counter_ns() - start


def holder(name: str, entries: int, folder: Path) -> Callable[[str], Any]:
    """For a process with one cache: "fill" it; then nanoseconds of a "hit" and of a bare loop, as often as asked."""
    keys = [key_of(number) for number in range(entries)]
    cache = CONTENDERS[name].open(folder, entries)
    rng = random.Random(entries)

    def draw() -> list[str]:
        return [keys[rng.randrange(entries)] for _ in range(DRAWS)]

    def filled() -> dict[str, Any]:
        found = fill(cache, keys, folder)
        chunk_ns(cache.hit, keys[:: max(1, entries // DRAWS)])  # so that each page was mapped once
        gc.disable()
        return found

    def hit() -> tuple[float, float]:
        again, bare, hits = draw(), draw(), draw()  # apart, so that none finds what another has just brought
        chunk_ns(cache.hit, again)  # the processor's caches were others' meanwhile
        return chunk_ns(cache.hit, hits) / DRAWS, bare_ns(bare) / DRAWS

    return lambda what: filled() if what == "fill" else hit()


def opener(name: str, entries: int, folder: Path) -> Callable[[Any], float]:
    """For a fresh process: milliseconds until a cache that is there was opened and gave a value."""
    importlib.import_module(CONTENDERS[name].package)

    def first_hit(_: Any) -> float:
        key = key_of(entries // 2)
        start = perf_counter_ns()
        cache = CONTENDERS[name].open(folder, entries)
        value = cache.hit(key)
        elapsed = perf_counter_ns() - start
        if value != read(key) or cache.count() != entries:
            raise RuntimeError(f"{name} was opened with {cache.count()} of {entries} values")
        return elapsed / 1e6

    return first_hit


def open_ms(name: str, entries: int, folder: Path) -> Summary:
    """Of several such processes, one after the other."""
    times = []
    for _ in range(OPENINGS):
        with Process(opener, name, entries, folder, start="forkserver") as process:
            times.append(process.ask("open"))
    return summary(times)
