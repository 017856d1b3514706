"""A folder that several processes hold: who is first, who is last, and what happens in between."""

from __future__ import annotations

import fcntl
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
from helpers.processes import in_child
from helpers.threads import PATIENCE_S, start, until

from bytecache import SharedStore
from bytecache.stores.shared import attachment as hold_module
from bytecache.stores.shared.attachment import Attachment, remove_if_orphaned


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    before = set(hold_module._attachments)
    yield tmp_path / "folder"
    assert hold_module._attachments == before, "holds left open"


def attach(folder: Path, prepare: Any, is_ready: Any = lambda: True) -> Attachment:
    return hold_module.attach(folder, prepare, is_ready)


def asked(into: list[bool]) -> Any:
    """A prepare that notes that it was called."""
    return lambda: into.append(True)


def test_only_who_is_alone_prepares(folder: Path) -> None:
    """prepare is called where nobody else holds the folder, in this process or another."""
    alone: list[bool] = []
    one = attach(folder, asked(alone))
    two = attach(folder, asked(alone))

    def other_process() -> list[bool]:
        there: list[bool] = []
        attach(folder, asked(there)).detach()
        return there

    assert (alone, in_child(other_process)) == ([True], [])
    one.detach(), two.detach()
    attach(folder, asked(alone)).detach()
    assert alone == [True, True]


def test_the_last_removes_the_folder_if_told_so(folder: Path) -> None:
    """A hold that is to remove the folder does so only when nobody else holds it; to close twice does no harm."""
    one, two = attach(folder, bool), attach(folder, bool)
    one.remove_when_last = two.remove_when_last = True
    (folder / "file").write_bytes(b"")
    one.detach(), one.detach()
    assert folder.is_dir()
    two.detach(), two.detach()
    assert not folder.exists()


def test_a_folder_that_was_renamed_meanwhile_is_not_removed(folder: Path) -> None:
    """The last to let go leaves another folder that has got the name."""
    held = attach(folder, bool)
    held.remove_when_last = True
    folder.rename(folder.with_name("aside"))
    folder.mkdir()
    held.detach()
    assert folder.is_dir() and folder.with_name("aside").is_dir()


def test_what_prepare_raises_leaves_no_lock(folder: Path) -> None:
    """An exception in prepare comes out, and the next is alone."""

    def fails() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        attach(folder, fails)
    alone: list[bool] = []
    attach(folder, asked(alone)).detach()
    assert alone == [True]


def test_a_folder_that_prepare_renames_is_begun_anew(folder: Path) -> None:
    """When prepare sets the folder aside it is called again for a new one."""

    def aside() -> None:
        calls.append(True)
        if len(calls) == 1:
            folder.rename(folder.with_name("aside"))

    calls: list[bool] = []
    attach(folder, aside).detach()
    assert calls == [True, True] and folder.is_dir()


def test_a_file_is_no_folder(folder: Path) -> None:
    """What is something else than a folder is an error, and is left."""
    folder.write_bytes(b"")
    with pytest.raises((ValueError, OSError)):
        attach(folder, bool)


def test_a_child_that_forgets_leaves_the_lock_to_its_parent(folder: Path) -> None:
    """A forked child that lets go neither frees nor removes what its parent holds; nor does its end."""
    held = attach(folder, bool)
    held.remove_when_last = True
    in_child(held.detach_in_child)
    in_child(lambda: None)
    alone: list[bool] = []
    attach(folder, asked(alone)).detach()
    assert alone == []
    held.detach()
    assert not folder.exists()


def test_a_killed_holder_frees_the_folder(folder: Path) -> None:
    """SIGKILL releases a hold, and what was left can be removed."""
    in_child(lambda: attach(folder, bool)._fd > 0)  # ends without closing
    assert folder.is_dir()
    remove_if_orphaned(folder)
    assert not folder.exists()


def test_what_is_held_is_not_removed(folder: Path) -> None:
    """remove_if_orphaned leaves a held folder, a link, a file and what is not there."""
    held = attach(folder, bool)
    link, file = folder.with_name("link"), folder.with_name("file")
    link.symlink_to(folder)
    file.write_bytes(b"")
    for path in folder, link, file, folder.with_name("none"):
        remove_if_orphaned(path)
    assert folder.is_dir() and link.is_symlink() and file.exists()
    held.detach()


AT_THE_OPEN = """
    import os, shutil, sys
    from bytecache.stores.shared.attachment import attach
    from pathlib import Path
    folder, times = Path(sys.argv[1]), [0]

    def hook(event, args):
        if event == "open" and str(args[0]) == str(folder) and times[0] < 3:
            times[0] += 1
            shutil.rmtree(folder)

    sys.addaudithook(hook)
    attach(folder, lambda: None, lambda: True).detach()
    assert times == [3] and folder.is_dir()
"""


def test_a_folder_that_is_removed_before_it_is_opened_is_made_again(folder: Path) -> None:
    """When the last of others removes the folder between its making and its opening, the opener makes it anew."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(AT_THE_OPEN), folder], capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert (done.returncode, done.stderr) == (0, "")


def waiting_for(path: Path) -> bool:
    """Whether a process waits for a lock of this file or folder."""
    inode = f":{path.stat().st_ino} "
    return any("->" in line and inode in line for line in Path("/proc/locks").read_text().splitlines())


def test_who_waited_for_a_maker_that_was_killed_makes_the_store(folder: Path) -> None:
    """A process that finds the folder locked by one that dies before the store is there makes it itself."""
    folder.mkdir()
    maker = os.open(folder, os.O_RDONLY)
    fcntl.flock(maker, fcntl.LOCK_EX)  # as one that was the first to come, and is killed now

    def open_and_tell() -> Any:
        store = SharedStore(folder, maxbytes=1000)
        try:
            return store.maxbytes
        finally:
            store.close()

    opener = start(open_and_tell)
    until(lambda: waiting_for(folder))
    os.close(maker)
    assert opener() == 1000


def test_many_processes_that_come_and_go_always_hold_what_is_there(folder: Path) -> None:
    """Opening, removing and sweeping at random: whoever holds the folder finds in it what prepare made."""

    def prepare() -> None:
        for left in folder.iterdir():
            left.unlink()
        (folder / "made").write_bytes(b"")

    def come_and_go() -> str:
        for number in range(150):
            if number % 10 == 5:
                remove_if_orphaned(folder)
            held = attach(folder, prepare, (folder / "made").exists)
            held.remove_when_last = True
            if not (folder / "made").exists() or not hold_module.is_still_at(folder, held._fd):
                return f"round {number}: {list(folder.iterdir())}"
            held.detach()
        return "fine"

    ends = [start(lambda: in_child(come_and_go, 60)) for _ in range(4)]
    assert [end() for end in ends] == ["fine"] * 4


def test_an_interrupted_wait_leaves_nothing(folder: Path) -> None:
    """Ctrl-C while waiting for a folder that is being made raises, and leaves no descriptor."""
    folder.mkdir()
    maker = os.open(folder, os.O_RDONLY)
    fcntl.flock(maker, fcntl.LOCK_EX)

    def interrupt() -> None:
        until(lambda: waiting_for(folder))
        os.kill(os.getpid(), signal.SIGINT)

    end = start(interrupt)
    with pytest.raises(KeyboardInterrupt):
        attach(folder, bool)
    end()
    os.close(maker)
    shutil.rmtree(folder)


def test_holds_of_many_stores_are_closed(folder: Path) -> None:
    """A hold is known while it is open, and no longer."""
    held = [attach(folder / str(number), bool) for number in range(3)]
    assert set(held) <= hold_module._attachments
    for one in held:
        assert isinstance(one, Attachment)
        one.detach()
