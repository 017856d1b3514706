"""The fish-count trainer in PyTorch under torchrun on two hosts, network namespaces here, over one cluster."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

for package in ("torch", "PIL", "matplotlib"):
    pytest.importorskip(package, reason=f"the trainer needs {package}")
pytest.importorskip("bytecache.http", reason="the storage is read by HttpReader", exc_type=ImportError)
pytest.importorskip("redis", minversion="8.0", reason="the extra redis")

from benchmarks.harness import network  # noqa: E402
from benchmarks.workloads import redis_server  # noqa: E402

ROOT = Path(__file__).parents[2]
TRAINING, VALIDATION = 48, 6  # of the sixty images
FRESH = {name: value for name, value in os.environ.items() if name != "BYTECACHE_RUN"} | {
    "OMP_NUM_THREADS": "1",
    "GLOO_SOCKET_IFNAME": network.DEVICE,
}
Rows = list[dict[str, str]]


@pytest.fixture(scope="module")
def hosts() -> Iterator[list[network.Host]]:
    """Three hosts: two that train, and one that only keeps values."""
    if why := network.why_not():
        pytest.skip(why)
    with network.hosts(3) as made:
        yield made


def train(hosts: Sequence[network.Host], data: Path, out: Path, *options: object) -> Rows:
    """Train for two epochs, a rank on each host, and return the rows of history.csv."""
    shared = ["train_torch", "--data", data, "--out", out, "--epochs", 2, "--batch-size", 8, *options]
    with ExitStack() as stack:
        nodes = []
        for number, host in enumerate(hosts):
            launcher = [f"--nnodes={len(hosts)}", "--nproc-per-node=1", f"--node-rank={number}"]
            launcher += [f"--master-addr={hosts[0].address}", "--master-port=29500", "-m"]
            command = [sys.executable, "-m", "torch.distributed.run", *launcher, "integrations.fish_count"]
            stack.enter_context(host.entered())
            nodes.append(stack.enter_context(start([*command, *map(str, shared)])))
        outputs = [node.communicate(timeout=300) for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], outputs
    assert "Traceback" not in str(outputs)
    return list(csv.DictReader((out / "history.csv").read_text().splitlines()))


def start(command: Sequence[str]) -> subprocess.Popen[str]:
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=ROOT, env=FRESH, **pipes)


def columns(rows: Rows, *names: str) -> list[tuple[str, ...]]:
    """Return these columns as they were written: equal only if every bit is."""
    return [tuple(row[name] for name in names) for row in rows]


def test_two_hosts_read_each_file_once_and_train_as_without_a_cache(
    hosts: list[network.Host], data: Path, tmp_path: Path
) -> None:
    """Their storage counts one request for each file in the whole job; the losses are equal to the last bit."""
    with redis_server.redis_servers(hosts) as nodes:
        options = "--remote", nodes[0].url, "--maxbytes", "25% of data", "--latency-ms", 1
        cached = train(hosts[:2], data, tmp_path / "cached", *options)
    uncached = train(hosts[:2], data, tmp_path / "uncached", "--cache", "none")
    assert columns(cached, "misses", "hit_rate") == [(str(TRAINING), "0.0"), ("0", "1.0")]
    assert columns(uncached, "misses", "hit_rate") == [(str(TRAINING), "0.0")] * 2
    names = "loss", "mae", "val_loss", "val_mae"
    assert columns(cached, *names) == columns(uncached, *names)
    summary = json.loads((tmp_path / "cached" / "summary.json").read_text())
    assert summary["storage"]["requests"] == TRAINING + 2 * VALIDATION
    assert sum(summary["tier_hits"].values()) == TRAINING
    of_hosts = [summary["cache_stats"], *summary["other_hosts"]]
    assert [stats["misses"] for stats in of_hosts] == [TRAINING // 2] * 2
