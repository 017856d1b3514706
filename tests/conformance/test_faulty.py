"""A store that fails by seed: what fails, and that it is another store but for that."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.threads import together

import bytecache
from bytecache import SharedStore
from bytecache.stores.base import MISSING, Store
from bytecache.stores.shared.locks import OFD_LOCKS_AVAILABLE
from bytecache.testing import FaultyStore, StoreTests

pytestmark = pytest.mark.skipif(not OFD_LOCKS_AVAILABLE, reason="a shared store needs open file description locks")

KEYS = [n.to_bytes(8, "big") * 2 for n in range(400)]


class TestWithoutFaults(StoreTests):
    """At a rate of zero it passes what the store in it passes."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        store = FaultyStore(SharedStore(tmp_path / "1", maxbytes=self.capacity * self.nbytes), seed=1, rate=0.0)
        yield store
        store.close()

    @pytest.fixture
    def roomy(self, tmp_path: Path) -> Iterator[Store]:
        store = FaultyStore(SharedStore(tmp_path / "2", maxbytes="1 MiB"), seed=1, rate=0.0)
        yield store
        store.close()


def outcomes(store: FaultyStore) -> list[Any]:
    """Put all keys, ask for each by itself and for all at once; return which of it failed."""
    partition = store.partition(b"1" * 16, "f", None)
    put = [partition.put(key, b"v", partition.generation).stored for key in KEYS]
    store.clear()
    many = [result[1] for result in partition.put_many([(key, b"v") for key in KEYS], partition.generation)]
    found = [partition.get(key) is MISSING for key in KEYS]
    found_by_many = [value is MISSING for value in partition.get_many(KEYS)]
    there = [key in partition for key in KEYS]
    return [put, many, found, found_by_many, there]


def test_faults_follow_from_the_seed(stores: Callable[..., SharedStore]) -> None:
    """The same calls fail with the same seed, others with another one, and as many as the rate says."""
    first, again, other = (outcomes(FaultyStore(stores(), seed=seed, rate=0.25)) for seed in (1, 1, 2))
    assert first == again != other
    put, many, found, found_by_many, there = first
    assert {*put, *many} == {True, False}
    for failed in [not one for one in put], [not one for one in many]:
        assert 70 < sum(failed) < 130
    stored = sum(many)
    for missing in found, found_by_many, [not one for one in there]:
        assert 0.18 < (sum(missing) - (len(KEYS) - stored)) / stored < 0.32


def test_what_fails_is_counted(stores: Callable[..., SharedStore]) -> None:
    """By kind; a put that fails is rejected; none of it is wrong."""
    store = FaultyStore(stores(), seed=1, rate=0.5, delay_s=0.0001)
    f = bytecache.fill_once(store=store)(lambda n: b"%d" % n)
    assert together(*[lambda: [f(n) for n in range(100)]] * 4) == [[b"%d" % n for n in range(100)]] * 4
    stats = f.cache_stats()
    assert stats.hits + stats.misses == 400 and stats.misses > 100
    assert stats.rejected == store.faults["puts"] > 0 and min(store.faults.values()) > 0


def test_a_store_that_cannot_be_reached_comes_back(stores: Callable[..., SharedStore]) -> None:
    """At a rate of one nothing is found, stored or leased; values that it had are found again afterwards."""
    store = FaultyStore(stores(), seed=1, rate=0.0)
    f = bytecache.fill_once(store=store)(lambda n: b"%d" % n)
    f(1), f(2)
    store.rate = 1.0
    assert [f(1), f(2), f(3)] == [b"1", b"2", b"3"] and not f.cache_contains(1)
    assert (f.cache_info()[:2], f.cache_stats().stored) == ((0, 5), 2)
    with pytest.raises(TypeError, match="codec"):
        bytecache.fill_once(store=store)(lambda: object())()  # what cannot be stored is an error as ever
    store.rate = 0.0
    assert f.map([1, 2, 3]) == [b"1", b"2", b"3"] and f.cache_info()[:2] == (2, 6)


def test_it_pickles_with_its_faults(stores: Callable[..., SharedStore]) -> None:
    """A copy has the same seed, rate and delay, and finds the same values."""
    store = FaultyStore(stores(), seed=3, rate=0.25, delay_s=0.125)
    again = pickle.loads(pickle.dumps(store))
    assert repr(again) == repr(store) and again.path == store.path
    assert repr(again).endswith("seed=3, rate=0.25, delay_s=0.125)")
    again.close()


@pytest.mark.parametrize("options", [{"rate": 1.5}, {"rate": -0.1}, {"rate": 0.5, "delay_s": -1.0}])
def test_a_rate_is_a_share(stores: Callable[..., SharedStore], options: dict[str, float]) -> None:
    """Anything else is a ValueError."""
    with pytest.raises(ValueError, match=r"rate must be a share from 0.0 to 1.0, and delay_s 0 s or more, got rate="):
        FaultyStore(stores(), seed=1, **options)
