"""A count of skipped samples that all worker processes of torch share."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import get_worker_info

from .failures import log_skipped


class SkipCounter:
    """A counter of skipped samples, common to all worker processes; it logs each path once per process."""

    def __init__(self) -> None:
        # A slot for this process and one for each worker, so that none overwrites another's.
        self._counts = torch.zeros(1024, dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]
        self._logged: set[Any] = set()

    def record(self, skipped: list[tuple[Any, str]]) -> None:
        """Count samples, given as (path, reason), and log them."""
        worker = get_worker_info()
        self._counts[0 if worker is None else 1 + worker.id % 1023] += len(skipped)
        log_skipped(skipped, self._logged)

    def total(self) -> int:
        """Return how many times a sample was skipped, in all processes."""
        return int(self._counts.sum())
