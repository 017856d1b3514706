"""Replays of a trace of reads under replacement policies."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..system.byte_sizes import as_nbytes, parse_size
from .density import largest_admitted
from .policies import POLICIES, quoted, replay

POLICY_NAMES = (*POLICIES, "none")


class SimulationResult(NamedTuple):
    """What one policy did with a trace.

    hit: which accesses hit, bool (accesses,). nbytes: the size of what each access read, int64 (accesses,); 1 each if
    the budget is in entries.
    """

    hit: NDArray[np.bool_]
    nbytes: NDArray[np.int64]

    @property
    def hits(self) -> int:
        """Accesses answered from the cache."""
        return int(np.count_nonzero(self.hit))

    @property
    def misses(self) -> int:
        """Accesses that read from the storage."""
        return len(self.hit) - self.hits

    @property
    def hit_rate(self) -> float:
        """Hits per access, 0.0 without accesses."""
        return self.hits / len(self.hit) if len(self.hit) else 0.0

    @property
    def hit_bytes(self) -> int:
        """Bytes of the hits: answered from the cache."""
        return int(self.nbytes[self.hit].sum())

    @property
    def missed_bytes(self) -> int:
        """Bytes of the misses: read from the storage."""
        return int(self.nbytes.sum()) - self.hit_bytes

    @property
    def byte_hit_rate(self) -> float:
        """Bytes of the hits per byte of all accesses, 0.0 without any."""
        total = int(self.nbytes.sum())
        return self.hit_bytes / total if total else 0.0

    def part(self, start: int, stop: int | None = None) -> SimulationResult:
        """Return the result of the accesses from `start` to before `stop`, such as an epoch; it shares the arrays."""
        return SimulationResult(self.hit[start:stop], self.nbytes[start:stop])


def simulate(
    trace: Iterable[Hashable],
    policies: Iterable[str],
    budget: int | str,
    *,
    sizes: Mapping[Any, int] | Callable[[Any], int] | None = None,
    seed: int = 0,
) -> dict[str, SimulationResult]:
    """Return what each policy does with a trace of reads, by the policy's name.

    trace: the keys in the order in which they are read. budget: how many entries fit, or with `sizes` (key to bytes)
    how many bytes, as an int or a size such as ``"2 GiB"``. seed: of random replacement. The policies, by what they
    evict if a miss needs space:

    - "lru", as in :func:`bytecache.lru_cache`: the least recently used; "fifo": the oldest; "random": any;
    - "lfu": the least often used since its admission, of several the least recently used; its count goes with it;
    - "belady": the one whose next use is latest (Belady, "A study of replacement algorithms for a virtual-storage
      computer", IBM Systems Journal 5(2), 1966), so with knowledge of the future. With equal sizes no policy that must
      admit every miss has more hits;
    - "belady_bypass": the same, but the candidate itself may be the victim and is then rejected (McFarling, "Cache
      replacement with dynamic exclusion", ISCA 1992). With equal sizes no policy has more hits;
    - "fill_once", as in :func:`bytecache.fill_once`: nothing, the candidate is rejected; "dense", the same with
      ``admit="dense"``, which rejects all but the smallest items; "none": keeps nothing.

    With unequal sizes a miss evicts as many as it takes, and all policies reject an item larger than the budget. The
    two of Belady are then not a bound: to find the best is NP-hard (Folwarczny and Sgall, "General Caching Is Hard:
    Even with Small Pages", Algorithmica 79, 2017).

    Takes O(n log n) time for n reads, some seconds for a million of them under all policies. Raises ValueError for an
    unknown policy, an invalid size or a key without a size, TypeError for a wrong type or an unhashable key.

    >>> results = simulate([1, 2, 3, 1, 2, 3], ["fill_once", "lru"], budget=2)
    >>> results["fill_once"].hits, results["lru"].hits
    (2, 0)
    >>> results["fill_once"].part(3).hit_rate  # of the second epoch
    0.6666666666666666
    """
    names, limit = check_policies(policies), _parse_budget(budget, sizes)
    numbers: dict[Hashable, int] = {}
    items = [numbers.setdefault(key, len(numbers)) for key in trace]
    item_bytes = [1] * len(numbers) if sizes is None else _item_bytes(numbers, sizes)
    nbytes = np.array(item_bytes, dtype=np.int64)[np.array(items, dtype=np.intp)]
    results = {}
    for name in names:
        if name == "none":
            hit = np.zeros(len(items), dtype=np.bool_)
        else:
            largest = largest_admitted(item_bytes, limit) if name == "dense" else None
            hit = replay(POLICIES[name](items, seed), items, item_bytes, limit, largest)
        results[name] = SimulationResult(hit, nbytes)
    return results


def check_policies(policies: Iterable[str]) -> list[str]:
    """Return the names, each once; raise ValueError for an unknown one."""
    names = [policies] if isinstance(policies, str) else list(dict.fromkeys(policies))
    for name in names:
        if name not in POLICY_NAMES:
            raise ValueError(f"policies must be among {quoted(POLICY_NAMES)}, got {name!r}")
    return names


def _parse_budget(budget: int | str, sizes: object) -> int:
    if sizes is None and isinstance(budget, str):
        raise TypeError(f"budget must be a number of entries, or bytes if sizes= is given with it, got {budget!r}")
    return parse_size(budget, "budget")


def _item_bytes(keys: Iterable[Hashable], sizes: Mapping[Any, int] | Callable[[Any], int]) -> list[int]:
    if not (isinstance(sizes, Mapping) or callable(sizes)):
        raise TypeError(f"sizes must be a mapping or a function from key to bytes, got {type(sizes).__name__}")
    return [_nbytes(key, sizes) for key in keys]


def _nbytes(key: Hashable, sizes: Mapping[Any, int] | Callable[[Any], int]) -> int:
    if isinstance(sizes, Mapping):
        try:
            size = sizes[key]
        except KeyError:
            raise ValueError(f"sizes must have the bytes of every key of the trace, it has none for {key!r}") from None
    else:
        size = sizes(key)
    nbytes = as_nbytes(size)
    if nbytes is None:
        raise ValueError(f"sizes must give an int of 0 bytes or more, got {size!r} for {key!r}")
    return nbytes
