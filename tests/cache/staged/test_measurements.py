"""What runs of stages have cost: CPU time apart from waiting, cold runs, how much is done at a time."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest
from helpers.pipelines import spin
from helpers.threads import PATIENCE_S, together

from bytecache.cache.staged.measurements import Costs, Measurements


def noted(items: int, stages: int = 2, seconds: float = 1.0, first: float = 1.0) -> Measurements:
    """Return measurements of items of 100 and 200 bytes; the first one takes `first` times as long."""
    measured = Measurements(stages, None)
    for n in range(items):
        took = seconds * (first if n == 0 else 1.0)
        measured.note(-1, [100.0, 200.0], [0.0, took], [took, 0.0])
    return measured


def test_cpu_time_and_waiting_are_told_apart() -> None:
    """A stage that sleeps waits, one that computes does not; both are summed up, also if it raises."""
    measured = Measurements(2, None)
    value, cpu_s, wait_s = measured.call(0, lambda key: time.sleep(0.02) or key, "key")
    assert value == "key" and wait_s >= 0.019 and cpu_s < 0.01
    _, cpu_s, wait_s = measured.call(1, spin, 0.02)
    assert cpu_s >= 0.02
    with pytest.raises(ZeroDivisionError):
        measured.call(1, lambda key: spin(0.02) or 1 // 0, "key")
    cpu_s, wait_s = measured.seconds()
    assert cpu_s[1] >= 0.04 and wait_s[0] >= 0.019


def test_the_first_item_is_cold() -> None:
    """Connections are opened and modules imported by it: it counts only until there is another one."""
    assert noted(1, first=100).costs().of_run(0, 0, 100) == (0.0, 100.0)
    assert noted(2, first=100).costs().of_run(0, 0, 100) == (0.0, 1.0)
    assert noted(3, first=100).costs().of_run(1, 100, 200) == (1.0, 0.0)


def test_what_is_not_sampled_still_sets_the_pace() -> None:
    """Once items are kept, those that are read are of some kinds only: their bytes are not noted, their seconds are."""
    measured = noted(20)
    measured.sampling = False
    for _ in range(64):
        measured.note(-1, [900.0, 900.0], [0.0, 90.0], [90.0, 0.0])
        measured.note(0, [100.0, 200.0], [10.0], [0.0])
    assert measured.items == 20 and (measured.sizes() == [100.0, 200.0]).all()
    assert measured.costs().of_run(0, 0, 100)[1] > 10


def test_costs_that_are_given_are_not_measured() -> None:
    """The first stage waits, the others compute."""
    costs = Costs(given=[lambda nbytes: nbytes / 100, lambda nbytes: 3.0])
    assert costs.of_run(0, 0, 50) == (0.0, 0.5) and costs.of_run(1, 50, 9) == (3.0, 0.0)
    cpu, wait = costs.of_sample(np.array([[50.0, 9.0], [70.0, 9.0]]))
    assert cpu.tolist() == [[0, 3], [0, 3]] and wait.tolist() == [[0.5, 0], [0.7, 0]]


def test_a_sample_is_bounded() -> None:
    """However many items there are; each is as likely to be among it."""
    measured = Measurements(1, None)
    for n in range(20_000):
        measured.note(-1, [float(n)], [0.0], [1.0])
    sizes = measured.sizes()
    assert sizes.shape == (4096, 1) and measured.items == 20_000
    assert sizes.mean() == pytest.approx(10_000, rel=0.05)


def test_how_much_is_done_at_a_time() -> None:
    """As many threads as are in a stage at once; what they compute is not hidden if none reads meanwhile."""
    measured, inside = Measurements(2, None), threading.Barrier(4)
    assert measured.concurrency() == (1.0, 1.0, 0.0, 0.0)

    def work() -> None:
        for _ in range(64):
            measured.call(0, lambda key: inside.wait(PATIENCE_S), "key")
            inside.wait(PATIENCE_S)
            measured.call(1, lambda key: inside.wait(PATIENCE_S), "key")
            inside.wait(PATIENCE_S)

    assert together(*[work] * 4) == [None] * 4
    processors, reads, overlapped, _ = measured.concurrency()
    assert 1 <= processors <= 4 and 1 <= reads <= 4 and overlapped < 0.5


def test_threads_note_items_while_others_fit_them() -> None:
    """Neither loses its way: not even while the first item, which is cold, is dropped."""
    for _ in range(50):
        measured = Measurements(2, None)

        def note() -> None:
            for _ in range(20):
                measured.note(-1, [100.0, 200.0], [0.0, 1.0], [1.0, 0.0])  # noqa: B023
                measured.costs().of_sample(measured.sizes())  # noqa: B023

        assert together(*[note] * 4) == [None] * 4
        assert measured.items == 80


@pytest.mark.parametrize("told", [4, 300])
def test_what_others_are_told(told: int) -> None:
    """A process that adopts it has the same costs, and a sample of the bytes."""
    one, other = noted(told), Measurements(2, None)
    other.adopt(one.export(), one.items)
    assert other.items == told and other.costs().of_run(1, 100, 200) == (1.0, 0.0)
    assert (other.sizes() == [100.0, 200.0]).all() and len(other.sizes()) <= 256
    mixed: Any = noted(2)
    mixed.adopt(one.export(), one.items)
    assert mixed.items == told + 2
