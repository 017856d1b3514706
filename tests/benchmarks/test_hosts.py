"""Several hosts over one cluster, as benchmarks.hosts simulates them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("redis", minversion="8.0", reason="the extra redis")

from benchmarks import hosts  # noqa: E402
from benchmarks.workloads import redis_server  # noqa: E402

ROOT = Path(__file__).parents[2]
ITEMS = 1200


def test_own_memory_and_the_cluster_together_reach_the_bound(tmp_path: Path) -> None:
    """The storage counts one read of each item in the first epoch, and later what the bound leaves, within 0.02 N."""
    if why := redis_server.why_not():
        pytest.skip(why)
    out = tmp_path / "report.json"
    options = ["--items", ITEMS, "--value-bytes", 500, "--epochs", 6, "--ways", "both", "--json", out]
    command = [sys.executable, "-m", "benchmarks.hosts", *map(str, options)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr
    report = json.loads(out.read_text(encoding="utf-8"))
    assert [case["bound"] for case in report["cases"]] == [0.75, 1.0]
    for case in report["cases"]:
        reads = [epoch["storage_reads"] for epoch in case["epochs"]]
        assert reads == [sum(epoch["misses"]) for epoch in case["epochs"]]
        assert reads[0] == ITEMS
        steady = reads[hosts.WARMUP :]
        assert sum(steady) / len(steady) == pytest.approx(ITEMS * (1 - case["bound"]), abs=0.02 * ITEMS)
    if pytest.importorskip("matplotlib", reason="the plot needs matplotlib"):
        from matplotlib.figure import Figure

        hosts.plot(report, Figure(layout="constrained"))
