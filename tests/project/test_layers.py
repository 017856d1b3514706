"""The architecture: which layer may import which, and how large folders, modules and functions may grow."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import bytecache

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "bytecache"
MODULES = sorted(PACKAGE.rglob("*.py"))


def test_layers_import_only_what_is_below_them() -> None:
    """The contract in pyproject.toml is kept, as import-linter sees it."""
    pytest.importorskip("importlinter", reason="the layer rule is checked by import-linter")
    run = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", run, "--no-cache", "--no-logo"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0 and "1 kept, 0 broken" in done.stdout, done.stdout + done.stderr


def test_folders_are_small() -> None:
    """At most 14 modules are at the root of the package, and at most 16 in any other folder."""
    counts = {folder: len(list(folder.glob("*.py"))) for folder in {path.parent for path in MODULES}}
    limits = {folder: 14 if folder == PACKAGE else 16 for folder in counts}
    assert {str(folder): count for folder, count in counts.items() if count > limits[folder]} == {}


def test_modules_are_short() -> None:
    """No module has more than 260 lines."""
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in MODULES}
    assert {name: length for name, length in lengths.items() if length > 260} == {}


def test_functions_are_short() -> None:
    """No function has more than 40 lines, its docstring apart."""
    lengths = {
        f"{path.relative_to(ROOT)}:{function.lineno} {function.name}": lines_of(function)
        for path in MODULES
        for function in functions_of(path)
    }
    assert {name: length for name, length in lengths.items() if length > 40} == {}


def functions_of(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield the functions and methods of a module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the number of lines of a function without its docstring."""
    docstring = function.body[0] if ast.get_docstring(function) is not None else None
    return span(function) - (span(docstring) if docstring is not None else 0)


def span(node: ast.stmt) -> int:
    """Return the number of lines of a node."""
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def test_no_module_hides_behind_a_public_name() -> None:
    """No module at the root bears the name of something that bytecache exports."""
    names = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert names & set(bytecache.__all__) == set()
