"""What a policy will do, before training: by a formula, or by a replay of the reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..system.byte_sizes import as_nbytes, parse_size
from .policies import POLICIES, replay

POLICY_NAMES = (*POLICIES, "none")


def predict_hit_rate(policy: str, fraction: float) -> float:
    """The steady hit rate, 0 to 1, when each item is read once per epoch in a fresh uniform shuffle.

    policy: "belady", "belady_bypass", "fill_once", "random", "fifo", "lru" or "none", as in :func:`simulate`.
    fraction: how much of the data the cache holds, c = budget / bytes; 1 and more is all of it.

    These are closed forms, exact in the limit of many items of equal size, for every epoch but the first:

    - fill_once: c. What is held stays, and each of it hits once per epoch (so does MinIO of Mohan et al., "Analyzing
      and Mitigating Data Stalls in DNN Training", VLDB 2021). belady: c too; more than is held when an epoch begins
      cannot hit in it.
    - random: -c ln(1 - c (1 - exp(-1 / c))).
    - fifo: -ln(1 - c) - c up to c = 1 - 1/e, from there 1 - (1 - c)(e - 1).
    - lru: c + (1 - c) ln(1 - c).

    The last three by one argument. At place y of an epoch, 0 to 1, the next read is of any of the 1 - y items that are
    still to come, with equal chances. Let h(y) be the share of these that is held: then h is the chance of a hit, its
    integral the hit rate, and the misses so far, per item, are M with M' = 1 - h, M(0) = 0. LRU holds the y just read
    and c - y of the others: h = (c - y) / (1 - y) up to y = c. Random replacement and FIFO do not look at hits, so of
    the c that were held when the epoch began those that stay are as often still to come as all items are, and h
    is what stays: c exp(-M / c) for random, since one miss spares each of C held with probability 1 - 1/C; c - M for
    FIFO, until it is 0.

    Raises ValueError for another policy, such as "lfu", whose rate rises from epoch to epoch, and for a negative
    fraction.
    """
    if not fraction >= 0:
        raise ValueError(f"fraction must be budget / bytes, 0 or more, got {fraction!r}")
    if policy not in CLOSED_FORMS:
        raise ValueError(
            f"policy must have a closed form: {_quoted(CLOSED_FORMS)}; got {policy!r}: try bytecache.simulate"
        )
    held = min(1.0, float(fraction))
    return CLOSED_FORMS[policy](held) if 0 < held < 1 or policy == "none" else held


def _random(c: float) -> float:
    return -c * math.log1p(c * math.expm1(-1 / c))


def _fifo(c: float) -> float:
    return -math.log1p(-c) - c if c < 1 - 1 / math.e else 1 - (1 - c) * (math.e - 1)


def _lru(c: float) -> float:
    return max(0.0, c + (1 - c) * math.log1p(-c))  # rounded below 0 where c is tiny


CLOSED_FORMS: dict[str, Callable[[float], float]] = {
    "belady_bypass": lambda c: c,
    "belady": lambda c: c,
    "fill_once": lambda c: c,
    "random": _random,
    "fifo": _fifo,
    "lru": _lru,
    "none": lambda c: 0.0,
}


class SimulationResult(NamedTuple):
    """What one policy did with a trace.

    hit: which accesses were answered from the cache, bool (accesses,). nbytes: what each of them asked for, in bytes,
    int64 (accesses,); 1 each where the budget is in entries.
    """

    hit: NDArray[np.bool_]
    nbytes: NDArray[np.int64]

    @property
    def hits(self) -> int:
        """Accesses answered from the cache."""
        return int(np.count_nonzero(self.hit))

    @property
    def misses(self) -> int:
        """Accesses that reached the storage."""
        return len(self.hit) - self.hits

    @property
    def hit_rate(self) -> float:
        """Hits per access, 0.0 where there is none."""
        return self.hits / len(self.hit) if len(self.hit) else 0.0

    @property
    def hit_bytes(self) -> int:
        """Bytes answered from the cache."""
        return int(self.nbytes[self.hit].sum())

    @property
    def read_bytes(self) -> int:
        """Bytes read from the storage: those of the misses."""
        return int(self.nbytes.sum()) - self.hit_bytes

    @property
    def byte_hit_rate(self) -> float:
        """Bytes answered from the cache per byte asked for, 0.0 where there is none."""
        asked = int(self.nbytes.sum())
        return self.hit_bytes / asked if asked else 0.0

    def part(self, start: int, stop: int | None = None) -> SimulationResult:
        """The figures of the accesses from `start` to before `stop`, such as those of one epoch; shares the arrays."""
        return SimulationResult(self.hit[start:stop], self.nbytes[start:stop])


def simulate(
    trace: Iterable[Hashable],
    policies: Iterable[str],
    budget: int | str,
    *,
    sizes: Mapping[Any, int] | Callable[[Any], int] | None = None,
    seed: int = 0,
) -> dict[str, SimulationResult]:
    """What each policy does with a trace of reads, by name.

    trace: the keys in the order in which they are read. budget: the entries that fit, or with `sizes` (key to bytes)
    the bytes, as an int or a size such as ``"2 GiB"``. seed: of random replacement. The policies, by who
    leaves when a miss needs room:

    - "lru", as in :func:`bytecache.lru_cache`: who was used least recently; "fifo": who came first; "random": anyone;
    - "lfu": who was used least since it came, of several the one used least recently; counts go with the item;
    - "belady": who is used again latest (Belady, "A study of replacement algorithms for a virtual-storage computer",
      IBM Systems Journal 5(2), 1966), so with knowledge of the future. With equal sizes no policy that must keep
      every miss hits more often;
    - "belady_bypass": the same with the newcomer among those who may leave, so that it may be refused (McFarling,
      "Cache replacement with dynamic exclusion", ISCA 1992). With equal sizes no policy hits more often;
    - "fill_once", as in :func:`bytecache.fill_once`: nobody leaves, the newcomer is refused; "none": keeps nothing.

    With unequal sizes as many leave as it takes, and an item larger than the budget is refused by all. The two of
    Belady are then no bound: to find the best is NP-hard (Folwarczny and Sgall, "General Caching Is Hard: Even with
    Small Pages", Algorithmica 79, 2017).

    Takes O(n log n) time for n reads, some seconds for a million of them under all policies. Raises ValueError for a
    policy or size that there is not or a key without a size, TypeError for one of the wrong type or an unhashable key.

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
            hit = replay(POLICIES[name](items, seed), items, item_bytes, limit)
        results[name] = SimulationResult(hit, nbytes)
    return results


def check_policies(policies: Iterable[str]) -> list[str]:
    """The names, each once; raises ValueError for one that there is not."""
    names = [policies] if isinstance(policies, str) else list(dict.fromkeys(policies))
    for name in names:
        if name not in POLICY_NAMES:
            raise ValueError(f"policies must be of {_quoted(POLICY_NAMES)}, got {name!r}")
    return names


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _parse_budget(budget: int | str, sizes: object) -> int:
    if sizes is None and isinstance(budget, str):
        raise TypeError(f"budget must be an int, the entries that fit, or sizes= be given with it, got {budget!r}")
    return parse_size(budget, "budget")


def _item_bytes(keys: Iterable[Hashable], sizes: Mapping[Any, int] | Callable[[Any], int]) -> list[int]:
    if not (isinstance(sizes, Mapping) or callable(sizes)):
        raise TypeError(f"sizes must be a mapping or a function, from key to bytes, got {type(sizes).__name__}")
    return [_nbytes(key, sizes) for key in keys]


def _nbytes(key: Hashable, sizes: Mapping[Any, int] | Callable[[Any], int]) -> int:
    if isinstance(sizes, Mapping):
        try:
            size = sizes[key]
        except KeyError:
            raise ValueError(
                f"sizes must have the bytes of every key of the trace, there are none for {key!r}"
            ) from None
    else:
        size = sizes(key)
    nbytes = as_nbytes(size)
    if nbytes is None:
        raise ValueError(f"sizes must give an int of 0 bytes or more, got {size!r} for {key!r}")
    return nbytes
