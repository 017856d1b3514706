"""A child that is forked, and the files that a process has open."""

from __future__ import annotations

import os
import pickle
import select
import signal
import warnings
from collections.abc import Callable
from typing import Any

from helpers.threads import PATIENCE_S


def open_files() -> set[tuple[str, str]]:
    """(descriptor, what it is open on) of this process; empty where /proc is not."""
    found = set()
    for fd in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        try:
            found.add((fd, os.readlink(f"/proc/self/fd/{fd}")))
        except OSError:  # the descriptor that listed the folder
            pass
    return found


def in_child(function: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """The result of a function that runs in a forked child; a child that hangs is killed, and the test fails."""
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
