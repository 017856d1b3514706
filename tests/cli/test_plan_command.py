"""``bytecache plan``: what it measures and advises, for people and as JSON, and the plot."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from helpers.images import make_image, make_jpeg

from bytecache import sizeof
from bytecache.cli.plan import Decoder, read_file
from bytecache.cli.plan_plot import make_plan_figure
from bytecache.planning.folder import paths_and_sizes
from bytecache.planning.folder_plan import plan_folder
from bytecache.planning.workload import Concurrency

SIDES = [(24 + 8 * i, 32 + 8 * i) for i in range(12)]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of 12 JPEG files of different sizes in two folders, and a text."""
    for i, (height, width) in enumerate(SIDES):
        path = tmp_path / "photos" / str(i % 2) / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make_jpeg(height, width, seed=i))
    (tmp_path / "photos" / "notes.txt").write_text("text")
    return tmp_path / "photos"


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, run: Callable[..., tuple[int, str, str]]) -> Callable[..., Any]:
    """Run the command; return its exit status, and what it printed on stdout and stderr."""
    monkeypatch.setitem(sys.modules, "tqdm", None)  # its bar has a thread of its own
    return partial(run, "plan")


def nbytes_of(photos: Path) -> int:
    return sum(path.stat().st_size for path in photos.rglob("*.jpg"))


# What it says


def test_json_has_files_bytes_costs_and_the_plan(photos: Path, call: Any) -> None:
    """Of each stage what it returns, and of all files what each choice takes; the curve includes the budget."""
    status, out, _ = call(photos, "--maxbytes", "20 KB", "--read-ms", 20, "--json")
    fields = json.loads(out)
    pixels = sum(3 * height * width for height, width in SIDES)
    assert status == 0
    assert (fields["path"], fields["size"], fields["read_ms"]) == (str(photos), None, 20.0)
    assert (fields["files"], fields["bytes"], fields["sampled"]) == (12, nbytes_of(photos), 12)
    assert fields["refused"] == [] and fields["decoded_bytes"] == pytest.approx(pixels, rel=0.05)
    assert (fields["items"], fields["maxbytes"]) == (12, 20_000)
    read, decode = fields["stages"]
    assert (read["name"], decode["name"]) == ("read", "decode")
    assert read["wait_s"] == pytest.approx(0.02) and decode["wait_s"] == 0 < decode["cpu_s"]
    assert read["nbytes"] == pytest.approx(nbytes_of(photos) / 12, rel=0.05)
    assert sum(stage["kept_bytes"] for stage in fields["stages"]) <= 20_000
    assert list(fields["choices"]) == ["nothing", "fill_once after read", "fill_once after decode"]
    assert fields["bound_s"] <= fields["epoch_s"] <= fields["choices"]["nothing"]
    at = fields["curve"]["budgets"].index(20_000)
    assert fields["curve"]["staged"][at] == fields["bound_s"]
    assert fields["curve"]["fill_once after read"][at] == fields["choices"]["fill_once after read"]


def test_text_for_people(photos: Path, call: Any) -> None:
    """It has the folder, the tables, the advice in a sentence, and what the words mean."""
    status, out, _ = call(photos, "--maxbytes", "12 KB", "--read-ms", 20)
    lines = out.splitlines()
    assert status == 0 and lines[0] == str(photos)
    assert [line[:10] for line in lines[1:4]] == ["  files   ", "  bytes   ", "  sample  "]
    assert lines[1] == "  files   12 with the ending of an image"
    assert lines[3] == "  sample  12 of them, each read waiting for 20 ms"
    assert lines[5].startswith("12 files in 11.7 KiB; ")
    assert [line.split()[0] for line in lines[7:10]] == ["stage", "read", "decode"]
    choices = ["nothing", "fill_once", "fill_once", "staged", "bound"]
    assert [line.split()[0] for line in lines[12:17]] == choices
    assert lines[18].startswith("staged saves ")
    assert (
        lines[19].startswith("keep ") and " of the files as JPEG" in lines[19] and " per epoch instead of " in lines[19]
    )
    assert [line.split(":")[0] for line in lines[21:]] == ["an epoch takes", "fill_once after ...", "staged"]


def test_a_size_is_that_of_the_arrays(photos: Path, call: Any) -> None:
    """Height comes first, and the stage is named after it."""
    pytest.importorskip("PIL", reason="resizing needs Pillow")
    fields = json.loads(call(photos, "--maxbytes", "1 MB", "--size", "16x40", "--json", "--read-ms", 1)[1])
    assert fields["size"] == [16, 40]
    assert fields["stages"][1]["name"] == "decode and resize to 16x40"
    assert fields["stages"][1]["nbytes"] == pytest.approx(3 * 16 * 40, rel=0.15)
    assert "as arrays of 16x40" in call(photos, "--maxbytes", "1 MB", "--size", "16x40")[1].splitlines()[2]


def test_reads_are_measured(photos: Path, call: Any) -> None:
    """Without a given time, from the storage: the text says so."""
    out = call(photos, "--maxbytes", "12 KB")[1]
    assert out.splitlines()[3] == "  sample  12 of them, reads waiting for the storage"


def test_bad_files_are_named_and_do_not_count(photos: Path, call: Any) -> None:
    """The plan is for the others; the status is 0."""
    (photos / "0" / "0.jpg").write_bytes(b"<html>")
    (photos / "1" / "1.jpg").write_bytes((photos / "1" / "11.jpg").read_bytes()[:400])
    status, out, _ = call(photos, "--maxbytes", "12 KB", "--json")
    fields = json.loads(out)
    assert status == 0 and (fields["files"], fields["sampled"], fields["items"]) == (12, 12, 10)
    refused = {one["path"]: one["reason"] for one in fields["refused"]}
    assert list(refused) == sorted(refused, key=list(refused).index) and set(refused) == {
        str(photos / "0" / "0.jpg"),
        str(photos / "1" / "1.jpg"),
    }
    out = call(photos, "--maxbytes", "12 KB")[1]
    assert "12 of them, 2 refused" in out
    assert any(line.startswith(str(photos / "0" / "0.jpg")) and "HTML" in line for line in out.splitlines())


def test_other_formats_are_not_called_jpeg(photos: Path, call: Any) -> None:
    """With a PNG among them, files are kept encoded."""
    image = pytest.importorskip("PIL.Image", reason="a PNG needs Pillow")
    image.fromarray(make_image(20, 30)).save(photos / "a.png")
    advice = json.loads(call(photos, "--maxbytes", "12 KB", "--json", "--read-ms", 20)[1])["advice"]
    assert " of the files encoded" in advice and "JPEG" not in advice


# What it refuses


@pytest.mark.parametrize("what", ["nothing", "a file", "empty", "other files", "no images"])
def test_a_folder_without_images(tmp_path: Path, call: Any, what: str) -> None:
    """The status is 2, stderr says in one line what was expected and what is there, and stdout is empty."""
    path = tmp_path / "photos"
    if what == "a file":
        path.write_text("text")
    elif what != "nothing":
        path.mkdir()
    if what in ("other files", "no images"):
        (path / ("a.txt" if what == "other files" else "a.jpg")).write_text("text")
    status, out, err = call(path, "--maxbytes", "1 MiB")
    *_, last = err.splitlines()
    assert (status, out) == (2, "") and last.startswith("bytecache plan: expected ") and str(path) in last
    ways_out = {"nothing": "it does not exist", "a file": "that is a file", "no images": "the first: "}
    assert ways_out.get(what, "--glob '*' counts all files") in last


@pytest.mark.parametrize(
    "argv, message",
    [
        ([], "required: --maxbytes"),
        (["--maxbytes", "2 GX"], 'argument --maxbytes: maxbytes must be a positive int or a size such as "2 GiB"'),
        (["--maxbytes", "1", "--size", "256"], "argument --size: expected height and width in pixels, such as 224x224"),
        (["--maxbytes", "1", "--read-ms", "-1"], "argument --read-ms: expected milliseconds, 0 or more, such as 20"),
        (["--maxbytes", "1", "--read-ms", "nan"], "got 'nan'"),
        (["--maxbytes", "1", "--read-ms", "slow"], "got 'slow'"),
        (["--maxbytes", "1", "--plot", "a.txt"], "argument --plot: "),
    ],
)
def test_wrong_arguments(photos: Path, call: Any, argv: list[str], message: str) -> None:
    """The status is 2 and stderr says why, before the folder is read."""
    status, out, err = call(photos / "nowhere", *argv)
    assert (status, out) == (2, "") and message in " ".join(err.split())


def test_no_matplotlib(photos: Path, call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the extra, before anything is measured."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    status, out, err = call(photos, "--maxbytes", "1 MB", "--plot", tmp_path / "a.png")
    assert (status, out) == (2, "") and "pip install 'bytecache[plot]'" in err


def test_python_m_bytecache_plan(photos: Path) -> None:
    """The command works from the shell; progress goes to stderr."""
    command = [sys.executable, "-m", "bytecache", "plan", photos, "--maxbytes", "12 KB", "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and json.loads(done.stdout)["files"] == 12


# The plot


@pytest.mark.foreign_threads
def test_the_plot_says_what_it_shows(photos: Path) -> None:
    """It has a title, axes with units, a curve for each choice and for staged, the budget, and where all fits."""
    pytest.importorskip("matplotlib", reason="plotting needs matplotlib")
    decoder = Decoder(None)
    stages = [("read", read_file), (decoder.name, decoder)]
    paths, nbytes = paths_and_sizes(photos, ["*.jpg"])
    found = plan_folder(paths, nbytes, stages, 12_000, Concurrency(2, 6, True), sizeof=sizeof, read_s=0.02)
    figure = make_plan_figure(found, ("as JPEG", "as arrays"))
    (axes,) = figure.axes
    assert "12 files" in axes.get_title() and "(s)" in axes.get_ylabel() and "budget" in axes.get_xlabel()
    assert axes.get_xscale() == "log" and axes.get_ylim()[0] == 0
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    names = {label.rpartition(": ")[0] for label in labels}
    assert names == {"nothing", "fill_once after read", "fill_once after decode", "staged, which is the bound"}
    assert labels[-1].startswith("staged") and "11.7 KiB" in axes.get_legend().get_title().get_text()
    (above,) = axes.child_axes
    assert ["all as JPEG" in text.get_text() for text in above.get_xticklabels()] == [True, False]


@pytest.mark.foreign_threads  # matplotlib keeps its fonts open
def test_plot_writes_a_file(photos: Path, call: Any, tmp_path: Path) -> None:
    """It writes the format of the file's name, and prints the table too."""
    pytest.importorskip("matplotlib", reason="plotting needs matplotlib")
    status, out, _ = call(photos, "--maxbytes", "12 KB", "--plot", tmp_path / "a.svg")
    assert status == 0 and "fill_once after read" in out
    assert (tmp_path / "a.svg").read_bytes().startswith(b"<?xml")
