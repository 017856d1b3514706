"""Closed forms of hit rates, for items that are read once per epoch in random order."""

from __future__ import annotations

import math
from collections.abc import Callable

from .policies import quoted


def predict_hit_rate(policy: str, fraction: float) -> float:
    """Return the steady hit rate, 0 to 1, if each item is read once per epoch in a fresh uniform shuffle.

    policy: "belady", "belady_bypass", "fill_once", "random", "fifo", "lru" or "none", as in :func:`simulate`.
    fraction: how much of the data fits in the cache, c = budget / bytes; 1 or more is all of it.

    These are closed forms, exact in the limit of many items of equal size, for every epoch but the first:

    - fill_once: c. What is cached stays, and each item of it hits once per epoch (so does MinIO of Mohan et al.,
      "Analyzing and Mitigating Data Stalls in DNN Training", VLDB 2021). belady: c too; no more than what is cached
      when an epoch begins can hit in it.
    - random: -c ln(1 - c (1 - exp(-1 / c))).
    - fifo: -ln(1 - c) - c up to c = 1 - 1/e, from there 1 - (1 - c)(e - 1).
    - lru: c + (1 - c) ln(1 - c).

    The last three follow from one argument. At position y of an epoch, 0 to 1, the next read is of any of the 1 - y
    items still to come, with equal probability. Let h(y) be the share of these that is cached: then h is the
    probability of a hit, its integral the hit rate, and the misses so far, per item, are M with M' = 1 - h, M(0) = 0.
    LRU has cached the y items just read and c - y of the others: h = (c - y) / (1 - y) up to y = c. Random replacement
    and FIFO ignore hits, so of the c that were cached when the epoch began, those that remain are still to come as
    often as all items are, and h is what remains: c exp(-M / c) for random, since a miss spares each of C cached items
    with probability 1 - 1/C; c - M for FIFO, until it is 0.

    Raises ValueError for another policy, such as "lfu", whose rate rises from epoch to epoch, and for a negative
    fraction.
    """
    if not fraction >= 0:
        raise ValueError(f"fraction must be budget / bytes, 0 or more, got {fraction!r}")
    if policy not in CLOSED_FORMS:
        raise ValueError(
            f"policy must have a closed form: {quoted(CLOSED_FORMS)}; got {policy!r}: try bytecache.simulate"
        )
    cached = min(1.0, float(fraction))
    return CLOSED_FORMS[policy](cached) if 0 < cached < 1 or policy == "none" else cached


def _random(c: float) -> float:
    return -c * math.log1p(c * math.expm1(-1 / c))


def _fifo(c: float) -> float:
    return -math.log1p(-c) - c if c < 1 - 1 / math.e else 1 - (1 - c) * (math.e - 1)


def _lru(c: float) -> float:
    return max(0.0, c + (1 - c) * math.log1p(-c))  # rounding takes it below 0 if c is tiny


CLOSED_FORMS: dict[str, Callable[[float], float]] = {
    "belady_bypass": lambda c: c,
    "belady": lambda c: c,
    "fill_once": lambda c: c,
    "random": _random,
    "fifo": _fifo,
    "lru": _lru,
    "none": lambda c: 0.0,
}
