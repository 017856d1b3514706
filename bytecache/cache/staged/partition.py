"""A pipeline's values after each stage, as one partition to the cache."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, NamedTuple

from ...stores.base import Counters, Counts, Lease, Partition, PutResult, Snapshot, Store
from .pipeline import Run
from .residents import Kept
from .rule import Rule


class Usage(NamedTuple):
    """What a cache has done, in all processes, and has room for.

    reads: runs of the first stage. calls: all of them. again: runs that went on from a value of an earlier stage.
    stored, rejected: how many values were. used, left: bytes.
    """

    reads: int
    calls: int
    again: int
    stored: int
    rejected: int
    used: float
    left: float


class StagedPartition(Partition):
    """A partition for each stage, of which the last one answers look-ups. What is put is a Run.

    A call that goes on from a value of an earlier stage is a hit. makes_room: whether what is worth less makes room for
    what is worth more.
    """

    makes_room = False

    def __init__(self, levels: Sequence[Partition]) -> None:
        self.levels, self.last = levels, levels[-1]
        self.maxsize, self.lock = None, self.last.lock
        self.has_leases, self.locked_before_fork = self.last.has_leases, self.last.locked_before_fork

    @property
    def maxbytes(self) -> int | None:
        return self.last.maxbytes

    @property
    def currbytes(self) -> int | None:
        return sum(level.currbytes or 0 for level in self.levels)

    @property
    def counters(self) -> Counters:
        return self.last.counters

    @property
    def generation(self) -> int:
        return self.last.generation

    @property
    def full(self) -> bool:
        used = [level for level in self.levels if len(level)]
        return bool(used) and all(level.full for level in used)

    def __len__(self) -> int:
        return sum(map(len, self.levels))

    def __contains__(self, key: Any) -> bool:
        return any(key in level for level in self.levels)

    def why_nothing_fits(self) -> str:
        return self.last.why_nothing_fits()

    def get(self, key: Any, copy: bool = True) -> Any:
        return self.last.get(key, copy)

    def get_many(self, keys: Sequence[Any], copy: bool = True) -> list[Any]:
        return self.last.get_many(keys, copy)

    def put(self, key: Any, value: Run, generation: int) -> PutResult:
        (result,) = self.put_many([(key, value)], generation)
        if isinstance(result, Exception):
            raise result
        return result

    def put_many(self, items: Iterable[tuple[Any, Run]], generation: int) -> list[PutResult | Exception]:
        """Store each item after the stage that its Run says, and remove it after the one before."""
        runs = list(items)
        results: list[PutResult | Exception] = [PutResult(run.value, None) for _, run in runs]
        # Before the look at the generation: a clear changes that of the last one first.
        generations = [level.generation for level in self.levels]
        if self.last.generation != generation:
            return results
        rejected = [n for n, (_, run) in enumerate(runs) if run.stage < 0]
        for n in rejected:
            results[n] = PutResult(runs[n][1].value, False)
        if rejected:
            self.counters.reject(len(rejected))
        for stage, level in enumerate(self.levels):
            moved = [n for n, (_, run) in enumerate(runs) if run.stage == stage > run.at]
            if moved:
                put = self.put_level(stage, [runs[n] for n in moved], generations)
                for n, result in zip(moved, put, strict=True):
                    results[n] = self._result(level, runs[n][1], result)
        return results

    def _result(self, level: Partition, run: Run, result: PutResult | Exception) -> PutResult | Exception:
        if isinstance(result, Exception) or level is self.last:
            return result
        return PutResult(run.value, result.stored)

    def put_level(
        self, stage: int, runs: list[tuple[Any, Run]], generations: Sequence[int]
    ) -> list[PutResult | Exception]:
        """Store what is kept after one stage, and remove what it replaces. generations: of the levels."""
        results = self.levels[stage].put_many([(key, run.kept) for key, run in runs], generations[stage])
        for (key, run), result in zip(runs, results, strict=True):
            if run.at >= 0 and not isinstance(result, Exception) and result.stored:
                self.levels[run.at].discard(key)
        return results

    def has_room(self, nbytes: float, freed: float, density: float, rule: Rule) -> bool:
        """Return whether a value of so many bytes fits that saves so many seconds per byte by this rule.

        freed: the bytes of the value that it replaces.
        """
        raise NotImplementedError

    @property
    def left(self) -> float:
        """The bytes that are left of the budget."""
        raise NotImplementedError

    def usage(self) -> Usage:
        """Return what was done since the last clear, and how many bytes are used and left."""
        counts, _, used = self.snapshot("all")
        again = sum(level.snapshot("all").counts.hits for level in self.levels[:-1])
        calls = counts.hits + counts.misses
        return Usage(counts.misses, calls, again, counts.stored, counts.rejected, used or 0, self.left)

    def kept(self) -> Kept | None:
        """Return the bytes after each stage of what is kept, and the stage, if each item of it is known."""
        return None

    def discard(self, key: Any) -> bool:
        return any([level.discard(key) for level in self.levels])

    def keys(self) -> list[Hashable]:
        return [key for level in self.levels for key in level.keys()]

    def lease(self, key: Any, generation: int) -> Lease | None:
        return self.last.lease(key, generation)

    def snapshot(self, scope: str) -> Snapshot:
        *before, last = [level.snapshot(scope) for level in self.levels]
        again = sum(level.counts.hits for level in before)
        counts = Counts(
            hits=last.counts.hits + again,
            misses=last.counts.misses - again,
            errors=last.counts.errors,
            stored=sum(level.counts.stored for level in (*before, last)),
            rejected=sum(level.counts.rejected for level in (*before, last)),
            evicted=sum(level.counts.evicted for level in (*before, last)),
            load_s=last.counts.load_s,
        )
        levels = (*before, last)
        return Snapshot(counts, sum(level.currsize for level in levels), sum(level.currbytes or 0 for level in levels))

    def clear(self) -> None:
        for level in reversed(self.levels):
            level.clear()

    def after_fork_in_child(self) -> None:
        for level in self.levels:
            level.after_fork_in_child()
        self.lock = self.last.lock


class StagedStorePartition(StagedPartition):
    """The same in a store, where nothing is evicted, and what is replaced keeps its room until that begins anew."""

    def __init__(self, levels: Sequence[Partition], store: Store) -> None:
        super().__init__(levels)
        self._store = store

    def has_room(self, nbytes: float, freed: float, density: float, rule: Rule) -> bool:
        return nbytes <= self.left

    @property
    def left(self) -> float:
        most, used = self._store.maxbytes, self._store.currbytes
        return float("inf") if most is None or used is None else most - used
