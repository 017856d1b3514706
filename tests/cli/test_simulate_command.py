"""``bytecache simulate``: which files count, that its numbers are the simulation's, and the plot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.processes import in_child

from bytecache import predict_hit_rate
from bytecache.cli.plot import make_figure
from bytecache.planning import folder
from bytecache.planning.simulation import POLICY_NAMES

NOBODY = 65534


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of 100 files in two folders, 1000 bytes each, and a text of 500 bytes."""
    for i in range(100):
        path = tmp_path / "photos" / str(i % 2) / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(1000))
    (tmp_path / "photos" / "notes.txt").write_bytes(bytes(500))
    return tmp_path / "photos"


@pytest.fixture
def call(run: Callable[..., tuple[int, str, str]]) -> Callable[..., Any]:
    """Run the command; return its exit status, and what it printed on stdout and stderr."""
    return partial(run, "simulate")


# Which files


def test_files_of_all_subfolders_count(tmp_path: Path) -> None:
    """Files come in the order of their paths, only those that match; links to files count, links to folders do not."""
    (tmp_path / "b").mkdir()
    for name, nbytes in (("b/1.jpg", 3), ("b/2.png", 4), ("a.jpg", 1), ("c.jpg", 0)):
        (tmp_path / name).write_bytes(bytes(nbytes))
    (tmp_path / "d.jpg").symlink_to(tmp_path / "b" / "2.png")
    (tmp_path / "e.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "f.jpg").symlink_to(tmp_path / "b")
    assert folder.file_sizes(tmp_path).tolist() == [1, 3, 4, 0, 4]
    assert folder.file_sizes(str(tmp_path), ["*.jpg"]).tolist() == [1, 3, 0, 4]


@pytest.mark.parametrize("what", ["nothing", "a file", "empty", "other files", "empty files"])
def test_a_folder_without_files(tmp_path: Path, call: Any, what: str) -> None:
    """The status is 2, stderr says what was expected and what is there, and stdout is empty."""
    path = tmp_path / "photos"
    if what == "a file":
        path.write_text("text")
    elif what != "nothing":
        path.mkdir()
    if what in ("other files", "empty files"):
        (path / ("a.txt" if what == "other files" else "a.jpg")).touch()
    status, out, err = call(path, "--maxbytes", "1 MiB", "--glob", "*.jpg")
    assert (status, out) == (2, "")
    expected = "a folder of files" if what in ("nothing", "a file") else "files named *.jpg that are not empty"
    came = {"nothing": "it does not exist", "a file": "that is a file", "empty files": "found 1, all empty"}
    assert err.startswith(f"bytecache simulate: expected {expected}") and repr(str(path)) in err
    assert came.get(what, "found none") in err


def test_without_a_pattern_the_endings_of_images_count(photos: Path, call: Any) -> None:
    """In upper and lower case; the text says so, and where no file has one, the error names the way out."""
    (photos / "0" / "0.jpg").rename(photos / "0" / "0.JPEG")
    (photos / "1" / "1.jpg").rename(photos / "1" / "1.Png")
    out = call(photos, "--maxbytes", "50 KB")[1]
    assert out.splitlines()[1] == "  files   100 with the ending of an image, 97.7 KiB"
    for path in photos.glob("[01]"):
        path.rename(photos.parent / path.name)
    status, _, err = call(photos, "--maxbytes", "50 KB")
    assert status == 2 and err.endswith("found none: --glob '*' counts all files\n")


@pytest.mark.parametrize(
    "patterns, names",
    [
        (["*.jpg"], ["IMG_1.JPG", "a.jpg"]),
        (["*.JPG", "*.txt"], ["IMG_1.JPG", "a.jpg", "b.txt"]),
        (["*.jp*g"], ["IMG_1.JPG", "a.jpg", "c.Jpeg"]),
        (["img*.jpg", "A.*"], []),
        (["IMG*.jpg", "IMG_1.*"], ["IMG_1.JPG"]),
        (["?.[jt]*"], ["a.jpg", "b.txt", "c.Jpeg"]),
    ],
)
def test_patterns(tmp_path: Path, patterns: list[str], names: list[str]) -> None:
    """A file counts once if any pattern matches; only the endings of images do in any case."""
    for name in ("IMG_1.JPG", "a.jpg", "b.txt", "c.Jpeg", "d.TXT"):
        (tmp_path / name).write_bytes(b"1")
    (tmp_path / "always").touch()
    assert [Path(path).name for path in folder.file_paths(tmp_path, [*patterns, "always"])] == sorted(
        [*names, "always"]
    )


def test_a_folder_that_cannot_be_read() -> None:
    """The error names the folder; the other files alone do not count."""
    with tempfile.TemporaryDirectory() as temporary:
        photos = Path(temporary)
        photos.chmod(0o755)
        (photos / "a.jpg").write_bytes(b"a")
        (photos / "closed").mkdir(mode=0)

        def look() -> str:
            if os.geteuid() == 0:  # root reads everything
                os.setuid(NOBODY)
            with pytest.raises(PermissionError) as refused:
                folder.file_sizes(photos)
            return str(refused.value)

        answer = in_child(look)
    assert "Permission denied" in answer and str(photos / "closed") in answer


# The numbers


def test_numbers_are_per_epoch_after_the_first(photos: Path, call: Any) -> None:
    """Of equal files of which half fit: what hits, what misses, and what the formula predicts."""
    status, out, _ = call(photos, "--glob", "*.jpg", "--maxbytes", "50 KB", "--epochs", 4, "--json")
    report = json.loads(out)
    assert status == 0
    assert (report["files"], report["bytes"], report["maxbytes"], report["fraction"]) == (100, 100_000, 50_000, 0.5)
    assert (report["path"], report["glob"], report["epochs"], report["seed"]) == (str(photos), ["*.jpg"], 4, 0)
    assert report["least_missed_bytes"] == 50_000
    policies = {one["policy"]: one for one in report["policies"]}
    assert tuple(policies) == folder.DEFAULT_POLICIES
    assert policies["fill_once"] == {
        "policy": "fill_once",
        "hit_rate": 0.5,
        "predicted_hit_rate": 0.5,
        "byte_hit_rate": 0.5,
        "misses": 50.0,
        "missed_bytes": 50_000.0,
        "hit_rates": [0.0, 0.5, 0.5, 0.5],
    }
    assert policies["lfu"]["predicted_hit_rate"] is None
    assert policies["lru"]["predicted_hit_rate"] == predict_hit_rate("lru", 0.5)
    for one in policies.values():
        assert len(one["hit_rates"]) == 4 and one["hit_rate"] == pytest.approx(np.mean(one["hit_rates"][1:]))
        assert one["misses"] == pytest.approx(100 * (1 - one["hit_rate"]))


def test_text_for_people(photos: Path, call: Any) -> None:
    """The text has files, budget and fraction, a table of files and one of bytes, policies in the given order."""
    lines = call(photos, "--glob", "*", "--maxbytes", "25 KiB", "--policies", "lru, fill_once,lfu")[1].splitlines()
    assert lines[:4] == [
        str(photos),
        "  files   101, 98.1 KiB",
        "  budget  25.0 KiB, 25.5 % of that",
        "  epochs  5, each in a new random order; below: means per epoch without the first",
    ]
    assert lines[5].split() == ["policy", "hit", "rate", "predicted", "misses"]
    assert [line.split()[0] for line in lines[6:9]] == ["lru", "fill_once", "lfu"]
    assert lines[7].split()[2] == "0.255" and lines[8].split()[2] == "-"
    assert lines[11].split() == ["bound", "0.255", "73.1", "KiB"]
    assert [line.split()[0] for line in lines[12:15]] == ["lru", "fill_once", "lfu"]
    assert [line.split(":")[0] for line in lines[16:]] == ["predicted", "bound", "misses, missed bytes"]


def test_only_the_seed_is_random(photos: Path, call: Any) -> None:
    """The same seed prints the same, another seed something else."""
    one, same, other = (call(photos, "--maxbytes", "50 KB", "--seed", seed)[1] for seed in (1, 1, 2))
    assert one == same != other


def test_a_budget_for_everything(photos: Path, call: Any) -> None:
    """Everything hits, nothing misses, and no rate is above 1."""
    report = json.loads(call(photos, "--maxbytes", "1 GB", "--json", "--policies", "lru,fill_once,random")[1])
    assert report["least_missed_bytes"] == 0
    assert {(one["hit_rate"], one["predicted_hit_rate"], one["misses"]) for one in report["policies"]} == {(1, 1, 0)}
    assert "  budget  953.7 MiB, all of it" in call(photos, "--maxbytes", "1 GB")[1].splitlines()


@pytest.mark.parametrize(
    "argv, message",
    [
        ([], "required: --maxbytes"),
        (["--maxbytes", "2 GX"], 'argument --maxbytes: maxbytes must be a positive int or a size such as "2 GiB"'),
        (["--maxbytes", "0"], "got '0'"),
        (["--maxbytes", "1", "--epochs", "1"], "argument --epochs: expected an int of 2 or more, got '1'"),
        (["--maxbytes", "1", "--seed", "-1"], "argument --seed: expected"),
        (["--maxbytes", "1", "--seed", "x"], "expected an int of 0 or more, got 'x'"),
        (["--maxbytes", "1", "--policies", "lru,clock"], 'policies must be among "belady_bypass", '),
    ],
)
def test_wrong_arguments(photos: Path, call: Any, argv: list[str], message: str) -> None:
    """The status is 2 and stderr says why, before the folder is read."""
    status, out, err = call(photos / "nowhere", *argv)
    assert (status, out) == (2, "") and message in " ".join(err.split())


def test_python_m_bytecache_simulate(photos: Path) -> None:
    """The command works from the shell."""
    command = [sys.executable, "-m", "bytecache", "simulate", photos, "--maxbytes", "50 KB"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and "fill_once" in done.stdout


# The plot


def test_curves_go_from_nothing_to_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rate is 0 without a cache, 1 if all fits, at the budget that of the table; many files are sampled."""
    nbytes = np.arange(1, 201)
    report = folder.simulate_folder(nbytes, int(nbytes.sum()) // 3, POLICY_NAMES, epochs=3, seed=0)
    curves = folder.hit_rate_curves(nbytes, report)
    assert curves.files == 200 and curves.fractions[0] == 0 and curves.fractions[-1] == 1
    at = curves.fractions.index(report["fraction"])
    for one in report["policies"]:
        rates = curves.hit_rates[one["policy"]]
        assert len(rates) == len(curves.fractions)
        assert (rates[0], rates[at], rates[-1]) == (0, one["hit_rate"], one["policy"] != "none")
    monkeypatch.setattr(folder, "MAX_SAMPLED_FILES", 50)
    assert folder.hit_rate_curves(nbytes, report).files == 50


@pytest.mark.foreign_threads
def test_the_plot_says_what_it_shows() -> None:
    """It has a title, axes with units, a curve for every policy, and the budget."""
    pytest.importorskip("matplotlib", reason="plotting needs matplotlib")
    nbytes = np.full(50, 2**20)
    report = folder.simulate_folder(nbytes, 20 * 2**20, POLICY_NAMES, epochs=3, seed=0)
    figure = make_figure(report, folder.hit_rate_curves(nbytes, report)._replace(files=40))
    (axes,) = figure.axes
    assert "50 files, 50.0 MiB" in axes.get_title() and "40 of them" in axes.get_title()
    assert "% of the bytes" in axes.get_xlabel() and "hits / reads" in axes.get_ylabel()
    legend = axes.get_legend()
    assert "budget of 20.0 MiB" in legend.get_title().get_text()
    labels = [text.get_text() for text in legend.get_texts()]
    assert len(labels) == len(POLICY_NAMES) and "fill_once: 0.400" in labels and labels[-1] == "none: 0.000"


@pytest.mark.foreign_threads  # matplotlib keeps its fonts open
def test_plot_writes_a_file(photos: Path, call: Any, tmp_path: Path) -> None:
    """It writes the format of the file's name, and prints the table too."""
    pytest.importorskip("matplotlib", reason="plotting needs matplotlib")
    for name, begins in (("a.png", b"\x89PNG"), ("a.SVG", b"<?xml"), ("a.pdf", b"%PDF")):
        status, out, _ = call(photos, "--maxbytes", "50 KB", "--policies", "lru,fill_once", "--plot", tmp_path / name)
        assert status == 0 and "fill_once" in out
        assert (tmp_path / name).read_bytes().startswith(begins)


def test_an_impossible_plot(photos: Path, call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another format, a missing folder or no matplotlib is an error before the work, with the way out."""
    pytest.importorskip("matplotlib", reason="plotting needs matplotlib")
    for name, message in (("a.txt", "ends in .png, .svg, .pdf"), ("no/a.png", "in a folder that exists")):
        status, out, err = call(photos, "--maxbytes", "50 KB", "--plot", tmp_path / name)
        assert (status, out) == (
            2,
            "",
        ) and f"argument --plot: expected a file {message.replace('ends', 'that ends')}" in err
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    err = call(photos, "--maxbytes", "50 KB", "--plot", tmp_path / "a.png")[2]
    assert "plotting needs the matplotlib package: pip install 'bytecache[plot]'" in err
