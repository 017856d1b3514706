"""``bytecache`` as a command line tool: its version, its usage, and readers that stop reading."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.images import make_jpeg

import bytecache
from bytecache.cli.main import COMMANDS

BYTECACHE = [sys.executable, "-m", "bytecache"]
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


@pytest.fixture
def folders(tmp_path: Path, stores: Callable[..., bytecache.SharedStore]) -> dict[str, Path]:
    """A folder of images and a shared store."""
    folders = {"photos": tmp_path / "photos", "store": tmp_path / "store"}
    folders["photos"].mkdir()
    (folders["photos"] / "a.jpg").write_bytes(make_jpeg(48, 64))
    bytecache.fill_once(store=stores(name="store"))(make_jpeg)(48, 64)
    return folders


def arguments(command: str, folders: dict[str, Path]) -> list[Any]:
    """Return arguments with which a command prints something."""
    if command in ("ls", "sweep"):
        return [command]
    if command in ("simulate", "plan"):
        return [command, folders["photos"], "--maxbytes", "1 MB"]
    return [command, folders["photos" if command == "check" else "store"]]


def test_version(run: Callable[..., tuple[int, str, str]]) -> None:
    """It is the package's, on stdout."""
    assert run("--version") == (0, f"bytecache {bytecache.__version__}\n", "")


def test_without_a_command_the_help_is_on_stderr(run: Callable[..., tuple[int, str, str]]) -> None:
    """The status is 2; with --help the same is on stdout, and the status is 0."""
    bare, helped = run(), run("--help")
    assert (bare[0], bare[1], helped[0], helped[2]) == (2, "", 0, "")
    assert bare[2] == helped[1] and all(f"    {name} " in bare[2] for name in COMMANDS)


def test_an_unknown_command(run: Callable[..., tuple[int, str, str]]) -> None:
    """The status is 2, and the message has the commands that there are."""
    status, out, err = run("chekc", "photos")
    assert (status, out) == (2, "") and "'chekc'" in err and all(name in err for name in COMMANDS)


@pytest.mark.parametrize("command", [*COMMANDS, "--help", "--version"])
@pytest.mark.parametrize("stderr", ["kept", "in the same pipe"])
def test_a_reader_that_stops_ends_a_command_quietly(command: str, stderr: str, folders: dict[str, Path]) -> None:
    """The status is that of a closed pipe in a shell, and nothing is on stderr but the progress."""
    argv = [command] if command.startswith("-") else arguments(command, folders)
    reading, writing = os.pipe()
    os.close(reading)
    try:
        to = subprocess.PIPE if stderr == "kept" else subprocess.STDOUT
        done = subprocess.run([*BYTECACHE, *map(str, argv)], stdout=writing, stderr=to, env=BUFFERED)
    finally:
        os.close(writing)
    assert done.returncode == 141
    assert stderr != "kept" or b"rror" not in done.stderr


def test_output_that_cannot_be_written(folders: dict[str, Path]) -> None:
    """The status is 2, and one line says why."""
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    with open("/dev/full", "wb") as full:
        command = [*BYTECACHE, "info", folders["store"]]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=BUFFERED)
    assert done.returncode == 2
    assert done.stderr == "bytecache: the output cannot be written: [Errno 28] No space left on device\n"


def test_without_any_output(folders: dict[str, Path]) -> None:
    """A closed stdout, as by ``>&-``, is no error."""
    command = f"{sys.executable} -m bytecache info {folders['store']} >&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", ["check", "simulate", "plan"])
def test_names_that_the_terminal_cannot_show(command: str, tmp_path: Path) -> None:
    """They are escaped; bytes that are no text too."""
    folder = tmp_path / os.fsdecode("é".encode() + b"\xff")
    folder.mkdir()
    (folder / "a.jpg").write_bytes(make_jpeg(48, 64))
    options = [] if command == "check" else ["--maxbytes", "1 MB"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*BYTECACHE, command, folder, *options], capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].endswith(rb"\xe9\udcff")
