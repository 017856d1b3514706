"""The sizes that a dense admission admits, against brute force."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, strategies as st

import bytecache
from bytecache.planning.density import largest_admitted


@given(st.lists(st.integers(0, 100), max_size=12), st.integers(0, 400))
def test_the_most_items_fit(sizes: list[int], budget: int) -> None:
    """Those up to the limit are as many as any choice has that fits, but for those of the limit's own size."""
    largest = largest_admitted(sizes, budget)
    most = max(n for n in range(len(sizes) + 1) if sum(sorted(sizes)[:n]) <= budget)
    smaller, admitted = (sum(size < largest for size in sizes), sum(size <= largest for size in sizes))
    assert (
        smaller < most <= admitted if 0 < most < len(sizes) else largest == (-1 if sizes and not most else sys.maxsize)
    )


def test_sizes_beyond_32_bits() -> None:
    """The sums are exact."""
    assert largest_admitted([1 << 40, 1 << 41], (1 << 41)) == 1 << 40


def test_simulate_knows_it() -> None:
    """The policy keeps the smallest items from the first epoch on, whatever comes first."""
    sizes = {item: size for item, size in enumerate([50, 10, 30, 20])}
    result = bytecache.simulate([0, 1, 2, 3] * 2, ["dense", "fill_once"], 65, sizes=sizes)
    assert result["dense"].hit.tolist() == [False] * 4 + [False, True, True, True]
    assert result["fill_once"].hit.tolist() == [False] * 4 + [True, True, False, False]


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5, 1.0])
def test_it_beats_what_comes_first(fraction: float) -> None:
    """With sizes as image files have them it has more hits, and the same once all fit."""
    nbytes = (np.random.default_rng(1).lognormal(10, 0.6, 3000)).astype(int)
    trace = [item for epoch in range(2) for item in np.random.default_rng(epoch).permutation(3000).tolist()]
    budget = int(fraction * nbytes.sum())
    result = bytecache.simulate(trace, ["dense", "fill_once"], budget, sizes=lambda item: int(nbytes[item]))
    dense, first = (result[name].part(3000).hit_rate for name in ("dense", "fill_once"))
    assert dense == first == 1.0 if fraction == 1.0 else dense > first + 0.05
