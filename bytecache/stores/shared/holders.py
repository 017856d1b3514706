"""Who has a lock that a process waits for, and whether it is of any use to go on waiting."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import NamedTuple

from ...system.caller import warn_caller

_FIRST_PAUSE_S, _MAX_PAUSE_S = 20e-6, 20e-3
_FIRST_LOOK_S = 1.25  # after which a waiter looks who has the lock; it looks again after twice the time
_LONG_S, _TOO_LONG_S = 10.0, 640.0
_CLOCK_ERROR_S = 2.0  # of the time at which a process is said to have started
_PROC = Path("/proc")
_STOPPED = "Tt"  # states of proc(5): stopped by a signal, or by a debugger
_ENDED = "ZX"  # no more than an exit status that its parent has not asked for
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
        """Warn that this process goes on without, once for each that has locks; not to be called under a lock."""
        if self._holder not in _warned_of:
            _warned_of.add(self._holder)
            warn_caller(
                f"{self.strerror}. Until then this process reads itself what that one was to read, and stores nothing "
                "if that one is in the middle of a write"
            )


class Watch:
    """For a caller that tries to get a lock: the pauses in between, and now and then a look at who has it."""

    def __init__(
        self, path: Path, status: os.stat_result, byte: int | None, warn: Callable[[str], None] | None = None
    ) -> None:
        """path, status, byte: where the lock is; byte is None for flock(2). warn: told of a long wait, once."""
        self._path, self._status, self._byte, self._warn = path, status, byte, warn
        self._started, self._next_s = monotonic(), _FIRST_LOOK_S
        self._seen: Holder | None = None
        self._pause_s = _FIRST_PAUSE_S

    def pause(self) -> tuple[str, Holder] | None:
        """Sleep a little; return the arguments of a LockTimeout if it is of no use to wait any longer.

        At two looks in a row it was the same process that had the lock, and was stopped. For one that cannot be seen
        the wait is longer, and for one that runs, and may just take long, longer still.
        """
        sleep(self._pause_s)
        self._pause_s = min(1.25 * self._pause_s, _MAX_PAUSE_S)
        waited_s = monotonic() - self._started
        if waited_s < self._next_s:
            return None
        self._next_s *= 2
        before, self._seen = self._seen, find_holder(self._path.name, self._status, self._byte)
        holder = self._seen
        message = f"{self._path}: this process has waited {waited_s:.0f} s for a lock that {holder} has"
        if before == holder and waited_s >= (0 if holder.stopped else _LONG_S if holder is UNSEEN else _TOO_LONG_S):
            resume = f" (kill -CONT {holder.pid})" if holder.stopped else ""
            return f"{message}, and waits no longer: let that one go on{resume}, or end it", holder
        if waited_s >= _LONG_S and self._warn is not None:
            self._warn(
                f"{message}, as it runs the function with the same arguments. It may just take long. But if it waits "
                f"for something that this process has (a lock on a file), both stand still for {_TOO_LONG_S:.0f} s: "
                "make the call without that, or have every call run the function itself: fill_once(..., once=False)"
            )
            self._warn = None
        return None


def find_holder(name: str, status: os.stat_result, byte: int | None) -> Holder:
    """Return the process that has locked the file, or this byte of it, against all others; or UNSEEN."""
    for process in _PROC.iterdir():
        if process.name.isdecimal():
            with suppress(OSError):  # it has ended, or is another user's
                if any(_is_locked(process, one, name, status, byte) for one in os.listdir(process / "fd")):
                    return _describe(process)
    return UNSEEN


def is_in_use(folder: Path, status: os.stat_result, pid: int, since_s: float) -> bool:
    """Return whether a process that has used a folder, of this status, since then, in seconds since 1970, still does.

    One that cannot be looked at, as another user's, counts as using it; one of another container is not seen at all.
    """
    process = _PROC / str(pid)
    try:
        state, *fields = _stat_fields(process)
        if state in _ENDED or _started_s(fields) > since_s + _CLOCK_ERROR_S:  # or another one, which has got the number
            return False
        for fd in os.listdir(process / "fd"):
            with suppress(FileNotFoundError):  # closed in the meantime
                if _leads_to(process / "fd" / fd, folder.name, status):
                    return True
    except PermissionError:
        return True
    except OSError:  # it has ended
        pass
    return False


def _stat_fields(process: Path) -> list[str]:
    """Return the fields of proc_pid_stat(5) from the state on."""
    return (process / "stat").read_text().rpartition(")")[2].split()


def _started_s(fields: list[str]) -> float:
    """Return when a process started, in seconds since 1970, by its fields behind the state."""
    boot_s = next(int(line.split()[1]) for line in (_PROC / "stat").read_text().splitlines() if line[:5] == "btime")
    return boot_s + int(fields[18]) / os.sysconf("SC_CLK_TCK")


def _leads_to(link: Path, name: str, status: os.stat_result) -> bool:
    """Return whether a descriptor, by its link, is of the file of this name and status.

    The name first: no other file is touched, which may be on a server that does not answer.
    """
    found = os.path.basename(os.readlink(link)).removesuffix(" (deleted)")
    return found == name and os.path.samestat(os.stat(link), status)


def _is_locked(process: Path, fd: str, name: str, status: os.stat_result, byte: int | None) -> bool:
    """Return whether a process has locked the byte of the file of this name and status through this descriptor."""
    link = process / "fd" / fd
    try:
        if not _leads_to(link, name, status):
            return False
        lines = (process / "fdinfo" / fd).read_text().splitlines()
    except FileNotFoundError:  # closed in the meantime
        return False
    kind, extent = ("FLOCK", ["0", "EOF"]) if byte is None else ("OFDLCK", [str(byte)] * 2)
    locks = [line.split() for line in lines if line.startswith("lock:")]
    return any(kind in fields and "WRITE" in fields and fields[-2:] == extent for fields in locks)


def _describe(process: Path) -> Holder:
    command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    state = _stat_fields(process)[0]
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
