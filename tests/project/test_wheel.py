"""The wheel has every module, and each of them can be imported from it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from helpers.links import relative_links

ROOT = Path(__file__).parents[2]
SOURCES = {str(path.relative_to(ROOT)) for path in (ROOT / "bytecache").rglob("*.py")}
EXTRAS = {
    "bytecache.http": "pycurl",
    "bytecache.keras": "tensorflow",
    "bytecache.torch": "torch",
    "bytecache.loading.collate": "torch",
    "bytecache.loading.sampler": "torch",
    "bytecache.loading.tensors": "torch",
    "bytecache.transfers.curl": "pycurl",
    "bytecache.transfers.handles": "pycurl",
    "bytecache.transfers.retries": "pycurl",
    "bytecache.transfers.session": "pycurl",
    "bytecache.transfers.transfer": "pycurl",
}
IMPORT_ALL = """
import importlib, sys
wheel, packages, modules = sys.argv[1], sys.argv[2].split(","), sys.argv[3].split(",")
sys.path[:0] = [wheel, *packages]
for name in modules:
    file = importlib.import_module(name).__file__
    assert file.startswith(wheel), file
print(len(modules))
"""


def has_setuptools() -> bool:
    """Return whether the setuptools installed here can build this project, so that none need be downloaded."""
    try:
        return int(importlib.metadata.version("setuptools").split(".")[0]) >= 77
    except importlib.metadata.PackageNotFoundError:
        return False


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of a copy of the package, since a build leaves files that the next one would take in."""
    pytest.importorskip("pip", reason="building a wheel needs pip")
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "bytecache", source / "bytecache", ignore=shutil.ignore_patterns("__pycache__"))
    for name in "pyproject.toml", "setup.py", "README.md", "LICENSE":
        shutil.copy(ROOT / name, source)
    options = ["-q", "--disable-pip-version-check", "--no-deps"] + ["--no-build-isolation"] * has_setuptools()
    command = [sys.executable, "-m", "pip", "wheel", *options, "-w", out, source]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (built,) = out.iterdir()
    return built


def test_the_wheel_has_every_file(wheel: Path) -> None:
    """Every module of the package is in it, py.typed too, and no other package."""
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == SOURCES | {"bytecache/py.typed"}


def test_the_readme_in_the_wheel_has_no_relative_link(wheel: Path) -> None:
    """It is that of setup.py, for package indexes."""
    files = zipfile.ZipFile(wheel)
    (metadata,) = (name for name in files.namelist() if name.endswith(".dist-info/METADATA"))
    description = files.read(metadata).decode().partition("\n\n")[2]
    assert description.startswith("# bytecache\n") and relative_links(description) == []


def test_every_module_can_be_imported_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    """Without the checkout: no current directory, no PYTHONPATH, no .pth file of an editable install."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    missing = {module for module, package in EXTRAS.items() if importlib.util.find_spec(package) is None}
    modules = {name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in SOURCES} - missing
    packages = {str(Path(module.__file__).parents[1]) for module in (np, simplejpeg)}
    command = [sys.executable, "-I", "-S", "-c", IMPORT_ALL, tmp_path, ",".join(packages), ",".join(sorted(modules))]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) == len(modules) > 50
