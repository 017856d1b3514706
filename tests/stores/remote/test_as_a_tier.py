"""Tests of several machines, each with a store of its own over a remote one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.servers import Server
from helpers.threads import until

import bytecache
from bytecache import RemoteStore, SharedStore
from bytecache.stores.shared.locks import OFD_LOCKS_AVAILABLE

pytestmark = pytest.mark.skipif(not OFD_LOCKS_AVAILABLE, reason="a shared store needs open file description locks")
Machine = Callable[..., Any]


@pytest.fixture
def machine(server: Server, tmp_path: Path, remote: Callable[..., RemoteStore]) -> Iterator[Machine]:
    """A function that makes a cached function as another machine has it: with a shared store of its own."""
    stores: list[SharedStore] = []
    reads: Counter[int] = Counter()

    def read(key: int) -> bytes:
        reads[key] += 1
        return bytes([key % 256]) * 100

    def make(here: int = 10, there: int = 100) -> Any:
        stores.append(SharedStore(tmp_path / str(len(stores)), maxbytes=here * 100))
        function: Any = bytecache.fill_once(store=[stores[-1], remote(server.url, maxbytes=there * 100)])(read)
        function.reads = reads
        return function

    yield make
    for store in stores:
        store.close()


def test_what_one_machine_has_read_the_others_find(machine: Machine) -> None:
    """Each key is read once in the whole job; a hit is counted where it was found."""
    first, second = machine(), machine()
    assert first.map(range(50)) == second.map(range(50))
    assert set(first.reads.values()) == {1}
    tiers = second.cache_stats().tiers
    assert [tier.name for tier in tiers] == ["SharedStore", "RemoteStore"]
    assert sum(tier.hits for tier in tiers) == second.cache_stats().hits == 50


def test_the_seconds_of_look_ups_are_those_of_the_remote_tier(machine: Machine) -> None:
    """They grow with each call that comes to it, are sent as the other counters are, and are among the metrics."""
    first, second = machine(), machine()
    for function in (first, second):
        function.map(range(50))
    before = second.cache_stats()
    second.map(range(50))
    here, there = second.cache_stats().tiers
    assert here.lookup_s == 0 and there.lookup_s == second.cache_stats().lookup_s > before.lookup_s > 0
    epoch = second.cache_stats() - before
    assert epoch.tiers[1].lookup_s == epoch.lookup_s > 0
    samples = [
        sample for metric in second.metrics() for sample in metric.samples if sample.labels.get("tier") == there.name
    ]
    assert {s.value for s in samples if s.name == "bytecache_lookup_seconds_total"} == {there.lookup_s}
    both = first.cache_stats().lookup_s + second.cache_stats().lookup_s
    for function in (first, second):
        function._store.stores[1].flush()
    assert second.cache_stats("all").tiers[1].lookup_s == pytest.approx(both, abs=1e-6)


def test_together_they_hold_more_than_one(machine: Machine) -> None:
    """What the remote store has no room for each machine keeps itself, as much as it has room for."""
    first, second = machine(10, 30), machine(10, 30)
    for function in (first, second, first, second):
        function.map(range(50))
    for function in (first, second):
        hits, misses = function.cache_info()[:2]
        function.map(range(50))
        assert (function.cache_info().hits - hits, function.cache_info().misses - misses) == (40, 10)


def test_the_hits_of_all_machines_say_that_there_is_room_to_spare(machine: Machine) -> None:
    """Each machine reads a third of an epoch. After two epochs without a miss they copy up, as one alone would."""
    machines = [machine(here=100) for _ in range(3)]
    for _ in range(4):  # one to fill
        for number, function in enumerate(machines):
            function.map(range(20 * number, 20 * number + 20))
    assert [function.cache_stats().tiers[0].currsize for function in machines] == [20, 20, 20]


def test_a_clear_by_one_machine_reaches_the_others(machine: Machine) -> None:
    """Also what these keep themselves, soon."""
    first, second = machine(10, 5), machine(10, 5)
    for function in (first, second):
        function.map(range(15))
    first.cache_clear()
    before = sum(second.reads.values())

    def reads_again() -> bool:
        second.map(range(15))
        return sum(second.reads.values()) - before >= 15

    until(reads_again)
    assert second.map(range(15)) == [bytes([key]) * 100 for key in range(15)]
