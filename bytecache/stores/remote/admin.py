"""A remote store seen from outside: its servers, and what the functions of a namespace have stored and counted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypedDict

from ..counts import Counts
from ..shared.reports import CounterReport, report_counts
from .counters import NAMES, from_ns
from .record import records_of
from .server import Server, Unanswered
from .servers import Servers
from .store import RemoteStore


class RemoteFunctionReport(CounterReport):
    """One function's values, and its counters over all processes, as far as they were sent."""

    name: str
    entries: int
    currbytes: int


class ServerReport(TypedDict):
    """A server, or a node of a cluster, with the keys of all who use it.

    problem: why nothing is known of it, and all numbers are 0; else None. hits, misses: of all reads of a key since it
    was started, and evicted: values that it has removed to make room. policy: its maxmemory-policy. maxmemory_bytes: 0
    if it has no limit.
    """

    name: str
    engine: str
    keys: int
    used_bytes: int
    maxmemory_bytes: int
    policy: str
    hits: int
    misses: int
    evicted: int
    hit_rate: float
    problem: str | None


class RemoteReport(TypedDict):
    """A namespace on its servers. entries, currbytes: of all its functions. url: without user and password."""

    url: str
    namespace: str
    entries: int
    currbytes: int
    servers: list[ServerReport]
    functions: list[RemoteFunctionReport]


class RemoteClearReport(TypedDict):
    """What was removed from a namespace."""

    url: str
    namespace: str
    entries: int
    currbytes: int
    functions: int


def describe(url: str, *, namespace: str = "bytecache", timeout_s: float = 5.0) -> RemoteReport:
    """Return what is stored in a namespace, and how each server is doing.

    Changes nothing. Raises ConnectionError if the server at `url` does not answer, and what RemoteStore raises.
    """
    with _opened(url, namespace, timeout_s) as store:
        functions = list(_functions(store).values())
        nodes = [_describe_server(server) for server in store.servers().all()]
    return {
        "url": store.shown_url,
        "namespace": namespace,
        "entries": sum(function["entries"] for function in functions),
        "currbytes": sum(function["currbytes"] for function in functions),
        "servers": nodes,
        "functions": functions,
    }


def clear(
    url: str, function: str | None = None, *, namespace: str = "bytecache", timeout_s: float = 5.0
) -> RemoteClearReport:
    """Remove the values and counters of all functions of a namespace, for all processes.

    function: of those of this name alone, whatever their version. Takes time in proportion to all keys of the servers.
    Raises ValueError if there is no function of this name, and else what describe raises.
    """
    with _opened(url, namespace, timeout_s) as store:
        functions = _functions(store)
        chosen = {key: report for key, report in functions.items() if function in (None, report["name"])}
        if function is not None and not chosen:
            names = ", ".join(sorted({report["name"] for report in functions.values()})) or "none"
            raise ValueError(f"{store} has no function {function!r}; it has {names}")
        for function_id in [None] if function is None else chosen:
            store.clear(function_id)
    return {
        "url": store.shown_url,
        "namespace": namespace,
        "entries": sum(report["entries"] for report in chosen.values()),
        "currbytes": sum(report["currbytes"] for report in chosen.values()),
        "functions": len(chosen),
    }


@contextmanager
def _opened(url: str, namespace: str, timeout_s: float) -> Iterator[RemoteStore]:
    store = RemoteStore(url, namespace=namespace, timeout_s=timeout_s)
    try:
        yield store
    except Unanswered as exc:
        raise ConnectionError(f"{store} does not answer: {exc}") from None
    finally:
        store.close()


def _functions(store: RemoteStore) -> dict[bytes, RemoteFunctionReport]:
    """Return the reports on all functions by their ids, in the order of these; raise Unanswered."""
    servers, namespace = store.servers(), store.namespace
    records = sorted(records_of(servers, namespace))
    return {namespace.function_id(record): _describe_function(servers, record) for record in records}


def _describe_function(servers: Servers, record: bytes) -> RemoteFunctionReport:
    found: dict[bytes, bytes] = servers.ask(record, lambda client: client.hgetall(record))
    numbers = {name.decode(): int(text) for name, text in found.items() if name != b"name"}
    return {
        "name": found.get(b"name", b"").decode("utf-8", "replace"),
        "entries": numbers.get("entries", 0),
        "currbytes": numbers.get("bytes", 0),
        **report_counts(from_ns([numbers.get(name, 0) for name in NAMES])),
    }


def _describe_server(server: Server) -> ServerReport:
    problem, info, keys = None, dict[str, Any](), 0
    try:
        info, keys = server.ask(lambda client: (client.info(), client.dbsize()))
    except Unanswered as exc:
        problem = str(exc)
    hits, misses = int(info.get("keyspace_hits", 0)), int(info.get("keyspace_misses", 0))
    engine = "Valkey" if "valkey_version" in info else "Redis"
    return {
        "name": server.name,
        "engine": f"{engine} {info.get('valkey_version', info.get('redis_version'))}" if info else "",
        "keys": keys,
        "used_bytes": int(info.get("used_memory", 0)),
        "maxmemory_bytes": int(info.get("maxmemory", 0)),
        "policy": str(info.get("maxmemory_policy", "")),
        "hits": hits,
        "misses": misses,
        "evicted": int(info.get("evicted_keys", 0)),
        "hit_rate": Counts(hits, misses).hit_rate,
        "problem": problem,
    }
