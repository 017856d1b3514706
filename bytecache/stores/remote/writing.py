"""How values get onto the servers: room taken, a request for each server, and what did not fit given back."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from ..base import PutResult
from ..codec import BYTES, MEMORYVIEW, Encoded, decode, encode
from .connection import is_named
from .frame import OVERHEAD, make_frame
from .server import Unanswered

if TYPE_CHECKING:
    from .account import Binding
    from .partition import RemotePartition
    from .store import RemoteStore

_REFUSED_S = 1.0  # for which a value is not tried to store, if one that was not larger did not fit
_MOST_DAMAGED = 100_000  # whose keys are remembered, to be replaced


class Item(NamedTuple):
    """A value to be stored. name: its key on the server. nbytes: what it takes of the budget."""

    name: bytes
    value: Any
    encoded: Encoded
    nbytes: int


class Writer:
    """What stores the values of one partition. Safe for threads.

    With a limit one thread of a process stores at a time: so one that finds no room knows that no other thread has
    taken it for a value that will not be stored.
    """

    def __init__(self, partition: RemotePartition, store: RemoteStore) -> None:
        self._partition, self._account, self._store = partition, partition.account, store
        self._has_limit = store.maxbytes is not None or partition.maxsize is not None
        self._damaged: set[bytes] = set()  # the keys of entries to be replaced
        self.after_fork_in_child()

    def after_fork_in_child(self) -> None:
        """Take a lock that nobody has."""
        self._lock = threading.RLock()
        self._refused_bytes, self._refused_until, self._refused_in = sys.maxsize, 0.0, 0

    def note_damaged(self, names: Iterable[bytes]) -> None:
        """Have entries be replaced when their keys are stored again."""
        if len(self._damaged) < _MOST_DAMAGED:
            self._damaged.update(names)

    def note_removed(self, generation: int, size: int) -> None:
        """Give back the room of an entry of so many bytes that was removed."""
        self._refused_until = 0.0
        self._account.add(generation, -1, OVERHEAD - size)

    def put_all(self, items: Iterable[tuple[bytes, Any]], generation: int) -> list[PutResult | Exception]:
        """Do what Partition.put_many says."""
        results: list[Any] = []
        try:
            binding, accepted = self._account.bound(), list[Item]()
            for key, value in items:
                try:
                    accepted.append(_item(binding.prefix + key, value))
                    results.append(None)
                except Exception as exc:
                    results.append(exc)
            stored = self._store_all(binding, accepted, generation)
            number_stored, number_rejected = stored.count(True), stored.count(False)
            counters = self._account.counters
            with counters.lock:
                counters.stored += number_stored
                counters.rejected += number_rejected
            put = map(_result, accepted, stored)
            return [next(put) if result is None else result for result in results]
        finally:
            results.clear()  # an exception's traceback keeps this frame alive

    def _store_all(self, binding: Binding, items: Sequence[Item], generation: int) -> list[bool | None]:
        """Return for each item what PutResult.stored is."""
        if not binding.generation or binding.generation != generation:
            return [None if binding.generation else False] * len(items)
        stored: list[bool | None] = [False] * len(items)
        places = [place for place, item in enumerate(items) if self._may_fit(item, generation)]
        if places:
            with self._lock if self._has_limit else nullcontext():
                found = self._write([items[place] for place in places], generation)
            for place, was_stored in zip(places, found, strict=True):
                stored[place] = was_stored
        return stored

    def _may_fit(self, item: Item, generation: int) -> bool:
        if item.encoded.payload.nbytes > self._partition.largest:
            return False
        maxbytes = self._store.maxbytes
        if maxbytes is not None and item.nbytes > maxbytes:
            return False
        if generation != self._refused_in:  # a clear has made room
            return True
        return item.nbytes < self._refused_bytes or monotonic() >= self._refused_until

    def _write(self, items: list[Item], generation: int) -> list[bool | None]:
        """Store what there is room for; return for each True, False, or None if its key has a value by now."""
        stored: list[bool | None] = [False] * len(items)
        places: list[int] = list(range(len(items)))
        if self._has_limit:
            fits = self._reserve(items, generation)
            if fits is None:
                return [None] * len(items)
            places = [place for place in places if fits[place]]
            refused = [place for place in range(len(items)) if not fits[place]]
            coming = {items[place].name for place in places}
            for place, exists in zip(refused, self._exist([items[place] for place in refused]), strict=True):
                exists = exists or items[place].name in coming
                stored[place] = None if exists else False
                if not exists:
                    self._note_refused(items[place].nbytes, generation)
        written = self._set([items[place] for place in places])
        for place, was_stored in zip(places, written, strict=True):
            stored[place] = was_stored
        added = [items[place] for place in places if stored[place] is True and not self._replaces(items[place])]
        taken = [items[place] for place in places] if self._has_limit else []
        entries = len(added) - len(taken)
        nbytes = sum(item.nbytes for item in added) - sum(item.nbytes for item in taken)
        self._damaged.difference_update(items[place].name for place in places if stored[place])
        return self._settle(items, stored, generation, entries, nbytes)

    def _settle(
        self, items: list[Item], stored: list[bool | None], generation: int, entries: int, nbytes: int
    ) -> list[bool | None]:
        """Account for what was stored; remove it if the values were cleared meanwhile: nobody else would."""
        self._account.add(generation, entries, nbytes)
        if self._account.bound().generation in (0, generation):
            return stored
        names = [item.name for item, was_stored in zip(items, stored, strict=True) if was_stored]
        self._store.servers().ask_each(names, [("UNLINK", name) for name in names])
        return [None] * len(items)

    def _replaces(self, item: Item) -> bool:
        return item.name in self._damaged

    def _reserve(self, items: list[Item], generation: int) -> list[bool] | None:
        """Return for which there is room, which is taken; None if the generation is another one by now."""
        try:
            return self._account.reserve(generation, self._partition.maxsize, [item.nbytes for item in items])
        except Unanswered as exc:
            self._store.log_unanswered("no room could be taken for a value", exc)
            return [False] * len(items)

    def _exist(self, items: list[Item]) -> list[bool]:
        names = [item.name for item in items]
        return [
            answer == 1 for _, answer in self._store.servers().ask_each(names, [("EXISTS", name) for name in names])
        ]

    def _note_refused(self, nbytes: int, generation: int) -> None:
        """Take note that a value of this size has no room, and so none that is larger."""
        now = monotonic()
        counts = generation == self._refused_in and now < self._refused_until
        self._refused_bytes = min(nbytes, self._refused_bytes) if counts else nbytes
        self._refused_until, self._refused_in = now + _REFUSED_S, generation

    def _set(self, items: list[Item]) -> list[bool | None]:
        """Store the items; return for each True, None if its key has a value, or False."""
        servers = self._store.servers()
        stored: list[bool | None] = [False] * len(items)
        places = [place for place, item in enumerate(items) if not servers.is_full(item.name)]
        commands = []
        for place in places:
            item = items[place]
            frame = make_frame(item.name, item.encoded)
            commands.append(("SET", item.name, frame) if self._replaces(item) else ("SET", item.name, frame, "NX"))
        answers = servers.ask_each([items[place].name for place in places], commands)
        for place, (server, answer) in zip(places, answers, strict=True):
            if server is None or isinstance(answer, Exception):
                if server is not None and is_named(answer, "OutOfMemoryError"):
                    server.note_full()
                elif server is not None:
                    self._store.log_unanswered("a value was not stored", answer)
            else:
                stored[place] = True if answer else None
        return stored


def _item(name: bytes, value: Any) -> Item:
    encoded = encode(value)
    return Item(name, value, encoded, encoded.payload.nbytes + len(encoded.description))


def _result(item: Item, stored: bool | None) -> PutResult:
    """Return the value in the form in which hits return it, and apart from what the caller may change."""
    kind, payload, description = item.encoded
    if kind == BYTES:
        return PutResult(bytes(item.value), stored)
    if stored is False:
        return PutResult(payload.toreadonly() if kind == MEMORYVIEW else item.value, stored)
    return PutResult(decode(kind, memoryview(bytes(payload)), description), stored)
