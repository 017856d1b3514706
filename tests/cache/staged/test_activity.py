"""How many runs of a pipeline's stages are under way at a time."""

from __future__ import annotations

import pytest

from bytecache.cache.staged.activity import Activity


def played(*runs: tuple[int, float, float]) -> Activity:
    """Return the activity of runs of (stage, from, to), in the order of their events."""
    activity = Activity()
    events = [(start, 1, stage) for stage, start, _ in runs] + [(end, 0, stage) for stage, _, end in runs]
    for now, begins, stage in sorted(events):
        if begins:
            activity.begin(stage, now)
        else:
            activity.end(stage, now)
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
    assert played(*runs).concurrency() == pytest.approx(expected)


def test_what_a_call_takes_beside_its_stages_slows_all_of_them_down() -> None:
    """Of a call that is half something else, half as much is done at a time."""
    activity = Activity()
    activity.begin_call(0.0)
    for stage in (0, 1):
        activity.begin(stage, 1.0 + stage)
        activity.end(stage, 2.0 + stage)
    activity.end_call(4.0)
    assert activity.concurrency() == (0.5, 0.5, 0.0)


def test_runs_without_a_pause_between_them_count_as_they_go() -> None:
    """Six at a time stay six, however long there is always one under way."""
    assert played(*[(0, n / 6, n / 6 + 1.0) for n in range(2000)]).concurrency().reads == pytest.approx(6, rel=0.05)


def test_what_was_long_ago_counts_little() -> None:
    """After some hundred runs one at a time it is forgotten that there were several."""
    runs = [(0, float(n), n + 1.0) for n in range(500)]
    assert played(*[(0, -10.0, -1.0)] * 8, *runs).concurrency().reads < 1.2
