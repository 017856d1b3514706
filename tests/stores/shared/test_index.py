"""The index and the arena of a segment: against a dict, after killed writers, after damage."""

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
from bytecache.stores.shared.segments import index
from bytecache.stores.shared.segments.index import (
    _PENDING_OLD,
    _PENDING_SLOT,
    BITS,
    COUNT,
    DEAD,
    TAIL,
    UNVERIFIED,
    HashIndex,
)
from bytecache.stores.shared.segments.index_entry import IndexEntry
from bytecache.stores.shared.segments.segment import Segment

MAXBYTES = 1 << 20


def digest(key: Any) -> bytes:
    return blake2b(repr(key).encode(), digest_size=16).digest()


def crowded(key: int) -> bytes:
    """Return a digest whose search starts at one of the last two slots of the table."""
    return (key << 32 | 0xFFFFFFFF - key % 2).to_bytes(8, "little") + key.to_bytes(8, "little")


@pytest.fixture
def segment(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Segment]:
    Segment.create_locked(tmp_path, 1, MAXBYTES)
    yield Segment(tmp_path, 1)
    del request.node.funcargs["segment"]  # otherwise pytest keeps it, with its files open


@pytest.mark.parametrize("digest_of", [digest, crowded], ids=["spread", "crowded"])
def test_growth_loses_nothing(tmp_path: Path, digest_of: Any) -> None:
    """Through several table sizes every key is found, and keys that were not added are not."""
    keys = 5000 if digest_of is digest else 700
    HashIndex.create_locked(tmp_path / "1")
    index, reader = HashIndex(tmp_path / "1"), HashIndex(tmp_path / "1")
    for key in range(keys):
        index.append_locked(IndexEntry(digest_of(key), key, 1, 0, 0, 0))
        assert reader.find(digest_of(key))[1][1] == key  # type: ignore[index]
    for opened in index, reader, HashIndex(tmp_path / "1"):
        assert len(opened) == keys
        assert [opened.find(digest_of(key))[0] for key in range(keys)] == list(range(1, keys + 1))  # type: ignore[index]
        assert [opened.find(digest_of(key)) for key in range(keys, keys + 100)] == [None] * 100
        assert all(opened.entry(number).intact() for number in range(1, keys + 1))
    assert len(list(tmp_path.glob("1.slots*"))) == 1
    index.check()


@pytest.mark.parametrize("digest_of", [digest, crowded], ids=["spread", "crowded"])
def test_what_was_discarded_is_found_by_no_reader(tmp_path: Path, digest_of: Any) -> None:
    """Neither by one whose table is from before it has grown; what is added under the key later all of them find."""
    HashIndex.create_locked(tmp_path / "1")
    writer, early = HashIndex(tmp_path / "1"), HashIndex(tmp_path / "1")
    for key in range(400):
        writer.append_locked(IndexEntry(digest_of(key), key, 1, 0, 0, 0))
    assert all(early.find(digest_of(key)) for key in range(400))
    for key in range(0, 400, 2):
        assert writer.discard_locked(digest_of(key))
        assert not writer.discard_locked(digest_of(key)) and early.find(digest_of(key)) is None
    for key in range(400, 1000):
        writer.append_locked(IndexEntry(digest_of(key), key, 1, 0, 0, 0))
    assert early.header[BITS] > early._mapped[0]  # it still has the small table
    assert early.find(digest_of(1))[1][1] == 1  # type: ignore[index]
    assert writer.discard_locked(digest_of(1))
    assert early.header[BITS] > early._mapped[0] and early.find(digest_of(1)) is None
    for key in range(0, 20, 4):
        writer.append_locked(IndexEntry(digest_of(key), 5000 + key, 1, 0, 0, 0))
    gone = {1, *range(0, 400, 2)} - set(range(0, 20, 4))
    for opened in early, writer, HashIndex(tmp_path / "1"):
        assert {key for key in range(1000) if opened.find(digest_of(key)) is None} == gone
        assert len(opened) == 1000 - len(gone)
        assert [opened.find(digest_of(key))[1][1] for key in (0, 4)] == [5000, 5004]  # type: ignore[index]
    writer.check()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ard"), st.integers(0, 9)), max_size=60))
def test_any_order_of_changes(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]) -> None:
    """After appends, retirements and discards each key leads to the entry that a dict has, and the count is its."""
    stem = tmp_path_factory.mktemp("index") / "1"
    HashIndex.create_locked(stem)
    index, model, dead = HashIndex(stem), dict[int, int](), set[int]()
    for number, (step, key) in enumerate(steps):
        if step == "a" and key not in model:
            index.append_locked(IndexEntry(digest(key), number, 1, 0, 0, 0))
            model[key] = number
            dead.discard(key)
        elif step == "r":
            index.retire_locked(digest(key))
            dead |= {key} & set(model)
        elif step == "d":
            assert index.discard_locked(digest(key)) is (model.pop(key, None) is not None)
            dead.discard(key)
        assert len(index) == len(model) - len(dead)
    assert {key: index.find(digest(key))[1][1] for key in model} == model  # type: ignore[index]
    assert not any(index.find(digest(key)) for key in range(10) if key not in model)


def append_and_be_killed(segment: Segment, key: int, value: Any) -> None:
    """Leave what a writer leaves that is killed just before its entry becomes valid."""
    header = segment.index.header
    before = header[COUNT], header[TAIL]
    segment.append_locked(digest(key), encode(value))
    header[COUNT], header[TAIL] = before
    header[index._PENDING_SLOT] = segment.index._slot_of(digest(key)) + 1


VALUE = st.one_of(st.binary(max_size=200), st.integers(0, 100).map(lambda n: np.arange(n, dtype=np.int16)))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), VALUE, st.sampled_from(["put", "killed", "reopen", "other"]))))
def test_a_segment_is_a_dict(tmp_path_factory: pytest.TempPathFactory, steps: list[Any]) -> None:
    """Two readers, killed writers and one that opens the segment again see what a dict contains."""
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
        for segment in one, other:
            assert len(segment) == len(model)
            for key in range(41):
                got = segment.get(digest(key))
                assert (got is MISSING) == (key not in model)
                assert got is MISSING or np.array_equal(got, model[key])
    assert all(one.verify(one.index.entry(number)) for number in range(1, one.index.header[COUNT] + 1))


def test_an_entry_that_was_never_counted_is_not_seen(segment: Segment) -> None:
    """An entry whose last step is missing is ignored; the next one overwrites it, in the arena and in the list."""
    segment.append_locked(digest(1), encode(b"one"))
    append_and_be_killed(segment, 2, b"killed")
    assert segment.get(digest(2)) is MISSING and digest(2) not in segment
    segment.append_locked(digest(3), encode(b"three"))
    assert segment.get(digest(2)) is MISSING
    segment.append_locked(digest(2), encode(b"two"))
    assert [segment.get(digest(key)) for key in (1, 2, 3)] == [b"one", b"two", b"three"]
    assert (len(segment), segment.currbytes) == (3, 11)


def test_searches_end_after_hundreds_of_killed_writers(segment: Segment) -> None:
    """Slots left by killed writers hide no entry, and every search ends."""
    for key in range(300):
        append_and_be_killed(segment, key, b"killed")
    assert all(segment.get(digest(key)) is MISSING for key in range(2000))
    for key in range(512):
        segment.append_locked(digest(key), encode(b"%d" % key))
    assert [segment.get(digest(key)) for key in range(512)] == [b"%d" % key for key in range(512)]
    assert all(segment.get(digest(key)) is MISSING for key in range(512, 2000))


def test_views_outlive_segment_and_files(tmp_path: Path, segment: Segment) -> None:
    """An array and a view stay valid after the files were removed and the segment is gone."""
    segment.append_locked(digest(1), encode(np.arange(1000)))
    segment.append_locked(digest(2), encode(b"x" * 1000))
    array, view = segment.get(digest(1)), segment.get(digest(2), copy=False)
    for path in tmp_path.iterdir():
        path.unlink()
    del segment
    assert np.array_equal(array, np.arange(1000)) and view == b"x" * 1000
    assert view.readonly and not array.flags.writeable


def test_arrays_start_at_a_cache_line(segment: Segment) -> None:
    """An array after bytes of odd length is aligned in memory, and the gap counts as used."""
    segment.append_locked(digest(1), encode(b"abc"))
    segment.append_locked(digest(2), encode(np.arange(3.0)))
    assert segment.get(digest(2)).ctypes.data % 64 == 0
    assert segment.currbytes == 64 + 24 + len(encode(np.arange(3.0)).description)


def test_a_full_file_system_leaves_the_index_as_it_was(tmp_path: Path, segment: Segment) -> None:
    """Growing or appending on a full disk raises OSError; all entries are still found, and later appends succeed."""
    for key in range(512):
        segment.append_locked(digest(key), encode(b"%d" % key))

    def append_with_a_limit() -> tuple[str, bool]:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))  # larger writes fail with EFBIG
        try:
            segment.append_locked(digest(512), encode(b"more"))
        except OSError as exc:
            return type(exc).__name__, all(segment.get(digest(key)) == b"%d" % key for key in range(512))
        return "stored", False

    assert in_child(append_with_a_limit) == ("OSError", True)
    assert len(segment) == 512 and len(list(tmp_path.glob("1.slots*"))) == 1
    segment.append_locked(digest(512), encode(b"more"))
    assert [segment.get(digest(key)) for key in (0, 511, 512)] == [b"0", b"511", b"more"]


def test_a_reader_whose_files_were_removed_finds_nothing_new(tmp_path: Path, segment: Segment) -> None:
    """A search that needs a larger table, which another process has made and then cleared, is a miss, not an error."""
    reader = Segment(tmp_path, 1)
    for key in range(600):
        segment.append_locked(digest(key), encode(b"%d" % key))
    for path in tmp_path.iterdir():
        path.unlink()
    assert reader.get(digest(599)) is MISSING
    assert reader.get(digest(1)) in (MISSING, b"1")


# Damage


def flip(path: Path, offset: int) -> None:
    with open(path, "r+b") as file:
        byte = os.pread(file.fileno(), 1, offset)[0]
        os.pwrite(file.fileno(), bytes([byte ^ 0xFF]), offset)


def test_an_entry_of_an_earlier_run_is_checked(tmp_path: Path, segment: Segment) -> None:
    """A value or an entry with one byte changed is a miss in the next run, and can be stored again."""
    for key in range(3):
        segment.append_locked(digest(key), encode(b"value %d" % key))
    flip(tmp_path / "1.arena", 3)
    flip(tmp_path / "1.index", 4096 + 48 + 16)  # the second entry's offset
    Segment(tmp_path, 1).adopt_locked()
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
        (BITS, 0),
        (BITS, 11),
        (BITS, 1 << 40),
        (TAIL, 1 << 40),
        (UNVERIFIED, 1 << 40),
        (UNVERIFIED, 1 << 63),
        (DEAD, 513),
        (DEAD, 1 << 63),
        (_PENDING_SLOT, 5),
        (_PENDING_SLOT, 1 << 31),
        (_PENDING_SLOT, (1 << 64) - 1),
    ],
    ids=lambda value: hex(value),
)
def test_an_impossible_header_is_refused(tmp_path: Path, segment: Segment, word: int, value: int) -> None:
    """A run that finds an impossible header raises ValueError or OSError, or has an index that works."""
    for key in range(512):
        segment.append_locked(digest(key), encode(b"%d" % key))
    segment.index.header[_PENDING_OLD] = value  # counts if a slot is pending
    segment.index.header[word] = value

    def adopt() -> str:
        import signal

        signal.alarm(5)
        try:
            Segment(tmp_path, 1).adopt_locked()
        except (ValueError, OSError):
            return "refused"
        adopted = Segment(tmp_path, 1)
        for key in range(2000):
            value = adopted.get(digest(key))
            if value is MISSING:
                adopted.append_locked(digest(key), encode(b"%d" % key))
            elif value != b"%d" % key:
                return f"wrong: {key} {value!r}"
        len(adopted)
        return "fine" if all(adopted.get(digest(key)) == b"%d" % key for key in range(2000)) else "lost"

    assert in_child(adopt) in ("refused", "fine")


@pytest.mark.parametrize("name", ["1.index", "1.slots10", "1.arena"])
@pytest.mark.parametrize("size", [0, 1, 100, 4095])
def test_a_truncated_file_is_refused(tmp_path: Path, segment: Segment, name: str, size: int) -> None:
    """A missing part of a file is noticed before any page of it is touched."""
    for key in range(100):
        segment.append_locked(digest(key), encode(b"%d" % key * 50))
    os.truncate(tmp_path / name, size)

    def adopt() -> str:
        try:
            Segment(tmp_path, 1).adopt_locked()
        except (ValueError, OSError):
            return "refused"
        return "adopted"

    assert in_child(adopt) == "refused"
