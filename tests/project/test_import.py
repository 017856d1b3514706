"""What importing bytecache loads, and what it exports."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import typing
from types import FunctionType

import pytest

import bytecache

HEAVY = {"keras", "tensorflow", "torch", "redis", "pycurl", "matplotlib", "PIL", "cv2", "tqdm"}


def modules_after(statement: str) -> set[str]:
    """Return the top-level names of the modules that a fresh interpreter has loaded after `statement`."""
    code = f"import sys, json; {statement}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in json.loads(done.stdout)}


def test_import_is_light() -> None:
    """`import bytecache` loads none of the frameworks and none of the optional packages."""
    loaded = modules_after("import bytecache; bytecache.fill_once(maxbytes='1 MiB')(len)('x')")
    assert {"bytecache", "numpy"} <= loaded
    assert loaded & HEAVY == set()


def test_public_names_are_there_and_sorted() -> None:
    """Every name in __all__ can be imported, and the list is in order."""
    assert [name for name in bytecache.__all__ if not hasattr(bytecache, name)] == []
    assert bytecache.__all__ == sorted(bytecache.__all__)


def test_public_functions_have_type_hints_and_texts() -> None:
    """typing.get_type_hints finds every name, outside of type checkers too, and help says what each is."""
    for name in bytecache.__all__:
        public = getattr(bytecache, name)
        parts = list(vars(public).items()) if isinstance(public, type) else []
        functions = [(part, of.fget if isinstance(of, property) else of) for part, of in parts]
        for part, function in [("", public), *functions]:
            if part == "" or isinstance(function, FunctionType):
                typing.get_type_hints(function)
                assert part.startswith("_") or inspect.getdoc(function), (name, part)


@pytest.mark.parametrize("pycurl", ["None", "type(sys)('pycurl')"])
def test_the_reader_says_what_it_needs(pycurl: str) -> None:
    """Whether pycurl is missing, or too old to have what is used of it."""
    code = f"import sys; sys.modules['pycurl'] = {pycurl}; import bytecache.http"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ImportError: bytecache.http needs the pycurl package, 7.48 or later: pip install" in done.stderr
