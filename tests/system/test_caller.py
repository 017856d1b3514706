"""The names of stores: equal where the same lines run, different for different stores."""

from __future__ import annotations

import sys
from typing import Any

from bytecache.system.caller import call_site_name

SITE = "names = [call(_getframe()) for _ in range(count)]"


def run(file: str, module: str, count: int = 1, line: int = 1) -> list[str]:
    """Return the names of the stores that a file makes when it is loaded, as compiled anew."""
    code = compile("\n" * (line - 1) + SITE, file, "exec")
    names: dict[str, Any] = {"__name__": module, "count": count, "call": call_site_name, "_getframe": sys._getframe}
    exec(code, names)
    return names["names"]  # type: ignore[no-any-return]


def test_stores_of_one_line_have_different_names() -> None:
    """Each store made at a line has a name of its own, and so have those of other lines and modules."""
    names = [*run("/a.py", "m1", count=2), *run("/a.py", "m1", line=2), *run("/b.py", "m2")]
    assert len(set(names)) == 4


def test_a_file_that_is_loaded_again_makes_the_same_stores() -> None:
    """Loaded again, a file gives its stores the names they had; further ones get others."""
    first = run("/a.py", "m3")
    both = run("/a.py", "m3", count=2)
    assert both[0] == first[0] != both[1]
    assert run("/a.py", "m3", count=2) == both


def test_two_files_of_one_module_make_different_stores() -> None:
    """Cells of a notebook, which are all __main__ and each a file of its own, do not share; a cell run again does."""
    one, other = run("/tmp/1.py", "notebook"), run("/tmp/2.py", "notebook")
    assert one != other
    assert (run("/tmp/1.py", "notebook"), run("/tmp/2.py", "notebook")) == (one, other)


def test_statements_of_a_shell_make_different_stores() -> None:
    """What is typed into a shell is all one "file", and each statement its first line: each makes a new store."""
    assert len({run("<stdin>", "shell")[0] for _ in range(3)}) == 3
