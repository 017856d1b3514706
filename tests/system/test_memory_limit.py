"""The memory that a process may still take, in a made-up /proc and in a real control group."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bytecache.system.memory_limit import available_memory

MIB = 2**20


# In a made-up /proc


class Machine:
    """A /proc and control groups under a folder."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.groups = folder / "proc", folder / "cgroup"
        (self.proc / "self").mkdir(parents=True)
        self.groups.mkdir()
        self.write("meminfo", "MemTotal:  99999 kB\nMemFree:  1 kB\nMemAvailable:  8000 kB\n")

    def write(self, name: str, text: str) -> None:
        (self.proc / name).write_text(text)

    def member(self, *lines: str) -> None:
        self.write("self/cgroup", "".join(line + "\n" for line in lines))

    def mounts(self, *lines: str) -> None:
        """Lines of mountinfo; {groups} stands for the folder of the groups."""
        self.write("self/mountinfo", "".join(line.format(groups=self.groups) + "\n" for line in lines))

    def v2(self, path: str, limit: Any, used: int, inactive: int = 0) -> None:
        stat = f"anon 5\ninactive_file {inactive}\nactive_file 77\n"
        self._group(path, {"memory.max": limit, "memory.current": used, "memory.stat": stat})

    def v1(self, path: str, limit: int, used: int, inactive: int = 0) -> None:
        stat = f"cache 5\ninactive_file 3\ntotal_inactive_file {inactive}\n"
        self._group(path, {"memory.limit_in_bytes": limit, "memory.usage_in_bytes": used, "memory.stat": stat})

    def _group(self, path: str, files: dict[str, Any]) -> None:
        group = self.groups / path
        group.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (group / name).write_text(str(text))

    @property
    def available(self) -> int:
        return available_memory(self.proc)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


V2 = "30 23 0:26 / {groups} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
V1 = "35 31 0:32 / {groups} rw,relatime - cgroup cgroup rw,memory"
OTHERS = ["22 1 8:1 / / rw - ext4 /dev/sda1 rw", "32 31 0:29 / /nowhere rw shared:9 - cgroup cgroup rw,cpu,cpuacct"]


def test_the_machines_memory_is_a_bound(machine: Machine) -> None:
    """Without control groups it is MemAvailable."""
    assert machine.available == 8_192_000


LIMITS = """\
Limit                     Soft Limit           Hard Limit           Units
Max cpu time              unlimited            unlimited            seconds
Max data size             {data:<20} unlimited            bytes
Max address space         {space:<20} unlimited            bytes
"""


@pytest.mark.parametrize(
    "data, space, available",
    [
        ("unlimited", "unlimited", 8_192_000),
        ("unlimited", 4_096_000, 4_096_000 - 1_024_000),
        (2_048_000, 4_096_000, 2_048_000 - 512_000),
        (2_048_000, 10**12, 2_048_000 - 512_000),
        ("unlimited", 1_000_000, 0),
    ],
)
def test_the_limits_of_the_process_bind_too(machine: Machine, data: Any, space: Any, available: int) -> None:
    """A limit of address space or data leaves what is not mapped yet."""
    machine.write("self/limits", LIMITS.format(data=data, space=space))
    machine.write("self/status", "Name:\tpython\nVmPeak:\t9999 kB\nVmSize:\t    1000 kB\nVmData:\t     500 kB\n")
    assert machine.available == available


BELOW_LIMIT = """
import resource, sys
import bytecache
number, limit = getattr(resource, sys.argv[1]), 600 * 2**20
resource.setrlimit(number, (limit, limit))
read = bytecache.fill_once(maxbytes="50%")(lambda key: bytes(10_000_000))
for key in range(100):
    read(key)
stats = read.cache_stats()
print(stats.maxbytes, stats.currsize, stats.rejected)
"""


@pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="the limits are read from /proc")
@pytest.mark.parametrize("limit", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_percent_below_a_real_limit(limit: str) -> None:
    """ "50%" is half of what ulimit -v or -d leaves, so the cache is full before memory runs out."""
    done = subprocess.run([sys.executable, "-c", BELOW_LIMIT, limit], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    maxbytes, stored, rejected = map(int, done.stdout.split())
    assert 0 < maxbytes <= 300 * MIB and 0 < stored == maxbytes // 10_000_033 and rejected == 100 - stored


def test_elsewhere_it_is_the_whole_memory(tmp_path: Path) -> None:
    """Without a /proc it is the machine's physical memory."""
    assert available_memory(tmp_path) == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize("version", ["v1", "v2"])
class TestGroups:
    @pytest.fixture(autouse=True)
    def mounted(self, machine: Machine, version: str) -> None:
        machine.mounts(*OTHERS, V2 if version == "v2" else V1)
        machine.member(*(["0::/job/step"] if version == "v2" else ["5:cpu,cpuacct:/", "4:memory:/job/step", "0::/"]))
        self.group: Callable[..., None] = getattr(machine, version)

    def test_a_groups_headroom_is_its_limit_minus_its_use(self, machine: Machine) -> None:
        """Cached pages that the kernel would reclaim count as headroom."""
        self.group("job/step", 1_000_000, 400_000, inactive=50_000)
        assert machine.available == 650_000

    @pytest.mark.parametrize("tightest", ["", "job", "job/step"])
    def test_every_group_above_binds_too(self, machine: Machine, tightest: str) -> None:
        """The least headroom of the group and all groups above it counts."""
        for path in "", "job", "job/step":
            self.group(path, 1_000_000 if path == tightest else 2_000_000, 400_000)
        assert machine.available == 600_000

    def test_a_loose_group_leaves_the_machines_bound(self, machine: Machine) -> None:
        """A limit above the machine's memory changes nothing."""
        self.group("job/step", 2**63 - 4096, 400_000)
        assert machine.available == 8_192_000

    def test_a_group_above_its_limit_has_no_headroom(self, machine: Machine) -> None:
        """Headroom is never below zero."""
        self.group("job/step", 1_000_000, 1_400_000)
        assert machine.available == 0

    def test_more_cache_than_use_is_no_extra_headroom(self, machine: Machine) -> None:
        """A group's headroom is never more than its limit."""
        self.group("job/step", 1_000_000, 100_000, inactive=300_000)
        assert machine.available == 1_000_000

    def test_in_a_container_the_mount_is_the_group(self, machine: Machine, version: str) -> None:
        """If only the process's own group is mounted, as in a container, its files are at the mount."""
        line = (V2 if version == "v2" else V1).replace(" / {groups}", " /job/step {groups}")
        machine.mounts(*OTHERS, line)
        self.group("", 1_000_000, 400_000)
        assert machine.available == 600_000

    @pytest.mark.parametrize("path", ["/", "/../elsewhere", "/not/visible/here"])
    def test_a_group_that_cannot_be_seen_counts_as_the_mount(self, machine: Machine, version: str, path: str) -> None:
        """In a container's own view the path may not exist: the top of the mount counts."""
        machine.member(f"0::{path}" if version == "v2" else f"4:memory:{path}")
        self.group("", 1_000_000, 400_000)
        assert machine.available == 600_000


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_mount_with_a_space_in_its_path_is_found(machine: Machine, version: str) -> None:
    """The kernel writes spaces in mountinfo as octal escapes, which are undone."""
    machine.groups = machine.groups.with_name("control groups")
    escaped = str(machine.groups).replace(" ", "\\040")
    machine.mounts((V2 if version == "v2" else V1).format(groups=escaped))
    machine.member("0::/job" if version == "v2" else "4:memory:/job")
    getattr(machine, version)("job", 1_000_000, 400_000)
    assert machine.available == 600_000


def test_no_limit_in_v2_is_max(machine: Machine) -> None:
    """ "max" sets no bound; a limit above it still does."""
    machine.mounts(V2)
    machine.member("0::/job")
    machine.v2("job", "max", 400_000)
    assert machine.available == 8_192_000
    machine.v2("", 1_000_000, 400_000)
    assert machine.available == 600_000


def test_both_versions_side_by_side(machine: Machine) -> None:
    """If v2 is mounted as well as v1, but without the memory controller, v1's limit counts."""
    machine.mounts(*OTHERS, "41 31 0:38 / {groups}/unified rw - cgroup2 cgroup2 rw", V1)
    machine.member("4:memory:/job", "1:name=systemd:/", "0::/job")
    (machine.groups / "unified/job").mkdir(parents=True)
    machine.v1("job", 1_000_000, 400_000)
    assert machine.available == 600_000


def test_damaged_files_are_ignored(machine: Machine) -> None:
    """A group whose files cannot be parsed sets no bound."""
    machine.mounts(V2)
    machine.member("0::/job")
    machine.v2("job", 1_000_000, 400_000)
    (machine.groups / "job/memory.current").write_text("what?")
    assert machine.available == 8_192_000


# In a real control group

LIMIT = 256 * MIB
IN_GROUP = """
import os, sys
from bytecache.system.byte_sizes import parse_size
with open(sys.argv[1] + "/cgroup.procs", "w") as f:
    f.write(str(os.getpid()))
print(parse_size("50%"))
"""


@pytest.fixture
def limited_group() -> Iterator[Path]:
    """A control group of LIMIT bytes with a group of its own inside; v1 or v2, whichever has the memory controller."""
    v1, v2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
    group = (v1 if v1.is_dir() else v2) / f"bytecache-test-{os.getpid()}"
    inner = group / "inner"
    try:
        group.mkdir()
        if not v1.is_dir() and not (group / "memory.max").exists():
            (v2 / "cgroup.subtree_control").write_text("+memory")
        (group / ("memory.limit_in_bytes" if v1.is_dir() else "memory.max")).write_text(str(LIMIT))
        inner.mkdir()
    except OSError as exc:
        for made in inner, group:
            if made.is_dir():
                made.rmdir()
        pytest.skip(f"no memory control group can be made here: {exc}")
    yield group
    inner.rmdir()
    group.rmdir()


@pytest.mark.parametrize("where", [".", "inner"])
def test_percent_in_a_real_group(limited_group: Path, where: str) -> None:
    """In a group of 256 MiB, or in a group inside it, "50%" is half of that, minus the little that the process uses."""
    command = [sys.executable, "-c", IN_GROUP, str(limited_group / where)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert LIMIT / 2 * 0.8 < int(done.stdout) <= LIMIT / 2
