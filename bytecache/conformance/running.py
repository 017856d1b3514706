"""Threads and forked children that must end, for tests."""

from __future__ import annotations

import os
import pickle
import select
import signal
import threading
import warnings
from collections.abc import Callable
from typing import Any

PATIENCE_S = 20  # for what should happen at once; reached only by a failing test


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

    ends = [start(lambda function=function: run(function)) for function in functions]  # type: ignore[misc]
    return [end() for end in ends]


def in_child(function: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """Return the result of a function that runs in a forked child; kill a child that hangs, and fail."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)  # Python 3.12: there are other threads
        pid = os.fork()
    if pid == 0:
        try:
            try:
                result = function()
            except BaseException as exc:
                result = repr(exc)
            os.write(writing, pickle.dumps(result))
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as answer:
        done = select.select([answer], [], [], patience_s)[0]
        if not done:
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        assert done, "the child hangs"
        return pickle.load(answer)
