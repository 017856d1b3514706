"""How processes tell each other, through a store, what a pipeline costs."""

from __future__ import annotations

from typing import Any

from helpers.processes import in_child

import bytecache
from bytecache.cache.staged.board import Board
from bytecache.cache.staged.measurements import Measurements

IDENTITY = bytes(range(16))


def board(store: Any) -> Board:
    return Board(store.partition(IDENTITY, "costs", None))


def measured(items: int, seconds: float = 1.0) -> Measurements:
    found = Measurements(1, None)
    for _ in range(items):
        found.note(-1, [100.0], [0.0], [seconds])
    return found


def test_others_take_over_what_is_more(stores: Any) -> None:
    """Whoever has seen fewer items adopts those of others; who has seen more does not."""
    store = stores()
    board(store).exchange(measured(4, 1.0))
    few, many = measured(1, 5.0), measured(9, 5.0)
    board(store).exchange(few), board(store).exchange(many)
    assert few.items == 5 and many.items == 9
    assert few.costs().of_run(0, 0, 100) == (0.0, 1.0)


def test_nothing_is_told_of_too_little(stores: Any) -> None:
    """One item may be cold."""
    store = stores()
    board(store).exchange(measured(3))
    nobody = Measurements(1, None)
    board(store).exchange(nobody)
    assert nobody.items == 0


def test_entries_are_few(stores: Any) -> None:
    """Each is of four times as many items as the one before, whoever adds it."""
    store, mine = stores(), Measurements(1, None)
    told = board(store)
    for _ in range(2000):
        mine.note(-1, [100.0], [0.0], [1.0])
        told.exchange(mine)
    assert store.currbytes < 40_000
    newcomer = Measurements(1, None)
    board(store).exchange(newcomer)
    assert newcomer.items == 1024


def test_a_new_process_knows_what_others_have_measured(stores: Any) -> None:
    """A worker in which everything hits has a plan, and moves items on if that pays."""
    store = stores()

    def load() -> Any:
        return bytecache.staged(lambda key: bytes(100), lambda data: data * 3, store=store, items=20, version=1)

    first = load()
    for key in range(20):
        first(key)

    def worker() -> Any:
        again = load()
        again.map(range(20))
        return again.cache_info()[:2], again.plan().items, sum(stage.items for stage in again.plan().stages)

    assert in_child(worker) == ((20, 0), 20, 20)
