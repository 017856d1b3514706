"""The README's recipes: each is a script that trains for two epochs, under every start method of processes."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.images import make_jpeg

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SECTION = re.search(r"^## Recipes\n(.*?)^## ", README, re.M | re.S)[1]
BEGINNING, *SCRIPTS = re.findall(r"```python\n(.*?)```", SECTION, re.S)
RECIPES = dict(zip(re.findall(r"^### (.*)$", SECTION, re.M), SCRIPTS, strict=True))
METHODS = "fork", "forkserver", "spawn"
NEEDS = {"ultralytics": ["torchvision"]}  # which it imports later
CASES = [
    pytest.param(script, method, id=f"{title.split(',')[0]}-{method}")
    for title, script in RECIPES.items()
    for method in (METHODS if "workers=" in script else ["fork"])
]


@functools.cache
def cannot_be_imported(module: str) -> str:
    """Return why a package is not there or does not work, empty if it does."""
    if importlib.util.find_spec(module) is None:
        return f"{module} is not installed"
    done = subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True, text=True)
    return done.stderr.strip().rpartition("\n")[2] if done.returncode else ""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty images of two classes, and a data set of eight with a box each."""
    folder = tmp_path_factory.mktemp("recipes")
    for kind, number in [(kind, number) for kind in ("cat", "dog") for number in range(10)]:
        path = folder / "images" / kind / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make_jpeg(80 + number, 90, seed=number))
    for number in range(8):
        for kind, data in ("images", make_jpeg(64, 64, seed=number)), ("labels", b"0 0.5 0.5 0.4 0.4\n"):
            path = folder / "boxes" / kind / f"{number}.{'jpg' if kind == 'images' else 'txt'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    (folder / "boxes.yaml").write_text(f"path: {folder}/boxes\ntrain: images\nval: images\nnames: {{0: fish}}\n")
    with sqlite3.connect(folder / "images.db") as database:
        database.execute("CREATE TABLE images (number INTEGER PRIMARY KEY, data BLOB)")
        files = sorted((folder / "images").glob("*/*.jpg"))
        database.executemany("INSERT INTO images VALUES (?, ?)", enumerate(path.read_bytes() for path in files))
    database.close()
    (folder / "flat").mkdir()
    shutil.copytree(folder / "images" / "cat", folder / "flat" / "images")
    site = folder / "site" / "sitecustomize.py"
    site.parent.mkdir()
    site.write_text(
        "import multiprocessing, os\nmultiprocessing.set_start_method(os.environ['START_METHOD'], force=True)\n"
    )
    return folder


@pytest.mark.parametrize(("script", "method"), CASES)
def test_a_recipe_reads_each_file_once(folder: Path, script: str, method: str) -> None:
    """As it stands in the README it runs, and the second epoch reads no file."""
    modules = re.findall(r"^(?:import|from) (\w+)", script, re.M)
    for module in [*modules, *(needed for name in modules for needed in NEEDS.get(name, []))]:
        if reason := cannot_be_imported(module):
            pytest.skip(reason)
    hit_rate = run(f"{BEGINNING}\n\n{script}", folder, folder, method)
    assert hit_rate == 0.5 if "ultralytics" not in script else hit_rate > 0.5  # which draws mosaics of several images


@pytest.mark.parametrize("method", METHODS)
def test_the_first_script_for_many_processes(folder: Path, method: str) -> None:
    """The one at the top of the README reads each file once."""
    if reason := cannot_be_imported("torch"):
        pytest.skip(reason)
    script = next(block for block in re.findall(r"```python\n(.*?)```", README, re.S) if "DataLoader" in block)
    assert run(script, folder, folder / "flat", method) == 0.5


def run(script: str, folder: Path, cwd: Path, method: str) -> float:
    """Return the number that a script prints last, run under a start method."""
    (cwd / "recipe.py").write_text(script)
    paths = os.pathsep.join([str(folder / "site"), str(ROOT)])
    environment = {**os.environ, "START_METHOD": method, "PYTHONPATH": paths, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, "recipe.py"], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return float(done.stdout.split()[-1])
