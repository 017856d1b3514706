"""The report on a shared store that is the first of several tiers: the others are shown as parts of their function."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypedDict

from ..counts import Counts
from ..shared.reports import FunctionReport, ProcessReport
from .counters import of_each
from .rows import HITS_OF, row_ids


class TierReport(TypedDict):
    """What one tier did for a function: its hits, and as misses the calls that it left to those below."""

    name: str
    hits: int
    misses: int
    hit_rate: float


class TieredReport(FunctionReport):
    """A function, with the hits of all tiers in its counters. tiers: each of them; empty if there is but this store."""

    tiers: list[TierReport]


def join_tiers(functions: Sequence[FunctionReport]) -> list[TieredReport]:
    """Return the functions of a shared store, each with what was counted of its other tiers."""
    by_id = {function["id"]: function for function in functions}
    rows = {key: _rows_of(function, by_id) for key, function in by_id.items()}
    are_rows = {row["id"] for found in rows.values() for row in found}
    return [_join(function, rows[key]) for key, function in by_id.items() if key not in are_rows]


def _rows_of(function: FunctionReport, by_id: Mapping[str, FunctionReport]) -> list[FunctionReport]:
    """Return the counters of a function's other tiers."""
    beginning = function["name"] + HITS_OF
    if not any(other["name"].startswith(beginning) for other in by_id.values()):
        return []
    ids = (row.hex() for row in row_ids(bytes.fromhex(function["id"])))
    return [by_id[one] for one in ids if one in by_id]


def _join(function: FunctionReport, rows: Sequence[FunctionReport]) -> TieredReport:
    names = ["this store", *(row["name"].rpartition(HITS_OF)[2] for row in rows)]
    below = [Counts(row["hits"]) for row in rows]
    counts = of_each([Counts(function["hits"], function["misses"]), *below], below)
    tiers: list[TierReport] = [
        {"name": name, "hits": one.hits, "misses": one.misses, "hit_rate": one.hit_rate}
        for name, one in zip(names, counts, strict=True)
    ]
    hits = sum(one.hits for one in counts)
    return {
        **function,
        "hits": hits,
        "hit_rate": Counts(hits, function["misses"]).hit_rate,
        "processes": _join_processes(function, rows),
        "tiers": tiers if rows else [],
    }


def _join_processes(function: FunctionReport, rows: Sequence[FunctionReport]) -> list[ProcessReport]:
    """Return the processes of a function with their hits in all tiers."""
    below = Counter[tuple[int, int]]()
    for row in rows:
        for key, process in _numbered(row["processes"]):
            below[key] += process["hits"]
    joined: list[ProcessReport] = []
    for key, process in _numbered(function["processes"]):
        hits = process["hits"] + below[key]
        joined.append({**process, "hits": hits, "hit_rate": Counts(hits, process["misses"]).hit_rate})
    return joined


def _numbered(processes: Sequence[ProcessReport]) -> list[tuple[tuple[int, int], ProcessReport]]:
    """Return each process with its number, by which it is found, and how many before it had the same."""
    seen = Counter[int]()
    found = []
    for process in processes:
        found.append(((process["pid"], seen[process["pid"]]), process))
        seen[process["pid"]] += 1
    return found
