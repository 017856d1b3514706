"""The record of one function on the server: its generation, its counters, its entries and bytes; and the budget.

The records of a namespace are in one slot of a cluster, so each change is one script, which the server runs alone.
"""

from __future__ import annotations

import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Sequence
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple

from ..base import Counts
from .counters import NAMES, from_ns
from .frame import FORMAT
from .server import Server, Unanswered
from .servers import Servers

_FIELDS = ("generation", "cleared", "entries", "bytes", *NAMES)
# "allow-oom": what is written here is small, and has to be right most of all when the server is full.
_SYNC = """#!lua flags=allow-oom
local record, total = KEYS[1], KEYS[2]
if redis.call('EXISTS', record) == 0 then
  redis.call('HSET', record, 'generation', ARGV[2], 'name', ARGV[3])
end
if redis.call('HGET', record, 'generation') == ARGV[1] then
  for i = 4, #ARGV, 2 do
    redis.call('HINCRBY', record, ARGV[i], ARGV[i + 1])
    if ARGV[i] == 'bytes' then redis.call('HINCRBY', total, 'bytes', ARGV[i + 1]) end
  end
end
local answer = redis.call('HMGET', record, FIELDS)
answer[#answer + 1] = redis.call('HGET', total, 'bytes')
return answer
""".replace("FIELDS", ", ".join(f"'{field}'" for field in _FIELDS))
_RESERVE = """#!lua flags=allow-oom
local record, total = KEYS[1], KEYS[2]
if redis.call('HGET', record, 'generation') ~= ARGV[1] then return {} end
local maxbytes, maxsize = tonumber(ARGV[2]), tonumber(ARGV[3])
local bytes = tonumber(redis.call('HGET', total, 'bytes') or '0')
local entries = tonumber(redis.call('HGET', record, 'entries') or '0')
local added, count, answer = 0, 0, {0, 0, 0}
for i = 4, #ARGV do
  local size = tonumber(ARGV[i])
  local fits = (maxbytes < 0 or bytes + added + size <= maxbytes) and (maxsize < 0 or entries + count < maxsize)
  if fits then added, count = added + size, count + 1 end
  answer[i] = fits and 1 or 0
end
answer[1] = redis.call('HINCRBY', record, 'entries', count)
answer[2] = redis.call('HINCRBY', record, 'bytes', added)
answer[3] = redis.call('HINCRBY', total, 'bytes', added)
return answer
"""
_CLEAR = """#!lua flags=allow-oom
local record, total = KEYS[1], KEYS[2]
if redis.call('EXISTS', record) == 0 then return 0 end
local name = redis.call('HGET', record, 'name') or ''
redis.call('HINCRBY', total, 'bytes', 0 - tonumber(redis.call('HGET', record, 'bytes') or '0'))
redis.call('DEL', record)
redis.call('HSET', record, 'generation', ARGV[1], 'cleared', 1, 'name', name)
return 1
"""


class Synced(NamedTuple):
    """A function's record. cleared: whether its generation began with a clear. total_bytes: of all functions."""

    generation: int
    cleared: bool
    entries: int
    nbytes: int
    counts: Counts
    total_bytes: int


class Reserved(NamedTuple):
    """For which values there was room, which is taken now; None if the generation has changed. The rest as above."""

    fits: list[bool] | None
    entries: int
    nbytes: int
    total_bytes: int

    def totals(self) -> dict[str, Any]:
        """Return what a record has of these."""
        return {"entries": self.entries, "nbytes": self.nbytes, "total_bytes": self.total_bytes}


class Namespace:
    """The keys of one namespace: entries, records, and the record of the budget."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.total = f"{{{name}:{FORMAT}}}".encode()

    def record(self, function_id: bytes) -> bytes:
        """Return the key of a function's record."""
        return self.total + b":" + _text(function_id)

    def function_id(self, record: bytes) -> bytes:
        """Return the function of which this is the record's key."""
        return urlsafe_b64decode(record.rpartition(b":")[2] + b"==")

    def entries(self, function_id: bytes | None = None) -> bytes:
        """Return the prefix of the entries, and leases, of a function or of all."""
        prefix = f"{self.name}:{FORMAT}:".encode()
        return prefix if function_id is None else prefix + _text(function_id) + b":"

    def entry_prefix(self, function_id: bytes, generation: int) -> bytes:
        """Return what stands before the digest in the key of an entry."""
        return self.entries(function_id) + _text(generation.to_bytes(8, "big")) + b":"


class Record:
    """One function's record; each method is one request, and raises Unanswered."""

    def __init__(self, namespace: Namespace, function_id: bytes, name: str) -> None:
        self._keys = namespace.record(function_id), namespace.total
        self._name = name

    def sync(
        self, servers: Servers, generation: int, counted: Sequence[int], entries: int = 0, nbytes: int = 0
    ) -> Synced:
        """Add what was counted, in the order of Counts, if the generation is still this one; return the record."""
        deltas: list[Any] = []
        for field, number in zip((*NAMES, "entries", "bytes"), (*counted, entries, nbytes), strict=True):
            if number:
                deltas += field, number
        answer = self._run(servers, _SYNC, generation, new_generation(), self._name, *deltas)
        numbers = [int(number or 0) for number in answer]
        generation, cleared, entries, nbytes, *counts, total_bytes = numbers
        return Synced(generation, cleared > 0, entries, nbytes, from_ns(counts), total_bytes)

    def reserve(
        self, servers: Servers, generation: int, maxbytes: int | None, maxsize: int | None, sizes: Sequence[int]
    ) -> Reserved:
        """Take room for those of several values that fit, in order."""
        limits = (-1 if limit is None else limit for limit in (maxbytes, maxsize))
        answer = self._run(servers, _RESERVE, generation, *limits, *sizes)
        if not answer:
            return Reserved(None, 0, 0, 0)
        return Reserved([fits == 1 for fits in answer[3:]], *answer[:3])

    def clear(self, servers: Servers) -> None:
        """Begin another generation, with all numbers at zero; do nothing if there is no record."""
        self._run(servers, _CLEAR, new_generation())

    def _run(self, servers: Servers, script: str, *arguments: Any) -> Any:
        started = perf_counter()
        answer = servers.ask(self._keys[0], lambda client: client.eval(script, 2, *self._keys, *arguments))
        servers.note_request(perf_counter() - started)
        return answer


def new_generation() -> int:
    """Return a number that no other process chooses, nor this one again."""
    return time.time_ns() >> 16 << 16 | secrets.randbits(16)


def clear_function(servers: Servers, namespace: Namespace, function_id: bytes) -> None:
    """Begin another generation of a function for all processes, then remove what was stored; raise Unanswered."""
    Record(namespace, function_id, "").clear(servers)
    remove_entries(servers, namespace.entries(function_id))


def records_of(servers: Servers, namespace: Namespace) -> list[bytes]:
    """Return the keys of the records of all functions; raise Unanswered."""
    return [key for keys in scan(servers.of(namespace.total), namespace.total + b":*") for key in keys]


def remove_entries(servers: Servers, prefix: bytes) -> None:
    """Remove what is stored under all keys with this prefix, on each server; raise Unanswered if one does not answer.

    Takes time in proportion to all keys of the servers, a thousand at a time.
    """
    problem: Unanswered | None = None
    for server in servers.all():
        try:
            for keys in scan(server, prefix + b"*"):
                server.ask_each([("UNLINK", key) for key in keys])
        except Unanswered as exc:
            problem = exc
    if problem is not None:
        raise problem


def scan(server: Server, pattern: bytes) -> Iterator[list[bytes]]:
    """Yield the keys of a server that match, some at a time; raise Unanswered."""
    cursor, begun = 0, False
    while cursor or not begun:
        found = server.ask(partial(_scan, cursor=cursor, pattern=pattern))
        (cursor, keys), begun = found, True
        yield list(keys)


def _scan(client: Any, cursor: int, pattern: bytes) -> Any:
    return client.scan(cursor, match=pattern, count=1000)


def _text(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")
