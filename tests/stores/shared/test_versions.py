"""Keys with a version in a shared store: what is dead makes room, exactly counted, and no value is ever wrong."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.counting import counting, stats_of
from helpers.internals import STORE_WRITE_MODULES, store_of
from helpers.interrupts import entries_into, killed_at
from helpers.processes import Children, in_child
from hypothesis import given, settings, strategies as st

import bytecache
from bytecache import SharedStore, VersionedKey
from bytecache.stores.shared.admin import describe, verify

Stores = Callable[..., SharedStore]
FIELDS = "hits", "misses", "stored", "rejected", "evicted", "currsize"


def versioned(store: SharedStore, nbytes: int = 100, **options: Any) -> tuple[Any, list[Any]]:
    """Return a function of (name, version) whose values are of `nbytes`, and the list of its runs."""
    decorate = bytecache.fill_once(store=store, key=VersionedKey, version="1", **options)
    return counting(decorate, lambda key: f"{key}".encode().ljust(nbytes, b"."))


def is_sound(path: Path) -> bool:
    """Return whether every entry of a store is as it was written and found, or dead."""
    return not verify(path)["damaged"]


def test_files_that_were_all_unpacked_anew_are_stored_anew(stores: Stores, tmp_path: Path) -> None:
    """A full store whose entries are all of earlier versions of its files is full of the new ones an epoch later."""
    paths = [tmp_path / f"{number}.jpg" for number in range(20)]
    for path in paths:
        path.write_bytes(path.name.encode().ljust(100, b"."))
    store = stores(2000)
    read, ran = counting(bytecache.fill_once(store=store, key=bytecache.file_key), Path.read_bytes)
    for _ in range(2):
        read.map(paths)
    assert stats_of(read, *FIELDS) == (20, 20, 20, 0, 0, 20)
    for path in paths:
        os.utime(path, (1, 1))
    for _ in range(2):
        assert read.map(paths) == [path.read_bytes() for path in paths]
    ran.clear()
    assert read.map(paths) == [path.read_bytes() for path in paths] and ran == []
    stats = read.cache_stats()
    assert stats.currsize == 20 == stats.stored - stats.evicted
    assert stats.hits + stats.misses == 100
    assert is_sound(store.path)


def test_a_new_version_that_has_room_takes_the_place_of_the_one_before(stores: Stores) -> None:
    """The entry before is dead: it is not found, not counted as an entry, and counted as evicted."""
    f, ran = versioned(stores())
    for version in range(5):
        assert f(("a", version)) == f(("a", version))
    assert stats_of(f, *FIELDS) == (5, 5, 5, 0, 4, 1)
    ran.clear()
    f(("a", 0))
    assert ran == [("a", 0)] and is_sound(store_of(f).path)


def test_few_dead_entries_leave_the_others_alone(stores: Stores) -> None:
    """Unless more than half of the entries are dead, a full store keeps what it has."""
    f, ran = versioned(stores(1000))
    f.map([(name, 0) for name in "abcdefghij"])
    for _ in range(3):
        f.map([(name, 1) for name in "abcde"])
    assert stats_of(f, "stored", "rejected", "evicted", "currsize") == (10, 15, 5, 5)
    ran.clear()
    f.map([(name, 0) for name in "fghij"])
    assert ran == []
    f(("f", 1))  # the sixth of ten
    assert stats_of(f, "stored", "rejected", "evicted", "currsize") == (11, 15, 10, 1)  # it goes into the new section
    f.map([(name, 1) for name in "abcdefghij"])
    assert stats_of(f, "stored", "rejected", "evicted", "currsize") == (20, 15, 10, 10)


def test_an_entry_is_dead_once(stores: Stores) -> None:
    """A version that is asked for again and again while the store is full makes one entry dead, not many."""
    f, _ = versioned(stores(300))
    f.map([(name, 0) for name in "abc"])
    for version in 1, 1, 2, 3, 3:
        f(("a", version))
    assert stats_of(f, "rejected", "evicted", "currsize") == (5, 1, 2)


def test_maxsize_counts_what_is_alive(stores: Stores) -> None:
    """A dead entry makes room for one more under ``maxsize=``."""
    f, ran = versioned(stores(), maxsize=2)
    f(("a", 0)), f(("b", 0)), f(("a", 1)), f(("c", 0))
    assert stats_of(f, "stored", "rejected", "evicted", "currsize") == (3, 1, 1, 2)
    ran.clear()
    f(("a", 1)), f(("b", 0))
    assert ran == []


def test_keys_without_a_version_evict_nothing(stores: Stores) -> None:
    """A full store of plain keys keeps them, whatever else is asked for."""
    f, _ = counting(bytecache.fill_once(store=stores(300), key=lambda key: key), lambda key: bytes(100))
    for _ in range(3):
        f.map([(name, version) for name in "abc" for version in range(4)])
    assert stats_of(f, "stored", "evicted", "currsize") == (3, 0, 3)


def test_at_maxsize_nothing_is_evicted_for_another_key(stores: Stores) -> None:
    """However many entries are dead: to begin anew would make no room that a limit of entries leaves."""
    f, _ = counting(bytecache.fill_once(2, store=stores()), lambda key: bytes(100))
    f(0), f(1)
    for key in range(3):
        f.cache_discard(key), f(key + 2)
    assert f(9) == bytes(100)
    assert f.cache_contains(3) and f.cache_contains(4) and stats_of(f, "rejected", "evicted", "currsize") == (1, 3, 2)


def test_a_value_that_never_fits_evicts_nothing(stores: Stores) -> None:
    """A section that is mostly dead does not begin anew for a value larger than the room that this would make."""
    f, _ = counting(bytecache.fill_once(store=stores(1000)), bytes)
    f(100), f(101), f(102), f.cache_discard(100), f.cache_discard(101)
    assert f(1001) == bytes(1001)
    assert f.cache_contains(102) and stats_of(f, "rejected", "evicted", "currsize") == (1, 2, 1)


def test_other_functions_keep_their_values(stores: Stores) -> None:
    """The section of one function begins anew, not that of another one in the same store."""
    store = stores(600)
    f, _ = versioned(store)
    g, ran = counting(bytecache.fill_once(store=store), lambda name: bytes(100))
    g.map("abc"), f.map([(name, 0) for name in "abc"])
    for _ in range(2):
        f.map([(name, 1) for name in "abc"])
    ran.clear()
    g.map("abc")
    assert ran == [] and f.cache_info().currsize == 3


def test_the_next_run_finds_the_versions_of_this_one(tmp_path: Path) -> None:
    """A kept store knows which entries are dead when it is opened again."""

    def run(version: int) -> tuple[Any, ...]:
        store = SharedStore(tmp_path / "kept", maxbytes=500)
        f, _ = versioned(store)
        for _ in range(2):
            f.map([(name, version) for name in "abcde"])
        counted = stats_of(f, "hits", "misses", "stored", "evicted", "currsize")
        store.close()
        return counted

    assert in_child(lambda: run(0)) == (5, 5, 5, 0, 5)
    first = in_child(lambda: run(1))
    assert in_child(lambda: run(1)) == (10, 0, 0, 0, 5), first
    assert is_sound(tmp_path / "kept")


def test_processes_share_a_section_that_begins_anew(stores: Stores) -> None:
    """Counters of all processes go on over it, exactly, and no process gets a value of another version."""
    store = stores(4000)
    f, _ = versioned(store)

    def work(seed: int) -> Callable[[], list[int]]:
        def child() -> list[int]:
            calls, rng = 0, random.Random(seed)
            for version in range(6):
                names = rng.sample(range(40), 40)
                for name in names:
                    key = f"n{name}", version
                    assert f(key) == f"{key}".encode().ljust(100, b".")
                    calls += 1
            stats = f.cache_stats()
            assert stats.hits + stats.misses == calls
            return [calls, stats.stored, stats.evicted]

        return child

    answers = Children(*[work(seed) for seed in range(4)]).answers()
    assert [answer[0] for answer in answers] == [240] * 4, answers
    total = f.cache_stats(scope="all")
    assert total.hits + total.misses == 960
    assert total.stored == sum(answer[1] for answer in answers)
    assert total.stored - total.evicted == total.currsize
    assert is_sound(store.path)
    assert describe(store.path)["functions"][0]["evicted"] == total.evicted


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 3)), max_size=80), st.integers(1, 8))
def test_any_order_of_versions(tmp_path_factory: pytest.TempPathFactory, keys: list[Any], room: int) -> None:
    """Each call returns its own version's value; entries, bytes and counters agree; nothing is left to verify."""
    store = SharedStore(tmp_path_factory.mktemp("versions") / "s", maxbytes=100 * room)
    f, ran = versioned(store)
    for key in keys:
        assert f(key) == f"{key}".encode().ljust(100, b".")
    stats = f.cache_stats()
    assert (stats.hits + stats.misses, stats.misses) == (len(keys), len(ran))
    assert stats.currsize == stats.stored - stats.evicted
    assert 0 <= stats.currsize <= room and stats.currbytes <= 100 * room
    assert is_sound(store.path)
    store.close()


# Interrupts and kills

CHANGING = STORE_WRITE_MODULES | {"bytecache.stores.shared.binding"}
CHANGES: dict[str, tuple[int, Callable[[Any], Any]]] = {
    "newer version": (1000, lambda f: f(("a", 1))),
    "newer version without room": (250, lambda f: f(("a", 1))),
    "anew": (250, lambda f: [f(("a", 1)), f(("b", 1))]),
    "discard": (1000, lambda f: f.cache_discard(("a", 0))),
}


@pytest.mark.parametrize("what", CHANGES)
def test_counts_are_exact_wherever_an_interrupt_comes(stores: Stores, what: str) -> None:
    """What is stored is what was counted as stored, less what was counted as evicted."""
    maxbytes, change = CHANGES[what]
    store, place, interrupted = stores(maxbytes), 0, True
    f, _ = versioned(store)
    while interrupted:
        place += 1
        f.cache_clear()
        f(("a", 0)), f(("b", 0))
        interrupted = entries_into(CHANGING, lambda: change(f), interrupt_at=place) == place
        f(("c", 0))
        stats = f.cache_stats("all")
        assert stats.stored - stats.evicted == stats.currsize, place
        assert is_sound(store.path), place
    assert place > 10


@pytest.mark.parametrize("what", ["newer version", "newer version without room"])
def test_a_writer_that_is_killed_leaves_nothing_damaged(stores: Stores, what: str) -> None:
    """Whatever it was doing: every entry is whole and found, or dead, and every value right."""
    maxbytes, change = CHANGES[what]
    store, line, killed = stores(maxbytes), 0, True
    f, _ = versioned(store)
    while killed:
        line += 1
        f.cache_clear()
        f(("a", 0)), f(("b", 0))
        killed = killed_at(line, {"bytecache.stores.shared.segments.index"}, lambda: change(f))
        assert is_sound(store.path), line
        assert f(("a", 1)) == b"('a', 1)".ljust(100, b".") and is_sound(store.path), line
    assert line > 10


# Discarded values


def test_a_discarded_value_is_found_by_no_process(stores: Stores) -> None:
    """Processes that have the store open miss it at once; the store stays sound, and the counts of all are exact."""
    store = stores(1 << 20)
    f, ran = counting(bytecache.fill_once(store=store), lambda key: f"{key} {len(ran)}".encode())
    for key in range(1500):
        f(key)
    other = Children(lambda: [f(0) != b"", f.cache_discard(7), [f.cache_contains(n) for n in (5, 6, 7)]])
    assert other.answers() == [[True, True, [True, True, False]]]
    assert not f.cache_contains(7) and f.cache_discard(6) and not in_child(lambda: f.cache_contains(6))
    assert is_sound(store.path) and describe(store.path)["entries"] == 1498
    assert f(7) == b"7 1501" and in_child(lambda: f(7)) == b"7 1501"
    stats = f.cache_stats("all")
    assert (stats.stored, stats.evicted, stats.currsize) == (1501, 2, 1499)
    assert is_sound(store.path)


def test_damage_of_a_structure_is_never_a_wrong_value(tmp_path: Path) -> None:
    """With any byte of value or entry changed by the time of the next run, it is the value, or it is read again."""
    value = {"image": np.arange(6, dtype=np.uint8), "boxes": [(1, 2.5), "ä"], "data": b"abc", "none": None}

    def opened(name: str) -> tuple[SharedStore, Any, list[Any]]:
        store = SharedStore(tmp_path / name, maxbytes=10_000)
        return store, *counting(bytecache.fill_once(store=store, version="1"), lambda key: value)

    store, f, _ = opened("store")
    f("a")
    generation, tail = store.handle().header.generation_of(16), store.currbytes
    store.close()
    reads = 0
    for name, places in [("arena", range(0, tail, 9)), ("index", range(4096, 4144, 3))]:
        file = tmp_path / "store" / f"{generation}.{name}"
        whole = file.read_bytes()
        for place in places:
            shutil.copytree(tmp_path / "store", tmp_path / "copy")
            damaged = tmp_path / "copy" / file.name
            damaged.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
            again, f, ran = opened("copy")
            for _ in range(2):
                found = f("a")
                assert found["image"].tolist() == value["image"].tolist() and list(found) == list(value)
                assert [found[key] for key in ("boxes", "data", "none")] == [[(1, 2.5), "ä"], b"abc", None]
            reads += len(ran)
            del found, f  # the array keeps the file open
            again.close()
            shutil.rmtree(tmp_path / "copy")
    assert reads == len(range(0, tail, 9)) + 15  # all but one, which is padding


def test_a_discarded_value_is_gone_in_the_next_run(stores: Stores) -> None:
    """What a kept store has lost it does not find again after it was closed, checked and opened."""
    store = stores(1 << 20)
    f, ran = counting(bytecache.fill_once(store=store), lambda key: f"{key}".encode())
    f(1), f(2), f.cache_discard(1)
    path = store.path
    store.close()
    assert is_sound(path) and describe(path)["entries"] == 1
    f(1), f(2)
    assert ran == [1, 2, 1]


def test_processes_discard_and_store_all_the_time(stores: Stores) -> None:
    """No value is ever wrong, the counts add up, and of the entries none is damaged."""
    store = stores(100_000)
    f, _ = counting(bytecache.fill_once(store=store), lambda key: f"{key}".encode().ljust(100, b"."))

    def work() -> list[int]:
        numbers, discarded = random.Random(os.getpid()), 0
        for _ in range(3000):
            key = numbers.randrange(700)
            if numbers.random() < 0.3:
                discarded += f.cache_discard(key)
            elif f(key) != f"{key}".encode().ljust(100, b"."):
                return [-1, key]
        return [discarded, 0]

    answers = Children(work, work, work).answers()
    stats = f.cache_stats("all")
    assert all(answer[0] > 0 for answer in answers)
    assert stats.evicted >= sum(answer[0] for answer in answers) > 500
    assert stats.stored - stats.evicted == stats.currsize == sum(f.cache_contains(key) for key in range(700))
    assert is_sound(store.path)


def test_an_old_version_may_be_discarded(stores: Stores) -> None:
    """It was counted as evicted when it died, and is not counted again."""
    store = stores()
    f, ran = versioned(store)
    f(("a", 1)), f(("a", 2))
    assert f.cache_discard(("a", 1)) is False  # its slot is the newer version's
    assert stats_of(f, *FIELDS) == (0, 2, 2, 0, 1, 1) and f.cache_contains(("a", 2))
    assert f.cache_discard(("a", 2)) and stats_of(f, "evicted", "currsize") == (2, 0)
    f(("a", 2))
    assert len(ran) == 3 and is_sound(store.path)


def test_no_value_can_be_discarded_through_a_store_that_is_only_read(stores: Stores) -> None:
    """It raises OSError, as a clear does; what is in it can be asked for."""
    store = stores()
    f, _ = versioned(store)
    f(("a", 1))
    readonly = SharedStore(store.path, readonly=True)
    g, _ = versioned(readonly)
    assert g.cache_contains(("a", 1))
    with pytest.raises(OSError, match="reading alone"):
        g.cache_discard(("a", 1))
    readonly.close()


def test_a_shared_function_tells_where_its_store_is_and_no_keys(stores: Stores) -> None:
    """cache_parameters has the path; cache_keys raises with the reason and the way out."""
    store = stores()
    f, _ = versioned(store)
    assert f.cache_parameters()["path"] == str(store.path)
    own = bytecache.fill_once(shared=True, maxbytes=1000)(len)
    assert own.cache_parameters()["path"] == str(store_of(own).path)
    assert "path" not in bytecache.fill_once(maxbytes=1000)(len).cache_parameters()
    with pytest.raises(TypeError, match="only digests of the keys: ask cache_contains"):
        f.cache_keys()
    store_of(own).close()


def test_bytes_of_another_kind_are_a_miss(stores: Stores) -> None:
    """An entry that this version cannot decode, though it is as it was written, is read and stored anew."""
    store = stores()
    f, ran = counting(bytecache.fill_once(store=store), lambda key: [key])
    f(1)
    segment = f._cache.partition.bound().segment
    entry = segment.index.entry(1)
    segment.index.append_locked(entry._replace(kind=9))
    for _ in range(2):
        assert f(1) == [1]
    assert ran == [1, 1] and is_sound(store.path)
    assert f.cache_discard(1) and not f.cache_contains(1)
