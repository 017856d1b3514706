"""A link to a server that is slow."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from time import sleep


class SlowLink:
    """A proxy on loopback in front of a server. delay_s: by which each part of an answer is late; may be changed."""

    def __init__(self, port: int) -> None:
        self._port, self.delay_s = port, 0.0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """The URL of the server behind it."""
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}"

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._port))
                self._sockets += near, far
                for source, target, is_answer in ((near, far, False), (far, near, True)):
                    threading.Thread(target=self._carry, args=(source, target, is_answer), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, is_answer: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 20):
                if is_answer and self.delay_s:
                    sleep(self.delay_s)
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close all connections."""
        for one in (self._listener, *self._sockets):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
