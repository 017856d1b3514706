"""Hits on values of 8 KB in caches that processes can share, and reads of their files, a hundred in a loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.peers.shared_caches import CONTENDERS, check, open_filled
from benchmarks.workloads.files import MEMORY, VALUE_BYTES, make_files, scratch

HITS = 100


@pytest.mark.parametrize("name", CONTENDERS)
@pytest.mark.benchmark(group=f"{HITS} hits on values of 8 KB")
def test_shared_hit(benchmark: Any, name: str, tmp_path: Path) -> None:
    """Every value is the content of its file."""
    paths = make_files(tmp_path, HITS)
    with scratch(MEMORY) as folder:
        read = open_filled(name, folder, paths)
        values = benchmark(lambda: [read(path) for path in paths])
        assert [len(value) for value in values] == [VALUE_BYTES] * HITS
        check(name, read, paths)
