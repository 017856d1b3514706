"""Many hosts that read one data set through tiers: on paper, and by the tiers' own code over stores in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import bytecache
from bytecache.stores.base import Store
from bytecache.stores.memory import FillOncePartition

SHUFFLE, FIXED = "shuffle", "fixed shares"


class Case(NamedTuple):
    """A cluster that is read through. hosts: how many; local, given: how much of the data fits into the room that a
    host has for itself, and into what it gives to the cluster, as fractions; order: SHUFFLE if each epoch is a new
    shuffle of all items, dealt out to the hosts; FIXED if each host has the same items in each epoch.
    """

    hosts: int
    order: str
    local: float
    given: float


class Shares(NamedTuple):
    """Of all reads of an epoch, those that the host itself, the cluster and the storage answer: 1 together."""

    local: float
    remote: float
    storage: float

    def incoming(self, hosts: int) -> float:
        """Return the part of a host's bytes that comes over its network: not what it has given to the cluster."""
        return self.outgoing(hosts) + self.storage

    def outgoing(self, hosts: int) -> float:
        """Return what a host sends to the others, by the bytes that it reads; as much as they send to it."""
        return self.remote * (hosts - 1) / hosts


def predicted(case: Case, epoch: int) -> Shares:
    """Return the shares in an epoch, the first is 1, in the limit of many items of equal size.

    The cluster takes what comes first, a share of hosts * given. Of the rest, `outside`, a host meets 1/hosts per
    epoch, with fixed shares always the same, and keeps what it meets while it has room. In a new shuffle 1/hosts of
    what it keeps comes back to it, so that `local` of the data is `local` of its hits, however many hosts there are.
    Once nothing is read from storage, what the cluster has is copied into the room that is left, in the same way.
    """
    if epoch < 2:
        return Shares(0.0, 0.0, 1.0)
    cluster = min(1.0, case.hosts * case.given)
    outside = 1.0 - cluster
    if case.order == FIXED:
        own = min(1.0, case.hosts * case.local)
        kept = own if own >= outside and epoch > 2 else min(own, outside)
        return Shares(kept, min(cluster, 1.0 - kept), max(0.0, outside - kept))
    kept = min(case.local, outside * _met(case.hosts, epoch - 1))
    storage = outside - kept
    if not outside:
        kept = min(case.local, _met(case.hosts, epoch - 2))
    return Shares(kept, 1.0 - kept - storage, storage)


def _met(hosts: int, epochs: int) -> float:
    """Return what share of the items a host has met in so many epochs of new shuffles."""
    return 1.0 - (1.0 - 1.0 / hosts) ** epochs


def simulated(case: Case, items: int, epochs: int, seed: int) -> list[Shares]:
    """Return the shares of each epoch, as the tiers of `fill_once` answer the hosts, which read in turns."""
    reads = [0]

    def read(item: int) -> int:
        reads[0] += 1
        return item

    own = [MemoryStore(_room(case.local, items)) for _ in range(case.hosts if case.local else 0)]
    cluster = [MemoryStore(_room(case.hosts * case.given, items))] if case.given else []
    tiers = [[one, *cluster] for one in own] or [cluster] * case.hosts
    hosts: list[Any] = [bytecache.fill_once(store=stores)(read) for stores in tiers]
    shares = []
    for shuffled in _orders(case, items, epochs, seed):
        before = reads[0], sum(store.hits for store in own)
        for step in shuffled.T.tolist():
            for host, item in zip(hosts, step, strict=True):
                host(item)
        storage, local = reads[0] - before[0], sum(store.hits for store in own) - before[1]
        shares.append(Shares(local / items, 1 - (local + storage) / items, storage / items))
    return shares


def _room(fraction: float, items: int) -> int:
    """Return how many items of the data fit; one more than all, so that no cache thinks that it is full."""
    return min(items + 1, round(fraction * items))


def _orders(case: Case, items: int, epochs: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Yield what each host reads in each epoch, int64 (hosts, items / hosts)."""
    rng = np.random.default_rng([seed, case.hosts])
    shares = rng.permutation(items).reshape(case.hosts, -1)
    for _ in range(epochs):
        if case.order == FIXED:
            yield rng.permuted(shares, axis=1)
        else:
            yield rng.permutation(items).reshape(case.hosts, -1)


class MemoryStore(Store):
    """Room for so many values in this process's memory, which stands for that of a host, or of a cluster."""

    def __init__(self, values: int) -> None:
        self.maxbytes = values
        self._partitions: dict[bytes, FillOncePartition] = {}

    def partition(self, function_id: bytes, name: str, maxsize: int | None = None) -> FillOncePartition:
        """Return a partition in which each value counts as one byte; all who ask for it share it."""
        if function_id not in self._partitions:
            first = next(iter(self._partitions.values()), None)
            self._partitions[function_id] = FillOncePartition(maxsize, self.maxbytes, lambda value: 1, beside=first)
        return self._partitions[function_id]

    @property
    def currbytes(self) -> int:
        """The values that are stored."""
        return sum(len(partition) for partition in self._partitions.values())

    @property
    def hits(self) -> int:
        """The calls that it has answered: the function's own partition is the first, others have counters alone."""
        return next(iter(self._partitions.values())).snapshot("process").counts.hits

    def clear(self, function_id: bytes | None = None) -> None:
        """Clear one partition, or all."""
        for one, partition in self._partitions.items():
            if function_id in (None, one):
                partition.clear()

    def close(self) -> None:
        """Do nothing."""
