"""Decoding a batch of files of equal size on two threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.peers.decoders import CONTENDERS, make_decoder
from benchmarks.workloads.decode_tasks import DecodeTask, expected_images
from benchmarks.workloads.images import make_jpegs

BATCH = 32


@pytest.mark.parametrize("name", CONTENDERS)
@pytest.mark.benchmark(group=f"batch of {BATCH} of 256×256, two threads")
def test_batch(benchmark: Any, name: str) -> None:
    """The images are those of the files, in order."""
    task = DecodeTask(make_jpegs(BATCH, 256, 256), BATCH)
    decode = make_decoder(name, task).two
    np.testing.assert_array_equal(benchmark(lambda: next(iter(decode()))), np.stack(expected_images(task)))
