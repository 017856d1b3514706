"""Several stores as one: which tier keeps a value, who answers a call, and what is counted."""

from __future__ import annotations

import os
import pickle
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.internals import cache_of, forget_when_it_looked
from helpers.processes import Children, in_child
from helpers.threads import PATIENCE_S, start, together

import bytecache
from bytecache import SharedStore
from bytecache.stores.shared.locks import OFD_LOCKS_AVAILABLE
from bytecache.stores.tiered.leases import TieredLease
from bytecache.stores.tiered.store import TieredStore, is_same_store
from bytecache.testing import FaultyStore

pytestmark = pytest.mark.skipif(not OFD_LOCKS_AVAILABLE, reason="a shared store needs open file description locks")

NBYTES = 10


def value(n: int) -> bytes:
    """The bytes of a key, NBYTES of them."""
    return b"%*d" % (NBYTES, n)


def tiers_of(f: Any, *names: str, scope: str = "process") -> list[tuple[Any, ...]]:
    """Return these counts of each tier."""
    return [tuple(getattr(tier, name) for name in names) for tier in f.cache_stats(scope).tiers]


def epoch(f: Any, keys: Sequence[int], seed: int) -> bytecache.CacheStats:
    """Ask for each key once, in an order of the seed; return what was counted."""
    order, before = random.Random(seed).sample(keys, len(keys)), f.cache_stats()
    for key in order:
        assert f(key) == value(key)
    stats: bytecache.CacheStats = f.cache_stats() - before
    assert stats.hits + stats.misses == len(keys)
    assert sum(tier.hits for tier in stats.tiers) == stats.hits
    assert stats.tiers[-1].misses == stats.misses
    return stats


# Which tier keeps a value


def test_room_here_is_for_what_has_none_below(stores: Callable[..., SharedStore]) -> None:
    """Three hosts with room for a quarter each, over a store with room for half: each of them hits three quarters."""
    below, keys = stores(100 * NBYTES), range(200)
    hosts = [bytecache.fill_once(store=[stores(50 * NBYTES), below])(value) for _ in range(3)]
    for seed, f in enumerate(hosts):
        epoch(f, keys, seed)
    for seed in range(2):
        found = [epoch(f, keys, 10 * seed + n) for n, f in enumerate(hosts)]
        assert [(stats.hit_rate, stats.stored) for stats in found] == [(0.75, 0)] * 3
        assert [[tier.hits for tier in stats.tiers] for stats in found] == [[50, 100]] * 3


def test_values_are_copied_up_once_nothing_is_missing(stores: Callable[..., SharedStore]) -> None:
    """With room for all below, the room here is filled as soon as an epoch has passed without a miss."""
    f = bytecache.fill_once(store=[stores(50 * NBYTES), stores(400 * NBYTES)])(value)
    first = epoch(f, range(200), 0)
    assert [(tier.stored, tier.currsize) for tier in first.tiers] == [(0, 0), (200, 200)]
    for seed in range(1, 4):
        last = epoch(f, range(200), seed)
    assert [tier.hits for tier in last.tiers] == [50, 150]
    stats = f.cache_stats()
    assert [tier.currsize for tier in stats.tiers] == [50, 200] and stats.rejected == 0
    assert stats.stored - stats.evicted == stats.currsize == 250 and stats.currbytes == 2500


def test_copies_that_do_not_fit_are_no_rejected_values(stores: Callable[..., SharedStore]) -> None:
    """Of a batch as many are copied up as there is room for; the tier counts the rest, the function does not."""
    f = bytecache.fill_once(store=[stores(50 * NBYTES), stores(400 * NBYTES)])(value)
    for _ in range(4):
        f.map(range(200))
    assert tiers_of(f, "currsize", "rejected") == [(50, 150), (200, 0)]
    assert (f.cache_stats().rejected, f.cache_stats().stored) == (0, 250)
    cache_of(f).partition.levels[0].clear()  # as `bytecache clear --function` does
    assert f.cache_stats().rejected == 0 and f(1) == value(1)


def test_nothing_is_copied_up_while_another_host_stores(stores: Callable[..., SharedStore]) -> None:
    """A host that follows another one, hit by hit, keeps its room for what is still to come."""
    below = stores(200 * NBYTES)
    leader, follower = (bytecache.fill_once(store=[stores(100 * NBYTES), below])(value) for _ in range(2))
    for n in range(200):
        leader(n), follower(n)
    for n in range(200, 300):
        leader(n), follower(n)
    assert tiers_of(follower, "hits", "stored") == [(0, 100), (200, 0)]
    stats = follower.cache_stats()
    for n in range(300):
        follower(n)
    assert (follower.cache_stats() - stats).hit_rate == 1.0


def test_a_large_value_goes_where_it_fits(stores: Callable[..., SharedStore]) -> None:
    """What the lower tier has no room for goes to the upper one, and is rejected if that has none either."""
    f = bytecache.fill_once(store=[stores(100), stores(50)])(bytes)
    f(60), f(40), f(70), f(30)
    assert tiers_of(f, "currbytes", "rejected") == [(90, 1), (40, 3)]
    assert (f.cache_stats().stored, f.cache_stats().rejected) == (3, 1)


def test_maxsize_is_that_of_all_tiers(stores: Callable[..., SharedStore]) -> None:
    """No more entries than maxsize are kept, in all tiers together."""
    f = bytecache.fill_once(3, store=[stores(20 * NBYTES), stores(2 * NBYTES)])(value)
    f.map(range(10), threads=1)
    stats = f.cache_stats()
    assert (stats.currsize, stats.stored, stats.rejected) == (3, 3, 7)
    assert [tier.currsize for tier in stats.tiers] == [1, 2]


def test_warm_fills_every_tier_and_stops(stores: Callable[..., SharedStore]) -> None:
    """Also if the first one is full of another function's values, of which the function knows nothing."""
    here, below = stores(5 * NBYTES), stores(8 * NBYTES)
    bytecache.fill_once(store=here)(lambda n: value(-n)).map(range(5))
    f = bytecache.fill_once(store=[here, below])(value)
    with pytest.warns(RuntimeWarning, match="is full of the values of"):
        stats = f.warm(range(100), threads=1)
    assert stats.misses == 8 and [tier.currsize for tier in stats.tiers] == [0, 8]


# Requests


class Recorder(FaultyStore):
    """A store that notes what it is asked for."""

    def __init__(self, store: SharedStore) -> None:
        super().__init__(store, seed=0, rate=0.0)
        self.asked: list[str] = []

    def delay(self) -> None:
        self.asked.append(sys._getframe(1).f_code.co_name)


def test_map_is_one_request_to_each_tier(stores: Callable[..., SharedStore]) -> None:
    """A lower tier is asked once, for what the tiers above do not have; the misses of a batch are stored in one."""
    here, below = Recorder(stores(8 * NBYTES)), Recorder(stores(8 * NBYTES))
    f = bytecache.fill_once(store=[here, below], batched=True)(lambda keys: [value(key) for key in keys])
    f.map([])  # looks whether the lower tier was cleared
    here.asked.clear(), below.asked.clear()
    assert f.map(range(12)) == [value(n) for n in range(12)]
    assert (here.asked, below.asked) == (["get_many", "get_many", "put_many"], ["get_many", "get_many", "put_many"])
    here.asked.clear(), below.asked.clear()
    assert f.map(range(12)) == [value(n) for n in range(12)]
    assert (here.asked, below.asked) == (["get_many"], ["get_many"])
    assert f.map(range(8, 12)) == [value(n) for n in range(8, 12)]
    assert below.asked == ["get_many"]  # not for what is here


def test_values_of_any_kind_from_below(stores: Callable[..., SharedStore]) -> None:
    """They are of the same type whether they are found below or were copied up; with copy=False bytes are views."""
    kinds: list[Any] = [b"bytes", memoryview(b"view"), np.arange(5), [1, {"a": b"b"}], None, "text"]
    f = bytecache.fill_once(store=[stores(1 << 20), stores(1 << 20)])(lambda n: kinds[n % 6])
    first = f.map(range(60))
    for _ in range(5):
        for copied in False, True:  # the third time they are copied up
            found = f.map(range(60), copy=copied)
            assert all(
                type(one) is (memoryview if type(kind) is bytes and not copied else type(kind))
                for one, kind in zip(found, kinds * 10, strict=True)
            )
            assert [bytes(one) for one in found[:2]] == [b"bytes", b"view"] and found[3:6] == first[3:6]
            assert all((one == np.arange(5)).all() and not one.flags.writeable for one in found[2::6])
    assert tiers_of(f, "currsize") == [(60,), (60,)]


def test_one_value_is_looked_at_and_removed_in_every_tier(stores: Callable[..., SharedStore]) -> None:
    """cache_contains finds it in either tier, cache_discard removes both copies, and nobody knows the keys."""
    f = bytecache.fill_once(store=[stores(1000), stores(1000)])(value)
    for _ in range(5):
        f.map(range(20))
    assert tiers_of(f, "currsize") == [(20,), (20,)] and f.cache_contains(3) and not f.cache_contains(30)
    assert f.cache_discard(3) and not f.cache_contains(3) and not f.cache_discard(3)
    assert tiers_of(f, "currsize", "evicted") == [(19, 1), (19, 1)] and f.cache_stats().evicted == 2
    misses = f.cache_stats().misses
    assert f(3) == value(3) and f.cache_stats().misses == misses + 1
    with pytest.raises(TypeError, match="cache_contains"):
        f.cache_keys()


def test_exceptions_are_counted_once(stores: Callable[..., SharedStore]) -> None:
    """They are misses and errors of the function, of which the tiers know nothing."""
    f = bytecache.fill_once(store=[stores(1000), stores(1000)])(lambda n: value(10 // n))
    for _ in range(2):
        assert isinstance(f.map([0, 1], return_exceptions=True)[0], ZeroDivisionError)
    stats = f.cache_stats()
    assert (stats.hits, stats.misses, stats.errors, stats.stored) == (1, 3, 2, 1)


@pytest.mark.parametrize("which", [0, 1])
def test_a_value_that_was_read_before_a_clear_is_not_stored(stores: Callable[..., SharedStore], which: int) -> None:
    """Whichever tier was cleared meanwhile, it is stored in none; generations never come back."""
    parts = [stores(1000), stores(1000)]
    partition = TieredStore(parts).partition(b"1" * 16, "f", None)
    generations = [partition.generation]
    for _ in range(3):
        parts[which].clear()
        assert partition.put(b"k" * 16, b"old", generations[-1]).stored is None and len(partition) == 0
        generations.append(partition.generation)
    assert len(set(generations)) == 4


class ClearedMeanwhile(FaultyStore):
    """A store that, while it is asked for several values, is cleared with all other tiers."""

    clear_all: Callable[[], Any] | None = None

    def fails(self, kind: str) -> bool:
        return False

    def partition(self, function_id: bytes, name: str, maxsize: int | None) -> Any:
        partition = super().partition(function_id, name, maxsize)
        get_many = partition.get_many

        def then_cleared(keys: Any, copy: bool = True) -> Any:
            values, clear_all = get_many(keys, copy), self.clear_all
            if clear_all is not None:
                self.clear_all = None
                clear_all()
            return values

        partition.get_many = then_cleared  # type: ignore[method-assign]
        return partition


def test_a_clear_while_a_value_is_copied_up(stores: Callable[..., SharedStore]) -> None:
    """What was found below just before the clear does not come back above."""
    below = ClearedMeanwhile(stores(1000), seed=0, rate=0.0)
    f = bytecache.fill_once(store=[stores(1000), below])(value)
    for _ in range(3):
        f.map(range(20))
    below.clear_all = f.cache_clear
    assert f.map(range(20)) == [value(n) for n in range(20)]
    assert below.clear_all is None and tiers_of(f, "currsize") == [(0,), (0,)]


class UsedWhileCleared(FaultyStore):
    """A store whose partitions are used right after each of their clears."""

    use: Callable[[], Any] | None = None

    def partition(self, function_id: bytes, name: str, maxsize: int | None) -> Any:
        partition = super().partition(function_id, name, maxsize)
        clear = partition.clear

        def clear_and_use() -> None:
            clear()
            if self.use is not None:
                self.use()

        partition.clear = clear_and_use  # type: ignore[method-assign]
        return partition


def test_a_value_that_is_copied_up_in_the_middle_of_a_clear(stores: Callable[..., SharedStore]) -> None:
    """When the first tier is cleared, no other one has an old value left that could be copied up."""
    here, version = UsedWhileCleared(stores(1000), seed=0, rate=0.0), {"now": b"1"}
    f = bytecache.fill_once(store=[here, stores(1000)], version=1)(lambda n: version["now"] * NBYTES)
    for _ in range(3):
        f.map(range(20))
    version["now"], here.use = b"2", lambda: f.map(range(20))
    f.cache_clear()
    here.use = None
    assert f.map(range(20)) == [b"2" * NBYTES] * 20
    assert [f(n) for n in range(20)] == [b"2" * NBYTES] * 20


def test_a_clear_by_one_host_reaches_the_others(stores: Callable[..., SharedStore]) -> None:
    """What another host has from before the clear, in a store of its own, is gone once it has looked, and for good."""
    below, version = stores(50 * NBYTES), {"now": b"1"}
    f, g = (
        bytecache.fill_once(store=[stores(50 * NBYTES), below], version=1)(lambda n: version["now"] * NBYTES)
        for _ in range(2)
    )
    f.map(range(50)), g.map(range(100))
    assert tiers_of(g, "currsize") == [(50,), (50,)]
    version["now"] = b"2"
    f.cache_clear()
    assert g(99) == b"1" * NBYTES  # it has not looked yet
    forget_when_it_looked(g)
    assert g(99) == b"2" * NBYTES and g.map(range(100)) == [b"2" * NBYTES] * 100
    before = g.cache_stats()
    for _ in range(2):
        forget_when_it_looked(g)
        assert in_child(lambda: g.map(range(100))) == [b"2" * NBYTES] * 100
    assert (g.cache_stats("all") - before).misses == 0


def test_a_store_below_that_lost_its_values_is_no_clear(stores: Callable[..., SharedStore], tmp_path: Path) -> None:
    """Those above it stay, also while it cannot be asked; a later process knows up to which clear they are good."""
    here, below = stores(50 * NBYTES), FaultyStore(stores(50 * NBYTES), seed=0, rate=0.0)
    f = bytecache.fill_once(store=[here, below], version=1)(value)
    f.map(range(100), threads=1)
    for n in range(50):  # the lower tier makes room, and begins its values anew
        f.cache_discard(n)
    f.map(range(100, 160), threads=1)
    again = bytecache.fill_once(store=[here, below], version=1)(value)
    for one in f, again:
        forget_when_it_looked(one)
        one(1)
    assert tiers_of(again, "currsize")[0] == (50,)
    below.store.clear()
    again = bytecache.fill_once(store=[here, below], version=1)(value)
    again(1)
    assert tiers_of(again, "currsize")[0] == (0,)


# Threads, processes, forks


def test_threads_run_the_function_once_per_key(stores: Callable[..., SharedStore]) -> None:
    """Calls of eight threads in orders of their own: every value is right, and every call is counted."""
    f = bytecache.fill_once(store=[stores(100 * NBYTES), stores(60 * NBYTES)])(value)

    def work(seed: int) -> None:
        for _ in range(5):
            for key in random.Random(seed).sample(range(100), 100):
                assert f(key) == value(key)

    assert together(*[lambda seed=seed: work(seed) for seed in range(8)]) == [None] * 8
    stats = f.cache_stats()
    assert (stats.hits + stats.misses, stats.misses, stats.rejected) == (4000, 100, 0)
    assert stats.stored == stats.currsize >= 100
    assert sum(tier.hits for tier in stats.tiers) == stats.hits


def test_forked_workers_share_every_tier(stores: Callable[..., SharedStore], tmp_path: Path) -> None:
    """Four processes read each key once in all, and the counters of all of them are known in each."""
    log = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    f = bytecache.fill_once(store=[stores(100 * NBYTES), stores(60 * NBYTES)])(
        lambda n: (os.write(log, b"x"), value(n))[1]
    )

    def work(seed: int) -> bool:
        orders = [random.Random(seed).sample(range(100), 100) for _ in range(3)]
        return all(f(key) == value(key) for order in orders for key in order)

    assert Children(*[lambda seed=seed: work(seed) for seed in range(4)]).answers() == [True] * 4
    os.close(log)
    stats = f.cache_stats("all")
    assert (tmp_path / "log").stat().st_size == 100 == stats.misses <= stats.currsize == stats.stored
    assert stats.hits == 1100 == sum(tier.hits for tier in stats.tiers)
    assert f.cache_info()[:2] == (0, 0)
    assert in_child(lambda: f(5)) == value(5) and f.cache_stats("all").hits == 1101


JOB = """
import multiprocessing, pickle, sys
import bytecache

def value(n):
    return b"%10d" % n

def work(store, out):
    f = bytecache.fill_once(store=store.stores, version=1)(value)
    out.put((f.map(range(30)), f.cache_info()[:2]))

if __name__ == "__main__":
    store = pickle.loads(bytes.fromhex(sys.argv[1]))
    f = bytecache.fill_once(store=list(store.stores), version=1)(value)
    f.map(range(30))
    context = multiprocessing.get_context("spawn")
    out = context.Queue()
    child = context.Process(target=work, args=(store, out))
    child.start()
    values, counts = out.get(timeout=60)
    child.join()
    print(values == [value(n) for n in range(30)], counts)
"""


def test_a_spawned_process_finds_the_same_values(stores: Callable[..., SharedStore], tmp_path: Path) -> None:
    """The tiers are pickled, and opened again there."""
    job, store = tmp_path / "job.py", TieredStore([stores(200), stores(200)])
    job.write_text(JOB)
    environment = {**os.environ, "PYTHONPATH": str(Path(bytecache.__file__).parents[1])}
    command = [sys.executable, str(job), pickle.dumps(store).hex()]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=5 * PATIENCE_S)
    assert done.stdout.strip() == "True (30, 0)", done.stdout + done.stderr


def test_a_pickled_list_of_stores_is_the_same_one(stores: Callable[..., SharedStore]) -> None:
    """So that a function which a worker has imported by its name may stand for the one that was sent."""
    parts = [stores(200), stores(200)]
    store = TieredStore(parts)
    again = pickle.loads(pickle.dumps(store))
    assert is_same_store(store, again) and not is_same_store(store, TieredStore(parts[::-1]))
    assert not is_same_store(store, TieredStore(parts[:1])) and is_same_store(parts[0], again.stores[0])
    again.close()


# Faults


@pytest.mark.parametrize("which", [0, 1])
def test_one_tier_that_cannot_be_reached(stores: Callable[..., SharedStore], which: int) -> None:
    """The other one keeps what it has room for; once the first is back, it takes the rest."""
    tiers = [FaultyStore(stores(50 * NBYTES), seed=0, rate=0.0) for _ in range(2)]
    f = bytecache.fill_once(store=tiers)(value)
    tiers[which].rate = 1.0
    epoch(f, range(100), 0)
    stats = epoch(f, range(100), 1)
    assert stats.hit_rate == 0.5 and stats.tiers[1 - which].hits == 50 and stats.tiers[which].hits == 0
    assert tiers[which].faults["lookups"] > 200 and tiers[which].faults["puts"] > 50
    tiers[which].rate = 0.0
    epoch(f, range(100), 2)
    assert epoch(f, range(100), 3).hit_rate == 1.0


def test_faults_change_no_value_and_lose_no_call(stores: Callable[..., SharedStore]) -> None:
    """A third of all requests to both tiers fail, in threads: values are right, and counts add up."""
    tiers = [FaultyStore(stores(60 * NBYTES), seed=n, rate=0.3, delay_s=0.0005) for n in range(2)]
    f = bytecache.fill_once(store=tiers, batched=True)(lambda keys: [value(key) for key in keys])

    def work(seed: int) -> None:
        for _ in range(5):
            order = random.Random(seed).sample(range(100), 100)
            assert f.map(order) == [value(key) for key in order]
            assert [f(key) for key in order[:20]] == [value(key) for key in order[:20]]

    assert together(*[lambda seed=seed: work(seed) for seed in range(4)]) == [None] * 4
    stats = f.cache_stats()
    assert stats.hits + stats.misses == 4 * 5 * 120 and sum(tier.hits for tier in stats.tiers) == stats.hits
    assert min(min(tier.faults.values()) for tier in tiers) > 0


# Leases


def test_two_hosts_that_miss_a_key_read_it_once(stores: Callable[..., SharedStore]) -> None:
    """With stores of their own above, they wait for each other's run by the lease of the one below."""
    below, reading, go_on = stores(1000), os.pipe(), os.pipe()

    def read(n: int) -> bytes:
        os.write(reading[1], b"r")
        assert os.read(go_on[0], 1) == b"g"
        return value(n)

    first, second = (bytecache.fill_once(store=[stores(1000), below], version=1)(read) for _ in range(2))
    one = start(lambda: first(1))
    assert os.read(reading[0], 1) == b"r"
    two = Children(lambda: [second(1).decode(), list(second.cache_info()[:2])])
    os.write(go_on[1], b"g")
    assert one() == value(1) and two.answers() == [[value(1).decode(), [1, 0]]]
    for end in *reading, *go_on:
        os.close(end)


def test_a_lease_that_is_taken_below_is_given_back_above(stores: Callable[..., SharedStore]) -> None:
    """Who does not wait has none of the two leases then, and all of them once both are free."""
    here, below = stores(1000), stores(1000)
    one, other = (TieredStore([here, below]).partition(b"1" * 16, "f", None) for _ in range(2))
    alone = [store.partition(b"1" * 16, "f", None) for store in (here, below)]
    key = b"k" * 16
    mine, upper, lower = (
        one.lease(key, 0),
        alone[0].lease(key, alone[0].generation),
        alone[1].lease(key, alone[1].generation),
    )
    assert isinstance(mine, TieredLease) and upper is not None and lower is not None
    assert lower.acquire(wait=False) and not mine.acquire(wait=False)
    assert upper.acquire(wait=False)
    upper.release(), lower.release()
    assert mine.acquire(wait=True) and not upper.acquire(wait=False) and not lower.acquire(wait=False)
    theirs = other.lease(key, 0)
    assert theirs is not None and not theirs.acquire(wait=False)
    mine.release()
    assert theirs.acquire(wait=False)
    theirs.release()


# Stages


def test_stages_over_tiers(stores: Callable[..., SharedStore]) -> None:
    """Each item is kept after one stage, in a tier with room; all is counted once, and both tiers answer."""
    ran: list[int] = []

    def read(n: int) -> bytes:
        ran.append(n)
        return value(n) * 100

    f = bytecache.staged(read, bytes.upper, store=[stores(40_000), stores(60_000)], items=200, cost=[1, 0.1])
    for seed in range(4):
        before = f.cache_stats()
        order = random.Random(seed).sample(range(200), 200)
        assert [one for n in range(0, 200, 20) for one in f.map(order[n : n + 20])] == [value(n) * 100 for n in order]
        stats = f.cache_stats() - before
        assert stats.hits + stats.misses == 200 and len(ran) == f.cache_stats().misses
        assert all((tier.hits > 0) is (seed > 0) and tier.hits <= tier.currsize for tier in stats.tiers)
        assert stats.tiers[1].misses == stats.misses and stats.tiers[0].misses == 200 - stats.tiers[0].hits
        assert stats.currsize == sum(tier.currsize for tier in stats.tiers) and stats.tiers[0].currsize > 0
    assert f.plan().stages[0].name == "read"
    f.cache_clear()
    assert f.cache_stats().currsize == 0 == sum(tier.hits for tier in f.cache_stats().tiers)


# What may be in the list


def test_what_is_no_list_of_stores_is_refused(stores: Callable[..., SharedStore]) -> None:
    """The error says which one it was, and what was expected."""
    store = stores(1000)
    with pytest.raises(ValueError, match="a list of at least one, the fastest first, got an empty list"):
        bytecache.fill_once(store=[])
    with pytest.raises(TypeError, match=r"store\[1\] must be a bytecache.SharedStore or another store, got '/tmp'"):
        bytecache.fill_once(store=[store, "/tmp"])
    with pytest.raises(TypeError, match=r"store\[0\] must be .*, got \[SharedStore"):
        bytecache.fill_once(store=([store], store))
    with pytest.raises(ValueError, match=r"store\[1\] is store\[0\], SharedStore.*: each tier needs a store"):
        bytecache.fill_once(store=[store, store])
    again = SharedStore(store.path, maxbytes=1000)
    with pytest.raises(ValueError, match=r"store\[2\] is store\[1\]"):
        bytecache.staged(value, store=[stores(1000), store, again])
    again.close()
    with pytest.raises(TypeError, match="a list of such, or None, got 5"):
        bytecache.fill_once(store=5)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="the budget is the store's"):
        bytecache.fill_once(store=[store], maxbytes=1)


def test_a_list_of_one_store_is_that_store(stores: Callable[..., SharedStore]) -> None:
    """It finds the values of a function that has the store alone, and the other way round."""
    store = stores(1000)
    alone = bytecache.fill_once(store=store)(value)
    listed = bytecache.fill_once(store=(store,))(value)
    assert [alone(1), listed(1), listed(2), alone(2)] == [value(n) for n in (1, 1, 2, 2)]
    assert listed.cache_stats("all").hits == alone.cache_stats("all").hits == 2
    assert tiers_of(listed, "name", "hits", scope="all") == [("SharedStore", 2)]
