"""``bytecache check``: its text, its JSON, its exit status, and which files of a folder count."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from helpers.images import exif_segment, insert, make_jpeg, segment

from bytecache import check_images
from bytecache.cli.check import MAX_REFUSED_SHOWN
from bytecache.planning import folder

BASE = make_jpeg(48, 64)
BROKEN_ICC = insert(BASE, segment(0xE2, b"ICC_PROFILE\0\1\2" + bytes(300)))
WARNED = BASE[:-2] + bytes(40) + BASE[-2:]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of three ordinary files, one of them below another folder."""
    photos = tmp_path / "photos"
    (photos / "more").mkdir(parents=True)
    for name in ("a.jpg", "b.JPG", "more/c"):
        (photos / name).write_bytes(BASE)
    return photos


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, run: Callable[..., tuple[int, str, str]]) -> Callable[..., Any]:
    """Run the command; return its exit status, and what it printed on stdout and stderr."""
    monkeypatch.setitem(sys.modules, "tqdm", None)  # its bar has a thread of its own
    return partial(run, "check")


def test_a_folder_without_odd_files(photos: Path, call: Any) -> None:
    """The status is 0, the progress is on stderr, and the text has no table without rows."""
    status, out, err = call(photos)
    assert (status, err) == (0, "check: 3 of 3\n")
    assert out.splitlines() == [
        str(photos),
        "  3 files, all pixels decoded",
        "",
        "read            files",
        "as they are         3",
        "with a remark       0",
        "through Pillow      0",
        "refused             0",
        "",
        "height x width  files",
        "48 x 64             3",
        "",
        "colorspace  files",
        "YCbCr           3",
    ]


def test_text_for_people(photos: Path, call: Any) -> None:
    """A table for each kind of odd file, with an example each and what it means for training; the status is 1."""
    pytest.importorskip("PIL", reason="Pillow makes and decodes the PNG")
    from PIL import Image

    Image.new("RGB", (9, 9)).save(photos / "d.jpg", "PNG")
    for name, data in (("e.jpg", WARNED), ("f.jpg", WARNED), ("g.jpg", BROKEN_ICC), ("h.jpg", BASE[:-40])):
        (photos / name).write_bytes(data)
    (photos / "i.jpg").write_bytes(insert(BASE, exif_segment(6)))
    (photos / "j.jpg").write_text("<!DOCTYPE html>")
    status, out, _ = call(photos, "--size", "24x32")
    lines = out.splitlines()
    assert status == 1
    assert lines[1] == "  10 files, decoded at the scale for 24 x 32"
    assert [line.split()[-1] for line in lines[4:8]] == ["4", "3", "1", "2"]
    tables = [table.splitlines() for table in out.strip().split("\n\n")[2:]]
    assert [table[0].split("  ")[0] for table in tables] == [
        "remark",
        "through Pillow",
        "refused",
        "orientation",
        "height x width",
        "colorspace",
        tables[-1][0],
    ]
    assert tables[0][1:] == [
        f"bytes after the last block      2  {photos}/e.jpg",
        f"a broken ICC profile            1  {photos}/g.jpg",
    ]
    assert tables[1][1:] == [f"a PNG               1  {photos}/d.jpg"]
    assert tables[2][1].startswith(f"{photos}/h.jpg  the JPEG data, {len(BASE) - 40} bytes, cannot be decoded")
    assert tables[2][2].startswith(f"{photos}/j.jpg  expected the bytes of an image")
    assert [line.split() for line in tables[3][1:]] == [["1", "7"], ["6", "1"]]
    assert [note.split(":")[0] for note in tables[-1]] == ["with a remark", "through Pillow", "refused"]


def test_json_is_the_report(photos: Path, call: Any) -> None:
    """All of check_images is in it, and what was asked."""
    (photos / "d.jpg").write_bytes(BROKEN_ICC)
    (photos / "e.jpg").write_bytes(b"")
    status, out, _ = call(photos, "--json", "--size", "24X32", "--glob", "*.jpg")
    found, expected = json.loads(out), check_images([photos / name for name in ("a.jpg", "b.JPG", "d.jpg", "e.jpg")])
    assert status == 1
    assert found == {
        "path": str(photos),
        "glob": ["*.jpg"],
        "size": [24, 32],
        "files": 4,
        "as_they_are": 2,
        "remarks": {"a broken ICC profile": {"files": 1, "example": f"{photos}/d.jpg"}},
        "through_pillow": {},
        "refused": [{"path": f"{photos}/e.jpg", "reason": expected.refused[0].reason}],
        "orientations": {"1": 3},
        "sizes": [{"height": 48, "width": 64, "files": 3}],
        "colorspaces": {"YCbCr": 3},
    }
    assert set(found) == {"path", "glob", "size", *expected._fields}


def test_many_refused_files(photos: Path, call: Any) -> None:
    """The text has the first of them and how many more there are, JSON has all."""
    for n in range(MAX_REFUSED_SHOWN + 3):
        (photos / f"{n:03d}.txt").write_text("text")
    out = call(photos)[1]
    assert "019.txt" in out and "020.txt" not in out and "\nand 3 more (--json)\n" in out
    assert len(json.loads(call(photos, "--json")[1])["refused"]) == MAX_REFUSED_SHOWN + 3


def test_many_sizes(photos: Path, call: Any) -> None:
    """The text has the most frequent ones, and the range of all."""
    for n in range(1, 10):
        (photos / f"{n}.jpg").write_bytes(make_jpeg(8 * n, 90 - n))
    out = call(photos)[1]
    assert "\n48 x 64             3\n" in out
    assert "\nand 5 other sizes (--json); heights from 8 to 72, widths from 64 to 89\n" in out


def test_names_of_any_bytes(photos: Path, call: Any) -> None:
    """A name that is no text, or has a line break, is shown in one line; JSON has it as it is."""
    names = [os.fsdecode(b"\xff.jpg"), "new\nline.jpg"]
    for name in names:
        (photos / name).write_bytes(b"")
    out = call(photos)[1]
    assert {f"{photos}/\\udcff.jpg", f"{photos}/new\\nline.jpg"} <= set(out.split())
    paths = {file["path"] for file in json.loads(call(photos, "--json")[1])["refused"]}
    assert paths == {str(photos / name) for name in names}


# Which files


def test_all_files_count_but_for_links_to_folders(photos: Path) -> None:
    """In the order of their paths; a link that leads nowhere too, since training would try to read it."""
    (photos / "link").symlink_to(photos / "more" / "c")
    (photos / "lost").symlink_to(photos / "nowhere")
    (photos / "folder").symlink_to(photos / "more")
    (photos / ".hidden").touch()
    os.mkfifo(photos / "pipe")
    names = [".hidden", "a.jpg", "b.JPG", "link", "lost", "more/c"]
    assert folder.file_paths(photos) == [str(photos / name) for name in names]
    assert folder.file_paths(str(photos), ["*.jpg"]) == [str(photos / name) for name in ("a.jpg", "b.JPG")]
    assert check_images(folder.file_paths(photos)).refused[1] == (str(photos / "lost"), "No such file or directory")


@pytest.mark.parametrize("what", ["nothing", "a file", "empty", "other files"])
def test_a_folder_without_files(tmp_path: Path, call: Any, what: str) -> None:
    """The status is 2, stderr says what was expected and what is there, and stdout is empty."""
    path = tmp_path / "photos"
    if what == "a file":
        path.write_text("text")
    elif what != "nothing":
        path.mkdir()
    if what == "other files":
        (path / "a.txt").touch()
    status, out, err = call(path, "--glob", "*.jpg")
    assert (status, out) == (2, "")
    expected = "a folder of files" if what in ("nothing", "a file") else "files named *.jpg in"
    assert err.startswith(f"bytecache check: expected {expected}") and repr(str(path)) in err


@pytest.mark.parametrize("size", ["224", "0x224", "224x", "224x224x3", "-1x5", "axb", "22.4x5", ""])
def test_a_size_that_is_none(photos: Path, call: Any, size: str) -> None:
    """The status is 2, and stderr says what was expected, before the folder is read."""
    status, out, err = call(photos / "nowhere", f"--size={size}")
    assert (status, out) == (2, "")
    assert f"--size: expected height and width in pixels, such as 224x224, got {size!r}" in " ".join(err.split())


def test_python_m_bytecache_check(photos: Path) -> None:
    """The command works from the shell, where its progress and its report can be told apart."""
    command = [sys.executable, "-m", "bytecache", "check", photos, "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and json.loads(done.stdout)["as_they_are"] == 3
    assert "3" in done.stderr and "check" in done.stderr
