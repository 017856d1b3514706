"""The benchmarks run, on the smallest sizes, and what the READMEs say is what they have measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import publish
from benchmarks._report import RESULTS

ROOT = Path(__file__).parents[1]
SMALLEST = {
    "decode": ["--rounds", "1"],
    "epochs": ["--mb", "2", "--all", "--cases", "warm", "--loaders", "DataLoader", "bytecache ImageDataset"],
    "hit": ["--rounds", "1"],
    "hit_rate": ["--items", "200"],
    "memory": ["--values", "500", "--maxbytes", "2 MB"],
    "scale": ["--entries", "1000"],
    "shared": ["--values", "100", "--rounds", "1", "--stores", "10"],
    "shared_memory": ["--values", "100"],
    "workers": ["--items", "20", "--epochs", "2"],
}
NEEDS = {"epochs": "torch", "workers": "torch"}


@pytest.mark.parametrize("script", SMALLEST)
def test_a_script_runs(script: str, tmp_path: Path) -> None:
    """It prints its tables and writes the figures they are made of; a peer that is not installed does not stop it."""
    pytest.importorskip("PIL", reason="the benchmarks' pictures need Pillow")
    if script in NEEDS:
        pytest.importorskip(NEEDS[script], reason=f"benchmarks.{script} needs {NEEDS[script]}")
    out = tmp_path / "figures.json"
    command = [sys.executable, "-m", f"benchmarks.{script}", *SMALLEST[script], "--json", str(out)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    found = publish.blocks({script: json.loads(out.read_text(encoding="utf-8"))})
    titles = [text.partition(":\n")[0] for name, text in found.items() if name != "machine"]
    assert titles and all(title in ended.stdout for title in titles)


def test_the_readmes_say_what_was_measured() -> None:
    """Every table between marks is what benchmarks.publish makes of benchmarks/results."""
    found = publish.blocks(publish.reports())
    for page in publish.PAGES:
        text = page.read_text(encoding="utf-8")
        assert publish.filled(text, found) == text, f"{page}: python -m benchmarks.publish"


def test_every_table_that_is_measured_is_shown() -> None:
    """No script measures what no README shows."""
    pages = "".join(page.read_text(encoding="utf-8") for page in publish.PAGES)
    assert [name for name in publish.blocks(publish.reports()) if f"<!-- table {name} -->" not in pages] == []


def test_there_is_a_picture_of_every_question_that_has_one() -> None:
    """benchmarks.publish was run where matplotlib is."""
    drawn = {path.stem for path in RESULTS.glob("*.png")}
    assert drawn == {script for script in publish.reports() if hasattr(publish.module(script), "plot")}
