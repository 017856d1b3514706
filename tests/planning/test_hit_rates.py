"""The predicted hit rates, against the decorators themselves and against the simulation."""

from __future__ import annotations

import math
import random

import pytest
from helpers.traces import shuffled_epochs

import bytecache
from bytecache import predict_hit_rate, simulate
from bytecache.planning.hit_rates import CLOSED_FORMS

ITEMS, EPOCHS = 5_000, 3
# A hit is nearly a coin toss per item, so the rate of an epoch of 5,000 has a standard deviation of at most
# sqrt(1/4 / 5000) = 0.007; over two epochs 0.005. Four of those.
TOLERANCE = 0.02


def measured_hit_rate(policy: str, fraction: float) -> float:
    """Return the hit rate after the first of EPOCHS epochs of ITEMS items, each in a fresh order."""
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


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 1 - 1 / math.e, 0.7, 0.8, 0.9, 0.99, 1.0])
def test_prediction_is_what_the_simulation_does(fraction: float) -> None:
    """Every closed form is within 0.01 of a simulation, at all sizes, in the second epoch and in the later ones."""
    items = 30_000  # a standard deviation of at most 0.003 per epoch
    results = simulate(shuffled_epochs(items, 4), CLOSED_FORMS, round(fraction * items))
    for policy, result in results.items():
        predicted = predict_hit_rate(policy, fraction)
        assert result.part(items, 2 * items).hit_rate == pytest.approx(predicted, abs=0.01), policy
        assert result.part(2 * items).hit_rate == pytest.approx(predicted, abs=0.01), policy


def test_the_table_of_rates() -> None:
    """The formulas give these rates at a fifth, half and four fifths."""
    rates = {name: [round(predict_hit_rate(name, c), 3) for c in (0.2, 0.5, 0.8)] for name in CLOSED_FORMS}
    assert rates == {
        **dict.fromkeys(("belady_bypass", "belady", "fill_once"), [0.2, 0.5, 0.8]),
        "random": [0.044, 0.283, 0.677],
        "fifo": [0.023, 0.193, 0.656],
        "lru": [0.021, 0.153, 0.478],
        "none": [0.0, 0.0, 0.0],
    }
    assert [predict_hit_rate(policy, 3) for policy in ("fill_once", "random", "lru", "none")] == [1.0, 1.0, 1.0, 0.0]


@pytest.mark.parametrize("policy", CLOSED_FORMS)
def test_predictions_are_rates_that_rise_to_the_bound(policy: str) -> None:
    """They go from 0 to 1, never above the cached fraction, and rise with it, also at the extremes."""
    fractions = [0.0, 5e-324, 1e-300, 1e-17, 1e-9, *(i / 1000 for i in range(1, 1000)), 1 - 1e-16, 1.0, math.inf]
    rates = [predict_hit_rate(policy, fraction) for fraction in fractions]
    assert all(0 <= rate <= min(1, fraction) for rate, fraction in zip(rates, fractions, strict=True))
    assert rates == sorted(rates)


@pytest.mark.parametrize("fraction", [-0.1, math.nan, -math.inf])
def test_an_invalid_fraction_raises(fraction: float) -> None:
    """A negative fraction, or NaN, is a ValueError that names it."""
    with pytest.raises(ValueError, match=f"fraction must be budget / bytes, 0 or more, got {fraction}"):
        predict_hit_rate("lru", fraction)


@pytest.mark.parametrize("policy", ["lfu", "clock"])
def test_a_policy_without_a_formula_raises(policy: str) -> None:
    """It is a ValueError that lists the policies with a closed form, and names the way out."""
    with pytest.raises(ValueError, match=f'"fifo", "lru", "none"; got \'{policy}\': try bytecache.simulate'):
        predict_hit_rate(policy, 0.5)
