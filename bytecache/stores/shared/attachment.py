"""A folder that several processes use: who is the first, who is the last, and which were left by a killed one.

Each process that uses a folder holds a shared flock(2) on it, which the kernel releases when the process ends, however
that comes about. Who gets the exclusive lock is alone.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from .locks import fcntl

_MAX_ROUNDS = 1000  # rounds


class Attachment:
    """A shared lock on a folder, held until it is closed, or the process ends."""

    def __init__(self, folder: Path, fd: int) -> None:
        self.folder, self._fd = folder, fd
        self.remove_when_last = False  # whether the last process to let go removes the folder

    def detach(self) -> None:
        """Lets go of the folder."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        try:
            if self.remove_when_last and _lock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB) and is_still_at(self.folder, fd):
                shutil.rmtree(self.folder, ignore_errors=True)
        finally:
            os.close(fd)
            _attachments.discard(self)

    def detach_in_child(self) -> None:
        """In a forked child, which has this lock together with its parent: leaves it to the parent."""
        self.remove_when_last = False
        self.detach()


def attach(folder: Path, prepare: Callable[[], None], is_ready: Callable[[], bool] | None = None) -> Attachment:
    """Makes the folder where it is not, and holds it.

    Where no other process holds it, ``prepare()`` is called before, under an exclusive lock: it may change, empty or
    rename the folder; what it made is seen by all others that come. is_ready: whether it was done, by this process or
    another one, which may have been killed in the midst of it.

    Raises OSError where the folder cannot be made or opened, and what `prepare` raises.
    """
    unready = 0
    while True:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileExistsError, FileNotFoundError):
            if (os.path.lexists(folder) and not folder.is_dir()) or not folder.parent.is_dir():
                raise
            continue  # the last one to use it has just removed it
        try:
            if _lock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB) and is_still_at(folder, fd):
                prepare()
            # Waits for one that prepares or removes the folder. The change from exclusive to shared is no single step:
            # another one may be alone in between, and have prepared it anew.
            _lock(fd, fcntl.LOCK_SH)
            there = is_still_at(folder, fd)
            if there and is_ready is not None and not is_ready():
                unready += 1  # the one that prepared it was killed: then the next round prepares it
                if unready == _MAX_ROUNDS:
                    raise OSError(f"{folder} was emptied while processes use it: end them, or give another path")
                os.sched_yield()
            elif there:
                taken, fd = Attachment(folder, fd), -1
                _detach_at_exit(taken)
                return taken
        finally:
            if fd >= 0:
                os.close(fd)


def remove_if_orphaned(folder: Path) -> None:
    """Removes a folder of this user's that no process holds."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if os.fstat(fd).st_uid == os.geteuid() and _lock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB) and is_still_at(folder, fd):
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(fd)


def _lock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind)
    except BlockingIOError:
        return False
    return True


def is_still_at(folder: Path, fd: int) -> bool:
    """Whether what was opened is still what has that name."""
    try:
        return os.path.samestat(os.stat(folder), os.fstat(fd))
    except FileNotFoundError:
        return False


_attachments: set[Attachment] = set()  # open in this process
_hooked_pid = 0  # the process at whose end they are closed


def _detach_at_exit(one: Attachment) -> None:
    from multiprocessing import util

    global _hooked_pid
    if _hooked_pid != os.getpid():
        _hooked_pid = os.getpid()
        _register_exit_hook()
        # A child that imported its parent's main module before it begins forgets then what is to be done at its end.
        util.register_after_fork(_anchor, _register_exit_hook)
    _attachments.add(one)


class _Anchor:
    """multiprocessing calls what was registered with an object, as long as that lives."""


_anchor = _Anchor()


def _register_exit_hook(*anchor: _Anchor) -> None:
    from multiprocessing import util

    # Late, when multiprocessing has ended and joined its daemonic workers, which hold the folder too.
    util.Finalize(None, _close_all, exitpriority=-100)


def _close_all() -> None:
    for one in list(_attachments):
        one.detach()
