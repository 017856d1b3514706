"""The servers behind an address: one, or the nodes of a cluster; who has which key."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from time import monotonic
from typing import Any, TypeVar

from ...system.caller import warn_caller
from ..base import MISSING
from .connection import connect_to_node, is_connection_fault, is_named
from .server import Server, Unanswered, Use
from .slots import SLOTS, read_ranges, server_name, slot_of

T = TypeVar("T")
_REQUESTS = 16  # of which the mean is taken
_RELEARN_S = 1.0  # at most once in this time the nodes of a cluster are asked which slots they have


class Servers:
    """Who has which key. Nothing is asked before the first request; safe for threads, and of one process.

    client: of the server, or of any node of the cluster; or one for a cluster, which has ``get_primaries``.
    """

    def __init__(self, client: Any, name: str, clock: Callable[[], float] = monotonic, is_own: bool = False) -> None:
        self._client, self._clock = client, clock
        self._given = hasattr(client, "get_primaries")  # it knows the nodes, and makes the clients for them
        self._made: list[Any] = []  # the clients for nodes that the first one led to
        self._is_own = is_own
        self._first = Server(name, client, clock, is_own)
        self._by_name: dict[str, Server] = {name: self._first}
        self._slots: list[Server] | None = None  # of a cluster: the server of each slot
        self._is_known = self._is_stale = False
        self.request_s = 0.0  # what a small request takes, on a running mean; 0 before the first
        self._learned_at = float("-inf")
        self._lock = threading.RLock()  # for one thread at a time that finds out; others wait as long as it does

    def all(self) -> list[Server]:
        """Return the servers that have keys; raise Unanswered if that cannot be found out."""
        self._learn()
        return [self._first] if self._slots is None else list(dict.fromkeys(self._slots))

    def known(self) -> list[Server]:
        """Return the servers that have been heard of, without a request."""
        return list(self._by_name.values())

    def of(self, key: bytes) -> Server:
        """Return the server that has a key; raise Unanswered if that cannot be found out."""
        self._learn()
        return self._first if self._slots is None else self._slots[slot_of(key)]

    def ask(self, key: bytes, request: Callable[[Any], T]) -> T:
        """Return ``request(client)`` from the server that has `key`; raise Unanswered."""
        try:
            return self.of(key).ask(request)
        except Unanswered:
            self._is_stale = self._slots is not None
            raise

    def ask_each(self, keys: Sequence[bytes], commands: Sequence[tuple[Any, ...]]) -> list[tuple[Server | None, Any]]:
        """Return for each command, which is about one of the keys, who answered, and what: an exception if it failed.

        One request for each server. The server is None for a command that none has answered.
        """
        results: list[tuple[Server | None, Any]] = [(None, None)] * len(commands)
        for server, places in self._by_server(keys).items():
            try:
                answers = server.ask_each([commands[place] for place in places])
            except Unanswered as exc:
                self._is_stale = self._slots is not None
                for place in places:
                    results[place] = None, exc
                continue
            for place, answer in zip(places, answers, strict=True):
                results[place] = server, answer
                if is_named(answer, "MovedError"):
                    self._is_stale = True
        return results

    def is_full(self, key: bytes | None = None) -> bool:
        """Return whether the server that has a key had no memory left a moment ago; without a key, whether all had."""
        if key is None or self._slots is None:
            return all(server.full for server in self.known())
        return self._slots[slot_of(key)].full

    def note_request(self, seconds: float) -> None:
        """Take note of what a small request has taken."""
        self.request_s += (seconds - self.request_s) / (_REQUESTS if self.request_s else 1)

    def get_many(self, keys: Sequence[bytes], use: Use) -> list[Any]:
        """Return what ``use(keys, entries)`` returns for the keys of each server, in the order of `keys`.

        An entry is bytes or a view that is valid only then; None if there is none, or its server does not answer.
        """
        values = [MISSING] * len(keys)
        requests: list[tuple[Sequence[int], list[bytes], Generator[list[Any] | None, None, None]]] = []
        with ExitStack() as stack:
            for server, places in self._by_server(keys).items():
                mine = [keys[place] for place in places]
                request = server.get_many(mine, use, one_slot=self._slots is None)
                stack.callback(request.close)
                if self._send(request):
                    requests.append((places, mine, request))
            for places, mine, request in requests:
                found = self._answer(mine, request, use)
                for place, value in zip(places, found, strict=True):
                    values[place] = value
        return values

    def _send(self, request: Generator[Any, None, None]) -> bool:
        """Return whether a request could be sent."""
        try:
            next(request)
        except Unanswered:
            self._is_stale = self._slots is not None
            return False
        return True

    def _answer(self, keys: Sequence[bytes], request: Generator[list[Any] | None, None, None], use: Use) -> list[Any]:
        try:
            values = next(request)
        except Unanswered:
            self._is_stale = self._slots is not None
            return [MISSING] * len(keys)
        if values is None:  # something else than values: what that is, redis-py knows
            answers = self.ask_each(keys, [("GET", key) for key in keys])
            values = use(keys, [None if isinstance(answer, Exception) else answer for _, answer in answers])
        return values

    def _by_server(self, keys: Sequence[bytes]) -> dict[Server, Sequence[int]]:
        """Return the places of the keys that each server has."""
        try:
            self._learn()
        except Unanswered:
            return {}
        if self._slots is None:
            return {self._first: range(len(keys))}
        places: dict[Server, list[int]] = {}
        for place, key in enumerate(keys):
            places.setdefault(self._slots[slot_of(key)], []).append(place)
        return dict(places)

    def _learn(self) -> None:
        """Find out once what the first server is, and again which node has which slot if one was wrong or is lost."""
        if self._is_known and not self._is_stale:
            return
        with self._lock:
            if not self._is_known:
                self._look()
                self._is_known = True
            elif self._is_stale and self._clock() >= self._learned_at + _RELEARN_S:
                self._is_stale = False
                self._learned_at = self._clock()
                self._learn_slots(self.known())

    def _look(self) -> None:
        """Ask the first server whether it belongs to a cluster, and what it does when its memory is full."""
        if self._given:
            return self._learn_slots([])
        info = self._first.ask(_read_info)
        policy = str(info.get("maxmemory_policy", ""))
        if policy.startswith("allkeys-"):
            warn_caller(
                f"{self._first.name} evicts values when its memory is full (maxmemory-policy {policy}), so that each "
                "epoch finds few of the last one's: set maxmemory-policy noeviction"
            )
        if info.get("cluster_enabled"):
            self._learn_slots([self._first])

    def _learn_slots(self, servers: Sequence[Server]) -> None:
        """Ask one of the servers after another which node has which slot; raise Unanswered if none says."""
        if self._given:
            ranges = {(slot, slot): node for slot, node in self._given_slots().items()}
            return self._set_slots({slots: (node.host, node.port) for slots, node in ranges.items()})
        problem = Unanswered("no server is known")
        for server in servers:
            try:
                answer = server.ask(lambda client: client.execute_command("CLUSTER SLOTS"))
            except Unanswered as exc:
                problem = exc
                continue
            return self._set_slots(read_ranges(answer, server.name.rpartition(":")[0].strip("[]")))
        if self._slots is None:
            raise problem

    def _given_slots(self) -> dict[int, Any]:
        """Return the node of each slot, as a client for a cluster knows it; raise Unanswered."""
        try:
            return {slot: nodes[0] for slot, nodes in self._client.nodes_manager.slots_cache.items()}
        except Exception as exc:
            raise Unanswered(str(exc)) from None

    def _set_slots(self, ranges: dict[tuple[int, int], tuple[str, int]]) -> None:
        """Set who has which slots: from the first and the last of a range to host and port of its server."""
        slots = [self._first] * SLOTS
        by_name: dict[str, Server] = {}
        for (first, last), (host, port) in ranges.items():
            name = server_name(host, port)
            server = by_name.get(name) or self._by_name.get(name) or self._connect(name, host, port)
            by_name[name] = server
            slots[first : last + 1] = [server] * (last + 1 - first)
        self._slots, self._by_name = slots, by_name or self._by_name

    def _connect(self, name: str, host: str, port: int) -> Server:
        if self._given:
            client = self._client.get_redis_connection(self._client.get_node(host, port))
        else:
            client = connect_to_node(self._client, host, port)
            self._made.append(client)
        return Server(name, client, self._clock, self._is_own)

    def close(self, with_first: bool) -> None:
        """Close the connections, but those of the client that was given; another request opens new ones."""
        for client in [self._client] * with_first + self._made:
            client.close()


def _read_info(client: Any) -> dict[str, Any]:
    """Return what a server says of itself; nothing if this user may not ask."""
    try:
        return dict(client.info())
    except Exception as exc:
        if is_connection_fault(exc):
            raise
        return {}
