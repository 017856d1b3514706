"""The size of values, against sys.getsizeof and against the memory of a process; arrays made read-only."""

from __future__ import annotations

import collections
import json
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bytecache
from bytecache.stores.values import make_read_only, sizeof


def test_sizeof_python_objects() -> None:
    """Plain objects count as sys.getsizeof says, containers with everything in them, each object once."""
    text, data = "x" * 1000, b"y" * 5000
    assert sizeof(data) == sys.getsizeof(data)
    for container in (text, data), [text, data], {text, data}, frozenset([text, data]), {text: data}:
        assert sizeof(container) == sum(map(sys.getsizeof, (container, text, data)))
    inner = (data,)
    outer = [data, inner, data]
    assert sizeof(outer) == sum(map(sys.getsizeof, (outer, inner, data)))


def test_sizeof_ends_in_a_cycle() -> None:
    """A list that contains itself has a size."""
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
    """A view counts as the whole buffer behind it, whatever owns that, plus a little for the array itself."""
    assert 100_000 < sizeof(array) < 100_000 + 300
    assert sizeof([array]) == sizeof(array) + sys.getsizeof([array])


def test_make_read_only_reaches_into_containers() -> None:
    """Arrays in tuples, lists and dicts become read-only, also in a list that contains itself; nothing else changes."""
    arrays = [np.zeros(2) for _ in range(4)]
    nested: list[Any] = [arrays[0], (arrays[1], {"a": [arrays[2]]}), "text", None]
    nested.append(nested)
    make_read_only(nested)
    assert [array.flags.writeable for array in arrays] == [False, False, False, True]
    make_read_only(b"bytes")


def test_named_tuples_and_dict_subclasses_count_with_their_contents() -> None:
    """The contents of a namedtuple, an OrderedDict and a buffer count, and their arrays become read-only."""
    Sample = collections.namedtuple("Sample", "image label")
    for make in (lambda a: Sample(a, 1), lambda a: collections.OrderedDict(image=a), lambda a: [(a,)]):
        array = np.zeros(10_000)
        value = make(array)
        assert 80_000 < sizeof(value) < 81_000
        make_read_only(value)
        assert not array.flags.writeable
    assert 80_000 < sizeof(memoryview(bytes(80_000))) < 81_000


# Resident memory

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
    "decorator, length, limit",
    [
        ("fill_once", (8192, 8192), 1.05),
        ("fill_once", (4096, 12288), 1.05),
        ("lru_cache", (8192, 8192), 1.05),
        ("lru_cache", (4096, 12288), 1.10),  # malloc cannot use every gap that an evicted value of another size leaves
    ],
)
def test_resident_memory_keeps_the_budget(tmp_path: Path, decorator: str, length: Any, limit: float) -> None:
    """A cache of 400 MB that is offered 800 MB grows the process by 400 MB and little more, in each of four epochs."""
    (tmp_path / "data").write_bytes(os.urandom(16384))
    script = [sys.executable, "-c", RESIDENT, decorator, str(tmp_path / "data"), str(400 * 10**6), json.dumps(length)]
    done = subprocess.run(script, capture_output=True, text=True, check=True)
    grown, used, count = json.loads(done.stdout)
    assert used > 0.99 and 40_000 < count < 60_000
    assert min(grown) > 0.95
    assert max(grown) <= limit, grown


def test_what_cannot_be_protected_is_the_stored_object() -> None:
    """A list, dict, bytearray or object comes as it is stored, to every caller; the arrays in them are read-only."""
    made: list[Any] = [[np.zeros(2)], {"a": np.zeros(2)}, bytearray(b"a"), types.SimpleNamespace(a=np.zeros(2))]
    for value in made:
        f = bytecache.fill_once(lambda value=value: value)
        assert f() is f() is value
    assert not made[0][0].flags.writeable and not made[1]["a"].flags.writeable
    assert made[3].a.flags.writeable  # an attribute
