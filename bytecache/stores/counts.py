"""What is counted of one function's calls and values, and what counts it; a part of the contract in base."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple


class Counts(NamedTuple):
    """What happened to one function's calls; see :class:`bytecache.CacheStats` for the meaning of each counter."""

    hits: int = 0
    misses: int = 0
    errors: int = 0
    stored: int = 0
    rejected: int = 0
    evicted: int = 0
    load_s: float = 0.0
    lookup_s: float = 0.0

    @property
    def hit_rate(self) -> float:
        """Hits per call, 0.0 without calls."""
        calls = self.hits + self.misses
        return self.hits / calls if calls else 0.0


class Snapshot(NamedTuple):
    """The state of a partition at one moment: its counts, its entries, and their bytes (None: not measured)."""

    counts: Counts
    currsize: int
    currbytes: int | None


class Counters(ABC):
    """Counts the calls of one function; safe for threads, and re-entrant for signal handlers.

    The cache counts misses, loads, and the calls that another one answered. A partition counts what it finds, stores,
    rejects and evicts.
    """

    @abstractmethod
    def hit(self, n: int = 1) -> None:
        """Count calls that were answered without running the function; n < 0: look-ups were not for a call."""

    @abstractmethod
    def miss(self, n: int = 1) -> None:
        """Count calls that run the function, or have it run for several of them."""

    @abstractmethod
    def reject(self, n: int = 1) -> None:
        """Count values that were not stored, by somebody who decides that instead of the partition."""

    @abstractmethod
    def load(self, seconds: float, errors: int = 0) -> None:
        """Count a run of the function that has ended, with an exception for so many of the calls it was for."""

    def lookup(self, seconds: float) -> None:  # noqa: B027
        """Count the time of a look-up, for one key or several; only what takes long, behind a network, is counted."""

    @abstractmethod
    def snapshot(self, scope: str) -> Counts:
        """Return the counts of this process ("process"), or of all that share the partition ("all")."""
