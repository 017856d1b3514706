"""Hosts on one machine: network namespaces joined by a switch, or, without the right to make them, loopback addresses.

A thread enters a host, and so do the processes that it starts and the sockets that it opens meanwhile.
"""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

DEVICE = "eth0"  # of a host: what is not for the host itself passes through it
_CLONE_NEWNET = 0x40000000  # of setns(2)
_NAMESPACES = Path("/run/netns")


class Traffic(NamedTuple):
    """What a host has received from others, and sent to them, in bytes with their headers."""

    received: int
    sent: int

    def since(self, then: Traffic) -> Traffic:
        """Return what came after another moment."""
        return Traffic(self.received - then.received, self.sent - then.sent)


class Host(NamedTuple):
    """A host. namespace: the name of its network namespace, None for an address of this machine's own loopback."""

    address: str
    namespace: str | None = None

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Put this thread into the host's network."""
        if self.namespace is None:
            yield
            return
        with open("/proc/thread-self/ns/net", "rb") as home, open(_NAMESPACES / self.namespace, "rb") as network:
            _enter(network.fileno())
            try:
                yield
            finally:
                _enter(home.fileno())

    def traffic(self) -> Traffic | None:
        """Return what has passed through the host's device; None on loopback, where it cannot be told apart."""
        if self.namespace is None:
            return None
        with self.entered():
            lines = Path("/proc/thread-self/net/dev").read_text(encoding="ascii").splitlines()
        (fields,) = [line.partition(":")[2].split() for line in lines if line.strip().startswith(f"{DEVICE}:")]
        return Traffic(int(fields[0]), int(fields[8]))


@contextmanager
def hosts(count: int) -> Iterator[list[Host]]:
    """Make hosts that reach one another, and remove them afterwards; end their processes before."""
    if why_not():
        yield [Host(f"127.0.1.{number}") for number in range(1, count + 1)]
        return
    prefix = f"bytecache-{uuid.uuid4().hex[:8]}"
    with ExitStack() as stack:
        switch = _add_namespace(f"{prefix}-switch", stack)
        _ip("-n", switch, "link", "add", "switch", "type", "bridge")
        _ip("-n", switch, "link", "set", "switch", "up")
        yield [_add_host(f"{prefix}-{number}", number, switch, stack) for number in range(1, count + 1)]


@functools.cache
def why_not() -> str:
    """Return why no network namespaces can be made here; empty if they can."""
    if shutil.which("ip") is None:
        return "network namespaces are made with ip: apt-get install iproute2"
    if os.geteuid() != 0:
        return "network namespaces can be made by root only"
    try:
        with ExitStack() as stack:
            switch = _add_namespace(f"bytecache-{uuid.uuid4().hex[:8]}-switch", stack)
            _ip("-n", switch, "link", "add", "switch", "type", "bridge")
            _add_host(f"bytecache-{uuid.uuid4().hex[:8]}-1", 1, switch, stack)
    except (OSError, RuntimeError) as error:
        return f"no network namespaces can be made here: {error}"
    return ""


def _add_namespace(name: str, stack: ExitStack) -> str:
    _ip("netns", "add", name)
    stack.callback(_ip, "netns", "del", name)
    return name


def _add_host(name: str, number: int, switch: str, stack: ExitStack) -> Host:
    """Make a host, and plug it into the switch."""
    host, port = Host(f"10.77.0.{number}", _add_namespace(name, stack)), f"port{number}"
    _ip("-n", name, "link", "add", DEVICE, "type", "veth", "peer", "name", port, "netns", switch)
    _ip("-n", switch, "link", "set", port, "master", "switch", "up")
    _ip("-n", name, "addr", "add", f"{host.address}/24", "dev", DEVICE)
    for device in ("lo", DEVICE):
        _ip("-n", name, "link", "set", device, "up")
    return host


def _ip(*arguments: str) -> None:
    """Run ip; raise RuntimeError with what it says if it fails."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


def _enter(descriptor: int) -> None:
    """Move this thread, and no other, into a network namespace."""
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "a network namespace cannot be entered")
