"""The faults of a remote store, and an epoch that each of them comes into."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from hashlib import blake2b
from threading import Timer
from time import perf_counter, sleep
from typing import Any

import numpy as np

import bytecache
from benchmarks.workloads.files import read_file
from benchmarks.workloads.redis_server import LOOPBACK, RedisServer, free_ports, redis_servers
from benchmarks.workloads.slow_link import SlowLink
from bytecache.testing import FaultyStore

BATCH = 64
TIMEOUT_S = 0.5
PAUSE_S, BACK_S = 3.0, 1.0  # for which a server is paused, and after which a killed one is started again
DELAY_S = 0.05
NO_FAULT = "none"
Inject = Callable[[], None]
Case = tuple[str, Inject | None]  # the store's URL, and what brings the fault; None: it is there from the start


def digest_of(data: bytes) -> bytes:
    """Return what tells an image from all others: the hash of its pixels."""
    return blake2b(bytecache.decode_jpeg(data).tobytes(), digest_size=16).digest()


class Openings(logging.Handler):
    """Counts how often a circuit breaker opens, from what the library logs."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += "is tried again after" in record.getMessage()

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count for a while, and print nothing."""
        logger = logging.getLogger("bytecache")
        propagated, logger.propagate = logger.propagate, False
        logger.addHandler(self)
        try:
            yield
        finally:
            logger.removeHandler(self)
            logger.propagate = propagated


def run(fault: str, paths: Sequence[str], digests: dict[str, bytes], step_s: float) -> dict[str, Any]:
    """Return seconds and counters of an epoch that a fault comes into, and how many samples were wrong.

    The epoch before it fills the store, unless the fault is there from the start. The fault comes after a third of the
    batches. Each batch takes step_s in addition, as a model does.
    """
    openings, cleanup = Openings(), list[Inject]()
    with openings.counted(), FAULTS[fault](cleanup) as (url, inject):
        plain = bytecache.RemoteStore(url, timeout_s=TIMEOUT_S)
        store = FaultyStore(plain, seed=1, rate=0.0) if fault == WRAPPED else plain
        read = bytecache.fill_once(store=store)(read_file)
        rng = np.random.default_rng(1)
        try:
            if inject is not None or fault == NO_FAULT:
                epoch(read, rng.permutation(paths), digests, 0.0, None)
            if isinstance(store, FaultyStore):
                inject = lambda: setattr(store, "rate", 0.3)  # noqa: E731
            before, opened = read.cache_stats(), openings.count
            seconds, longest, wrong = epoch(read, rng.permutation(paths), digests, step_s, inject)
            stats = read.cache_stats()
        finally:
            for end in cleanup:
                end()
            store.close()
    counted = {name: getattr(stats, name) - getattr(before, name) for name in ("hits", "misses", "rejected", "errors")}
    return {"s": seconds, "longest_s": longest, "wrong": wrong, **counted, "openings": openings.count - opened}


def epoch(
    read: Any, order: Sequence[str], digests: dict[str, bytes], step_s: float, inject: Inject | None
) -> tuple[float, float, int]:
    """Return the seconds of an epoch, of its longest batch, and how many samples were wrong."""
    starts, wrong, longest = range(0, len(order), BATCH), 0, 0.0
    started = perf_counter()
    for number, start in enumerate(starts):
        if inject is not None and number == len(starts) // 3:
            inject()
        paths, asked = [str(path) for path in order[start : start + BATCH]], perf_counter()
        images = read.map(paths)
        longest = max(longest, perf_counter() - asked)
        wrong += sum(digest_of(image) != digests[path] for path, image in zip(paths, images, strict=True))
        sleep(step_s)
    return perf_counter() - started, longest, wrong


@contextmanager
def no_fault(cleanup: list[Inject]) -> Iterator[Case]:
    """All is well."""
    with redis_servers() as (server,):
        yield server.url, None


@contextmanager
def absent(cleanup: list[Inject]) -> Iterator[Case]:
    """Nobody listens."""
    yield f"redis://127.0.0.1:{free_ports()[0]}", None


@contextmanager
def killed(cleanup: list[Inject]) -> Iterator[Case]:
    """The server ends."""
    with redis_servers() as (server,):
        yield server.url, server.kill


def later(cleanup: list[Inject], seconds: float, action: Inject) -> None:
    """Do something after so many seconds, or before the case ends."""
    timer = Timer(seconds, action)
    timer.start()
    cleanup.append(timer.join)


@contextmanager
def restarted(cleanup: list[Inject]) -> Iterator[Case]:
    """The server ends, and another one without values is started."""
    with redis_servers() as (server,):

        def inject() -> None:
            server.kill()
            later(cleanup, BACK_S, server.start)

        yield server.url, inject


@contextmanager
def paused(cleanup: list[Inject]) -> Iterator[Case]:
    """The server's process is stopped, and goes on later."""
    with redis_servers() as (server,):

        def inject() -> None:
            server.pause()
            later(cleanup, PAUSE_S, server.resume)

        yield server.url, inject


@contextmanager
def node_lost(cleanup: list[Inject]) -> Iterator[Case]:
    """One of three nodes ends."""
    with redis_servers([LOOPBACK] * 3) as servers:
        yield servers[0].url, servers[1].kill


@contextmanager
def slow_link(delay_s: float, cleanup: list[Inject]) -> Iterator[Case]:
    """Each part of an answer comes late, by so many seconds."""
    with redis_servers() as (server,):
        link = SlowLink(server.port)
        cleanup.append(link.close)
        yield link.url, lambda: setattr(link, "delay_s", delay_s)


@contextmanager
def wrong_password(cleanup: list[Inject]) -> Iterator[Case]:
    """The server wants another password than the URL has."""
    with redis_servers(requirepass="right") as (server,):
        yield f"redis://:wrong@127.0.0.1:{server.port}", None


@contextmanager
def no_connections(cleanup: list[Inject]) -> Iterator[Case]:
    """Another client has all connections that the server allows."""
    with redis_servers() as (server,), server.client() as client:
        client.config_set("maxclients", 1)
        yield server.url, None


@contextmanager
def never_answers(cleanup: list[Inject]) -> Iterator[Case]:
    """What listens accepts connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as listener:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}", None


@contextmanager
def damaged(cleanup: list[Inject]) -> Iterator[Case]:
    """One bit of each second entry is another one."""
    with redis_servers() as (server,):
        yield server.url, lambda: damage(server)


def damage(server: RedisServer) -> None:
    """Flip one bit of each second entry."""
    rng = np.random.default_rng(2)
    with server.client() as client:
        keys = [key for key in client.scan_iter(count=1000) if client.type(key) == b"string"]
        for key in sorted(keys)[::2]:
            bit = int(rng.integers(8 * client.strlen(key)))
            client.setbit(key, bit, 1 - client.getbit(key, bit))


@contextmanager
def wrapped(cleanup: list[Inject]) -> Iterator[Case]:
    """The server is well; the store in front of it fails."""
    with redis_servers() as (server,):
        yield server.url, lambda: None


WRAPPED = "FaultyStore, three calls in ten"
FAULTS: dict[str, Callable[[list[Inject]], Any]] = {
    NO_FAULT: no_fault,
    "absent at the start": absent,
    "killed": killed,
    "killed, back after 1 s, empty": restarted,
    "paused for 3 s": paused,
    "a node of a cluster of three lost": node_lost,
    "answers 50 ms late": partial(slow_link, DELAY_S),
    "answers later than timeout_s": partial(slow_link, 1.5 * TIMEOUT_S),
    "wrong password": wrong_password,
    "no connections left": no_connections,
    "accepts and never answers": never_answers,
    "a bit flipped in half of the entries": damaged,
    WRAPPED: wrapped,
}
