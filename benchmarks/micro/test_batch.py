"""Decoding files of equal size into one array on two threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.peers.decoders import CONTENDERS, way
from benchmarks.workloads.decode_tasks import Work, right_pictures
from benchmarks.workloads.images import make_jpegs

BATCH = 32


@pytest.mark.parametrize("name", CONTENDERS)
@pytest.mark.benchmark(group=f"batch of {BATCH} of 256×256, two threads")
def test_batch(benchmark: Any, name: str) -> None:
    """All pictures are the ones that are in the files, in their order."""
    work = Work(make_jpegs(BATCH, 256, 256), BATCH)
    decode = way(name, work).two
    np.testing.assert_array_equal(benchmark(lambda: next(iter(decode()))), np.stack(right_pictures(work)))
