"""Reports on a shared store: sizes in bytes, times in seconds, dates in ISO 8601 and UTC."""

from __future__ import annotations

from typing import TypedDict

from ..counts import Counts


class CounterReport(TypedDict):
    """Counters under the names that CacheStats has for them."""

    hits: int
    misses: int
    errors: int
    stored: int
    rejected: int
    evicted: int
    hit_rate: float
    load_s: float


def report_counts(counts: Counts) -> CounterReport:
    """Return counters by name."""
    return {
        "hits": counts.hits,
        "misses": counts.misses,
        "errors": counts.errors,
        "stored": counts.stored,
        "rejected": counts.rejected,
        "evicted": counts.evicted,
        "hit_rate": counts.hit_rate,
        "load_s": counts.load_s,
    }


class ProcessReport(CounterReport):
    """One process that used a function."""

    pid: int
    started: str


class FunctionReport(CounterReport):
    """One function's values, and its counters over all processes.

    A function whose code has changed is another one of the same name. id: what stands for it and its code, in
    hexadecimal. in_use: whether a running process has called it and has the store open; those of other containers
    cannot be seen. problem: why its files cannot be read.
    """

    id: str
    name: str
    in_use: bool
    entries: int
    currbytes: int
    problem: str | None
    processes: list[ProcessReport]


class StoreReport(TypedDict):
    """A store, its file system and its functions.

    overhead_bytes: what the files of the store take on disk, without the values. used_fraction: currbytes / maxbytes.
    """

    path: str
    filesystem: str
    free_bytes: int
    created: str
    age_s: float
    entries: int
    currbytes: int
    maxbytes: int
    used_fraction: float
    overhead_bytes: int
    functions: list[FunctionReport]


class RunStoreReport(TypedDict):
    """The store of a run. live: whether a process uses it; None: another user's, so that cannot be seen."""

    path: str
    user: str
    live: bool | None
    nbytes: int
    age_s: float


class RunStoresReport(TypedDict):
    """The stores of all runs on a machine."""

    stores: list[RunStoreReport]


class SweepReport(TypedDict):
    """The stores of dead runs that were removed. freed_bytes: of their files, on disk and in memory."""

    removed: list[str]
    freed_bytes: int


class DamagedEntry(TypedDict):
    """An entry with a problem. entry: its number; None: all entries of a function whose files cannot be read."""

    function: str
    entry: int | None
    problem: str


class VerifyReport(TypedDict):
    """What was read, and which of it is damaged."""

    path: str
    entries: int
    read_bytes: int
    damaged: list[DamagedEntry]


class ClearReport(TypedDict):
    """What was removed from a store. freed_bytes: of its files, on disk."""

    path: str
    entries: int
    currbytes: int
    functions: int
    freed_bytes: int
