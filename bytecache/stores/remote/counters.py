"""Counters of one function in this process, and what of them was not yet added to those of all processes."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..base import Counts
from ..counters import MemoryCounters

if TYPE_CHECKING:
    from .account import Account

NAMES = (*Counts._fields[:-2], "load_ns", "lookup_ns")  # what a server adds up are whole numbers
_NOTHING = Counts()


class RemoteCounters(MemoryCounters):
    """Counts in this process's memory, exactly; "all" are those of the record on the server, with these added."""

    def __init__(self, account: Account) -> None:
        # A lock of its own: a writer takes it, for which a thread that has the partition's lock may wait.
        super().__init__(threading.RLock())
        self._account = account
        self._sent = _NOTHING  # what the record on the server has of these

    def snapshot(self, scope: str = "process") -> Counts:
        if scope == "all":
            self._account.sync()
            return self.of_all()
        return self.state().counts

    def of_all(self) -> Counts:
        """Return the counts of all processes as the record was last read, and what of this one it lacks."""
        unsent = zip(self.state().counts, self._sent, strict=True)
        return Counts._make(
            known + now - sent for known, (now, sent) in zip(self._account.last.counts, unsent, strict=True)
        )

    @property
    def has_unsent(self) -> bool:
        """Whether anything was counted since take_unsent."""
        return self.state().counts != self._sent

    def take_unsent(self) -> tuple[int, ...]:
        """Return what was counted since the last time, in the order of Counts, seconds in ns. One thread at a time."""
        counts = self.state().counts
        sent, self._sent = self._sent, counts
        return in_ns(Counts._make(now - then for now, then in zip(counts, sent, strict=True)))

    def give_back(self, unsent: tuple[int, ...]) -> None:
        """Undo take_unsent, for what did not reach the server."""
        self._sent = Counts._make(now - then for now, then in zip(self._sent, from_ns(unsent), strict=True))

    def send_anew(self) -> None:
        """Have all be sent again: the server has lost them."""
        self._sent = _NOTHING


def in_ns(counts: Counts) -> tuple[int, ...]:
    """Return counts as whole numbers, which have the names NAMES."""
    *numbers, load_s, lookup_s = counts
    return (*map(int, numbers), round(load_s * 1e9), round(lookup_s * 1e9))


def from_ns(numbers: Sequence[int]) -> Counts:
    """Return the counts of such numbers."""
    *counted, load_ns, lookup_ns = numbers
    return Counts._make((*counted, load_ns / 1e9, lookup_ns / 1e9))
