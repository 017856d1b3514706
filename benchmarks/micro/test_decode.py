"""Decoding one file on one thread."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.peers.decoders import CONTENDERS, make_decoder
from benchmarks.workloads.decode_tasks import DecodeTask, expected_images
from benchmarks.workloads.images import make_jpegs


@pytest.mark.parametrize("name", CONTENDERS)
@pytest.mark.parametrize(("height", "width"), [(256, 256), (375, 500)])
def test_decode(benchmark: Any, name: str, height: int, width: int) -> None:
    """The image is that of the file."""
    benchmark.group = f"decode {width}×{height}"
    task = DecodeTask(make_jpegs(1, height, width), batch=1)
    decode = make_decoder(name, task).one
    np.testing.assert_array_equal(benchmark(lambda: next(iter(decode()))), expected_images(task)[0])
