"""The documentation: its examples run, its commands and links exist."""

from __future__ import annotations

import doctest
import importlib
import re
import shlex
from functools import partial
from pathlib import Path

import pytest
from helpers.http_server import Server
from helpers.images import make_jpeg

import bytecache

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("[!.]*/**/*.md"))]


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_first_example_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    """On real files, the first epoch reads each of them once, and the second hits each."""
    (tmp_path / "images").mkdir()
    monkeypatch.chdir(tmp_path)
    for i in range(3):
        Path(f"images/{i}.jpg").write_bytes(make_jpeg(32, 48, seed=i))
    names = {}
    exec(blocks("python")[0], names)
    first, second = capsys.readouterr().out.splitlines()
    assert first == "CacheInfo(hits=0, misses=3, maxsize=None, currsize=3)"
    assert second == "CacheInfo(hits=3, misses=3, maxsize=None, currsize=3)"
    assert names["image"].shape == (32, 48, 3)


def test_the_staged_example_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    """With room for all, each file is kept as an array, and the plan says so."""
    (tmp_path / "images").mkdir()
    monkeypatch.chdir(tmp_path)
    for i in range(3):
        Path(f"images/{i}.jpg").write_bytes(make_jpeg(32, 48, seed=i))
    names = {}
    exec(example("bytecache.staged("), names)
    assert names["image"].shape == (32, 48, 3)
    assert [stage.runs for stage in names["load"].cache_stats().stages] == [3, 3]
    assert "keep all items after decode_jpeg: 0 s per epoch" in capsys.readouterr().out


def test_the_shrinking_example_runs_as_it_stands(tmp_path):
    """It returns images of at most 512 pixels a side."""
    pytest.importorskip("PIL", reason="shrinking needs Pillow")
    (tmp_path / "a.jpg").write_bytes(make_jpeg(300, 700))
    names = {"bytecache": bytecache}
    exec(example("shrink_jpeg("), names)
    assert bytecache.jpeg_header(names["read"](tmp_path / "a.jpg"))[:2] == (219, 512)


def test_the_checking_example_runs_as_it_stands(tmp_path):
    """What is left are the files that can be decoded."""
    paths = [tmp_path / "a.jpg", tmp_path / "b.jpg"]
    paths[0].write_bytes(make_jpeg(32, 48))
    paths[1].write_bytes(b"<html>")
    names = {"bytecache": bytecache, "paths": paths}
    exec(example("check_images"), names)
    assert names["paths"] == paths[:1]


def example(containing):
    """Return the block of Python that contains this text."""
    return next(block for block in blocks("python") if containing in block)


def test_the_batched_example_runs_as_it_stands():
    """One key is one call, and a batch is one call for those that are missing."""

    class Storage:
        calls = []

        def get_many(self, keys):
            self.calls.append(keys)
            return [key.encode() for key in keys]

    names = {"bytecache": bytecache, "storage": Storage()}
    exec(example("storage.get_many"), names)
    assert (names["data"], names["batch"]) == (b"a.jpg", [b"a.jpg", b"b.jpg", b"c.jpg"])
    assert Storage.calls == [["a.jpg"], ["b.jpg", "c.jpg"]]


@pytest.mark.foreign_threads
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # on a single processor
def test_the_examples_for_many_processes_run_as_they_stand(tmp_path, capsys):
    """Two DataLoader workers share a cache: each file is read once, and the report counts both."""
    torch = pytest.importorskip("torch", reason="the PyTorch example needs torch")
    paths = [str(tmp_path / f"{i}.jpg") for i in range(64)]
    for i, path in enumerate(paths):
        Path(path).write_bytes(make_jpeg(64, 64, seed=i))
    names = {"bytecache": bytecache, "paths": paths, "targets": torch.arange(64), "__name__": "example"}
    exec(example('shared=True, maxbytes="8 GiB"'), names)
    exec(example("report.end_epoch").replace("...", "assert images.shape == (32, 3, 256, 256)"), names)
    epochs = [eval(line) for line in capsys.readouterr().out.splitlines()]
    assert [epoch["misses"] for epoch in epochs] == [64, *9 * [0]]
    assert [epoch["hit_rate"] for epoch in epochs] == [0.0, *9 * [1.0]]


@pytest.mark.foreign_threads
def test_the_segmentation_example_runs_as_it_stands(tmp_path):
    """Image and mask are flipped and cropped together, and the mask keeps its class numbers."""
    torch = pytest.importorskip("torch", reason="the example needs torch")
    image = pytest.importorskip("PIL.Image", reason="a mask in PNG needs Pillow")
    from bytecache.torch import ImageDataset

    for kind, ending, mode in ("images", "jpg", "RGB"), ("masks", "png", "L"):
        (tmp_path / kind).mkdir()
        left_half = image.new("L", (300, 300), 0)
        left_half.paste(7, (0, 0, 150, 300))
        left_half = left_half if mode == "L" else left_half.point(lambda value: value * 36).convert(mode)
        left_half.save(tmp_path / kind / f"a.{ending}", quality=95)
    names = {"bytecache": bytecache, "paths": [str(tmp_path / "images" / "a.jpg")], "torch": torch}
    names["ImageDataset"] = ImageDataset
    exec(example("read_pair"), names)
    for _ in range(8):
        picture, mask = names["data"][0]
        assert picture.shape == (3, 256, 256) and set(mask.unique().tolist()) <= {0, 7}
        assert ((picture[0] > 126) == (mask.reshape(256, 256) == 7)).float().mean() > 0.97


def test_the_http_example_runs_as_it_stands():
    """A file is fetched once, and one that is not there raises with its address."""
    pytest.importorskip("bytecache.http", reason="HttpReader needs the extra http", exc_type=ImportError)
    server = Server(lambda request, handler: request.path.encode() if "a.jpg" in request.path else 404)
    try:
        names = {"bytecache": bytecache}
        exec(example("HttpReader").replace("https://host", server.url), names)
        assert names["read"]("a.jpg") == names["read"]("a.jpg") == b"/train/a.jpg"
        with pytest.raises(OSError, match="b.jpg"):
            names["read"]("b.jpg")
    finally:
        server.stop()
    assert sorted(server.paths) == ["/train/a.jpg", "/train/b.jpg"]


def test_the_method_example_runs_as_it_stands(tmp_path):
    """Two readers of equal names read files of their own, and a second call hits."""
    names = {"bytecache": bytecache}
    exec(example("class Reader"), names)
    readers = []
    for root in "ab":
        (tmp_path / root).mkdir()
        (tmp_path / root / "x").write_text(root)
        readers.append(names["Reader"](tmp_path / root))
    assert [reader.read("x") for reader in readers * 2] == [b"a", b"b", b"a", b"b"]
    assert [reader.read.map(["x"]) for reader in readers] == [[b"a"], [b"b"]]
    assert names["Reader"].read.cache_info()[:2] == (4, 2)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page):
    """Every relative link leads to a file of the project, every anchor to a heading of the page."""
    text = page.read_text()
    headings = {
        re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in re.findall(r"^#+ (.*)$", text, re.M)
    }
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    for link in links:
        target, _, anchor = link.partition("#")
        assert (page.parent / target).exists() if target else anchor in headings, link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_that_are_named_exist(page):
    """Every python -m MODULE names a module, every make TARGET a target."""
    text, targets = page.read_text(), re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    for module in set(re.findall(r"python -m ((?:benchmarks|integrations)[\w.]*)", text)):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module
    for target in set(re.findall(r"`make ([a-z-]+)`", text)) | {
        shlex.split(line)[1] for line in re.findall(r"^make [a-z-]+", text, re.M)
    }:
        assert target in targets, target


def test_every_public_name_is_in_the_api_table():
    """The table describes every export, except for the types that functions return."""
    returned = {"CacheInfo", "CacheStats", "CachedFunction", "JpegHeader"}
    table = README[README.index("## API") :]
    assert [name for name in bytecache.__all__ if name not in table and name not in returned] == []


@pytest.mark.parametrize("module", ["decorators", "staging", "system.byte_sizes", "system.text"])
def test_docstring_examples_run(module):
    """The doctests of the module pass, and there are some."""
    result = doctest.testmod(importlib.import_module(f"bytecache.{module}"))
    assert result.attempted > 0 and result.failed == 0


@pytest.mark.parametrize("adapter", ["torch", "keras"])
def test_the_example_without_a_cached_function_runs_as_it_stands(tmp_path, adapter):
    """Its function has a plan once a sample was read."""
    pytest.importorskip(adapter, reason=f"the example needs {adapter}")
    paths = [str(tmp_path / f"{n}.jpg") for n in range(2)]
    for n, path in enumerate(paths):
        Path(path).write_bytes(make_jpeg(300, 400, seed=n))
    dataset = importlib.import_module(f"bytecache.{adapter}").ImageDataset
    options = {"batch_size": 2} if adapter == "keras" else {}
    names = {"ImageDataset": partial(dataset, **options), "paths": paths, "targets": [1, 2]}
    exec(example("load=read_bytes"), names | {"read_bytes": lambda path: Path(path).read_bytes()}, names)
    assert names["train"][0][0].shape == ((2, 256, 256, 3) if adapter == "keras" else (3, 256, 256))
    assert [stage.name for stage in names["train"].load.plan().stages] == ["<lambda>", "decode"]
