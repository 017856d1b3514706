"""A limit on the memory of some processes together, page cache included: a memory control group of the kernel.

Both versions are known, v1 and v2. To make one takes root, or a group that was handed over.
"""

from __future__ import annotations

import functools
import os
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep

V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
PATIENCE_S = 10


class MemoryGroup:
    """A control group; a process that enters takes along its later children, not the memory it has already."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder, self._v2 = folder, folder.parent == V2
        self._write("memory.max" if self._v2 else "memory.limit_in_bytes", limit_bytes)
        with suppress(OSError):  # no swap: a limit that can be passed is none
            self._write("memory.swap.max" if self._v2 else "memory.swappiness", 0)

    @property
    def tasks(self) -> str:
        """The file to which a process writes its number to enter."""
        return str(self._folder / "cgroup.procs")

    def used_bytes(self) -> int:
        """What cannot be dropped: memory of the processes, and files in tmpfs; the page cache is left out."""
        stat = dict(line.split() for line in self._read("memory.stat").splitlines())
        private = stat["anon"] if self._v2 else stat["rss"]
        return int(private) + int(stat["shmem"])

    def kills(self) -> int:
        """How many processes the kernel has killed because of the limit."""
        lines = self._read("memory.events" if self._v2 else "memory.oom_control").splitlines()
        return int(dict(line.split() for line in lines)["oom_kill"])

    def _read(self, name: str) -> str:
        return (self._folder / name).read_text(encoding="ascii")

    def _write(self, name: str, value: int) -> None:
        (self._folder / name).write_text(str(value), encoding="ascii")


@contextmanager
def memory_group(limit_bytes: int) -> Iterator[MemoryGroup]:
    """A group that is gone afterwards. Raises OSError where none can be made."""
    folder = (V1 if V1.is_dir() else V2) / f"benchmark-{uuid.uuid4().hex}"
    folder.mkdir()
    try:
        yield MemoryGroup(folder, limit_bytes)
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    """Ends what is still in a group, and removes it once the kernel lets go of it. Raises OSError if it does not."""
    deadline = monotonic() + PATIENCE_S
    while True:
        for process in (folder / "cgroup.procs").read_text(encoding="ascii").split():
            with suppress(ProcessLookupError):
                os.kill(int(process), signal.SIGKILL)
        try:
            return folder.rmdir()
        except OSError:
            if monotonic() > deadline:
                raise
        sleep(0.01)


@functools.cache
def why_not() -> str:
    """Why no group can be made here; empty where one can."""
    try:
        with memory_group(2**30):
            return ""
    except OSError as error:
        return f"no memory control group can be made here ({error.strerror}); it takes Linux and root"


def enter(tasks: str) -> None:
    """Puts this process into a group."""
    Path(tasks).write_text(str(os.getpid()), encoding="ascii")
