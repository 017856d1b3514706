"""A memory limit for a group of processes, page cache included: a memory control group of the kernel.

Works with cgroup v1 and v2. Creating a group requires root, or a delegated group.
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
    """A control group. A process that enters brings its future children, not the memory that it already has."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder, self._v2 = folder, folder.parent == V2
        self._write("memory.max" if self._v2 else "memory.limit_in_bytes", limit_bytes)
        with suppress(OSError):  # no swap: it would let processes exceed the limit
            self._write("memory.swap.max" if self._v2 else "memory.swappiness", 0)

    @property
    def tasks(self) -> str:
        """The file to which a process writes its pid to enter."""
        return str(self._folder / "cgroup.procs")

    def used_bytes(self) -> int:
        """Return what the kernel cannot drop: the processes' memory and files in tmpfs, but not the page cache."""
        stat = dict(line.split() for line in self._read("memory.stat").splitlines())
        private = stat["anon"] if self._v2 else stat["rss"]
        return int(private) + int(stat["shmem"])

    def kills(self) -> int:
        """Return how many processes the kernel has killed because of the limit."""
        lines = self._read("memory.events" if self._v2 else "memory.oom_control").splitlines()
        return int(dict(line.split() for line in lines)["oom_kill"])

    def _read(self, name: str) -> str:
        return (self._folder / name).read_text(encoding="ascii")

    def _write(self, name: str, value: int) -> None:
        (self._folder / name).write_text(str(value), encoding="ascii")


@contextmanager
def memory_group(limit_bytes: int) -> Iterator[MemoryGroup]:
    """Create a group and remove it afterwards. Raises OSError if it cannot be created."""
    folder = (V1 if V1.is_dir() else V2) / f"benchmark-{uuid.uuid4().hex}"
    folder.mkdir()
    try:
        yield MemoryGroup(folder, limit_bytes)
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    """Kill what is left in a group, and remove it once the kernel allows it. Raises OSError if it never does."""
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
    """Return why no group can be created here; empty if one can."""
    try:
        with memory_group(2**30):
            return ""
    except OSError as error:
        return f"no memory control group can be created here ({error.strerror}): that requires Linux and root"


def enter(tasks: str) -> None:
    """Move this process into a group."""
    Path(tasks).write_text(str(os.getpid()), encoding="ascii")
