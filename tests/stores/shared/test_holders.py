"""Processes that are stopped while they have a lock: others go on, say so once, and never write at the same time."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from helpers.counting import stats_of
from helpers.internals import STORE_WRITE_MODULES, assert_sound, handle_of
from helpers.processes import Children, receive, send
from helpers.threads import until

import bytecache
from bytecache import SharedStore
from bytecache.stores.shared import holders
from bytecache.stores.shared.holders import UNSEEN, LockTimeout, find_holder
from bytecache.stores.shared.locks import ByteRangeLocks


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look after a moment who has a lock, and forget whom earlier tests warned of."""
    monkeypatch.setattr(holders, "_FIRST_LOOK_S", 0.01)
    monkeypatch.setattr(holders, "_warned_of", set())


class Holding:
    """A child that runs ``work(hold)`` and waits in ``hold()``: stopped by a signal, or for ``resume`` alone."""

    def __init__(self, work: Callable[[Callable[[], None]], Any], *, stop: bool = True) -> None:
        (reading, self._held), (self._go, self._resume) = os.pipe(), os.pipe()
        self._stop = stop
        self._child = Children(lambda: work(self._hold))
        self.pid = self._child.pids[0]
        receive(reading)
        os.close(reading), os.close(self._held)
        if stop:
            until(lambda: Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")

    def _hold(self) -> None:
        send(self._held)
        if self._stop:
            os.kill(os.getpid(), signal.SIGSTOP)
        else:
            os.read(self._go, 1)

    def resume(self) -> Any:
        """Let the child go on; return what it returns."""
        send(self._resume)
        os.kill(self.pid, signal.SIGCONT)
        os.close(self._go), os.close(self._resume)
        return self._child.answers()[0]


def warnings_of(call: Callable[[], Any]) -> tuple[Any, list[str]]:
    """Return what a call returns, and the warnings that it gives for its own line."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value = call()
    assert all(warning.category is RuntimeWarning and warning.filename == __file__ for warning in caught)
    return value, [str(warning.message) for warning in caught]


@pytest.fixture
def store(stores: Any) -> SharedStore:
    return stores()  # type: ignore[no-any-return]


@pytest.fixture
def read(store: SharedStore) -> Any:
    """A function over the store. In a child, ``read.hold`` is called once, in the midst of a run."""

    @bytecache.fill_once(store=store)
    def read(key: int) -> bytes:
        if hasattr(read, "hold"):
            read.__dict__.pop("hold")()
            return b"stale"
        return b"%d" % key

    return read


def reading(read: Any, key: int) -> Callable[[Callable[[], None]], str]:
    """Return work that is held while it reads a key."""

    def work(hold: Callable[[], None]) -> str:
        read.hold = hold
        return read(key).decode()  # type: ignore[no-any-return]

    return work


def writing(store: SharedStore) -> Callable[[Callable[[], None]], None]:
    """Return work that is held while it has the writer's lock."""
    return lambda hold: handle_of(store).with_writer_lock(hold)


# Keys


def test_a_key_whose_reader_was_stopped_is_read_by_others(store: SharedStore, read: Any) -> None:
    """Who needs the key reads and stores it, after one warning that names the process; other keys do not wait."""
    child = Holding(reading(read, 7))
    value, (message,) = warnings_of(lambda: read(7))
    assert value == b"7"
    start = re.escape(f"{store.path / 'head'}: this process has waited ")
    assert re.match(rf"{start}\d+ s for a lock that process {child.pid} \(", message)
    assert "which is stopped," in message and f"kill -CONT {child.pid}" in message
    assert warnings_of(lambda: (read(7), read(8))) == ((b"7", b"8"), [])
    assert stats_of(read, "hits", "misses", "stored") == (1, 2, 2)
    assert child.resume() == "stale"
    assert (read(7), read.cache_info("all")[:2]) == (b"7", (2, 3))
    assert_sound(store)


def test_a_key_that_is_not_stored_is_not_waited_for_again(store: SharedStore, read: Any) -> None:
    """As long as the process is stopped, later calls of its key go on at once; then they wait as ever."""
    locks, byte = ByteRangeLocks(store.path / "head"), 99
    other = ByteRangeLocks(store.path / "head")

    def work(hold: Callable[[], None]) -> bool:
        mine = ByteRangeLocks(store.path / "head")
        mine.acquire(byte)
        hold()
        mine.release(byte)
        return True

    child = Holding(work)
    for _ in range(3):
        with pytest.raises(LockTimeout, match=f"process {child.pid} .* is stopped"):
            locks.acquire(byte)
    assert child.resume() is True
    assert locks.acquire(byte) and not other.acquire(byte, wait=False)
    locks.close(), other.close()


def test_a_process_that_runs_may_take_long(store: SharedStore, read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long wait for a process that runs is told once, with the process and a likely reason, and goes on."""
    monkeypatch.setattr(holders, "_LONG_S", 0.02)
    child = Holding(reading(read, 7), stop=False)

    def interrupt(message: str, *args: Any) -> None:
        said.append(message)
        assert child.resume() == "stale"

    said: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr("bytecache.stores.shared.locks.warn_caller", interrupt)
        assert read(7) == b"stale"
    (message,) = said
    assert f"process {child.pid} (" in message and "stopped" not in message and "once=False" in message
    assert read.cache_info("all")[:2] == (1, 1)


def test_not_even_a_process_that_runs_is_waited_for_forever(
    store: SharedStore, read: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process at a debugger's prompt cannot be told from a slow one: after a long time others read themselves."""
    monkeypatch.setattr(holders, "_TOO_LONG_S", 0.02)
    child = Holding(reading(read, 7), stop=False)
    value, (message,) = warnings_of(lambda: read(7))
    assert value == b"7" and f"process {child.pid} (" in message and "stopped" not in message
    assert child.resume() == "stale"
    assert read(7) == b"7"


def test_a_process_in_another_container_is_not_waited_for_forever(
    store: SharedStore, read: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """If nobody who has the lock can be seen, others go on after a while, and say that."""
    monkeypatch.setattr(holders, "_LONG_S", 0.02)
    child = Holding(reading(read, 7))
    monkeypatch.setattr(holders, "_PROC", tmp_path)
    value, (message,) = warnings_of(lambda: read(7))
    assert value == b"7" and "a process that cannot be seen from here has" in message
    assert child.resume() == "stale"


# Writes


def test_nothing_is_stored_while_the_writer_is_stopped(store: SharedStore, read: Any) -> None:
    """Calls are answered, hits too, and counted, after one warning; when the process goes on, values are stored."""
    read(1)
    child = Holding(writing(store))
    values, (message,) = warnings_of(lambda: [read(key) for key in (1, 2, 2, 3)])
    assert values == [b"1", b"2", b"2", b"3"]
    assert f"process {child.pid} (" in message and "stores nothing" in message
    assert stats_of(read, "hits", "misses", "stored", "currsize") == (1, 4, 1, 1)
    child.resume()
    assert [read(key) for key in (2, 2, 3)] == [b"2", b"2", b"3"]
    assert stats_of(read, "hits", "misses", "stored", "currsize") == (2, 6, 3, 3)
    assert_sound(store)


def test_a_function_that_begins_while_the_writer_is_stopped_is_answered(store: SharedStore, read: Any) -> None:
    """A function's first calls run unstored meanwhile, and are counted; later ones are stored."""
    child = Holding(writing(store))
    values, (message,) = warnings_of(lambda: [read(1), read(1), *read.map([1, 2])])
    assert values == [b"1", b"1", b"1", b"2"] and f"process {child.pid} (" in message
    assert read.cache_info()[:2] == (0, 4)
    child.resume()
    assert [read(1), read(1)] == [b"1", b"1"]
    assert (read.cache_info(), read.cache_info("all")[:2]) == ((1, 5, None, 1), (1, 5))


def test_what_cannot_be_done_without_the_writer_is_an_error(store: SharedStore, read: Any) -> None:
    """A clear raises a TimeoutError that names the process and the way out."""
    read(1)
    child = Holding(writing(store))
    for clear in read.cache_clear, store.clear:
        with warnings.catch_warnings(), pytest.raises(TimeoutError, match=rf"kill -CONT {child.pid}\), or end it"):
            warnings.simplefilter("ignore")
            clear()
    child.resume()
    assert read(1) == b"1" and read.cache_info().hits == 1
    store.clear()


def test_a_process_that_is_stopped_anywhere_in_a_write_goes_on_alone(store: SharedStore, read: Any) -> None:
    """Wherever a writer is stopped, nobody writes until it goes on, and what all have stored is sound."""
    read(0)
    handle_of(store)

    def stopped_at(line: int) -> Callable[[Callable[[], None]], bool]:
        def work(hold: Callable[[], None]) -> bool:
            lines = 0

            def trace(frame: Any, event: str, arg: Any) -> Any:
                nonlocal lines
                if frame.f_globals.get("__name__") not in STORE_WRITE_MODULES:
                    return None
                if event == "line":
                    lines += 1
                    if lines == line:
                        hold()
                return trace

            sys.settrace(trace)
            read(line)
            sys.settrace(None)
            if lines < line:
                hold()
            return lines < line

        return work

    line, ended = 1, False
    while not ended:
        child = Holding(stopped_at(line))
        warnings_of(lambda: [read(key) for key in (line, line + 1, 0)])  # noqa: B023
        ended = child.resume()
        assert [read(key) for key in (line, line + 1, 0)] == [b"%d" % key for key in (line, line + 1, 0)]
        assert_sound(store)
        line += 9
    assert line > 50


# Folders


def test_a_folder_whose_process_was_stopped_while_it_prepared_it_is_an_error(tmp_path: Path) -> None:
    """A store that cannot be opened, since a process was stopped while it made it, says so instead of waiting."""

    def work(hold: Callable[[], None]) -> str:
        fcntl.flock(os.open(tmp_path, os.O_RDONLY), fcntl.LOCK_EX)  # as attaching to the folder does
        hold()
        return "done"

    child = Holding(work)
    with pytest.raises(TimeoutError, match=rf"{tmp_path}: .* process {child.pid} \(.*which is stopped,"):
        SharedStore(tmp_path, maxbytes=1000)
    assert child.resume() == "done"
    SharedStore(tmp_path, maxbytes=1000).close()


# Who has a lock


def test_the_holder_of_a_byte_is_found(store: SharedStore) -> None:
    """find_holder tells who has locked a byte of a file, and that nobody has locked another one."""
    locks = ByteRangeLocks(store.path / "head")
    find = partial(find_holder, "head", os.stat(store.path / "head"))
    try:
        locks.acquire(5)
        holder = find(5)
        assert (holder.pid, holder.stopped) == (os.getpid(), False)
        assert Path(sys.argv[0]).name in holder.command or "pytest" in holder.command
        assert find(6) is find(None) is UNSEEN
        locks.release(5)
        assert find(5) is UNSEEN
    finally:
        locks.close()


def test_a_frozen_process_is_stopped(store: SharedStore) -> None:
    """A process in a control group that is frozen, as by docker pause, counts as stopped."""
    group = Path(f"/sys/fs/cgroup/freezer/bytecache-test-{os.getpid()}")
    try:
        group.mkdir()
    except OSError:
        pytest.skip("needs root, and control groups with a freezer")
    child = Holding(writing(store), stop=False)
    find = partial(find_holder, "head", os.stat(store.path / "head"))
    try:
        (group / "cgroup.procs").write_text(str(child.pid))
        assert not find(0).stopped
        (group / "freezer.state").write_text("FROZEN")
        until(lambda: find(0).stopped)
    finally:
        (group / "freezer.state").write_text("THAWED")
        child.resume()
        until(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()
