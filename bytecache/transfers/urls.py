"""URLs taken apart: what is requested, what may be shown, and which user belongs to which host."""

from __future__ import annotations

import re
from typing import NamedTuple, TypeAlias
from urllib.parse import quote, unquote, urlsplit

Origin: TypeAlias = tuple[str, str, int]  # scheme, host, port

_PORTS = {"http": 80, "https": 443}
_URL_CHARACTERS = "%/:?[]@!$&'()*+,;=~"  # beside letters and digits; any other is quoted, as browsers do


class Address(NamedTuple):
    """Where a file is. url: without a user. user: (name, password), sent to this origin alone, or None.

    trusted: whether the headers that the user of the library gave are sent there. signed: whether it is one of S3.
    """

    url: str
    origin: Origin
    user: tuple[str, str] | None = None
    trusted: bool = True
    signed: bool = False

    @property
    def shown(self) -> str:
        """The URL for an error: without the query, as signatures and tokens are part of that."""
        path, question, _ = self.url.partition("?")
        return path + question + "..." if question else path

    def redirected(self, url: str) -> Address:
        """Return the address that an answer names; user, headers and signature go along within one origin only.

        Raises ValueError for anything but a URL of HTTP or HTTPS.
        """
        target = parse_url(url)
        return self._replace(url=target.url) if target.origin == self.origin else target._replace(trusted=False)


def parse_url(url: str) -> Address:
    """Return the address of a URL, taken as it is but for its fragment and for characters that no URL may have.

    Raises ValueError, whose text has no secrets, for anything but a URL of HTTP or HTTPS.
    """
    url = url.partition("#")[0]
    if " " in url or not url.isascii() or not url.isprintable():
        url = quote(url, _URL_CHARACTERS, errors="surrogateescape")
    try:
        parts = urlsplit(url)
        origin = (parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0))
    except ValueError:  # whose text may have the password in it
        parts, origin = urlsplit(""), ("", "", 0)
    if parts.scheme not in _PORTS or not origin[1]:
        raise ValueError(f"expected a URL of http, https or s3, got {redact(url)!r}")
    user, at, host = parts.netloc.rpartition("@")
    if not at:
        return Address(url, origin)
    name, _, password = user.partition(":")
    return Address(parts._replace(netloc=host).geturl(), origin, (unquote(name), unquote(password)))


def quote_path(path: str) -> str:
    """Return a path in which all but letters, digits and ``-._~/`` is quoted, which is also what S3 signs.

    Bytes of a file name that are not UTF-8, as ``os.fsdecode`` gives them, are quoted as those bytes.
    """
    return quote(path, errors="surrogateescape")


def redact(text: str) -> str:
    """Return a text without what may be a user and a password before a host, or the query of a URL."""
    return re.sub(r"\?\S+", "?...", re.sub(r"\S*@", "", text))
