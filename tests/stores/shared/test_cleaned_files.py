"""Files of a store that somebody removes, replaces or cuts short while processes use it."""

from __future__ import annotations

import faulthandler
import json
import os
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.processes import in_child
from helpers.threads import PATIENCE_S

from bytecache import SharedStore, fill_once
from bytecache.stores.shared import admin

FILES = ["head", "*.index", "*.slots10", "*.arena"]

pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")


def value_of(key: int) -> bytes:
    return b"%06d" % key * 1000


class User:
    """A process that has a store open: it calls a cached function with the keys that it is sent, and sends counts."""

    def __init__(self, folder: Path) -> None:
        asked, self._ask = os.pipe()
        self._answers, answer = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            try:
                os.close(self._ask)
                faulthandler.disable()  # a file that is cut short ends this process: that is no news
                signal.alarm(PATIENCE_S)
                self._serve(folder, asked, answer)
            finally:
                os._exit(0)
        os.close(asked), os.close(answer)

    @staticmethod
    def _serve(folder: Path, asked: int, answer: int) -> None:
        with warnings.catch_warnings(record=True) as caught, open(asked) as lines:
            warnings.simplefilter("always")
            read = fill_once(store=SharedStore(folder, maxbytes="4 MB"), version=1)(value_of)
            for line in lines:
                keys = json.loads(line)
                before = read.cache_stats() if keys is None else None
                wrong = sum(read(key) != value_of(key) for key in keys or ())
                runs, hits = (before.misses, before.hits) if before else (0, 0)
                os.write(answer, json.dumps([wrong, len(caught), hits, runs]).encode() + b"\n")

    def call(self, keys: range) -> bool:
        """Call the function with keys; return whether all values were right, None if the process has ended."""
        answer = self._request(list(keys))
        return answer is not None and answer[0] == 0

    def figures(self) -> tuple[int, int, int]:
        """Look at the figures; return the number of warnings, hits and misses."""
        answer = self._request(None)
        assert answer is not None
        return answer[1], answer[2], answer[3]

    def _request(self, keys: Any) -> list[int] | None:
        try:
            os.write(self._ask, json.dumps(keys).encode() + b"\n")
        except BrokenPipeError:
            return None
        data = os.read(self._answers, 4096)
        return json.loads(data) if data else None

    def kill(self) -> None:
        os.close(self._ask), os.close(self._answers)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def users(folder: Path) -> Iterator[Callable[[], User]]:
    """Starts processes that use the store, one after another; ends those that are left."""
    started: list[User] = []

    def start() -> User:
        started.append(User(folder))
        return started[-1]

    yield start
    for user in started:
        user.kill()


def remove(path: Path) -> None:
    path.unlink()


def garble(path: Path) -> None:
    other = path.with_name("new")
    other.write_bytes(np.random.default_rng(0).bytes(path.stat().st_size))
    other.rename(path)


def copy(path: Path) -> None:
    shutil.copyfile(path, path.with_name("new"))
    path.with_name("new").rename(path)


def empty(path: Path) -> None:
    os.truncate(path, 0)


@pytest.mark.parametrize("spoil", [remove, garble, copy])
@pytest.mark.parametrize("pattern", FILES)
def test_a_file_that_vanishes_makes_no_wrong_value(
    folder: Path, users: Any, pattern: str, spoil: Callable[[Path], None]
) -> None:
    """Whichever file is removed or replaced, processes that were there and that come later write in one place again."""
    one = users()
    assert one.call(range(100))
    spoil(next(folder.glob(pattern)))
    other = users()
    assert other.call(range(100, 200)) and one.call(range(200, 300)) and other.call(range(300))
    assert one.figures()[0] + other.figures()[0] <= 2
    assert one.call(range(300)), "what the one stores, the other gets"
    hits, misses = one.figures()[1:]
    assert other.call(range(300, 330)) and one.call(range(300, 330))
    assert one.figures()[1:] == (hits + 30, misses)
    assert admin.verify(folder)["damaged"] == []
    assert [path.name for path in folder.parent.iterdir()] == ["store"]


@pytest.mark.parametrize("pattern", FILES)
def test_a_file_that_is_emptied_makes_no_wrong_value(folder: Path, users: Any, pattern: str) -> None:
    """A process that has mapped the file goes on, or is ended by SIGBUS; another one starts with a sound store."""
    one = users()
    assert one.call(range(100))
    empty(next(folder.glob(pattern)))
    other = users()
    assert other.call(range(100))
    if not one.call(range(100)):
        assert one._request([]) is None
    assert other.call(range(100))
    assert admin.verify(folder)["damaged"] == []


def test_an_arena_cut_within_a_value_makes_no_wrong_value(folder: Path, users: Any) -> None:
    """What is left of the last page reads as zeros, and is not taken for a value."""
    one = users()
    assert one.call(range(100))
    os.truncate(next(folder.glob("*.arena")), 6000 * 50 + 10)
    assert one.call(range(100)) or one._request([]) is None
    assert users().call(range(100))


def test_a_folder_that_is_removed_is_made_again(folder: Path, users: Any) -> None:
    """All processes meet in the new one, each with one warning, and no figure falls below zero."""
    with pytest.warns(RuntimeWarning, match="was removed.*begins anew") as warned:
        with SharedStoreOf(folder) as store:
            read = fill_once(store=store, version=1)(value_of)
            assert [read(key) for key in range(20)] == [value_of(key) for key in range(20)]
            before = read.cache_stats("all")
            other = users()
            assert other.call(range(20))
            shutil.rmtree(folder)
            assert [read(key) for key in range(20)] == [value_of(key) for key in range(20)]
            counted = read.cache_stats("all") - before
            assert min(counted.hits, counted.misses, counted.stored, counted.load_s) >= 0
            assert [read(key) for key in range(40)] == [value_of(key) for key in range(40)]
            assert other.call(range(40, 50)) and other.figures()[0] == 1
            hits = read.cache_stats().hits
            assert other.call(range(50, 60)) and all(read(key) == value_of(key) for key in range(50, 60))
            assert read.cache_stats().hits == hits + 10
    assert [warning.category for warning in warned].count(RuntimeWarning) == 1, "beside Python 3.12's of forks"


class SharedStoreOf:
    """A store that is closed at the end of a with statement."""

    def __init__(self, folder: Path | None) -> None:
        self._store = SharedStore(folder, maxbytes="4 MB")

    def __enter__(self) -> SharedStore:
        return self._store

    def __exit__(self, *_: object) -> None:
        self._store.close()


def test_a_child_finds_the_store_of_a_parent_whose_folder_was_removed(folder: Path) -> None:
    """A fork is where the parent notices it: workers of each epoch meet in a store that outlives them."""
    with pytest.warns(RuntimeWarning, match="begins anew"), SharedStoreOf(folder) as store:
        read = fill_once(store=store, version=1)(value_of)
        read(1)
        shutil.rmtree(folder)
        assert in_child(lambda: (read(1) == value_of(1), read.cache_stats().misses)) == (True, 1)
        assert in_child(lambda: (read(1) == value_of(1), read.cache_stats().misses)) == (True, 0)


def test_a_folder_that_cannot_be_made_again_is_gone_without(tmp_path: Path) -> None:
    """The process goes on with the files it has, with one warning."""
    (tmp_path / "parent").mkdir()
    with pytest.warns(RuntimeWarning, match="cannot be made again") as warned:
        with SharedStoreOf(tmp_path / "parent" / "store") as store:
            read = fill_once(store=store, version=1)(value_of)
            read(1)
            shutil.rmtree(tmp_path / "parent")
            (tmp_path / "parent").write_bytes(b"")  # no folder can be made below a file
            assert all(read(key) == value_of(key) for _ in range(2) for key in range(20))
            assert read.cache_stats().hits >= 20
            assert read.cache_stats("all").misses == 21  # the first value that was not stored is read again
    assert [warning.category for warning in warned].count(RuntimeWarning) == 1, "beside Python 3.12's of forks"


def run_job(folder: Path, rounds: int, *actions: str) -> Any:
    job = [sys.executable, "-m", "jobs.cleaned_store", folder, str(rounds), "7", *actions]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}
    done = subprocess.run(job, capture_output=True, text=True, env=environment, timeout=20 * PATIENCE_S)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_rounds_of_a_cleaner_in_a_store_in_use(folder: Path) -> None:
    """Four processes read right values and none ends while files are removed and replaced at random moments."""
    result = run_job(folder, 80, "remove", "replace", "garble", "restore")
    assert result == {
        "wrong": 0, "excess_warnings": 0, "ends": {"-9": 4}, "damaged": [], "started": 4, "left": ["store"]
    }  # fmt: skip


def test_rounds_of_cuts_in_a_store_in_use(folder: Path) -> None:
    """With files emptied and cut short too, no value is wrong; what ends a process is SIGBUS alone."""
    result = run_job(folder, 60)
    assert (result["wrong"], result["excess_warnings"], result["damaged"]) == (0, 0, [])
    assert set(result["ends"]) <= {"-9", f"{-signal.SIGBUS}"}
