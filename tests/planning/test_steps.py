"""Steps along hulls, against the definition of a hull: what is best at each price."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from bytecache.planning.knapsack import stage_at
from bytecache.planning.steps import hull, in_order

STAGES = st.integers(1, 5)
# Few values, so that sizes, savings and densities are often equal; halves and quarters, so that sums are exact.
ITEM = STAGES.flatmap(
    lambda stages: st.tuples(
        st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.0, 8.0, math.inf]), min_size=stages, max_size=stages),
        st.lists(st.integers(0, 12).map(lambda n: n / 4), min_size=stages, max_size=stages),
    )
)


@settings(deadline=None, max_examples=300)
@given(item=ITEM, price=st.integers(0, 40).map(lambda n: n / 16))
def test_the_steps_worth_a_price_lead_to_the_best_stage_at_it(
    item: tuple[list[float], list[float]], price: float
) -> None:
    """No stage has a higher saving less price times size; of those as good, the one reached saves most."""
    sizes, savings = kept_or_nothing(item)
    steps = hull(np.array([sizes]), np.array([savings]))
    taken = int((steps.density[0] >= price).sum())
    reached = (steps.growth[0, :taken].sum(), steps.gain[0, :taken].sum())
    offers = [(0.0, 0.0), *((size, saving) for size, saving in zip(sizes, savings, strict=True) if size < math.inf)]
    best = max(saving - price * size for size, saving in offers)
    assert reached == max((o for o in offers if o[1] - price * o[0] == best), key=lambda o: (o[1], -o[0]))
    assert stage_at(*item, price) == (steps.after[0, taken - 1] if taken else -1)


@settings(deadline=None, max_examples=300)
@given(data=st.data(), stages=STAGES)
def test_steps_go_on_where_the_last_one_ended(data: st.DataObject, stages: int) -> None:
    """In order of density each item's steps follow one another, from -1 on, and each saves something."""
    finite = st.floats(0, 1e6)
    rows = st.lists(st.lists(finite, min_size=stages, max_size=stages), min_size=0, max_size=8)
    savings = np.array(data.draw(rows)).reshape(-1, stages)
    sizes = np.ceil(np.resize(np.array(data.draw(st.lists(finite, min_size=1))), savings.shape))
    steps = in_order(hull(sizes, savings))
    stage = np.full(len(sizes), -1)
    for item, before, after in zip(steps.item, steps.before, steps.after, strict=True):
        assert stage[item] == before
        stage[item] = after
    assert (steps.gain > 0).all() and (steps.density[1:] <= steps.density[:-1]).all() and (steps.growth >= 0).all()


@pytest.mark.parametrize("seed", range(20))
def test_one_item_at_a_time_is_what_all_at_once_is(seed: int) -> None:
    """stage_at agrees bit for bit with the steps of many items, also at the densities themselves."""
    rng = np.random.default_rng(seed)
    sizes, savings = np.ceil(rng.lognormal(10, 2, (50, 4))), rng.lognormal(-6, 2, (50, 4))
    sizes[25:], savings[25:] = sizes[0], savings[25:] * 0 + savings[0]
    savings[:10] = sizes[:10] * 1e-7  # in one line, but for rounding
    steps = hull(sizes, savings)
    for item in range(50):
        for price in {0.0, math.inf, *(d for d in steps.density[item].tolist() if d >= 0)}:
            taken = int((steps.density[item] >= price).sum())
            expected = steps.after[item, taken - 1] if taken else -1
            assert stage_at(sizes[item], savings[item], price) == expected


def test_equally_large_stages_whose_densities_are_equal_by_rounding() -> None:
    """The better one is reached, in one step or two, by many items and by one."""
    sizes, savings = [7.0, 7.0, 7.0], [1.8, math.nextafter(1.8, 2), 1.8]
    assert savings[0] / 7 == savings[1] / 7
    steps = hull(np.array([sizes]), np.array([savings]))
    assert steps.after[0].tolist() == [0, 1, 1] and steps.growth[0].tolist() == [7.0, 0.0, 0.0]
    assert stage_at(sizes, savings, 1.8 / 7) == 1 and stage_at(sizes, savings, 0.3) == -1


def kept_or_nothing(item: tuple[list[float], list[float]]) -> tuple[list[float], list[float]]:
    """Return the item with a saving of 0 at each stage at which it cannot be kept."""
    sizes, savings = item
    return sizes, [saving if size < math.inf else 0.0 for size, saving in zip(sizes, savings, strict=True)]
