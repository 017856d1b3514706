"""Fixtures of all tests: a check of what a test leaves behind, decorators in memory, stores in temporary folders."""

from __future__ import annotations

import gc
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.register_assert_rewrite("bytecache.conformance", "contracts", "helpers")  # before either is imported

from helpers.internals import leasing_threads, waiting_threads  # noqa: E402
from helpers.processes import Children, open_files  # noqa: E402
from helpers.threads import PATIENCE_S  # noqa: E402

import bytecache  # noqa: E402


def pytest_configure(config: pytest.Config) -> None:
    # A job that a shell started in the background ignores SIGINT, and so would the Ctrl-C that the tests send.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "foreign_threads: uses a library that keeps threads or files of its own")
    config.addinivalue_line("markers", "exhaustive: tries the same code hundreds of times; runs on one Python alone")


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a waiting call, a lease, a thread or an open file; threads of the pool may stay."""
    threads, files = set(threading.enumerate()), open_files()
    yield
    Children.kill_all()
    if request.node.get_closest_marker("foreign_threads"):
        return
    started = [one for one in threading.enumerate() if one not in threads and not one.name.startswith("bytecache")]
    for thread in started:
        thread.join(PATIENCE_S)
    assert [thread.name for thread in started if thread.is_alive()] == [], "threads left behind"
    assert waiting_threads() == set(), "threads that wait for a flight"
    assert leasing_threads() == set(), "threads that have a lease"
    if open_files() - files:
        gc.collect()
    assert open_files() - files == set(), "files left open"


def roomy_lru_cache(maxsize: Any = 10**6, *args: Any, **kwds: Any) -> Any:
    """lru_cache that evicts nothing in a small test."""
    return bytecache.lru_cache(maxsize, *args, **kwds)


@pytest.fixture(params=[bytecache.fill_once, roomy_lru_cache], ids=["fill_once", "lru_cache"])
def in_memory(request: pytest.FixtureRequest) -> Any:
    """Each decorator that keeps values in memory, without a limit unless the test sets one."""
    return request.param


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Callable[..., bytecache.SharedStore]]:
    """A factory of shared stores, each in a folder of its own or of the given name; closes them at the end."""
    made: list[bytecache.SharedStore] = []

    def make(maxbytes: int = 4 << 20, name: str | None = None) -> bytecache.SharedStore:
        made.append(bytecache.SharedStore(tmp_path / (name or str(len(made))), maxbytes=maxbytes))
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture
def plain_gc() -> Iterator[None]:
    """Run no cyclic collection during the test: what dies, dies by its reference count."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()
