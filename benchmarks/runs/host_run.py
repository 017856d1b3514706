"""What a host of a training does: read its part of an epoch through its tiers, for ``benchmarks.hosts``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import bytecache
from benchmarks.workloads.counted_storage import value_of
from bytecache import RemoteStore, SharedStore

BATCH = 32


class Tiers(NamedTuple):
    """The tiers of a host. Bytes: of its own memory, and of the cluster that all hosts use; 0 for no such tier.

    folder: for its own. remote_bytes: None if the servers have a limit of their own. url: of the cluster. namespace: of
    the values there.
    """

    folder: str
    local_bytes: int
    remote_bytes: int | None
    url: str
    namespace: str

    def open(self) -> list[Any]:
        """Return the stores, the fastest first."""
        stores: list[Any] = []
        if self.local_bytes:
            stores.append(SharedStore(Path(self.folder), maxbytes=self.local_bytes))
        if self.remote_bytes != 0:
            # Processes of a simulation get the processor in turns: it is no fault that an answer waits for that.
            remote = RemoteStore(self.url, maxbytes=self.remote_bytes, namespace=self.namespace, timeout_s=30)
            stores.append(remote)
        return stores


def make_host(storage: str, nbytes: int) -> Callable[[Any], Any]:
    """Return what answers Tiers, from which the host reads from then on, and the numbers of an epoch's items."""
    address = urlsplit(storage)
    connections = threading.local()

    def read_storage(number: int) -> bytes:
        if not hasattr(connections, "http"):
            connections.http = HTTPConnection(str(address.hostname), address.port, timeout=60)
        connections.http.request("GET", f"/{number}")
        return bytes(connections.http.getresponse().read())

    reader: Any = None

    def answer(question: Any) -> Any:
        nonlocal reader
        if isinstance(question, Tiers):
            reader = _cached(read_storage, question)
            return None
        return _read_epoch(reader, question, nbytes)

    return answer


def _cached(read_storage: Callable[[int], bytes], tiers: Tiers) -> Any:
    """Return a cached read function, which is the same one on all hosts."""

    @bytecache.fill_once(store=tiers.open(), version=tiers.namespace)
    def read(number: int) -> bytes:
        return read_storage(number)

    return read


def _read_epoch(read: Any, numbers: Sequence[int], nbytes: int) -> dict[str, Any]:
    """Read the items of an epoch in batches and check them; return misses, and each tier's hits and present values."""
    before = read.cache_stats()
    for first in range(0, len(numbers), BATCH):
        batch = numbers[first : first + BATCH]
        for number, value in zip(batch, read.map(batch), strict=True):
            if value != value_of(number, nbytes):
                raise AssertionError(f"item {number} has the value of another one")
    epoch = read.cache_stats() - before
    hits, values = ({tier.name: getattr(tier, name) for tier in epoch.tiers} for name in ("hits", "currsize"))
    return {"misses": epoch.misses, "hits": hits, "values": values}
