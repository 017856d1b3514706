"""How much memory this process may still take: the machine's and its control groups' limits, on Linux v1 and v2."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")


def available_memory(proc: Path = _PROC) -> int:
    """Bytes that this process can still allocate: the least room of the machine and of each of its cgroups.

    Page cache that the kernel would give up counts as room. Elsewhere than on Linux: the machine's whole memory.

    Raises OSError where the platform does not tell; give the budget in bytes there.
    """
    rooms = [*_machine_available(proc), *_cgroup_headrooms(proc)]
    if rooms:
        return max(0, min(rooms))
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        raise OSError('this platform does not tell its memory: give the budget in bytes or as "2 GiB"') from None


def _machine_available(proc: Path) -> Iterator[int]:
    for line in _read_lines(proc / "meminfo"):
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024


def _cgroup_headrooms(proc: Path) -> Iterator[int]:
    for line in _read_lines(proc / "self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            names = ("memory.max", "memory.current", "inactive_file")
            mounts = _mounts(proc, "cgroup2", "")
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            mounts = _mounts(proc, "cgroup", "memory")
        else:
            continue
        for root, mount in mounts:
            yield from _headroom_of_ancestors(mount, _path_below_mount(path, root), *names)


def _mounts(proc: Path, fstype: str, option: str) -> Iterator[tuple[str, Path]]:
    """(the cgroup that is mounted, where) of each mount of this hierarchy; see proc(5) on mountinfo."""
    for line in _read_lines(proc / "self/mountinfo"):
        fields, _, rest = line.partition(" - ")
        kind, _, options = (rest.split() + ["", "", ""])[:3]
        if kind == fstype and (not option or option in options.split(",")):
            yield fields.split()[3], Path(fields.split()[4])


def _path_below_mount(path: str, root: str) -> str:
    """`path` as seen below a mount of `root`; a container may see its own group as the top."""
    if root == "/":
        return path.strip("/")
    return path[len(root) :].strip("/") if (path + "/").startswith(root + "/") else ""


def _headroom_of_ancestors(mount: Path, path: str, limit: str, usage: str, reclaimable: str) -> Iterator[int]:
    """The room of a group and of every group above it: each one's limit binds."""
    group = mount / path
    if not group.is_dir():
        group = mount
    while True:
        room = _headroom(group, limit, usage, reclaimable)
        if room is not None:
            yield room
        if group == mount:
            return
        group = group.parent


def _headroom(group: Path, limit: str, usage: str, reclaimable: str) -> int | None:
    try:
        most, used = (group / limit).read_text().strip(), int((group / usage).read_text())
    except (OSError, ValueError):
        return None
    if most == "max":
        return None
    cached = sum(int(line.split()[1]) for line in _read_lines(group / "memory.stat") if line.split()[0] == reclaimable)
    return int(most) - max(0, used - cached)


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
