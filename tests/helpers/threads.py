"""Threads that must end."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

PATIENCE_S = 20  # for what should happen at once; reached only by a failing test


def until(condition: Callable[[], Any]) -> None:
    """Return as soon as the condition holds; for states that no event announces."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "the condition never held"
        os.sched_yield()


def start(function: Callable[[], Any]) -> Callable[[], Any]:
    """Run a function in a thread; return a function that waits for its result or the exception it raised."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(function())
        except BaseException as exc:
            outcome.append(exc)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def end() -> Any:
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "the thread hangs"
        return outcome[0]

    return end


def together(*functions: Callable[[], Any]) -> list[Any]:
    """Return the outcomes of functions that run in one thread each and start at once."""
    barrier = threading.Barrier(len(functions))

    def run(function: Callable[[], Any]) -> Any:
        barrier.wait(PATIENCE_S)
        return function()

    ends = [start(lambda function=function: run(function)) for function in functions]
    return [end() for end in ends]
