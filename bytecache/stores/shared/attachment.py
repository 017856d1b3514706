"""Processes that use a folder: the first prepares it, the last can remove it, and an orphaned one is recognized.

Every process that uses a folder has a shared flock(2) on it, which the kernel releases however the process ends. A
process that gets the exclusive lock is the only one.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .locks import fcntl, wait_for_flock

# Of attach(): while other processes use a folder that is not ready, before it is taken for damaged; and while there is
# none, although it was just made, before it is taken for one that cannot be made.
_ROUNDS = 100


class Attachment:
    """A shared lock on a folder, until it is detached or the process ends."""

    def __init__(self, folder: Path, fd: int) -> None:
        self.folder, self._fd = folder, fd
        self.remove_when_last = False  # whether the last process to detach removes the folder
        self.link: Path | None = None  # which leads to the folder, and is removed with it
        self.tidy_when_last: Callable[[Path], None] | None = None  # else what it does with the folder

    def detach(self) -> None:
        """Release the lock; do nothing if it was released before."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        try:
            # Not in a forked child, whose lock is its parent's: that would have the exclusive one from then on.
            is_wanted = self.remove_when_last or self.tidy_when_last is not None
            if is_wanted and _lock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB) and is_still_at(self.folder, fd):
                if self.remove_when_last:
                    shutil.rmtree(self.folder, ignore_errors=True)
                    remove_dangling(self.link)
                elif self.tidy_when_last is not None:
                    self.tidy_when_last(self.folder)
        finally:
            os.close(fd)
            _attachments.discard(self)

    def detach_in_child(self) -> None:
        """Leave the lock, which a forked child shares with its parent, to the parent."""
        self.remove_when_last, self.tidy_when_last = False, None
        self.detach()


def attach(
    folder: Path, prepare: Callable[[], None], is_ready: Callable[[], bool], restore: Callable[[], None] = lambda: None
) -> Attachment:
    """Attach this process to a folder, which is created if it does not exist.

    If no other process is attached, ``prepare()`` is called first, under an exclusive lock. It may change, empty or
    rename the folder; processes that attach later see what it made. ``is_ready()``: whether the folder was prepared, by
    this process or by another one, which may have been killed half way. ``restore()`` is called if other processes are
    attached to a folder that is not ready, and stays so: somebody has removed or replaced what is in it.

    Raise OSError if the folder cannot be created or opened, LockTimeout if a process was stopped while it prepared the
    folder, and what `prepare` raises.
    """
    rounds = vanished = 0
    while True:
        try:
            _make(folder)
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileExistsError, FileNotFoundError):
            vanished += 1
            if (os.path.lexists(folder) and not folder.is_dir()) or not folder.parent.is_dir() or vanished == _ROUNDS:
                raise
            continue  # the last process has just removed it; or it cannot be made
        try:
            if _lock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB) and is_still_at(folder, fd):
                prepare()
            # Waits for a process that prepares or removes the folder. The change from exclusive to shared is not one
            # step: another process may get the exclusive lock in between, and prepare the folder again.
            wait_for_flock(fd, fcntl.LOCK_SH, folder)
            still_there = is_still_at(folder, fd)
            if still_there and not is_ready():
                rounds += 1  # the process that prepared it was killed: the next round prepares it
                if rounds % _ROUNDS == 0:
                    restore()
                os.sched_yield()
            elif still_there:
                attachment, fd = Attachment(folder, fd), -1
                _detach_at_exit(attachment)
                return attachment
        finally:
            if fd >= 0:
                os.close(fd)


def _make(folder: Path) -> None:
    """Create a folder if there is none. What root creates in a user's folder belongs to the user."""
    with suppress(FileNotFoundError):
        if not stat.S_ISDIR(os.lstat(folder).st_mode):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(folder))
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    parent = folder.parent.stat()
    if os.geteuid() == 0 != parent.st_uid:
        os.chown(folder, parent.st_uid, parent.st_gid, follow_symlinks=False)


def remove_if_orphaned(folder: Path, may_go: Callable[[Path], bool] = lambda folder: True) -> None:
    """Remove a folder of this user to which no process is attached, if `may_go` says of what is in it that it may."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    try:
        is_orphan = os.fstat(fd).st_uid == os.geteuid() and _lock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if is_orphan and is_still_at(folder, fd) and may_go(folder):
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(fd)


def _lock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind)
    except BlockingIOError:
        return False
    return True


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Exclude the other processes that ask for this path: the file is locked, and removed at the end."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            wait_for_flock(fd, fcntl.LOCK_EX, path)
            if not is_still_at(path, fd):
                continue  # the process before this one has removed it
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return
        finally:
            os.close(fd)


def is_still_at(path: Path, fd: int) -> bool:
    """Return whether the file or folder that was opened is still the one at this path."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except (FileNotFoundError, NotADirectoryError):
        return False


def remove_dangling(link: Path | None) -> None:
    """Remove a link that leads nowhere."""
    if link is not None and link.is_symlink() and not link.exists():
        link.unlink(missing_ok=True)


def is_attached(folder: Path) -> bool | None:
    """Return whether any process is attached to a folder; None if this one may not look."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return not _lock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(fd)


def detach_on_signals() -> None:
    """Have SIGTERM and SIGHUP, if they would just end this process, detach it first: a batch system sends them.

    Not in a child of multiprocessing, which its parent may end, nor in a thread that cannot set handlers. The handler
    runs once the main thread is back from whatever function in C it has called.
    """
    from multiprocessing import parent_process

    if parent_process() is None:
        for number in _ENDING:
            with suppress(ValueError):  # not in the main thread
                if signal.getsignal(number) is signal.SIG_DFL:
                    signal.signal(number, _detach_and_end)


def after_fork_in_child() -> None:
    """Have signals end a forked child at once again."""
    for number in _ENDING:
        with suppress(ValueError):
            if signal.getsignal(number) is _detach_and_end:
                signal.signal(number, signal.SIG_DFL)


def _detach_and_end(number: int, frame: object) -> None:
    _detach_all()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


_ENDING = (signal.SIGTERM, signal.SIGHUP) if hasattr(signal, "SIGHUP") else (signal.SIGTERM,)
_attachments: set[Attachment] = set()  # of this process
_hooked_pid = 0  # the process at whose end they are detached


def _detach_at_exit(attachment: Attachment) -> None:
    from multiprocessing import util

    global _hooked_pid
    if _hooked_pid != os.getpid():
        _hooked_pid = os.getpid()
        _register_exit_hook()
        # A spawned child imports its parent's main module, then drops all exit hooks, and then runs what follows.
        util.register_after_fork(_anchor, _register_exit_hook)
    _attachments.add(attachment)


class _Anchor:
    """An object that lives on: multiprocessing calls what was registered with an object while that is alive."""


_anchor = _Anchor()


def _register_exit_hook(*anchor: _Anchor) -> None:
    from multiprocessing import util

    # Late: after multiprocessing has ended and joined its daemonic workers, which are attached to the folder too.
    util.Finalize(None, _detach_all, exitpriority=-100)


def _detach_all() -> None:
    for attachment in list(_attachments):
        attachment.detach()
