"""What the tests share: a watch on leaks, both decorators, threads that must end, a child that is forked."""

from __future__ import annotations

import gc
import os
import pickle
import select
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import bytecache

PATIENCE_S = 20  # for what ought to happen at once; reached only by a failing test


def pytest_configure(config: pytest.Config) -> None:
    # A job that a shell started in the background ignores SIGINT, and so would the Ctrl-C that the tests send.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "foreign_threads: uses a library that keeps threads or files of its own")


def open_files() -> set[tuple[str, str]]:
    """(descriptor, what it is open on) of this process; empty where /proc is not."""
    found = set()
    for fd in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        try:
            found.add((fd, os.readlink(f"/proc/self/fd/{fd}")))
        except OSError:  # the descriptor that listed the folder
            pass
    return found


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test that leaves a thread or an open file; the shared pool's threads may stay."""
    threads, files = set(threading.enumerate()), open_files()
    yield
    if request.node.get_closest_marker("foreign_threads"):
        return
    fresh = [one for one in threading.enumerate() if one not in threads and not one.name.startswith("bytecache")]
    for one in fresh:
        one.join(PATIENCE_S)
    assert [one.name for one in fresh if one.is_alive()] == [], "threads left behind"
    if open_files() - files:
        gc.collect()
    assert open_files() - files == set(), "files left open"


def roomy_lru_cache(maxsize: Any = 10**6, *args: Any, **kwds: Any) -> Any:
    """lru_cache that evicts nothing in a small test."""
    return bytecache.lru_cache(maxsize, *args, **kwds)


@pytest.fixture(params=[bytecache.fill_once, roomy_lru_cache], ids=["fill_once", "lru_cache"])
def both(request: pytest.FixtureRequest) -> Any:
    """Each decorator in turn, with room for everything unless told otherwise."""
    return request.param


@pytest.fixture
def plain_gc() -> Iterator[None]:
    """No cyclic collection while the test runs: what dies, dies by its reference count."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def until(condition: Callable[[], Any]) -> None:
    """Returns as soon as the condition holds; for states that no event announces."""
    give_up = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up, "it never came to be"
        os.sched_yield()


def start(function: Callable[[], Any]) -> Callable[[], Any]:
    """Runs a function in a thread; the result waits for its outcome, a value or the exception it raised."""
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
    """The outcomes of functions that run in a thread each and begin at once."""
    barrier = threading.Barrier(len(functions))

    def begin(function: Callable[[], Any]) -> Any:
        barrier.wait(PATIENCE_S)
        return function()

    ends = [start(lambda function=function: begin(function)) for function in functions]
    return [end() for end in ends]


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


def counting(decorate: Any, function: Any = lambda x: x) -> tuple[Any, list[Any]]:
    """The decorated function, and the list of the arguments it ran with."""
    ran: list[Any] = []

    @decorate
    def run(x: Any) -> Any:
        ran.append(x)
        return function(x)

    return run, ran


def figures(cached: Any, *names: str) -> tuple[Any, ...]:
    """These figures of ``cache_stats()``."""
    stats = cached.cache_stats()
    return tuple(getattr(stats, name) for name in names)
