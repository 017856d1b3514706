"""Remote storage to train from: an HTTP server in a process of its own, which takes its time for each request."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from .errors import UserError

# In the environment, which worker processes inherit: a function that reads from there is the same one in all of them,
# and in a later run that finds the values of this one in a store.
URL = "FISH_COUNT_STORAGE"
_spawn = multiprocessing.get_context("spawn")  # the trainer may have loaded what does not survive a fork


class _Counts(ctypes.Structure):
    _fields_ = [
        ("requests", ctypes.c_long),
        ("current", ctypes.c_long),
        ("most_at_once", ctypes.c_long),
        ("busy_s", ctypes.c_double),
        ("busy_since_s", ctypes.c_double),
    ]


class Moment(NamedTuple):
    """A point in time. busy_s: seconds until then in which the storage was answering a request."""

    at_s: float
    busy_s: float


class Traffic:
    """The requests that a server answers, in memory that its process and the trainer's share."""

    def __init__(self) -> None:
        self._counts: Any = _spawn.Value(_Counts)  # with a lock that guards it

    @contextmanager
    def request(self) -> Iterator[None]:
        """Count a request, which is answered meanwhile."""
        counts = self._counts
        with counts.get_lock():
            if counts.current == 0:
                counts.busy_since_s = time.monotonic()
            counts.requests += 1
            counts.current += 1
            counts.most_at_once = max(counts.most_at_once, counts.current)
        try:
            yield
        finally:
            with counts.get_lock():
                counts.current -= 1
                if counts.current == 0:
                    counts.busy_s += time.monotonic() - counts.busy_since_s

    def now(self) -> Moment:
        """Return this moment."""
        counts = self._counts
        with counts.get_lock():
            at_s = time.monotonic()
            return Moment(at_s, counts.busy_s + (at_s - counts.busy_since_s if counts.current else 0.0))

    def summary(self) -> dict[str, int]:
        """Return how many requests there were, and how many at once."""
        with self._counts.get_lock():
            return {"requests": self._counts.requests, "most_at_once": self._counts.most_at_once}


class Storage(NamedTuple):
    """Where the images are. read: reads one, or, if `batched`, a list. traffic: of the server, if there is one."""

    read: Callable[[Any], Any]
    batched: bool
    traffic: Traffic | None = None

    def now(self) -> Moment:
        """Return this moment; files in a folder are no requests."""
        return self.traffic.now() if self.traffic else Moment(time.monotonic(), 0.0)

    def summary(self) -> dict[str, int]:
        """Return what the server has counted."""
        return self.traffic.summary() if self.traffic else {}


def of_all_servers(summaries: Sequence[dict[str, int]]) -> dict[str, int]:
    """Return what several servers have counted, each rank's own: all requests, and the most at once at one of them."""
    if not any(summaries):
        return {}
    requests, most = ([one[name] for one in summaries] for name in ("requests", "most_at_once"))
    return {"requests": sum(requests), "most_at_once": max(most)}


@contextmanager
def remote_storage(folder: Path, latency_ms: float, parallel: int) -> Iterator[Traffic]:
    """Serve the files of a folder over HTTP, `parallel` requests at a time and each in `latency_ms`, on loopback.

    Meanwhile the server's address is in the environment. The server's process ends with this one, however that ends.
    """
    traffic = Traffic()
    ours, theirs = _spawn.Pipe()
    arguments = (os.path.abspath(folder), latency_ms / 1000, parallel, traffic, theirs)
    server = _spawn.Process(target=_serve, args=arguments, daemon=True, name="storage")
    server.start()
    theirs.close()
    try:
        os.environ[URL] = f"http://127.0.0.1:{_port(ours)}"
        yield traffic
    finally:
        os.environ.pop(URL, None)
        server.terminate()
        server.join()
        ours.close()


def _port(server: Connection) -> int:
    """Return the port, as soon as the server has told it."""
    try:
        return server.recv()
    except EOFError:
        raise UserError("--latency-ms: the server that it asks for has not started, for the reason above") from None


def _serve(folder: str, latency_s: float, parallel: int, traffic: Traffic, trainer: Connection) -> None:
    """Tell the trainer the port, and serve until it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the trainer's: after Ctrl-C it may still finish an epoch
    server = _Server(folder, latency_s, parallel, traffic)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        trainer.send(server.server_port)
        trainer.recv()  # nothing ever comes
    except (EOFError, OSError):
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # connections that may be made at once

    def __init__(self, folder: str, latency_s: float, parallel: int, traffic: Traffic) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder, self.latency_s, self.traffic = folder, latency_s, traffic
        self.turns = threading.Semaphore(parallel)


class _Handler(BaseHTTPRequestHandler):
    """Answers with the file of that absolute path, if it is below the folder."""

    server: _Server
    protocol_version = "HTTP/1.1"  # which keeps connections
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        with self.server.turns, self.server.traffic.request():
            time.sleep(self.server.latency_s)
            self._answer(Path(os.path.normpath(unquote(self.path, errors="surrogateescape"))))

    def _answer(self, path: Path) -> None:
        body = path.read_bytes() if path.is_relative_to(self.server.folder) and path.is_file() else None
        self.send_response(HTTPStatus.NOT_FOUND if body is None else HTTPStatus.OK)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, format: str, *args: Any) -> None:
        """Leave the screen to the trainer."""
