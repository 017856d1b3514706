"""The folders of the benchmarks depend on one another in one direction, and no question on another."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
QUESTIONS = {path.stem for path in BENCHMARKS.glob("*.py")} - {"__init__", "publish"}
FOLDERS = {
    "harness": {"harness"},
    "loaders": {"loaders"},
    "workloads": {"harness", "loaders", "workloads"},
    "peers": {"harness", "workloads", "peers"},
    "runs": {"harness", "loaders", "workloads", "peers", "runs"},
    "micro": {"harness", "workloads", "peers"} | QUESTIONS,
}
QUESTION = {"harness", "loaders", "workloads", "peers", "runs"}  # what a question may import


def imports(path: Path) -> Iterator[str]:
    """Yield the folders and questions that a module imports, at its top or inside a function."""
    package = ("benchmarks", *path.relative_to(BENCHMARKS).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) + 1 - node.level]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            names = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("benchmarks."))


@pytest.mark.parametrize("path", sorted(BENCHMARKS.rglob("*.py")), ids=lambda path: str(path.relative_to(BENCHMARKS)))
def test_a_module_imports_only_what_its_folder_may(path: Path) -> None:
    """Helpers import no question, and a question imports only helpers."""
    *folder, _ = path.relative_to(BENCHMARKS).parts
    assert set(imports(path)) <= (FOLDERS[folder[0]] if folder else QUESTION)


def test_imports_are_found() -> None:
    """The questions import from all folders of helpers; absolute and relative imports are both found."""
    seen = {name for question in QUESTIONS for name in imports(BENCHMARKS / f"{question}.py")}
    assert seen == QUESTION
    assert set(imports(BENCHMARKS / "loaders" / "plain.py")) == {"loaders"}


def test_every_loader_is_defined() -> None:
    """LOADERS names functions of the modules in loaders/, which import packages that may not be installed."""
    text = (BENCHMARKS / "loaders" / "__init__.py").read_text(encoding="utf-8")
    names = re.findall(r'Loader\("(\w+):(\w+)"', text)
    for module, name in names:
        tree = ast.parse((BENCHMARKS / "loaders" / f"{module}.py").read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, (module, name)
    assert len(names) > 10
