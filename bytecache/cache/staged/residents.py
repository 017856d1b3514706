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


class Residents:
    """The sizes of the items that are kept, and those of them that are worth least. Safe for threads.

    levels: the partitions that keep items after each stage, which share one budget.
    """

    def __init__(self, levels: Sequence[FillOncePartition]) -> None:
        self._levels = levels
        self._format = struct.Struct(f"<{len(levels)}f")
        self._sizes: dict[Hashable, bytes] = {}  # after each stage, as floats of four bytes
        self._rule: Rule | None = None  # by which the victims were chosen
        self._victims: list[tuple[int, Hashable, float]] = []  # (level, key, bytes); the last is worth least
        self._victims_bytes = 0.0

    def sizes_of(self, key: Hashable) -> Sequence[float] | None:
        """Return the bytes of an item after each stage, if it is kept."""
        packed = self._sizes.get(key)
        return None if packed is None else self._format.unpack(packed)

    def note(self, key: Hashable, sizes: Sequence[float]) -> None:
        """Take note of the bytes after each stage of an item that is kept."""
        self._sizes[key] = self._format.pack(*sizes)

    def kept(self) -> Kept:
        """Return the items that are kept."""
        items = [(n, self._sizes.get(key)) for n, level in enumerate(self._levels) for key in level.keys()]
        known = [(n, packed) for n, packed in items if packed is not None]  # not those that come or go just now
        sizes = np.frombuffer(b"".join([packed for _, packed in known]), np.float32)
        return sizes.reshape(-1, len(self._levels)).astype(np.float64), np.array([n for n, _ in known], np.intp)

    def forget(self, key: Hashable) -> None:
        """Forget an item that is kept no more."""
        self._sizes.pop(key, None)

    def clear(self) -> None:
        """Forget all items."""
        self._sizes, self._victims, self._victims_bytes = {}, [], 0.0

    def has_room(self, nbytes: float, rule: Rule) -> bool:
        """Return whether so many bytes are free, or become free if those make room that the rule wants to."""
        free = self._levels[0].room
        if free >= nbytes:
            return True
        if rule is not self._rule:
            self._rule = rule
            self._choose_victims(rule)
        return free + self._victims_bytes >= nbytes

    def make_room(self, nbytes: float, keep: Hashable) -> None:
        """Evict what is worth least until so many bytes are free, if there is enough, but not the item `keep`."""
        while self._levels[0].room < nbytes:
            try:
                level, key, size = self._victims.pop()
            except IndexError:
                return
            self._victims_bytes -= size
            if key != keep and self._levels[level].discard(key):
                self.forget(key)

    def _choose_victims(self, rule: Rule) -> None:
        items = [(n, key) for n, level in enumerate(self._levels) for key in level.keys()]
        unknown = self._format.pack(*[0.0] * len(self._levels))  # being stored or removed: worth nothing yet
        packed = b"".join([self._sizes.get(key, unknown) for _, key in items])
        sizes = np.frombuffer(packed, np.float32).reshape(-1, len(self._levels)).astype(np.float64)
        stage = np.array([n for n, _ in items], np.intp)
        chosen = rule.worth_least(sizes, stage) if items else []
        self._victims = [(*items[i], float(sizes[i, stage[i]])) for i in chosen]
        self._victims_bytes = sum(size for *_, size in self._victims)
