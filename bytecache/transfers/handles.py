"""The options of an easy handle of libcurl."""

from __future__ import annotations

import os
from math import ceil
from typing import Any, NamedTuple

from .curl import pycurl
from .s3 import Signature

_BUFFER_BYTES = 1 << 17  # a body comes in chunks of at most this size, one call into Python each
_STALL_BYTES_PER_S = 1000
_MAX_MS = (1 << 31) - 1  # as libcurl counts
_HTTP = pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS
_ENVIRONMENT = {  # as the command curl has it: of two variables for one option, the later counts
    "SSL_CERT_DIR": pycurl.CAPATH,
    "SSL_CERT_FILE": pycurl.CAINFO,
    "CURL_CA_BUNDLE": pycurl.CAINFO,
    "NETRC": pycurl.NETRC_FILE,
}


class Identity(NamedTuple):
    """As whom a request is made: with the user's headers or not, as a user of the host, signed."""

    trusted: bool
    user: tuple[str, str] | None
    signature: Signature | None


def prepare(easy: Any, identity: Identity, headers: list[str], timeout_s: float, body_bytes: int) -> None:
    """Set all options of a handle but URL and the function that takes the body.

    Redirects are not left to libcurl, which sends the user's headers on to other hosts, all but Authorization and
    Cookie. Nor does a request wait for a connection that may take several (CURLOPT_PIPEWAIT): if the server speaks
    HTTP/1.1, all would wait for its first answer.
    """
    easy.reset()
    _set_limits(easy, timeout_s, body_bytes)
    for name in _ENVIRONMENT:
        if os.environ.get(name):
            easy.setopt(_ENVIRONMENT[name], os.fsencode(os.environ[name]))
    lines = list(headers) if identity.trusted else []
    if identity.signature is not None:
        scope, *user, token = identity.signature
        easy.setopt(pycurl.AWS_SIGV4, scope)
        lines += [f"X-Amz-Security-Token: {token}"] if token else []
        _set_user(easy, *user)
    elif identity.user is not None:
        _set_user(easy, *identity.user)
    else:
        easy.setopt(pycurl.NETRC, pycurl.NETRC_OPTIONAL)
    easy.setopt(pycurl.HTTPHEADER, [line.encode() for line in lines])


def _set_limits(easy: Any, timeout_s: float, body_bytes: int) -> None:
    easy.setopt(pycurl.NOSIGNAL, 1)  # signals are not for libraries, and not for threads
    easy.setopt(pycurl.PROTOCOLS, _HTTP)
    easy.setopt(pycurl.USERAGENT, "bytecache")
    easy.setopt(pycurl.BUFFERSIZE, _BUFFER_BYTES)
    easy.setopt(pycurl.TCP_KEEPALIVE, 1)
    easy.setopt(pycurl.MAXFILESIZE_LARGE, body_bytes)
    timeout_ms = min(ceil(timeout_s * 1000), _MAX_MS)
    easy.setopt(pycurl.CONNECTTIMEOUT_MS, timeout_ms)
    easy.setopt(pycurl.LOW_SPEED_LIMIT, _STALL_BYTES_PER_S)
    easy.setopt(pycurl.LOW_SPEED_TIME, ceil(timeout_ms / 1000))


def _set_user(easy: Any, name: str, password: str) -> None:
    easy.setopt(pycurl.USERNAME, name.encode())
    easy.setopt(pycurl.PASSWORD, password.encode())
