"""Budgets and sizes in bytes, in a made-up /proc, in a real control group, and in resident memory."""

from __future__ import annotations

import collections
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bytecache
from bytecache.stores.values import make_read_only, sizeof
from bytecache.system.byte_sizes import parse_size
from bytecache.system.memory_limit import available_memory

MIB = 2**20


# parse_size


@pytest.mark.parametrize(
    "size, nbytes",
    [
        (1, 1),
        (123456789012, 123456789012),
        ("7", 7),
        ("7 B", 7),
        ("2KB", 2000),
        ("500 MB", 500_000_000),
        ("1.5 GB", 1_500_000_000),
        ("1 TB", 10**12),
        ("2 kib", 2048),
        (" 0.5 MiB ", 524288),
        ("2 GiB", 2 * 2**30),
        ("1TiB", 2**40),
    ],
)
def test_sizes_in_bytes(size: Any, nbytes: int) -> None:
    """Decimal and binary units, with or without a space, in either case."""
    assert parse_size(size) == nbytes


WRONG = ["", " ", "GiB", "-1", "-1 GiB", "0", "0.1 B", "1,5 GB", "1e9", "2 G", "2 GiB!", "nan", "101%", "0%", "-5%"]


@pytest.mark.parametrize("size", [0, -1, *WRONG])
def test_what_is_no_size_is_a_value_error(size: Any) -> None:
    """Zero, less, and text that is no size are refused; the message names the parameter and what came."""
    with pytest.raises(ValueError) as caught:
        parse_size(size, "budget")
    assert str(caught.value) == (
        f'budget must be a positive int or a size such as "2 GiB", "500 MB" or "50%", got {size!r}'
    )


def test_large_numbers_are_exact() -> None:
    """A size is not rounded to a float's precision, nor bounded by its range."""
    assert parse_size("9007199254740993") == 9007199254740993
    assert parse_size("9" * 400) == int("9" * 400)
    assert parse_size("0.1 GB") == 100_000_000


def test_named_tuples_and_dict_subclasses_count_with_what_they_hold() -> None:
    """What namedtuple, OrderedDict and a buffer hold is counted, and their arrays are frozen."""
    Sample = collections.namedtuple("Sample", "image label")
    for make in (lambda a: Sample(a, 1), lambda a: collections.OrderedDict(image=a), lambda a: [(a,)]):
        array = np.zeros(10_000)
        value = make(array)
        assert 80_000 < sizeof(value) < 81_000
        make_read_only(value)
        assert not array.flags.writeable
    assert 80_000 < sizeof(memoryview(bytes(80_000))) < 81_000


@pytest.mark.parametrize("size", [1.5, True, None, b"2 GiB", [1]])
def test_another_type_is_a_type_error(size: Any) -> None:
    """Only int and str give a size; a bool is neither."""
    with pytest.raises(TypeError, match=f'or "50%", got .* of type {type(size).__name__}'):
        parse_size(size)


def test_percent_is_of_the_memory_available() -> None:
    """ "50%" is half of what available_memory gives, give or take what the machine does meanwhile."""
    assert parse_size("50%") == pytest.approx(available_memory() / 2, rel=0.05)
    assert parse_size("100 %") == pytest.approx(available_memory(), rel=0.05)


# sizeof and freeze


def test_sizeof_python_objects() -> None:
    """Plain objects count as sys.getsizeof has them, containers with everything in them, an object met twice once."""
    text, data = "x" * 1000, b"y" * 5000
    assert sizeof(data) == sys.getsizeof(data)
    for container in (text, data), [text, data], {text, data}, frozenset([text, data]), {text: data}:
        assert sizeof(container) == sum(map(sys.getsizeof, (container, text, data)))
    inner = (data,)
    outer = [data, inner, data]
    assert sizeof(outer) == sum(map(sys.getsizeof, (outer, inner, data)))


def test_sizeof_ends_in_a_cycle() -> None:
    """A list that holds itself has a size."""
    loop: list[Any] = []
    loop.append(loop)
    assert sizeof(loop) == sys.getsizeof(loop)


BUFFER = bytes(100_000)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(100_000, np.uint8),
        np.zeros((1000, 100), np.uint8).T,
        np.zeros(100_000, np.uint8)[::1000],
        np.zeros((10, 10_000), np.uint8)[3].reshape(100, 100)[:1],
        np.frombuffer(BUFFER, np.uint8),
        np.frombuffer(BUFFER, np.uint8)[:10],
        np.frombuffer(BUFFER, np.uint8, count=10),
        np.frombuffer(bytearray(BUFFER), np.uint8, offset=99_990),
    ],
    ids=["owner", "transposed", "strided", "view of a view", "of bytes", "view of bytes", "head of bytes", "tail"],
)
def test_sizeof_counts_the_buffer_an_array_keeps_alive(array: Any) -> None:
    """A view counts as the whole buffer behind it, whoever owns that, and a little for the array itself."""
    assert 100_000 < sizeof(array) < 100_000 + 300
    assert sizeof([array]) == sizeof(array) + sys.getsizeof([array])


def test_freeze_reaches_into_containers() -> None:
    """Arrays in tuples, lists and dicts become read-only, also in one that holds itself; the rest is left alone."""
    arrays = [np.zeros(2) for _ in range(4)]
    nested: list[Any] = [arrays[0], (arrays[1], {"a": [arrays[2]]}), "text", None]
    nested.append(nested)
    make_read_only(nested)
    assert [array.flags.writeable for array in arrays] == [False, False, False, True]
    make_read_only(b"bytes")


# available_memory, in a made-up /proc


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
    def room(self) -> int:
        return available_memory(self.proc)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


V2 = "30 23 0:26 / {groups} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
V1 = "35 31 0:32 / {groups} rw,relatime - cgroup cgroup rw,memory"
OTHERS = ["22 1 8:1 / / rw - ext4 /dev/sda1 rw", "32 31 0:29 / /nowhere rw shared:9 - cgroup cgroup rw,cpu,cpuacct"]


def test_the_machines_memory_bounds(machine: Machine) -> None:
    """Without control groups it is MemAvailable."""
    assert machine.room == 8_192_000


def test_elsewhere_it_is_the_whole_memory(tmp_path: Path) -> None:
    """Where there is no /proc the machine's physical memory is taken."""
    assert available_memory(tmp_path) == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize("version", ["v1", "v2"])
class TestGroups:
    @pytest.fixture(autouse=True)
    def mounted(self, machine: Machine, version: str) -> None:
        machine.mounts(*OTHERS, V2 if version == "v2" else V1)
        machine.member(*(["0::/job/step"] if version == "v2" else ["5:cpu,cpuacct:/", "4:memory:/job/step", "0::/"]))
        self.group: Callable[..., None] = getattr(machine, version)

    def test_a_groups_room_is_its_limit_less_its_use(self, machine: Machine) -> None:
        """Cached pages that the kernel would give up count as room."""
        self.group("job/step", 1_000_000, 400_000, inactive=50_000)
        assert machine.room == 650_000

    @pytest.mark.parametrize("tightest", ["", "job", "job/step"])
    def test_every_group_above_binds_too(self, machine: Machine, tightest: str) -> None:
        """The least room of the group and all above it counts, wherever it is."""
        for path in "", "job", "job/step":
            self.group(path, 1_000_000 if path == tightest else 2_000_000, 400_000)
        assert machine.room == 600_000

    def test_a_loose_group_leaves_the_machines_bound(self, machine: Machine) -> None:
        """A limit above the machine's memory changes nothing."""
        self.group("job/step", 2**63 - 4096, 400_000)
        assert machine.room == 8_192_000

    def test_a_group_above_its_limit_has_no_room(self, machine: Machine) -> None:
        """Room is never below zero."""
        self.group("job/step", 1_000_000, 1_400_000)
        assert machine.room == 0

    def test_more_cache_than_use_is_no_extra_room(self, machine: Machine) -> None:
        """A group's room is never more than its limit."""
        self.group("job/step", 1_000_000, 100_000, inactive=300_000)
        assert machine.room == 1_000_000

    def test_in_a_container_the_mount_is_the_group(self, machine: Machine, version: str) -> None:
        """Where only the own group is mounted, as in a container, its files lie at the mount."""
        line = (V2 if version == "v2" else V1).replace(" / {groups}", " /job/step {groups}")
        machine.mounts(*OTHERS, line)
        self.group("", 1_000_000, 400_000)
        assert machine.room == 600_000

    @pytest.mark.parametrize("path", ["/", "/../elsewhere", "/not/visible/here"])
    def test_a_group_that_cannot_be_seen_is_taken_for_the_mount(
        self, machine: Machine, version: str, path: str
    ) -> None:
        """In a container with a view of its own the path may lead nowhere: the top of the mount counts."""
        machine.member(f"0::{path}" if version == "v2" else f"4:memory:{path}")
        self.group("", 1_000_000, 400_000)
        assert machine.room == 600_000


def test_no_limit_in_v2_is_max(machine: Machine) -> None:
    """ "max" sets no bound; a limit above it still does."""
    machine.mounts(V2)
    machine.member("0::/job")
    machine.v2("job", "max", 400_000)
    assert machine.room == 8_192_000
    machine.v2("", 1_000_000, 400_000)
    assert machine.room == 600_000


def test_both_versions_side_by_side(machine: Machine) -> None:
    """Where v2 is mounted beside v1 without the memory controller, v1's limit is found."""
    machine.mounts(*OTHERS, "41 31 0:38 / {groups}/unified rw - cgroup2 cgroup2 rw", V1)
    machine.member("4:memory:/job", "1:name=systemd:/", "0::/job")
    (machine.groups / "unified/job").mkdir(parents=True)
    machine.v1("job", 1_000_000, 400_000)
    assert machine.room == 600_000


def test_damaged_files_are_passed_over(machine: Machine) -> None:
    """A group whose files cannot be read or make no sense sets no bound."""
    machine.mounts(V2)
    machine.member("0::/job")
    machine.v2("job", 1_000_000, 400_000)
    (machine.groups / "job/memory.current").write_text("what?")
    assert machine.room == 8_192_000


# available_memory, in a real control group

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
    """In a group of 256 MiB, or in one inside it, "50%" is half of that, less the little the process uses."""
    command = [sys.executable, "-c", IN_GROUP, str(limited_group / where)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert LIMIT / 2 * 0.8 < int(done.stdout) <= LIMIT / 2


# The promise about memory

RESIDENT = """
import json, os, random, sys
import bytecache

def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

decorator, path, maxbytes = sys.argv[1], sys.argv[2], int(sys.argv[3])
options = {"maxsize": None} if decorator == "lru_cache" else {}
rng, fd = random.Random(1), os.open(path, os.O_RDONLY)
names = [f"/data/train/{i:06d}.jpg" for i in range(100_000)]
sizes = {name: rng.randint(*json.loads(sys.argv[4])) for name in names}

@getattr(bytecache, decorator)(maxbytes=maxbytes, **options)
def read(name):
    return os.pread(fd, sizes[name], 0)

grown = []
before = resident()
for epoch in range(4):
    rng.shuffle(names)
    for name in names:
        read(name)
    grown.append((resident() - before) / maxbytes)
stats = read.cache_stats()
print(json.dumps([grown, stats.currbytes / maxbytes, stats.currsize]))
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
@pytest.mark.parametrize(
    "decorator, length, most",
    [
        ("fill_once", (8192, 8192), 1.05),
        ("fill_once", (4096, 12288), 1.05),
        ("lru_cache", (8192, 8192), 1.05),
        ("lru_cache", (4096, 12288), 1.10),  # malloc cannot use every gap that an evicted value of another size leaves
    ],
)
def test_resident_memory_keeps_the_budget(tmp_path: Path, decorator: str, length: Any, most: float) -> None:
    """100,000 values of 8 KB under 400 MB: the process grows by 5 % more at most, in each of four epochs."""
    (tmp_path / "data").write_bytes(os.urandom(16384))
    script = [sys.executable, "-c", RESIDENT, decorator, str(tmp_path / "data"), str(400 * 10**6), json.dumps(length)]
    done = subprocess.run(script, capture_output=True, text=True, check=True)
    grown, held, count = json.loads(done.stdout)
    assert held > 0.99 and 40_000 < count < 60_000
    assert min(grown) > 0.95
    assert max(grown) <= most, grown


def test_percent_as_budget_of_a_decorator() -> None:
    """A percentage is worked out when the function is decorated."""
    cached = bytecache.fill_once(maxbytes="50%")(len)
    assert cached.cache_stats().maxbytes == pytest.approx(available_memory() / 2, rel=0.05)
