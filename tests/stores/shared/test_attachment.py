"""A folder that several processes use: the first one, the last one, and what happens in between."""

from __future__ import annotations

import fcntl
import gc
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.processes import in_child, waits_for_lock
from helpers.threads import PATIENCE_S, start, until

from bytecache import SharedStore
from bytecache.stores.shared import attachment
from bytecache.stores.shared.attachment import Attachment, is_attached, remove_if_orphaned


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    gc.collect()  # stores of earlier tests that are garbage detach now, not in the midst of this one
    before = set(attachment._attachments)
    yield tmp_path / "folder"
    assert attachment._attachments == before, "attachments left"


def attach(folder: Path, prepare: Any, is_ready: Any = lambda: True) -> Attachment:
    return attachment.attach(folder, prepare, is_ready)


def recording(calls: list[bool]) -> Any:
    """Return a `prepare` that records its calls."""
    return lambda: calls.append(True)


def test_only_a_process_that_is_alone_prepares(folder: Path) -> None:
    """prepare is called if nothing else is attached to the folder, in this process or another."""
    calls: list[bool] = []
    one = attach(folder, recording(calls))
    two = attach(folder, recording(calls))

    def other_process() -> list[bool]:
        calls: list[bool] = []
        attach(folder, recording(calls)).detach()
        return calls

    assert (calls, in_child(other_process)) == ([True], [])
    one.detach(), two.detach()
    attach(folder, recording(calls)).detach()
    assert calls == [True, True]


def test_the_last_removes_the_folder_if_asked_to(folder: Path) -> None:
    """Only the last attachment removes the folder; detaching twice does no harm."""
    one, two = attach(folder, bool), attach(folder, bool)
    one.remove_when_last = two.remove_when_last = True
    (folder / "file").write_bytes(b"")
    one.detach(), one.detach()
    assert folder.is_dir()
    two.detach(), two.detach()
    assert not folder.exists()


def test_a_folder_that_was_renamed_meanwhile_is_not_removed(folder: Path) -> None:
    """The last to detach does not remove another folder that has its name by now."""
    attached = attach(folder, bool)
    attached.remove_when_last = True
    folder.rename(folder.with_name("aside"))
    folder.mkdir()
    attached.detach()
    assert folder.is_dir() and folder.with_name("aside").is_dir()


def test_what_prepare_raises_leaves_no_lock(folder: Path) -> None:
    """An exception in prepare is raised, and the next process is alone."""

    def fails() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        attach(folder, fails)
    calls: list[bool] = []
    attach(folder, recording(calls)).detach()
    assert calls == [True]


def test_a_folder_that_prepare_renames_is_created_again(folder: Path) -> None:
    """If prepare renames the folder, it is called again for a new one."""

    def rename_once() -> None:
        calls.append(True)
        if len(calls) == 1:
            folder.rename(folder.with_name("aside"))

    calls: list[bool] = []
    attach(folder, rename_once).detach()
    assert calls == [True, True] and folder.is_dir()


def test_a_file_is_not_a_folder(folder: Path) -> None:
    """A path to a file is an error, and the file is left alone."""
    folder.write_bytes(b"")
    with pytest.raises((ValueError, OSError)):
        attach(folder, bool)
    assert folder.is_file()


def test_a_child_that_detaches_leaves_the_lock_to_its_parent(folder: Path) -> None:
    """A forked child that detaches, or ends, neither unlocks nor removes its parent's folder."""
    attached = attach(folder, bool)
    attached.remove_when_last = True
    in_child(attached.detach_in_child)
    in_child(lambda: None)
    calls: list[bool] = []
    attach(folder, recording(calls)).detach()
    assert calls == []
    attached.detach()
    assert not folder.exists()


def test_a_killed_process_frees_the_folder(folder: Path) -> None:
    """The folder of a process that ended without detaching can be removed."""
    in_child(lambda: attach(folder, bool)._fd > 0)  # ends by os._exit
    assert folder.is_dir()
    remove_if_orphaned(folder)
    assert not folder.exists()


def test_only_orphaned_folders_are_removed(folder: Path) -> None:
    """remove_if_orphaned leaves alone a folder in use, a link, a file, and a path at which there is nothing."""
    attached = attach(folder, bool)
    link, file = folder.with_name("link"), folder.with_name("file")
    link.symlink_to(folder)
    file.write_bytes(b"")
    for path in folder, link, file, folder.with_name("none"):
        remove_if_orphaned(path)
    assert folder.is_dir() and link.is_symlink() and file.exists()
    attached.detach()


def test_what_is_in_an_orphaned_folder_is_looked_at_under_its_lock(folder: Path) -> None:
    """Nothing comes between the look and the removal: whoever attaches waits for it, and gets a new folder."""
    attach(folder, bool).detach()

    def looked_at(path: Path) -> bool:
        locked.append(is_attached(path))
        return len(locked) == 2

    locked: list[bool | None] = []
    remove_if_orphaned(folder, looked_at)
    assert folder.exists()
    remove_if_orphaned(folder, looked_at)
    assert locked == [True, True] and not folder.exists()


REMOVE_AT_OPEN = """
    import os, shutil, sys
    from bytecache.stores.shared.attachment import attach
    from pathlib import Path
    folder, removals = Path(sys.argv[1]), [0]

    def hook(event, args):
        if event == "open" and str(args[0]) == str(folder) and removals[0] < 3:
            removals[0] += 1
            shutil.rmtree(folder)

    sys.addaudithook(hook)
    attach(folder, lambda: None, lambda: True).detach()
    assert removals == [3] and folder.is_dir()
"""


def test_a_folder_that_is_removed_before_it_is_opened_is_created_again(folder: Path) -> None:
    """If another process removes the folder after attach created it and before it opened it, it is created again."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(REMOVE_AT_OPEN), folder],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert (done.returncode, done.stderr) == (0, "")


def is_waiting() -> bool:
    """Return whether a thread of this process waits for a lock."""
    return any(waits_for_lock(task) for task in Path("/proc/self/task").iterdir())


def test_a_process_that_waited_for_a_killed_creator_creates_the_store(folder: Path) -> None:
    """A process that waits for one that dies before it has created the store creates it itself."""
    folder.mkdir()
    creator = os.open(folder, os.O_RDONLY)
    fcntl.flock(creator, fcntl.LOCK_EX)  # as the first process has it, which is killed below

    def open_store() -> Any:
        store = SharedStore(folder, maxbytes=1000)
        try:
            return store.maxbytes
        finally:
            store.close()

    opener = start(open_store)
    until(is_waiting)
    os.close(creator)
    assert opener() == 1000


def test_many_processes_that_come_and_go_always_find_a_prepared_folder(folder: Path) -> None:
    """While others attach, detach and remove, a process that is attached finds in the folder what prepare made."""

    def prepare() -> None:
        for leftover in folder.iterdir():
            leftover.unlink()
        (folder / "prepared").write_bytes(b"")

    def come_and_go() -> str:
        for number in range(150):
            if number % 10 == 5:
                remove_if_orphaned(folder)
            attached = attach(folder, prepare, (folder / "prepared").exists)
            attached.remove_when_last = True
            if not (folder / "prepared").exists() or not attachment.is_still_at(folder, attached._fd):
                return f"round {number}: {list(folder.iterdir())}"
            attached.detach()
        return "fine"

    ends = [start(lambda: in_child(come_and_go, 60)) for _ in range(4)]
    assert [end() for end in ends] == ["fine"] * 4


def test_an_interrupted_wait_leaves_nothing(folder: Path) -> None:
    """Ctrl-C while waiting for a folder that is being prepared raises, and leaves no open descriptor."""
    folder.mkdir()
    creator = os.open(folder, os.O_RDONLY)
    fcntl.flock(creator, fcntl.LOCK_EX)

    def interrupt() -> None:
        until(is_waiting)
        os.kill(os.getpid(), signal.SIGINT)

    end = start(interrupt)
    with pytest.raises(KeyboardInterrupt):
        attach(folder, bool)
    end()
    os.close(creator)
    shutil.rmtree(folder)


def test_attachments_are_registered_until_they_are_detached(folder: Path) -> None:
    """Attachments are registered while they exist, and no longer."""
    attached = [attach(folder / str(number), bool) for number in range(3)]
    assert set(attached) <= attachment._attachments
    for one in attached:
        assert isinstance(one, Attachment)
        one.detach()
