"""Traces of reads."""

from __future__ import annotations

import numpy as np


def shuffled_epochs(items: int, epochs: int, seed: int = 7) -> list[int]:
    """Return a trace in which every item comes once per epoch, each epoch in a fresh order."""
    rng = np.random.default_rng(seed)
    return [item for _ in range(epochs) for item in rng.permutation(items).tolist()]
