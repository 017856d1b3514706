"""How much memory this process may still take: the limits of the machine, of its control groups, and its own."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .mounts import Mount, read_mounts

_PROC = Path("/proc")
_COUNTED_AS = {"Max address space": "VmSize", "Max data size": "VmData"}  # lines of limits -> of status; see proc(5)


def available_memory(proc: Path = _PROC) -> int:
    """Return how many bytes this process can still allocate: the least headroom of all limits that bind it.

    These are the machine's memory, those of its control groups (v1 and v2), and its own limits of address space and of
    data (``ulimit -v`` and ``-d``). Page cache that the kernel would reclaim counts as headroom. On Windows it is the
    memory that is free, on macOS and others the machine's whole memory.

    Raises OSError if the platform does not report its memory; give the budget in bytes there.
    """
    headrooms = [*_machine_available(proc), *_cgroup_headrooms(proc), *_process_headrooms(proc)]
    if headrooms:
        return max(0, min(headrooms))
    for ask in _ask_windows, _ask_posix, _ask_macos:
        try:
            return ask()
        except (AttributeError, ValueError, OSError):  # another system
            continue
    raise OSError('this platform does not report its memory: give the budget in bytes or as "2 GiB"')


def _ask_windows() -> int:
    """Return the free memory, from the structure MEMORYSTATUSEX: two words of 4 bytes, then seven of 8."""
    status = (ctypes.c_uint64 * 8)()
    status[0] = ctypes.sizeof(status)  # the first word, as Windows is little-endian
    kernel: Any = getattr(ctypes, "windll").kernel32  # noqa: B009
    if not kernel.GlobalMemoryStatusEx(ctypes.byref(status)):
        raise OSError("GlobalMemoryStatusEx has failed")
    return int(status[2])  # of length and load, total and available physical memory


def _ask_posix() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _ask_macos() -> int:
    nbytes, length = ctypes.c_uint64(), ctypes.c_size_t(8)
    arguments = b"hw.memsize", ctypes.byref(nbytes), ctypes.byref(length), None, ctypes.c_size_t(0)
    if ctypes.CDLL(None).sysctlbyname(*arguments):
        raise OSError("sysctlbyname has failed")
    return nbytes.value


def _machine_available(proc: Path) -> Iterator[int]:
    for line in _read_lines(proc / "meminfo"):
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024


def _process_headrooms(proc: Path) -> Iterator[int]:
    """Yield what the process's own limits leave; what it has mapped counts against them, used or not."""
    used = dict(line.split(":", 1) for line in _read_lines(proc / "self/status") if line.startswith("Vm"))
    for line in _read_lines(proc / "self/limits"):
        field = _COUNTED_AS.get(line[:26].rstrip())
        if field in used:
            soft = line[26:].split()[0]
            if soft.isdigit():
                yield int(soft) - int(used[field].split()[0]) * 1024


def _cgroup_headrooms(proc: Path) -> Iterator[int]:
    mounts = read_mounts(proc / "self/mountinfo")
    for line in _read_lines(proc / "self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            names = ("memory.max", "memory.current", "inactive_file")
            hierarchy = [mount for mount in mounts if mount.filesystem == "cgroup2"]
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            hierarchy = [mount for mount in mounts if mount.filesystem == "cgroup" and "memory" in mount.options]
        else:
            continue
        for mount in hierarchy:
            yield from _headroom_of_ancestors(Path(mount.path), _path_below_mount(path, mount), *names)


def _path_below_mount(path: str, mount: Mount) -> str:
    """Return a group's path as seen below a mount; a container may see its own group as the top."""
    if mount.root == "/":
        return path.strip("/")
    return path[len(mount.root) :].strip("/") if (path + "/").startswith(mount.root + "/") else ""


def _headroom_of_ancestors(top: Path, path: str, limit: str, usage: str, reclaimable: str) -> Iterator[int]:
    """Yield the headroom of a group and of every group above it: each one's limit binds."""
    group = top / path
    if not group.is_dir():
        group = top
    while True:
        headroom = _headroom(group, limit, usage, reclaimable)
        if headroom is not None:
            yield headroom
        if group == top:
            return
        group = group.parent


def _headroom(group: Path, limit: str, usage: str, reclaimable: str) -> int | None:
    try:
        maximum, used = (group / limit).read_text().strip(), int((group / usage).read_text())
    except (OSError, ValueError):
        return None
    if maximum == "max":
        return None
    cached = sum(int(line.split()[1]) for line in _read_lines(group / "memory.stat") if line.split()[0] == reclaimable)
    return int(maximum) - max(0, used - cached)


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
