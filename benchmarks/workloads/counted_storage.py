"""Storage that counts: an HTTP server which answers GET /NUMBER with a value, and tells how often it was asked."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def value_of(number: int, nbytes: int) -> bytes:
    """Return the value of a number, which no other number has."""
    text = b"%016d" % number
    return (text * (nbytes // len(text) + 1))[:nbytes]


def serve(address: str, nbytes: int) -> Callable[[str], str | int]:
    """Start the server; the function that is returned answers "url", and "requests": how many since it was last asked.

    For a process of its own, see ``harness.worker``.
    """
    server = _Server((address, 0), _Handler)
    server.nbytes = nbytes
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def answer(question: str) -> str | int:
        return f"http://{address}:{server.server_port}" if question == "url" else server.take_requests()

    return answer


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    nbytes = 0

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._lock, self._requests = threading.Lock(), 0

    def count_request(self) -> None:
        with self._lock:
            self._requests += 1

    def take_requests(self) -> int:
        with self._lock:
            requests, self._requests = self._requests, 0
            return requests


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"  # which keeps connections
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body in one piece

    def do_GET(self) -> None:
        self.server.count_request()
        value = value_of(int(self.path[1:]), self.server.nbytes)
        self.send_response(200)
        self.send_header("Content-Length", str(len(value)))
        self.end_headers()
        self.wfile.write(value)

    def log_message(self, format: str, *arguments: object) -> None:
        """Leave the screen to the benchmark."""
