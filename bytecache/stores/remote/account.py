"""What this process knows of one function's record on the server, and what it has to tell it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from ..base import Counts
from .counters import RemoteCounters
from .record import Record, Synced
from .server import Unanswered

if TYPE_CHECKING:
    from .store import RemoteStore

_POLL_S = 1.0


class Binding(NamedTuple):
    """One generation of a function's values. prefix: of its keys, before the digest. generation: 0 if not known."""

    generation: int
    prefix: bytes


class _Change:
    """Entries and bytes that were added to a generation, or removed. sent: whether a request has begun that says so."""

    __slots__ = ("entries", "generation", "nbytes", "sent")

    def __init__(self, generation: int, entries: int, nbytes: int) -> None:
        self.generation, self.entries, self.nbytes, self.sent = generation, entries, nbytes, False


class Account:
    """The generation that is valid, the counters of this process, and the record as it was last read.

    Safe for threads: one at a time talks to the server, and tells it what all have to tell.
    """

    def __init__(self, store: RemoteStore, function_id: bytes, name: str) -> None:
        self._store, self._function_id = store, function_id
        self._record = Record(store.namespace, function_id, name)
        self._unbound = Binding(0, b"")
        self._binding, self._synced_at = self._unbound, float("-inf")
        self.last = Synced(0, False, 0, 0, Counts(), 0)
        self._changes: deque[_Change] = deque()  # that were not sent, or did not arrive
        self.after_fork_in_child()

    def after_fork_in_child(self) -> None:
        """Count from zero, since the parent tells what it has counted, and take a lock that nobody has."""
        self._lock = threading.RLock()  # for the thread that talks to the server
        self.counters = RemoteCounters(self)
        self._changes.clear()
        self.unbind()

    def unbind(self) -> None:
        """Ask for the generation at the next call."""
        self._synced_at = float("-inf")

    @property
    def is_known(self) -> bool:
        """Whether the server has ever told the generation."""
        return self._binding.generation != 0

    def bound(self) -> Binding:
        """Return the generation of values that was valid a second ago, or is now."""
        if monotonic() - self._synced_at >= _POLL_S or not self.is_known:
            self._poll()
        return self._binding

    def _poll(self) -> None:
        # Whoever has nothing yet waits for the answer; others leave it to the thread that has asked.
        if self._lock.acquire(blocking=not self.is_known):
            try:
                if monotonic() - self._synced_at >= _POLL_S or not self.is_known:
                    self._sync_locked()
            finally:
                self._lock.release()

    def sync(self) -> Synced | None:
        """Tell the server what was counted and changed, and return the record; None if it does not answer."""
        with self._lock:
            return self._sync_locked()

    def add(self, generation: int, entries: int, nbytes: int) -> None:
        """Tell the server that so many entries and bytes were added to a generation, and learn which is valid now.

        Threads that come while another one talks to the server are spoken for by the next one of them. What does not
        arrive is told again later.
        """
        change = _Change(generation, entries, nbytes)
        self._changes.append(change)
        with self._lock:
            if not change.sent:
                self._sync_locked()

    def _sync_locked(self) -> Synced | None:
        self._synced_at = monotonic()  # also if it fails: the next attempt is a second later
        counters, known = self.counters, self._binding.generation
        changes = [self._changes.popleft() for _ in range(len(self._changes))]
        for change in changes:
            change.sent = True
        changes = [change for change in changes if change.generation == known]
        sums = sum(change.entries for change in changes), sum(change.nbytes for change in changes)
        unsent = counters.take_unsent()
        try:
            synced = self._record.sync(self._store.servers(), known, unsent, *sums)
        except Unanswered as exc:
            counters.give_back(unsent)
            self._changes.extendleft(changes)
            self._store.log_unanswered("the record of a function could not be read", exc)
            return None
        if synced.generation != known:
            self._rebind(synced)
        self._note(synced)
        return synced

    def _rebind(self, synced: Synced) -> None:
        """Go on with another generation: counting anew after a clear, or else with what was counted so far."""
        if synced.cleared and self.is_known:
            self.counters = RemoteCounters(self)
        self.counters.send_anew()
        prefix = self._store.namespace.entry_prefix(self._function_id, synced.generation)
        self._binding = Binding(synced.generation, prefix)

    def _note(self, synced: Synced) -> None:
        self.last = synced
        self._store.note_total(synced.total_bytes)

    def reserve(self, generation: int, maxsize: int | None, sizes: Sequence[int]) -> list[bool] | None:
        """Return for which of several values there is room, which is taken; see Record; raise Unanswered."""
        reserved = self._record.reserve(self._store.servers(), generation, self._store.maxbytes, maxsize, sizes)
        if reserved.fits is not None:
            self._note(self.last._replace(**reserved.totals()))
        return reserved.fits

    @property
    def has_unsent(self) -> bool:
        """Whether there is anything to tell the server, and it was ever asked."""
        return self.is_known and (self.counters.has_unsent or bool(self._changes))

    def flush(self) -> None:
        """Tell the server what was counted."""
        if self.has_unsent:
            self.sync()
