"""Paths at which there cannot be a store: an error at once that says what and the way out, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.processes import in_child

from bytecache import SharedStore
from bytecache.stores.shared.locks import OFD_LOCKS_AVAILABLE

pytestmark = pytest.mark.skipif(not OFD_LOCKS_AVAILABLE, reason="shared stores are for Linux")

REFUSED = {
    "/proc/nope": "no folder can be made there, as in /proc: give a path on a local disk",
    "/proc/nope/deeper/still": "give a path on a local disk",
    "/proc/self/x": "give a path on a local disk",
    "/sys/x": "give",
    "/dev/null": "path must be a folder.* is a file",
    "/dev/null/x": "a part of the path is a file.*give a path of folders",
    "/proc": "path must be a new or empty folder",
    "{}/file": "path must be a folder.* is a file",
    "{}/file/x": "a part of the path is a file.*give a path of folders",
    "{}/dangling": "a link that leads nowhere.*is its disk mounted",
    "{}/dangling/x": "a link that leads nowhere",
    "{}/circle": "a link that leads nowhere, or in a circle",
    "{}/circle/x": "a link that leads nowhere, or in a circle",
    "{}/a/new/" + "x" * 300: "too long.*give a shorter one",
    "": "path must be a folder of this machine, got ''",
    "a\0b": r"path must be a folder of this machine, got 'a\\x00b'",
}


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    """A folder that every user may enter, with a file and links in it."""
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "circle").symlink_to("other circle")
    (tmp_path / "other circle").symlink_to("circle")
    return tmp_path


def contents(parent: Path) -> list[str]:
    return sorted(str(path) for path in parent.rglob("*"))


@pytest.mark.parametrize("path", REFUSED)
def test_a_place_where_no_store_can_be(parent: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """Neither a store nor a folder on the way to it is left, nor does anybody try for ever."""
    monkeypatch.chdir(parent)
    before = contents(parent)
    for mode in {}, {"group": True}:
        with pytest.raises((OSError, ValueError), match=REFUSED[path]):
            SharedStore(path.format(parent), maxbytes=1000, **mode)
    assert contents(parent) == before


@pytest.fixture
def as_nobody() -> Iterator[Callable[[Callable[[], Any]], Any]]:
    """Run a function in a child that has no rights."""
    if os.geteuid():
        pytest.skip("another user's process can be started by root alone")

    def run(function: Callable[[], Any]) -> Any:
        def without_rights() -> Any:
            os.setgroups([]), os.setgid(65534), os.setuid(65534)
            return function()

        return in_child(without_rights)

    yield run


def test_a_folder_without_permission(as_nobody: Any) -> None:
    """Another user's folder, and what is in it: the error names the permission and the other ways out."""
    closed = Path("/var/tmp") / f"bytecache-closed-{os.getpid()}"
    closed.mkdir(mode=0o700)
    try:
        for path in closed, closed / "store", closed / "deeper" / "store", Path("/proc/1/nope"), Path("/nope"):
            message = as_nobody(lambda path=path: SharedStore(path, maxbytes=1000))
            assert message.startswith(("PermissionError", "FileNotFoundError")) and "give" in message
        assert list(closed.iterdir()) == []
    finally:
        closed.rmdir()


def test_a_read_only_file_system(tmp_path: Path) -> None:
    """The error says so, and that another path is needed."""
    script = (
        "import sys, bytecache\n"
        "for path in sys.argv[1:]:\n"
        "    try: bytecache.SharedStore(path, maxbytes=1000)\n"
        "    except OSError as exc: print(exc)\n"
    )
    inside = f"mount -t tmpfs -o ro none {tmp_path} && exec {sys.executable} -c '{script}' {tmp_path} {tmp_path}/a/b"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(["unshare", "--mount", "sh", "-c", inside], capture_output=True, text=True, env=environment)
    if "mount" in done.stderr or "unshare" in done.stderr:
        pytest.skip("file systems cannot be mounted here")
    assert done.stdout.count("the file system is read-only: give a path on another one") == 2, done.stderr


def test_folders_that_others_use_stay(parent: Path) -> None:
    """A path that cannot be opened leaves the store beside it, in a folder that both have made."""
    store = SharedStore(parent / "new" / "store", maxbytes=1000)
    with pytest.raises(OSError, match="too long"):
        SharedStore(parent / "new" / ("x" * 300), maxbytes=1000)
    assert store.path.is_dir()
    store.close()
