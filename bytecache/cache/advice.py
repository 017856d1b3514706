"""One warning if a cache does not help, with the likely reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

from ..stores.base import MISSING, Partition, Snapshot
from ..system.caller import warn_caller
from ..system.threads import dataloader_worker
from .instances import is_of_instance

_SAMPLE, _AGAIN = 64, 16  # calls that are remembered; the fewest that must come again
# The types of arguments that calls are remembered by: no user's code runs, and nothing large is kept alive.
_PLAIN = frozenset({str, bytes, int, float, bool, type(None), type(PurePath()), type(Path())})
_len = len  # bound early: a user may cache builtins.len itself
_EVERY = 256  # misses, after which the counters are looked at
_MANY, _PASSES = 1000, 10  # misses without a hit that are suspicious: so many, and times the number of entries


class Advice:
    """What the misses of one function tell about its cache. Each kind of trouble is told once in a process.

    Nothing is known of passes over the data. But what was stored hits when it comes again: if the first calls all come
    again as misses, and no call has hit meanwhile, there was a pass that the cache did not help. And if it is full, and
    nothing hits in ten times as many misses as it has entries, it probably never does. Safe for threads as far as that
    matters: a call that is counted twice or not at all changes nothing.
    """

    def __init__(self, function: Callable[..., Any], partition: Partition) -> None:
        self._name = getattr(function, "__qualname__", None) or repr(function)
        self._partition = partition
        self.items = 0  # of a pass, if that is known
        self.told: set[str] = set()
        self._is_new = True  # in this process
        self._restart()

    def _restart(self, hits: int = 0) -> None:
        self._generation: Any = None  # asked for at the first look: a store that is not used yet is not opened
        self._calls: dict[Any, tuple[int, tuple[Any, ...]]] = {}  # the first calls -> the key's hash, the arguments
        self._again = self._misses = 0
        self._hits = hits  # when this was started

    def look(self, key: Any, args: tuple[Any, ...], kwds: dict[str, Any]) -> None:
        """Take note of a call that has run the function, and warn if it shows that the cache does not help."""
        self._misses = misses = self._misses + 1
        if self._generation is None or self._is_new:
            self._start()
        call: Any
        if not kwds and _len(args) == 1 and type(args[0]) is str:  # the common case, at less cost
            call = args[0]
        elif _PLAIN.issuperset(map(type, args)) and _PLAIN.issuperset(map(type, kwds.values())):
            call = (*map(type, args), *args, *kwds.items())
        else:
            call = MISSING
        calls = self._calls  # another thread may start anew at any time
        if call in calls:
            self._again += 1
            if self._again >= max(_AGAIN, _len(calls)):
                self._look_again(calls[call][0], key)
        elif _len(calls) < _SAMPLE and call is not MISSING:
            calls[call] = hash(key), args
        if not misses % _EVERY:
            self._look_if_full(key, args)

    def _start(self) -> None:
        if self._is_new:
            self._is_new = False
            self._look_at_process()
        if self._generation is None:
            self._generation = self._partition.generation

    def after_fork_in_child(self) -> None:
        """Look at the process anew."""
        self._is_new = True

    def _snapshot(self) -> Snapshot | None:
        """Return the partition's state; None, and start anew, if something has hit, or it was cleared."""
        snapshot = self._partition.snapshot("process")
        if self._generation == self._partition.generation and snapshot.counts.hits == self._hits:
            return snapshot
        self._restart(snapshot.counts.hits)
        return None

    def _look_again(self, stored_as: int, key: Any) -> None:
        snapshot = self._snapshot()
        if snapshot is None:
            return
        if stored_as != hash(key):
            self._tell("key", "the same arguments get another key each time (key=, or typed=, changes it)")
        elif snapshot.counts.evicted:
            self._tell("lru", "each value is evicted before it is asked for again: fill_once keeps what fits")
        elif snapshot.counts.rejected:
            self._tell("budget", self._why_none_is_found(snapshot))
        self._restart(snapshot.counts.hits)

    def _why_none_is_found(self, snapshot: Snapshot) -> str:
        if not snapshot.currsize:
            return self._partition.why_nothing_fits()
        return (
            f"it is full, and its {snapshot.currsize:,} values are not found under the keys of these calls: an earlier "
            "run has stored them under others (another folder or mount point, str for Path), or another process its "
            "own; cache_clear() empties it"
        )

    def _look_if_full(self, key: Any, args: tuple[Any, ...]) -> None:
        snapshot = self._snapshot()
        if snapshot is None or not snapshot.counts.rejected + snapshot.counts.evicted:
            return
        if not snapshot.currsize:
            self._tell("budget", self._partition.why_nothing_fits())
        elif self._misses >= max(_MANY, _PASSES * snapshot.currsize, 2 * self.items):
            if is_of_instance(key) and not self._partition.full:  # so nothing had to make room
                gone = "each instance is gone before its method is called again, and what was stored for it with it"
                self._tell("instances", f"{gone}: keep the instance, or give keep_alive=True, or key=")
                return
            changing = self._changing_argument(args)
            what = "no call has come again so far" if changing is None else f"argument {changing} changes in each call"
            self._tell("new", f"{what}; unless your data has more than {self._misses:,} items, its keys never repeat")

    def _changing_argument(self, args: tuple[Any, ...]) -> int | None:
        """Return the position, from 1, of the only argument in which this call differs from an earlier one."""
        if not _PLAIN.issuperset(map(type, args)):
            return None
        for _, earlier in list(self._calls.values()):
            if _len(earlier) == _len(args) > 1:
                differing = [i for i, (a, b) in enumerate(zip(earlier, args, strict=True), 1) if a is not b and a != b]
                if _len(differing) == 1:
                    return differing[0]
        return None

    def _look_at_process(self) -> None:
        worker = None if self._partition.has_leases else dataloader_worker()
        if worker is not None and worker.num_workers > 1 and worker.id == 0:
            remedy = 'fill_once(shared=True, maxbytes="...") gives them one'
            self._tell("workers", f"each of the {worker.num_workers} workers fills a cache of its own: {remedy}")

    def _tell(self, kind: str, reason: str) -> None:
        if reason and kind not in self.told:
            self.told.add(kind)
            warn_caller(f"the cache of {self._name} does not help: {reason}")
