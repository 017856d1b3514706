"""What the tests share: a watch on leaks, both decorators, threads that must end, a child that is forked."""

from __future__ import annotations

import gc
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from helpers.processes import open_files
from helpers.threads import PATIENCE_S

import bytecache


def pytest_configure(config: pytest.Config) -> None:
    # A job that a shell started in the background ignores SIGINT, and so would the Ctrl-C that the tests send.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "foreign_threads: uses a library that keeps threads or files of its own")


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
