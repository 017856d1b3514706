"""Addresses of servers, and clients for them; what is shown of an address never has a user or a password in it."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import Future, TimeoutError as NotYet  # another class before Python 3.11
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .slots import server_name

USER_VARIABLE, PASSWORD_VARIABLE = "BYTECACHE_REMOTE_USER", "BYTECACHE_REMOTE_PASSWORD"
_SCHEMES = {"redis": "redis", "rediss": "rediss", "unix": "unix", "valkey": "redis", "valkeys": "rediss"}
_READ_BYTES = 1 << 18  # of a socket at a time
_CONNECTION_FAULTS = frozenset({"ConnectionError", "TimeoutError", "OSError"})


class Address:
    """Where a server is. name: host and port, or path. shown: the URL without user, password and options."""

    def __init__(self, url: str) -> None:
        """Raise ValueError, or TypeError, if it is not a URL of a known scheme."""
        if not isinstance(url, str):
            raise TypeError(f'url must be a str such as "redis://host:6379", got {type(url).__name__}')
        scheme, has_scheme, rest = url.partition("://")
        if scheme not in _SCHEMES:
            got = repr(scheme) if has_scheme else "none of them"  # without one, there may be a password in it
            raise ValueError(f"url must begin with one of {', '.join(f'{one}://' for one in _SCHEMES)}, got {got}")
        parts = urlsplit(f"{_SCHEMES[scheme]}://{rest}")
        if "decode_responses" in parse_qs(parts.query):
            raise ValueError("url must not ask for decode_responses: values are bytes")
        try:
            host, port = parts.hostname or "localhost", parts.port or 6379
        except ValueError:
            raise ValueError(f"url must have a port from 1 to 65535, as in {scheme}://host:6379") from None
        self.url = f"{_SCHEMES[scheme]}://{rest}"
        self._secrets = [text for text in (parts.username, parts.password) if text]
        place = parts.path if scheme == "unix" else server_name(host, port)
        self.name, self.shown = place, f"{scheme}://{place}" + ("" if scheme == "unix" else parts.path.rstrip("/"))

    def connect(self, timeout_s: float) -> Any:
        """Return a client for it, which makes connections when it needs them, and never tries a request twice."""
        import_redis()
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        client = Redis.from_url(
            self.url,
            username=os.environ.get(USER_VARIABLE) if not self._secrets else None,
            password=os.environ.get(PASSWORD_VARIABLE) if not self._secrets else None,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            socket_read_size=_READ_BYTES,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            driver_info=None,  # or each new connection tells its name first
            **({} if self.url.startswith("unix") else {"connection_class": _connection(self.url.startswith("rediss"))}),
        )
        try:
            client.connection_pool.make_connection()  # which connects later
        except TypeError as exc:
            raise ValueError(f"url of {self.shown} has an option that redis-py does not know: {exc}") from None
        return client


def _connection(tls: bool) -> Any:
    """Return redis-py's connection, with or without TLS, but for two things that are better for a cache.

    The look-up of a host name ends after the timeout too. And what TLS itself has sent is not taken for an answer left
    over: a server sends tickets after the handshake, and redis-py asks only whether there is anything to read.
    """
    from redis.connection import Connection, SSLConnection

    class BoundedConnection(SSLConnection if tls else Connection):  # type: ignore[misc]
        def _connect(self) -> Any:
            return _socket_within(self.socket_connect_timeout, super()._connect)

        def can_read(self, timeout: float = 0) -> bool:
            if not super().can_read(timeout):
                return False
            reader = getattr(self._parser, "_reader", None)  # of hiredis
            if not tls or reader is None or reader.has_data():
                return True
            sock: Any = self._sock
            sock.settimeout(0)
            try:
                sock.recv(1)  # an end, or what nobody asked for: the connection is closed either way
                return True
            except ssl.SSLWantReadError:
                return False
            finally:
                sock.settimeout(self.socket_timeout)

    return BoundedConnection


def _socket_within(timeout_s: float | None, connect: Callable[[], socket.socket]) -> socket.socket:
    """Return ``connect()``; raise TimeoutError if it takes longer, as a name server that does not answer makes it.

    Twice as long, since it first may try an address of the host that does not answer. A thread of its own calls it,
    since nothing ends a look-up; a socket that comes too late is closed there.
    """
    outcome: Future[socket.socket] = Future()

    def run() -> None:
        try:
            sock = connect()
        except BaseException as exc:
            if outcome.set_running_or_notify_cancel():
                outcome.set_exception(exc.with_traceback(None))  # which would refer to this frame
        else:
            if outcome.set_running_or_notify_cancel():
                outcome.set_result(sock)
            else:
                sock.close()

    try:
        threading.Thread(target=run, name="bytecache connect", daemon=True).start()
    except RuntimeError:  # no thread can be started, as at the end of a process
        return connect()
    try:
        return outcome.result(None if timeout_s is None else 2 * timeout_s)
    except NotYet:
        if outcome.cancel():
            raise TimeoutError(f"no connection after {2 * (timeout_s or 0)} s") from None
    except KeyboardInterrupt:
        if not outcome.cancel() and outcome.exception() is None:
            outcome.result().close()
        raise
    return outcome.result()  # it came just now


def import_redis() -> None:
    """Raise ImportError, with what to do, if the packages of the extra are missing or too old."""
    try:
        import hiredis  # noqa: F401
        import xxhash  # noqa: F401
        from redis import __version__ as version
    except ImportError:
        version = "0"
    if int(version.partition(".")[0]) < 8:
        raise ImportError(
            "RemoteStore needs the packages redis, 8.0 or later, hiredis and xxhash: pip install 'bytecache[redis]'"
        )


def connect_to_node(client: Any, host: str, port: int) -> Any:
    """Return a client for another server of a cluster, with the options of a client for one of them."""
    pool = client.connection_pool
    options = {**pool.connection_kwargs, "host": host, "port": port}
    return type(client).from_pool(type(pool)(connection_class=pool.connection_class, **options))  # closed with it


def check_client(client: Any) -> None:
    """Raise TypeError or ValueError if a client that was given is none of those that RemoteStore can use."""
    missing = [name for name in ("mget", "pipeline", "eval", "info") if not callable(getattr(client, name, None))]
    if missing:
        raise TypeError(f"client must have redis-py's methods, got {type(client).__name__} without {missing[0]}")
    encoder = client.get_encoder() if hasattr(client, "get_encoder") else None
    if getattr(encoder, "decode_responses", False):
        raise ValueError("client must not have decode_responses: values are bytes")


def name_of(client: Any) -> str:
    """Return where the server of a client is, as Address has it."""
    options = getattr(getattr(client, "connection_pool", None), "connection_kwargs", {})
    return str(options.get("path") or f"{options.get('host', 'the server')}:{options.get('port', '')}".rstrip(":"))


def is_connection_fault(exc: BaseException) -> bool:
    """Return whether an exception of any client says that its server could not be reached, or did not answer."""
    return any(kind.__name__ in _CONNECTION_FAULTS for kind in type(exc).__mro__)


def is_named(exc: Any, name: str) -> bool:
    """Return whether an answer is an exception of this name, of any client's package."""
    return isinstance(exc, Exception) and any(kind.__name__ == name for kind in type(exc).__mro__)
