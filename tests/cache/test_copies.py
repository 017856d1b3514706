"""Cached functions that dill, cloudpickle and their like copy by value: to workers, and for digests."""

from __future__ import annotations

import functools
import os
import pickle
import subprocess
import sys
import textwrap
import types
from pathlib import Path
from typing import Any

import pytest
from helpers import by_value
from helpers.counting import stats_of
from helpers.internals import store_of
from helpers.threads import PATIENCE_S, start

import bytecache


def _with_dill(**options: Any) -> Any:
    dill = pytest.importorskip("dill")
    return types.SimpleNamespace(dumps=functools.partial(dill.dumps, **options), loads=dill.loads)


@pytest.fixture(params=["by_value", "cloudpickle", "dill", "dill, recurse"])
def pickler(request: pytest.FixtureRequest) -> Any:
    """What copies functions by value: a small one of the tests, and others if they are installed."""
    if request.param.startswith("dill"):
        return _with_dill(recurse="recurse" in request.param)
    return by_value if request.param == "by_value" else pytest.importorskip(request.param)


def copied(pickler: Any, value: Any) -> Any:
    return pickler.loads(pickler.dumps(value))


def make_large() -> Any:
    """Return a local function, which has no name that leads to it."""

    def large(n: int) -> bytes:
        return b"x" * SIZE

    return large


SIZE = 100_000


# In memory


def test_a_copy_has_the_options_and_no_values(in_memory: Any, pickler: Any) -> None:
    """The copy of a function has its budget, its options and its methods, and starts empty; the original keeps all."""
    read = in_memory(5, True, maxbytes=300_000, key=lambda n: n % 10, sizeof=len)(make_large())
    read(1), read(2)
    data = pickler.dumps(read)
    assert len(data) < SIZE / 10
    again = pickler.loads(data)
    assert again.cache_parameters() == {"maxsize": 5, "typed": True, "maxbytes": 300_000}
    assert again.cache_info() == (0, 0, 5, 0)
    assert [again(n) == b"x" * SIZE for n in (1, 11, 2, 3, 4)] == [True] * 5
    assert again.map([1, 12]) == [b"x" * SIZE] * 2
    again.warm([1])
    assert again.cache_info().misses > 0 and again.cache_stats().currbytes == 300_000
    assert read.cache_info()[:2] == (0, 2)
    again.cache_clear()
    assert (again.cache_info().currsize, read.cache_info().currsize) == (0, 2)


def test_what_a_function_has_read_does_not_change_its_pickle(in_memory: Any, pickler: Any) -> None:
    """Before and after calls, and after a clear, the pickle is the same: it may serve as a fingerprint."""
    read = in_memory(maxbytes="1 MiB")(make_large())
    before = pickler.dumps(read)
    read(1), read(1), read.map([2, 3])
    after = pickler.dumps(read)
    read.cache_clear()
    assert before == after == pickler.dumps(read)


@pytest.mark.parametrize("arguments", [(), (1,), ("a",), (1, 2)])
@pytest.mark.parametrize("names", [{}, {"b": 1}])
def test_a_copy_takes_any_arguments(in_memory: Any, pickler: Any, arguments: Any, names: Any) -> None:
    """A copy is called like the original: without arguments, by position, by name."""
    f = copied(pickler, in_memory()(lambda *args, **kwds: (args, kwds)))
    for _ in range(2):
        assert f(*arguments, **names) == (arguments, names)
    assert f.cache_info()[:2] == (1, 1)


def test_a_copy_of_size_zero_runs_every_call(in_memory: Any, pickler: Any) -> None:
    """With maxsize=0 a copy stores nothing either, and counts."""
    f = copied(pickler, in_memory(maxsize=0)(lambda x: len(x)))
    assert (f([1]), f([1]), f.map(["a", "b"])) == (1, 1, [1, 1])
    assert stats_of(f, "hits", "misses", "rejected") == (0, 4, 4)


def test_a_copy_runs_once_for_simultaneous_calls(in_memory: Any, pickler: Any) -> None:
    """A miss of a copy is answered, and locks and flights are its own: none came along."""
    f = in_memory()(lambda n: [n])
    held = start(lambda: f.map(range(100), threads=4))
    again = copied(pickler, f)
    assert start(lambda: again(3))() == [3]
    assert held() == [[n] for n in range(100)]


def test_functions_that_use_a_cached_one_take_it_along(in_memory: Any, pickler: Any) -> None:
    """A function that calls a cached one is copied with it; in one pickle both are one."""
    read = in_memory()(lambda n: [n])

    def work(n: int) -> Any:
        return read(n)

    again, used = copied(pickler, (work, read))
    assert again(1) is again(1)
    assert used.cache_info()[:2] == (1, 1) and read.cache_info()[:2] == (0, 0)


@pytest.mark.parametrize("part", ["itself", "__wrapped__", "cache_info"])
def test_a_function_that_calls_itself_is_copied(in_memory: Any, pickler: Any, part: str) -> None:
    """A recursive function, what it wraps, and its methods are copied together, wherever a pickler begins."""

    @in_memory()
    def fib(n: int) -> int:
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    again, _ = copied(pickler, (fib, fib) if part == "itself" else (fib, getattr(fib, part)))
    assert again(30) == 832040
    assert again.cache_info()[:2] == (28, 31)
    copied(pickler, getattr(fib, part, fib))


def test_a_cache_around_a_cache_is_copied(in_memory: Any, pickler: Any, stores: Any) -> None:
    """A cache in memory around a shared one, and around another one in memory, is copied as both are."""
    shared = bytecache.fill_once(store=stores())(lambda n: b"%d" % n)
    for inner in shared, in_memory()(lambda n: b"%d" % n):
        outer = in_memory()(inner)
        outer(1)
        again = copied(pickler, outer)
        assert (again(1), again(1), again.cache_info()[:2]) == (b"1", b"1", (1, 1))
        if inner is shared:
            store_of(again.__wrapped__).close()


# Over a store


def test_a_copy_over_a_store_finds_its_values(stores: Any, pickler: Any) -> None:
    """A local function over a store is copied with the store's folder: the copy hits what the original has stored."""
    read = bytecache.fill_once(store=stores())(make_large())
    read(1)
    data = pickler.dumps(read)
    assert len(data) < SIZE / 10
    again = pickler.loads(data)
    assert (again(1), again.cache_info()[:2]) == (b"x" * SIZE, (1, 0))
    store_of(again).close()


SCRIPT = """
    import os, pickle, subprocess, sys
    import bytecache
    from helpers import by_value

    @bytecache.fill_once(maxbytes="1 MiB")
    def in_memory(n): return b"x" * n

    @bytecache.lru_cache
    def recent(n): return b"x" * n

    @bytecache.fill_once(shared=True, maxbytes="1 MiB")
    def shared(n): return b"x" * n

    store = bytecache.SharedStore(maxbytes="1 MiB")

    @bytecache.fill_once(store=store)
    def stored(n): return b"x" * n

    class Reader:
        @staticmethod
        @bytecache.fill_once(shared=True, maxbytes="1 MiB")
        def read(n): return b"x" * n

    def work(n): return [len(f(n)) for f in (in_memory, recent, shared, stored)]

    FUNCTIONS = in_memory, recent, shared, stored, Reader.read

    if __name__ == "__main__":
        assert work(5) == [5] * 4 and Reader.read(5) == b"x" * 5
        assert all(pickle.loads(pickle.dumps(f, p)) is f for f in FUNCTIONS for p in range(pickle.HIGHEST_PROTOCOL + 1))
        assert all(by_value.loads(by_value.dumps(f)) is f for f in FUNCTIONS[2:])
        worker = "import sys, pickle; functions, work = pickle.load(sys.stdin.buffer); here = work(5);"
        worker += "there = [len(f(5)) for f in functions];"
        worker += "print(here, there, [f.cache_info()[:2] for f in functions], functions[3].cache_info('all')[:2])"
        environment = {name: value for name, value in os.environ.items() if name != "BYTECACHE_RUN"}  # started before
        data = by_value.dumps((FUNCTIONS, work))
        subprocess.run([sys.executable, "-c", worker], input=data, env=environment, check=True)
"""


def test_functions_of_a_script_work_in_a_process_that_cannot_import_it(tmp_path: Path) -> None:
    """Functions of __main__ pickle by name for its children; by value they reach others, and shared ones still share.

    The worker is not of the run, as if it had been started before: what is shared takes its folder along.
    """
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))
    path = os.pathsep.join([str(Path(__file__).parents[1]), str(Path(bytecache.__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0] == (
        "[5, 5, 5, 5] [5, 5, 5, 5, 5] [(1, 1), (1, 1), (2, 0), (2, 0), (1, 0)] (2, 1)"
    )


def test_a_store_of_a_run_pickles_with_its_folder() -> None:
    """Unpickled in a process of another run, a store without a path is the same one."""
    store = bytecache.SharedStore(maxbytes=10_000)
    try:
        worker = "import sys, pickle; print(pickle.load(sys.stdin.buffer).path)"
        environment = {**os.environ, "BYTECACHE_RUN": "another"}
        command = [sys.executable, "-c", worker]
        path = subprocess.run(command, input=pickle.dumps(store), env=environment, capture_output=True, check=True)
        assert path.stdout.decode().strip() == str(store.path)
    finally:
        store.close()
