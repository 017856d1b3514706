"""Simultaneous calls that meet in one flight."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from helpers.internals import waiting_threads
from helpers.threads import PATIENCE_S, start, until

N = 8  # calls of a crowd


class Gate:
    """The body of a function that blocks: `entered` counts its runs, `open` lets them go on."""

    def __init__(self) -> None:
        self.ran: list[Any] = []
        self.entered, self._opened = threading.Semaphore(0), threading.Event()

    def __call__(self, key: Any) -> Any:
        self.ran.append(key)
        self.entered.release()
        assert self._opened.wait(PATIENCE_S)
        return [key]

    def wait_entered(self) -> None:
        assert self.entered.acquire(timeout=PATIENCE_S)

    def open(self) -> None:
        self._opened.set()


def crowd(cached: Any, gate: Gate, key: Any = "a") -> list[Callable[[], Any]]:
    """Start N calls of one key: the first leads and is in the function, the others wait for it."""
    calls = [start(lambda: cached(key))]
    gate.wait_entered()
    calls += [start(lambda: cached(key)) for _ in range(N - 1)]
    until(lambda: len(waiting_threads()) == N - 1)
    return calls
