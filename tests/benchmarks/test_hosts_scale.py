"""Many hosts over one data set: what is predicted is what the tiers of fill_once do."""

from __future__ import annotations

import pytest

from benchmarks.runs.hosts_scale_run import FIXED, SHUFFLE, Case, predicted, simulated

CASES = [
    Case(4, SHUFFLE, 0.0, 0.1),
    Case(4, SHUFFLE, 0.1, 0.1),
    Case(4, SHUFFLE, 0.3, 0.2),
    Case(4, SHUFFLE, 0.0, 0.3),
    Case(4, FIXED, 0.1, 0.1),
    Case(4, FIXED, 0.25, 0.0),
    Case(2, FIXED, 0.4, 0.3),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_is_predicted_is_what_the_tiers_answer(case: Case) -> None:
    """Within 0.03 in each epoch for 800 items, and in the last one also who answers, once copies are made."""
    shares = simulated(case, 800, 8, seed=0)
    for epoch, found in enumerate(shares, 1):
        assert found.storage == pytest.approx(predicted(case, epoch).storage, abs=0.03)
        assert sum(found) == pytest.approx(1)
    assert shares[-1] == pytest.approx(predicted(case, 8), abs=0.03)


def test_the_network_brings_what_neither_the_host_nor_its_own_server_has() -> None:
    """A host sends as much as it receives from the others, and receives what storage answers in addition."""
    shares = predicted(Case(4, SHUFFLE, 0.1, 0.1), 20)
    assert shares == pytest.approx((0.1, 0.4, 0.5))
    assert shares.outgoing(4) == pytest.approx(0.3) and shares.incoming(4) == pytest.approx(0.8)
