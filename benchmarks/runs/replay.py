"""A trace replayed through a cache: which reads hit, how many per epoch, and the upper bound for any cache."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import bytecache
from benchmarks.peers.policies import SIMULATED, Contender, Limit, Read
from benchmarks.workloads.files import MEMORY, scratch
from benchmarks.workloads.traces import Trace

Hit = NDArray[np.bool_]  # of each read


def simulated(trace: Trace, fraction: float, seed: int) -> Iterator[tuple[str, Hit]]:
    """Yield each row of SIMULATED and its hits; private caches are simulated one by one, on their own reads."""
    hits = {row: np.zeros(len(trace.keys), dtype=np.bool_) for row in SIMULATED}
    for cache in range(trace.caches):
        mine = trace.stream == cache if trace.caches > 1 else np.ones(len(trace.keys), dtype=np.bool_)
        sizes = None if trace.sizes is None else trace.sizes.tolist().__getitem__
        budget = _entries(trace, fraction) if sizes is None else _nbytes(trace, fraction)
        found = bytecache.simulate(
            trace.keys[mine].tolist(), SIMULATED.values(), budget // trace.caches, sizes=sizes, seed=seed
        )
        for row, policy in SIMULATED.items():
            hits[row][mine] = found[policy].hit
    yield from hits.items()


def real(contender: Contender, trace: Trace, fraction: float, seed: int) -> Hit:
    """Return the hits of the cache itself; private caches are made one per process, each with its share."""
    missed: list[int] = []

    def read(item: int) -> int:
        missed.append(item)
        return item

    random.seed(seed)  # cachetools and theine draw from it
    parts = 1 if contender.shared else trace.caches
    sizes = None if trace.sizes is None else trace.sizes.tolist()
    with scratch(MEMORY) as folder:
        limit = Limit(_entries(trace, fraction) // parts, _nbytes(trace, fraction) // parts, sizes, folder)
        caches: list[Any] = [contender.make(read, limit) for _ in range(trace.caches)]
        if contender.warmed and trace.best is not None:
            caches[0].warm(trace.best.tolist(), threads=1)  # in this order
            missed.clear()
        return _run(trace, caches, missed)


def _run(trace: Trace, caches: Sequence[Read], missed: list[int]) -> Hit:
    hit = bytearray(len(trace.keys))
    stream = trace.stream.tolist() if trace.stream is not None and len(caches) > 1 else [0] * len(hit)
    for position, (item, process) in enumerate(zip(trace.keys.tolist(), stream, strict=True)):
        caches[process](item)
        if missed:
            missed.clear()
        else:
            hit[position] = 1
    return np.frombuffer(hit, dtype=np.bool_)


def outcome(trace: Trace, hit: Hit, fraction: float) -> dict[str, Any]:
    """Return the hits of each epoch after the first, and the hit rates of all these by reads and by bytes."""
    steady = hit[trace.epoch :]
    hits = steady.reshape(-1, trace.epoch).sum(axis=1).tolist()
    sizes = np.ones(trace.items, dtype=np.int64) if trace.sizes is None else trace.sizes
    nbytes = sizes[trace.keys[trace.epoch :]]
    return {
        "items": trace.items,
        "capacity": _entries(trace, fraction),
        "epoch_reads": trace.epoch,
        "hits": hits,
        "fewest_hits": min(hits),
        "most_hits": max(hits),
        "hit_rate": float(steady.mean()),
        "byte_hit_rate": float(nbytes[steady].sum() / nbytes.sum()),
    }


def bounds(trace: Trace, fraction: float) -> dict[str, float] | None:
    """Return the upper bounds of any cache if each item is read once per epoch; None if some are read more often.

    A hit was in the cache when its epoch started, and hits only once. So the hits are at most the items that fit, the
    smallest ones if sizes differ, and the bytes of the hits are at most the budget.
    """
    if not trace.once:
        return None
    if trace.sizes is None:
        rate = _entries(trace, fraction) / trace.items
        return {"hit_rate": rate, "byte_hit_rate": rate}
    budget, smallest = _nbytes(trace, fraction), np.sort(trace.sizes)
    fitting = int(np.searchsorted(np.cumsum(smallest), budget, side="right"))
    return {"hit_rate": fitting / trace.items, "byte_hit_rate": budget / int(smallest.sum())}


def _entries(trace: Trace, fraction: float) -> int:
    """Return how many items fit; if sizes differ, how many of the mean size would."""
    return round(fraction * trace.items)


def _nbytes(trace: Trace, fraction: float) -> int:
    return 0 if trace.sizes is None else int(fraction * int(trace.sizes.sum()))
