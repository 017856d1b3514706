"""Who has a lock that a process waits for, and whether it is of any use to go on waiting."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from ...system.caller import warn_caller

_FIRST_LOOK_S = 1.25  # after which a waiter looks who has the lock; it looks again after twice the time
_LONG_S, _TOO_LONG_S = 10.0, 640.0
_PROC = Path("/proc")
_STOPPED = "Tt"  # states of proc(5): stopped by a signal, or by a debugger
# By controllers, v2 and v1: the file of a control group, and its line if the group is frozen.
_FREEZERS = {
    "": ("/sys/fs/cgroup{}/cgroup.events", "frozen 1"),
    "freezer": ("/sys/fs/cgroup/freezer{}/freezer.state", "FROZEN"),
}


class Holder(NamedTuple):
    """A process that has a lock. stopped: whether it was stopped or frozen, and cannot release the lock."""

    pid: int
    command: str
    stopped: bool

    def __str__(self) -> str:
        if self is UNSEEN:
            return "a process that cannot be seen from here"
        return f"process {self.pid} ({self.command})" + (", which is stopped," if self.stopped else "")


UNSEEN = Holder(0, "", False)  # another user's, or one in another container
_warned_of: set[Holder] = set()


class LockTimeout(TimeoutError):
    """It is of no use to wait for a lock any longer."""

    def __init__(self, message: str, holder: Holder) -> None:
        super().__init__(errno.ETIMEDOUT, message)
        self._holder = holder

    def warn(self) -> None:
        """Give a RuntimeWarning, once for each process that has locks; not to be called under a lock."""
        if self._holder not in _warned_of:
            _warned_of.add(self._holder)
            warn_caller(str(self.strerror))


class Watch:
    """Looks now and then, while a caller waits for a lock, at the process that has it. store: for people."""

    def __init__(self, fd: int, byte: int, store: Path) -> None:
        self._fd, self._byte, self._store = fd, byte, store
        self._started, self._next_s = monotonic(), _FIRST_LOOK_S
        self._seen: Holder | None = None

    def look(self) -> tuple[str, Holder] | None:
        """Look if it is time for that; return the arguments of a LockTimeout if it is of no use to wait any longer.

        At two looks in a row it was the same process that had the lock, and was stopped. For one that cannot be seen
        the wait is longer, and for one that runs, and may just take long, longer still.
        """
        waited_s = monotonic() - self._started
        if waited_s < self._next_s:
            return None
        self._next_s *= 2
        before, self._seen = self._seen, find_holder(self._fd, self._byte)
        holder = self._seen
        if before != holder or waited_s < (0 if holder.stopped else _LONG_S if holder is UNSEEN else _TOO_LONG_S):
            return None
        resume = f" (kill -CONT {holder.pid})" if holder.stopped else ""
        message = (
            f"{self._store}: this process has waited {waited_s:.0f} s for a lock that {holder} has. It waits no longer: "
            "it reads itself what that one was to read, and stores nothing while that one is in the middle of a write. "
            f"Let that one go on{resume}, or end it"
        )
        return message, holder


def find_holder(fd: int, byte: int) -> Holder:
    """Return the process that has locked this byte of the file, through any descriptor of its own, or UNSEEN."""
    name, status = os.path.basename(os.readlink(_PROC / "self/fd" / str(fd))), os.fstat(fd)
    for process in _PROC.iterdir():
        if process.name.isdecimal():
            with suppress(OSError):  # it has ended, or is another user's
                if any(_is_locked(process, one, name, status, byte) for one in os.listdir(process / "fd")):
                    return _describe(process)
    return UNSEEN


def _is_locked(process: Path, fd: str, name: str, status: os.stat_result, byte: int) -> bool:
    """Return whether a process has locked the byte of the file of this name and status through this descriptor."""
    link = process / "fd" / fd
    try:  # the name first: no other file is touched, which may be on a server that does not answer
        if os.path.basename(os.readlink(link)) != name or not os.path.samestat(os.stat(link), status):
            return False
        lines = (process / "fdinfo" / fd).read_text().splitlines()
    except FileNotFoundError:  # closed in the meantime
        return False
    locks = [line.split() for line in lines if line.startswith("lock:")]
    return any("OFDLCK" in fields and fields[-2:] == [str(byte)] * 2 for fields in locks)


def _describe(process: Path) -> Holder:
    command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    state = (process / "stat").read_text().rpartition(")")[2].split()[0]
    return Holder(int(process.name), command[:200], state in _STOPPED or _is_frozen(process))


def _is_frozen(process: Path) -> bool:
    """Return whether the process's control group, or one above it, is frozen, as by ``docker pause``."""
    for line in (process / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        file, sign = _FREEZERS.get(controllers, ("", ""))
        with suppress(OSError):
            if file and sign in Path(file.format(path)).read_text().splitlines():
                return True
    return False
