"""The hash table in files and the arena behind it, against a dict; what a killed writer leaves; what damage does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.processes import in_child
from hypothesis import given, settings, strategies as st

from bytecache.stores.base import MISSING
from bytecache.stores.codec import encode
from bytecache.stores.shared import index
from bytecache.stores.shared.index import COUNT, SUPERSEDED, TAIL, HashIndex, IndexEntry
from bytecache.stores.shared.segment import Segment

MAXBYTES = 1 << 20


def digest(key: Any) -> bytes:
    return blake2b(repr(key).encode(), digest_size=16).digest()


def crowded(key: int) -> bytes:
    """Digests that all begin at one of two places in the table, at its end."""
    return (0xFFFFFFFFFFFFFFFF - key % 2).to_bytes(8, "little") + key.to_bytes(8, "little")


@pytest.fixture
def section(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Segment]:
    Segment.create_locked(tmp_path, 1, MAXBYTES)
    yield Segment(tmp_path, 1)
    del request.node.funcargs["section"]  # pytest would keep it, and its files open, too long


def numbered(index: HashIndex, key: int) -> IndexEntry:
    return IndexEntry(digest(key), key, 1, 0, 0, 0)


@pytest.mark.parametrize("name", [digest, crowded], ids=["spread", "crowded"])
def test_growth_loses_nothing(tmp_path: Path, name: Any) -> None:
    """Through several table sizes every key leads to its entry, and keys that are not there lead nowhere."""
    keys = 5000 if name is digest else 700
    HashIndex.create_locked(tmp_path / "1")
    index, reader = HashIndex(tmp_path / "1"), HashIndex(tmp_path / "1")
    for key in range(keys):
        index.append_locked(IndexEntry(name(key), key, 1, 0, 0, 0))
        assert reader.find(name(key))[1][1] == key  # type: ignore[index]
    for one in index, reader, HashIndex(tmp_path / "1"):
        assert len(one) == keys
        assert [one.find(name(key))[0] for key in range(keys)] == list(range(1, keys + 1))  # type: ignore[index]
        assert [one.find(name(key)) for key in range(keys, keys + 100)] == [None] * 100
        assert all(one.entry(number).intact() for number in range(1, keys + 1))
    assert len(list(tmp_path.glob("1.slots*"))) == 1
    index.check()


def append_and_be_killed(section: Segment, key: int, value: Any) -> None:
    """Leaves what a writer leaves that is killed when all is written but the numbers that make it count."""
    head = section.index.header
    before = head[COUNT], head[TAIL]
    section.append_locked(digest(key), encode(value))
    head[COUNT], head[TAIL] = before
    head[index._PENDING_SLOT] = section.index._slot_of(digest(key)) + 1


VALUE = st.one_of(st.binary(max_size=200), st.integers(0, 100).map(lambda n: np.arange(n, dtype=np.int16)))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), VALUE, st.sampled_from(["put", "killed", "reopen", "other"]))))
def test_a_section_is_a_dict(tmp_path_factory: pytest.TempPathFactory, steps: list[Any]) -> None:
    """Two who have a section open, writers that are killed, and whoever opens it anew see what a dict holds."""
    folder = tmp_path_factory.mktemp("model")
    Segment.create_locked(folder, 1, MAXBYTES)
    one, other = Segment(folder, 1), Segment(folder, 1)
    model: dict[int, Any] = {}
    for key, value, step in steps:
        if step == "reopen":
            one = Segment(folder, 1)
            one.adopt_locked()
        elif step == "killed" and key not in model:
            append_and_be_killed(one, key, value)
        elif key not in model:
            (other if step == "other" else one).append_locked(digest(key), encode(value))
            model[key] = value
        for section in one, other:
            assert len(section) == len(model)
            for key in range(41):
                got = section.get(digest(key))
                assert (got is MISSING) == (key not in model)
                assert got is MISSING or np.array_equal(got, model[key])
    assert all(one.verify(one.index.entry(number)) for number in range(1, one.index.header[COUNT] + 1))


def test_what_never_came_to_count_is_not_seen(section: Segment) -> None:
    """An entry without the last step is no entry; the next one takes its place, in the arena and in the list."""
    section.append_locked(digest(1), encode(b"one"))
    append_and_be_killed(section, 2, b"killed")
    assert section.get(digest(2)) is MISSING and digest(2) not in section
    section.append_locked(digest(3), encode(b"three"))
    assert section.get(digest(2)) is MISSING
    section.append_locked(digest(2), encode(b"two"))
    assert [section.get(digest(key)) for key in (1, 2, 3)] == [b"one", b"two", b"three"]
    assert (len(section), section.currbytes) == (3, 11)


def test_searches_end_after_hundreds_of_killed_writers(section: Segment) -> None:
    """Slots that killed writers have left hide nothing and leave no search without an end."""
    for key in range(300):
        append_and_be_killed(section, key, b"killed")
    assert all(section.get(digest(key)) is MISSING for key in range(2000))
    for key in range(512):
        section.append_locked(digest(key), encode(b"%d" % key))
    assert [section.get(digest(key)) for key in range(512)] == [b"%d" % key for key in range(512)]
    assert all(section.get(digest(key)) is MISSING for key in range(512, 2000))


def test_views_outlive_section_and_files(tmp_path: Path, section: Segment) -> None:
    """An array and a view stay as they are when the files are removed and everybody has let go."""
    section.append_locked(digest(1), encode(np.arange(1000)))
    section.append_locked(digest(2), encode(b"x" * 1000))
    array, view = section.get(digest(1)), section.get(digest(2), copy=False)
    for path in tmp_path.iterdir():
        path.unlink()
    del section
    assert np.array_equal(array, np.arange(1000)) and view == b"x" * 1000
    assert view.readonly and not array.flags.writeable


def test_arrays_begin_at_a_cache_line(section: Segment) -> None:
    """An array after bytes of odd length is aligned in memory, and the gap counts as used."""
    section.append_locked(digest(1), encode(b"abc"))
    section.append_locked(digest(2), encode(np.arange(3.0)))
    assert section.get(digest(2)).ctypes.data % 64 == 0
    assert section.currbytes == 64 + 24 + len(encode(np.arange(3.0)).description)


def test_a_full_file_system_leaves_the_index_as_it_was(tmp_path: Path, section: Segment) -> None:
    """A growth or an append that has no room raises OSError; all entries are still found, and later it goes on."""
    for key in range(512):
        section.append_locked(digest(key), encode(b"%d" % key))

    def with_a_limit() -> tuple[str, bool]:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))  # no file may become larger: EFBIG
        try:
            section.append_locked(digest(512), encode(b"more"))
        except OSError as exc:
            return type(exc).__name__, all(section.get(digest(key)) == b"%d" % key for key in range(512))
        return "stored", False

    assert in_child(with_a_limit) == ("OSError", True)
    assert len(section) == 512 and len(list(tmp_path.glob("1.slots*"))) == 1
    section.append_locked(digest(512), encode(b"more"))
    assert [section.get(digest(key)) for key in (0, 511, 512)] == [b"0", b"511", b"more"]


def test_a_reader_whose_files_were_removed_finds_nothing_new(tmp_path: Path, section: Segment) -> None:
    """Cleared while another one had made the table larger: a search that needs the new table is a miss, no error."""
    reader = Segment(tmp_path, 1)
    for key in range(600):
        section.append_locked(digest(key), encode(b"%d" % key))
    for path in tmp_path.iterdir():
        path.unlink()
    assert reader.get(digest(599)) is MISSING
    assert reader.get(digest(1)) in (MISSING, b"1")


# Damage


def flip(path: Path, place: int, mask: int = 0xFF) -> None:
    with open(path, "r+b") as file:
        byte = os.pread(file.fileno(), 1, place)[0]
        os.pwrite(file.fileno(), bytes([byte ^ mask]), place)


def test_an_entry_of_an_earlier_run_is_checked(tmp_path: Path, section: Segment) -> None:
    """A value or an entry with one byte changed is a miss in the next run, and can be stored again."""
    for key in range(3):
        section.append_locked(digest(key), encode(b"value %d" % key))
    flip(tmp_path / "1.arena", 3)
    flip(tmp_path / "1.index", 4096 + 48 + 16)  # the second entry's offset
    again = Segment(tmp_path, 1)
    again.adopt_locked()
    again = Segment(tmp_path, 1)
    assert [again.get(digest(key)) for key in range(3)] == [MISSING, MISSING, b"value 2"]
    assert [again.verify(again.index.entry(number)) for number in (1, 2, 3)] == [False, False, True]
    for key in range(2):
        again.append_locked(digest(key), encode(b"VALUE %d" % key))
    assert [again.get(digest(key)) for key in range(3)] == [b"VALUE 0", b"VALUE 1", b"value 2"]
    assert len(again) == 3


@pytest.mark.parametrize(
    "word, value",
    [
        (COUNT, 0),
        (COUNT, 1),
        (COUNT, 513),
        (COUNT, 1 << 63),
        (1, 0),
        (1, 11),
        (1, 1 << 40),
        (TAIL, 1 << 40),
        (3, 1 << 40),
        (3, 1 << 63),
        (SUPERSEDED, 513),
        (SUPERSEDED, 1 << 63),
    ],
    ids=lambda value: hex(value),
)
def test_a_header_that_cannot_be_is_refused(tmp_path: Path, section: Segment, word: int, value: int) -> None:
    """A run that begins with an impossible header raises ValueError or OSError, or ends with an index that works."""
    for key in range(512):
        section.append_locked(digest(key), encode(b"%d" % key))
    section.index.header[word] = value

    def begin() -> str:
        import signal

        signal.alarm(5)
        try:
            Segment(tmp_path, 1).adopt_locked()
        except (ValueError, OSError):
            return "refused"
        one = Segment(tmp_path, 1)
        for key in range(2000):
            value = one.get(digest(key))
            if value is MISSING:
                one.append_locked(digest(key), encode(b"%d" % key))
            elif value != b"%d" % key:
                return f"wrong: {key} {value!r}"
        len(one)
        return "fine" if all(one.get(digest(key)) == b"%d" % key for key in range(2000)) else "lost"

    assert in_child(begin) in ("refused", "fine")


@pytest.mark.parametrize("name", ["1.index", "1.slots10", "1.arena"])
@pytest.mark.parametrize("size", [0, 1, 100, 4095])
def test_a_truncated_file_is_refused(tmp_path: Path, section: Segment, name: str, size: int) -> None:
    """Whatever is missing of a file is found out before a page of it is touched."""
    for key in range(100):
        section.append_locked(digest(key), encode(b"%d" % key * 50))
    os.truncate(tmp_path / name, size)

    def begin() -> str:
        try:
            Segment(tmp_path, 1).adopt_locked()
        except (ValueError, OSError):
            return "refused"
        return "taken"

    assert in_child(begin) == "refused"
