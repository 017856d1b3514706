"""What a reader's connections go through: threads, forks, Ctrl-C, many open files, TLS, HTTP/2."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import pickle
import resource
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.certificates import make_certificate, server_context
from helpers.http_server import Request, Server, serving
from helpers.processes import in_child, open_files
from helpers.threads import PATIENCE_S, start, until

pytest.importorskip("bytecache.http", reason="HttpReader needs the extra http", exc_type=ImportError)

from bytecache.http import HttpError, HttpReader  # noqa: E402

ROOT = Path(__file__).parents[2]
METHODS = multiprocessing.get_all_start_methods()


def echo(request: Request, handler: Any) -> bytes:
    """Answer with the path."""
    return request.path.encode()


@pytest.fixture
def server() -> Iterator[Server]:
    """A server whose files are their paths."""
    with serving(echo) as server:
        yield server


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A certificate and its key; the environment names no others."""
    for name in "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR":
        monkeypatch.delenv(name, raising=False)
    return make_certificate(tmp_path)


# Threads


def test_calls_at_the_same_time_have_connections_of_their_own(server: Server) -> None:
    """One reader, four threads; later calls use what is there, whichever thread makes them."""
    barrier = threading.Barrier(4)

    def answer(request: Request, handler: Any) -> bytes:
        if request.path.endswith("/0"):
            barrier.wait(PATIENCE_S)
        return request.path.encode()

    server.answer = answer
    reader = HttpReader(server.url, max_connections=1)
    for _ in range(3):
        ends = [start(lambda name=name: reader([f"{name}/{n}" for n in range(20)])) for name in "abcd"]
        assert [end() for end in ends] == [[f"/{name}/{n}".encode() for n in range(20)] for name in "abcd"]
    assert server.connections == 4


def test_a_reader_that_is_gone_leaves_nothing_open(server: Server) -> None:
    """Its connections are closed as it dies, without a collection."""
    gc.collect()
    before = {name for _, name in open_files() if "socket" not in name}
    reader = HttpReader(server.url)
    reader(map(str, range(50)))
    del reader
    assert {name for _, name in open_files() if "socket" not in name} == before
    until(lambda: not server.open_connections)


def test_more_open_files_than_select_can_take(server: Server) -> None:
    """A connection with a number above 1,023 is served while one with a low number waits for its answer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2048:
        pytest.skip("this process may not open that many files")
    served = threading.Event()

    def answer(request: Request, handler: Any) -> Any:
        if request.path == "/waits":
            return b"x" if served.wait(PATIENCE_S) else 500
        if request.path == "/last":
            served.set()
        return b"x"

    server.answer = answer
    reader = HttpReader(server.url, max_connections=2, retries=0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    reader(["low"])
    with contextlib.ExitStack() as stack:
        for _ in range(1100):
            stack.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        keys = ["waits", *map(str, range(100)), "last"]
        assert reader(keys) == [b"x"] * len(keys)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# Ctrl-C


@pytest.mark.parametrize("when", ["stalled", "waiting", "refused"])
def test_an_interrupt_ends_a_call_and_leaves_the_reader_usable(server: Server, when: str) -> None:
    """While a server says nothing, while all wait for another attempt, while no server is there."""
    asked = threading.Event()

    def answer(request: Request, handler: Any) -> Any:
        if request.path == "/other":
            asked.set()
        if request.path == "/stalled":
            server.stopped.wait(60)
        return (503, {"Retry-After": "60"}, b"") if request.path == "/waiting" else request.path.encode()

    server.answer = answer
    reader = HttpReader(server.url, timeout_s=60, retries=1000)
    end = start(lambda: asked.wait(PATIENCE_S) and os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        reader(["http://127.0.0.1:1/refused" if when == "refused" else when, "other"])
    end()
    assert reader(["a"]) == [b"/a"]


# Processes


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.foreign_threads  # multiprocessing's own
def test_workers_under_every_start_method(server: Server, method: str) -> None:
    """A reader that its process has used works in those that it starts, which have connections of their own."""
    reader = HttpReader(server.url, headers={"X-Key": "k"})
    assert reader(["a"]) == [b"/a"]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)  # Python 3.12: the server has threads
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert pool.map(reader, [["b", "c"], ["d"]], 1) == [[b"/b", b"/c"], [b"/d"]]
            pool.close()
            pool.join()
    assert reader(["e"]) == [b"/e"]
    ports = {one.path: one.port for one in server.requests}
    assert ports["/a"] == ports["/e"] and ports["/a"] not in {ports["/b"], ports["/d"]}
    assert all(one.headers["x-key"] == "k" for one in server.requests)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.foreign_threads
def test_a_dataloader_collates_by_a_reader(server: Server, method: str) -> None:
    """The indices of a batch become its files, in the workers."""
    data = pytest.importorskip("torch.utils.data", reason="DataLoader is PyTorch's")
    reader = HttpReader(server.url)
    assert reader(["first"]) == [b"/first"]
    loader = data.DataLoader(
        list("abcdef"), 2, num_workers=1, collate_fn=reader, multiprocessing_context=method, persistent_workers=True
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)
        for _ in range(2):
            assert [file for batch in loader for file in batch] == [b"/a", b"/b", b"/c", b"/d", b"/e", b"/f"]


def test_a_fork_while_another_thread_reads(server: Server) -> None:
    """The child reads over its own connections, and the parent's call goes on."""
    forked, asked = threading.Event(), threading.Event()

    def answer(request: Request, handler: Any) -> bytes:
        if request.path == "/slow":
            asked.set()
            assert forked.wait(PATIENCE_S)
        return request.path.encode()

    server.answer = answer
    reader = HttpReader(server.url)
    end = start(lambda: reader(["slow"]))
    assert asked.wait(PATIENCE_S)
    assert in_child(lambda: reader(["child"])) == [b"/child"]
    forked.set()
    assert end() == [b"/slow"]


def test_a_child_says_nothing_on_its_parents_connections(certificate: tuple[Path, Path]) -> None:
    """Neither when it reads itself nor when it ends: over TLS, closing one would end it for the parent."""
    environment = {**os.environ, "SSL_CERT_FILE": str(certificate[0]), "PYTHONPATH": os.pathsep.join(sys.path)}
    with serving(echo, server_context(*certificate)) as server:
        script = [sys.executable, "-W", "ignore", str(ROOT / "tests/jobs/forked_reader.py"), server.url]
        done = subprocess.run(script, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["[b'/parent']", "[b'/used']", "[b'/parent']", "[b'/parent']"]
    ports: dict[str, set[int]] = {}
    for request in server.requests:
        ports.setdefault(request.path, set()).add(request.port)
    assert len(ports["/parent"]) == len(ports["/used"]) == 1 and ports["/parent"] != ports["/used"]


def test_a_reader_pickles_as_its_arguments(server: Server) -> None:
    """One that has been used too; and so do its errors."""
    server.answer = lambda request, handler: 404 if request.path == "/missing" else b"x"
    reader = HttpReader(server.url, max_connections=2, retries=0, headers={"X-Key": "k"}, s3={"region": "r"})
    [error] = reader(["missing"])
    copy = pickle.loads(pickle.dumps(reader))
    assert repr(copy) == repr(reader) and copy(["a"]) == [b"x"]
    assert server.requests[-1].headers["x-key"] == "k"
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, HttpError) and isinstance(again, OSError)
    assert (str(again), again.url, again.status, again.attempts) == (str(error), error.url, 404, 1)


# TLS and HTTP/2


def test_certificates_are_checked(certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """One that nobody vouches for is an error, at once; the environment names those to trust."""
    with serving(echo, server_context(*certificate)) as server:
        [error] = HttpReader(server.url)(["a"])
        assert error.attempts == 1 and "certificate" in str(error) and server.requests == []
        for name in "SSL_CERT_FILE", "CURL_CA_BUNDLE":
            monkeypatch.setenv(name, str(certificate[0]))
            assert HttpReader(server.url)(["a"]) == [b"/a"]
            monkeypatch.setenv("SSL_CERT_FILE", os.devnull)  # the other counts more


def test_http_2_is_spoken_where_it_is_offered(certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """As ALPN has it, with many requests on one connection."""
    pytest.importorskip("hypercorn", reason="it is a server that speaks HTTP/2")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{probe.getsockname()[1]}"
    files = ["--certfile", str(certificate[0]), "--keyfile", str(certificate[1])]
    command = [sys.executable, "-m", "hypercorn", "-b", host, *files, "http2_echo:app"]
    server = subprocess.Popen(command, cwd=ROOT / "tests/jobs", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: accepts(host))
        reader = HttpReader(f"https://{host}", retries=0)
        assert reader(["a"]) == [b"2 /a"]
        assert reader(map(str, range(200))) == [f"2 /{n}".encode() for n in range(200)]
    finally:
        server.kill()
        server.wait()


def accepts(host: str) -> bool:
    """Return whether a server is there."""
    address, _, port = host.partition(":")
    with socket.socket() as client:
        return client.connect_ex((address, int(port))) == 0
