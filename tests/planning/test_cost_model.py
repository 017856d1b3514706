"""What stages cost as lines over bytes: robust to a few measurements, exact for lines, careful with few."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from bytecache.planning.cost_model import Line, StageCost, check_costs, fit_costs, fit_line, pace, touched

RNG = np.random.default_rng(0)


@settings(max_examples=200, deadline=None)
@given(
    nbytes=st.lists(st.integers(0, 10**9), min_size=1, max_size=60),
    at_zero=st.floats(0, 10),
    per_byte=st.floats(0, 1e-6),
)
def test_a_line_is_found(nbytes: list[int], at_zero: float, per_byte: float) -> None:
    """Of exact measurements the line is exact at each of them."""
    x = np.array(nbytes, np.float64)
    seconds = at_zero + per_byte * x
    assert fit_line(x, seconds).at(x) == pytest.approx(seconds, rel=1e-6, abs=1e-9)


@settings(max_examples=200, deadline=None)
@given(points=st.lists(st.tuples(st.integers(0, 10**9), st.floats(0, 100)), min_size=1, max_size=60))
def test_it_never_falls_nor_below_zero(points: list[tuple[int, float]]) -> None:
    """Whatever was measured."""
    line = fit_line(*zip(*points, strict=True))
    assert line.at_zero >= 0 and line.per_byte >= 0 and np.isfinite(line).all()


def test_outliers_change_little() -> None:
    """A tenth of the measurements may be a hundred times too long, wherever they are."""
    nbytes = RNG.lognormal(10, 0.6, 500)
    seconds = (1e-3 + 1e-7 * nbytes) * RNG.normal(1, 0.05, 500)
    spoilt = seconds.copy()
    spoilt[RNG.random(500) < 0.1] *= 100
    for found in fit_line(nbytes, seconds), fit_line(nbytes, spoilt):
        at = np.percentile(nbytes, [1, 50, 99])
        assert found.at(at) == pytest.approx(1e-3 + 1e-7 * at, rel=0.25)


def test_a_few_huge_ones_count() -> None:
    """Among items of one size, a hundred times as many bytes in one of sixty say what a byte costs."""
    nbytes = np.full(300, 2000.0)
    nbytes[::60] = 200_000
    line = fit_line(nbytes, (4e-4 + 1e-8 * nbytes) * RNG.normal(1, 0.1, 300))
    assert line.at(200_000) == pytest.approx(2.4e-3, rel=0.25) and line.at(2000) == pytest.approx(4.2e-4, rel=0.1)


def test_equal_items_cost_their_median() -> None:
    """Of items of one size nothing but one number can be known."""
    assert fit_line([100] * 5, [1.0, 2.0, 3.0, 4.0, 500.0]).at(100) <= 4.0
    assert fit_line([100], [2.0]) == Line(2.0, 0.0)
    assert fit_line([0, 0], [2.0, 2.0]) == Line(2.0, 0.0)


def test_costs_are_over_bytes_in_and_out() -> None:
    """A stage is fitted over what it takes and returns together; the first takes none."""
    sizes = np.array([[10.0, 100.0], [20.0, 400.0], [30.0, 900.0]])
    assert touched(sizes).tolist() == [[10, 110], [20, 420], [30, 930]]
    read, decode = fit_costs(sizes, 1e-3 * touched(sizes), 1 + 0 * sizes)
    assert read.cpu.at(20) == pytest.approx(0.02) and decode.cpu.at(420) == pytest.approx(0.42)
    assert read.wait.at(20) == decode.wait.at(420) == pytest.approx(1.0)


@pytest.mark.parametrize("factor", [0.1, 10])
def test_the_pace_follows_the_last_runs(factor: float) -> None:
    """If these took ten times as long, or a tenth, so does the line; whichever items they were."""
    cost = StageCost(Line(0.0, 0.0), Line(1e-3, 1e-7))
    recent = [(nbytes, 0.0, factor * cost.wait.at(nbytes)) for nbytes in (50_000, 60_000, 70_000)]
    found = pace(cost, recent)
    assert found.wait.at(1000) == pytest.approx(factor * cost.wait.at(1000))
    assert found.cpu.at(1000) == 0.0


def test_small_changes_of_pace_are_noise() -> None:
    """Up to a fifth the line stays as it is."""
    cost = StageCost(Line(1e-3, 0.0), Line(1e-3, 0.0))
    assert pace(cost, [(10, 1.1e-3, 0.9e-3)] * 9) == cost


def test_what_cost_nothing_may_begin_to() -> None:
    """Where nothing was measured before, the last runs are the cost."""
    free = StageCost(Line(0.0, 0.0), Line(0.0, 0.0))
    assert pace(free, [(10, 0.5, 2.0)] * 9) == StageCost(Line(0.5, 0.0), Line(2.0, 0.0))


def test_costs_that_are_given() -> None:
    """Seconds, or functions of the bytes; None if they are to be measured."""
    assert check_costs(None, 2) is None
    read, decode = check_costs([0.5, lambda nbytes: nbytes / 10], 2) or ()
    assert (read(7), decode(7)) == (0.5, 0.7)


@pytest.mark.parametrize(
    ("cost", "error"),
    [
        (1, ValueError), ([1], ValueError), ("ab", ValueError), ([0, 0.0], ValueError), ([1, -1], TypeError),
        ([1, float("nan")], TypeError), ([1, float("inf")], TypeError), ([1, True], TypeError), ([1, None], TypeError),
    ],
)  # fmt: skip
def test_wrong_costs_are_refused(cost: Any, error: Any) -> None:
    """The message has what was given."""
    with pytest.raises(error, match="cost"):
        check_costs(cost, 2)
