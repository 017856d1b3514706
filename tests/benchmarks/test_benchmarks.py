"""The benchmarks run, on the smallest sizes, and what the READMEs say is what they have measured."""

from __future__ import annotations

import importlib.util
import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALLEST = {
    "decode": ["--rounds", "1"],
    "gpu": ["--device", "cpu", "--mb", "2", "--batch", "8", "--epochs", "2"],
    "epochs": ["--mb", "2", "--all", "--cases", "warm", "--loaders", "DataLoader", "bytecache ImageDataset"],
    "hit": ["--rounds", "1"],
    "hit_rate": ["--items", "200"],
    "memory": ["--values", "500", "--maxbytes", "2 MB"],
    "scale": ["--entries", "1000"],
    "shared": ["--values", "100", "--rounds", "1", "--stores", "10"],
    "shared_memory": ["--values", "100"],
    "threads": ["--rounds", "1", "--images", "64"],
    "workers": ["--items", "20", "--epochs", "2"],
}
NEEDS_TORCH = ("epochs", "gpu", "threads", "workers")
PATIENCE_S = 300
DRAW = """
import json, sys
from pathlib import Path
from benchmarks import publish
publish.draw(sys.argv[1], json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[3]))
"""


def python(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs Python at the top of the project."""
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)


@pytest.mark.parametrize("script", SMALLEST)
def test_a_script_runs(script: str, tmp_path: Path) -> None:
    """It prints its tables and writes the figures they are made of; a peer that is not installed does not stop it."""
    pytest.importorskip("PIL", reason="the benchmarks' pictures need Pillow")
    if script in NEEDS_TORCH:
        pytest.importorskip("torch", reason=f"benchmarks.{script} needs torch")
    out = tmp_path / "figures.json"
    ended = python("-m", f"benchmarks.{script}", *SMALLEST[script], "--json", out)
    assert ended.returncode == 0, ended.stderr
    assert "nan" not in ended.stdout
    assert json.loads(out.read_text(encoding="utf-8"))["about"]["python"] == platform.python_version()
    if importlib.util.find_spec("matplotlib"):
        drawn = python("-c", DRAW, script, out, tmp_path)
        assert drawn.returncode == 0, drawn.stderr
        assert (tmp_path / f"{script}.png").exists()


def test_the_readmes_say_what_was_measured() -> None:
    """Each table is made of the figures in benchmarks/results, and all of these are shown."""
    checked = python("-m", "benchmarks.publish", "--check")
    assert checked.returncode == 0, checked.stderr
