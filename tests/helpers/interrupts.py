"""An interrupt, or a kill, at a chosen place in some modules."""

from __future__ import annotations

import inspect
import os
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from .threads import start, until


@contextmanager
def sigint_once(condition: Callable[[], Any]) -> Iterator[None]:
    """Interrupt this, the main thread, when the condition holds, which another thread looks at.

    A signal that comes between Python's last look for one and a wait for a lock is seen only after the wait. So it is
    sent again until it has been seen.
    """
    seen = threading.Event()

    def interrupt(*args: Any) -> None:
        if not seen.is_set():
            seen.set()
            raise KeyboardInterrupt

    def send() -> None:
        until(condition)
        while not seen.wait(0.05):
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, interrupt)
    end = start(send)
    try:
        yield
    finally:
        end()
        signal.signal(signal.SIGINT, before)


def entries_into(modules: Collection[str], call: Callable[[], Any], interrupt_at: int | None = None) -> int:
    """Return how many Python functions of these modules `call` enters; interrupt it at the entry that is asked for.

    CPython handles a signal where a function is entered, so these are places where Ctrl-C really strikes.
    """
    entered = 0

    def trace(frame: Any, event: str, arg: Any) -> None:
        nonlocal entered
        # A generator that goes on is entered too, but there CPython raises inside of it, and tracing outside of it.
        if frame.f_globals.get("__name__") in modules and not frame.f_code.co_flags & inspect.CO_GENERATOR:
            entered += 1
            if entered == interrupt_at:
                raise KeyboardInterrupt

    _call_under(trace, sys.settrace, sys.gettrace(), call)
    return entered


def returns_into(modules: Collection[str], call: Callable[[], Any], interrupt_at: int | None = None) -> int:
    """Return how many functions in C, called by these modules, return; interrupt `call` after the one asked for.

    CPython handles a signal there too.
    """
    returned = 0

    def profile(frame: Any, event: str, arg: Any) -> None:
        nonlocal returned
        if event == "c_return" and frame.f_globals.get("__name__") in modules:
            returned += 1
            if returned == interrupt_at:
                raise KeyboardInterrupt

    _call_under(profile, sys.setprofile, sys.getprofile(), call)
    return returned


def _call_under(hook: Any, install: Callable[[Any], None], before: Any, call: Callable[[], Any]) -> None:
    """Run `call` with a hook of the interpreter until it ends or is interrupted; then install the one before."""
    install(hook)
    try:
        call()
    except KeyboardInterrupt:
        pass
    finally:
        install(before)


def killed_at(line: int, modules: Collection[str], call: Callable[[], Any]) -> bool:
    """Run `call` in a child that is killed at the n-th line of these modules; return False if it ends before."""

    def trace(frame: Any, event: str, arg: Any) -> Any:
        nonlocal lines
        if frame.f_globals.get("__name__") not in modules:
            return None
        if event == "line":
            lines += 1
            if lines == line:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    lines = 0
    pid = os.fork()
    if pid == 0:
        try:
            sys.settrace(trace)
            call()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
