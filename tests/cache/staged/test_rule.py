"""By what is decided after which stage an item is kept: the price, what is worth least, what room is asked for."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from bytecache.cache.staged.measurements import Costs
from bytecache.cache.staged.rule import Rule
from bytecache.planning.knapsack import stage_at
from bytecache.planning.workload import Prices

COSTS = Costs(given=[lambda nbytes: 1.0, lambda nbytes: 2.0, lambda nbytes: 0.5])
MIDDLE = 0x8000  # a lot that changes nothing


def anything(*args: Any) -> bool:
    return True


@pytest.mark.parametrize("price", [0.0, 1e-3, 0.02, 0.05, 0.2, 10.0])
def test_the_price_decides(price: float) -> None:
    """An item goes where its last step is worth the price, from wherever it is, and is never moved back."""
    rule = Rule(COSTS, Prices(1.0, 1.0, price))
    for sizes in itertools.permutations([10.0, 100.0, 40.0]):
        savings = [1.0, 3.0, 3.5]
        assert rule.choose(sizes, -1, MIDDLE, anything) == stage_at(sizes, savings, price)
        for at in range(2):
            chosen = rule.choose(sizes[at:], at, MIDDLE, anything)
            growth = [max(0.0, size - sizes[at]) for size in sizes[at + 1 :]]
            expected = stage_at(growth, [saved - savings[at] for saved in savings[at + 1 :]], price)
            assert chosen == at + 1 + expected


def test_without_a_price_it_is_bytes_that_count() -> None:
    """While the number of items is unknown an item is kept where it saves most per byte, and stays there."""
    rule = Rule(COSTS, None)
    assert rule.choose([10.0, 100.0, 100.0], -1, MIDDLE, anything) == 0
    assert rule.choose([10.0, 11.0, 100.0], -1, MIDDLE, anything) == 1
    assert rule.choose([10.0, 11.0, 100.0], 0, MIDDLE, anything) == 0


def test_if_there_is_no_room_an_earlier_stage_will_do() -> None:
    """Room is asked for by stage, from the one that the price says down, with what the value before gives back."""
    asked = []

    def only_small(nbytes: float, freed: float, density: float, rule: Any) -> bool:
        asked.append((nbytes, freed, density))
        return nbytes <= 10

    rule = Rule(COSTS, Prices(1.0, 1.0, 0.0))
    assert rule.choose([10.0, 40.0, 100.0], -1, MIDDLE, only_small) == 0
    assert asked == [(100.0, 0.0, pytest.approx(0.5 / 60)), (40.0, 0.0, pytest.approx(2 / 30)), (10.0, 0.0, 0.1)]
    asked.clear()
    assert rule.choose([10.0, 40.0, 100.0], 0, MIDDLE, only_small) == 0
    assert asked == [(100.0, 10.0, pytest.approx(0.5 / 60)), (40.0, 10.0, pytest.approx(2 / 30))]


def test_a_surer_price_is_for_more_than_the_densest_stage() -> None:
    """Of what was not kept; what was is moved on at the price itself."""
    sizes = [10.0, 40.0, 100.0]
    assert Rule(COSTS, Prices(1.0, 1.0, 0.0)).choose(sizes, -1, MIDDLE, anything) == 2
    careful = Rule(COSTS, Prices(1.0, 1.0, 0.0), sure=1.0)
    assert careful.choose(sizes, -1, MIDDLE, anything) == 0 and careful.choose(sizes, 0, MIDDLE, anything) == 2
    assert Rule(COSTS, Prices(1.0, 1.0, 1.0), sure=2.0).choose(sizes, -1, MIDDLE, anything) == -1


def test_lots_tell_equal_items_apart() -> None:
    """At the price of a step those take it that draw more."""
    rule = Rule(COSTS, Prices(1.0, 1.0, 2.0 / 30))
    found = [rule.choose([10.0, 40.0, 1000.0], -1, lot, anything) for lot in range(0, 0x10000, 0x100)]
    assert found == sorted(found) and found.count(0) == pytest.approx(128, abs=2)


def test_what_a_kept_item_is_worth() -> None:
    """Seconds per byte of the last step that it has taken; nothing, if no step leads there."""
    rule = Rule(COSTS, Prices(1.0, 1.0, 0.01))
    sizes = np.array([[10.0, 40.0, 100.0]] * 3 + [[10.0, 40.0, 40.0]])
    worth = rule.worth(sizes, np.array([0, 1, 2, 1]))
    assert worth.tolist() == [pytest.approx(0.1), pytest.approx(2 / 30), pytest.approx(0.5 / 60), 0.0]
    assert np.isinf(Rule(COSTS, None).worth(sizes, np.array([0, 1, 2, 1]))).all()
