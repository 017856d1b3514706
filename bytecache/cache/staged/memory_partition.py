"""A pipeline's values after each stage in this process's memory, as one partition to the cache."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from ...stores.base import MISSING, PutResult, Snapshot
from ...stores.memory import FillOncePartition
from .partition import StagedPartition
from .pipeline import Run
from .residents import Kept, Residents
from .rule import Rule


class StagedMemoryPartition(StagedPartition):
    """Partitions that share one budget: what is replaced gives its room back, and what is worth least makes room."""

    makes_room = True
    levels: Sequence[FillOncePartition]
    last: FillOncePartition

    def __init__(self, levels: Sequence[FillOncePartition], residents: Residents) -> None:
        super().__init__(levels)
        self._residents = residents

    @property
    def currbytes(self) -> int:  # not a sum, in which an item that moves meanwhile could count twice
        return int((self.last.maxbytes or 0) - self.left)

    def snapshot(self, scope: str) -> Snapshot:
        return super().snapshot(scope)._replace(currbytes=self.currbytes)

    def has_room(self, nbytes: float, freed: float, density: float, rule: Rule) -> bool:
        return self._residents.has_room(nbytes - freed, density, rule)

    @property
    def left(self) -> float:
        return self.levels[0].room

    def put_level(
        self, stage: int, runs: list[tuple[Any, Run]], generations: Sequence[int]
    ) -> list[PutResult | Exception]:
        results: list[PutResult | Exception] = []
        try:
            for key, run in runs:
                results.append(self._put_one(key, run, generations))
            return results.copy()
        finally:
            results.clear()  # an exception's traceback keeps this frame alive

    def _put_one(self, key: Hashable, run: Run, generations: Sequence[int]) -> PutResult | Exception:
        first = max(run.at, 0)
        sizes = self._residents.sizes_of(key) or [*run.sizes[:1] * first, *run.sizes]
        before, replaced = self.levels[run.at].entries.get(key, MISSING) if run.at >= 0 else MISSING, False
        grown = run.sizes[run.stage - first] - (run.sizes[0] if run.at >= 0 else 0.0)
        self._residents.make_room(grown, keep=key)
        if run.at >= 0:
            replaced = self.levels[run.at].discard(key)
        try:
            result = self.levels[run.stage].put(key, run.kept, generations[run.stage])
        except Exception as exc:
            self._residents.forget(key)
            return exc
        if replaced and not result.stored:  # others were faster to take the room
            result = PutResult(run.kept, self.levels[run.at].put(key, before, generations[run.at]).stored)
        if result.stored:
            self._residents.note(key, sizes)
        elif replaced:
            self._residents.forget(key)
        return result

    def kept(self) -> Kept:
        return self._residents.kept()

    def discard(self, key: Any) -> bool:
        self._residents.forget(key)
        return super().discard(key)

    def clear(self) -> None:
        super().clear()
        self._residents.clear()

    def after_fork_in_child(self) -> None:
        super().after_fork_in_child()
        for level in self.levels:
            level.use_lock(self.lock)
