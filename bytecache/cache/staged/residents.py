"""What a staged cache keeps in this process's memory, and what of it makes room for what saves more."""

from __future__ import annotations

import struct
from collections.abc import Hashable, Sequence
from typing import TypeAlias

import numpy as np

from ...planning.cost_model import Floats
from ...planning.knapsack import Stages
from ...stores.memory import FillOncePartition
from .rule import Rule

Kept: TypeAlias = tuple[Floats, Stages]  # bytes after each stage, (items, stages), and the stage of each item
_FEWEST, _MOST = 64, 1 / 8  # of the items, and of their bytes, that may make room before the next rule


class Residents:
    """The sizes of the items that are kept, and those of them that are worth least. Safe for threads.

    levels: the partitions that keep items after each stage, which share one budget.
    """

    def __init__(self, levels: Sequence[FillOncePartition]) -> None:
        self._levels = levels
        self._format = struct.Struct(f"<{len(levels)}f")
        self._sizes: dict[Hashable, bytes] = {}  # after each stage, as floats of four bytes
        self._rule: Rule | None = None  # by which the victims were chosen
        # (level, key, bytes, seconds per byte that are asked for them); the last one is worth least.
        self._victims: list[tuple[int, Hashable, float, float]] = []

    def sizes_of(self, key: Hashable) -> Sequence[float] | None:
        """Return the bytes of an item after each stage, if it is kept."""
        packed = self._sizes.get(key)
        return None if packed is None else self._format.unpack(packed)

    def note(self, key: Hashable, sizes: Sequence[float]) -> None:
        """Take note of the bytes after each stage of an item that is kept."""
        self._sizes[key] = self._format.pack(*sizes)

    def kept(self) -> Kept:
        """Return the items that are kept."""
        return self._known()[1:]

    def _known(self) -> tuple[list[tuple[int, Hashable]], Floats, Stages]:
        """Return (stage, key) of the items that are kept, but for those that come or go just now, and as Kept."""
        items = [(n, key, self._sizes.get(key)) for n, level in enumerate(self._levels) for key in level.keys()]
        known = [(n, key, packed) for n, key, packed in items if packed is not None]
        sizes = np.frombuffer(b"".join([packed for *_, packed in known]), np.float32)
        stages = np.array([n for n, *_ in known], np.intp)
        return [(n, key) for n, key, _ in known], sizes.reshape(-1, len(self._levels)).astype(np.float64), stages

    def forget(self, key: Hashable) -> None:
        """Forget an item that is kept no more."""
        self._sizes.pop(key, None)

    def clear(self) -> None:
        """Forget all items."""
        self._sizes, self._victims = {}, []

    def has_room(self, nbytes: float, density: float, rule: Rule) -> bool:
        """Return whether so many bytes are free, or become free if what is worth less makes room.

        density: the seconds per byte that they would save by this rule.
        """
        free = self._levels[0].room
        if free >= nbytes:
            return True
        if rule is not self._rule:
            self._rule = rule
            self._choose_victims(rule)
        for level, key, size, asked in reversed(self._victims):
            if asked >= density:
                return False
            if key in self._levels[level]:
                free += size
            if free >= nbytes:
                return True
        return False

    def make_room(self, nbytes: float, keep: Hashable) -> None:
        """Evict what is worth least until so many bytes are free, if there is enough, but not the item `keep`."""
        while self._levels[0].room < nbytes:
            try:
                level, key, *_ = self._victims.pop()
            except IndexError:
                return
            if key != keep and self._levels[level].discard(key):
                self.forget(key)

    def _choose_victims(self, rule: Rule) -> None:
        items, sizes, stage = self._known()
        asked, taken = rule.asked_for_room(sizes, stage), sizes[np.arange(len(items)), stage]
        order = np.argsort(asked, kind="stable")
        count = max(_FEWEST, int(np.searchsorted(taken[order].cumsum(), _MOST * taken.sum())))
        chosen = order[:count][::-1].tolist()
        self._victims = [(*items[i], float(taken[i]), float(asked[i])) for i in chosen]
