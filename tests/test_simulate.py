"""The prediction against the decorators themselves."""

from __future__ import annotations

import math
import random

import pytest

import bytecache
from bytecache import predict_hit_rate

ITEMS, EPOCHS = 5_000, 3
# A hit is nearly a coin per item, so the rate of an epoch of 5,000 has a standard deviation of at most
# sqrt(1/4 / 5000) = 0.007; over two epochs 0.005. Four of those.
TOLERANCE = 0.02


def measured_hit_rate(policy: str, fraction: float) -> float:
    """The hit rate after the first of EPOCHS epochs of ITEMS items, each in a fresh order."""
    decorate = {"fill_once": bytecache.fill_once, "lru": bytecache.lru_cache, "none": bytecache.lru_cache}[policy]
    read = decorate(maxsize=0 if policy == "none" else round(fraction * ITEMS))(lambda item: item)
    order, rng = list(range(ITEMS)), random.Random(7)
    for epoch in range(EPOCHS):
        rng.shuffle(order)
        for item in order:
            read(item)
        if epoch == 0:
            first = read.cache_stats()
    return (read.cache_stats() - first).hit_rate


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.2, 0.5, 0.8, 0.95, 1.0])
@pytest.mark.parametrize("policy", ["fill_once", "lru", "none"])
def test_prediction_is_what_the_decorators_do(policy: str, fraction: float) -> None:
    """The predicted rate is the measured one: exactly for fill_once and none, within four sigma for lru."""
    tolerance = TOLERANCE if policy == "lru" else 1e-12
    assert measured_hit_rate(policy, fraction) == pytest.approx(predict_hit_rate(policy, fraction), abs=tolerance)


def test_the_designs_table() -> None:
    """The formula gives the figures of the table: LRU keeps 0.021, 0.153 and 0.478 at a fifth, half, four fifths."""
    assert [round(predict_hit_rate("lru", c), 3) for c in (0.2, 0.5, 0.8)] == [0.021, 0.153, 0.478]
    assert [predict_hit_rate(policy, 3) for policy in ("fill_once", "lru", "none")] == [1.0, 1.0, 0.0]


@pytest.mark.parametrize("fraction", [-0.1, math.nan, -math.inf])
def test_a_wrong_fraction_is_refused(fraction: float) -> None:
    """A fraction below zero, or none at all, is a ValueError that names it."""
    with pytest.raises(ValueError, match=f"fraction must be budget / bytes, 0 or more, got {fraction}"):
        predict_hit_rate("lru", fraction)


def test_an_unknown_policy_is_refused() -> None:
    """A policy that there is not is a ValueError that lists those there are."""
    with pytest.raises(ValueError, match='policy must be "fill_once", "lru" or "none", got \'fifo\''):
        predict_hit_rate("fifo", 0.5)
