"""The first batches of a pass, which Keras requests twice."""

from __future__ import annotations

from .batches import Batch
from .targets import copied

_N = 2  # as many as Keras takes to find out shapes and dtypes


class FirstBatches:
    """A keeper of the first batches of a pass, should it start over.

    Keras requests one or two to find out shapes and dtypes, and then starts the pass. Made again, they would count as
    hits in the first epoch, and their files be read twice if the cache is full. Safe for threads.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[int, int], Batch] = {}

    def keep(self, epoch: int, position: int, batch: Batch) -> None:
        """Keep a copy of the batch if it is one of the first; none is kept any more once a later one comes."""
        if position == 0 or position >= _N:
            self._kept = {}
        if position < _N:
            self._kept[epoch, position] = batch._replace(
                images=copied(batch.images), targets=copied(batch.targets), weights=copied(batch.weights)
            )

    def take(self, epoch: int, position: int) -> Batch | None:
        """Return the batch if it is kept, and keep it no more."""
        return self._kept.pop((epoch, position), None)
