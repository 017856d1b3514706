"""The drawings that both trainers are tested on, made once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKE_DATA = [sys.executable, "-m", "integrations.fish_count", "make_data"]


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty drawings of 64 x 64 pixels, to be read only."""
    folder = tmp_path_factory.mktemp("fish") / "data"
    command = [*MAKE_DATA, "--out", str(folder), "--images", "60", "--size", "64", "--max-count", "4"]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert made.returncode == 0, made.stderr
    return folder


@pytest.fixture
def damaged(data: Path, tmp_path: Path) -> Callable[[], tuple[Path, set[str]]]:
    """A function that copies the drawings and damages one in ten; it returns the folder and the damaged paths."""

    def damage() -> tuple[Path, set[str]]:
        folder = shutil.copytree(data, tmp_path / "damaged")
        bad = [path for path in folder.rglob("*.jpg") if int(path.stem) % 10 == 0]
        for number, path in enumerate(bad):
            path.write_bytes(b"<html>" if number % 2 else path.read_bytes()[:700])
        return folder, set(map(str, bad))

    return damage
