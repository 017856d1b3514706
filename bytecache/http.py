"""Files behind HTTP, HTTPS or S3, many in one call."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from .system.arguments import check_int
from .system.byte_sizes import parse_size
from .transfers.addresses import AddressBook
from .transfers.errors import HttpError
from .transfers.s3 import S3

try:
    from .transfers.session import Limits, Session
    from .transfers.transfer import Transfer
except ImportError as exc:
    if exc.name != "pycurl":
        raise
    needs = "bytecache.http needs the pycurl package, 7.48 or later: pip install 'bytecache[http]'"
    raise ImportError(needs, name="pycurl") from None

__all__ = ["HttpError", "HttpReader"]


class HttpReader:
    """Reads files behind HTTP(S), S3 and servers that speak its protocol, such as MinIO: many in one call.

    ``HttpReader("https://host/train")(["a.jpg", "b/c.jpg"])`` returns a list with one entry per key, in order: the
    file's bytes, or the exception that says why there are none. A key is a URL, which is taken as it is, or a path
    below `base`, a str or of pathlib, which is quoted: "a b#1.jpg" is the name of a file, and a slash in front of it
    changes nothing. ``s3://bucket/key`` is an object's address, and is not quoted yet either. A query that `base`
    has, such as a token, is sent with each path.

    max_connections: how many files are fetched at a time, by each thread that calls the reader. timeout_s: seconds in
    which a connection must be made, and for which less than 1 KB/s may arrive before a transfer counts as stalled.
    retries: how often a file is asked for again, after growing and randomized delays, if the connection failed or
    stalled, the body was cut short, or the status is 408, 429, 500, 502, 503 or 504; ``Retry-After`` is obeyed up to
    timeout_s. headers: a dict of headers to send; if there is a `base`, to its host only. max_body: the longest body,
    in bytes or as a size such as "1 GiB"; a longer one is an error.
    s3: a dict of what differs from the environment: "region" (AWS_REGION, AWS_DEFAULT_REGION, else us-east-1);
    "endpoint", the URL of a server whose buckets are addressed by path (AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, else
    Amazon's); "credentials", a function that is called before each request and returns (key, secret) or (key, secret,
    session token), or None for requests without a signature (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
    AWS_SESSION_TOKEN). Signed are requests for ``s3://`` and those that go to the endpoint.

    In the list, HttpError (an OSError) stands for a file that could not be fetched, TypeError or ValueError for a key
    without an address, and what "credentials" raises for a file that needs them. The texts of these have no user, no
    password and no query in them. Other arguments raise TypeError or ValueError.

    Users and passwords come from the URL or ~/.netrc, proxies and certificates from the environment, as curl has it.
    At most 5 redirects are followed; what is meant for one host is not sent to another. HTTP/2 is used if offered.

    Safe for threads: each call has connections to itself, which are kept for later calls. A forked child makes its own.
    Pickles as its arguments, credentials included.
    """

    def __init__(
        self,
        base: str = "",
        *,
        max_connections: int = 32,
        timeout_s: float = 30,
        retries: int = 5,
        headers: Mapping[str, str] | None = None,
        s3: Mapping[str, Any] | None = None,
        max_body: int | str = "1 GiB",
    ) -> None:
        self._options: dict[str, Any] = {"max_connections": max_connections, "timeout_s": timeout_s, "retries": retries}
        self._options |= {"headers": headers, "s3": s3, "max_body": max_body}
        self._limits = Limits(
            check_int(max_connections, "max_connections", 1),
            _check_seconds(timeout_s),
            check_int(retries, "retries", 0),
            parse_size(max_body, "max_body"),
        )
        self._headers = _header_lines(headers or {})
        self._s3 = S3(s3)
        self._base = _check_base(base)
        self._addresses = AddressBook(base, self._s3)
        self._pid = os.getpid()
        self._sessions: list[Session] = []  # those that no thread uses

    def __call__(self, keys: Iterable[Any]) -> list[bytes | Exception]:
        """Return the bytes of each file, or the exception that tells why there are none, in the order of the keys.

        Raises TypeError for a single key instead of several. Ctrl-C ends it at once.
        """
        if isinstance(keys, (str, bytes, os.PathLike)):
            raise TypeError("keys must be a list of URLs or paths, got a single one: put it into a list")
        results: list[Any] = [self._transfer(key) for key in keys]
        transfers = [result for result in results if isinstance(result, Transfer)]
        if transfers:
            self._run(transfers)
        return [result.result if isinstance(result, Transfer) else result for result in results]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._addresses.shown!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), self._base, **self._options), ()

    def _transfer(self, key: Any) -> Transfer | Exception:
        try:
            return Transfer(self._addresses.find(key))
        except (TypeError, ValueError) as exc:
            return exc

    def _run(self, transfers: list[Transfer]) -> None:
        if self._pid != os.getpid():
            self._sessions = []  # first: another thread that sees the new number uses the new list
            self._pid = os.getpid()
        try:
            session = self._sessions.pop()
        except IndexError:
            session = Session(self._limits, self._headers, self._s3)
        try:
            session.run(transfers)
        except BaseException:
            session.close()
            raise
        self._sessions.append(session)


def _check_base(base: Any) -> str:
    if not isinstance(base, str):
        raise TypeError(f"base must be a URL as str, got one of type {type(base).__name__}")
    return base


def _check_seconds(timeout_s: Any) -> float:
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, (int, float)):
        raise TypeError(f"timeout_s must be a number of seconds above 0, got {timeout_s!r}")
    if not 0 < timeout_s < math.inf:
        raise ValueError(f"timeout_s must be a number of seconds above 0, got {timeout_s!r}")
    return float(timeout_s)


def _header_lines(headers: Mapping[str, str]) -> list[str]:
    """Return the headers as libcurl takes them; their values are in no error, as they may be secret."""
    lines = []
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"headers must be a dict of str to str, got a header {name!r} of another type")
        if not name or any(character in name + value for character in "\r\n\0") or ":" in name:
            raise ValueError(f"a header is one line of text, without a colon in its name: {name!r} is not")
        lines.append(f"{name}: {value}" if value else f"{name};")
    return lines
