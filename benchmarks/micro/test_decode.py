"""Decoding one file on one thread."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.peers.decoders import CONTENDERS, way
from benchmarks.workloads.decode_tasks import Work, right_pictures
from benchmarks.workloads.images import make_jpegs


@pytest.mark.parametrize("name", CONTENDERS)
@pytest.mark.parametrize(("height", "width"), [(256, 256), (375, 500)])
def test_decode(benchmark: Any, name: str, height: int, width: int) -> None:
    """The picture is the one that is in the file."""
    benchmark.group = f"decode {width}×{height}"
    work = Work(make_jpegs(1, height, width), batch=1)
    decode = way(name, work).one
    np.testing.assert_array_equal(benchmark(lambda: next(iter(decode()))), right_pictures(work)[0])
