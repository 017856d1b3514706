"""An HTTP server on loopback whose answers a test decides, and which notes what it was asked."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from helpers.threads import PATIENCE_S


class Request(NamedTuple):
    """What a client asked for. path: as it came, with the query. headers: names in lower case. port: the client's."""

    path: str
    headers: dict[str, str]
    port: int


class Server:
    """Answers each request with what ``answer(request, handler)`` returns: a body, a status, or both with headers.

    None stands for an answer that the function wrote by itself. The connection stays open unless the function sets
    ``handler.close_connection``. stopped: set when the server ends, for answers that never come.
    """

    def __init__(self, answer: Callable[[Request, Any], Any], context: ssl.SSLContext | None = None) -> None:
        self.answer, self.context = answer, context
        self.requests: list[Request] = []
        self.stopped = threading.Event()
        self._connections: set[socket.socket] = set()
        self._http = _HTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._http.owner = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def host(self) -> str:
        """The server's address and port."""
        return f"127.0.0.1:{self._http.server_port}"

    @property
    def url(self) -> str:
        """The server's URL, without a slash at its end."""
        return f"{'https' if self.context else 'http'}://{self.host}"

    @property
    def paths(self) -> list[str]:
        """What was asked for, in order."""
        return [request.path for request in self.requests]

    @property
    def connections(self) -> int:
        """How many connections have asked for anything."""
        return len({request.port for request in self.requests})

    @property
    def open_connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    def stop(self) -> None:
        """End all connections and threads."""
        self.stopped.set()
        self._http.shutdown()
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:  # it is closed
                pass
        self._http.server_close()
        self._thread.join(PATIENCE_S)


@contextmanager
def serving(answer: Callable[[Request, Any], Any], context: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Run a server for a while."""
    server = Server(answer, context)
    try:
        yield server
    finally:
        server.stop()


class _HTTPServer(ThreadingHTTPServer):
    owner: Server
    request_queue_size = 128

    def get_request(self) -> Any:
        connection, address = super().get_request()
        self.owner._connections.add(connection)
        return connection, address

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.owner.context is not None:  # in the connection's own thread, as the handshake takes a while
            try:
                request = self.owner.context.wrap_socket(request, server_side=True)
            except (OSError, ValueError):  # the client does not trust this server
                return
            self.owner._connections.add(request)
            try:
                super().finish_request(request, client_address)
            finally:
                request.close()
        else:
            super().finish_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.owner._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients go away in the midst of an answer in many tests."""


def _handler_of(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.path, headers, self.client_address[1])
            server.requests.append(request)
            answer = server.answer(request, self)
            if answer is None:
                return
            if not isinstance(answer, tuple):
                answer = (200, {}, answer) if isinstance(answer, bytes) else (answer, {}, b"")
            status, extra, body = answer
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **extra}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    return Handler
