"""The table of slots that leads from a key's hash to the number of its entry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def capacity(bits: int) -> int:
    """Return how many entries a table of 2**bits slots is for."""
    return 1 << (bits - 1)  # half of the slots stay empty, so that a search looks at few


def table_path(stem: Path, bits: int) -> Path:
    """Return the file of a table of 2**bits slots."""
    return Path(f"{stem}.slots{bits}")


def build_table(hashes: np.ndarray[Any, np.dtype[np.uint64]], bits: int) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """Return the table of all entries: each in the slot of its hash or the next free one, all at once, in rounds."""
    mask = (1 << bits) - 1
    table = np.zeros(mask + 1, np.uint32)
    numbers = np.arange(1, len(hashes) + 1, dtype=np.uint32)
    slots = (hashes & np.uint64(mask)).astype(np.int64)
    while len(numbers):
        free = table[slots] == 0
        table[slots[free]] = numbers[free]  # of several for one slot the last one stays: the latest version of a key
        unplaced = table[slots] != numbers
        numbers, slots = numbers[unplaced], (slots[unplaced] + 1) & mask
    return table
