"""The documentation: its examples run, its commands and links exist."""

from __future__ import annotations

import doctest
import importlib
import re
import shlex
from functools import partial
from pathlib import Path
from urllib.request import urlopen

import pytest
from helpers.http_server import Server
from helpers.images import make_jpeg
from helpers.servers import ENGINES, running
from helpers.threads import until

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
    assert "keep all items after decode_jpeg: " in capsys.readouterr().out


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


@pytest.mark.filterwarnings("ignore:.*cache of read does not help.*:RuntimeWarning")
def test_the_example_for_many_machines_runs_as_it_stands(tmp_path):
    """What one machine has read another finds on the server, which has it once."""
    pytest.importorskip("redis", reason="RemoteStore needs the extra redis")
    paths = [str(tmp_path / f"{n}.jpg") for n in range(5)]
    for path in paths:
        Path(path).write_bytes(b"JPEG")
    with running("redis") as server:
        text = example("bytecache.RemoteStore(").replace("redis://host1:6379", server.url).replace("8 GiB", "8 MiB")
        for misses in (5, 0):  # of a first machine, and of another
            names = {"paths": paths, "__name__": "example"}
            exec(text, names)
            assert names["images"] == [b"JPEG"] * 5
            tiers = names["read"].cache_stats().tiers
            assert [tier.name for tier in tiers] == ["SharedStore", "RemoteStore"]
            assert tiers[-1].misses == misses and tiers[-1].currsize == 5
            names["memory"].close(), names["cluster"].close()


@pytest.mark.parametrize("engine", ENGINES)
def test_the_commands_that_start_a_cluster_start_one_with_users(engine, tmp_path, monkeypatch):
    """A node with the options and users that are shown stores values for the one that trains, who may do no more."""
    redis = pytest.importorskip("redis", reason="RemoteStore needs the extra redis")
    users = "\n".join(line for line in README.splitlines() if line.startswith("user "))
    (tmp_path / "users.acl").write_text(users + "\n")
    passwords = re.findall(r">(\S+)", users)
    command = next(block for block in blocks("sh") if "valkey-server" in block).splitlines()[0]
    words = shlex.split(command)[1:]
    options = {name[2:].replace("-", "_"): value for name, value in zip(words[::2], words[1::2], strict=True)}
    del options["port"]
    with running(engine, **{**options, "bind": "127.0.0.1", "aclfile": tmp_path / "users.acl"}) as server:
        with server.client(username="default", password=passwords[0]) as client:
            client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
            until(lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        monkeypatch.setenv("BYTECACHE_REMOTE_USER", "training")
        monkeypatch.setenv("BYTECACHE_REMOTE_PASSWORD", passwords[1])
        store = bytecache.RemoteStore(server.url, timeout_s=5)
        read = bytecache.fill_once(store=store)(len)
        assert read.map(["a", "bb"]) == read.map(["a", "bb"]) == [1, 2]
        assert read.cache_discard("a") and read.cache_info("all")[:2] == (2, 2)
        read.cache_clear()
        assert not read.cache_contains("bb")
        store.close()
        with server.client(username="training", password=passwords[1]) as client:
            for refused in ("FLUSHALL", "KEYS *", "CONFIG GET maxmemory", "GET another"):
                with pytest.raises(redis.exceptions.NoPermissionError):
                    client.execute_command(*refused.split())


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


def test_the_example_of_metrics_runs_as_it_stands():
    """A scrape has the counters of the moment in which it asks; the names in the text are among them."""
    prometheus = pytest.importorskip("prometheus_client", reason="the example needs prometheus_client")
    read = bytecache.fill_once(maxbytes=1000)(str.encode)
    names = {"read": read}
    exec(example("metrics import collector").replace("9100", "0"), names)
    server = names["server"]
    try:
        read("a"), read("a")
        with urlopen(f"http://127.0.0.1:{server.server_port}/metrics", timeout=60) as response:
            assert b'bytecache_hits_total{function="train",tier="memory"} 1.0' in response.read()
    finally:
        prometheus.REGISTRY.unregister(names["registered"])
        server.shutdown(), server.server_close(), names["thread"].join()
    section = README[README.index("## Metrics") : README.index("## Recipes")]
    named = {name.removesuffix("_total") for name in re.findall(r"\bbytecache_\w+", section)}
    assert named - {metric.name for metric in read.metrics()} == {"bytecache_server_state"}


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
