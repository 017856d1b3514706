"""``bytecache info`` and ``clear`` of a server, or of the nodes of a cluster; what is refused, and in which words."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.servers import Server, free_port, running, running_cluster

import bytecache
from bytecache import RemoteStore, SharedStore
from bytecache.stores.shared.locks import OFD_LOCKS_AVAILABLE

pytest.importorskip("redis", minversion="8.0", reason="the extra redis")
Run = Callable[..., tuple[int, str, str]]


def plain(n: int) -> bytes:
    return bytes(n)


def other(n: int) -> bytes:
    return bytes(2 * n)


@pytest.fixture(scope="module")
def protected() -> Iterator[Server]:
    """A server with a password and a limit."""
    with running("redis", requirepass="s3cret", maxmemory="50mb") as server:
        yield server


@pytest.fixture
def url(protected: Server) -> str:
    """The URL of the server, which is empty, with its password."""
    with protected.client(password="s3cret") as client:
        client.flushall()
    return f"redis://:s3cret@127.0.0.1:{protected.port}"


def use(url: str, namespace: str = "bytecache", functions: Any = (plain, other)) -> None:
    """Read five keys twice by each function."""
    store = RemoteStore(url, namespace=namespace, timeout_s=10)
    for function in functions:
        read = bytecache.fill_once(store=store)(function)
        read.map([100] * 2 + [200, 300, 400, 500]), read.map([100, 200, 300, 400])
    store.close()


def test_info_of_a_server(url: str, protected: Server, run: Run) -> None:
    """The namespace, a line for each server, and one for each function; the password is nowhere."""
    use(url)
    status, out, err = run("info", url)
    lines = out.splitlines()
    assert (status, err) == (0, "") and "s3cret" not in out
    assert lines[0] == f"redis://127.0.0.1:{protected.port}, namespace bytecache"
    assert lines[1] == "  used  4.4 KiB, 10 values"
    assert lines[3].split() == [*"server engine keys memory of policy hits misses hit rate evicted".split()]
    server = lines[4].split()
    assert server[:2] == [f"127.0.0.1:{protected.port}", "Redis"]
    assert server[-7:-4] == ["50.0", "MiB", "noeviction"]
    assert lines[6].split() == [*"function values bytes hits misses hit rate load s".split()]
    rows = {line.split()[0]: line.split()[1:] for line in lines[7:]}
    assert set(rows) == {f"{__name__}.plain", f"{__name__}.other"}
    assert rows[f"{__name__}.plain"][:-1] == ["5", "1.5", "KiB", "5", "5", "0.500"]


def test_info_as_json_and_of_another_namespace(url: str, run: Run) -> None:
    """All fields are there; a namespace without functions is empty."""
    use(url, "job.2")
    report = json.loads(run("info", url, "--namespace", "job.2", "--json")[1])
    assert (report["namespace"], report["entries"], report["currbytes"]) == ("job.2", 10, 4500)
    assert [function["hit_rate"] for function in report["functions"]] == [0.5, 0.5]
    assert report["servers"][0]["policy"] == "noeviction" and "s3cret" not in json.dumps(report)
    assert "no function has stored anything in this namespace" in run("info", url)[1]


def test_info_of_a_cluster(run: Run) -> None:
    """Each node has a line; one that does not answer is named as such, one that evicts with the setting to use."""
    with running_cluster("redis", maxmemory_policy="allkeys-lru") as servers:
        store = RemoteStore(servers[0].url, timeout_s=10)
        with pytest.warns(RuntimeWarning, match="evicts values"):
            owner = int(store.servers().of(store.namespace.total).name.rpartition(":")[2])
        store.close()
        asked = next(server for server in servers if server.port == owner)
        lost = next(server for server in servers if server.port != owner)
        lost.kill()
        status, out, err = run("info", asked.url)
        assert (status, err) == (0, "")
        assert f"\n127.0.0.1:{lost.port} does not answer: " in out
        assert f"\n127.0.0.1:{asked.port} removes values when its memory is full: set its maxmemory-policy to" in out
        assert sum("allkeys-lru" in line for line in out.splitlines()) == 2


def test_clear_of_a_function_and_of_all(url: str, run: Run) -> None:
    """Of one name, then of all in the namespace; another one stays."""
    use(url), use(url, "job.2")
    assert run("clear", url, "--function", f"{__name__}.plain")[1] == "cleared 5 values (1.5 KiB) of 1 function\n"
    status, out, err = run("clear", url, "--function", "none")
    assert (status, out) == (2, "") and "has no function 'none'; it has" in err and "s3cret" not in err
    report = json.loads(run("clear", url, "--json")[1])
    assert (report["entries"], report["currbytes"], report["functions"]) == (5, 3000, 2)
    assert json.loads(run("info", url, "--json")[1])["entries"] == 0
    assert json.loads(run("info", url, "--namespace", "job.2", "--json")[1])["entries"] == 10


@pytest.mark.parametrize("command", ["info", "clear"])
def test_a_server_that_does_not_answer(command: str, run: Run, protected: Server) -> None:
    """Whether it is absent or refuses: one line, status 2, and no password."""
    for url in f"redis://me:wr0ng@127.0.0.1:{free_port()}", f"redis://:wr0ng@127.0.0.1:{protected.port}":
        status, out, err = run(command, url)
        assert (status, out) == (2, "") and "wr0ng" not in err and err.count("\n") == 1
        assert err.startswith(f"bytecache {command}: RemoteStore('redis://127.0.0.1:") and "does not answer: " in err


def test_without_the_package() -> None:
    """One line says which to install."""
    code = "import sys; sys.modules['redis'] = None; from bytecache.cli.main import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run([sys.executable, "-c", code, "info", "redis://h"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "pip install 'bytecache[redis]'" in done.stderr


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (["verify", "redis://h"], "verify reads the files of a shared store, got a URL"),
        (["clear", "redis://h", "--stale"], "--stale is for the folder of a shared store"),
        (["info", "/tmp", "--namespace", "a"], "--namespace is for a server"),
        (["info", "http://h"], "url must begin with one of redis://"),
        (["info", "redis://u:s3cret@h:x"], "url must have a port"),
        (["info", "redis://h", "--namespace", "a b"], "namespace must be 1 to 64 letters"),
    ],
)
def test_what_is_refused(argv: list[str], why: str, run: Run) -> None:
    """Status 2, and one line with the way out."""
    status, out, err = run(*argv)
    assert (status, out) == (2, "") and why in err and err.count("\n") == 1 and "s3cret" not in err


@pytest.mark.skipif(not OFD_LOCKS_AVAILABLE, reason="shared stores are for Linux")
def test_info_of_a_store_above_a_server(url: str, tmp_path: Path, run: Run) -> None:
    """The server's hits are shown as those of a tier of their function, whose hit rate is that of both."""
    first, remote = SharedStore(tmp_path / "store", maxbytes=1000), RemoteStore(url, maxbytes=1000, timeout_s=10)
    read = bytecache.fill_once(store=[first, remote])(plain)
    for _ in range(2):
        read.map([100 + n for n in range(20)])
    stats = read.cache_stats()
    lines = run("info", first.path)[1].splitlines()
    remote.flush()
    below = run("info", url)[1].splitlines()
    counts = run("clear", first.path, "--function", f"{__name__}.plain")[1]
    shown = json.loads(run("info", first.path, "--json")[1])["functions"]
    remote.close(), first.close()
    assert counts.startswith("cleared ") and counts.count("of 1 function") == 1 and shown == []
    assert below[-3].split()[-4:] == [f"{stats.tiers[1].hits}", "-", "-", "-"]
    assert below[-1] == "-: counted in the store above this one, by each machine"
    (at,) = (number for number, line in enumerate(lines) if line.startswith(f"{__name__}.plain"))
    assert "hits of" not in "\n".join(lines)
    assert lines[at + 2].split() == ["all", f"{stats.hits}", f"{stats.misses}", f"{stats.hit_rate:.3f}", "0.00"]
    rows = [line.split() for line in lines[at + 5 :]]
    assert rows[0] == ["tier", "hits", "misses", "hit", "rate"]
    names = {"SharedStore": ["this", "store"], "RemoteStore": ["RemoteStore"]}
    assert rows[1:] == [
        [*names[tier.name], f"{tier.hits}", f"{tier.misses}", f"{tier.hit_rate:.3f}"] for tier in stats.tiers
    ]
