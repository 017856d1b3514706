"""How many runs of a pipeline's stages are under way at a time."""

from __future__ import annotations

import pytest

from bytecache.cache.staged.activity import Activity


def played(*runs: tuple[int, float, float]) -> Activity:
    """Return the activity of runs of (stage, from, to), in the order in which they end."""
    activity = Activity()
    for run in sorted(runs, key=lambda run: run[2]):
        activity.add_run(*run)
    return activity


@pytest.mark.parametrize(
    "runs, expected",
    [
        ([], (1, 1, 0)),
        ([(0, 0, 2), (1, 2, 3)], (1, 1, 0)),  # one after the other
        ([(0, 0, 2), (0, 0, 2), (0, 1, 2), (1, 2, 3)], (1, 2.5, 0)),
        ([(0, 0, 4), (1, 0, 2), (1, 1, 2)], (1.5, 1, 1)),  # reading hides all of the computing
        ([(0, 0, 4), (1, 3, 5)], (1, 1, 0.5)),
        ([(1, 0, 4), (2, 1, 3)], (1.5, 1, 0)),  # all stages but the first compute
    ],
)
def test_how_much_is_done_at_a_time(runs: list[tuple[int, float, float]], expected: tuple[float, ...]) -> None:
    """Processors and reads at a time, and how much of the shorter of both the longer one hides."""
    assert played(*runs).concurrency() == pytest.approx((*expected, 0))


def test_what_a_call_takes_beside_its_stages_is_shared_by_its_keys() -> None:
    """Of those that are kept too; a call within another one has no keys of its own, and the first one is cold."""
    activity = Activity()
    activity.add_call(0, -3.0, -2.0)
    activity.add_call(2, -9.0, -1.0)
    for stage in (0, 1):
        activity.add_run(stage, 1.0 + stage, 2.0 + stage)
    activity.add_call(0, 0.5, 3.5)
    activity.add_call(8, 0.0, 4.0)
    assert activity.concurrency() == (1.0, 1.0, 0.0, 0.25)


def test_of_a_long_call_the_part_counts_whose_runs_are_known() -> None:
    """Half a second after each run of one, for two keys each; of most of the call no run is known any more."""
    activity = played(*[(0, float(n), n + 0.5) for n in range(5000)])
    activity.add_call(1, -2.0, -1.0)
    activity.add_call(10_000, 0.0, 5000.0)
    assert activity.concurrency() == pytest.approx((1, 1, 0, 0.25), rel=1e-3)


def test_runs_without_a_pause_between_them_count_as_they_go() -> None:
    """Six at a time stay six, however long there is always one under way."""
    assert played(*[(0, n / 6, n / 6 + 1.0) for n in range(2000)]).concurrency().reads == pytest.approx(6, rel=0.05)


def test_what_was_long_ago_counts_little() -> None:
    """After some thousand runs one at a time it is forgotten that there were several."""
    runs = [(0, float(n), n + 1.0) for n in range(2000)]
    assert played(*[(0, -10.0, -1.0)] * 8, *runs).concurrency().reads < 1.2


def test_a_run_that_took_long_counts_from_when_the_others_are_known() -> None:
    """Eight reads at a time, and one that stood still for a minute meanwhile."""
    short = [(0, n / 8000, n / 8000 + 1e-3) for n in range(480_000)][-5000:]
    assert played((0, 0.0, 60.0005), *short).concurrency().reads == pytest.approx(9, rel=0.05)
