"""When a server that has failed is asked again, by a clock that the tests set."""

from __future__ import annotations

import logging

import pytest

from bytecache.stores.remote.circuit_breaker import CircuitBreaker


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def opened() -> tuple[CircuitBreaker, Clock]:
    """Return a breaker that has just opened."""
    clock = Clock()
    breaker = CircuitBreaker("host:6379", clock)
    for _ in range(3):
        entered = breaker.enter()
        assert entered is not None
        breaker.fail(entered, "gone")
    return breaker, clock


def test_three_failures_in_a_row_open_it() -> None:
    """A success in between resets the count."""
    breaker = CircuitBreaker("host:6379", Clock())
    for fails in (True, True, False, True, True):
        entered = breaker.enter()
        assert entered is not None and breaker.state == "closed"
        breaker.fail(entered, "gone") if fails else breaker.succeed(entered)
    entered = breaker.enter()
    assert entered is not None
    breaker.fail(entered, "gone")
    assert breaker.state == "open" and breaker.enter() is None


def test_the_pauses_double() -> None:
    """5 s, then twice as long after each trial that fails, at most 300 s; a trial is one request."""
    breaker, clock = opened()
    for pause_s in (5, 10, 20, 40, 80, 160, 300, 300):
        clock.now += pause_s - 0.01
        assert breaker.enter() is None and breaker.state == "open"
        clock.now += 0.01
        entered = breaker.enter()
        assert entered is not None and breaker.state == "half-open" and breaker.enter() is None
        breaker.fail(entered, "still gone")


def test_a_success_closes_it() -> None:
    """Then three failures open it again, for 5 s."""
    breaker, clock = opened()
    for _ in range(2):
        clock.now += 5
        trial = breaker.enter()
        assert trial is not None
        breaker.succeed(trial)
        assert breaker.state == "closed"
        for _ in range(3):
            entered = breaker.enter()
            assert entered is not None
            breaker.fail(entered, "gone")
        assert breaker.state == "open"


def test_what_arrives_late_does_not_count() -> None:
    """Requests that began before it opened change nothing, whether they fail or succeed; nor do those of a trial."""
    clock = Clock()
    breaker = CircuitBreaker("host:6379", clock)
    entered = [breaker.enter() for _ in range(6)]
    assert None not in entered
    for one in entered[:4]:
        breaker.fail(one, "gone")  # type: ignore[arg-type]
    breaker.succeed(entered[4])  # type: ignore[arg-type]
    assert breaker.state == "open" and breaker.enter() is None
    clock.now += 5
    trial = breaker.enter()
    breaker.fail(entered[5], "gone")  # type: ignore[arg-type]
    breaker.succeed(trial)  # type: ignore[arg-type]
    assert breaker.state == "closed"


def test_a_trial_that_never_ends_is_followed_by_another() -> None:
    """As when its thread was interrupted."""
    breaker, clock = opened()
    clock.now += 5
    assert breaker.enter() is not None and breaker.enter() is None
    clock.now += 5
    trial = breaker.enter()
    assert trial is not None
    breaker.succeed(trial)
    assert breaker.state == "closed"


def test_each_change_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """The opening with its reason, as a warning; the closing; not the trials that fail."""
    with caplog.at_level(logging.INFO, "bytecache"):
        breaker, clock = opened()
        for pause_s in (5, 10):
            clock.now += pause_s
            trial = breaker.enter()
            assert trial is not None
            breaker.fail(trial, "gone")
        clock.now += 20
        trial = breaker.enter()
        assert trial is not None
        breaker.succeed(trial)
    assert [(record.levelname, record.getMessage()[:40]) for record in caplog.records] == [
        ("WARNING", "host:6379 does not answer (gone): its va"),
        ("INFO", "host:6379 answers again"),
    ]
