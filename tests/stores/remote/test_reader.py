"""Values that are received into one buffer, from real servers and from some that say what no server should."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from helpers.certificates import make_certificate
from helpers.servers import Server, free_port, running

import bytecache
from bytecache.stores.base import MISSING
from bytecache.stores.remote import reader
from bytecache.stores.remote.reader import read_values

Remote = Callable[..., bytecache.RemoteStore]
KEYS = [n.to_bytes(16, "big") for n in range(200)]


class Connection:
    """A connection over a pair of sockets, on whose other end a thread sends an answer in pieces."""

    def __init__(self, answer: bytes, piece: int, ends: bool = False) -> None:
        self._sock, self._other = socket.socketpair()
        self._sock.settimeout(5)
        self.socket_timeout = 5
        self._pieces, self._ends = [answer[n : n + piece] for n in range(0, len(answer), piece)], ends

    def start(self) -> None:
        def send() -> None:
            with suppress(OSError):  # nobody listens any more
                for piece in self._pieces:
                    self._other.sendall(piece)
            if self._ends:
                self._other.close()

        self.thread = threading.Thread(target=send)
        self.thread.start()

    def close(self) -> None:
        self._sock.close(), self.thread.join(), self._other.close()


def taken(keys: Sequence[bytes], values: Sequence[Any]) -> list[Any]:
    assert len(keys) == len(values)
    return [value and bytes(value) for value in values]


def received(answer: bytes, count: int, in_array: bool, piece: int = 1 << 20, ends: bool = False) -> Any:
    connection = Connection(answer, piece, ends)
    connection.start()
    try:
        return read_values(connection, KEYS[:count], in_array, taken)
    finally:
        connection.close()


@pytest.mark.parametrize("piece", [1, 7, 1000, 1 << 20])
def test_an_answer_may_come_in_pieces(piece: int) -> None:
    """As an array, or as one answer after another; a missing value is None, an empty one is empty."""
    data = bytes(range(256)) * (2 if piece == 1 else 60 if piece == 7 else 1000)
    bulk = b"$%d\r\n%b\r\n" % (len(data), data)
    answer = bulk + b"$-1\r\n" + b"$0\r\n\r\n" + bulk
    assert received(b"*4\r\n" + answer, 4, True, piece) == [data, None, b"", data]
    assert received(answer, 4, False, piece) == [data, None, b"", data]


# An error is the only answer to a request for an array.
@pytest.mark.parametrize(
    ("in_array", "error"), [(True, None), (True, 0), (False, None), (False, 0), (False, 3), (False, 7)]
)
def test_a_buffer_that_is_smaller_than_the_answer(monkeypatch: Any, in_array: bool, error: int | None) -> None:
    """Wherever it ends, in a line or in a value, every value comes once and in order; with an error there are none."""
    values = [None, b"a" * 40, b"", b"b" * 9, None, b"c" * 3, b"d" * 17, b"e"]
    answers = [b"$-1\r\n" if value is None else b"$%d\r\n%b\r\n" % (len(value), value) for value in values]
    if error is not None:
        answers[error] = b"-MOVED 1 host:1\r\n"
    whole = b"".join(answers)
    if in_array:
        whole = b"*%d\r\n%b" % (len(values), whole) if error is None else answers[0]
    for size in range(6, 60):
        for piece in (1, 5, 1000):
            monkeypatch.setattr(reader, "_PIECE", size)
            monkeypatch.setattr(reader, "_buffers", [])
            assert received(whole, len(values), in_array, piece) == (values if error is None else None), (size, piece)


def test_an_error_is_no_value() -> None:
    """Whatever else is in the answer, there is none; what belongs to it is received."""
    assert received(b"-ERR no\r\n", 3, True) is None
    assert received(b"$1\r\na\r\n-MOVED 1 host:1\r\n$1\r\nb\r\n", 3, False) is None


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n", b"$x\r\n", b"$99999999999999\r\n", b"x" * 5000, b"*1\r\n*1\r\n+\r\n"]
)
def test_what_is_no_answer(answer: bytes) -> None:
    """It is a ConnectionError."""
    with pytest.raises(ConnectionError, match="what answers is no Redis server"):
        received(answer, 2, True)


def test_a_connection_that_ends() -> None:
    """In the middle of a value."""
    with pytest.raises(ConnectionError, match="the connection was closed"):
        received(b"*2\r\n$10\r\nabc", 2, True, ends=True)


def test_values_do_not_change_with_the_next_answer(server: Server, remote: Remote) -> None:
    """None of them refers to the buffer, whatever its size."""
    partition = remote(server.url).partition(b"function of test", "f")
    sizes = [0, 1, 100, 70_000, 3_000_000]
    partition.put_many([(KEYS[n], bytes([n]) * size) for n, size in enumerate(sizes)], partition.generation)
    partition.put_many([(KEYS[9], memoryview(b"view")), (KEYS[10], {"a": b"b"})], partition.generation)
    for _ in range(2):
        found = partition.get_many([*KEYS[:5], *KEYS[9:12]], copy=False)
        partition.get_many(KEYS[4::-1])
        assert found[:5] == [bytes([n]) * size for n, size in enumerate(sizes)]
        assert found[5] == b"view" and found[6] == {"a": b"b"} and found[7] is MISSING


def test_threads_read_at_the_same_time(server: Server, remote: Remote) -> None:
    """Each into a buffer of its own."""
    partition = remote(server.url).partition(b"function of test", "f")
    partition.put_many([(key, key * 1000) for key in KEYS], partition.generation)
    wrong: list[bytes] = []

    def read(first: int) -> None:
        for _ in range(20):
            keys = KEYS[first : first + 50]
            found = partition.get_many(keys)
            wrong.extend(key for key, value in zip(keys, found, strict=True) if value != key * 1000)

    threads = [threading.Thread(target=read, args=(25 * n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_over_tls_and_over_a_socket_file(remote: Remote, tmp_path: Path) -> None:
    """A server whose certificate nobody has signed is not asked; one that is trusted, and one at a path, are."""
    certificate, key = make_certificate(tmp_path)
    tls = {"tls_cert_file": certificate, "tls_key_file": key, "tls_ca_cert_file": certificate, "tls_auth_clients": "no"}
    with running("redis", tls_port=0, unixsocket=tmp_path / "socket") as server, server.client() as client:
        if not client.config_get("tls-port"):
            pytest.skip("this server has no TLS")
        port = free_port()
        for name, value in {**tls, "tls_port": port}.items():
            client.config_set(name.replace("_", "-"), str(value))
        urls = {
            f"unix://{tmp_path}/socket": 2,
            f"rediss://127.0.0.1:{port}?ssl_ca_certs={certificate}": 2,
            f"valkeys://127.0.0.1:{port}": 0,
        }
        for url, hits in urls.items():
            f = bytecache.fill_once(store=remote(url))(lambda n: b"%d" % n * 100_000)
            assert [f(n) for n in (1, 2, 1, 2)] == [b"%d" % n * 100_000 for n in (1, 2, 1, 2)]
            assert f.cache_info().hits >= hits and bool(f.cache_info().hits) == bool(hits)
