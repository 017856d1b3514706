"""What is kept in memory, and what of it makes room for what saves more."""

from __future__ import annotations

from typing import Any

import bytecache
from bytecache.cache.staged.measurements import Costs
from bytecache.cache.staged.residents import Residents
from bytecache.cache.staged.rule import Rule
from bytecache.planning.workload import Prices
from bytecache.stores.memory import FillOncePartition

RULE = Rule(Costs(given=[lambda nbytes: 1.0, lambda nbytes: 1.0]), Prices(1.0, 1.0, 0.0))


def filled(*sizes: int, maxbytes: int = 1000) -> tuple[Residents, list[FillOncePartition]]:
    """Return partitions with values of so many bytes after the first stage, by number; each saves as many seconds."""
    first = FillOncePartition(None, maxbytes, len)
    levels = [first, FillOncePartition(None, maxbytes, len, beside=first)]
    residents = Residents(levels)
    for key, size in enumerate(sizes):
        assert first.put(key, bytes(size), 0).stored
        residents.note(key, [size, 2 * size])
    return residents, levels


def keys(levels: Any) -> list[Any]:
    return sorted(key for level in levels for key in level.keys())


def test_free_room_is_room() -> None:
    """Nothing is looked at while so much is free."""
    residents, levels = filled(100, 200)
    assert residents.has_room(700, 0.0, RULE) and not residents.has_room(701, 0.0, RULE)


def test_what_is_worth_least_makes_room() -> None:
    """The largest ones, which save as much as the small ones; not the item itself, nor what is worth as much."""
    residents, levels = filled(100, 500, 400)
    assert not residents.has_room(300, 1 / 500, RULE)  # not below the worth of any
    assert residents.has_room(300, 1 / 400, RULE) and residents.has_room(500, 1 / 400, RULE)
    assert not residents.has_room(600, 1 / 400, RULE) and residents.has_room(600, 1 / 100, RULE)
    assert keys(levels) == [0, 1, 2]  # to ask changes nothing
    residents.make_room(300, keep=1)
    assert keys(levels) == [0, 1] and levels[0].room == 400
    assert residents.sizes_of(2) is None and list(residents.sizes_of(0) or ()) == [100, 200]


def test_what_is_gone_makes_no_room() -> None:
    """A value that was discarded meanwhile does not count twice."""
    residents, levels = filled(400, 400)
    assert residents.has_room(600, 1.0, RULE)
    levels[0].discard(0)
    assert residents.has_room(600, 1.0, RULE) and residents.has_room(1000, 1.0, RULE)
    assert not residents.has_room(1001, 1.0, RULE)


def test_a_clear_forgets_all() -> None:
    """Then there is room for nothing but what is free."""
    residents, levels = filled(400, 600)
    assert residents.has_room(1, 1.0, RULE)
    for level in levels:
        level.clear()
    residents.clear()
    assert levels[0].room == 1000 and residents.sizes_of(0) is None
    assert not residents.has_room(1001, 1.0, RULE)


def test_sizes_are_known_as_floats_of_four_bytes() -> None:
    """An item costs some 150 bytes beside its value."""
    residents, _ = filled(100)
    assert bytecache.sizeof(residents._sizes[0]) <= 48
