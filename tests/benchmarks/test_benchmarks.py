"""The benchmarks run, at their smallest sizes, and the READMEs show their results."""

from __future__ import annotations

import importlib.util
import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SMALLEST = {
    "decode": ["--rounds", "1"],
    "gpu": ["--device", "cpu", "--mb", "2", "--batch", "8", "--epochs", "2"],
    "epochs": ["--mb", "2", "--all", "--cases", "warm", "--loaders", "DataLoader", "bytecache ImageDataset"],
    "hit": ["--rounds", "1"],
    "hosts_scale": ["--items", "512", "--hosts", "2", "8", "--epochs", "3"],
    "http_client": ["--files", "40", "--rounds", "1"],
    "hit_rate": ["--items", "200"],
    "mixed_files": ["--files", "10", "--rounds", "1", "--latency-ms", "0"],
    "placement": ["--items", "20", "--epochs", "2", "--read-ms", "0.1", "--budgets", "0.5"],
    "memory": ["--values", "500", "--maxbytes", "2 MB"],
    "remote": ["--rounds", "1", "--values", "20"],
    "remote_faults": ["--images", "200", "--step-ms", "0", "--bit-flips", "128", "--faults", "killed"],
    "scale": ["--entries", "1000"],
    "shared": ["--values", "100", "--rounds", "1", "--stores", "10"],
    "shared_memory": ["--values", "100"],
    "threads": ["--rounds", "1", "--images", "64"],
    "workers": ["--items", "20", "--epochs", "2"],
}
NEEDS_TORCH = ("epochs", "gpu", "http_client", "threads", "workers")
PATIENCE_S = 300
REMOTE = [
    "--mb",
    "2",
    "--cases",
    "http",
    "http-5",
    "--loaders",
    "fill_once(shared",
    "simplejpeg, our resizer and reader",
]
WHY_NOT = "from benchmarks.workloads import http_server; print(http_server.why_not(latency_ms=5))"
UNMEASURED = """
from benchmarks import publish
for table in ("epochs-2gb.tomorrow", "yesterday.best"):
    print(publish.filled(f"<!-- table {table} -->\\n<!-- end -->", {}))
"""
DRAW = """
import json, sys
from pathlib import Path
from benchmarks import publish
publish.draw(sys.argv[1], json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[3]))
"""
FILL = """
import importlib.util, sys
from pathlib import Path
from benchmarks.peers.entry_caches import CONTENDERS, key_of, read
keys = [key_of(number) for number in range(100)]
for name, contender in CONTENDERS.items():
    if importlib.util.find_spec(contender.package):
        folder = Path(sys.argv[1], name)
        folder.mkdir()
        cache = contender.open(folder, len(keys))
        cache.store(keys[0])
        if cache.fill:
            cache.fill(keys[1:])
            assert cache.entries() == len(keys), name
            assert [cache.hit(key) for key in keys] == [read(key) for key in keys], name
            print(name)
"""


def python(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run Python in the root of the project."""
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)


def needs_server() -> None:
    """Skip a test that reads files over HTTP if there is no client or no server."""
    pytest.importorskip("pycurl", reason="reading over HTTP needs pycurl")
    if why := python("-c", WHY_NOT).stdout.strip():
        pytest.skip(why)


@pytest.mark.parametrize("script", SMALLEST)
def test_a_script_runs(script: str, tmp_path: Path) -> None:
    """A script prints its tables and writes its measurements, even if peers are not installed."""
    pytest.importorskip("PIL", reason="the benchmarks' images need Pillow")
    if script in NEEDS_TORCH:
        pytest.importorskip("torch", reason=f"benchmarks.{script} needs torch")
    if script in ("http_client", "mixed_files"):
        needs_server()
    out = tmp_path / "report.json"
    run = python("-m", f"benchmarks.{script}", *SMALLEST[script], "--json", out)
    assert run.returncode == 0, run.stderr
    assert "nan" not in run.stdout
    report = json.loads(out.read_text(encoding="utf-8"))
    assert report["about"]["python"] == platform.python_version()
    if script == "remote_faults" and not report["no_server"]:
        assert_right(report)
    if importlib.util.find_spec("matplotlib"):
        drawn = python("-c", DRAW, script, out, tmp_path)
        assert drawn.returncode == 0, drawn.stderr
        assert (tmp_path / f"{script}.png").exists()


def assert_right(report: Any) -> None:
    """Raise AssertionError if a server that was killed in an epoch, or a flipped bit, has made a value wrong."""
    for fault, misses in (("none", 0), ("killed", 136)):
        epoch = report["faults"][fault]
        assert (epoch["wrong"], epoch["errors"], epoch["misses"], epoch["hits"]) == (0, 0, misses, 200 - misses)
    assert report["flips"] == {"missing": 128, "right": 0, "wrong": 0}


def test_loaders_run_over_http(tmp_path: Path) -> None:
    """Ours and others read from nginx, with and without latency, and the bytes that it sends are counted."""
    for package in ("PIL", "torch"):
        pytest.importorskip(package, reason=f"benchmarks.epochs needs {package}")
    needs_server()
    out = tmp_path / "report.json"
    run = python("-m", "benchmarks.epochs", *REMOTE, "--json", out)
    assert run.returncode == 0, run.stderr
    report = json.loads(out.read_text(encoding="utf-8"))
    for case in ("http", "http-5"):
        runs = {run["loader"]: run for run in report["cases"][case]}
        assert [run["failed"] for run in runs.values() if "failed" in run] == []
        sent = {name: [epoch["storage_bytes"] for epoch in run["epochs"]] for name, run in runs.items()}
        assert sent["bytecache ImageDataset, fill_once(shared=True), 2 workers"] == [report["file_bytes"], 0]
        assert sent["DataLoader, simplejpeg, our resizer and reader"] == [report["file_bytes"]] * 2


def test_loaders_take_turns(tmp_path: Path) -> None:
    """Each round starts with another loader, and the tables say how far the rounds differ."""
    for package in ("PIL", "torch"):
        pytest.importorskip(package, reason=f"benchmarks.epochs needs {package}")
    out = tmp_path / "report.json"
    two = ["--loaders", "DataLoader, simplejpeg", "fill_once, decoded"]
    run = python("-m", "benchmarks.epochs", "--mb", "2", "--cases", "warm", "--rounds", "2", *two, "--json", out)
    assert run.returncode == 0, run.stderr
    order = [one["loader"] for one in json.loads(out.read_text(encoding="utf-8"))["cases"]["warm"]]
    first, second = order[: len(order) // 2], order[len(order) // 2 :]
    assert len(first) >= 2 and second == first[1:] + first[:1]
    rows = [line for line in run.stdout.splitlines() if line.startswith(tuple(f"{name} " for name in first))]
    assert len(rows) == len(first) and all(" to " in row for row in rows)
    assert "epoch 2, 2 rounds" in run.stdout


def test_the_readmes_say_what_was_measured() -> None:
    """Each table is made from benchmarks/results, and each result has its table."""
    checked = python("-m", "benchmarks.publish", "--check")
    assert checked.returncode == 0, checked.stderr


def test_a_table_that_has_not_been_measured_says_so() -> None:
    """A README may refer to a table before its script has run, but to no script that is not there."""
    run = python("-c", UNMEASURED)
    assert "tomorrow: not measured yet, see `python -m benchmarks.epochs --help`" in run.stdout
    assert "No module named 'benchmarks.yesterday'" in run.stderr


def test_entry_caches_store_in_bulk(tmp_path: Path) -> None:
    """`fill` stores a value under each key; benchmarks.scale uses it only at larger sizes than the smallest."""
    run = python("-c", FILL, tmp_path)
    assert run.returncode == 0, run.stderr
    assert "SharedStore" in run.stdout
