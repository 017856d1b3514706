"""The facts of :class:`bytecache.stores.base.Store`: which values it keeps, for whom, and how it travels."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ..stores.base import MISSING, Partition, Store
from .concurrency_tests import PartitionTests

_VALUES: tuple[Any, ...] = (
    None, True, -3, 2**70, 0.5, 1j, "text", "", (1, "a", None), [1, [b"bytes", 2.5]], {"boxes": [(1, 2)], "label": 3},
    np.arange(6, dtype=np.float32).reshape(2, 3), [np.zeros((0, 4), np.int64), "x"],
)  # fmt: skip
_REFUSED: dict[str, Any] = {  # by names that are the same in each process: pytest-xdist compares them
    "object": object(), "set": {1, 2}, "key of int": {3: 4}, "path": Path("a"), "iterator": iter("a"),
    "array of objects": np.array([object()]), "set inside": [1, {"a": {5}}],
}  # fmt: skip


class StoreBase(PartitionTests):
    """What the tests use: `store` makes a store. refuses: the types of values that it does not keep."""

    refuses: tuple[type, ...] = ()

    @pytest.fixture
    def store(self) -> Store:
        """An empty store with room for `capacity` values; override it, and close the store after the test."""
        raise NotImplementedError(f"{type(self).__name__} needs a fixture `store`, which makes the store to be tested")

    @pytest.fixture
    def make(self, store: Store) -> Callable[..., Partition]:
        numbers = iter(range(1000))

        def make(maxsize: int | None = None) -> Partition:
            store.clear()
            return store.partition(next(numbers).to_bytes(16, "big"), "f", maxsize)

        return make

    def two(self, store: Store, first: bytes = b"1", second: bytes = b"1") -> tuple[Partition, Partition]:
        """Return two partitions, of one function unless their ids differ."""
        return store.partition(first * 16, "f", None), store.partition(second * 16, "f", None)


class SharingTests(StoreBase):
    """Functions share the budget and nothing else; a lease is for one holder."""

    def test_it_is_a_store(self, store: Store) -> None:
        """fill_once recognizes it by what it has."""
        assert isinstance(store, Store) and store.maxbytes and store.currbytes == 0

    def test_functions_share_the_budget_and_nothing_else(self, store: Store) -> None:
        """Two partitions find their own values alone; together they fill the store."""
        first, second = self.two(store, b"1", b"2")
        assert self.put(first, 0).stored and second.get(self.key(0)) is MISSING
        for n in range(self.capacity - 1):
            assert self.put(second, n).stored
        assert first.full and second.full and self.put(first, 1).stored is False
        assert store.currbytes == (first.currbytes or 0) + (second.currbytes or 0)

    def test_clear_of_one_function_leaves_the_others(self, store: Store) -> None:
        """With a function's id only its values go, without one all do; an unknown one is ignored."""
        store.clear(b"unknown function")
        first, second = self.two(store, b"1", b"2")
        for partition in first, second:
            self.put(partition, 1)
        store.clear(b"1" * 16)
        assert (len(first), len(second)) == (0, 1)
        store.clear()
        assert (len(first), len(second), store.currbytes) == (0, 0, 0)

    def test_two_partitions_of_one_function_share_its_values(self, store: Store) -> None:
        """What one of them stores the other finds."""
        first, second = self.two(store)
        self.put(first, 1)
        assert second.get(self.key(1)) == self.value_of(1) and len(second) == 1

    def test_a_lease_is_for_one_holder(self, store: Store) -> None:
        """Another one gets the lease of a key once it is released; the leases of other keys are free meanwhile."""
        first, second = self.two(store)
        leases = [p.lease(self.key(n), p.generation) for p in (first, second) for n in (1, 2)]
        if not first.has_leases:
            assert leases == [None] * 4
            return
        one, other, taken, free = leases
        assert one and other and taken and free
        assert one.acquire(wait=False) and not taken.acquire(wait=False)
        taken.release()  # does nothing to the first one's
        assert not taken.acquire(wait=False) and free.acquire(wait=True) and not other.acquire(wait=False)
        for _ in range(2):
            one.release()
        assert taken.acquire(wait=True)
        for lease in taken, free:
            lease.release()
        self.fill(first)
        assert first.lease(self.key(99), first.generation) is None  # full: the value could not be handed on

    def test_a_pickled_store_finds_the_same_values(self, store: Store) -> None:
        """Pickling is how a spawned worker gets it."""
        self.put(store.partition(b"1" * 16, "f", None), 1)
        again = pickle.loads(pickle.dumps(store))
        assert again.partition(b"1" * 16, "f", None).get(self.key(1)) == self.value_of(1)
        again.close()


class ValueTests(StoreBase):
    """A value comes back as it was put, and nobody changes it; these have more bytes than those of the other tests."""

    @pytest.fixture
    def roomy(self, store: Store) -> Store:
        """A store with room for a few KB; override it if `store` has less."""
        return store

    def test_bytes_come_back_as_bytes_that_nobody_changes(self, store: Store) -> None:
        """Whatever bytes-like object was put, also an empty one, and whatever becomes of it."""
        partition, source = store.partition(b"1" * 16, "f", None), bytearray(b"abc")
        for n, value in enumerate([source, b"", b"xyz"]):
            result = partition.put(self.key(n), value, partition.generation)
            assert (type(result.value), result.value, result.stored) == (bytes, bytes(value), True)
        source[0] = 0
        found = [partition.get(self.key(n)) for n in range(3)]
        assert found == [b"abc", b"", b"xyz"] and {type(value) for value in found} == {bytes}

    @pytest.mark.parametrize("value", _VALUES, ids=repr)
    def test_a_value_comes_back_as_it_was(self, roomy: Store, value: Any) -> None:
        """Also None; by get, by get_many and by put, type for type, or put raises a TypeError."""
        partition = roomy.partition(b"1" * 16, "f", None)
        if isinstance(value, self.refuses):
            with pytest.raises(TypeError):
                partition.put(self.key(1), value, partition.generation)
            assert partition.get(self.key(1)) is MISSING
            return
        result = partition.put(self.key(1), value, partition.generation)
        assert result.stored
        for found in result.value, partition.get(self.key(1)), *partition.get_many([self.key(1)]):
            assert _is_same(found, value)

    @pytest.mark.parametrize("value", list(_REFUSED.values()), ids=list(_REFUSED))
    def test_a_value_that_is_not_plain_is_refused(self, roomy: Store, value: Any) -> None:
        """Put raises a TypeError for what would come back as something else, and nothing is stored."""
        partition = roomy.partition(b"1" * 16, "f", None)
        with pytest.raises(TypeError):
            partition.put(self.key(1), value, partition.generation)
        assert partition.get(self.key(1)) is MISSING and len(partition) == 0

    def test_arrays_are_read_only(self, roomy: Store) -> None:
        """Those that get returns, alone or in a list: nobody can change the store's."""
        if issubclass(np.ndarray, self.refuses):
            return
        partition, source = roomy.partition(b"1" * 16, "f", None), np.arange(4)
        partition.put(self.key(1), source, partition.generation)
        partition.put(self.key(2), [np.arange(4)], partition.generation)
        for found in partition.get(self.key(1)), partition.get(self.key(2))[0]:
            with pytest.raises(ValueError, match="read-only"):
                found[0] = 7
        assert partition.get(self.key(1)).tolist() == [0, 1, 2, 3]

    def test_what_callers_change_is_their_own(self, roomy: Store) -> None:
        """Lists and dicts are made anew for each caller; those that were put may be changed afterwards."""
        if issubclass(list, self.refuses):
            return
        source: list[Any] = [1, {"a": [2]}]
        partition = roomy.partition(b"1" * 16, "f", None)
        partition.put(self.key(1), source, partition.generation)
        for changed in source, partition.get(self.key(1)), partition.get_many([self.key(1)])[0]:
            changed[1]["a"].append(3)
            changed.append(4)
        assert partition.get(self.key(1)) == [1, {"a": [2]}]


def _is_same(found: Any, value: Any) -> bool:
    """Return whether two values are of the same types and equal, with their arrays."""
    if type(found) is not type(value):
        return False
    if isinstance(value, np.ndarray):
        return found.dtype == value.dtype and found.shape == value.shape and bool((found == value).all())
    if isinstance(value, (list, tuple)):
        return len(found) == len(value) and all(map(_is_same, found, value))
    if isinstance(value, dict):
        return list(found) == list(value) and all(map(_is_same, found.values(), value.values()))
    return bool(found == value)
