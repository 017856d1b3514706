"""Remote storage to train from: an HTTP server in a process of its own, which takes its time for each request."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from .errors import UserError

# In the environment, which worker processes inherit: a function that reads from there is the same one in all of them,
# and in a later run that finds the values of this one in a store.
URL = "FISH_COUNT_STORAGE"
_spawn = multiprocessing.get_context("spawn")  # the trainer may have loaded what does not survive a fork


class _Counts(ctypes.Structure):
    _fields_ = [
        ("requests", ctypes.c_long),
        ("current", ctypes.c_long),  # being answered, or waiting for their turn
        ("most_at_once", ctypes.c_long),
        ("busy_s", ctypes.c_double),
        ("busy_since", ctypes.c_double),
    ]


class Traffic:
    """What a server is asked for, in memory that the trainer sees as well. requests, most_at_once: so far."""

    def __init__(self) -> None:
        self._counts: Any = _spawn.Value(_Counts)  # with a lock that guards it

    def begin(self) -> None:
        """Count a request."""
        with self._counts.get_lock():
            if self._counts.current == 0:
                self._counts.busy_since = time.monotonic()
            self._counts.requests += 1
            self._counts.current += 1
            self._counts.most_at_once = max(self._counts.most_at_once, self._counts.current)

    def end(self) -> None:
        """Note that a request has been answered."""
        with self._counts.get_lock():
            self._counts.current -= 1
            if self._counts.current == 0:
                self._counts.busy_s += time.monotonic() - self._counts.busy_since

    def busy_s(self) -> float:
        """Return the seconds so far in which the server had at least one request."""
        with self._counts.get_lock():
            current_s = time.monotonic() - self._counts.busy_since if self._counts.current else 0.0
            return self._counts.busy_s + current_s

    def summary(self) -> dict[str, int]:
        """Return how many requests there were, and how many at once."""
        with self._counts.get_lock():
            return {"requests": self._counts.requests, "most_at_once": self._counts.most_at_once}


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
        self.server.traffic.begin()
        try:
            with self.server.turns:
                time.sleep(self.server.latency_s)
                self._answer(Path(os.path.normpath(unquote(self.path, errors="surrogateescape"))))
        finally:
            self.server.traffic.end()

    def _answer(self, path: Path) -> None:
        body = path.read_bytes() if path.is_relative_to(self.server.folder) and path.is_file() else None
        self.send_response(HTTPStatus.NOT_FOUND if body is None else HTTPStatus.OK)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, format: str, *args: Any) -> None:
        """Leave the screen to the trainer."""
